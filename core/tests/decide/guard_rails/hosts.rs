//! Hostnames: granted to one tenant, and served by nobody else.

use bailiwick_core::snapshot::Snapshot;

use super::rails;
use crate::cluster::{Ask, PASS, check_in, cluster, with_spec};

/// globex was granted names. acme has these guard rails.
fn rivals(workloads: &str) -> Snapshot {
    let globex = "{namespaces: {declared: [{name: globex-prod}]}, workloads: {hostnames: ['*.globex.example', globex.example]}}";
    with_spec(&rails(workloads), "globex", globex)
}

const NIL: &str = "{}";
const NONE: &str = "{hostnames: []}";
const LIST: &str = "{hostnames: ['*.acme.example', shop.example]}";

/// What comes of a name where acme was told nothing, no names, and some; first where nobody else was granted any.
const NAMES: [(&str, [bool; 4]); 14] = [
    ("www.acme.example", [true, true, false, true]),
    ("a.b.acme.example", [true, true, false, true]),
    ("'*.acme.example'", [true, true, false, true]),
    ("shop.example", [true, true, false, true]),
    ("WWW.ACME.example", [true, true, false, true]),
    ("acme.example", [true, true, false, false]),
    ("'*.example'", [true, false, false, false]),
    ("www.shop.example", [true, true, false, false]),
    ("www.globex.example", [true, false, false, false]),
    ("globex.example", [true, false, false, false]),
    ("'*.globex.example'", [true, false, false, false]),
    ("''", [true, false, false, false]),
    ("'*'", [true, false, false, false]),
    ("'~^www'", [true, false, false, false]),
];

/// Each name in its place in an object of this kind.
#[track_caller]
fn each(path: &str, object: impl Fn(&str) -> String, fields: &[&str]) {
    for (name, expected) in NAMES {
        let ask = Ask::create(path, &object(name)).within("acme-prod");
        let clusters = [rails(NIL), rivals(NIL), rivals(NONE), rivals(LIST)];
        for (cluster, passes) in clusters.iter().zip(expected) {
            let refused: Vec<String> = fields.iter().map(|it| format!("BW-HOSTNAME {it}")).collect();
            let expected = if passes {
                PASS.to_owned()
            } else {
                refused.join("; ")
            };
            check_in(cluster, &ask, &expected);
        }
    }
}

#[test]
fn each_name_is_judged_wherever_it_stands() {
    each(
        "ingresses",
        |name| {
            format!(
                "{{metadata: {{name: i}}, spec: {{rules: [{{host: {name}}}], tls: [{{hosts: [{name}]}}]}}}}"
            )
        },
        &["spec.rules[0].host", "spec.tls[0].hosts[0]"],
    );
    for route in ["httproutes", "grpcroutes", "tlsroutes"] {
        each(
            route,
            |name| format!("{{metadata: {{name: r}}, spec: {{hostnames: [{name}]}}}}"),
            &["spec.hostnames[0]"],
        );
    }
    for gateway in ["gateways", "listenersets"] {
        each(
            gateway,
            |name| {
                format!(
                    "{{metadata: {{name: g}}, spec: {{listeners: [{{protocol: HTTP, hostname: {name}}}]}}}}"
                )
            },
            &["spec.listeners[0].hostname"],
        );
    }
}

