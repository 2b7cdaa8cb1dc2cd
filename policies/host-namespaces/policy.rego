package bailiwick

# Which namespaces of the node pods may share: Network, PID, IPC.
namespaces := object.get(data.parameters, "allowedNamespaces", [])

# Ranges of ports that pods may take on the node.
ports := object.get(data.parameters, "allowedHostPorts", [])

# Directories of the node that pods may mount.
paths := object.get(data.parameters, "allowedHostPaths", [])

deny contains violation if {
	some path, spec in pods
	some name in ["Network", "PID", "IPC"]
	member := sprintf("host%s", [name])
	spec[member] == true
	not name in namespaces
	violation := {
		"msg": sprintf("the pod shares the node's %s namespace; allowed: %s", [name, listed(namespaces)]),
		"field": sprintf("%s.%s", [path, member]),
		"fix": sprintf("remove %s", [member]),
	}
}

deny contains violation if {
	some field, container in containers
	some i
	port := container.ports[i]
	port.hostPort > 0
	not is_allowed_port(port.hostPort)
	violation := {
		"msg": sprintf("the container takes port %d of the node; allowed: %s", [port.hostPort, listed([sprintf("%d to %d", [it.min, it.max]) | some it in ports])]),
		"field": sprintf("%s.ports[%d].hostPort", [field, i]),
		"fix": "remove hostPort, and reach the pod through a Service",
	}
}

deny contains violation if {
	some field, volume in host_volumes
	not allowing(volume.hostPath.path)
	violation := {
		"msg": sprintf("the volume '%s' is '%s' of the node; allowed: %s", [object.get(volume, "name", ""), volume.hostPath.path, listed([it.path | some it in paths])]),
		"field": sprintf("%s.hostPath.path", [field]),
		"fix": "use a PersistentVolumeClaim, emptyDir, configMap or secret",
	}
}

deny contains violation if {
	some volume in host_volumes
	allowing(volume.hostPath.path) == {true}
	some at, container in containers
	some i
	mount := container.volumeMounts[i]
	mount.name == volume.name
	not mount.readOnly
	violation := {
		"msg": sprintf("the volume '%s' is '%s' of the node and mounted for writing; allowed: reading", [volume.name, volume.hostPath.path]),
		"field": sprintf("%s.volumeMounts[%d].readOnly", [at, i]),
		"fix": "write readOnly: true",
	}
}

is_allowed_port(port) if {
	some range in ports
	port >= range.min
	port <= range.max
}

# What the directories that hold a path say about reading only; undefined when none holds it.
allowing(path) := readings if {
	not ".." in split(path, "/")
	readings := {object.get(it, "readOnly", true) |
		some it in paths
		startswith(sprintf("%s/", [trim_right(path, "/")]), sprintf("%s/", [trim_right(it.path, "/")]))
	}
	count(readings) > 0
}

host_volumes[sprintf("%s.volumes[%d]", [path, i])] := volume if {
	some path, spec in pods
	some i
	volume := spec.volumes[i]
	volume.hostPath
}

listed(items) := "none" if count(items) == 0

listed(items) := concat(", ", items) if count(items) > 0

# The containers of the object by where they stand.
containers[sprintf("%s.%s[%d]", [path, list, i])] := container if {
	some path, spec in pods
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
