//! An object of the cluster, explained by the policies that decide there now.

use std::sync::Arc;

use bailiwick_core::decide::{Outcome as Decided, decide};
use bailiwick_core::ownership::NamespaceFacts;
use bailiwick_core::policy::Policies;
use bailiwick_core::policy::explain::{Outcome, explain as explained};
use bailiwick_core::policy::orders::StoredPolicy;
use bailiwick_core::review;
use bailiwick_core::snapshot::{Snapshot, Tenants};
use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::Tenant;
use k8s_openapi::api::core::v1::Namespace;
use serde_json::{Value, json};

use super::{Explained, Part, Report};
use crate::check::manifest::Id;
use crate::check::policies::Sources;
use crate::check::{Verdict, moment};
use crate::live::{Api, BAILIWICK, item, kinds, list, needed, policies};

/// Which object, and whose request it would be.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Its kind, as people write it.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: Option<String>,
    /// The user who asks for it; nobody in particular unless said.
    pub user: Option<String>,
    /// The user's groups.
    pub groups: Vec<String>,
    /// Where Bailiwick is.
    pub bailiwick_namespace: String,
    /// Now, in Unix seconds.
    pub now: i64,
}

/// Neither the operator nor a tenant's: no Tenant may claim a name that begins with `system:`.
const NOBODY: &str = "system:bailiwick-explain";

/// Explains an object as if it were created now, on a thread with [`bailiwick_core::rego::STACK`].
///
/// # Errors
/// What is missing for that.
pub fn explain(api: &dyn Api, asked: &Asked) -> Result<Report, String> {
    let found = kinds::discover(api)?;
    let kind = kinds::find(&found, &asked.kind)?;
    let namespace = match (&asked.namespace, kind.namespaced) {
        (Some(it), true) => it.as_str(),
        (None, true) => return Err(format!("{} lives in namespaces: name one with -n", kind.kind)),
        (_, false) => {
            return Err(format!(
                "{} lives in no namespace, and policies judge what does; ask `bailiwick check` about it",
                kind.kind
            ));
        }
    };
    let path = format!("{}/{}", kind.path(Some(namespace)), item::escaped(&asked.name));
    let what = format!("{} {namespace}/{}", kind.kind, asked.name);
    let text = api.get(&path)?.ok_or_else(|| format!("there is no {what}"))?;
    let object = item::item(&text, None).map_err(|error| format!("{what} can't be read: {error}"))?;
    let snapshot = snapshot(api, namespace, asked)?;
    let request = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "explain",
            "kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
            "resource": {"group": kind.group, "version": kind.version, "resource": kind.resource},
            "name": asked.name,
            "namespace": namespace,
            "operation": "CREATE",
            "userInfo": {"username": asked.user.as_deref().unwrap_or(NOBODY), "groups": asked.groups},
            "object": object.raw,
        },
    });
    let body = serde_json::to_vec(&request).map_err(|error| format!("{what}: {error}"))?;
    let request = review::parse(&body).map_err(|error| format!("{what} can't be judged: {error}"))?;
    let moment = moment(asked.now);
    let considered = explained(&snapshot, &request, &moment);
    let (built_in, doubts) = match decide(&snapshot, &request, &moment) {
        Decided::Decided(it) => (
            it.findings.into_iter().filter(|it| it.source.is_none()).collect(),
            Vec::new(),
        ),
        Decided::Needs(need) => (
            Vec::new(),
            vec![crate::check::doubt::Doubt::Unknown(need).message()],
        ),
    };
    let explained = Explained {
        id: Id {
            group: kind.group.clone(),
            version: kind.version.clone(),
            kind: kind.kind.clone(),
            namespace: Some(namespace.to_owned()),
            name: asked.name.clone(),
        },
        place: None,
        tenant: snapshot.tenant_of(namespace).map(str::to_owned),
        verdict: verdict(&considered, &built_in),
        built_in,
        doubts,
        parts: vec![Part {
            kind: kind.kind.clone(),
            prefix: String::new(),
            considered,
        }],
    };
    Ok(Report {
        objects: vec![explained],
        sources: Sources::default(),
        unread: Vec::new(),
    })
}

fn verdict(
    considered: &[bailiwick_core::policy::explain::Considered],
    built_in: &[bailiwick_core::finding::Finding],
) -> Verdict {
    use bailiwick_crds::v1alpha1::Enforcement::Deny;
    let said = considered.iter().filter_map(|it| match &it.outcome {
        Outcome::Judged { said, .. } => Some(said),
        Outcome::NotJudged(_) => None,
    });
    if !built_in.is_empty() || said.clone().flatten().any(|it| it.enforcement == Some(Deny)) {
        Verdict::Denied
    } else if said.count() > 0 {
        Verdict::Clean
    } else {
        Verdict::NotJudged
    }
}

/// What decides about a namespace: it, its Tenant, the policies and their revisions.
fn snapshot(api: &dyn Api, namespace: &str, asked: &Asked) -> Result<Snapshot, String> {
    let path = format!("/api/v1/namespaces/{namespace}");
    let read: Value = {
        let text = api
            .get(&path)?
            .ok_or_else(|| format!("there is no Namespace '{namespace}'"))?;
        let read = item::item(&text, None).and_then(|it| serde_json::from_str(it.raw.get()));
        read.map_err(|error| format!("Namespace '{namespace}' can't be read: {error}"))?
    };
    let read: Namespace = serde_json::from_value(read)
        .map_err(|error| format!("Namespace '{namespace}' can't be read: {error}"))?;
    let tenant = read
        .metadata
        .labels
        .as_ref()
        .and_then(|it| it.get(labels::TENANT))
        .cloned();
    let tenants: Vec<Arc<Tenant>> = match tenant {
        Some(name) => {
            let path = format!("{BAILIWICK}/tenants/{name}");
            vec![Arc::new(needed(api, &path, &format!("Tenant '{name}'"))?)]
        }
        None => Vec::new(),
    };
    let tenants = Tenants::collect(tenants);
    let (stored, _) = list::<StoredPolicy>(api, &format!("{BAILIWICK}/tenantpolicies"))?;
    let revisions = policies::revisions(api, &asked.bailiwick_namespace, None)?;
    let served = stored.iter().map(|it| Arc::new(policies::served(it, &revisions)));
    let policies = Policies::collect(served.collect::<Vec<_>>(), &tenants);
    let namespaces = [(namespace.to_owned(), NamespaceFacts::from(&read))];
    Ok(Snapshot {
        tenants: Arc::new(tenants),
        namespaces: Arc::new(namespaces.into()),
        policies: Arc::new(policies),
        ..Snapshot::default()
    })
}
