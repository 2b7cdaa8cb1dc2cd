//! The placement of a Tenant: what can't mean anything, or would except what isn't the tenant's, is told.

use bailiwick_crds::v1alpha1::{AllowedToleration, Placement, TenantSpec};

use super::Problems;
use crate::config::Config;
use crate::finding::some_of;
use crate::identity::is_object_name;
use crate::placement::REGION;
use crate::selector;

/// Checks the placement.
pub(super) fn check(spec: &TenantSpec, config: &Config, problems: &mut Problems) {
    let Some(placement) = &spec.placement else {
        return;
    };
    check_regions(placement, config, problems);
    for (key, value) in &placement.node_selector {
        if !(selector::is_key(key) && selector::is_value(value)) {
            problems.add(
                format!("spec.placement.nodeSelector['{key}']"),
                format!("'{value}'"),
                "the key of a label, and a value as labels have them",
                "write it as `kubectl get nodes --show-labels` shows it",
            );
        }
    }
    if placement.regions.is_some() && placement.node_selector.contains_key(REGION) {
        problems.add(
            format!("spec.placement.nodeSelector['{REGION}']"),
            "set beside regions",
            "one of both",
            "write the region into spec.placement.regions",
        );
    }
    for (i, AllowedToleration { key, value, .. }) in placement.tolerations.iter().enumerate() {
        if !(selector::is_key(key) && value.as_deref().is_none_or(selector::is_value)) {
            problems.add(
                format!("spec.placement.tolerations[{i}]"),
                format!("'{key}={}'", value.as_deref().unwrap_or_default()),
                "the key of a taint, and a value as labels have them",
                "write it like dedicated=acme, as `kubectl taint` shows it",
            );
        }
    }
    check_exceptions(spec, placement, problems);
}

/// A region that no node has would keep all Pods waiting.
fn check_regions(placement: &Placement, config: &Config, problems: &mut Problems) {
    let known = &config.topology.zones;
    let Some(regions) = &placement.regions else {
        return;
    };
    if regions.is_empty() {
        problems.add(
            "spec.placement.regions",
            "an empty list",
            "one region or more",
            "leave it out to allow any region",
        );
    }
    for (i, region) in regions.iter().enumerate() {
        let field = format!("spec.placement.regions[{i}]");
        if region.is_empty() || !selector::is_value(region) {
            problems.add(
                field,
                format!("'{region}'"),
                format!("a value of the label {REGION}"),
                "correct the name",
            );
        } else if !known.is_empty() && !known.contains_key(region) {
            problems.add(
                field,
                format!("'{region}'"),
                format!("one of {}", some_of(known.keys())),
                "choose one of these, or let the platform add the region to topology.zones of the chart",
            );
        }
    }
}

