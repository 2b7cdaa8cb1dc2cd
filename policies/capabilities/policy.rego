package bailiwick

# Capabilities that containers may add.
allowed := object.get(data.parameters, "allowedAdds", ["NET_BIND_SERVICE"])

# Whether containers have to drop all others.
drop_required := object.get(data.parameters, "requireDropAll", true)

deny contains violation if {
	some field, container in containers
	container.securityContext.privileged == true
	violation := {
		"msg": sprintf("the container '%s' is privileged and so has every capability; allowed to add: %s", [object.get(container, "name", ""), shown]),
		"field": sprintf("%s.securityContext.privileged", [field]),
		"fix": "remove privileged, and add the capabilities that are needed",
	}
}

deny contains violation if {
	drop_required
	some field, container in containers
	not drops_all(container)
	violation := {
		"msg": sprintf("the container '%s' keeps capabilities that the runtime gives by default; needed: ALL among those dropped", [object.get(container, "name", "")]),
		"field": sprintf("%s.securityContext.capabilities.drop", [field]),
		"fix": "write drop: [\"ALL\"]",
	}
}

deny contains violation if {
	some field, container in containers
	some i
	capability := container.securityContext.capabilities.add[i]
	not plain(capability) in {plain(it) | some it in allowed}
	violation := {
		"msg": sprintf("the container '%s' adds the capability %s; allowed: %s", [object.get(container, "name", ""), capability, shown]),
		"field": sprintf("%s.securityContext.capabilities.add[%d]", [field, i]),
		"fix": sprintf("remove %s", [capability]),
	}
}

drops_all(container) if "ALL" in container.securityContext.capabilities.drop

# Some runtimes read capabilities in any case, and some with the kernel's prefix.
plain(capability) := trim_prefix(upper(capability), "CAP_")

default shown := "none"

shown := concat(", ", allowed) if count(allowed) > 0

# The containers of the object by where they stand. On Windows there are no capabilities, and the API server refuses them.
containers[sprintf("%s.%s[%d]", [path, list, i])] := container if {
	some path, spec in pods
	not spec.os.name == "windows"
	some list in ["initContainers", "containers", "ephemeralContainers"]
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
