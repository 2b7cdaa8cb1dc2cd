//! Changes by others that are put back, and who made them.

use bailiwick_crds::labels;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::api::ApiResource;
use kube::runtime::events::{Event, EventType};
use serde::Deserialize;

use crate::metrics::Metrics;

/// A change by somebody else that was put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Drift {
    pub(crate) kind: &'static str,
    pub(crate) object: String,
    pub(crate) paths: Vec<String>,
    pub(crate) manager: String,
}

impl Drift {
    /// Counts it and writes it into the log.
    pub(crate) fn tell(&self, metrics: &Metrics) {
        metrics.drifted(self.kind, &self.manager);
        tracing::warn!(
            kind = self.kind,
            object = self.object,
            manager = self.manager,
            paths = self.paths.join(", "),
            "A change was put back"
        );
    }

    /// What is told to those who look at the object that owns this one. Events that say the same of the same object are
    /// counted as one by whoever publishes them: object and paths are part of that.
    pub(crate) fn event(&self) -> Event {
        let Self {
            kind,
            object,
            paths,
            manager,
        } = self;
        let note = format!(
            "{kind} {object} was changed by {manager} at {} and is put back",
            paths.join(", ")
        );
        Event {
            type_: EventType::Warning,
            reason: "DriftReverted".to_owned(),
            note: Some(note.chars().take(1000).collect()),
            action: "Revert".to_owned(),
            secondary: Some(self.reference()),
        }
    }

    fn reference(&self) -> ObjectReference {
        let (namespace, name) = match self.object.split_once('/') {
            Some((namespace, name)) => (Some(namespace.to_owned()), name),
            None => (None, self.object.as_str()),
        };
        ObjectReference {
            kind: Some(self.kind.to_owned()),
            namespace,
            name: Some(name.to_owned()),
            field_path: Some(self.paths.join(", ").chars().take(1000).collect()),
            ..ObjectReference::default()
        }
    }
}

/// The path of an object that is not there.
pub(crate) const DELETED: &str = "deleted";

/// Nobody can tell: a deleted object has no managers any more, and the API server keeps no other record of them.
pub(crate) const UNKNOWN: &str = "unknown";

/// Somebody wrote, and the object does not tell who. It was under the operator's name, for a field manager is what a
/// client says it is; or it only removed something, which leaves no trace among the managers.
pub(crate) const UNTOLD: &str = "unknown (the object names bailiwick-operator)";

/// Who made a change, if it was somebody else.
///
/// `manager` wrote the object last, as far as it is known. With the operator's own name it is the operator, whose
/// plan changed with its configuration or its release; unless this very process knows that it left the object in
/// another state (`is_known`).
pub(crate) fn author(manager: Option<String>, is_known: bool) -> Option<String> {
    match manager {
        None => Some(UNKNOWN.to_owned()),
        Some(manager) if manager != labels::OPERATOR => Some(manager),
        Some(_) => is_known.then(|| UNTOLD.to_owned()),
    }
}

/// Tells who wrote an object.
#[derive(Clone)]
pub(crate) struct Managers {
    /// Reads `managedFields`, which the other client drops.
    raw: Client,
}

impl Managers {
    pub(crate) fn new(raw: Client) -> Self {
        Self { raw }
    }

    /// The field manager that wrote an object last, as far as it is known. Its field sets are skipped, not read.
    pub(crate) async fn last(
        &self,
        resource: &ApiResource,
        namespace: Option<&str>,
        name: &str,
    ) -> Option<String> {
        let root = if resource.group.is_empty() {
            "/api".to_owned()
        } else {
            format!("/apis/{}", resource.group)
        };
        let namespace = namespace
            .map(|it| format!("/namespaces/{it}"))
            .unwrap_or_default();
        let path = format!(
            "{root}/{}{namespace}/{}/{name}",
            resource.version, resource.plural
        );
        let request = http::Request::get(path).body(Vec::new()).ok()?;
        let text = self.raw.request_text(request).await.ok()?;
        last_of(&text)
    }
}

fn last_of(object: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Partial {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        #[serde(default)]
        managed_fields: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        manager: String,
        #[serde(default)]
        time: String,
        #[serde(default)]
        subresource: String,
    }
    let partial: Partial = serde_json::from_str(object).ok()?;
    let entries = partial
        .metadata
        .managed_fields
        .into_iter()
        .filter(|it| it.subresource.is_empty());
    // Times have a resolution of one second: of two in the same one, it is the other one that surprised us.
    entries
        .max_by_key(|it| (it.time.clone(), it.manager != labels::OPERATOR))
        .map(|it| it.manager.chars().take(128).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_under_the_operators_name_is_told_where_it_can_only_be_somebody_elses() {
        let ours = || Some(labels::OPERATOR.to_owned());
        assert_eq!(author(ours(), true).as_deref(), Some(UNTOLD));
        // After a restart it may as well be what an older release wrote.
        assert_eq!(author(ours(), false), None);
        for is_known in [true, false] {
            let kubectl = author(Some("kubectl-edit".to_owned()), is_known);
            assert_eq!(kubectl.as_deref(), Some("kubectl-edit"));
            assert_eq!(author(None, is_known).as_deref(), Some(UNKNOWN));
        }
    }

    #[test]
    fn events_differ_by_object_and_path() {
        let drift = |object: &str, path: &str| Drift {
            kind: "NetworkPolicy",
            object: object.to_owned(),
            paths: vec![path.to_owned()],
            manager: "kubectl-edit".to_owned(),
        };
        let related = |it: Drift| it.event().secondary.unwrap();
        let first = related(drift("acme-prod/deny", "spec.ingress"));
        assert_eq!(first, related(drift("acme-prod/deny", "spec.ingress")));
        assert_ne!(first, related(drift("acme-prod/deny", "spec.egress")));
        assert_ne!(first, related(drift("acme-dev/deny", "spec.ingress")));
        assert_eq!(first.namespace.as_deref(), Some("acme-prod"));
        assert_eq!(related(drift("acme-prod", "metadata.labels")).namespace, None);
    }

    #[test]
    fn the_last_manager_is_the_latest_and_of_equals_the_other_one() {
        let object = |entries: &[(&str, &str, &str)]| {
            let entries: Vec<_> = entries
                .iter()
                .map(|(manager, time, subresource)| {
                    serde_json::json!({"manager": manager, "time": time, "subresource": subresource})
                })
                .collect();
            serde_json::json!({"metadata": {"managedFields": entries}}).to_string()
        };
        let (early, late) = ("2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z");
        let operator = labels::OPERATOR;
        for (entries, last) in [
            (&[("kubectl", early, ""), (operator, late, "")][..], operator),
            (&[("kubectl", late, ""), (operator, early, "")], "kubectl"),
            (&[("kubectl", late, ""), (operator, late, "")], "kubectl"),
            (&[("kubelet", late, "status"), (operator, early, "")], operator),
        ] {
            assert_eq!(last_of(&object(entries)).as_deref(), Some(last), "{entries:?}");
        }
        assert_eq!(last_of("{}"), None);
    }
}
