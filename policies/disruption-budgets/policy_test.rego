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

budget(spec) := asking("CREATE", "PodDisruptionBudget", {"metadata": {"name": "web"}, "spec": spec}, null)

test_no_unavailable_pod_blocks_every_eviction if {
	every value in [0, "0%", "00%"] {
		found == {"spec.maxUnavailable"} with input.request as budget({"maxUnavailable": value}) with data.parameters as {}
	}
	every value in [1, 10, "1%", "10%", "100%"] {
		found == set() with input.request as budget({"maxUnavailable": value}) with data.parameters as {}
	}
}

test_all_available_pods_block_every_eviction if {
	every value in ["100%", "0100%", "150%"] {
		found == {"spec.minAvailable"} with input.request as budget({"minAvailable": value}) with data.parameters as {}
	}
	every value in ["99%", "50%", "0%", "099%", 0, 1, 100] {
		found == set() with input.request as budget({"minAvailable": value}) with data.parameters as {}
	}
}

test_a_budget_that_says_nothing_blocks_every_eviction if {
	every spec in [{}, {"selector": {}}, {"maxUnavailable": null, "minAvailable": null}] {
		found == {"spec.maxUnavailable"} with input.request as budget(spec) with data.parameters as {}
		says("neither maxUnavailable nor minAvailable") with input.request as budget(spec) with data.parameters as {}
	}
}

test_a_number_of_available_pods_can_be_refused if {
	strict := {"allowMinAvailableNumber": false}
	found == {"spec.minAvailable"} with input.request as budget({"minAvailable": 1}) with data.parameters as strict
	says("minAvailable is 1, which blocks every eviction when there are as few replicas") with input.request as budget({"minAvailable": 1})
		with data.parameters as strict
	found == {"spec.minAvailable"} with input.request as budget({"minAvailable": "100%"}) with data.parameters as strict
	every spec in [{"minAvailable": "50%"}, {"minAvailable": 0}, {"maxUnavailable": 1}] {
		found == set() with input.request as budget(spec) with data.parameters as strict
	}
}

test_the_eviction_of_unhealthy_pods_can_be_required if {
	strict := {"requireAlwaysAllow": true}
	every spec in [{"maxUnavailable": 1}, {"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "IfHealthyBudget"}] {
		found == {"spec.unhealthyPodEvictionPolicy"} with input.request as budget(spec) with data.parameters as strict
		says("unhealthyPodEvictionPolicy is IfHealthyBudget") with input.request as budget(spec) with data.parameters as strict
		found == set() with input.request as budget(spec) with data.parameters as {}
	}
	found == set() with input.request as budget({"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow"})
		with data.parameters as strict
}

test_the_message_says_what_is_allowed if {
	says("maxUnavailable is 0%, so no pod can ever be evicted; allowed: 1 or more") with input.request as budget({"maxUnavailable": "0%"})
		with data.parameters as {}
	says("minAvailable is 100%, so no pod can ever be evicted; allowed: less than 100%") with input.request as budget({"minAvailable": "100%"})
		with data.parameters as {}
	fixed_by("write maxUnavailable: 1") with input.request as budget({"maxUnavailable": 0}) with data.parameters as {}
}

test_an_update_is_judged_by_the_new_object if {
	good := {"spec": {"maxUnavailable": 1}}
	bad := {"spec": {"maxUnavailable": 0}}
	found == {"spec.maxUnavailable"} with input.request as asking("UPDATE", "PodDisruptionBudget", bad, good) with data.parameters as {}
	found == set() with input.request as asking("UPDATE", "PodDisruptionBudget", good, bad) with data.parameters as {}
}

test_an_update_that_leaves_the_budget_alone_is_not_judged if {
	old := {"spec": {"maxUnavailable": 0}}
	new := object.union(old, {"status": {"currentHealthy": 3}})
	found == set() with input.request as asking("UPDATE", "PodDisruptionBudget", new, old) with data.parameters as {}
}

test_a_deletion_is_not_judged if {
	found == set() with input.request as asking("DELETE", "PodDisruptionBudget", null, {"spec": {"maxUnavailable": 0}})
		with data.parameters as {}
}

test_other_objects_are_not_judged if {
	found == set() with input.request as asking("CREATE", "Budget", {"spec": {"maxUnavailable": 0}}, null) with data.parameters as {}
	found == set() with input.request as asking("CREATE", "PodDisruptionBudget", {}, null) with data.parameters as {}
}
