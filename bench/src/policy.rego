package bailiwick

# Three rules as people write them; each looks at all containers of a Pod.

containers contains container if some container in input.request.object.spec.containers

containers contains container if some container in input.request.object.spec.initContainers

deny contains sprintf("container %s: the image %s is not from an allowed registry", [container.name, container.image]) if {
	some container in containers
	not from_allowed_registry(container.image)
}

deny contains sprintf("container %s has no memory limit", [container.name]) if {
	some container in containers
	not container.resources.limits.memory
}

deny contains sprintf("container %s keeps capabilities", [container.name]) if {
	some container in containers
	not drops_all(container)
}

from_allowed_registry(image) if {
	some registry in ["registry.example.com/", "mirror.example.com/"]
	startswith(image, registry)
}

drops_all(container) if "ALL" in container.securityContext.capabilities.drop
