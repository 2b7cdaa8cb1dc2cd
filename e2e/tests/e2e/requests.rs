//! Requests written as data, and the layers that decide them switched off for one requester at a time.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use bailiwick_e2e::cluster::Cluster;
use http::{Method, Request};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) const OPERATOR: &str = "system:serviceaccount:bailiwick-system:bailiwick-operator";

/// One request.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Step {
    #[serde(rename = "as", default = "admin")]
    pub(crate) user: String,
    #[serde(default)]
    pub(crate) groups: Vec<String>,
    /// create, replace, merge, json, strategic, apply (forced), delete or deletecollection.
    pub(crate) verb: String,
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) body: Value,
    /// What RBAC lets the requester do: everything, unless it is the point.
    #[serde(default)]
    pub(crate) rights: Rights,
}

/// What RBAC lets a requester do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Rights {
    /// Everything, so that admission alone decides.
    #[default]
    All,
    /// What is bound to them.
    Own,
}

fn admin() -> String {
    "platform-admin".to_owned()
}

/// Clients by whom they impersonate.
pub(crate) struct Callers<'a> {
    cluster: &'a Cluster,
    clients: HashMap<(String, Vec<String>), Client>,
}

impl<'a> Callers<'a> {
    pub(crate) fn new(cluster: &'a Cluster) -> Self {
        Self {
            cluster,
            clients: HashMap::new(),
        }
    }

    /// Sends a step with a query such as `dryRun=All`, as a user who is in `more` groups, too.
    pub(crate) async fn send(
        &mut self,
        step: &Step,
        query: &str,
        more: &[String],
    ) -> Result<kube::Result<()>> {
        let client = self.client(step, more)?;
        send(client, step, query).await
    }

    /// The client that sends a step.
    pub(crate) fn client(&mut self, step: &Step, more: &[String]) -> Result<Client> {
        let user = if step.user == "operator" {
            OPERATOR
        } else {
            &step.user
        };
        let masters = match step.rights {
            Rights::All => Some("system:masters".to_owned()),
            Rights::Own => None,
        };
        let groups: Vec<_> = step.groups.iter().chain(more).chain(&masters).cloned().collect();
        let key = (user.to_owned(), groups);
        if let Some(client) = self.clients.get(&key) {
            return Ok(client.clone());
        }
        let groups: Vec<_> = key.1.iter().map(String::as_str).collect();
        let client = self.cluster.client_as(user, &groups)?;
        self.clients.insert(key, client.clone());
        Ok(client)
    }
}

/// Sends a step as whoever the client is.
pub(crate) async fn send(client: Client, step: &Step, query: &str) -> Result<kube::Result<()>> {
    let patch = |kind: &str| (Method::PATCH, format!("application/{kind}"));
    let (method, content_type) = match step.verb.as_str() {
        "create" => (Method::POST, "application/json".to_owned()),
        "replace" => (Method::PUT, "application/json".to_owned()),
        "merge" => patch("merge-patch+json"),
        "json" => patch("json-patch+json"),
        "strategic" => patch("strategic-merge-patch+json"),
        "apply" => patch("apply-patch+yaml"),
        "delete" | "deletecollection" => (Method::DELETE, "application/json".to_owned()),
        verb => bail!("unknown verb {verb}"),
    };
    let forced = if step.verb == "apply" {
        "fieldManager=cases&force=true&"
    } else {
        ""
    };
    let body = if step.body.is_null() {
        Vec::new()
    } else {
        serde_json::to_vec(&step.body)?
    };
    let separator = if step.path.contains('?') { '&' } else { '?' };
    let request = Request::builder()
        .method(method)
        .uri(format!("{}{separator}{forced}{query}", step.path))
        .header("content-type", content_type)
        .body(body)?;
    Ok(client.request_text(request).await.map(drop))
}

/// The group whose members a policy or webhook configuration of this name doesn't look at, once it is made mutable.
pub(crate) fn muted(name: &str) -> String {
    format!("muted:{name}")
}

/// Lets members of `muted(name)` pass by an admission policy or a webhook configuration. Gives the names.
///
/// It changes who is looked at and nothing else, so one cluster shows each layer alone.
pub(crate) async fn make_mutable(cluster: &Cluster, kind: &str) -> Result<Vec<String>> {
    let types = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
    let api: Api<DynamicObject> = Api::all_with(cluster.client(), &ApiResource::from_gvk(&types));
    let mut names = Vec::new();
    let ours = ListParams::default().labels("app.kubernetes.io/name=bailiwick");
    for mut object in api.list(&ours).await? {
        let name = object.metadata.name.clone().context("an object without a name")?;
        let condition = json!({
            "name": "not-muted",
            "expression": format!("!('{}' in request.userInfo.groups)", muted(&name)),
        });
        let parts = match object.data.get_mut("webhooks").and_then(Value::as_array_mut) {
            Some(webhooks) => webhooks.iter_mut().collect(),
            None => vec![&mut object.data["spec"]],
        };
        for part in parts {
            match part["matchConditions"].as_array_mut() {
                Some(conditions) => conditions.push(condition.clone()),
                None => part["matchConditions"] = json!([condition]),
            }
        }
        object.metadata.managed_fields = None;
        api.replace(&name, &PostParams::default(), &object)
            .await
            .with_context(|| format!("make {kind} {name} mutable"))?;
        names.push(name);
    }
    if names.is_empty() {
        bail!("there is no {kind} of Bailiwick");
    }
    Ok(names)
}