#[test]
fn what_names_no_host_serves_all() {
    for (path, spec, field) in [
        ("ingresses", "{rules: [{http: {}}]}", "spec.rules[0].host"),
        ("ingresses", "{rules: [{host: null}]}", "spec.rules[0].host"),
        (
            "ingresses",
            "{defaultBackend: {service: {name: s}}}",
            "spec.defaultBackend",
        ),
        ("ingresses", "{tls: [{secretName: s}]}", "spec.tls[0].hosts"),
        ("ingresses", "{tls: [{hosts: []}]}", "spec.tls[0].hosts"),
        ("httproutes", "{}", "spec.hostnames"),
        ("httproutes", "{hostnames: []}", "spec.hostnames"),
        ("grpcroutes", "{hostnames: null}", "spec.hostnames"),
        ("tlsroutes", "{hostnames: []}", "spec.hostnames"),
        (
            "gateways",
            "{listeners: [{protocol: HTTPS}]}",
            "spec.listeners[0].hostname",
        ),
    ] {
        let object = format!("{{metadata: {{name: x}}, spec: {spec}}}");
        let ask = Ask::create(path, &object).within("acme-prod");
        let refused = format!("BW-HOSTNAME {field}");
        check_in(&rails(NIL), &ask, PASS);
        for cluster in [rails(NONE), rails(LIST), rivals(NIL), rivals(NONE), rivals(LIST)] {
            check_in(&cluster, &ask, &refused);
        }
    }
}

#[test]
fn what_knows_no_hosts_is_not_asked_for_any() {
    for (path, spec) in [
        ("gateways", "{listeners: [{protocol: TCP}, {protocol: UDP}]}"),
        (
            "httproutes",
            "{parentRefs: [{group: '', kind: Service, name: s}]}",
        ),
        ("gateways", "{listeners: []}"),
        ("ingresses", "{}"),
    ] {
        let ask = Ask::create(path, &format!("{{metadata: {{name: x}}, spec: {spec}}}")).within("acme-prod");
        check_in(&rivals(LIST), &ask, PASS);
    }
    let mixed =
        "{metadata: {name: x}, spec: {parentRefs: [{group: '', kind: Service, name: s}, {name: gateway}]}}";
    check_in(
        &rivals(LIST),
        &Ask::create("httproutes", mixed).within("acme-prod"),
        "BW-HOSTNAME spec.hostnames",
    );
}

#[test]
fn annotations_that_claim_names_count() {
    for (path, key) in [
        ("ingresses", "nginx.ingress.kubernetes.io/server-alias"),
        ("ingresses", "external-dns.alpha.kubernetes.io/hostname"),
        ("services", "external-dns.alpha.kubernetes.io/hostname"),
        ("services", "external-dns.alpha.kubernetes.io/internal-hostname"),
    ] {
        let object =
            |value: &str| format!("{{metadata: {{name: x, annotations: {{{key}: '{value}'}}}}, spec: {{}}}}");
        let refused = format!("BW-HOSTNAME metadata.annotations['{key}']");
        for (value, expected) in [
            ("www.acme.example", PASS),
            ("www.acme.example, shop.example,", PASS),
            ("", PASS),
            ("www.acme.example, www.globex.example", &refused),
            ("other.example", &refused),
            ("~^.*$", &refused),
        ] {
            check_in(
                &rivals(LIST),
                &Ask::create(path, &object(value)).within("acme-prod"),
                expected,
            );
        }
    }
}

#[test]
fn what_was_served_may_go_on() {
    let ingress = |hosts: &str| format!("{{metadata: {{name: i}}, spec: {{rules: [{hosts}]}}}}");
    let update =
        |old: &str, new: &str| Ask::update("ingresses", &ingress(old), &ingress(new)).within("acme-prod");
    let (one, two) = (
        "{host: www.globex.example}",
        "{host: www.acme.example}, {host: www.globex.example}",
    );
    check_in(&rivals(LIST), &update(one, two), PASS);
    check_in(&rivals(LIST), &update(two, one), PASS);
    check_in(
        &rivals(LIST),
        &update(one, "{host: globex.example}"),
        "BW-HOSTNAME spec.rules[0].host",
    );
    check_in(
        &rivals(LIST),
        &update(one, "{}"),
        "BW-HOSTNAME spec.rules[0].host",
    );
}

