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

example := {"allowedTypes": ["RuntimeDefault", "Localhost"], "allowedLocalhostProfiles": ["profiles/app.json"]}

runtime_default := {"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}

unconfined := {"securityContext": {"seccompProfile": {"type": "Unconfined"}}}

good := object.union(runtime_default, {"containers": [{"name": "app"}]})

bad := {"containers": [{"name": "app"}]}

bad_fields := {"securityContext.seccompProfile.type"}

test_the_pod_or_each_container_has_a_profile if {
	found == set() with input.request as pod_of({"containers": [runtime_default], "initContainers": [runtime_default]}) with data.parameters as {}
	every context in [{}, null, {"seccompProfile": null}] {
		spec := {
			"securityContext": context,
			"initContainers": [{"name": "a", "securityContext": context}],
			"containers": [object.union(runtime_default, {"name": "b"}), {"name": "c"}],
			"ephemeralContainers": [{"name": "d"}],
		}
		found == {"spec.securityContext.seccompProfile.type"} with input.request as pod_of(spec) with data.parameters as {}
		says("for the containers a, c, d; allowed: RuntimeDefault, Localhost") with input.request as pod_of(spec) with data.parameters as {}
	}
}

test_every_kind_of_container_is_judged if {
	spec := object.union(runtime_default, {
		"initContainers": [unconfined, {"name": "a"}],
		"containers": [{"name": "b"}, unconfined],
		"ephemeralContainers": [runtime_default, unconfined],
	})
	found == {
		"spec.initContainers[0].securityContext.seccompProfile.type",
		"spec.containers[1].securityContext.seccompProfile.type",
		"spec.ephemeralContainers[1].securityContext.seccompProfile.type",
	} with input.request as pod_of(spec)
		with data.parameters as {}
}

test_ephemeral_containers_of_a_running_pod_are_judged if {
	new := object.union(good, {"ephemeralContainers": [object.union(unconfined, {"name": "debug"})]})
	review := asking("UPDATE", "Pod", {"spec": new}, {"spec": good})
	asked := object.union(review, {"subResource": "ephemeralcontainers"})
	found == {"spec.ephemeralContainers[0].securityContext.seccompProfile.type"} with input.request as asked with data.parameters as example
}

test_the_pods_own_profile_is_judged if {
	found == {"spec.securityContext.seccompProfile.type"} with input.request as pod_of(object.union(unconfined, {"containers": [runtime_default]}))
		with data.parameters as {}
	found == {"spec.securityContext.seccompProfile.type"} with input.request as pod_of({"securityContext": {"seccompProfile": {}}, "containers": [{}]})
		with data.parameters as {}
}

local(profile) := object.union(bad, {"securityContext": {"seccompProfile": object.union(profile, {"type": "Localhost"})}})

test_profiles_on_the_node_can_be_limited if {
	found == set() with input.request as pod_of(local({"localhostProfile": "profiles/app.json"})) with data.parameters as example
	every profile in [{"localhostProfile": "profiles/other.json"}, {}] {
		found == {"spec.securityContext.seccompProfile.localhostProfile"} with input.request as pod_of(local(profile)) with data.parameters as example
		found == set() with input.request as pod_of(local(profile)) with data.parameters as {}
		found == {"spec.securityContext.seccompProfile.type"} with input.request as pod_of(local(profile))
			with data.parameters as {"allowedTypes": ["RuntimeDefault"], "allowedLocalhostProfiles": []}
	}
}

test_windows_has_no_seccomp if {
	found == set() with input.request as pod_of(object.union(bad, {"os": {"name": "windows"}})) with data.parameters as {}
	found == below("spec") with input.request as pod_of(object.union(bad, {"os": {"name": "linux"}})) with data.parameters as {}
}

test_the_message_says_what_is_allowed if {
	says("the seccomp profile is 'Unconfined'; allowed: RuntimeDefault, Localhost") with input.request as pod_of(unconfined)
		with data.parameters as {}
	fixed_by("write type: RuntimeDefault") with input.request as pod_of(unconfined) with data.parameters as {"allowedTypes": ["RuntimeDefault"]}
	says("the seccomp profile on the node is 'x'; allowed: profiles/app.json") with input.request as pod_of(local({"localhostProfile": "x"}))
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
