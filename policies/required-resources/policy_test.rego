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

pod_of(spec) := asking("CREATE", "Pod", {"spec": spec}, null)

template(kind, spec) := asking("CREATE", kind, {"spec": {"template": {"spec": spec}}}, null)

cron_job(spec) := asking("CREATE", "CronJob", {"spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}}}, null)

example := {"requests": ["cpu", "memory"], "limits": ["memory"], "maxLimitRatio": {"cpu": 4, "memory": 1}}

full := {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "128Mi"}}

good := {"containers": [{"name": "app", "resources": full}]}

bad := {"containers": [{"name": "app", "resources": {"requests": {"memory": "128Mi"}, "limits": {"memory": "128Mi"}}}]}

bad_fields := {"containers[0].resources.requests.cpu"}

with_resources(resources) := pod_of({"containers": [{"name": "app", "resources": resources}]})

test_containers_and_init_containers_are_judged_and_ephemeral_ones_not if {
	spec := {
		"initContainers": [{"name": "a"}, {"name": "b", "resources": full}],
		"containers": [{"name": "c", "resources": full}, {"name": "d", "resources": {}}],
		"ephemeralContainers": [{"name": "e"}],
	}
	found == {
		"spec.initContainers[0].resources.requests.cpu",
		"spec.initContainers[0].resources.requests.memory",
		"spec.initContainers[0].resources.limits.memory",
		"spec.containers[1].resources.requests.cpu",
		"spec.containers[1].resources.requests.memory",
		"spec.containers[1].resources.limits.memory",
	} with input.request as pod_of(spec)
		with data.parameters as example
}

test_requests_of_cpu_and_memory_are_needed_by_default if {
	found == {"spec.containers[0].resources.requests.cpu", "spec.containers[0].resources.requests.memory"} with input.request as pod_of({"containers": [{}]})
		with data.parameters as {}
	found == set() with input.request as with_resources({"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"cpu": 100}}) with data.parameters as {}
}

test_limits_can_be_needed if {
	limited := {"requests": [], "limits": ["cpu", "ephemeral-storage"]}
	found == {"spec.containers[0].resources.limits.ephemeral-storage"} with input.request as with_resources({"limits": {"cpu": "1"}})
		with data.parameters as limited
	found == set() with input.request as with_resources({"limits": {"cpu": "1", "ephemeral-storage": "1Gi"}}) with data.parameters as limited
}

test_nothing_is_no_limit if {
	every value in ["0", 0, "much"] {
		found == {"spec.containers[0].resources.limits.cpu"} with input.request as with_resources({"limits": {"cpu": value}})
			with data.parameters as {"requests": [], "limits": ["cpu"]}
		spec := {"resources": {"requests": {"cpu": value}, "limits": {"cpu": value}}, "containers": [{}]}
		found == {"spec.containers[0].resources.requests.cpu", "spec.containers[0].resources.limits.cpu"} with input.request as pod_of(spec)
			with data.parameters as {"requests": ["cpu"], "limits": ["cpu"]}
	}
}

test_a_limit_is_a_request_where_none_is_written if {
	wanted := {"requests": ["cpu"]}
	found == set() with input.request as with_resources({"limits": {"cpu": "1"}}) with data.parameters as wanted
	found == {"spec.containers[0].resources.requests.cpu"} with input.request as with_resources({"requests": {"cpu": "0"}, "limits": {"cpu": "1"}})
		with data.parameters as wanted
}

test_nothing_and_nonsense_are_no_request if {
	every value in ["0", 0, "0m", "0.0", "0e3", "", "much", "-1", "1Zi", "01", null] {
		found == {"spec.containers[0].resources.requests.cpu"} with input.request as with_resources({"requests": {"cpu": value}})
			with data.parameters as {"requests": ["cpu"]}
	}
	every value in ["1", 1, 0.5, "1m", "0.1", "1e3", "2E2", "5E", "1n", "3u", "4k", "1Ki", "1.5Gi"] {
		found == set() with input.request as with_resources({"requests": {"cpu": value}}) with data.parameters as {"requests": ["cpu"]}
	}
}

test_resources_of_the_pod_count_for_its_containers if {
	spec := {"resources": full, "containers": [{"name": "a"}, {"name": "b", "resources": {}}]}
	found == set() with input.request as pod_of(spec) with data.parameters as example
	found == {"spec.containers[0].resources.limits.memory", "spec.containers[1].resources.limits.memory"} with input.request as pod_of(object.union(spec, {"resources": {"limits": {"memory": null}}}))
		with data.parameters as example
}

at_most(maximum, resource) := {"requests": [], "maxLimitRatio": {resource: maximum}}

sized(resource, request, limit) := with_resources({"requests": {resource: request}, "limits": {resource: limit}})

test_a_limit_stays_near_its_request if {
	every it in [
		[3, "cpu", "100m", "300m"],
		[2, "cpu", "0.5", 1],
		[1.5, "cpu", "1", "1500m"],
		[1, "memory", "1Gi", "1024Mi"],
		[1, "memory", "1e3", "1k"],
		[8, "memory", "1Pi", "8192Ti"],
		[1, "memory", "1Ei", "1024Pi"],
		[2, "memory", "1000000u", "2"],
	] {
		found == set() with input.request as sized(it[1], it[2], it[3]) with data.parameters as at_most(it[0], it[1])
	}
	every it in [
		[3, "cpu", "100m", "301m"],
		[2, "cpu", "0.5", "1001m"],
		[1.5, "cpu", "1", "1501m"],
		[1, "memory", "1Gi", "1025Mi"],
		[1, "memory", "1G", "1Gi"],
		[8, "memory", "1Ti", "8193Gi"],
		[1000, "memory", "1T", "1000001G"],
		[2, "memory", "1000000000n", "3"],
		[2, "memory", "0", "1"],
	] {
		found == {sprintf("spec.containers[0].resources.limits.%s", [it[1]])} with input.request as sized(it[1], it[2], it[3]) with data.parameters as at_most(it[0], it[1])
	}
}

test_a_pods_own_limit_stays_near_its_request if {
	spec := {"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "5"}}, "containers": [{"name": "a"}]}
	found == {"spec.resources.limits.cpu"} with input.request as pod_of(spec) with data.parameters as {"requests": [], "maxLimitRatio": {"cpu": 4}}
	found == set() with input.request as pod_of(spec) with data.parameters as {"requests": [], "maxLimitRatio": {"cpu": 5}}
}

test_the_ratio_of_one_resource_says_nothing_of_another if {
	found == set() with input.request as with_resources({"requests": {"cpu": "1"}, "limits": {"cpu": "100"}})
		with data.parameters as {"requests": [], "maxLimitRatio": {"memory": 1}}
}

test_the_message_says_what_is_needed if {
	says("the container 'app' requests no cpu; needed: a request of cpu, memory") with input.request as pod_of(bad) with data.parameters as example
	fixed_by("cpu: 100m") with input.request as pod_of(bad) with data.parameters as example
	says("the container 'app' has no limit of memory; needed: a limit of memory") with input.request as with_resources({}) with data.parameters as example
	says("the limit of cpu is 1 for a request of 100m; allowed: at most 4 times the request") with input.request as with_resources({"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}})
		with data.parameters as example
}

test_empty_fields_are_left_to_the_api_server if {
	found == set() with input.request as pod_of({"containers": null, "initContainers": []}) with data.parameters as example
	found == set() with input.request as pod_of({}) with data.parameters as example
}

below(path) := {sprintf("%s.%s", [path, field]) | some field in bad_fields}

test_pods_are_judged if {
	found == below("spec") with input.request as pod_of(bad) with data.parameters as example
	found == set() with input.request as pod_of(good) with data.parameters as example
}

test_templates_of_every_controller_are_judged if {
	every kind in ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController"] {
		found == below("spec.template.spec") with input.request as template(kind, bad) with data.parameters as example
		found == set() with input.request as template(kind, good) with data.parameters as example
	}
}

test_templates_of_cron_jobs_are_judged if {
	path := "spec.jobTemplate.spec.template.spec"
	found == below(path) with input.request as cron_job(bad) with data.parameters as example
	found == set() with input.request as cron_job(good) with data.parameters as example
}

test_other_kinds_are_not_judged if {
	found == set() with input.request as template("PodTemplate", bad) with data.parameters as example
	found == set() with input.request as asking("CREATE", "Sandbox", {"spec": bad}, null) with data.parameters as example
	found == set() with input.request as object.union(cron_job(bad), {"kind": {"kind": "Schedule"}}) with data.parameters as example
}

test_an_update_is_judged_by_the_new_object if {
	found == below("spec") with input.request as asking("UPDATE", "Pod", {"spec": bad}, {"spec": good})
		with data.parameters as example
	found == set() with input.request as asking("UPDATE", "Pod", {"spec": good}, {"spec": bad})
		with data.parameters as example
}

test_an_update_that_leaves_the_spec_alone_is_not_judged if {
	old := {"metadata": {"finalizers": ["batch.kubernetes.io/job-tracking"]}, "spec": bad}
	found == set() with input.request as asking("UPDATE", "Pod", {"metadata": {}, "spec": bad}, old)
		with data.parameters as example
	found == below("spec") with input.request as asking("UPDATE", "Pod", {"spec": object.union(bad, {"priority": 1})}, old)
		with data.parameters as example
	found == below("spec") with input.request as asking("CREATE", "Pod", {"spec": bad}, old) with data.parameters as example
	every created in [template("Deployment", bad), cron_job(bad)] {
		found == set() with input.request as object.union(created, {"operation": "UPDATE", "oldObject": created.object})
			with data.parameters as example
	}
}

test_a_deletion_is_not_judged if {
	found == set() with input.request as asking("DELETE", "Pod", null, {"spec": bad}) with data.parameters as example
	found == set() with input.request as asking("DELETE", "Deployment", null, {"spec": {"template": {"spec": bad}}})
		with data.parameters as example
}

test_objects_without_a_pod_spec_are_not_judged if {
	every kind in ["Pod", "Deployment", "CronJob"] {
		found == set() with input.request as asking("CREATE", kind, {}, null) with data.parameters as example
	}
}
