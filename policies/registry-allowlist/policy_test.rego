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

example := {"registries": ["registry.acme.io/"]}

good := {"containers": [{"name": "app", "image": "registry.acme.io/app:1"}]}

bad := {"containers": [{"name": "app", "image": "registry.other.io/app:1"}]}

bad_fields := {"containers[0].image"}

running(image) := pod_of({"containers": [{"name": "app", "image": image}]})

test_every_kind_of_container_and_image_volume_is_judged if {
	spec := {
		"initContainers": [{"image": "registry.acme.io/a"}, {"image": "registry.other.io/a"}],
		"containers": [{"image": "registry.other.io/a"}, {"image": "registry.acme.io/a"}],
		"ephemeralContainers": [{"image": "registry.acme.io/a"}, {"image": "busybox"}],
		"volumes": [
			{"name": "a", "image": {"reference": "registry.acme.io/a"}},
			{"name": "b", "image": {"reference": "registry.other.io/a"}},
			{"name": "c", "emptyDir": {}},
		],
	}
	found == {
		"spec.initContainers[1].image",
		"spec.containers[0].image",
		"spec.ephemeralContainers[1].image",
		"spec.volumes[1].image.reference",
	} with input.request as pod_of(spec)
		with data.parameters as example
}

test_ephemeral_containers_of_a_running_pod_are_judged if {
	new := object.union(good, {"ephemeralContainers": [{"name": "debug", "image": "busybox"}]})
	review := asking("UPDATE", "Pod", {"spec": new}, {"spec": good})
	asked := object.union(review, {"subResource": "ephemeralcontainers"})
	found == {"spec.ephemeralContainers[0].image"} with input.request as asked with data.parameters as example
	found == set() with input.request as asked with data.parameters as {"registries": ["registry.acme.io", "docker.io"]}
}

test_a_prefix_ends_where_a_part_of_the_name_does if {
	every it in [
		["registry.acme.io/", "registry.acme.io/app"],
		["registry.acme.io", "registry.acme.io/team/app"],
		["ghcr.io/acme/", "ghcr.io/acme/app"],
		["ghcr.io/acme", "ghcr.io/acme/app"],
		["ghcr.io/acme/app", "ghcr.io/acme/app:1"],
	] {
		found == set() with input.request as running(it[1]) with data.parameters as {"registries": [it[0]]}
	}
	every it in [
		["registry.acme.io/", "registry.acme.io.evil.example/app"],
		["registry.acme.io", "registry.acme.io.evil.example/app"],
		["ghcr.io/acme", "ghcr.io/acme-evil/app"],
		["ghcr.io/acme/", "ghcr.io/acmeevil"],
		["ghcr.io/acme/app", "ghcr.io/acme/app2:1"],
	] {
		found == {"spec.containers[0].image"} with input.request as running(it[1]) with data.parameters as {"registries": [it[0]]}
	}
}

test_names_without_a_host_are_those_of_docker_hub if {
	every it in [
		["docker.io/", "nginx"],
		["docker.io/library/", "nginx:1.29"],
		["docker.io/library/nginx", "nginx:1.29"],
		["docker.io/library/", "docker.io/nginx"],
		["docker.io/library/", "index.docker.io/library/nginx"],
		["docker.io/library/", "Index.Docker.IO/library/nginx"],
		["docker.io/acme/", "acme/app"],
		["acme/", "acme/app"],
		["docker.io/library/", "localhost:5000"],
		["localhost/", "localhost/app"],
	] {
		found == set() with input.request as running(it[1]) with data.parameters as {"registries": [it[0]]}
	}
	every it in [
		["docker.io/library/", "acme/app"],
		["acme/", "evil/app"],
		["registry.acme.io/", "nginx"],
		["registry.acme.io", "registry.acme.io"],
		["acme/", "Acme/app"],
	] {
		found == {"spec.containers[0].image"} with input.request as running(it[1]) with data.parameters as {"registries": [it[0]]}
	}
}

test_hosts_are_compared_without_case_and_with_their_port if {
	every it in [
		["registry.acme.io/", "Registry.Acme.IO/app"],
		["Registry.acme.io/", "registry.acme.io/app"],
		["localhost:5000/", "localhost:5000/app:1"],
		["registry.acme.io:5000", "registry.acme.io:5000/app"],
	] {
		found == set() with input.request as running(it[1]) with data.parameters as {"registries": [it[0]]}
	}
	every it in [
		["localhost:5000/", "localhost:5001/app:1"],
		["registry.acme.io/", "registry.acme.io:5000/app"],
	] {
		found == {"spec.containers[0].image"} with input.request as running(it[1]) with data.parameters as {"registries": [it[0]]}
	}
}

test_tags_and_digests_do_not_count if {
	digest := "sha256:0123456789012345678901234567890123456789012345678901234567890123"
	every it in [
		["registry.acme.io/app", sprintf("registry.acme.io/app@%s", [digest])],
		["registry.acme.io/app", sprintf("registry.acme.io/app:1@%s", [digest])],
	] {
		found == set() with input.request as running(it[1]) with data.parameters as {"registries": [it[0]]}
	}
	every it in [
		["registry.acme.io/", "registry.other.io/app@registry.acme.io/app"],
		["registry.acme.io/", "registry.acme.io@registry.other.io/app"],
	] {
		found == {"spec.containers[0].image"} with input.request as running(it[1]) with data.parameters as {"registries": [it[0]]}
	}
}

test_the_tenant_is_put_in_for_its_placeholder if {
	judged := {"containers": [{"image": "registry.acme.io/acme/app"}, {"image": "registry.acme.io/globex/app"}]}
	found == {"spec.containers[1].image"} with input.request as pod_of(judged)
		with data.parameters as {"registries": ["registry.acme.io/{tenant}/"]}
		with data.bailiwick.tenant as {"name": "acme"}
}

test_the_message_says_what_is_allowed if {
	says("'busybox' comes from 'docker.io/library/busybox'; allowed: registry.acme.io") with input.request as pod_of({"containers": [{"image": "busybox"}]})
		with data.parameters as example
	fixed_by("one of these: registry.acme.io") with input.request as pod_of(bad) with data.parameters as example
}

test_without_registries_nothing_is_allowed if {
	found == {"spec.containers[0].image"} with input.request as pod_of(good) with data.parameters as {}
	says("allowed: none") with input.request as pod_of(good) with data.parameters as {}
}

test_empty_fields_are_left_to_the_api_server if {
	spec := {"containers": [{}, {"image": ""}], "initContainers": null, "volumes": [{"image": {}}, {"image": {"reference": ""}}]}
	found == set() with input.request as pod_of(spec) with data.parameters as example
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
