//! Which namespaces are planned, and how.

use std::collections::BTreeMap;

use bailiwick_crds::v1alpha1::{NamespaceOrigin, Tenant};

use super::Stay;
use crate::ownership::Claim;
use crate::validate::Examined;

/// How each namespace of a Tenant stands with it. One that is not told of is left alone.
///
/// A Tenant that is not valid takes nothing new. A namespace whose declaration is wrong is locked if it is on
/// record, with nobody in it, and left alone if it isn't: it may be the platform's. One that an owner made waits meanwhile,
/// which locks it.
pub fn stays<'a>(
    tenant: &Tenant,
    examined: &Examined,
    claims: &'a BTreeMap<String, Claim>,
) -> BTreeMap<&'a str, Stay> {
    let is_valid = examined.problems.is_empty();
    let is_recorded = |namespace: &str| {
        let mut records = tenant.status.iter().flat_map(|it| &it.namespaces);
        records.any(|it| it.name == namespace)
    };
    let stay = |namespace: &str, claim: &Claim| match claim {
        Claim::Create | Claim::Adopt if is_valid => Some(Stay::Declared),
        Claim::Take if is_valid => Some(Stay::SelfService),
        Claim::Keep(NamespaceOrigin::SelfService) => Some(Stay::SelfService),
        Claim::Take | Claim::Wait(_) => Some(Stay::Waiting),
        Claim::Keep(_) if examined.sound.namespaces.contains_key(namespace) => Some(Stay::Declared),
        Claim::Keep(_) if is_recorded(namespace) => Some(Stay::Retained),
        Claim::Retain | Claim::Release | Claim::HandOver { .. } => Some(Stay::Retained),
        Claim::Terminating | Claim::Ending if is_recorded(namespace) => {
            let is_going = tenant.metadata.deletion_timestamp.is_some();
            Some(if is_going { Stay::Shut } else { Stay::Ending })
        }
        _ => None,
    };
    claims
        .iter()
        .filter_map(|(name, claim)| Some((name.as_str(), stay(name, claim)?)))
        .collect()
}
