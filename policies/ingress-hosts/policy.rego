package bailiwick

# Hosts that may be served. `*.` stands for every name below, `{tenant}` for the tenant's name. None allows nothing.
allowed_hosts := object.get(data.parameters, "hosts", [])

# Whether each host of an Ingress needs TLS.
tls_required := object.get(data.parameters, "requireTLS", false)

deny contains violation if {
	some {"field": field, "host": host} in hosts
	host != ""
	not is_allowed(lower(host))
	violation := {
		"msg": sprintf("the host is '%s'; allowed: %s", [host, shown]),
		"field": field,
		"fix": sprintf("write a host that one of these allows: %s", [shown]),
	}
}

deny contains violation if {
	some {"field": field, "host": host} in hosts
	host == ""
	violation := {
		"msg": sprintf("no host is named, so requests for every host are taken; allowed: %s", [shown]),
		"field": field,
		"fix": sprintf("write a host that one of these allows: %s", [shown]),
	}
}

deny contains violation if {
	input.request.kind.kind == "Ingress"
	not unchanged
	is_object(input.request.object.spec.defaultBackend)
	violation := {
		"msg": sprintf("the default backend takes requests for every host; allowed: %s", [shown]),
		"field": "spec.defaultBackend",
		"fix": "remove it, and write a rule with a host",
	}
}

deny contains violation if {
	tls_required
	some i, host in rule_hosts
	host != ""
	not has_certificate(lower(host))
	violation := {
		"msg": sprintf("the host '%s' is served without TLS; needed: an entry in spec.tls that names it", [host]),
		"field": sprintf("spec.rules[%d].host", [i]),
		"fix": sprintf("write {hosts: [%s], secretName: …} into spec.tls", [host]),
	}
}

is_allowed(host) if host in patterns

is_allowed(host) if {
	some pattern in patterns
	startswith(pattern, "*.")
	endswith(host, trim_prefix(pattern, "*"))
}

patterns contains lower(it) if {
	some it in allowed_hosts
	not contains(it, "{tenant}")
}

patterns contains lower(replace(it, "{tenant}", data.bailiwick.tenant.name)) if {
	some it in allowed_hosts
	contains(it, "{tenant}")
}

default shown := "none"

shown := concat(", ", patterns) if count(patterns) > 0

# The hosts that the object serves, by where they stand; empty where all hosts are meant.
hosts contains {"field": sprintf("spec.rules[%d].host", [i]), "host": host} if some i, host in rule_hosts

hosts contains {"field": sprintf("spec.tls[%d].hosts[%d]", [i, j]), "host": host} if {
	input.request.kind.kind == "Ingress"
	not unchanged
	some i, j
	host := input.request.object.spec.tls[i].hosts[j]
}

hosts contains {"field": sprintf("metadata.annotations['%s']", [alias]), "host": host} if {
	input.request.kind.kind == "Ingress"
	not unchanged
	some host in split(replace(input.request.object.metadata.annotations[alias], " ", ""), ",")
	host != ""
}

hosts contains {"field": sprintf("spec.hostnames[%d]", [i]), "host": host} if {
	input.request.kind.kind in routes
	not unchanged
	some i
	host := input.request.object.spec.hostnames[i]
}

hosts contains {"field": "spec.hostnames", "host": ""} if {
	input.request.kind.kind in routes
	is_object(input.request.object)
	not unchanged
	not names_hosts
}

names_hosts if {
	some i
	input.request.object.spec.hostnames[i]
}

# The hosts of an Ingress's rules by their index.
rule_hosts[i] := object.get(rule, "host", "") if {
	input.request.kind.kind == "Ingress"
	not unchanged
	some i
	rule := input.request.object.spec.rules[i]
}

has_certificate(host) if host in tls_hosts

# The wildcard of a certificate stands for one name.
has_certificate(host) if {
	parts := split(host, ".")
	concat(".", array.concat(["*"], array.slice(parts, 1, count(parts)))) in tls_hosts
}

tls_hosts contains lower(host) if {
	some i, j
	host := input.request.object.spec.tls[i].hosts[j]
}

routes := {"GRPCRoute", "HTTPRoute", "TLSRoute"}

# Other hosts of the same Ingress, as ingress-nginx reads them.
alias := "nginx.ingress.kubernetes.io/server-alias"

# An update that leaves what is judged alone opens nothing new, so labels, finalizers and status of objects that were
# there before the policy can still be written.
unchanged if {
	input.request.operation == "UPDATE"
	input.request.object.spec == input.request.oldObject.spec
	path := ["metadata", "annotations", alias]
	object.get(input.request.object, path, "") == object.get(input.request.oldObject, path, "")
}
