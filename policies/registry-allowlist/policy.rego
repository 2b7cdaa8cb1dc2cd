package bailiwick

# Where images may come from. `{tenant}` stands for the tenant's name. None allows nothing.
registries := object.get(data.parameters, "registries", [])

deny contains violation if {
	some field, image in images
	name := full_name(image)
	not is_allowed(name)
	violation := {
		"msg": sprintf("the image '%s' comes from '%s'; allowed: %s", [image, name, shown]),
		"field": field,
		"fix": sprintf("write an image from one of these: %s", [shown]),
	}
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

# A prefix ends where a part of the name does, so 'registry.acme.io' is no beginning of 'registry.acme.io.evil.example'.
is_allowed(name) if name in allowed

is_allowed(name) if {
	some prefix in allowed
	startswith(name, sprintf("%s/", [prefix]))
}

allowed contains with_host(split(trim_right(registry, "/"), "/"), 0) if {
	some registry in registries
	not contains(registry, "{tenant}")
}

allowed contains with_host(split(trim_right(expanded, "/"), "/"), 0) if {
	some registry in registries
	contains(registry, "{tenant}")
	expanded := replace(registry, "{tenant}", data.bailiwick.tenant.name)
}

default shown := "none"

shown := concat(", ", allowed) if count(allowed) > 0

# The name of an image as it is pulled, without tag and digest: docker.io/library/nginx for nginx:1.29.
full_name(image) := in_library(with_host(array.concat(array.slice(parts, 0, last), [bare]), 1)) if {
	parts := split(split(image, "@")[0], "/")
	last := count(parts) - 1
	bare := split(parts[last], ":")[0]
}

in_library(name) := replace(name, "docker.io/", "docker.io/library/") if regex.match(`^docker\.io/[^/]*$`, name)

in_library(name) := name if not regex.match(`^docker\.io/[^/]*$`, name)

# The first part names a host when it looks like one and more than `least` parts are there, as container runtimes have it.
with_host(parts, least) := concat("/", ["docker.io", concat("/", parts)]) if not names_host(parts, least)

with_host(parts, least) := concat("/", array.concat([host], array.slice(parts, 1, count(parts)))) if {
	names_host(parts, least)
	host := object.get({"index.docker.io": "docker.io"}, lower(parts[0]), lower(parts[0]))
}

names_host(parts, least) if {
	count(parts) > least
	regex.match(`[.:A-Z]|^localhost$`, parts[0])
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
