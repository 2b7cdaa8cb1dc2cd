package bailiwick

# Kinds of profiles that are allowed.
types := object.get(data.parameters, "allowedTypes", ["RuntimeDefault", "Localhost"])

# Profiles on the node that are allowed; without the parameter, all.
localhost_profiles := object.get(data.parameters, "allowedLocalhostProfiles", null)

deny contains violation if {
	some field, profile in profiles
	not profile.type in types
	violation := {
		"msg": sprintf("the seccomp profile is '%s'; allowed: %s", [object.get(profile, "type", ""), concat(", ", types)]),
		"field": sprintf("%s.type", [field]),
		"fix": sprintf("write type: %s", [concat(" or ", types)]),
	}
}

deny contains violation if {
	some field, profile in profiles
	profile.type == "Localhost"
	"Localhost" in types
	is_array(localhost_profiles)
	not profile.localhostProfile in localhost_profiles
	violation := {
		"msg": sprintf("the seccomp profile on the node is '%s'; allowed: %s", [object.get(profile, "localhostProfile", ""), concat(", ", localhost_profiles)]),
		"field": sprintf("%s.localhostProfile", [field]),
		"fix": "name one of the allowed profiles, or write type: RuntimeDefault",
	}
}

# One violation for all containers without a profile: one line in the pod is what they lack.
deny contains violation if {
	some path, spec in judged
	not is_object(spec.securityContext.seccompProfile)
	without := {object.get(container, "name", "") |
		some field, container in containers
		startswith(field, sprintf("%s.", [path]))
		not is_object(container.securityContext.seccompProfile)
	}
	count(without) > 0
	violation := {
		"msg": sprintf("there is no seccomp profile for the pod and for the containers %s; allowed: %s", [concat(", ", without), concat(", ", types)]),
		"field": sprintf("%s.securityContext.seccompProfile.type", [path]),
		"fix": sprintf("write seccompProfile into the pod's securityContext, with type: %s", [concat(" or ", types)]),
	}
}

profiles[sprintf("%s.securityContext.seccompProfile", [path])] := profile if {
	some path, spec in judged
	profile := spec.securityContext.seccompProfile
	is_object(profile)
}

profiles[sprintf("%s.securityContext.seccompProfile", [field])] := profile if {
	some field, container in containers
	profile := container.securityContext.seccompProfile
	is_object(profile)
}

# On Windows there is no seccomp, and the API server refuses it.
judged[path] := spec if {
	some path, spec in pods
	not spec.os.name == "windows"
}

# The containers of the object by where they stand.
containers[sprintf("%s.%s[%d]", [path, list, i])] := container if {
	some path, spec in judged
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
