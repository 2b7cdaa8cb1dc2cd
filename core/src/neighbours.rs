//! Tenants that are in each other's way: what one of them says or has decides what another may.

use std::collections::{BTreeMap, BTreeSet};

use crate::decide::standing_conflicts;
use crate::finding::{Finding, RuleId};
use crate::snapshot::Snapshot;
use crate::validate::examine;

/// The conflicts of each Tenant that has any.
pub type Conflicts = BTreeMap<String, Vec<Finding>>;

/// Finds the conflicts among all Tenants, valid or not, and what one of them is to hand over to another.
pub fn conflicts(snapshot: &Snapshot) -> Conflicts {
    let of_all = snapshot.tenants.by_name.iter().map(|(name, tenant)| {
        let sound = examine(tenant, &snapshot.config).sound;
        let mut conflicts = standing_conflicts(snapshot, &sound);
        conflicts.extend(handed_over(snapshot, name));
        (name.clone(), conflicts)
    });
    of_all.filter(|(_, conflicts)| !conflicts.is_empty()).collect()
}

/// The namespaces on a Tenant's record that consent to go to another one, which declares them.
fn handed_over(snapshot: &Snapshot, tenant: &str) -> Vec<Finding> {
    let live = snapshot.tenants.by_name.get(tenant);
    let records = live
        .iter()
        .flat_map(|it| &it.status)
        .flat_map(|it| &it.namespaces);
    let goes = records.filter_map(|record| {
        let namespace = &record.name;
        let to = snapshot.namespaces.get(namespace)?.adopt_by.as_deref()?;
        let is_asked_for = snapshot.tenants.declared.get(namespace)?.contains(to);
        (to != tenant && is_asked_for && snapshot.recorded_tenant_of(namespace) == Some(tenant)).then(|| {
            Finding::new(
                RuleId::TenantNamespace,
                format!("spec.namespaces.declared['{namespace}']"),
                format!("'{namespace}', which is to go to Tenant '{to}'"),
                "Namespaces that stay",
                "take it out of this Tenant",
            )
        })
    });
    goes.collect()
}

/// The Tenants whose conflicts have changed: they have to be looked at again.
pub fn changed<'a>(before: &'a Conflicts, now: &'a Conflicts) -> BTreeSet<&'a str> {
    let names = before.keys().chain(now.keys());
    names
        .filter(|it| before.get(*it) != now.get(*it))
        .map(String::as_str)
        .collect()
}
