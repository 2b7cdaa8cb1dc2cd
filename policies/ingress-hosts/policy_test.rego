package bailiwick

# The fields that are objected to.
found := {violation.field | some violation in deny}

says(text) if {
	some violation in deny
	contains(violation.msg, text)
}

fixed_by(text) if {
	some violation in deny
	contains(violation.fix, text)
}

asking(operation, kind, object, old) := {
	"operation": operation,
	"kind": {"kind": kind},
	"namespace": "acme-prod",
	"object": object,
	"oldObject": old,
}

example := {"hosts": ["*.acme.example", "acme.example"]}

ingress(spec) := asking("CREATE", "Ingress", {"spec": spec}, null)

ruled(host) := ingress({"rules": [{"host": host}]})

test_each_rule_has_an_allowed_host if {
	spec := {"rules": [{"host": "a.acme.example"}, {"host": "a.globex.example"}, {"host": "acme.example"}, {"host": "globex.example"}]}
	found == {"spec.rules[1].host", "spec.rules[3].host"} with input.request as ingress(spec) with data.parameters as example
}

test_a_wildcard_stands_for_every_name_below if {
	wildcard := {"hosts": ["*.Acme.example"]}
	every host in ["a.acme.example", "a.b.acme.example", "A.ACME.example", "*.acme.example", "*.b.acme.example"] {
		found == set() with input.request as ruled(host) with data.parameters as wildcard
	}
	every host in ["acme.example", "evilacme.example", "*.example", "acme.example.evil.example", "*acme.example"] {
		found == {"spec.rules[0].host"} with input.request as ruled(host) with data.parameters as wildcard
	}
	found == {"spec.rules[0].host"} with input.request as ruled("a.acme.example") with data.parameters as {"hosts": ["acme.example"]}
}

test_a_rule_without_a_host_takes_every_host if {
	every rule in [{}, {"host": ""}, {"http": {"paths": []}}] {
		found == {"spec.rules[1].host"} with input.request as ingress({"rules": [{"host": "acme.example"}, rule]})
			with data.parameters as example
	}
	count(deny) == 1 with input.request as ruled("") with data.parameters as object.union(example, {"requireTLS": true})
}

test_a_default_backend_takes_every_host if {
	spec := {"rules": [{"host": "acme.example"}], "defaultBackend": {"service": {"name": "web"}}}
	found == {"spec.defaultBackend"} with input.request as ingress(spec) with data.parameters as example
	found == set() with input.request as ingress(object.remove(spec, ["defaultBackend"])) with data.parameters as example
	found == set() with input.request as ingress(object.union(spec, {"defaultBackend": null})) with data.parameters as example
}

test_hosts_of_certificates_are_judged if {
	spec := {"tls": [{"hosts": ["acme.example", "globex.example"]}, {"secretName": "x"}, {"hosts": ["*.globex.example"]}]}
	found == {"spec.tls[0].hosts[1]", "spec.tls[2].hosts[0]"} with input.request as ingress(spec) with data.parameters as example
}

test_aliases_of_ingress_nginx_are_judged if {
	field := "metadata.annotations['nginx.ingress.kubernetes.io/server-alias']"
	every alias in ["globex.example", "a.acme.example, globex.example"] {
		object := {"metadata": {"annotations": {"nginx.ingress.kubernetes.io/server-alias": alias}}, "spec": {}}
		found == {field} with input.request as asking("CREATE", "Ingress", object, null) with data.parameters as example
	}
	every alias in ["", "a.acme.example", "a.acme.example, b.acme.example,"] {
		object := {"metadata": {"annotations": {"nginx.ingress.kubernetes.io/server-alias": alias}}, "spec": {}}
		found == set() with input.request as asking("CREATE", "Ingress", object, null) with data.parameters as example
	}
}

test_tls_can_be_required if {
	strict := object.union(example, {"requireTLS": true})
	spec := {"rules": [{"host": "a.acme.example"}, {"host": "B.acme.example"}], "tls": [{"hosts": ["b.ACME.example"]}]}
	found == {"spec.rules[0].host"} with input.request as ingress(spec) with data.parameters as strict
	says("'a.acme.example' is served without TLS") with input.request as ingress(spec) with data.parameters as strict
	found == set() with input.request as ingress(spec) with data.parameters as example
	found == {"spec.rules[0].host"} with input.request as ingress({"rules": [{}]}) with data.parameters as strict
	found == set() with input.request as ingress({"rules": [{"host": "a.acme.example"}], "tls": [{"hosts": ["a.acme.example"]}]})
		with data.parameters as strict
}

test_a_wildcard_certificate_stands_for_one_name if {
	strict := object.union(example, {"requireTLS": true})
	certified := {"tls": [{"hosts": ["*.acme.example"]}]}
	every host in ["a.acme.example", "*.acme.example"] {
		found == set() with input.request as ingress(object.union(certified, {"rules": [{"host": host}]})) with data.parameters as strict
	}
	every host in ["a.b.acme.example", "acme.example"] {
		found == {"spec.rules[0].host"} with input.request as ingress(object.union(certified, {"rules": [{"host": host}]}))
			with data.parameters as strict
	}
}

