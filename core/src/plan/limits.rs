//! The ResourceQuota and the LimitRange of a namespace.

use std::collections::BTreeMap;

use bailiwick_crds::v1alpha1::{LimitItem, LimitType, Quota, ResourceList};
use k8s_openapi::api::core::v1::{
    LimitRange, LimitRangeItem, LimitRangeSpec, ResourceQuota, ResourceQuotaSpec,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Object;

const NAME: &str = "bailiwick";

pub(super) fn plan(quota: &Quota, metadata: impl Fn(&str) -> ObjectMeta) -> Vec<Object> {
    let mut objects = Vec::new();
    if !quota.namespace.is_empty() {
        objects.push(Object::ResourceQuota(ResourceQuota {
            metadata: metadata(NAME),
            spec: Some(ResourceQuotaSpec {
                hard: list(&quota.namespace),
                ..ResourceQuotaSpec::default()
            }),
            status: None,
        }));
    }
    if !quota.limits.is_empty() {
        objects.push(Object::LimitRange(LimitRange {
            metadata: metadata(NAME),
            spec: Some(LimitRangeSpec {
                limits: quota.limits.iter().map(item).collect(),
            }),
        }));
    }
    objects
}

/// A quota that leaves room for nothing that runs or holds anything.
pub(super) fn nothing(metadata: impl Fn(&str) -> ObjectMeta) -> Object {
    const NONE: [&str; 5] = [
        "persistentvolumeclaims",
        "pods",
        "replicationcontrollers",
        "secrets",
        "services",
    ];
    Object::ResourceQuota(ResourceQuota {
        metadata: metadata(NAME),
        spec: Some(ResourceQuotaSpec {
            hard: Some(NONE.map(|it| (it.to_owned(), Quantity("0".to_owned()))).into()),
            ..ResourceQuotaSpec::default()
        }),
        status: None,
    })
}

/// The API server fills a container's defaults in this order, so the plan does too: default from max,
/// defaultRequest from default, then from min (`SetDefaults_LimitRangeItem` in Kubernetes).
fn item(item: &LimitItem) -> LimitRangeItem {
    let mut default = item.default.clone();
    let mut default_request = item.default_request.clone();
    if item.type_ == LimitType::Container {
        fill(&mut default, &item.max);
        fill(&mut default_request, &default);
        fill(&mut default_request, &item.min);
    }
    LimitRangeItem {
        type_: match item.type_ {
            LimitType::Container => "Container",
            LimitType::Pod => "Pod",
            LimitType::PersistentVolumeClaim => "PersistentVolumeClaim",
        }
        .to_owned(),
        max: list(&item.max),
        min: list(&item.min),
        default: list(&default),
        default_request: list(&default_request),
        max_limit_request_ratio: list(&item.max_limit_request_ratio),
    }
}

fn fill(into: &mut ResourceList, from: &ResourceList) {
    for (name, quantity) in from {
        into.entry(name.clone()).or_insert_with(|| quantity.clone());
    }
}

fn list(resources: &ResourceList) -> Option<BTreeMap<String, Quantity>> {
    (!resources.is_empty()).then(|| {
        resources
            .iter()
            .map(|(name, quantity)| (name.clone(), Quantity(quantity.0.clone())))
            .collect()
    })
}
