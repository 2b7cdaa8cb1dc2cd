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

example := {"allowedServiceAccounts": ["operator", "acme-ci/deployer"]}

good := {"automountServiceAccountToken": false, "containers": [{"name": "app"}]}

bad := {"automountServiceAccountToken": true, "containers": [{"name": "app"}]}

bad_fields := {"automountServiceAccountToken"}

test_only_false_is_enough if {
	every spec in [{}, {"automountServiceAccountToken": null}, {"automountServiceAccountToken": true}] {
		found == {"spec.automountServiceAccountToken"} with input.request as pod_of(spec) with data.parameters as {}
	}
	found == set() with input.request as pod_of({"automountServiceAccountToken": false}) with data.parameters as {}
}

test_a_named_account_may_have_its_token if {
	found == set() with input.request as pod_of({"serviceAccountName": "operator"}) with data.parameters as example
	found == set() with input.request as pod_of({"serviceAccountName": "", "serviceAccount": "operator"}) with data.parameters as example
	found == {"spec.automountServiceAccountToken"} with input.request as pod_of({"serviceAccountName": "operator2"}) with data.parameters as example
	found == {"spec.automountServiceAccountToken"} with input.request as pod_of({"serviceAccountName": "app", "serviceAccount": "operator"})
		with data.parameters as example
}

test_an_account_can_be_named_with_its_namespace if {
	asked := pod_of({"serviceAccountName": "deployer"})
	found == {"spec.automountServiceAccountToken"} with input.request as asked with data.parameters as example
	found == set() with input.request as object.union(asked, {"namespace": "acme-ci"}) with data.parameters as example
}

projecting(source) := object.union(good, {"volumes": [
	{"name": "data", "emptyDir": {}},
	{"name": "token", "projected": {"sources": [{"configMap": {"name": "ca"}}, {"serviceAccountToken": source}]}},
]})

test_tokens_for_the_api_server_are_no_way_around if {
	every source in [{"path": "token"}, {"path": "token", "audience": ""}] {
		found == {"spec.volumes[1].projected.sources[1].serviceAccountToken"} with input.request as pod_of(projecting(source))
			with data.parameters as example
		found == {"spec.template.spec.volumes[1].projected.sources[1].serviceAccountToken"} with input.request as template("Deployment", projecting(source))
			with data.parameters as example
		found == set() with input.request as pod_of(projecting(source)) with data.parameters as {"allowProjectedTokens": true}
		found == set() with input.request as pod_of(object.union(projecting(source), {"serviceAccountName": "operator"}))
			with data.parameters as example
	}
	found == set() with input.request as pod_of(projecting({"path": "token", "audience": "vault"})) with data.parameters as example
}

test_the_volume_that_comes_with_the_token_is_not_told_twice if {
	spec := object.union(projecting({"path": "token"}), {"automountServiceAccountToken": true})
	found == {"spec.automountServiceAccountToken"} with input.request as pod_of(spec) with data.parameters as example
}

test_the_message_says_what_is_allowed if {
	says("the token of the ServiceAccount 'default' is mounted into the pod; allowed: pods of operator, acme-ci/deployer") with input.request as pod_of(bad)
		with data.parameters as example
	says("allowed: pods of no ServiceAccount") with input.request as pod_of(bad) with data.parameters as {}
	says("the volume 'token' holds a token of the ServiceAccount 'default' for the API server") with input.request as pod_of(projecting({}))
		with data.parameters as example
	fixed_by("automountServiceAccountToken: false") with input.request as pod_of(bad) with data.parameters as example
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
