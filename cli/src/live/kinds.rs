//! Which resource a kind is, as the API server's discovery tells it.

use serde::Deserialize;

use super::Api;
use crate::check::suggest;

/// A kind and its resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// API group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Resource.
    pub resource: String,
    /// Whether it lives in namespaces.
    pub namespaced: bool,
    names: Vec<String>,
}

impl Kind {
    /// The path of all of them, or of those in a namespace.
    pub fn path(&self, namespace: Option<&str>) -> String {
        let api = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        match namespace {
            Some(namespace) if self.namespaced => format!("{api}/namespaces/{namespace}/{}", self.resource),
            _ => format!("{api}/{}", self.resource),
        }
    }
}

#[derive(Deserialize)]
struct Discovered {
    #[serde(default)]
    items: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
}

#[derive(Deserialize)]
struct Version {
    #[serde(rename = "version")]
    name: String,
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    #[serde(rename = "resource")]
    plural: String,
    #[serde(default)]
    response_kind: ResponseKind,
    #[serde(default)]
    scope: String,
    #[serde(default, rename = "singularResource")]
    singular: String,
    #[serde(default)]
    short_names: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResponseKind {
    kind: String,
}

/// All kinds that can be listed, each in the version that the API server prefers.
///
/// # Errors
/// Why they can't be told.
pub fn discover(api: &dyn Api) -> Result<Vec<Kind>, String> {
    let mut kinds: Vec<Kind> = Vec::new();
    for path in ["/api", "/apis"] {
        let text = api
            .get(path)?
            .ok_or_else(|| format!("the cluster has no {path}"))?;
        let read: Discovered =
            serde_json::from_str(&text).map_err(|it| format!("{path} can't be read: {it}"))?;
        for group in read.items {
            for version in group.versions {
                let new = version
                    .resources
                    .into_iter()
                    .filter(|it| it.verbs.iter().any(|it| it == "list"));
                for it in new {
                    let is_known = kinds
                        .iter()
                        .any(|known| known.group == group.metadata.name && known.resource == it.plural);
                    if is_known {
                        continue;
                    }
                    let mut names = it.short_names;
                    names.extend([
                        it.singular,
                        it.plural.clone(),
                        it.response_kind.kind.to_lowercase(),
                    ]);
                    kinds.push(Kind {
                        group: group.metadata.name.clone(),
                        version: version.name.clone(),
                        kind: it.response_kind.kind,
                        namespaced: it.scope == "Namespaced",
                        resource: it.plural,
                        names,
                    });
                }
            }
        }
    }
    Ok(kinds)
}

/// The kind that people mean by a name: `svc`, `Service`, `deployments.apps`.
///
/// # Errors
/// Which one may be meant instead.
pub fn find<'a>(kinds: &'a [Kind], name: &str) -> Result<&'a Kind, String> {
    let lower = name.to_lowercase();
    let (short, group) = match lower.split_once('.') {
        Some((short, group)) => (short, Some(group)),
        None => (lower.as_str(), None),
    };
    let is_meant =
        |it: &&Kind| it.names.iter().any(|it| it == short) && group.is_none_or(|group| it.group == group);
    kinds.iter().find(is_meant).ok_or_else(|| {
        let known = kinds.iter().flat_map(|it| it.names.iter().map(String::as_str));
        let hint =
            suggest::nearest(short, known).map_or_else(String::new, |it| format!("; did you mean {it}?"));
        format!("the cluster has no kind '{name}'{hint}")
    })
}
