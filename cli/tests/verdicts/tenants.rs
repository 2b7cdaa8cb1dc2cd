//! Tenants: by themselves, and against each other.

use super::check;

fn tenant(name: &str, spec: &str) -> String {
    format!("apiVersion: bailiwick.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: {name}}}\n{spec}")
}

#[test]
fn a_tenant_may_be_nothing_but_a_name() {
    check(&tenant("initech", ""), &["clean"]);
    check(&tenant("initech", "spec:\n"), &["clean"]);
    check(&tenant("initech", "spec: {}\n"), &["clean"]);
    check(
        &tenant("kube-initech", ""),
        &["3:12 BW-TENANT-INVALID metadata.name"],
    );
}

#[test]
fn shape_and_meaning_are_judged_together() {
    check(
        &tenant(
            "initech",
            "spec:\n  onwers: []\n  owners: [{kind: User, name: 'system:admin'}]\n",
        ),
        &["5:3 BW-TENANT-INVALID spec.onwers, 6:25 BW-TENANT-INVALID spec.owners[0].name"],
    );
    check(
        &tenant("initech", "spec:\n  owners: [{kind: User, name: ines}]\n"),
        &["clean"],
    );
    // One problem is said once, also where both know it.
    check(
        &tenant(
            "initech",
            "spec:\n  access: [{clusterRole: edit, subjects: []}]\n",
        ),
        &["5:32 BW-TENANT-INVALID spec.access[0].subjects"],
    );
    // A Tenant that can't be read for its shape is explained by its shape.
    check(
        &tenant("initech", "spec:\n  owners: {}\n  access: [{clusterRole: 5}]\n"),
        &[
            "5:3 BW-TENANT-INVALID spec.owners, 6:12 BW-TENANT-INVALID spec.access[0].subjects, 6:13 BW-TENANT-INVALID spec.access[0].clusterRole",
        ],
    );
}

#[test]
fn two_tenants_share_no_name_and_no_namespace() {
    check(
        &tenant(
            "initech",
            "spec: {namespaces: {declared: [{name: initech-prod}]}}\n",
        ),
        &["clean"],
    );
    check(
        &tenant("initech", "spec: {namespaces: {declared: [{name: acme-prod}]}}\n"),
        &["4:32 BW-TENANT-NAMESPACE spec.namespaces.declared['acme-prod']"],
    );
    check(
        &tenant("initech", "spec: {identities: {groups: ['oidc:initech:*']}}\n"),
        &["clean"],
    );
    check(
        &tenant("initech", "spec: {identities: {groups: ['oidc:acme:dev']}}\n"),
        &["4:30 BW-TENANT-IDENTITY spec.owners and spec.identities"],
    );
}

#[test]
fn the_status_of_an_export_is_nobodys_claim() {
    check(
        &tenant(
            "initech",
            "status: {namespaces: [{name: shared, uid: u, origin: Declared}]}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: shared}\n",
        ),
        &["clean", "clean"],
    );
}

#[test]
fn workloads_of_a_tenant_that_is_refused_are_judged_as_if_it_were_corrected() {
    let pod = |label: &str| {
        let tenant = tenant(
            "initech",
            "spec: {onwers: [], namespaces: {declared: [{name: initech}]}, podLabel: Require}\n",
        );
        format!(
            "{tenant}---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p, namespace: initech, labels: {{bailiwick.dev/tenant: {label}}}}}\n"
        )
    };
    let typo = "4:8 BW-TENANT-INVALID spec.onwers";
    check(&pod("initech"), &[typo, "clean"]);
    check(
        &pod("acme"),
        &[typo, "8:50 BW-POD-LABEL metadata.labels['bailiwick.dev/tenant']"],
    );
}
