package bailiwick

service(type, annotations) := {"request": {
	"kind": {"kind": "Service"},
	"object": {"metadata": {"annotations": annotations}, "spec": {"type": type}},
}}

test_an_exposed_service_needs_somebody_on_call if {
	some violation in deny with input as service("LoadBalancer", {})
		with data.bailiwick.tenant as {"name": "acme"}
	violation.field == "metadata.annotations['example.com/on-call']"
	contains(violation.msg, "acme")
}

test_with_somebody_on_call_it_passes if {
	count(deny) == 0 with input as service("LoadBalancer", {"example.com/on-call": "team-a"})
}

test_what_is_not_exposed_passes if {
	count(deny) == 0 with input as service("ClusterIP", {})
}