#[test]
fn classes_are_the_listed_ones() {
    let check = |workloads: &str, path: &str, object: &str, expected: &str| {
        check_in(
            &rails(workloads),
            &Ask::create(path, object).within("acme-prod"),
            expected,
        );
    };
    let (field, annotation) = (
        "BW-INGRESS-CLASS spec.ingressClassName",
        "BW-INGRESS-CLASS metadata.annotations['kubernetes.io/ingress.class']",
    );
    let ingress = |class: &str| format!("{{metadata: {{name: i}}, spec: {{ingressClassName: {class}}}}}");
    let old = |class: &str, more: &str| {
        format!(
            "{{metadata: {{name: i, annotations: {{kubernetes.io/ingress.class: '{class}'}}}}, spec: {{{more}}}}}"
        )
    };
    for (workloads, none, inner, outer) in [
        ("{}", PASS, PASS, PASS),
        ("{ingressClasses: []}", field, field, field),
        ("{ingressClasses: [inner]}", field, PASS, field),
    ] {
        check(workloads, "ingresses", &ingress("null"), none);
        check(workloads, "ingresses", &ingress("inner"), inner);
        check(workloads, "ingresses", &ingress("outer"), outer);
    }
    check("{ingressClasses: [inner]}", "ingresses", &old("inner", ""), PASS);
    check(
        "{ingressClasses: [inner]}",
        "ingresses",
        &old("outer", ""),
        annotation,
    );
    check(
        "{ingressClasses: [inner]}",
        "ingresses",
        &old("outer", "ingressClassName: inner"),
        annotation,
    );
    let gateway = |class: &str| format!("{{metadata: {{name: g}}, spec: {{gatewayClassName: {class}}}}}");
    let refused = "BW-INGRESS-CLASS spec.gatewayClassName";
    check("{}", "gateways", &gateway("outer"), PASS);
    check("{gatewayClasses: [inner]}", "gateways", &gateway("inner"), PASS);
    check(
        "{gatewayClasses: [inner]}",
        "gateways",
        &gateway("outer"),
        refused,
    );
    check("{gatewayClasses: []}", "gateways", &gateway("inner"), refused);
}

#[test]
fn a_hostname_is_granted_to_one_tenant() {
    let tenant = |hostnames: &str| {
        format!("{{metadata: {{name: initech}}, spec: {{workloads: {{hostnames: [{hostnames}]}}}}}}")
    };
    let refused = "BW-TENANT-HOSTNAME spec.workloads.hostnames[0]";
    for (hostnames, expected) in [
        ("", PASS),
        ("'*.initech.example'", PASS),
        ("www.example", PASS),
        ("'*.globex.examples'", PASS),
        ("globex.example", refused),
        ("shop.globex.example", refused),
        ("'*.shop.globex.example'", refused),
        ("'*.globex.example'", refused),
        (
            "initech.example, globex.example",
            "BW-TENANT-HOSTNAME spec.workloads.hostnames[1]",
        ),
        ("'*.example'", "BW-TENANT-INVALID spec.workloads.hostnames[0]"),
    ] {
        check_in(
            &rivals(NIL),
            &Ask::create("tenants", &tenant(hostnames)),
            expected,
        );
    }
    // A Tenant is no rival of its own.
    let own = "{metadata: {name: globex}, spec: {namespaces: {declared: [{name: globex-prod}]}, workloads: {hostnames: ['*.globex.example', www.globex.example]}}}";
    let snapshot = with_spec(&rivals(NIL), "acme", "{}");
    check_in(&snapshot, &Ask::create("tenants", own), PASS);
}

#[test]
fn what_two_tenants_were_granted_serves_neither() {
    let both = with_spec(
        &rivals("{hostnames: [www.globex.example]}"),
        "initech",
        "{namespaces: {declared: [{name: shop}]}}",
    );
    let ingress = "{metadata: {name: i}, spec: {rules: [{host: www.globex.example}]}}";
    for namespace in ["acme-prod", "globex-prod"] {
        check_in(
            &both,
            &Ask::create("ingresses", ingress).within(namespace),
            "BW-HOSTNAME spec.rules[0].host",
        );
    }
    check_in(&both, &Ask::create("ingresses", ingress).within("shop"), PASS);
    check_in(
        &cluster(),
        &Ask::create("ingresses", ingress).within("globex-prod"),
        PASS,
    );
}
