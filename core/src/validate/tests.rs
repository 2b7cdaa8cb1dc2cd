use super::*;

fn parse(name: &str, spec: &str) -> Tenant {
    let yaml = format!(
        "apiVersion: bailiwick.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    );
    serde_saphyr::from_str(&yaml).unwrap()
}

#[track_caller]
fn accepts(spec: &str) -> ValidTenant {
    validate(&parse("acme", spec), &Config::default()).unwrap()
}

/// The spec is refused for exactly these fields.
#[track_caller]
fn refuses(spec: &str, fields: &[&str]) {
    let config = Config {
        cluster_cidrs: vec!["10.244.0.0/16".parse().unwrap()],
        ..Config::default()
    };
    let findings = validate(&parse("acme", spec), &config).unwrap_err();
    let found: Vec<&str> = findings.iter().map(|it| it.field.as_str()).collect();
    assert_eq!(found, fields, "{findings:#?}");
}

#[test]
fn a_name_is_enough() {
    let tenant = accepts("{}");
    assert_eq!(tenant.pod_security, PodSecurityLevel::Baseline);
    assert_eq!(tenant.deletion_policy, DeletionPolicy::Retain);
    assert!(tenant.egress().dns && !tenant.egress().internet);
}

#[test]
fn names_are_dns_labels_and_not_reserved() {
    let ok = |name: &str| validate(&parse(name, "{}"), &Config::default()).is_ok();
    for name in ["a", "acme", "a-1", &"a".repeat(40)] {
        assert!(ok(name), "{name}");
    }
    for name in [
        "A",
        "1a",
        "-a",
        "a-",
        "a.b",
        "a_b",
        "kube",
        "kube-x",
        "default",
        "system",
        "bailiwick",
        "bailiwick-x",
        &"a".repeat(41),
        "'a '",
        "ä",
    ] {
        assert!(!ok(name), "{name}");
    }
}

#[test]
fn owners_are_the_tenants_own() {
    accepts(
        "{owners: [{kind: ServiceAccount, name: deployer, namespace: ci}, {kind: Group, name: 'oidc:acme:admin'}]}",
    );
    for (subject, field) in [
        ("{kind: Group, name: 'system:masters'}", "spec.owners[0].name"),
        (
            "{kind: Group, name: 'system:authenticated'}",
            "spec.owners[0].name",
        ),
        (
            "{kind: Group, name: 'system:serviceaccounts:kube-system'}",
            "spec.owners[0].name",
        ),
        (
            "{kind: User, name: 'system:kube-controller-manager'}",
            "spec.owners[0].name",
        ),
        ("{kind: User, name: 'a*'}", "spec.owners[0].name"),
        ("{kind: User, name: ' a'}", "spec.owners[0].name"),
        ("{kind: User, name: \"a\\u0301\"}", "spec.owners[0].name"),
        ("{kind: User, name: a, namespace: b}", "spec.owners[0].namespace"),
        ("{kind: ServiceAccount, name: a}", "spec.owners[0].namespace"),
        (
            "{kind: ServiceAccount, name: a, namespace: ''}",
            "spec.owners[0].namespace",
        ),
    ] {
        refuses(&format!("{{owners: [{subject}]}}"), &[field]);
    }
}

#[test]
fn a_service_account_is_named_so_that_no_other_has_its_user_name() {
    let account = |name: &str, namespace: &str| {
        format!("{{owners: [{{kind: ServiceAccount, name: '{name}', namespace: '{namespace}'}}]}}")
    };
    accepts(&account("b.c-1", "a-1"));
    for name in ["b:c", "B", "b ", "*", "-b", "b/c", ""] {
        refuses(&account(name, "a"), &["spec.owners[0].name"]);
    }
    for namespace in [
        "a:b",
        "A",
        "a.b",
        "a/b",
        " ",
        &"a".repeat(64),
        "kube-system",
        "bailiwick-system",
    ] {
        refuses(&account("b", namespace), &["spec.owners[0].namespace"]);
    }
    accepts(
        "{access: [{clusterRole: view, subjects: [{kind: ServiceAccount, name: a, namespace: kube-system}]}]}",
    );
}

#[test]
fn identities_never_reach_kubernetes_own_names() {
    accepts("{identities: {groups: ['oidc:acme:*', exact], users: ['sy-*']}}");
    for name in [
        "*",
        "s*",
        "sys*",
        "system:*",
        "system:masters",
        "a*b",
        "a**",
        "**",
    ] {
        refuses(
            &format!("{{identities: {{groups: ['{name}']}}}}"),
            &["spec.identities.groups[0]"],
        );
    }
}

#[test]
fn access_names_roles_that_the_platform_allows() {
    accepts("{access: [{clusterRole: edit, subjects: [{kind: Group, name: dev}]}]}");
    refuses(
        "{access: [{clusterRole: cluster-admin, subjects: [{kind: Group, name: dev}]}]}",
        &["spec.access[0].clusterRole"],
    );
    refuses(
        "{access: [{clusterRole: edit, subjects: []}]}",
        &["spec.access[0].subjects"],
    );
    refuses(
        "{access: [{clusterRole: edit, subjects: [{kind: Group, name: dev}], namespaceSelector: {matchExpressions: [{key: a, operator: In}]}}]}",
        &["spec.access[0].namespaceSelector.matchExpressions[0]"],
    );
}

#[test]
fn namespaces_are_declared_once_and_never_reserved() {
    accepts("{namespaces: {declared: [{name: acme-prod, labels: {stage: prod}}, {name: acme-dev}]}}");
    refuses(
        "{namespaces: {declared: [{name: a}, {name: a}]}}",
        &["spec.namespaces.declared[1].name"],
    );
    for name in ["default", "kube-system", "bailiwick-system", "-a", "a.b", "A"] {
        refuses(
            &format!("{{namespaces: {{declared: [{{name: '{name}'}}]}}}}"),
            &["spec.namespaces.declared[0].name"],
        );
    }
    for key in [
        "bailiwick.dev/tenant",
        "pod-security.kubernetes.io/enforce",
        "resource.kubernetes.io/admin-access",
        "kubernetes.io/metadata.name",
    ] {
        refuses(
            &format!("{{namespaces: {{declared: [{{name: a, labels: {{'{key}': x}}}}]}}}}"),
            &[&format!("spec.namespaces.declared[0].labels['{key}']")],
        );
    }
}

#[test]
fn declared_labels_are_labels() {
    accepts(
        "{namespaces: {declared: [{name: a, labels: {stage: prod, example.com/x: '', A_b.c: 'D.e_f-1'}}]}}",
    );
    for (key, value) in [
        ("a b", "x"),
        ("/a", "x"),
        ("-a", "x"),
        ("a", "x y"),
        ("a", "-x"),
        ("a", "x/y"),
    ] {
        refuses(
            &format!("{{namespaces: {{declared: [{{name: a, labels: {{'{key}': '{value}'}}}}]}}}}"),
            &[&format!("spec.namespaces.declared[0].labels['{key}']")],
        );
    }
}

#[test]
fn the_internet_is_reached_by_its_name_only() {
    accepts("{network: {egress: {internet: true}}}");
    accepts("{network: {egress: {toCIDRs: ['192.0.2.0/24', '2001:db8::/32']}}}");
    assert_eq!(
        accepts("{network: {egress: {internet: true, toCIDRs: ['0.0.0.0/0', '::/0']}}}").to_cidrs,
        []
    );
    for cidr in [
        "0.0.0.0/0",
        "::/0",
        "0.0.0.0/1",
        "128.0.0.0/1",
        "10.0.0.0/7",
        "2000::/3",
        "10.0.0.1/8",
        "10.0.0.0",
        "x",
        "169.254.169.254/32",
        "::ffff:10.0.0.0/104",
        "10.244.1.0/24",
        "10.0.0.0/8",
        "64:ff9b::af4:100/120",
        "64:ff9b::a9fe:a9fe/128",
        "168.63.129.16/32",
        "0.0.0.0/8",
    ] {
        refuses(
            &format!("{{network: {{egress: {{toCIDRs: ['{cidr}']}}}}}}"),
            &["spec.network.egress.toCIDRs[0]"],
        );
    }
    refuses(
        "{network: {ingress: {fromTenants: [acme]}}}",
        &["spec.network.ingress.fromTenants[0]"],
    );
    refuses(
        "{network: {ingress: {fromNamespaces: ['*']}}}",
        &["spec.network.ingress.fromNamespaces[0]"],
    );
}

#[test]
fn quantities_are_possible() {
    accepts("{quota: {namespace: {requests.cpu: 4, requests.memory: 8Gi, count/services: '20', pods: 1e3}}}");
    refuses(
        "{quota: {namespace: {requests.cpu: '4x'}}}",
        &["spec.quota.namespace['requests.cpu']"],
    );
    refuses(
        "{quota: {namespace: {requests.cpu: '-4'}}}",
        &["spec.quota.namespace['requests.cpu']"],
    );
    refuses(
        "{quota: {namespace: {pods: 99E}}}",
        &["spec.quota.namespace['pods']"],
    );
    let long = "a".repeat(317);
    for name in ["a b", "", "é", "a\\eb", &long] {
        let spec = format!("{{quota: {{namespace: {{\"{name}\": 1}}}}}}");
        let findings = validate(&parse("acme", &spec), &Config::default()).unwrap_err();
        assert_eq!(findings.len(), 1, "{findings:?}");
    }
    accepts(&format!("{{quota: {{namespace: {{{}: 1}}}}}}", &long[..316]));
    accepts(
        "{quota: {tenant: {requests.cpu: 500m, memory: 1.5Gi, pods: 5, count/jobs.batch: 9, requests.nvidia.com/gpu: 2, fast.storageclass.storage.k8s.io/requests.storage: 1Ti}}}",
    );
    for (resource, amount) in [
        ("requests.cpu", "0.5m"),
        ("pods", "1500m"),
        ("request.cpu", "1"),
        ("resourcequotas", "5"),
        ("count/rolebindings.rbac.authorization.k8s.io", "5"),
        ("pods", "x"),
    ] {
        refuses(
            &format!("{{quota: {{tenant: {{{resource}: {amount}}}}}}}"),
            &[&format!("spec.quota.tenant['{resource}']")],
        );
    }
    accepts(
        "{quota: {limits: [{type: Container, max: {cpu: 2}, default: {cpu: 500m}, defaultRequest: {cpu: 100m}}]}}",
    );
    refuses(
        "{quota: {limits: [{type: Container, max: {cpu: 1}, min: {cpu: 1500m}}]}}",
        &["spec.quota.limits[0].min['cpu']"],
    );
    refuses(
        "{quota: {limits: [{type: Pod, default: {cpu: 1}}]}}",
        &["spec.quota.limits[0].default"],
    );
    refuses(
        "{quota: {limits: [{type: Pod}, {type: Pod}]}}",
        &["spec.quota.limits[1].type"],
    );
    refuses(
        "{quota: {limits: [{type: Container, maxLimitRequestRatio: {cpu: 500m}}]}}",
        &["spec.quota.limits[0].maxLimitRequestRatio['cpu']"],
    );
    refuses(
        "{quota: {limits: [{type: Container, maxLimitRequestRatio: {cpu: x}}]}}",
        &["spec.quota.limits[0].maxLimitRequestRatio['cpu']"],
    );
    accepts("{quota: {limits: [{type: Container, maxLimitRequestRatio: {cpu: 1}}]}}");
}

#[test]
fn stamping_needs_a_cluster_that_stamps() {
    let config = Config {
        pod_label_stamping: false,
        ..Config::default()
    };
    assert!(validate(&parse("acme", "{podLabel: Stamp}"), &config).is_err());
    assert!(validate(&parse("acme", "{podLabel: Require}"), &config).is_ok());
}

#[test]
fn all_problems_are_told_at_once() {
    refuses(
        "{owners: [{kind: Group, name: 'system:masters'}], namespaces: {declared: [{name: default}]}}",
        &["spec.owners[0].name", "spec.namespaces.declared[0].name"],
    );
}

/// What can be carried out of a Tenant with something wrong in it.
#[track_caller]
fn sound(spec: &str) -> ValidTenant {
    let config = Config {
        cluster_cidrs: vec!["10.244.0.0/16".parse().unwrap()],
        pod_label_stamping: false,
        ..Config::default()
    };
    let examined = examine(&parse("acme", spec), &config);
    assert!(!examined.problems.is_empty(), "{spec}");
    examined.sound
}

#[test]
fn what_would_open_something_and_is_wrong_is_left_out() {
    let tenant = sound("{owners: [{kind: User, name: a}, {kind: Group, name: 'system:masters'}]}");
    assert_eq!(tenant.owners.len(), 1);
    assert_eq!(tenant.claims.len(), 2, "they stay its people");

    let tenant = sound(
        "{access: [{clusterRole: cluster-admin, subjects: [{kind: User, name: a}]}, \
         {clusterRole: edit, subjects: [{kind: User, name: a}, {kind: User, name: 'b*'}]}, \
         {clusterRole: view, subjects: [{kind: User, name: 'b*'}]}, \
         {clusterRole: admin, subjects: [{kind: User, name: a}], namespaceSelector: {matchExpressions: [{key: a, operator: Near}]}}]}",
    );
    let given: Vec<_> = tenant
        .access
        .iter()
        .map(|it| (it.cluster_role.as_str(), it.subjects.len()))
        .collect();
    assert_eq!(given, [("edit", 1)]);

    let tenant = sound(
        "{network: {ingress: {fromTenants: [acme, b], fromNamespaces: ['', ingress]}, \
         egress: {toTenants: [acme, b], toCIDRs: [10.244.0.0/24, 192.0.2.0/24, 169.254.169.254/32, x]}}}",
    );
    let ingress = tenant.network.ingress.clone().unwrap();
    assert_eq!(ingress.from_tenants, ["b"]);
    assert_eq!(ingress.from_namespaces, ["ingress"]);
    assert_eq!(tenant.egress().to_tenants, ["b"]);
    assert_eq!(tenant.to_cidrs, ["192.0.2.0/24".parse::<IpNet>().unwrap()]);

    let tenant = sound(
        "{namespaces: {declared: [{name: a}, {name: kube-system}, {name: b, labels: {'a b': c}}, {name: d}, {name: d}]}}",
    );
    assert_eq!(tenant.namespaces.keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(sound("{podLabel: Stamp}").pod_label, PodLabel::Require);
}

#[test]
fn what_would_close_something_and_is_wrong_is_not_known() {
    assert_eq!(
        sound("{quota: {namespace: {pods: 1, requests.cpu: x}}}").quota,
        None
    );
    assert_eq!(sound("{quota: {limits: [{type: Pod}, {type: Pod}]}}").quota, None);
    let elsewhere = sound("{quota: {namespace: {pods: 1}}, owners: [{kind: User, name: 'a*'}]}");
    assert_eq!(elsewhere.quota.unwrap().namespace.len(), 1);
}
