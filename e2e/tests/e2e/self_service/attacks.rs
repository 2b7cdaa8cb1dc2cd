//! What an owner, or somebody like one, might try. Here RBAC lets everything pass: admission alone decides.

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{objects, wait::eventually};
use serde_json::{Value, json};

use super::{create, giving, owner, post, serving, taken, welcome};
use crate::{
    fixture::{SOON, on_shared_cluster, ready_tenant, unique},
    requests::{Callers, Rights, Step},
    steps::{TENANT_LABEL, condition, namespaces, tenant},
};

fn step(user: &str, verb: &str, path: &str, body: Value) -> Step {
    Step {
        user: user.to_owned(),
        groups: Vec::new(),
        verb: verb.to_owned(),
        path: path.to_owned(),
        body,
        rights: Rights::All,
    }
}

const ALL: &str = "/api/v1/namespaces";

#[test]
#[allow(clippy::too_many_lines, reason = "one entry for each attempt")]
fn a_namespace_is_made_with_ones_own_label_and_nothing_that_decides() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let admin = cluster.client();
        let (name, other, third) = (unique("attack"), unique("victim"), unique("closed"));
        let (ns, declared) = (format!("{name}-x"), format!("{name}-declared"));
        let yaml = serving(&name, 9, "", &format!(", identities: {{ users: [{name}-dev] }}"));
        ready_tenant(cluster, &yaml, SOON).await?;
        ready_tenant(cluster, &serving(&other, 9, "", ""), SOON).await?;
        ready_tenant(cluster, &tenant(&third, &[&declared], ""), SOON).await?;
        let (alice, dev, carol) = (
            format!("{name}-owner"),
            format!("{name}-dev"),
            format!("{third}-owner"),
        );
        let mut callers = Callers::new(cluster);
        let object =
            |metadata: Value| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata });
        let labelled = |label: &str| object(json!({ "name": ns, "labels": { TENANT_LABEL: label } }));
        let with = |key: &str, value: Value| {
            let mut metadata = json!({ "name": ns });
            metadata[key] = value;
            object(metadata)
        };
        eventually(SOON, "the webhook knows the Tenants", async || {
            let sent = callers
                .send(&step(&alice, "create", ALL, labelled(&name)), "dryRun=All", &[])
                .await?;
            Ok(sent?)
        })
        .await?;
        let apply = format!("{ALL}/{ns}");
        let reference = json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "u" }]);
        for (user, verb, path, body, expected) in [
            (&alice, "create", ALL, labelled(&name), ""),
            (&alice, "create", ALL, object(json!({ "name": ns })), ""),
            (
                &alice,
                "create",
                ALL,
                object(json!({ "generateName": format!("{name}-") })),
                "",
            ),
            (&alice, "apply", &apply, object(json!({ "name": ns })), ""),
            (&alice, "create", ALL, labelled(&other), "BW-NS-IDENTITY"),
            (&alice, "create", ALL, labelled(""), "BW-NS-IDENTITY"),
            (&alice, "apply", &apply, labelled(&other), "BW-NS-IDENTITY"),
            (
                &alice,
                "create",
                ALL,
                object(json!({ "generateName": format!("{name}-"), "labels": { TENANT_LABEL: other } })),
                "BW-NS-IDENTITY",
            ),
            (
                &alice,
                "create",
                ALL,
                object(json!({ "name": format!("{other}-x") })),
                "BW-NS-PREFIX",
            ),
            (
                &alice,
                "create",
                ALL,
                object(json!({ "generateName": "x-" })),
                "BW-NS-PREFIX",
            ),
            (
                &alice,
                "create",
                ALL,
                object(json!({ "name": declared })),
                "BW-NS-PREFIX",
            ),
            (
                &alice,
                "create",
                ALL,
                with("labels", json!({ "bailiwick.dev/pod-label": "Verify" })),
                "BW-NS-IDENTITY",
            ),
            (
                &alice,
                "create",
                ALL,
                with(
                    "labels",
                    json!({ TENANT_LABEL: other, "bailiwick.dev/pod-label": "Verify" }),
                ),
                "BW-NS-IDENTITY",
            ),
            (
                &alice,
                "create",
                ALL,
                with(
                    "labels",
                    json!({ "pod-security.kubernetes.io/enforce": "privileged" }),
                ),
                "BW-NS-IDENTITY",
            ),
            (
                &alice,
                "create",
                ALL,
                with("labels", json!({ "resource.kubernetes.io/admin-access": "true" })),
                "BW-NS-IDENTITY",
            ),
            (
                &alice,
                "create",
                ALL,
                with("labels", json!({ "admission.gatekeeper.sh/ignore": "x" })),
                "BW-NS-METADATA",
            ),
            (
                &alice,
                "create",
                ALL,
                with("annotations", json!({ "bailiwick.dev/tenant-uid": "x" })),
                "BW-NS-METADATA",
            ),
            (
                &alice,
                "create",
                ALL,
                with("annotations", json!({ "bailiwick.dev/adopt-by": name })),
                "BW-NS-ADOPT",
            ),
            (
                &alice,
                "create",
                ALL,
                with("finalizers", json!(["acme.example/stay"])),
                "BW-NS-METADATA",
            ),
            (
                &alice,
                "create",
                ALL,
                with("ownerReferences", reference),
                "BW-NS-OWNERREF",
            ),
            // No owner; of a Tenant without self-service; and the platform, whose namespaces are nobody's.
            (
                &dev,
                "create",
                ALL,
                object(json!({ "name": ns })),
                "BW-NS-SELFSERVICE",
            ),
            (
                &carol,
                "create",
                ALL,
                object(json!({ "name": format!("{third}-x") })),
                "BW-NS-SELFSERVICE",
            ),
            (&carol, "create", ALL, labelled(&third), "BW-NS-SELFSERVICE"),
            (
                &"platform-admin".to_owned(),
                "create",
                ALL,
                object(json!({ "name": ns })),
                "",
            ),
            (
                &"platform-admin".to_owned(),
                "create",
                ALL,
                labelled(&name),
                "BW-NS-IDENTITY",
            ),
        ] {
            let sent = callers
                .send(&step(user, verb, path, body.clone()), "dryRun=All", &[])
                .await?;
            let context = || format!("{user} {verb} {path} {body}");
            if expected.is_empty() {
                sent.with_context(context)?;
                continue;
            }
            objects::denied(sent, expected).with_context(context)?;
            // Not by way of a dry run only.
            let sent = callers
                .send(&step(user, verb, path, body.clone()), "", &[])
                .await?;
            objects::denied(sent, expected).with_context(context)?;
        }
        ensure!(namespaces(&admin).get_opt(&ns).await?.is_none(), "{ns} was made");

        // The platform's is nobody's, and stays so.
        let admins = format!("{name}-platform");
        create(&admin, &admins).await?;
        condition(cluster, &name, "Ready", "True", "AllApplied", SOON).await?;
        let labels = namespaces(&admin).get(&admins).await?.metadata.labels;
        ensure!(!labels.unwrap_or_default().contains_key(TENANT_LABEL), "labelled");
        Ok(())
    })
}

