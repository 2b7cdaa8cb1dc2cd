//! The API server of a kubeconfig.

use std::path::PathBuf;

use clap::Args;
use http::Request;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use super::{Api, Write, Written};

/// Which cluster, and where Bailiwick is in it.
#[derive(Clone, Debug, Default, Args)]
pub struct ClusterArgs {
    /// Kubeconfig file; without it KUBECONFIG, ~/.kube/config, or the ServiceAccount of a Pod
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; without it the current one
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Namespace that Bailiwick runs in, where revisions of policies are kept
    #[arg(long, value_name = "NAME", default_value = "bailiwick-system")]
    pub bailiwick_namespace: String,
}

/// Who writes, to the API server.
const FIELD_MANAGER: &str = "bailiwick";

/// Asked for all of discovery at once.
const DISCOVERY: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// A connection to an API server.
pub struct Connected {
    client: Client,
    runtime: Runtime,
    url: String,
}

impl Connected {
    /// Connects.
    ///
    /// # Errors
    /// Why there is no way to the API server, and what to do.
    pub fn to(arguments: &ClusterArgs) -> Result<Self, String> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
        let config = runtime.block_on(config(arguments)).map_err(|error| {
            format!("no way to a cluster: {error}; name a kubeconfig with --kubeconfig or KUBECONFIG")
        })?;
        let url = config.cluster_url.to_string();
        // The client wants to know its runtime.
        let client = {
            let _inside = runtime.enter();
            Client::try_from(config).map_err(|error| format!("no way to {url}: {error}"))?
        };
        Ok(Self { client, runtime, url })
    }

    fn ask(&self, request: http::request::Builder, body: Vec<u8>) -> Result<String, Failure> {
        let request = request
            .body(body)
            .map_err(|error| Failure::Other(error.to_string()))?;
        let answer = self.runtime.block_on(self.client.request_text(request));
        answer.map_err(|error| match error {
            kube::Error::Api(status) => match status.code {
                404 => Failure::Absent,
                409 if status.reason == "AlreadyExists" => Failure::Exists,
                _ => Failure::Other(format!("the API server says: {}", status.message)),
            },
            other => Failure::Other(format!("no answer of {}: {}", self.url, chain(&other))),
        })
    }
}

enum Failure {
    Absent,
    Exists,
    Other(String),
}

async fn config(arguments: &ClusterArgs) -> Result<Config, String> {
    let options = KubeConfigOptions {
        context: arguments.context.clone(),
        ..KubeConfigOptions::default()
    };
    match &arguments.kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).map_err(|it| chain(&it))?;
            let config = Config::from_custom_kubeconfig(file, &options).await;
            config.map_err(|it| chain(&it))
        }
        None if arguments.context.is_some() => {
            let config = Config::from_kubeconfig(&options).await;
            config.map_err(|it| chain(&it))
        }
        None => Config::infer().await.map_err(|it| chain(&it)),
    }
}

/// An error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(it) = cause {
        let more = it.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = it.source();
    }
    text
}

impl Api for Connected {
    fn get(&self, path: &str) -> Result<Option<String>, String> {
        let accept = if matches!(path, "/api" | "/apis") {
            DISCOVERY
        } else {
            "application/json"
        };
        match self.ask(Request::get(path).header("Accept", accept), Vec::new()) {
            Ok(text) => Ok(Some(text)),
            Err(Failure::Absent) => Ok(None),
            Err(Failure::Exists) => Err(format!("no answer of {}", self.url)),
            Err(Failure::Other(message)) => Err(message),
        }
    }

    fn write(&self, how: Write, path: &str, body: &Value) -> Result<Written, String> {
        let uri = format!("{path}?fieldManager={FIELD_MANAGER}");
        let request = match how {
            Write::Create => Request::post(&uri).header("Content-Type", "application/json"),
            Write::Merge => Request::patch(&uri).header("Content-Type", "application/merge-patch+json"),
        };
        match self.ask(request, body.to_string().into_bytes()) {
            Ok(text) => Ok(Written::Done(serde_json::from_str(&text).unwrap_or_default())),
            Err(Failure::Exists) => Ok(Written::Exists),
            Err(Failure::Absent) => Err(format!("the cluster has no {path}")),
            Err(Failure::Other(message)) => Err(message),
        }
    }
}