fn check_exceptions(spec: &TenantSpec, placement: &Placement, problems: &mut Problems) {
    let declared = spec.namespaces.iter().flat_map(|it| &it.declared);
    let declared: Vec<&str> = declared.map(|it| it.name.as_str()).collect();
    for (i, exception) in placement.exceptions.iter().enumerate() {
        let field = format!("spec.placement.exceptions[{i}]");
        if exception.reason.trim().is_empty() {
            problems.add(
                format!("{field}.reason"),
                "no reason",
                "a text that says why",
                "write down why this is excepted",
            );
        }
        if exception.namespaces.is_empty()
            && exception.storage_classes.is_empty()
            && exception.csi_drivers.is_empty()
        {
            problems.add(
                &field,
                "nothing that is excepted",
                "namespaces, storageClasses or csiDrivers",
                "list what is excepted, or leave the exception out",
            );
        }
        for (j, namespace) in exception.namespaces.iter().enumerate() {
            if !declared.contains(&namespace.as_str()) {
                problems.add(
                    format!("{field}.namespaces[{j}]"),
                    format!("'{namespace}'"),
                    format!("namespaces that the Tenant declares: {}", some_of(&declared)),
                    "declare the namespace in spec.namespaces.declared, so that nobody else makes it",
                );
            }
        }
        for (list, names, what) in [
            ("storageClasses", &exception.storage_classes, "a StorageClass"),
            ("csiDrivers", &exception.csi_drivers, "a CSIDriver"),
        ] {
            for (j, name) in names.iter().enumerate().filter(|it| !is_object_name(it.1)) {
                problems.add(
                    format!("{field}.{list}[{j}]"),
                    format!("'{name}'"),
                    format!("the name of {what}: lower case letters, digits, '-' and '.'"),
                    "correct the name",
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bailiwick_crds::v1alpha1::Tenant;
    use serde_json::{Value, json};

    use super::*;
    use crate::validate::validate;

    /// The fields that are wrong.
    #[track_caller]
    fn check(placement: &Value, zones: &str, expected: &[&str]) {
        let spec = serde_json::from_value(json!({
            "namespaces": {"declared": [{"name": "acme-prod"}]},
            "placement": placement,
        }))
        .unwrap();
        let config = Config::from_yaml(&format!("topology: {{zones: {zones}}}")).unwrap();
        let wrong = validate(&Tenant::new("acme", spec), &config);
        let fields: Vec<String> = wrong.err().into_iter().flatten().map(|it| it.field).collect();
        let expected: Vec<String> = expected.iter().map(|it| format!("spec.placement.{it}")).collect();
        assert_eq!(fields, expected, "{placement}");
    }

    #[test]
    fn what_means_something_is_valid() {
        check(&json!({}), "{}", &[]);
        check(&json!({"regions": ["eu-1"]}), "{}", &[]);
        check(
            &json!({"regions": ["eu-1", "eu-2"]}),
            "{eu-1: [a], eu-2: []}",
            &[],
        );
        check(
            &json!({"nodeSelector": {"example.com/pool": "acme", "topology.kubernetes.io/region": "eu-1"},
                "tolerations": [{"key": "pool"}, {"key": "pool", "value": "acme", "effect": "NoExecute"}],
                "exceptions": [{"reason": "edge", "namespaces": ["acme-prod"], "storageClasses": ["nfs.eu"]}]}),
            "{}",
            &[],
        );
    }

    #[test]
    fn what_means_nothing_is_told_with_its_place() {
        for (placement, field) in [
            (json!({"regions": []}), "regions"),
            (json!({"regions": ["eu-1", ""]}), "regions[1]"),
            (json!({"regions": ["eu 1"]}), "regions[0]"),
            (json!({"nodeSelector": {"pool": "a b"}}), "nodeSelector['pool']"),
            (json!({"nodeSelector": {"-": "a"}}), "nodeSelector['-']"),
            (
                json!({"regions": ["eu-1"], "nodeSelector": {REGION: "eu-1"}}),
                "nodeSelector['topology.kubernetes.io/region']",
            ),
            (json!({"tolerations": [{"key": ""}]}), "tolerations[0]"),
            (
                json!({"tolerations": [{"key": "a"}, {"key": "a", "value": "b c"}]}),
                "tolerations[1]",
            ),
            (
                json!({"exceptions": [{"reason": " ", "namespaces": ["acme-prod"]}]}),
                "exceptions[0].reason",
            ),
            (json!({"exceptions": [{"reason": "x"}]}), "exceptions[0]"),
            (
                json!({"exceptions": [{"reason": "x", "namespaces": ["acme-prod", "acme-new"]}]}),
                "exceptions[0].namespaces[1]",
            ),
            (
                json!({"exceptions": [{"reason": "x", "storageClasses": ["Fast"]}]}),
                "exceptions[0].storageClasses[0]",
            ),
        ] {
            check(&placement, "{}", &[field]);
        }
        // Where the platform names regions, one that it doesn't is a mistake.
        check(
            &json!({"regions": ["eu-1", "us-1"]}),
            "{eu-1: []}",
            &["regions[1]"],
        );
    }
}