test_routes_of_the_gateway_api_are_judged if {
	every kind in ["HTTPRoute", "GRPCRoute", "TLSRoute"] {
		found == {"spec.hostnames[1]"} with input.request as asking("CREATE", kind, {"spec": {"hostnames": ["acme.example", "globex.example"]}}, null)
			with data.parameters as example
		found == set() with input.request as asking("CREATE", kind, {"spec": {"hostnames": ["acme.example"]}}, null)
			with data.parameters as example
		every spec in [{}, {"hostnames": []}, {"hostnames": null}] {
			found == {"spec.hostnames"} with input.request as asking("CREATE", kind, {"spec": spec}, null) with data.parameters as example
		}
		found == set() with input.request as asking("DELETE", kind, null, {"spec": {}}) with data.parameters as example
	}
}

test_the_tenant_is_put_in_for_its_placeholder if {
	placeholder := {"hosts": ["*.{tenant}.apps.example"]}
	found == set() with input.request as ruled("a.acme.apps.example") with data.parameters as placeholder
		with data.bailiwick.tenant as {"name": "acme"}
	found == {"spec.rules[0].host"} with input.request as ruled("a.globex.apps.example") with data.parameters as placeholder
		with data.bailiwick.tenant as {"name": "acme"}
}

test_without_hosts_nothing_is_allowed if {
	found == {"spec.rules[0].host"} with input.request as ruled("acme.example") with data.parameters as {}
	says("the host is 'acme.example'; allowed: none") with input.request as ruled("acme.example") with data.parameters as {}
}

test_the_message_says_what_is_allowed if {
	says("the host is 'globex.example'; allowed: *.acme.example, acme.example") with input.request as ruled("globex.example")
		with data.parameters as example
	says("no host is named, so requests for every host are taken") with input.request as ruled("") with data.parameters as example
	fixed_by("one of these allows: *.acme.example, acme.example") with input.request as ruled("") with data.parameters as example
}

test_an_update_is_judged_by_the_new_object if {
	good := {"spec": {"rules": [{"host": "acme.example"}]}}
	bad := {"spec": {"rules": [{"host": "globex.example"}], "defaultBackend": {}}}
	found == {"spec.rules[0].host", "spec.defaultBackend"} with input.request as asking("UPDATE", "Ingress", bad, good)
		with data.parameters as example
	found == set() with input.request as asking("UPDATE", "Ingress", good, bad) with data.parameters as example
}

test_an_update_that_leaves_it_alone_is_not_judged if {
	old := {"metadata": {"annotations": {"nginx.ingress.kubernetes.io/server-alias": "globex.example"}}, "spec": {"defaultBackend": {}, "rules": [{}], "tls": [{"hosts": ["globex.example"]}]}}
	new := object.union(old, {"status": {"loadBalancer": {}}, "metadata": {"labels": {"a": "b"}}})
	found == set() with input.request as asking("UPDATE", "Ingress", new, old) with data.parameters as example
	aliased := object.union(old, {"metadata": {"annotations": {"nginx.ingress.kubernetes.io/server-alias": "initech.example"}}})
	found == {
		"metadata.annotations['nginx.ingress.kubernetes.io/server-alias']",
		"spec.defaultBackend",
		"spec.rules[0].host",
		"spec.tls[0].hosts[0]",
	} with input.request as asking("UPDATE", "Ingress", aliased, old)
		with data.parameters as example
	every spec in [{}, {"hostnames": ["globex.example"]}] {
		found == set() with input.request as asking("UPDATE", "HTTPRoute", {"spec": spec, "status": {}}, {"spec": spec})
			with data.parameters as example
	}
	found == {"spec.rules[0].host"} with input.request as asking("CREATE", "Ingress", {"spec": {"rules": [{}]}}, {"spec": {"rules": [{}]}})
		with data.parameters as example
}

test_a_deletion_is_not_judged if {
	found == set() with input.request as asking("DELETE", "Ingress", null, {"spec": {"rules": [{"host": "globex.example"}]}})
		with data.parameters as example
}

test_other_objects_are_not_judged if {
	found == set() with input.request as asking("CREATE", "Route", {"spec": {"host": "globex.example", "rules": [{}], "tls": [{"hosts": ["x"]}]}}, null)
		with data.parameters as example
	route := {
		"metadata": {"annotations": {"nginx.ingress.kubernetes.io/server-alias": "globex.example"}},
		"spec": {"hostnames": ["acme.example"], "defaultBackend": {}, "rules": [{}], "tls": [{"hosts": ["x"]}]},
	}
	found == set() with input.request as asking("CREATE", "HTTPRoute", route, null) with data.parameters as example
	found == set() with input.request as ingress({"hostnames": ["globex.example"]}) with data.parameters as example
	found == set() with input.request as asking("CREATE", "Ingress", {}, null) with data.parameters as example
	found == set() with input.request as ingress({"rules": null, "tls": null}) with data.parameters as example
}
