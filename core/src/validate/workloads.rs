//! The guard rails of a Tenant: what can't mean anything, or would open something, is told.

use std::net::IpAddr;

use bailiwick_crds::v1alpha1::{AllowedToleration, Services, TenantSpec, Workloads};
use ipnet::IpNet;

use super::Problems;
use crate::config::Config;
use crate::hostname::Hostname;
use crate::identity::is_object_name;
use crate::image::Source;
use crate::{network, selector};

/// Checks the guard rails. Gives the hostnames that can be granted.
pub(super) fn check(spec: &TenantSpec, config: &Config, problems: &mut Problems) -> Vec<String> {
    let Some(workloads) = &spec.workloads else {
        return Vec::new();
    };
    each(workloads.registries.as_ref(), "registries", problems, |it| {
        let wrong = (
            "a registry, or a path in one, that begins with its host",
            "write it like registry.acme.io, ghcr.io/acme or docker.io/library",
        );
        Source::parse(it).is_none().then_some(wrong)
    });
    check_classes(workloads, problems);
    let hostnames = each(workloads.hostnames.as_ref(), "hostnames", problems, |it| {
        let wrong = (
            "a hostname of two labels or more, or '*.' and one",
            "write it like www.acme.example or *.acme.example",
        );
        (!is_hostname(it)).then_some(wrong)
    });
    let tolerations = workloads.tolerations.iter().flatten().enumerate();
    for (i, AllowedToleration { key, value, .. }) in tolerations {
        if !(selector::is_key(key) && value.as_deref().is_none_or(selector::is_value)) {
            problems.add(
                format!("spec.workloads.tolerations[{i}]"),
                format!("'{key}={}'", value.as_deref().unwrap_or_default()),
                "the key of a taint, and a value as labels have them",
                "write it like dedicated=acme, as `kubectl taint` shows it",
            );
        }
    }
    if let Some(services) = &workloads.services {
        check_services(services, config, problems);
    }
    hostnames
}

/// Tells of each item what `problem` says of it. Gives the others.
fn each(
    list: Option<&Vec<String>>,
    name: &str,
    problems: &mut Problems,
    problem: impl Fn(&str) -> Option<(&'static str, &'static str)>,
) -> Vec<String> {
    let mut sound = Vec::new();
    for (i, item) in list.into_iter().flatten().enumerate() {
        match problem(item) {
            None => sound.push(item.clone()),
            Some((allowed, fix)) => {
                problems.add(
                    format!("spec.workloads.{name}[{i}]"),
                    format!("'{item}'"),
                    allowed,
                    fix,
                );
            }
        }
    }
    sound
}

fn check_classes(workloads: &Workloads, problems: &mut Problems) {
    for (name, list) in [
        ("storageClasses", &workloads.storage_classes),
        ("priorityClasses", &workloads.priority_classes),
        ("runtimeClasses", &workloads.runtime_classes),
        ("ingressClasses", &workloads.ingress_classes),
        ("gatewayClasses", &workloads.gateway_classes),
    ] {
        each(list.as_ref(), name, problems, |it| {
            (!is_object_name(it)).then_some((
                "the name of a class: lower case letters, digits, '-' and '.'",
                "correct the name",
            ))
        });
    }
    each(
        workloads.priority_classes.as_ref(),
        "priorityClasses",
        problems,
        |it| {
            it.starts_with("system-").then_some((
                "no PriorityClass that begins with 'system-'",
                "leave it out: these are for what keeps the cluster itself running",
            ))
        },
    );
}

/// A wildcard below a single label would be a whole top-level domain.
fn is_hostname(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    name.contains('.') && Hostname::parse(text).is_some()
}

fn check_services(services: &Services, config: &Config, problems: &mut Problems) {
    each(
        services.external_names.as_ref(),
        "services.externalNames",
        problems,
        |it| {
            (it != "*" && !is_hostname(it)).then_some((
                "a hostname of two labels or more, '*.' and one, or '*'",
                "write it like db.acme.example or *.acme.example",
            ))
        },
    );
    for (i, text) in services.external_ips.iter().flatten().enumerate() {
        check_external_ip(
            &format!("spec.workloads.services.externalIPs[{i}]"),
            text,
            config,
            problems,
        );
    }
}

