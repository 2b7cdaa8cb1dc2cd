package bailiwick

# Resources that each container has to request.
requests := object.get(data.parameters, "requests", ["cpu", "memory"])

# Resources that each container has to limit.
limits := object.get(data.parameters, "limits", [])

# How many times its request a limit may be, by resource.
ratios := object.get(data.parameters, "maxLimitRatio", {})

deny contains violation if {
	some {"field": field, "container": container, "pod": pod} in containers
	some resource in requests
	not requested(container, resource) > 0
	not requested(pod, resource) > 0
	violation := {
		"msg": sprintf("the container '%s' requests no %s; needed: a request of %s", [object.get(container, "name", ""), resource, concat(", ", requests)]),
		"field": sprintf("%s.resources.requests.%s", [field, resource]),
		"fix": sprintf("write what the container needs, such as %s: %s", [resource, sizes[resource]]),
	}
}

deny contains violation if {
	some {"field": field, "container": container, "pod": pod} in containers
	some resource in limits
	not quantity(container.resources.limits[resource]) > 0
	not quantity(pod.resources.limits[resource]) > 0
	violation := {
		"msg": sprintf("the container '%s' has no limit of %s; needed: a limit of %s", [object.get(container, "name", ""), resource, concat(", ", limits)]),
		"field": sprintf("%s.resources.limits.%s", [field, resource]),
		"fix": sprintf("write the most that the container may use, such as %s: %s", [resource, sizes[resource]]),
	}
}

deny contains violation if {
	some field, holder in holders
	some resource, ratio in ratios
	quantity(holder.resources.limits[resource]) > requested(holder, resource) * ratio
	violation := {
		"msg": sprintf("the limit of %s is %v for a request of %v; allowed: at most %v times the request", [resource, holder.resources.limits[resource], holder.resources.requests[resource], ratio]),
		"field": sprintf("%s.resources.limits.%s", [field, resource]),
		"fix": sprintf("lower the limit of %s or raise its request", [resource]),
	}
}

sizes := {"cpu": "100m", "memory": "128Mi", "ephemeral-storage": "1Gi"}

# What a container or a whole pod requests: without a request, the API server takes the limit as one.
requested(holder, resource) := quantity(holder.resources.requests[resource])

requested(holder, resource) := quantity(holder.resources.limits[resource]) if not holder.resources.requests[resource]

# A quantity in billionths, so that 100m and 0.1 are the same whole number.
quantity(value) := to_number(number) * factors[trim_prefix(text, number)] if {
	text := sprintf("%v", [value])
	number := regex.find_n(`^(0|[1-9][0-9]{0,18})(\.[0-9]{1,18})?`, text, 1)[0]
}

quantity(value) := to_number(text) * factors[""] if {
	text := sprintf("%v", [value])
	regex.match(`^(0|[1-9][0-9]{0,18})(\.[0-9]{1,18})?[eE][0-9]{1,2}$`, text)
}

factors := {
	"n": 1,
	"u": 1000,
	"m": 1000000,
	"": 1000000000,
	"k": 1000000000000,
	"M": 1000000000000000,
	"G": 1000000000000000000,
	"T": 1000000000000000000000,
	"P": 1000000000000000000000000,
	"E": 1000000000000000000000000000,
	"Ki": 1024000000000,
	"Mi": 1048576000000000,
	"Gi": 1073741824000000000,
	"Ti": 1099511627776000000000,
	"Pi": 1125899906842624000000000,
	"Ei": 1152921504606846976000000000,
}

# Whatever can have resources, by where it stands: pods and their containers.
holders[path] := spec if some path, spec in pods

holders[field] := container if some {"field": field, "container": container} in containers

# The containers that can have resources; ephemeral containers can't.
containers contains {"field": sprintf("%s.%s[%d]", [path, list, i]), "container": container, "pod": spec} if {
	some path, spec in pods
	some list in ["initContainers", "containers"]
	some i
	container := spec[list][i]
}

# Where the object holds a pod spec, and the spec. An update that leaves the object's spec alone starts nothing new, so
# labels, finalizers and status of objects that were there before the policy can still be written.
pods["spec"] := spec if {
	input.request.kind.kind == "Pod"
	spec := input.request.object.spec
	not unchanged
}

pods["spec.template.spec"] := spec if {
	input.request.kind.kind in templated
	spec := input.request.object.spec.template.spec
	not unchanged
}

pods["spec.jobTemplate.spec.template.spec"] := spec if {
	input.request.kind.kind == "CronJob"
	spec := input.request.object.spec.jobTemplate.spec.template.spec
	not unchanged
}

templated := {"DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"}

unchanged if {
	input.request.operation == "UPDATE"
	input.request.object.spec == input.request.oldObject.spec
}
