package bailiwick

# Whether pods that aren't ready may always be evicted.
always_allow_required := object.get(data.parameters, "requireAlwaysAllow", false)

# Whether minAvailable may be a number of pods: one that isn't below the number of replicas blocks every eviction.
number_allowed := object.get(data.parameters, "allowMinAvailableNumber", true)

deny contains violation if {
	regex.match(`^0+%?$`, sprintf("%v", [spec.maxUnavailable]))
	violation := {
		"msg": sprintf("maxUnavailable is %v, so no pod can ever be evicted; allowed: 1 or more", [spec.maxUnavailable]),
		"field": "spec.maxUnavailable",
		"fix": "write maxUnavailable: 1",
	}
}

deny contains violation if {
	regex.match(`^0*[1-9][0-9]{2,}%$`, sprintf("%v", [spec.minAvailable]))
	violation := {
		"msg": sprintf("minAvailable is %v, so no pod can ever be evicted; allowed: less than 100%%", [spec.minAvailable]),
		"field": "spec.minAvailable",
		"fix": "write maxUnavailable: 1 in place of minAvailable",
	}
}

deny contains violation if {
	spec
	not bounded
	violation := {
		"msg": "the budget has neither maxUnavailable nor minAvailable, so no pod can ever be evicted; allowed: maxUnavailable of 1 or more",
		"field": "spec.maxUnavailable",
		"fix": "write maxUnavailable: 1",
	}
}

bounded if is_budget(spec.maxUnavailable)

bounded if is_budget(spec.minAvailable)

is_budget(value) if is_number(value)

is_budget(value) if is_string(value)

deny contains violation if {
	not number_allowed
	is_number(spec.minAvailable)
	spec.minAvailable > 0
	violation := {
		"msg": sprintf("minAvailable is %d, which blocks every eviction when there are as few replicas; allowed: maxUnavailable, or minAvailable in percent", [spec.minAvailable]),
		"field": "spec.minAvailable",
		"fix": "write maxUnavailable: 1 in place of minAvailable",
	}
}

deny contains violation if {
	always_allow_required
	found := object.get(spec, "unhealthyPodEvictionPolicy", "IfHealthyBudget")
	found != "AlwaysAllow"
	violation := {
		"msg": sprintf("unhealthyPodEvictionPolicy is %s, so pods that crash block the draining of their node; needed: AlwaysAllow", [found]),
		"field": "spec.unhealthyPodEvictionPolicy",
		"fix": "write unhealthyPodEvictionPolicy: AlwaysAllow",
	}
}

# An update that leaves the budget alone blocks nothing new, so labels and status of budgets that were there before the
# policy can still be written.
spec := input.request.object.spec if {
	input.request.kind.kind == "PodDisruptionBudget"
	not unchanged
}

unchanged if {
	input.request.operation == "UPDATE"
	input.request.object.spec == input.request.oldObject.spec
}
