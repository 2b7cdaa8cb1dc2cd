package bailiwick

# ServiceAccounts whose pods may have a token mounted: a name in every namespace, or NAMESPACE/NAME.
accounts := object.get(data.parameters, "allowedServiceAccounts", [])

# Whether pods may ask for a token of the API server's own audience by a volume.
projected_allowed := object.get(data.parameters, "allowProjectedTokens", false)

deny contains violation if {
	some path, spec in pods
	not is_allowed(account(spec))
	not spec.automountServiceAccountToken == false
	violation := {
		"msg": sprintf("the token of the ServiceAccount '%s' is mounted into the pod; allowed: %s", [account(spec), shown]),
		"field": sprintf("%s.automountServiceAccountToken", [path]),
		"fix": "write automountServiceAccountToken: false",
	}
}

deny contains violation if {
	not projected_allowed
	some path, spec in pods
	not is_allowed(account(spec))
	spec.automountServiceAccountToken == false
	some i, j
	volume := spec.volumes[i]
	source := volume.projected.sources[j]
	source.serviceAccountToken
	object.get(source.serviceAccountToken, "audience", "") == ""
	violation := {
		"msg": sprintf("the volume '%s' holds a token of the ServiceAccount '%s' for the API server; allowed: %s", [object.get(volume, "name", ""), account(spec), shown]),
		"field": sprintf("%s.volumes[%d].projected.sources[%d].serviceAccountToken", [path, i, j]),
		"fix": "remove it, or write the audience of the service that it is for",
	}
}

is_allowed(name) if name in accounts

is_allowed(name) if sprintf("%s/%s", [input.request.namespace, name]) in accounts

account(spec) := [name |
	some name in [object.get(spec, "serviceAccountName", ""), object.get(spec, "serviceAccount", ""), "default"]
	name != ""
][0]

default shown := "pods of no ServiceAccount"

shown := sprintf("pods of %s", [concat(", ", accounts)]) if count(accounts) > 0

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
