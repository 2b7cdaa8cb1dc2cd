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

example := {"allowedHostPorts": [{"min": 9000, "max": 9100}], "allowedHostPaths": [{"path": "/var/log"}]}

good := {"hostNetwork": false, "containers": [{"name": "app", "ports": [{"containerPort": 80}]}]}

bad := {
	"hostNetwork": true,
	"containers": [{"name": "app", "ports": [{"containerPort": 80, "hostPort": 80}]}],
	"volumes": [{"name": "etc", "hostPath": {"path": "/etc"}}],
}

bad_fields := {"hostNetwork", "containers[0].ports[0].hostPort", "volumes[0].hostPath.path"}

test_each_namespace_is_refused if {
	every member in ["hostNetwork", "hostPID", "hostIPC"] {
		found == {sprintf("spec.%s", [member])} with input.request as pod_of({member: true}) with data.parameters as {}
		found == set() with input.request as pod_of({member: false}) with data.parameters as {}
	}
}

test_each_namespace_can_be_allowed if {
	every name in ["Network", "PID", "IPC"] {
		found == set() with input.request as pod_of({sprintf("host%s", [name]): true}) with data.parameters as {"allowedNamespaces": [name]}
		found == {"spec.hostPID", "spec.hostIPC", "spec.hostNetwork"} - {sprintf("spec.host%s", [name])} with input.request as pod_of({"hostPID": true, "hostIPC": true, "hostNetwork": true})
			with data.parameters as {"allowedNamespaces": [name]}
	}
}

test_ports_of_the_node_are_refused_for_every_kind_of_container if {
	spec := {
		"initContainers": [{"ports": [{"hostPort": 9001}, {"hostPort": 80}]}],
		"containers": [{"ports": [{"hostPort": 8999}]}, {"ports": [{"hostPort": 9000}, {"hostPort": 9100}]}, {"ports": [{"hostPort": 9101}]}],
		"ephemeralContainers": [{"ports": [{"hostPort": 80}]}],
	}
	found == {
		"spec.initContainers[0].ports[1].hostPort",
		"spec.containers[0].ports[0].hostPort",
		"spec.containers[2].ports[0].hostPort",
		"spec.ephemeralContainers[0].ports[0].hostPort",
	} with input.request as pod_of(spec)
		with data.parameters as example
}

test_no_port_of_the_node_is_allowed_by_default if {
	found == {"spec.containers[0].ports[0].hostPort"} with input.request as pod_of({"containers": [{"ports": [{"hostPort": 9001}, {"hostPort": 0}, {}]}]})
		with data.parameters as {}
	says("allowed: none") with input.request as pod_of({"containers": [{"ports": [{"hostPort": 9001}]}]}) with data.parameters as {}
}

mounting(path, mounts) := pod_of({
	"volumes": [{"name": "v", "hostPath": {"path": path}}, {"name": "w", "emptyDir": {}}],
	"containers": [{"name": "app", "volumeMounts": mounts}],
})

read_only := [{"name": "v", "readOnly": true}]

test_directories_of_the_node_end_where_a_part_of_the_path_does if {
	every path in ["/var/log", "/var/log/", "/var/log/pods"] {
		found == set() with input.request as mounting(path, read_only) with data.parameters as example
	}
	every path in ["/var/logs", "/var", "/", "/etc", "/var/log/../lib", ""] {
		found == {"spec.volumes[0].hostPath.path"} with input.request as mounting(path, read_only) with data.parameters as example
	}
	found == {"spec.volumes[0].hostPath.path"} with input.request as mounting("/var/log", read_only) with data.parameters as {}
	found == set() with input.request as mounting("/etc", read_only) with data.parameters as {"allowedHostPaths": [{"path": "/"}]}
}

test_directories_of_the_node_are_mounted_for_reading_only if {
	every mounts in [[{"name": "w"}, {"name": "v"}], [{"name": "w"}, {"name": "v", "readOnly": false}]] {
		found == {"spec.containers[0].volumeMounts[1].readOnly"} with input.request as mounting("/var/log", mounts)
			with data.parameters as example
		found == set() with input.request as mounting("/var/log", mounts)
			with data.parameters as {"allowedHostPaths": [{"path": "/var/log", "readOnly": false}]}
		found == set() with input.request as mounting("/var/log/app", mounts)
			with data.parameters as {"allowedHostPaths": [{"path": "/var/log"}, {"path": "/var/log/app", "readOnly": false}]}
	}
}

test_mounts_of_every_kind_of_container_are_judged if {
	spec := {
		"volumes": [{"name": "v", "hostPath": {"path": "/var/log"}}],
		"initContainers": [{"volumeMounts": [{"name": "v"}]}],
		"ephemeralContainers": [{"volumeMounts": [{"name": "v"}]}],
	}
	found == {
		"spec.template.spec.initContainers[0].volumeMounts[0].readOnly",
		"spec.template.spec.ephemeralContainers[0].volumeMounts[0].readOnly",
	} with input.request as template("DaemonSet", spec)
		with data.parameters as example
}

test_the_message_says_what_is_allowed if {
	says("shares the node's Network namespace; allowed: none") with input.request as pod_of(bad) with data.parameters as example
	says("port 80 of the node; allowed: 9000 to 9100") with input.request as pod_of(bad) with data.parameters as example
	says("the volume 'etc' is '/etc' of the node; allowed: /var/log") with input.request as pod_of(bad) with data.parameters as example
	fixed_by("remove hostNetwork") with input.request as pod_of(bad) with data.parameters as example
}

test_empty_fields_are_left_to_the_api_server if {
	spec := {"hostPID": null, "containers": [{"ports": null, "volumeMounts": null}], "volumes": [{}], "initContainers": null}
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
