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

example := {"forbiddenTags": ["latest", "main"]}

good := {"containers": [{"name": "app", "image": "registry.acme.io/app:1.4.2"}]}

bad := {"containers": [{"name": "app", "image": "registry.acme.io/app:latest"}]}

bad_fields := {"containers[0].image"}

digest := "sha256:0123456789012345678901234567890123456789012345678901234567890123"

of(image) := pod_of({"containers": [{"name": "app", "image": image}]})

test_every_kind_of_container_and_image_volume_is_judged if {
	spec := {
		"initContainers": [{"image": "a:1"}, {"image": "a"}],
		"containers": [{"image": "a:latest"}, {"image": "a:1"}],
		"ephemeralContainers": [{"image": "a:1"}, {"image": "a:main"}],
		"volumes": [{"image": {"reference": "a:1"}}, {"image": {"reference": "a"}}, {"emptyDir": {}}],
	}
	found == {
		"spec.initContainers[1].image",
		"spec.containers[0].image",
		"spec.ephemeralContainers[1].image",
		"spec.volumes[1].image.reference",
	} with input.request as pod_of(spec)
		with data.parameters as example
}

test_no_tag_is_refused if {
	every image in ["app", "registry.acme.io/app", "registry.acme.io:5000/app", "localhost:5000/team/app"] {
		found == {"spec.containers[0].image"} with input.request as of(image) with data.parameters as example
		says("has no tag") with input.request as of(image) with data.parameters as example
		found == set() with input.request as of(sprintf("%s:1", [image])) with data.parameters as example
	}
}

test_forbidden_tags_are_refused if {
	says("has the tag 'main'; allowed: every tag but latest, main") with input.request as of("app:main") with data.parameters as example
	fixed_by(":1.4.2") with input.request as of("app:main") with data.parameters as example
	found == set() with input.request as of("app:maintenance") with data.parameters as example
	found == set() with input.request as of("main/latest:1") with data.parameters as example
}

test_only_latest_is_forbidden_by_default if {
	found == {"spec.containers[0].image"} with input.request as of("app:latest") with data.parameters as {}
	found == set() with input.request as of("app:main") with data.parameters as {}
}

test_no_tag_is_refused_whatever_is_forbidden if {
	found == {"spec.containers[0].image"} with input.request as of("app") with data.parameters as {"forbiddenTags": []}
	found == set() with input.request as of("app:latest") with data.parameters as {"forbiddenTags": []}
}

test_a_digest_makes_up_for_the_tag if {
	every image in ["app", "app:latest", "registry.acme.io:5000/app:main"] {
		found == set() with input.request as of(sprintf("%s@%s", [image, digest])) with data.parameters as example
	}
	found == {"spec.containers[0].image"} with input.request as of("app@sha256:") with data.parameters as example
	found == {"spec.containers[0].image"} with input.request as of("app:latest@1234") with data.parameters as example
}

test_a_digest_is_needed_when_it_is_required if {
	strict := {"requireDigest": true}
	every image in ["app", "app:latest", "app:1.4.2", "app:1.4.2@sha256:12"] {
		found == {"spec.containers[0].image"} with input.request as of(image) with data.parameters as strict
		says("has no digest") with input.request as of(image) with data.parameters as strict
		count(deny) == 1 with input.request as of(image) with data.parameters as strict
	}
	found == set() with input.request as of(sprintf("app:1.4.2@%s", [digest])) with data.parameters as strict
	found == set() with input.request as of("app:1.4.2") with data.parameters as {"requireDigest": false}
}

test_ephemeral_containers_of_a_running_pod_are_judged if {
	new := object.union(good, {"ephemeralContainers": [{"name": "debug", "image": "busybox"}]})
	review := asking("UPDATE", "Pod", {"spec": new}, {"spec": good})
	asked := object.union(review, {"subResource": "ephemeralcontainers"})
	found == {"spec.ephemeralContainers[0].image"} with input.request as asked with data.parameters as example
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
