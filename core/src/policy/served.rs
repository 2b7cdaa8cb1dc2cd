//! Which policies are for which tenant.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bailiwick_crds::v1alpha1::TenantPolicySpec;

use super::content::Content;
use super::revision::Revision;
use crate::snapshot::Tenants;

/// All policies, by tenant.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// By the tenants that a policy or a candidate of it is for.
    by_tenant: HashMap<String, Vec<Arc<Served>>>,
    all: Vec<Arc<Served>>,
    /// Policies that may be for a tenant that nobody knows yet.
    for_unknown: Vec<Arc<Served>>,
    /// The author of each revision that is kept, by policy and digest.
    authors: Arc<Authors>,
}

/// Who wrote which revision: by policy, by digest.
pub type Authors = HashMap<String, HashMap<String, String>>;

/// A policy as it is to be served.
#[derive(Clone, Debug)]
pub struct Served {
    /// Its name.
    pub policy: String,
    /// What decides; none while there is nothing.
    pub active: Option<Active>,
    /// What is to follow.
    pub candidate: Option<Candidate>,
    /// Who approved which revision.
    pub approved_by: BTreeMap<String, Vec<String>>,
}

/// What decides.
#[derive(Clone, Debug)]
pub enum Active {
    /// A revision.
    Loaded(Arc<Revision>),
    /// A revision that this process can't load. What it might judge is refused.
    Missing {
        /// The revision.
        revision: String,
        /// What it might judge, from the policy as it is written now: that is all that is known.
        spec: Arc<TenantPolicySpec>,
        /// Why it can't be loaded.
        reason: String,
    },
}

/// What is to follow the active revision.
#[derive(Clone, Debug)]
pub enum Candidate {
    /// It decides nothing yet.
    Idle(Arc<Revision>),
    /// It is compared with the active revision.
    Shadow(Arc<Revision>),
    /// It decides for some percent of the namespaces, and is compared there.
    Percent(Arc<Revision>, i32),
}

impl Candidate {
    /// The revision.
    pub fn revision(&self) -> &Arc<Revision> {
        let (Self::Idle(it) | Self::Shadow(it) | Self::Percent(it, _)) = self;
        it
    }
}

impl Policies {
    /// Indexes policies.
    pub fn collect(served: impl IntoIterator<Item = Arc<Served>>, tenants: &Tenants) -> Self {
        let all: Vec<Arc<Served>> = served.into_iter().collect();
        let mut by_tenant: HashMap<String, Vec<Arc<Served>>> = HashMap::new();
        let empty = BTreeMap::new();
        for (name, tenant) in &tenants.by_name {
            let labels = Some(tenant.metadata.labels.as_ref().unwrap_or(&empty));
            for served in all.iter().filter(|it| it.is_for(name, labels)) {
                by_tenant.entry(name.clone()).or_default().push(served.clone());
            }
        }
        Self {
            by_tenant,
            for_unknown: all.clone(),
            all,
            ..Self::default()
        }
    }

    /// With the authors of all revisions.
    #[must_use]
    pub fn with_authors(mut self, authors: Arc<Authors>) -> Self {
        self.authors = authors;
        self
    }

    /// Who wrote a revision; none where it isn't kept.
    pub fn author(&self, policy: &str, digest: &str) -> Option<&str> {
        self.authors.get(policy)?.get(digest).map(String::as_str)
    }

    /// All of them.
    pub fn all(&self) -> &[Arc<Served>] {
        &self.all
    }

    /// Those that may be for a tenant.
    pub fn of_tenant(&self, tenant: &str, is_known: bool) -> &[Arc<Served>] {
        if is_known {
            self.by_tenant.get(tenant).map_or(&[], Vec::as_slice)
        } else {
            &self.for_unknown
        }
    }
}

impl Served {
    fn is_for(&self, tenant: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
        let content = |it: &Content| it.is_for(tenant, labels) != Some(false);
        let active = self.active.as_ref().is_some_and(|it| match it {
            Active::Loaded(it) => content(&it.stored.content),
            // What is written of it is all that is known; of an unreadable one, nothing is.
            Active::Missing { spec, .. } => {
                let written = Content {
                    tenants: spec.tenants.clone(),
                    tenant_selector: spec.tenant_selector.clone(),
                    ..Content::default()
                };
                (spec.tenants.is_none() && spec.tenant_selector.is_none()) || content(&written)
            }
        });
        active
            || self
                .candidate
                .as_ref()
                .is_some_and(|it| content(&it.revision().stored.content))
    }
}
