//! What is no denial, but worth knowing.

use bailiwick_crds::labels;

use crate::check::cluster::Cluster;
use crate::check::manifest::Manifest;
use crate::check::node::Node;

/// Namespaces of the files that a Tenant declares and that don't consent: the operator makes them, but it takes none
/// that somebody else has made before the Tenant came.
pub fn without_consent(manifests: &[Manifest], cluster: &Cluster) -> Vec<String> {
    let namespaces = manifests
        .iter()
        .filter(|it| it.judged.is_some_and(|it| it.kind == "Namespace"));
    namespaces
        .filter_map(|it| {
            let made = cluster.existing(&it.id)?;
            let tenant = made["metadata"]["labels"][labels::TENANT].as_str()?;
            let consent = it
                .root
                .as_ref()
                .and_then(|it| it.at_path(&["metadata", "annotations", labels::ADOPT_BY]))
                .and_then(Node::text);
            (consent != Some(tenant)).then(|| {
                format!(
                    "{}:{}: if Namespace '{}' is applied before Tenant '{tenant}', the operator will not take it; annotate it with {}: {tenant}",
                    it.file,
                    it.at.line,
                    it.id.name,
                    labels::ADOPT_BY
                )
            })
        })
        .collect()
}
