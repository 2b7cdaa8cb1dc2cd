//! The ResourceQuota that is a namespace's part of its tenant's quota.

use std::collections::BTreeMap;

use bailiwick_crds::labels;
use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::metadata;
use crate::quantity::Amount;
use crate::quota::{Amounts, SLICE};
use crate::validate::ValidTenant;

/// The slice of a namespace, with what it is to be limited to and who says so.
pub fn slice(tenant: &ValidTenant, namespace: &str, hard: &Amounts, writer: &str) -> ResourceQuota {
    let mut metadata = metadata(tenant, namespace, SLICE);
    metadata
        .annotations
        .get_or_insert_default()
        .insert(labels::QUOTA_WRITER.to_owned(), writer.to_owned());
    let hard: BTreeMap<String, Quantity> = hard
        .iter()
        .map(|(name, amount)| (name.clone(), Quantity(amount.to_string())))
        .collect();
    ResourceQuota {
        metadata,
        spec: Some(ResourceQuotaSpec {
            hard: Some(hard),
            ..ResourceQuotaSpec::default()
        }),
        status: None,
    }
}

/// The limits of a tenant that has any.
pub(super) fn limits(tenant: &ValidTenant) -> Amounts {
    let limits = tenant.quota.iter().flat_map(|it| &it.tenant);
    limits
        .filter_map(|(name, limit)| Some((name.clone(), Amount::parse(&limit.0).ok()?)))
        .collect()
}
