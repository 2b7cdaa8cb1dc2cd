//! What a Tenant may say of the namespaces that its owners make.

use bailiwick_crds::v1alpha1::{SelfService, TenantSpec};

use super::Problems;
use crate::config::Config;
use crate::finding::some_of;
use crate::identity::is_namespace;
use crate::self_service::{decides, of};

/// The longest prefix: it leaves room for a name.
const MAX_PREFIX: usize = 40;
const MAX_NAMESPACES: i32 = 256;

pub(super) fn check(spec: &TenantSpec, config: &Config, problems: &mut Problems) -> Option<SelfService> {
    let self_service = of(spec)?;
    let is_sound = problems.none_in(|it| {
        check_prefix(&self_service.prefix, config, it);
        check_max(self_service.max, it);
        check_keys("labels", &self_service.labels, it);
        check_keys("annotations", &self_service.annotations, it);
    });
    is_sound.then(|| self_service.clone())
}

fn check_prefix(prefix: &str, config: &Config, problems: &mut Problems) {
    const FIELD: &str = "spec.namespaces.selfService.prefix";
    let is_label = prefix.strip_suffix('-').is_some_and(is_namespace);
    if !is_label || prefix.len() > MAX_PREFIX {
        problems.add(
            FIELD,
            format!("'{prefix}'"),
            format!("the beginning of a Namespace's name: lower case letters, digits and '-', ending in '-', at most {MAX_PREFIX} characters"),
            "write the tenant's name and a '-', such as 'acme-'",
        );
        return;
    }
    let own = config.namespace.starts_with(prefix).then_some(&config.namespace);
    let reserved = config
        .reserved_namespaces
        .iter()
        .filter(|it| it.starts_with(prefix));
    let reached: Vec<&String> = own.into_iter().chain(reserved).collect();
    if prefix.starts_with("kube-") || prefix.starts_with("bailiwick-") || !reached.is_empty() {
        let found = if reached.is_empty() {
            format!("'{prefix}', with which the cluster's own namespaces begin")
        } else {
            format!("'{prefix}', with which {} begin", some_of(reached))
        };
        problems.add(
            FIELD,
            found,
            "a prefix that no reserved namespace begins with",
            "choose another prefix",
        );
    }
}

fn check_max(max: i32, problems: &mut Problems) {
    if !(0..=MAX_NAMESPACES).contains(&max) {
        problems.add(
            "spec.namespaces.selfService.max",
            max.to_string(),
            format!("0 to {MAX_NAMESPACES}"),
            "write how many namespaces the owners may have made at a time",
        );
    }
}

fn check_keys(list: &str, keys: &[String], problems: &mut Problems) {
    for (i, key) in keys.iter().enumerate() {
        let field = format!("spec.namespaces.selfService.{list}[{i}]");
        if !crate::selector::is_key(key) {
            problems.add(
                &field,
                format!("'{key}'"),
                "a key as Kubernetes defines it, exact",
                "write one key an item, such as 'team' or 'acme.example/cost-center'",
            );
        } else if decides(key) {
            problems.add(
                &field,
                format!("'{key}', which decides what isolates a namespace"),
                "keys by which neither Kubernetes nor another engine decides",
                "remove the key: the platform sets it, not the tenant",
            );
        }
    }
}
