//! Where Pods run and data lies, told offline.

use super::check;

/// A tenant with a placement, and an object of its.
fn beside(object: &str) -> String {
    format!(
        "apiVersion: bailiwick.dev/v1alpha1
kind: Tenant
metadata: {{name: initech}}
spec:
  namespaces: {{declared: [{{name: initech-prod}}, {{name: initech-edge}}]}}
  placement:
    regions: [eu-1]
    nodeSelector: {{pool: initech}}
    exceptions: [{{reason: public, namespaces: [initech-edge], storageClasses: [nfs]}}]
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {{name: far}}
provisioner: example.com/none
allowedTopologies: [{{matchLabelExpressions: [{{key: topology.kubernetes.io/region, values: [us-1]}}]}}]
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {{name: near}}
provisioner: example.com/none
volumeBindingMode: WaitForFirstConsumer
---
{object}"
    )
}

/// Of the object, which is the last, this is said.
#[track_caller]
fn says(object: &str, expected: &str) {
    check(&beside(object), &["clean", "not judged", "not judged", expected]);
}

fn deployment(namespace: &str, spec: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, namespace: {namespace}}}\nspec:\n  template:\n    spec: {spec}\n"
    )
}

#[test]
fn a_template_that_leaves_its_place_open_is_clean() {
    says(
        &deployment("initech-prod", "{containers: [{name: c, image: c}]}"),
        "clean",
    );
    says(
        &deployment(
            "initech-prod",
            "{nodeSelector: {topology.kubernetes.io/region: eu-1}}",
        ),
        "clean",
    );
    says(
        &deployment(
            "initech-prod",
            "{nodeSelector: {topology.kubernetes.io/region: us-1}}",
        ),
        "28:27 BW-POD-PLACEMENT spec.template.spec.nodeSelector['topology.kubernetes.io/region']",
    );
    says(
        &deployment(
            "initech-edge",
            "{nodeSelector: {topology.kubernetes.io/region: us-1}}",
        ),
        "clean",
    );
}

#[test]
fn a_claim_is_judged_by_the_classes_among_the_files() {
    let claim = |namespace: &str, class: &str| {
        format!(
            "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: data, namespace: {namespace}}}\nspec: {{storageClassName: {class}}}\n"
        )
    };
    says(&claim("initech-prod", "near"), "clean");
    says(
        &claim("initech-prod", "far"),
        "26:8 BW-VOLUME-REGION spec.storageClassName",
    );
    says(&claim("initech-edge", "far"), "clean");
}

#[test]
fn a_volume_for_a_claim_is_judged() {
    let volume = |namespace: &str, class: &str| {
        format!(
            "apiVersion: v1\nkind: PersistentVolume\nmetadata: {{name: data}}\nspec: {{storageClassName: {class}, claimRef: {{namespace: {namespace}, name: data}}}}\n"
        )
    };
    says(
        &volume("initech-prod", "far"),
        "26:1 BW-VOLUME-REGION spec.nodeAffinity",
    );
    says(&volume("initech-prod", "nfs"), "clean");
    says(&volume("initech-edge", "far"), "clean");
    says(&volume("globex-prod", "far"), "clean");
}

/// `kubectl get pods -o yaml` tells which Pods ran before there was a placement.
#[test]
fn a_pod_that_a_cluster_gave_back_is_judged_as_it_is() {
    let pod = |uid: &str, selector: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p, namespace: initech-prod, {uid} labels: {{bailiwick.dev/tenant: initech}}}}\nspec: {{nodeName: node-1, nodeSelector: {{pool: initech, {selector}}}}}\n"
        )
    };
    let here = "topology.kubernetes.io/region: eu-1";
    says(&pod("uid: x,", here), "clean");
    says(&pod("uid: x,", ""), "26:26 BW-POD-PLACEMENT spec.nodeSelector");
    says(&pod("", here), "26:8 BW-POD-NODENAME spec.nodeName");
}
