//! The cluster's own audit log tells what Bailiwick decided, and one refusal tells everything that is wrong.

use std::fs;

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{checkout, cluster::ClusterOptions, objects, wait::eventually};
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::{
    fixture::{Installed, SOON, on_shared_cluster, ready_tenant, unique},
    steps::{tenant, tenants},
};

/// An API server that writes its audit log among its other log lines.
pub(crate) fn audited() -> ClusterOptions {
    audited_by("audit.yaml")
}

/// The same by another audit policy, a file beside these tests.
pub(crate) fn audited_by(file: &str) -> ClusterOptions {
    let policy = checkout::root().join("e2e/tests/e2e").join(file);
    ClusterOptions {
        apiserver_arguments: vec![
            format!("--audit-policy-file={}", policy.display()),
            "--audit-log-path=-".to_owned(),
        ],
        ..ClusterOptions::default()
    }
}

/// The code and the annotations that the audit log has about the last creation of an object.
async fn told(installed: &Installed, resource: &str, name: &str) -> Result<(u64, Value)> {
    let log = installed.cluster.logs().join("kube-apiserver.log");
    eventually(
        SOON,
        &format!("the audit log tells of {resource} {name}"),
        async || {
            let text = fs::read_to_string(&log)?;
            let lines = text.lines().rev();
            let events = lines.filter(|it| it.starts_with('{') && it.contains(name));
            let event = events
                .filter_map(|it| serde_json::from_str::<Value>(it).ok())
                .find(|it| it["objectRef"]["resource"] == resource && it["objectRef"]["name"] == name)
                .context("not yet")?;
            let code = event["responseStatus"]["code"].as_u64().context("no code")?;
            let ours = |key: &str| key.contains("bailiwick.dev/");
            let annotations = event["annotations"].as_object().into_iter().flatten();
            let annotations = annotations.filter(|(key, _)| ours(key));
            let annotations = annotations.map(|(key, it)| (key.clone(), it.clone())).collect();
            Ok((code, Value::Object(annotations)))
        },
    )
    .await
}

#[test]
fn the_audit_log_names_tenant_and_rules() -> Result<()> {
    on_shared_cluster(async |installed| {
        let client = installed.cluster.client();
        let (name, ns) = (unique("audit"), unique("audit-ns"));
        ready_tenant(&installed.cluster, &tenant(&name, &[&ns], ""), SOON).await?;
        let role = |role: &str, resource: &str| {
            format!(
                "{{ apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {{ name: {role}, namespace: {ns} }}, rules: [{{ apiGroups: [''], resources: [{resource}], verbs: [update] }}] }}"
            )
        };
        let (allowed, denied) = (unique("allowed"), unique("denied"));
        objects::create(&client, &role(&allowed, "pods")).await?;
        let (code, annotations) = told(installed, "roles", &allowed).await?;
        ensure!(code == 201, "{code}");
        ensure!(
            annotations == json!({ "tenant-namespaces.bailiwick.dev/tenant": name }),
            "{annotations}"
        );

        objects::denied(
            objects::create(&client, &role(&denied, "namespaces/finalize")).await,
            "BW-ROLE-GRANT",
        )?;
        let (code, annotations) = told(installed, "roles", &denied).await?;
        ensure!(code == 403, "{code}");
        let id = annotations["tenant-namespaces.bailiwick.dev/decision-id"].clone();
        ensure!(id.as_str().is_some_and(|it| it.len() == 36), "{annotations}");
        let wanted = json!({
            "tenant-namespaces.bailiwick.dev/tenant": name,
            "tenant-namespaces.bailiwick.dev/rules": "BW-ROLE-GRANT",
            "tenant-namespaces.bailiwick.dev/decision-id": id,
        });
        ensure!(annotations == wanted, "{annotations}");
        Ok(())
    })
}

#[test]
fn a_refusal_tells_of_everything_that_is_wrong() -> Result<()> {
    on_shared_cluster(async |installed| {
        let client = installed.cluster.client();
        let (name, other, ns) = (unique("first"), unique("second"), unique("first-ns"));
        ready_tenant(&installed.cluster, &tenant(&name, &[&ns], ""), SOON).await?;
        let free = unique("second-ns");
        let identities = |of: &str| format!("identities: {{ users: [{of}-owner] }}");
        let wrong = tenant(&other, &[&ns], &identities(&name));
        // The webhook hears of the first by watches of its own, one a kind.
        let status = eventually(SOON, "the second is refused for both reasons", async || {
            let result = objects::create(&client, &wrong).await;
            if result.is_ok() {
                tenants(&client).delete(&other, &DeleteParams::default()).await?;
            }
            let status = objects::denied(result, "BW-TENANT-IDENTITY")?;
            ensure!(
                status.message.contains("BW-TENANT-NAMESPACE"),
                "{}",
                status.message
            );
            Ok(status)
        })
        .await?;
        ensure!(
            status.message.contains("[1] BW-TENANT-") && status.message.contains("[2] BW-TENANT-"),
            "{}",
            status.message
        );
        let mut causes: Vec<_> = status
            .details
            .iter()
            .flat_map(|it| &it.causes)
            .map(|it| (it.reason.as_str(), it.field.as_str()))
            .collect();
        causes.sort_unstable();
        let field = format!("spec.namespaces.declared['{ns}']");
        let wanted = [
            ("BW-TENANT-IDENTITY", "spec.owners and spec.identities"),
            ("BW-TENANT-NAMESPACE", field.as_str()),
        ];
        ensure!(causes == wanted, "{causes:?}");
        let (_, annotations) = told(installed, "tenants", &other).await?;
        let rules = annotations["tenants.bailiwick.dev/rules"]
            .as_str()
            .unwrap_or_default();
        ensure!(rules == "BW-TENANT-IDENTITY,BW-TENANT-NAMESPACE", "{annotations}");
        ensure!(tenants(&client).get_opt(&other).await?.is_none(), "it was stored");
        let right = tenant(&other, &[&free], &identities(&other));
        objects::create(&client, &right).await.map(drop)
    })
}
