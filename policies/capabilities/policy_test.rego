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

example := {"allowedAdds": ["NET_BIND_SERVICE", "CHOWN"]}

dropping := {"securityContext": {"capabilities": {"drop": ["ALL"]}}}

good := {"containers": [object.union(dropping, {"name": "app"})]}

bad := {"containers": [{"name": "app", "securityContext": {"privileged": true, "capabilities": {"add": ["CHOWN", "SYS_ADMIN"]}}}]}

bad_fields := {
	"containers[0].securityContext.privileged",
	"containers[0].securityContext.capabilities.drop",
	"containers[0].securityContext.capabilities.add[1]",
}

adding(capability) := pod_of({"containers": [{"securityContext": {"capabilities": {"drop": ["ALL"], "add": [capability]}}}]})

test_every_kind_of_container_is_judged if {
	spec := {
		"initContainers": [{"name": "a"}, dropping],
		"containers": [dropping, {"name": "b"}],
		"ephemeralContainers": [{"name": "c"}, dropping],
	}
	found == {
		"spec.initContainers[0].securityContext.capabilities.drop",
		"spec.containers[1].securityContext.capabilities.drop",
		"spec.ephemeralContainers[0].securityContext.capabilities.drop",
	} with input.request as pod_of(spec)
		with data.parameters as example
}

test_ephemeral_containers_of_a_running_pod_are_judged if {
	debug := {"name": "debug", "securityContext": {"capabilities": {"drop": ["ALL"], "add": ["SYS_PTRACE"]}}}
	new := object.union(good, {"ephemeralContainers": [debug]})
	review := asking("UPDATE", "Pod", {"spec": new}, {"spec": good})
	asked := object.union(review, {"subResource": "ephemeralcontainers"})
	found == {"spec.ephemeralContainers[0].securityContext.capabilities.add[0]"} with input.request as asked with data.parameters as example
	found == set() with input.request as asked with data.parameters as {"allowedAdds": ["SYS_PTRACE"]}
}

test_all_have_to_be_dropped if {
	every context in [{}, null, {"capabilities": {}}, {"capabilities": null}, {"capabilities": {"drop": []}}, {"capabilities": {"drop": ["NET_RAW"]}}] {
		found == {"spec.containers[0].securityContext.capabilities.drop"} with input.request as pod_of({"containers": [{"securityContext": context}]})
			with data.parameters as {}
		found == set() with input.request as pod_of({"containers": [{"securityContext": context}]})
			with data.parameters as {"requireDropAll": false}
	}
	found == set() with input.request as pod_of({"containers": [{"securityContext": {"capabilities": {"drop": ["NET_RAW", "ALL"]}}}]})
		with data.parameters as {}
}

test_only_allowed_ones_may_be_added if {
	every capability in ["NET_BIND_SERVICE", "net_bind_service", "CAP_NET_BIND_SERVICE"] {
		found == set() with input.request as adding(capability) with data.parameters as {}
	}
	every capability in ["SYS_ADMIN", "sys_admin", "CAP_SYS_ADMIN", "ALL", "all", "CHOWN"] {
		found == {"spec.containers[0].securityContext.capabilities.add[0]"} with input.request as adding(capability)
			with data.parameters as {}
	}
	found == set() with input.request as adding("CHOWN") with data.parameters as example
	found == {"spec.containers[0].securityContext.capabilities.add[0]"} with input.request as adding("NET_BIND_SERVICE")
		with data.parameters as {"allowedAdds": []}
}

test_privileged_containers_are_refused if {
	every value in [false, true] {
		container := {"securityContext": {"privileged": value, "capabilities": {"drop": ["ALL"]}}}
		found == {"spec.containers[0].securityContext.privileged" | value} with input.request as pod_of({"containers": [container]})
			with data.parameters as {"allowedAdds": []}
	}
}

test_windows_has_no_capabilities if {
	found == set() with input.request as pod_of({"os": {"name": "windows"}, "containers": [{}]}) with data.parameters as {}
	found == {"spec.containers[0].securityContext.capabilities.drop"} with input.request as pod_of({"os": {"name": "linux"}, "containers": [{}]})
		with data.parameters as {}
}

test_the_message_says_what_is_allowed if {
	says("the container 'app' adds the capability SYS_ADMIN; allowed: NET_BIND_SERVICE, CHOWN") with input.request as pod_of(bad)
		with data.parameters as example
	says("'app' is privileged") with input.request as pod_of(bad) with data.parameters as example
	says("needed: ALL among those dropped") with input.request as pod_of(bad) with data.parameters as example
	says("allowed: none") with input.request as adding("CHOWN") with data.parameters as {"allowedAdds": []}
	fixed_by("remove SYS_ADMIN") with input.request as pod_of(bad) with data.parameters as example
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
