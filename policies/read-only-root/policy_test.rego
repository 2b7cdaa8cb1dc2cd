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

example := {"allowEphemeralContainers": true}

reading := {"securityContext": {"readOnlyRootFilesystem": true}}

good := {"containers": [object.union(reading, {"name": "app"})]}

bad := {"containers": [{"name": "app", "securityContext": {"readOnlyRootFilesystem": false}}]}

bad_fields := {"containers[0].securityContext.readOnlyRootFilesystem"}

each := {
	"initContainers": [{"name": "a"}, reading],
	"containers": [reading, {"name": "b"}],
	"ephemeralContainers": [{"name": "c"}, reading],
}

test_every_kind_of_container_is_judged if {
	found == {
		"spec.initContainers[0].securityContext.readOnlyRootFilesystem",
		"spec.containers[1].securityContext.readOnlyRootFilesystem",
		"spec.ephemeralContainers[0].securityContext.readOnlyRootFilesystem",
	} with input.request as pod_of(each)
		with data.parameters as {}
}

test_ephemeral_containers_can_be_allowed if {
	found == {
		"spec.initContainers[0].securityContext.readOnlyRootFilesystem",
		"spec.containers[1].securityContext.readOnlyRootFilesystem",
	} with input.request as pod_of(each)
		with data.parameters as {"allowEphemeralContainers": true}
}

test_init_containers_can_be_allowed if {
	found == {
		"spec.containers[1].securityContext.readOnlyRootFilesystem",
		"spec.ephemeralContainers[0].securityContext.readOnlyRootFilesystem",
	} with input.request as pod_of(each)
		with data.parameters as {"allowInitContainers": true}
}

test_sidecars_are_never_allowed if {
	spec := {"initContainers": [{"name": "proxy", "restartPolicy": "Always"}, {"name": "migrate"}]}
	found == {"spec.initContainers[0].securityContext.readOnlyRootFilesystem"} with input.request as pod_of(spec)
		with data.parameters as {"allowInitContainers": true}
}

test_ephemeral_containers_of_a_running_pod_are_judged if {
	new := object.union(good, {"ephemeralContainers": [{"name": "debug"}]})
	review := asking("UPDATE", "Pod", {"spec": new}, {"spec": good})
	asked := object.union(review, {"subResource": "ephemeralcontainers"})
	found == {"spec.ephemeralContainers[0].securityContext.readOnlyRootFilesystem"} with input.request as asked with data.parameters as {}
	found == set() with input.request as asked with data.parameters as example
}

test_only_true_is_enough if {
	every context in [{}, null, {"readOnlyRootFilesystem": false}, {"readOnlyRootFilesystem": null}, {"readOnlyRootFilesystem": "true"}] {
		found == {"spec.containers[0].securityContext.readOnlyRootFilesystem"} with input.request as pod_of({"containers": [{"securityContext": context}]})
			with data.parameters as {}
	}
}

test_windows_has_no_read_only_root if {
	found == set() with input.request as pod_of({"os": {"name": "windows"}, "containers": [{}]}) with data.parameters as {}
	found == {"spec.containers[0].securityContext.readOnlyRootFilesystem"} with input.request as pod_of({"os": {"name": "linux"}, "containers": [{}]})
		with data.parameters as {}
}

test_the_message_says_what_is_needed if {
	says("the container 'app' may write to its root filesystem; needed: a read-only one") with input.request as pod_of(bad)
		with data.parameters as example
	fixed_by("readOnlyRootFilesystem: true") with input.request as pod_of(bad) with data.parameters as example
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
