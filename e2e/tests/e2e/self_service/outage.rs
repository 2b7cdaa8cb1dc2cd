//! With the webhook down, or the policies new to what they know, no namespace is made that is nobody's.

use std::time::Duration;

use anyhow::{Result, ensure};
use bailiwick_e2e::{install::Component, objects, wait::eventually};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::PostParams};
use serde_json::json;

use super::{create, owner, plain, serving, taken, welcome};
use crate::{
    fixture::{SOON, on_own_cluster, ready_tenant, unique},
    steps::{TENANT_LABEL, namespace_label, namespaces},
};

#[test]
fn with_the_webhook_down_owners_make_nothing() -> Result<()> {
    on_own_cluster(async |cluster, bailiwick| {
        let admin = cluster.client();
        let name = unique("down");
        ready_tenant(cluster, &serving(&name, 5, "", ""), SOON).await?;
        let owner = owner(cluster, &name)?;
        let all: Api<Namespace> = Api::all(owner.clone());
        let before = format!("{name}-before");
        welcome(&owner, &before).await?;
        create(&owner, &before).await?;
        taken(cluster, &name, &before).await?;

        bailiwick.crash(Component::Webhook).await?;
        let made = json!({ "name": format!("{name}-a") });
        let labelled = json!({ "name": format!("{name}-a"), "labels": { "bailiwick.dev/tenant": name } });
        for metadata in [&made, &labelled] {
            let refused = all.create(&PostParams::default(), &plain(metadata)).await;
            let text = refused.map_or_else(|error| error.to_string(), |_| "it was made".to_owned());
            ensure!(
                text.contains("failed calling webhook") && text.contains("bailiwick"),
                "{text}"
            );
        }
        // While the API server doesn't know the index's kind, nothing is stamped, and nothing is let be.
        cluster.restart_apiserver().await?;
        let refused = eventually(
            Duration::from_mins(1),
            "the API server answers",
            async || match all.create(&PostParams::default(), &plain(&made)).await {
                Ok(_) => Ok("it was made".to_owned()),
                Err(kube::Error::Api(status))
                    if status.message.contains("ailiwick") || status.message.contains("BW-") =>
                {
                    Ok(status.message.clone())
                }
                Err(error) => Err(error.into()),
            },
        )
        .await?;
        ensure!(
            refused.contains("BW-NS-SELFSERVICE")
                || refused.contains("failed calling webhook")
                || refused.contains("failed to configure policy"),
            "{refused}"
        );
        ensure!(
            namespaces(&admin).get_opt(&format!("{name}-a")).await?.is_none(),
            "it was made"
        );
        // The platform's own is nobody's business.
        create(&admin, &format!("{name}-platform")).await?;

        bailiwick.start(Component::Webhook).await?;
        bailiwick.wait_until_ready().await?;
        let after = format!("{name}-b");
        // The operator takes it when its watches have begun again, which is a matter of their backoff.
        eventually(Duration::from_mins(2), "it may be made again", async || {
            Ok(create(&owner, &after).await.map(drop)?)
        })
        .await?;
        let label = namespace_label(&admin, &after, TENANT_LABEL).await?;
        ensure!(label.as_ref() == Some(&name), "{label:?}");
        Ok(())
    })
}

/// Whoever may create namespaces by self-service alone is known by that right, before any index knows them.
#[test]
fn an_owner_whom_the_policies_do_not_know_makes_nothing_unlabelled() -> Result<()> {
    on_own_cluster(async |cluster, _| {
        let admin = cluster.client();
        let name = unique("unknown");
        ready_tenant(cluster, &serving(&name, 5, "", ""), SOON).await?;
        let owner = owner(cluster, &name)?;
        welcome(&owner, &format!("{name}-a")).await?;
        // As long as these two don't know who somebody is, they do nothing.
        for (kind, of) in [
            ("mutatingadmissionpolicybinding", "bailiwick-stamp-namespace"),
            (
                "validatingadmissionpolicybinding",
                "bailiwick-namespace-requester",
            ),
        ] {
            cluster.kubectl(&["delete", kind, of]).await?.ok()?;
        }
        let all: Api<Namespace> = Api::all(owner.clone());
        let dry = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let made =
            |labels: serde_json::Value| plain(&json!({ "name": format!("{name}-a"), "labels": labels }));
        eventually(
            SOON,
            "it is neither stamped nor judged by the index",
            async || {
                let refused = objects::denied(all.create(&dry, &made(json!({}))).await, "BW-NS-SELFSERVICE")?;
                ensure!(
                    refused.message.contains("bailiwick-namespace-identity"),
                    "{}",
                    refused.message
                );
                Ok(())
            },
        )
        .await?;
        all.create(&dry, &made(json!({ "bailiwick.dev/tenant": name })))
            .await?;
        // Somebody of the platform who may create namespaces and nothing else isn't meant, nor is whoever may write Tenants.
        let roles = format!(
            "{{ apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {{ name: {name} }}, rules: [{{ apiGroups: [''], resources: [namespaces], verbs: [create] }}] }}\n---\n{{ apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {{ name: {name} }}, roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {name} }}, subjects: [{{ kind: User, apiGroup: rbac.authorization.k8s.io, name: {name}-maker }}] }}"
        );
        objects::create(&admin, &roles).await?;
        let maker: Api<Namespace> = Api::all(cluster.client_as(&format!("{name}-maker"), &[])?);
        eventually(SOON, "the platform's makes one", async || {
            Ok(maker.create(&dry, &made(json!({}))).await.map(drop)?)
        })
        .await?;
        Api::<Namespace>::all(admin.clone())
            .create(&dry, &made(json!({})))
            .await?;
        Ok(())
    })
}
