//! Self-service: which names are whose to give, and which metadata nobody may be let to set.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_crds::labels;
use bailiwick_crds::v1alpha1::{SelfService, Tenant, TenantSpec};

/// The prefixes of all tenants' self-service.
#[derive(Clone, Debug, Default)]
pub struct Prefixes(BTreeMap<String, BTreeSet<String>>);

impl Prefixes {
    /// Collects the prefixes of tenants, valid or not.
    pub fn collect<'a>(tenants: impl IntoIterator<Item = (&'a str, &'a TenantSpec)>) -> Self {
        let mut prefixes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (tenant, spec) in tenants {
            if let Some(self_service) = of(spec) {
                let claimants = prefixes.entry(self_service.prefix.clone()).or_default();
                claimants.insert(tenant.to_owned());
            }
        }
        Self(prefixes)
    }

    /// The longest prefix that a name begins with, and the tenants that have it.
    pub fn of_name<'a>(&'a self, name: &str) -> Option<(&'a str, &'a BTreeSet<String>)> {
        let ends = (1..name.len()).rev();
        let longest_first = ends.filter_map(|end| name.get(..end));
        longest_first
            .filter_map(|prefix| self.0.get_key_value(prefix))
            .map(|(prefix, tenants)| (prefix.as_str(), tenants))
            .next()
    }

    /// Whether a name is this tenant's to give, and nobody else's.
    pub fn gives(&self, tenant: &str, name: &str) -> bool {
        self.of_name(name)
            .is_some_and(|(_, tenants)| tenants.len() == 1 && tenants.contains(tenant))
    }

    /// The other tenants that have this very prefix.
    pub fn rivals(&self, tenant: &str, prefix: &str) -> BTreeSet<&str> {
        let tenants = self.0.get(prefix).into_iter().flatten();
        tenants.map(String::as_str).filter(|it| *it != tenant).collect()
    }

    /// The prefixes of others that begin with this one, or that this one begins with, each with its tenants.
    pub fn nested(&self, tenant: &str, prefix: &str) -> Vec<(&str, &str)> {
        let nests = |it: &str| it != prefix && (it.starts_with(prefix) || prefix.starts_with(it));
        let nested = self.0.iter().filter(|(it, _)| nests(it));
        nested
            .flat_map(|(it, tenants)| tenants.iter().map(move |tenant| (it.as_str(), tenant.as_str())))
            .filter(|(_, it)| *it != tenant)
            .collect()
    }
}

/// What a Tenant's spec says of self-service.
pub fn of(spec: &TenantSpec) -> Option<&SelfService> {
    spec.namespaces.as_ref()?.self_service.as_ref()
}

/// The self-service of a Tenant, as long as its owners may make namespaces: not while it goes, nor while it is suspended.
pub fn open(tenant: &Tenant) -> Option<&SelfService> {
    let is_going = tenant.metadata.deletion_timestamp.is_some();
    let is_suspended = tenant.spec.suspended.unwrap_or_default();
    of(&tenant.spec).filter(|_| !is_going && !is_suspended)
}

/// Prefixes of labels and annotations of Namespaces by which other software decides: whether it looks at a namespace at all, where
/// its Pods run, from which addresses, with whose rights, and who may enter by which route.
const DECIDING: [&str; 30] = [
    "admission.datadoghq.com/",
    "admission.gatekeeper.sh/",
    "argocd.argoproj.io/managed-by",
    "capsule.clastix.io/",
    "cert-manager.io/",
    "cilium.io/",
    "cni.projectcalico.org/",
    "config.kubernetes.io/",
    "config.linkerd.io/",
    "field.cattle.io/",
    "gateway.networking.k8s.io/",
    "hnc.x-k8s.io/",
    "iam.amazonaws.com/",
    "io.cilium.",
    "istio-",
    "istio.io/",
    "k8s.ovn.org/",
    "kubernetes.io/",
    "kyverno.io/",
    "linkerd.io/",
    "net.beta.kubernetes.io/",
    "network.openshift.io/",
    "node.kubernetes.io/",
    "openshift.io/",
    "policies.kyverno.io/",
    "policy.sigstore.dev/",
    "projectcalico.org/",
    "scheduler.alpha.kubernetes.io/",
    "security.openshift.io/",
    "topology.istio.io/",
];

/// Whether a label or annotation of a Namespace decides what isolates it, here or for another engine: no tenant may be let to set
/// it. A group below one of these names, such as `sidecar.istio.io/`, is meant, too.
pub fn decides(key: &str) -> bool {
    let group = key.split_once('/').map_or("", |it| it.0);
    let is_below = |it: &str| {
        it.strip_suffix('/')
            .is_some_and(|domain| domain != "kubernetes.io" && group.ends_with(&format!(".{domain}")))
    };
    key.starts_with(labels::PREFIX)
        || group.ends_with(".bailiwick.dev")
        || key.starts_with(labels::POD_SECURITY_PREFIX)
        || key == labels::DEVICE_ADMIN_ACCESS
        || key == "control-plane"
        || DECIDING.iter().any(|it| key.starts_with(it) || is_below(it))
}

#[cfg(test)]
mod tests;
