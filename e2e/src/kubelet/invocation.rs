//! From a Pod to what is executed: program, arguments, environment and readiness probe.
//!
//! What the harness can't do as a kubelet would is an error, not something silently left out.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::{Context, Result, bail};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Container, EnvVarSource, Pod, Secret},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{Api, Client, ResourceExt};

use super::expand::expand;

/// What to execute for a Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Invocation {
    /// The binary's path in the image, such as `/bailiwick-operator`.
    pub(super) program: String,
    pub(super) arguments: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    /// Where `httpGet` of the readiness probe goes.
    pub(super) readiness: Option<(SocketAddr, String)>,
}

/// Reads the ConfigMaps and Secrets that the Pod refers to, and puts everything together.
pub(super) async fn invocation(client: &Client, pod: &Pod, address: Ipv4Addr) -> Result<Invocation> {
    let spec = pod.spec.as_ref().context("a Pod without spec")?;
    let [container] = spec.containers.as_slice() else {
        bail!("only Pods with one container can be run")
    };
    if spec.init_containers.as_ref().is_some_and(|it| !it.is_empty()) {
        bail!("init containers can't be run");
    }
    let environment = environment(client, pod, container, address).await?;
    let expanded = |list: &Option<Vec<String>>| -> Vec<_> {
        list.iter().flatten().map(|it| expand(it, &environment)).collect()
    };
    let mut command = expanded(&container.command).into_iter();
    let program = command
        .next()
        .context("the container names no command, and there is no image to ask")?;
    let arguments = command.chain(expanded(&container.args)).collect();
    let readiness = readiness(container, address)?;
    Ok(Invocation {
        program,
        arguments,
        environment,
        readiness,
    })
}

async fn environment(
    client: &Client,
    pod: &Pod,
    container: &Container,
    address: Ipv4Addr,
) -> Result<BTreeMap<String, String>> {
    if container.env_from.as_ref().is_some_and(|it| !it.is_empty()) {
        bail!("envFrom can't be resolved");
    }
    let mut environment = BTreeMap::new();
    for variable in container.env.iter().flatten() {
        let value = match &variable.value_from {
            Some(source) => resolve(client, pod, source, address)
                .await
                .with_context(|| format!("resolve environment variable {}", variable.name))?,
            // Only variables further up are known here, as Kubernetes has it.
            None => Some(expand(
                variable.value.as_deref().unwrap_or_default(),
                &environment,
            )),
        };
        if let Some(value) = value {
            environment.insert(variable.name.clone(), value);
        }
    }
    Ok(environment)
}

/// `None` for a reference that is optional and leads nowhere.
async fn resolve(
    client: &Client,
    pod: &Pod,
    source: &EnvVarSource,
    address: Ipv4Addr,
) -> Result<Option<String>> {
    let namespace = pod.namespace().unwrap_or_default();
    if let Some(field) = &source.field_ref {
        return downward(pod, &field.field_path, address).map(Some);
    }
    let (found, optional, what) = if let Some(reference) = &source.config_map_key_ref {
        let object = Api::<ConfigMap>::namespaced(client.clone(), &namespace)
            .get_opt(&reference.name)
            .await?;
        let value = object.and_then(|it| it.data?.remove(&reference.key));
        (
            value,
            reference.optional,
            format!("key {} of ConfigMap {}", reference.key, reference.name),
        )
    } else if let Some(reference) = &source.secret_key_ref {
        let object = Api::<Secret>::namespaced(client.clone(), &namespace)
            .get_opt(&reference.name)
            .await?;
        let value = object
            .and_then(|it| it.data?.remove(&reference.key))
            .map(|it| it.0);
        let value = value
            .map(String::from_utf8)
            .transpose()
            .context("a Secret that isn't text")?;
        (
            value,
            reference.optional,
            format!("key {} of Secret {}", reference.key, reference.name),
        )
    } else {
        bail!("only fieldRef, configMapKeyRef and secretKeyRef can be resolved")
    };
    if found.is_none() && optional != Some(true) {
        bail!("there is no {what}");
    }
    Ok(found)
}

/// The downward API.
fn downward(pod: &Pod, path: &str, address: Ipv4Addr) -> Result<String> {
    let spec = pod.spec.as_ref();
    Ok(match path {
        "metadata.name" => pod.name_any(),
        "metadata.namespace" => pod.namespace().unwrap_or_default(),
        "metadata.uid" => pod.uid().unwrap_or_default(),
        "spec.nodeName" => spec.and_then(|it| it.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => spec
            .and_then(|it| it.service_account_name.clone())
            .unwrap_or_default(),
        "status.podIP" | "status.podIPs" | "status.hostIP" => address.to_string(),
        _ => match map_key(path) {
            Some(("metadata.labels", key)) => pod.labels().get(key).cloned().unwrap_or_default(),
            Some(("metadata.annotations", key)) => pod.annotations().get(key).cloned().unwrap_or_default(),
            _ => bail!("fieldPath {path} can't be resolved"),
        },
    })
}

/// Splits `metadata.labels['key']`.
fn map_key(path: &str) -> Option<(&str, &str)> {
    let (map, key) = path.split_once("['")?;
    Some((map, key.strip_suffix("']")?))
}

fn readiness(container: &Container, address: Ipv4Addr) -> Result<Option<(SocketAddr, String)>> {
    let Some(probe) = &container.readiness_probe else {
        return Ok(None);
    };
    let request = probe
        .http_get
        .as_ref()
        .context("only readiness probes by httpGet can be run")?;
    let port = port(container, &request.port).context("the readiness probe names an unknown port")?;
    let path = request.path.clone().unwrap_or_else(|| "/".to_owned());
    Ok(Some((SocketAddr::from((address, port)), path)))
}

/// The number of a container's port, which may be given by its name.
pub(super) fn port(container: &Container, wanted: &IntOrString) -> Option<u16> {
    let number = match wanted {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let ports = container.ports.as_deref().unwrap_or_default();
            ports
                .iter()
                .find(|it| it.name.as_ref() == Some(name))?
                .container_port
        }
    };
    u16::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "p", "namespace": "n", "labels": { "a/b": "c" } },
            "spec": { "serviceAccountName": "s", "containers": [{
                "name": "c",
                "ports": [{ "name": "admin", "containerPort": 8080 }],
                "readinessProbe": { "httpGet": { "path": "/readyz", "port": "admin" } },
            }] },
        }))
        .unwrap()
    }

    #[track_caller]
    fn check(path: &str, expected: Option<&str>) {
        assert_eq!(
            downward(&pod(), path, Ipv4Addr::new(127, 66, 1, 2))
                .ok()
                .as_deref(),
            expected,
            "{path}"
        );
    }

    #[test]
    fn resolves_the_downward_api() {
        check("metadata.name", Some("p"));
        check("metadata.namespace", Some("n"));
        check("metadata.labels['a/b']", Some("c"));
        check("metadata.annotations['a/b']", Some(""));
        check("spec.serviceAccountName", Some("s"));
        check("status.podIP", Some("127.66.1.2"));
        check("status.phase", None);
    }

    #[test]
    fn finds_the_probe_by_the_name_of_its_port() {
        let pod = pod();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let expected = ("127.66.1.2:8080".parse().unwrap(), "/readyz".to_owned());
        assert_eq!(
            readiness(container, Ipv4Addr::new(127, 66, 1, 2)).unwrap(),
            Some(expected)
        );
        assert_eq!(port(container, &IntOrString::Int(9443)), Some(9443));
        assert_eq!(port(container, &IntOrString::String("nobody".to_owned())), None);
    }
}
