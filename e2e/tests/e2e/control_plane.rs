//! The control plane that everything else stands on.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::{
    cluster::{Cluster, ClusterOptions},
    wait::eventually,
};
use k8s_openapi::api::{
    authentication::v1::SelfSubjectReview,
    core::v1::{ConfigMap, Namespace},
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};

use crate::fixture::{SOON, on_bare_cluster};

#[test]
fn a_cluster_survives_the_restart_of_its_parts() -> Result<()> {
    on_bare_cluster(ClusterOptions::default(), async |cluster| {
        let client = cluster.client();
        let version = client.apiserver_version().await?.git_version;
        ensure!(
            version == bailiwick_e2e::binaries::kubernetes_version()?,
            "it is {version}"
        );

        create_namespace(&client, "before").await?;
        cluster.restart_apiserver().await?;
        ensure!(cluster.client().apiserver_version().await?.git_version == version);
        Api::<Namespace>::all(cluster.client())
            .get("before")
            .await
            .context("data survive a restart")?;

        // Deletion needs the controller manager to complete.
        cluster.stop_controller_manager().await?;
        let namespaces: Api<Namespace> = Api::all(cluster.client());
        namespaces.delete("before", &DeleteParams::default()).await?;
        ensure!(
            namespaces.get_opt("before").await?.is_some(),
            "gone without a controller"
        );
        cluster.start_controller_manager().await?;
        eventually(SOON, "the namespace is gone", async || {
            ensure!(namespaces.get_opt("before").await?.is_none());
            Ok(())
        })
        .await
    })
}

#[test]
fn callers_are_who_they_say() -> Result<()> {
    on_bare_cluster(ClusterOptions::default(), async |cluster| {
        ensure!(user_name(cluster.client()).await? == "admin");
        ensure!(user_name(cluster.client_as("alice", &["devs"])?).await? == "alice");
        create_namespace(&cluster.client(), "robots").await?;
        let robot = cluster.client_as_service_account("robots", "r2").await?;
        ensure!(user_name(robot).await? == "system:serviceaccount:robots:r2");

        let stranger = cluster.client_as("alice", &["devs"])?;
        let refused = Api::<ConfigMap>::namespaced(stranger, "default").get("any").await;
        ensure!(
            matches!(&refused, Err(kube::Error::Api(status)) if status.is_forbidden()),
            "{refused:?}"
        );

        let name = cluster
            .kubectl(&["get", "namespace", "robots", "-o", "name"])
            .await?
            .ok()?;
        ensure!(name == "namespace/robots\n", "{name}");
        let created = cluster
            .kubectl_with_input(&["create", "-f", "-"], CONFIG_MAP)
            .await?
            .ok()?;
        ensure!(created == "configmap/from-stdin created\n", "{created}");
        let missing = cluster.kubectl(&["get", "namespace", "nowhere"]).await?;
        ensure!(
            !missing.success() && missing.stderr.contains("NotFound"),
            "{missing}"
        );
        cluster.helm(&["list"]).await?.ok().map(drop)
    })
}

const CONFIG_MAP: &str =
    "{ apiVersion: v1, kind: ConfigMap, metadata: { name: from-stdin, namespace: default } }";

#[test]
fn a_port_that_is_used_is_named() -> Result<()> {
    on_bare_cluster(ClusterOptions::default(), async |cluster| {
        let port = cluster.url().rsplit(':').next().and_then(|it| it.parse().ok());
        let options = ClusterOptions {
            api_port: port,
            ..ClusterOptions::default()
        };
        let error = Cluster::start(options)
            .await
            .err()
            .context("two clusters on one port")?;
        ensure!(
            error
                .to_string()
                .contains(&format!("port {} of 127.0.0.1 is used", port.unwrap())),
            "{error}"
        );
        Ok(())
    })
}

#[test]
fn a_component_that_dies_at_once_is_named_with_its_log() -> Result<()> {
    let options = ClusterOptions {
        apiserver_arguments: vec!["--no-such-flag".to_owned()],
        ..ClusterOptions::default()
    };
    let error = on_bare_cluster(options, async |_| Ok(()))
        .unwrap_err()
        .to_string();
    ensure!(error.contains("kube-apiserver is dead (exit code 1)"), "{error}");
    ensure!(error.contains("unknown flag: --no-such-flag"), "{error}");
    Ok(())
}

#[test]
fn nothing_is_left_over_when_a_cluster_is_stopped() -> Result<()> {
    on_bare_cluster(ClusterOptions::default(), async |cluster| {
        let directory = cluster.directory().display().to_string();
        ensure!(
            running_with(&directory)? == 3,
            "etcd, kube-apiserver and kube-controller-manager run"
        );
        cluster.stop().await?;
        eventually(Duration::from_secs(5), "all are gone", async || {
            ensure!(running_with(&directory)? == 0);
            Ok(())
        })
        .await
    })
}

async fn create_namespace(client: &Client, name: &str) -> Result<()> {
    let namespace: Namespace = serde_json::from_value(serde_json::json!({ "metadata": { "name": name } }))?;
    Api::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await?;
    Ok(())
}

async fn user_name(client: Client) -> Result<String> {
    let review = Api::<SelfSubjectReview>::all(client)
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await?;
    review
        .status
        .and_then(|it| it.user_info)
        .and_then(|it| it.username)
        .context("no user name")
}

/// How many processes have `text` in their command line.
fn running_with(text: &str) -> Result<usize> {
    let output = Command::new("ps").args(["-eo", "args"]).output()?;
    Ok(String::from_utf8(output.stdout)?
        .lines()
        .filter(|line| line.contains(text))
        .count())
}
