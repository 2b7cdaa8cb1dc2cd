//! The packs that Bailiwick ships: policies by name and version.

use std::sync::LazyLock;

use bailiwick_crds::v1alpha1::Match;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde::Deserialize;

use crate::finding::some_of;

/// A pack.
#[derive(Clone, Debug)]
pub struct Pack {
    /// What its pack.yaml says.
    pub manifest: Manifest,
    /// Its policy.
    pub rego: &'static str,
}

/// A pack.yaml.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name of the pack, and of its folder.
    pub name: String,
    /// Version; what a version holds never changes.
    pub version: String,
    /// What holds where it is switched on, in a line.
    pub title: String,
    /// What it judges unless the TenantPolicy says otherwise.
    #[serde(rename = "match")]
    pub match_: Match,
    /// The schema of its parameters.
    pub parameters: JSONSchemaProps,
    /// Parameters to begin with.
    pub example: serde_json::Map<String, serde_json::Value>,
}

macro_rules! packs {
    ($($name:literal),+ $(,)?) => {
        /// pack.yaml and policy.rego of each pack.
        const SOURCES: &[(&str, &str)] = &[$((
            include_str!(concat!("../../../policies/", $name, "/pack.yaml")),
            include_str!(concat!("../../../policies/", $name, "/policy.rego")),
        )),+];
    };
}

packs!(
    "automount-token",
    "capabilities",
    "disruption-budgets",
    "host-namespaces",
    "image-tags",
    "ingress-hosts",
    "read-only-root",
    "registry-allowlist",
    "required-probes",
    "required-resources",
    "seccomp",
    "service-types",
);

/// All packs, in the order of their names. One whose pack.yaml can't be read is left out, which a test forbids.
pub fn all() -> &'static [Pack] {
    static PACKS: LazyLock<Vec<Pack>> = LazyLock::new(|| {
        let pack = |(manifest, rego): &(&str, &'static str)| {
            let manifest = serde_saphyr::from_str(manifest).ok()?;
            Some(Pack { manifest, rego })
        };
        SOURCES.iter().filter_map(pack).collect()
    });
    &PACKS
}

/// The pack of this name and version.
///
/// # Errors
/// What there is instead.
pub fn find(name: &str, version: &str) -> Result<&'static Pack, String> {
    let mut versions_of = all().iter().filter(|it| it.manifest.name == name).peekable();
    if versions_of.peek().is_none() {
        let names: Vec<&str> = all().iter().map(|it| it.manifest.name.as_str()).collect();
        return Err(format!(
            "there is no pack '{name}'; there are {}",
            names.join(", ")
        ));
    }
    let versions = some_of(versions_of.clone().map(|it| &it.manifest.version));
    versions_of
        .find(|it| it.manifest.version == version)
        .ok_or_else(|| format!("pack '{name}' has no version '{version}'; it has {versions}"))
}

#[cfg(test)]
mod tests;
