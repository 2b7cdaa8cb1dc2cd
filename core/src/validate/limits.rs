//! Quotas and limits of a Tenant: amounts that can be read, and that don't contradict each other.

use std::collections::BTreeSet;

use bailiwick_crds::v1alpha1::{LimitItem, LimitType, Quantity, ResourceList, TenantSpec};

use super::Problems;
use crate::quantity::Amount;

/// Checks quotas and limits.
pub(super) fn check(spec: &TenantSpec, problems: &mut Problems) {
    let Some(quota) = &spec.quota else { return };
    check_resources("spec.quota.tenant", &quota.tenant, problems);
    super::quota::check(&quota.tenant, problems);
    check_resources("spec.quota.namespace", &quota.namespace, problems);
    let mut types = BTreeSet::new();
    for (i, item) in quota.limits.iter().enumerate() {
        check_limit(&format!("spec.quota.limits[{i}]"), item, problems);
        if !types.insert(item.type_) {
            problems.add(
                format!("spec.quota.limits[{i}].type"),
                format!("'{:?}' a second time", item.type_),
                "one item for each type",
                "put both into one item",
            );
        }
    }
}

fn check_resources(field: &str, resources: &ResourceList, problems: &mut Problems) {
    for (name, Quantity(text)) in resources {
        let field = format!("{field}['{name}']");
        if let Err(error) = Amount::parse(text) {
            problems.add(
                &field,
                format!("'{text}'"),
                error.to_string(),
                "correct the quantity",
            );
        }
        let segment = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if name.is_empty() || name.len() > 316 || !name.chars().all(segment) {
            problems.add(
                &field,
                format!("'{name}'"),
                "a resource name such as requests.cpu, pods or count/services",
                "correct the name",
            );
        }
    }
}

/// The API server refuses a LimitRange that contradicts itself; the Tenant's author learns it here.
fn check_limit(field: &str, item: &LimitItem, problems: &mut Problems) {
    let lists = [
        ("max", &item.max),
        ("min", &item.min),
        ("default", &item.default),
        ("defaultRequest", &item.default_request),
        ("maxLimitRequestRatio", &item.max_limit_request_ratio),
    ];
    for (name, list) in lists {
        check_resources(&format!("{field}.{name}"), list, problems);
    }
    if item.type_ != LimitType::Container && !(item.default.is_empty() && item.default_request.is_empty()) {
        problems.add(
            format!("{field}.default"),
            format!("defaults for type {:?}", item.type_),
            "default and defaultRequest for type Container only",
            "remove them",
        );
    }
    let amount = |list: &ResourceList, name: &str| list.get(name).and_then(|it| Amount::parse(&it.0).ok());
    let ordered = [
        ("min", &item.min, "max", &item.max),
        ("min", &item.min, "default", &item.default),
        ("min", &item.min, "defaultRequest", &item.default_request),
        ("defaultRequest", &item.default_request, "default", &item.default),
        ("defaultRequest", &item.default_request, "max", &item.max),
        ("default", &item.default, "max", &item.max),
    ];
    for (low_name, low, high_name, high) in ordered {
        for name in low.keys() {
            if let (Some(l), Some(h)) = (amount(low, name), amount(high, name))
                && l > h
            {
                problems.add(
                    format!("{field}.{low_name}['{name}']"),
                    format!("{l}, more than {high_name} ({h})"),
                    format!("at most {high_name}"),
                    "lower the one or raise the other",
                );
            }
        }
    }
    for (name, Quantity(text)) in &item.max_limit_request_ratio {
        let one = Amount::parse("1");
        if Amount::parse(text)
            .ok()
            .zip(one.ok())
            .is_some_and(|(ratio, one)| ratio < one)
        {
            problems.add(
                format!("{field}.maxLimitRequestRatio['{name}']"),
                format!("'{text}'"),
                "1 or more",
                "a limit is never below its request",
            );
        }
    }
}
