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

service(spec) := asking("CREATE", "Service", {"metadata": {"name": "web"}, "spec": spec}, null)

test_other_types_are_refused if {
	every type in ["NodePort", "LoadBalancer", "ExternalName"] {
		found == {"spec.type"} with input.request as service({"type": type}) with data.parameters as {}
	}
	every spec in [{}, {"type": "ClusterIP"}, {"type": "ClusterIP", "clusterIP": "None"}] {
		found == set() with input.request as service(spec) with data.parameters as {}
	}
}

test_types_can_be_allowed if {
	allowed := {"allowedTypes": ["NodePort", "LoadBalancer"]}
	every type in ["NodePort", "LoadBalancer"] {
		found == set() with input.request as service({"type": type}) with data.parameters as allowed
	}
	found == {"spec.type"} with input.request as service({}) with data.parameters as allowed
}

test_external_ips_lie_in_allowed_networks if {
	spec := {"externalIPs": ["203.0.113.7", "198.51.100.7", "2001:db8::1"]}
	found == {"spec.externalIPs[0]", "spec.externalIPs[1]", "spec.externalIPs[2]"} with input.request as service(spec)
		with data.parameters as {}
	found == {"spec.externalIPs[1]"} with input.request as service(spec)
		with data.parameters as {"allowedExternalIPs": ["203.0.113.0/24", "2001:db8::/32"]}
	says("the Service takes the traffic to 198.51.100.7; allowed: 203.0.113.0/24") with input.request as service(spec)
		with data.parameters as {"allowedExternalIPs": ["203.0.113.0/24"]}
}

test_external_names_are_allowed_ones if {
	allowed := {"allowedTypes": ["ExternalName"], "allowedExternalNames": ["db.example.com", "*.svc.example.com"]}
	every name in ["db.example.com", "DB.example.com.", "a.svc.example.com", "a.b.svc.example.com"] {
		found == set() with input.request as service({"type": "ExternalName", "externalName": name}) with data.parameters as allowed
	}
	every name in ["xdb.example.com", "svc.example.com", "asvc.example.com", "kubernetes.default.svc.cluster.local", ""] {
		found == {"spec.externalName"} with input.request as service({"type": "ExternalName", "externalName": name})
			with data.parameters as allowed
	}
	found == {"spec.externalName"} with input.request as service({"type": "ExternalName"}) with data.parameters as allowed
	found == {"spec.externalName"} with input.request as service({"type": "ExternalName", "externalName": "db.example.com"})
		with data.parameters as {"allowedTypes": ["ExternalName"]}
}

test_load_balancers_say_who_may_reach_them if {
	limited := {"allowedTypes": ["ClusterIP", "LoadBalancer"], "requireSourceRanges": true}
	every ranges in [[], null, ["0.0.0.0/0"], ["203.0.113.0/24", "::/0"]] {
		found == {"spec.loadBalancerSourceRanges"} with input.request as service({"type": "LoadBalancer", "loadBalancerSourceRanges": ranges})
			with data.parameters as limited
		found == set() with input.request as service({"type": "LoadBalancer", "loadBalancerSourceRanges": ranges})
			with data.parameters as {"allowedTypes": ["LoadBalancer"]}
	}
	found == {"spec.loadBalancerSourceRanges"} with input.request as service({"type": "LoadBalancer"}) with data.parameters as limited
	found == set() with input.request as service({"type": "LoadBalancer", "loadBalancerSourceRanges": ["203.0.113.0/24"]})
		with data.parameters as limited
	found == set() with input.request as service({"type": "ClusterIP"}) with data.parameters as limited
	found == {"spec.type"} with input.request as service({"type": "LoadBalancer"}) with data.parameters as {"requireSourceRanges": true}
}

internal := {
	"allowedTypes": ["ClusterIP", "LoadBalancer"],
	"loadBalancerAnnotations": [{"name": "networking.gke.io/load-balancer-type", "value": "Internal"}],
}

annotated(type, annotations) := {"metadata": {"annotations": annotations}, "spec": {"type": type}}

test_load_balancers_have_the_needed_annotations if {
	field := "metadata.annotations['networking.gke.io/load-balancer-type']"
	every annotations in [{}, null, {"networking.gke.io/load-balancer-type": "External"}, {"other": "Internal"}] {
		found == {field} with input.request as asking("CREATE", "Service", annotated("LoadBalancer", annotations), null)
			with data.parameters as internal
		found == set() with input.request as asking("CREATE", "Service", annotated("ClusterIP", annotations), null)
			with data.parameters as internal
	}
	good := annotated("LoadBalancer", {"networking.gke.io/load-balancer-type": "Internal"})
	found == set() with input.request as asking("CREATE", "Service", good, null) with data.parameters as internal
	found == {field} with input.request as service({"type": "LoadBalancer"}) with data.parameters as internal
	fixed_by("networking.gke.io/load-balancer-type: \"Internal\"") with input.request as service({"type": "LoadBalancer"})
		with data.parameters as internal
}

test_an_update_is_judged_by_the_new_object if {
	good := {"spec": {"type": "ClusterIP"}}
	bad := {"spec": {"type": "NodePort"}}
	found == {"spec.type"} with input.request as asking("UPDATE", "Service", bad, good) with data.parameters as {}
	found == set() with input.request as asking("UPDATE", "Service", good, bad) with data.parameters as {}
}

test_an_update_that_leaves_it_alone_is_not_judged if {
	bad := {"metadata": {"finalizers": ["service.kubernetes.io/load-balancer-cleanup"]}, "spec": {"type": "LoadBalancer"}}
	found == set() with input.request as asking("UPDATE", "Service", {"metadata": {}, "spec": bad.spec}, bad)
		with data.parameters as {}
	found == set() with input.request as asking("UPDATE", "Service", {"metadata": {}, "spec": bad.spec}, bad)
		with data.parameters as internal
}

test_an_annotation_can_not_be_taken_away if {
	good := annotated("LoadBalancer", {"networking.gke.io/load-balancer-type": "Internal"})
	found == {"metadata.annotations['networking.gke.io/load-balancer-type']"} with input.request as asking("UPDATE", "Service", annotated("LoadBalancer", {}), good)
		with data.parameters as internal
	found == set() with input.request as asking("UPDATE", "Service", good, annotated("LoadBalancer", {}))
		with data.parameters as internal
}

test_a_deletion_is_not_judged if {
	found == set() with input.request as asking("DELETE", "Service", null, {"spec": {"type": "NodePort"}}) with data.parameters as {}
}

test_other_objects_are_not_judged if {
	found == set() with input.request as asking("CREATE", "Route", {"spec": {"type": "NodePort"}}, null) with data.parameters as {}
	found == set() with input.request as asking("CREATE", "Service", {}, null) with data.parameters as {}
}

test_the_message_says_what_is_allowed if {
	says("the Service has the type NodePort; allowed: ClusterIP") with input.request as service({"type": "NodePort"})
		with data.parameters as {}
	says("the Service takes the traffic to 203.0.113.7; allowed: none") with input.request as service({"externalIPs": ["203.0.113.7"]})
		with data.parameters as {}
	fixed_by("write one of these types: ClusterIP") with input.request as service({"type": "NodePort"}) with data.parameters as {}
}
