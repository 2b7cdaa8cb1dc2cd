package bailiwick

# Types that Services may have.
types := object.get(data.parameters, "allowedTypes", ["ClusterIP"])

# Networks that external IPs may lie in.
networks := object.get(data.parameters, "allowedExternalIPs", [])

# Names that a Service of type ExternalName may stand for; `*.` for every name below.
names := object.get(data.parameters, "allowedExternalNames", [])

# Whether a load balancer has to say who may reach it.
ranges_required := object.get(data.parameters, "requireSourceRanges", false)

# Annotations that a load balancer has to have, such as the one that makes it an internal one.
annotations := object.get(data.parameters, "loadBalancerAnnotations", [])

deny contains violation if {
	judged
	not type in types
	violation := {
		"msg": sprintf("the Service has the type %s; allowed: %s", [type, listed(types)]),
		"field": "spec.type",
		"fix": sprintf("write one of these types: %s", [listed(types)]),
	}
}

deny contains violation if {
	judged
	some i
	address := input.request.object.spec.externalIPs[i]
	not is_allowed_address(address)
	violation := {
		"msg": sprintf("the Service takes the traffic to %s; allowed: %s", [address, listed(networks)]),
		"field": sprintf("spec.externalIPs[%d]", [i]),
		"fix": "remove it, and use an Ingress or a load balancer",
	}
}

deny contains violation if {
	judged
	type == "ExternalName"
	type in types
	not is_allowed_name(object.get(input.request.object.spec, "externalName", ""))
	violation := {
		"msg": sprintf("the Service stands for '%s'; allowed: %s", [object.get(input.request.object.spec, "externalName", ""), listed(names)]),
		"field": "spec.externalName",
		"fix": sprintf("write one of these names: %s", [listed(names)]),
	}
}

deny contains violation if {
	judged
	type == "LoadBalancer"
	type in types
	ranges_required
	not limits_sources
	violation := {
		"msg": "the load balancer takes traffic from everywhere; needed: the ranges that may reach it",
		"field": "spec.loadBalancerSourceRanges",
		"fix": "write the ranges, such as [\"203.0.113.0/24\"]",
	}
}

deny contains violation if {
	judged
	type == "LoadBalancer"
	type in types
	some annotation in annotations
	found := object.get(input.request.object, ["metadata", "annotations", annotation.name], "")
	found != annotation.value
	violation := {
		"msg": sprintf("the load balancer has '%s' in the annotation %s; needed: '%s'", [found, annotation.name, annotation.value]),
		"field": sprintf("metadata.annotations['%s']", [annotation.name]),
		"fix": sprintf("write %s: \"%s\"", [annotation.name, annotation.value]),
	}
}

type := object.get(input.request.object.spec, "type", "ClusterIP")

is_allowed_address(address) if {
	some network in networks
	net.cidr_contains(network, address)
}

is_allowed_name(name) if trim_suffix(lower(name), ".") in {lower(it) | some it in names}

is_allowed_name(name) if {
	some it in names
	startswith(it, "*.")
	endswith(trim_suffix(lower(name), "."), trim_prefix(lower(it), "*"))
}

# A range of all addresses limits nothing.
limits_sources if {
	ranges := input.request.object.spec.loadBalancerSourceRanges
	is_array(ranges)
	count(ranges) > 0
	every range in ranges {
		not endswith(range, "/0")
	}
}

listed(items) := "none" if count(items) == 0

listed(items) := concat(", ", items) if count(items) > 0

# An update that leaves what is judged alone opens nothing new, so labels, finalizers and status of Services that were
# there before the policy can still be written.
judged if {
	input.request.kind.kind == "Service"
	is_object(input.request.object.spec)
	not unchanged
}

unchanged if {
	input.request.operation == "UPDATE"
	input.request.object.spec == input.request.oldObject.spec
	every annotation in annotations {
		path := ["metadata", "annotations", annotation.name]
		object.get(input.request.object, path, "") == object.get(input.request.oldObject, path, "")
	}
}