fn check_external_ip(field: &str, text: &str, config: &Config, problems: &mut Problems) {
    let address = text.parse::<IpAddr>().ok().map(IpNet::from);
    let net = address.or_else(|| text.parse::<IpNet>().ok().filter(|it| it.trunc() == *it));
    let Some(net) = net.filter(|it| it.prefix_len() >= 8) else {
        return problems.add(
            field,
            format!("'{text}'"),
            "an IP address, or a network of /8 or smaller with no host bits set",
            "write it like 203.0.113.7 or 203.0.113.0/28",
        );
    };
    let own = config.cluster_cidrs.iter().find(|it| network::overlap(it, &net));
    let touched = network::never_open(&net).or_else(|| own.copied());
    if let Some(touched) = touched {
        problems.add(
            field,
            format!("'{text}', which touches {touched}"),
            "addresses outside the cluster's own ranges, link-local, loopback and multicast",
            "leave it out: a Service with such an address takes traffic that is not the tenant's",
        );
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
    fn check(workloads: &Value, expected: &[&str]) {
        let spec = serde_json::from_value(json!({"workloads": workloads})).unwrap();
        let config = Config {
            cluster_cidrs: vec!["203.0.113.0/24".parse().unwrap()],
            ..Config::default()
        };
        let wrong = validate(&Tenant::new("acme", spec), &config);
        let fields: Vec<String> = wrong.err().into_iter().flatten().map(|it| it.field).collect();
        let expected: Vec<String> = expected.iter().map(|it| format!("spec.workloads.{it}")).collect();
        assert_eq!(fields, expected, "{workloads}");
    }

    #[test]
    fn what_means_something_is_valid() {
        check(&json!({}), &[]);
        check(
            &json!({"registries": [], "storageClasses": [], "priorityClasses": [], "runtimeClasses": [], "ingressClasses": [],
                "gatewayClasses": [], "hostnames": [], "tolerations": [], "services": {"externalIPs": [], "externalNames": []}}),
            &[],
        );
        check(
            &json!({"registries": ["ghcr.io", "ghcr.io/acme/", "localhost:5000", "docker.io/library/nginx", "[fd00::1]:5000/a"],
                "storageClasses": ["fast.ssd"], "hostnames": ["*.acme.example", "acme.example"],
                "tolerations": [{"key": "dedicated", "value": "acme", "effect": "NoSchedule"}, {"key": "example.com/gpu"}],
                "services": {"loadBalancer": false, "nodePort": true, "externalIPs": ["198.51.100.7", "198.51.100.0/28", "2001:db8::1"],
                    "externalNames": ["*", "db.acme.example", "*.acme.example"]}}),
            &[],
        );
    }

    #[test]
    fn what_means_nothing_is_told_with_its_place() {
        for registry in [
            "",
            "acme",
            "acme/web",
            "ghcr.io/Acme",
            "https://ghcr.io",
            "*",
            "ghcr.io/acme/*",
            "ghcr.io:tag/x",
        ] {
            check(&json!({"registries": ["ghcr.io", registry]}), &["registries[1]"]);
        }
        for class in ["", "Fast", "a b", "*", "-a"] {
            check(&json!({"storageClasses": [class]}), &["storageClasses[0]"]);
            check(&json!({"gatewayClasses": [class]}), &["gatewayClasses[0]"]);
        }
        check(
            &json!({"priorityClasses": ["system-node-critical"]}),
            &["priorityClasses[0]"],
        );
        for host in [
            "",
            "*",
            "*.example",
            "example",
            "a b.c",
            "*.*.a.b",
            "a.*.b",
            "http://a.b",
        ] {
            check(&json!({"hostnames": [host]}), &["hostnames[0]"]);
        }
        for toleration in [
            json!({"key": ""}),
            json!({"key": "a b"}),
            json!({"key": "a", "value": "b c"}),
        ] {
            check(&json!({"tolerations": [toleration]}), &["tolerations[0]"]);
        }
        for address in [
            "",
            "x",
            "0.0.0.0/0",
            "198.51.100.7/28",
            "203.0.113.7",
            "203.0.0.0/8",
            "169.254.169.254",
            "127.0.0.1",
            "::1",
        ] {
            check(
                &json!({"services": {"externalIPs": [address]}}),
                &["services.externalIPs[0]"],
            );
        }
        for name in ["", "db", "*.example", "a b.c"] {
            check(
                &json!({"services": {"externalNames": [name]}}),
                &["services.externalNames[0]"],
            );
        }
    }
}
