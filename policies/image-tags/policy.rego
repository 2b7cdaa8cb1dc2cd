package bailiwick

# Tags that may move to another image.
forbidden := object.get(data.parameters, "forbiddenTags", ["latest"])

# Whether every image has to be pinned by a digest.
digest_required := object.get(data.parameters, "requireDigest", false)

deny contains violation if {
	digest_required
	some field, image in unpinned
	violation := {
		"msg": sprintf("the image '%s' has no digest; allowed: images with a digest", [image]),
		"field": field,
		"fix": "write the image with its digest, such as registry.example.com/app:1.4.2@sha256:…",
	}
}

deny contains violation if {
	not digest_required
	some field, image in unpinned
	tag(image) == ""
	violation := {
		"msg": sprintf("the image '%s' has no tag, which means 'latest'; allowed: images with a tag or a digest", [image]),
		"field": field,
		"fix": "write the image with the tag of a release, such as registry.example.com/app:1.4.2",
	}
}

deny contains violation if {
	not digest_required
	some field, image in unpinned
	tag(image) in forbidden
	violation := {
		"msg": sprintf("the image '%s' has the tag '%s'; allowed: every tag but %s", [image, tag(image), concat(", ", forbidden)]),
		"field": field,
		"fix": "write the image with the tag of a release, such as registry.example.com/app:1.4.2",
	}
}

# Images without a digest. What has one is the same image for ever, whatever its tag.
unpinned[field] := image if {
	some field, image in images
	not regex.match(`@[a-z0-9]+([+._-][a-z0-9]+)*:[0-9a-fA-F]{32,}$`, image)
}

images[sprintf("%s.image", [field])] := image if {
	some field, container in containers
	image := container.image
	image != ""
}

images[sprintf("%s.volumes[%d].image.reference", [path, i])] := image if {
	some path, spec in pods
	some i
	image := spec.volumes[i].image.reference
	image != ""
}

# What follows the colon in the last part of the name; the colon before a port is in the first.
tag(image) := concat(":", array.slice(parts, 1, count(parts))) if {
	names := split(split(image, "@")[0], "/")
	parts := split(names[count(names) - 1], ":")
}

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
