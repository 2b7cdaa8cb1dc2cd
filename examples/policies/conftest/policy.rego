# As conftest reads it: input is the manifest.
package main

import rego.v1

deny contains msg if {
	input.kind == "Deployment"
	input.spec.replicas < 2
	msg := sprintf("%s runs %d replica; run two or more", [input.metadata.name, input.spec.replicas])
}

warn contains msg if {
	input.kind == "Deployment"
	not input.spec.minReadySeconds
	msg := sprintf("%s has no minReadySeconds", [input.metadata.name])
}
