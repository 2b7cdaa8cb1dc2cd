# A policy of a platform team: what is exposed has somebody to call.
package bailiwick

deny contains violation if {
	input.request.kind.kind == "Service"
	object.get(input.request.object.spec, "type", "ClusterIP") == "LoadBalancer"
	not input.request.object.metadata.annotations["example.com/on-call"]
	violation := {
		"msg": sprintf("the Service is exposed by %s, and nobody is on call for it", [data.bailiwick.tenant.name]),
		"field": "metadata.annotations['example.com/on-call']",
		"fix": "name who is on call in the annotation example.com/on-call",
	}
}
