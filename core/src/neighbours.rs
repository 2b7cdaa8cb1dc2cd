//! Tenants that are in each other's way: what one of them says or has decides what another may.

use std::collections::{BTreeMap, BTreeSet};

use crate::decide::standing_conflicts;
use crate::finding::Finding;
use crate::snapshot::Snapshot;
use crate::validate::examine;

/// The conflicts of each Tenant that has any.
pub type Conflicts = BTreeMap<String, Vec<Finding>>;

/// Finds the conflicts among all Tenants, valid or not.
pub fn conflicts(snapshot: &Snapshot) -> Conflicts {
    let of_all = snapshot.tenants.by_name.iter().map(|(name, tenant)| {
        let sound = examine(tenant, &snapshot.config).sound;
        (name.clone(), standing_conflicts(snapshot, &sound))
    });
    of_all.filter(|(_, conflicts)| !conflicts.is_empty()).collect()
}

/// The Tenants whose conflicts have changed: they have to be looked at again.
pub fn changed<'a>(before: &'a Conflicts, now: &'a Conflicts) -> BTreeSet<&'a str> {
    let names = before.keys().chain(now.keys());
    names
        .filter(|it| before.get(*it) != now.get(*it))
        .map(String::as_str)
        .collect()
}
