package bailiwick

# Which probes each container has to have.
probes := object.get(data.parameters, "probes", ["readiness"])

# Whether pods that run to completion, such as those of Jobs, have to have them, too.
with_jobs := object.get(data.parameters, "includeJobs", false)

deny contains violation if {
	some field, container in containers
	some probe in probes
	member := sprintf("%sProbe", [probe])
	not has_handler(object.get(container, member, {}))
	violation := {
		"msg": sprintf("the container '%s' has no %s probe; needed: %s", [object.get(container, "name", ""), probe, concat(", ", probes)]),
		"field": sprintf("%s.%s", [field, member]),
		"fix": sprintf("write a %s with httpGet, tcpSocket, grpc or exec", [member]),
	}
}

has_handler(probe) if {
	some handler in ["exec", "grpc", "httpGet", "tcpSocket"]
	is_object(probe[handler])
}

# The containers that run as long as the pod, by where they stand. Init containers that end and ephemeral containers
# can't have probes.
containers[sprintf("%s.containers[%d]", [path, i])] := container if {
	some path, spec in pods
	stays(spec)
	some i
	container := spec.containers[i]
}

containers[sprintf("%s.initContainers[%d]", [path, i])] := container if {
	some path, spec in pods
	stays(spec)
	some i
	container := spec.initContainers[i]
	container.restartPolicy == "Always"
}

stays(spec) if object.get(spec, "restartPolicy", "Always") == "Always"

stays(_) if with_jobs

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
