package main

import rego.v1

deployment(replicas) := {"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": replicas}}

test_one_replica_is_refused if {
	deny == {"web runs 1 replica; run two or more"} with input as deployment(1)
}

test_two_are_not if {
	count(deny) == 0 with input as deployment(2)
}

test_a_warning_is_given if {
	count(warn) == 1 with input as deployment(2)
}