#[test]
fn a_name_is_given_by_the_longest_prefix_and_that_is_told() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let admin = cluster.client();
        let short = unique("pre");
        let long = format!("{short}-fix");
        ready_tenant(cluster, &serving(&short, 3, "", ""), SOON).await?;
        ready_tenant(cluster, &serving(&long, 3, "", ""), SOON).await?;
        let (ofs, ofl) = (owner(cluster, &short)?, owner(cluster, &long)?);
        let (near, ambiguous) = (format!("{short}-a"), format!("{long}-a"));
        welcome(&ofs, &near).await?;
        welcome(&ofl, &ambiguous).await?;
        objects::denied(create(&ofs, &ambiguous).await, "BW-NS-PREFIX")?;
        ensure!(namespaces(&admin).get_opt(&ambiguous).await?.is_none());
        create(&ofl, &ambiguous).await?;
        create(&ofs, &near).await?;
        taken(cluster, &long, &ambiguous).await?;
        taken(cluster, &short, &near).await?;
        // The same prefix twice is refused when the Tenant is applied.
        let again = giving(&unique("pre"), &format!("{short}-"), 1, "", "");
        objects::denied(objects::create(&admin, &again).await, "BW-NS-PREFIX")?;
        Ok(())
    })
}

#[test]
fn an_owner_deletes_what_owners_made_and_nothing_else() -> Result<()> {
    on_shared_cluster(async |installed| {
        let cluster = &installed.cluster;
        let admin = cluster.client();
        let (name, other) = (unique("delete"), unique("deleted"));
        let declared = format!("{name}-declared");
        let yaml = serving(&name, 3, "", "").replace(
            "namespaces: { ",
            &format!("namespaces: {{ declared: [{{ name: {declared} }}], "),
        );
        ready_tenant(cluster, &yaml, SOON).await?;
        ready_tenant(cluster, &serving(&other, 3, "", ""), SOON).await?;
        let (own, others) = (format!("{name}-own"), format!("{other}-own"));
        let (alice, bob) = (owner(cluster, &name)?, owner(cluster, &other)?);
        welcome(&alice, &own).await?;
        welcome(&bob, &others).await?;
        create(&alice, &own).await?;
        create(&bob, &others).await?;
        taken(cluster, &name, &own).await?;
        taken(cluster, &other, &others).await?;
        let delete = async |client: &kube::Client, ns: &str| {
            namespaces(client)
                .delete(ns, &kube::api::DeleteParams::default())
                .await
        };
        super::forbidden(delete(&alice, &others).await)?;
        super::forbidden(delete(&alice, &declared).await)?;
        super::forbidden(delete(&alice, "default").await)?;
        // With every right it is refused all the same what the Tenant declares.
        let almighty = cluster.client_as(&format!("{name}-owner"), &["system:masters"])?;
        objects::denied(delete(&almighty, &declared).await, "BW-NS-DECLARED")?;
        for ns in [&others, &declared] {
            let left = namespaces(&admin).get(ns).await?;
            ensure!(left.metadata.deletion_timestamp.is_none(), "{ns}");
        }
        delete(&alice, &own).await?;
        eventually(SOON, "what is one's own goes", async || {
            ensure!(namespaces(&admin).get_opt(&own).await?.is_none(), "still there");
            Ok(())
        })
        .await?;
        // A binding of these roles by somebody else is refused.
        let path = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{declared}/rolebindings");
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": "own" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "bailiwick-namespace-deleter" },
            "subjects": [{ "kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": format!("{name}-owner") }],
        });
        objects::denied(post(&admin, &path, &binding).await, "BW-RB-GRANT")?;
        Ok(())
    })
}
