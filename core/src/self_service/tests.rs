use super::*;

fn prefixes(of: &[(&str, &str)]) -> Prefixes {
    let spec = |prefix: &str| -> TenantSpec {
        serde_saphyr::from_str(&format!(
            "{{namespaces: {{selfService: {{prefix: '{prefix}', max: 3}}}}}}"
        ))
        .unwrap()
    };
    let specs: Vec<(&str, TenantSpec)> = of
        .iter()
        .map(|(tenant, prefix)| (*tenant, spec(prefix)))
        .collect();
    Prefixes::collect(specs.iter().map(|(tenant, spec)| (*tenant, spec)))
}

#[test]
fn a_name_is_given_by_the_tenant_with_the_longest_prefix() {
    let all = prefixes(&[("a", "a-"), ("a-b", "a-b-"), ("other", "other-")]);
    for (name, tenant) in [
        ("a-prod", Some("a")),
        ("a-bprod", Some("a")),
        ("a-b", Some("a")),
        ("a-b-prod", Some("a-b")),
        ("a-b-c-d", Some("a-b")),
        ("other-", None),
        ("a-", None),
        ("a", None),
        ("b-prod", None),
        ("", None),
        ("ä-", None),
    ] {
        for candidate in ["a", "a-b", "other"] {
            assert_eq!(
                all.gives(candidate, name),
                tenant == Some(candidate),
                "{candidate} {name}"
            );
        }
    }
}

#[test]
fn a_prefix_of_two_tenants_gives_neither_a_name() {
    let all = prefixes(&[("a", "x-"), ("b", "x-"), ("c", "x-y-")]);
    assert!(!all.gives("a", "x-1") && !all.gives("b", "x-1"));
    assert!(all.gives("c", "x-y-1"));
    assert_eq!(all.rivals("a", "x-"), BTreeSet::from(["b"]));
    assert_eq!(all.rivals("c", "x-y-"), BTreeSet::new());
    assert_eq!(all.nested("c", "x-y-"), [("x-", "a"), ("x-", "b")]);
    assert_eq!(all.nested("a", "x-"), [("x-y-", "c")]);
    assert!(prefixes(&[("a", "x-"), ("b", "y-")]).nested("a", "x-").is_empty());
}

#[test]
fn what_decides_can_not_be_listed() {
    for key in [
        "bailiwick.dev/tenant",
        "x.bailiwick.dev/y",
        "pod-security.kubernetes.io/enforce",
        "kubernetes.io/metadata.name",
        "resource.kubernetes.io/admin-access",
        "admission.gatekeeper.sh/ignore",
        "cert-manager.io/disable-validation",
        "config.linkerd.io/admission-webhooks",
        "istio-injection",
        "istio.io/rev",
        "sidecar.istio.io/inject",
        "scheduler.alpha.kubernetes.io/node-selector",
        "openshift.io/sa.scc.uid-range",
        "field.cattle.io/projectId",
        "cni.projectcalico.org/ipv4pools",
        "control-plane",
    ] {
        assert!(decides(key), "{key}");
    }
    for key in [
        "team",
        "stage",
        "acme.example/cost-center",
        "app.kubernetes.io/name",
        "notistio.io/x",
        "argocd.argoproj.io/tracking-id",
        "istio",
    ] {
        assert!(!decides(key), "{key}");
    }
}
