//! To another version and back, with live tenants.

use std::{fs, path::Path};

use anyhow::{Result, ensure};
use bailiwick_e2e::{
    cluster::Cluster,
    install::{NAMESPACE, RELEASE},
    node::{BAILIWICK, Node, bailiwick_archive, copy, static_binaries_of_version},
    wait::eventually,
};

use crate::{
    installation::{chart, helm},
    site::{
        SOON, VERSION, apply, archive, get, kubectl, lives_of_the_shop, tenant_is_ready, webhook_decides,
    },
};

/// The version that an upgrade goes to.
const NEXT_VERSION: &str = "99.0.0";
/// A field that only its CRD has.
const FIELD: &str = "              contact:\n                description: Whom to ask.\n                maxLength: 253\n                type: string\n";
/// The field that stands behind it.
const BEHIND: &str = "              deletionPolicy:\n";
/// A Tenant with that field.
const MODERN: &str = "{ apiVersion: bailiwick.dev/v1alpha1, kind: Tenant, metadata: { name: modern }, spec: { contact: ann, namespaces: { declared: [{ name: modern-prod }] } } }";

/// A chart of another version, with another CRD.
fn next_chart(directory: &Path) -> Result<String> {
    let chart = directory.join("next-chart");
    if chart.exists() {
        fs::remove_dir_all(&chart)?;
    }
    copy(Path::new(&self::chart()), &chart)?;
    let edit = |name: &str, from: &str, to: &str| -> Result<()> {
        let path = chart.join(name);
        let text = fs::read_to_string(&path)?;
        ensure!(text.contains(from), "{} has no {from:?}", path.display());
        fs::write(&path, text.replacen(from, to, 1))?;
        Ok(())
    };
    for key in ["\nversion: ", "\nappVersion: "] {
        edit(
            "Chart.yaml",
            &format!("{key}{VERSION}"),
            &format!("{key}{NEXT_VERSION}"),
        )?;
    }
    edit(
        "files/crds/bailiwick.dev_tenants.yaml",
        BEHIND,
        &format!("{FIELD}{BEHIND}"),
    )?;
    Ok(chart.display().to_string())
}

/// Checks that only Pods of this version run, and that their programs say so, too.
async fn runs(cluster: &Cluster, version: &str) -> Result<()> {
    // Old Pods serve on for a while after they were told to end.
    eventually(SOON, "no Pod of another version is left", async || {
        let selector = "app.kubernetes.io/component";
        let pods = get(cluster, &["pods", "-n", NAMESPACE, "-l", selector]).await?;
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        let images: Vec<_> = pods
            .iter()
            .map(|it| &it["spec"]["containers"][0]["image"])
            .collect();
        let wanted = format!("{BAILIWICK}:{version}");
        ensure!(
            images.len() == 4 && images.iter().all(|it| **it == wanted),
            "{images:?}"
        );
        Ok(())
    })
    .await?;
    for (component, program) in [
        ("operator", "/bailiwick-operator"),
        ("webhook", "/bailiwick-webhook"),
        ("webhook", "/bailiwick"),
    ] {
        let deployment = format!("deployment/{RELEASE}-{component}");
        let exec = ["exec", "-n", NAMESPACE, &deployment, "--", program, "--version"];
        let said = kubectl(cluster, &exec).await?;
        ensure!(said.trim().ends_with(&format!(" {version}")), "{program}: {said}");
    }
    Ok(())
}

pub(crate) async fn upgrade_and_rollback(node: &mut Node) -> Result<()> {
    let cluster = node.cluster();
    let before = lives_of_the_shop(cluster).await?;
    let binaries = static_binaries_of_version(NEXT_VERSION, &cluster.directory().join("next")).await?;
    let archive = archive(NEXT_VERSION)?;
    bailiwick_archive(&binaries, NEXT_VERSION, &archive).await?;
    node.import(&archive).await?;
    runs(cluster, VERSION).await?;
    let refused = apply(cluster, MODERN).await;
    ensure!(
        refused.is_err_and(|it| it.to_string().contains("spec.contact")),
        "this version knows the next one's field"
    );

    let next = next_chart(cluster.directory())?;
    helm(cluster, &["upgrade", RELEASE, &next]).await?;
    runs(cluster, NEXT_VERSION).await?;
    apply(cluster, MODERN).await?;
    for tenant in ["shop", "modern"] {
        tenant_is_ready(cluster, tenant).await?;
    }
    let modern = get(cluster, &["tenant", "modern"]).await?;
    ensure!(modern["spec"]["contact"] == "ann", "{modern}");
    webhook_decides(cluster).await?;
    ensure!(
        lives_of_the_shop(cluster).await? == before,
        "Pods didn't live through the upgrade"
    );

    helm(cluster, &["rollback", RELEASE, "1"]).await?;
    runs(cluster, VERSION).await?;
    webhook_decides(cluster).await?;
    // What the next version stored doesn't stop this one.
    kubectl(cluster, &["annotate", "tenant", "modern", "example.com/note=x"]).await?;
    for tenant in ["shop", "modern"] {
        tenant_is_ready(cluster, tenant).await?;
    }
    ensure!(
        lives_of_the_shop(cluster).await? == before,
        "Pods didn't live through the rollback"
    );
    kubectl(cluster, &["delete", "tenant", "modern"]).await.map(drop)
}
