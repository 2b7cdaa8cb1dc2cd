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

example := {"probes": ["readiness", "liveness"]}

check := {"httpGet": {"path": "/ready", "port": 8080}}

ready := {"name": "app", "readinessProbe": check, "livenessProbe": check}

good := {"containers": [ready]}

bad := {"containers": [{"name": "app", "livenessProbe": check}]}

bad_fields := {"containers[0].readinessProbe"}

test_each_probe_is_needed_by_each_container if {
	spec := {"containers": [ready, {"name": "proxy"}, object.remove(ready, ["livenessProbe"])]}
	found == {
		"spec.containers[1].readinessProbe",
		"spec.containers[1].livenessProbe",
		"spec.containers[2].livenessProbe",
	} with input.request as pod_of(spec)
		with data.parameters as example
}

test_sidecars_need_them_and_containers_that_end_do_not if {
	spec := {
		"initContainers": [{"name": "migrate"}, {"name": "proxy", "restartPolicy": "Always"}, object.union(ready, {"restartPolicy": "Always"})],
		"containers": [ready],
		"ephemeralContainers": [{"name": "debug"}],
	}
	found == {"spec.initContainers[1].readinessProbe", "spec.initContainers[1].livenessProbe"} with input.request as pod_of(spec)
		with data.parameters as example
}

test_only_readiness_is_needed_by_default if {
	found == {"spec.containers[0].readinessProbe"} with input.request as pod_of({"containers": [{"name": "app"}]}) with data.parameters as {}
	found == set() with input.request as pod_of({"containers": [{"name": "app", "readinessProbe": check}]}) with data.parameters as {}
}

test_startup_probes_can_be_needed if {
	found == {"spec.containers[0].startupProbe"} with input.request as pod_of(good) with data.parameters as {"probes": ["startup"]}
}

test_a_probe_has_a_handler if {
	every handler in ["exec", "grpc", "httpGet", "tcpSocket"] {
		found == set() with input.request as pod_of({"containers": [{"readinessProbe": {handler: {}}}]}) with data.parameters as {}
	}
	every empty in [{}, {"periodSeconds": 5}, {"httpGet": null}, null] {
		found == {"spec.containers[0].readinessProbe"} with input.request as pod_of({"containers": [{"readinessProbe": empty}]})
			with data.parameters as {}
	}
}

test_pods_that_run_to_completion_need_none if {
	every policy in ["OnFailure", "Never"] {
		spec := object.union(bad, {"restartPolicy": policy})
		found == set() with input.request as pod_of(spec) with data.parameters as example
		found == set() with input.request as template("Job", spec) with data.parameters as example
		found == set() with input.request as cron_job(spec) with data.parameters as example
		found == {"spec.template.spec.containers[0].readinessProbe"} with input.request as template("Job", spec)
			with data.parameters as object.union(example, {"includeJobs": true})
	}
	found == below("spec") with input.request as pod_of(object.union(bad, {"restartPolicy": "Always"})) with data.parameters as example
	sidecar := {"restartPolicy": "Never", "initContainers": [{"name": "proxy", "restartPolicy": "Always"}]}
	found == set() with input.request as template("Job", sidecar) with data.parameters as example
}

test_the_message_says_what_is_needed if {
	says("the container 'app' has no readiness probe; needed: readiness, liveness") with input.request as pod_of(bad)
		with data.parameters as example
	fixed_by("write a readinessProbe") with input.request as pod_of(bad) with data.parameters as example
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
