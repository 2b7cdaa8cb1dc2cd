package bailiwick

# Whether init containers that end, so no sidecars, may write to their root.
init_may_write := object.get(data.parameters, "allowInitContainers", false)

# Whether containers for debugging may write to their root.
ephemeral_may_write := object.get(data.parameters, "allowEphemeralContainers", false)

deny contains violation if {
	some field, container in containers
	not container.securityContext.readOnlyRootFilesystem == true
	violation := {
		"msg": sprintf("the container '%s' may write to its root filesystem; needed: a read-only one", [object.get(container, "name", "")]),
		"field": sprintf("%s.securityContext.readOnlyRootFilesystem", [field]),
		"fix": "write readOnlyRootFilesystem: true, and mount an emptyDir where the container writes",
	}
}

is_exempt("initContainers", container) if {
	init_may_write
	not container.restartPolicy == "Always"
}

is_exempt("ephemeralContainers", _) if ephemeral_may_write

# The containers of the object by where they stand. On Windows the root can't be read-only, and the API server refuses it.
containers[sprintf("%s.%s[%d]", [path, list, i])] := container if {
	some path, spec in pods
	not spec.os.name == "windows"
	some list in ["initContainers", "containers", "ephemeralContainers"]
	some i
	container := spec[list][i]
	not is_exempt(list, container)
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
