//! `docs/rules.md` explains every rule, and shows for each a denial as it really reads.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use bailiwick_core::decide::{Outcome, decide};
use bailiwick_core::finding::RuleId;
use bailiwick_core::placement::VolumeFacts;
use bailiwick_core::policy::{Active, Content, Moment, Policies, Revision, Served, StoredRevision, trial};
use bailiwick_core::review::parse;
use bailiwick_core::snapshot::{Need, Snapshot};
use bailiwick_crds::v1alpha1::{Match, MatchOperation, MatchResource, TenantPolicySpec};

use crate::cluster::{Ask, cluster, with_spec, yaml};

fn text() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rules.md");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A request that this rule refuses.
#[allow(clippy::too_many_lines, reason = "one arm for each rule")]
fn refused(rule: RuleId) -> Ask {
    let namespace = |labels: &str| format!("{{metadata: {{name: acme-prod, labels: {labels}}}}}");
    let binding = |kind: &str, role: &str, subject: &str| {
        format!(
            "{{metadata: {{name: team}}, roleRef: {{kind: {kind}, name: '{role}'}}, subjects: [{subject}]}}"
        )
    };
    let tenant = |spec: &str| format!("{{metadata: {{name: initech}}, spec: {spec}}}");
    let alice = "{kind: User, name: alice}";
    match rule {
        RuleId::NamespaceIdentity => {
            Ask::update("namespaces", &namespace("{$T: acme}"), &namespace("{$T: globex}"))
        }
        RuleId::NamespaceOwnerReference => Ask::update(
            "namespaces",
            &namespace("{$T: acme}"),
            "{metadata: {name: acme-prod, labels: {$T: acme}, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: c, uid: u}]}}",
        ),
        RuleId::NamespaceAdoption => Ask::update(
            "namespaces",
            "{metadata: {name: shop}}",
            "{metadata: {name: shop, annotations: {$ADOPT: acme}}}",
        )
        .by("alice"),
        RuleId::NamespaceDeclared => Ask::delete("namespaces", &namespace("{$T: acme}")),
        RuleId::NamespaceSelfService => Ask::create("namespaces", "{metadata: {name: new}}").by("bob"),
        RuleId::NamespacePrefix => {
            Ask::create("namespaces", "{metadata: {name: new, labels: {$T: acme}}}").by("alice")
        }
        RuleId::NamespaceMetadata => Ask::update(
            "namespaces",
            &namespace("{$T: acme}"),
            &namespace("{$T: acme, admission.gatekeeper.sh/ignore: 'true'}"),
        )
        .by("alice"),
        RuleId::NamespaceClosed => {
            Ask::create("pods", "{metadata: {name: web, labels: {$T: acme}}}").within("acme-fresh")
        }
        RuleId::PodLabel => {
            Ask::create("pods", "{metadata: {name: web, labels: {$T: globex}}}").within("acme-prod")
        }
        RuleId::BindingLabel => {
            Ask::create("bindings", "{metadata: {name: web, labels: {$T: globex}}}").within("acme-prod")
        }
        RuleId::Managed => Ask::delete(
            "networkpolicies",
            "{metadata: {name: bailiwick-default-deny, labels: {$M: bailiwick-operator}}}",
        )
        .within("acme-prod"),
        RuleId::Suspended => Ask::create("roles", "{metadata: {name: r}, rules: []}").within("frozen"),
        RuleId::RoleBindingSubject => Ask::create(
            "rolebindings",
            &binding("ClusterRole", "view", "{kind: User, name: bob}"),
        )
        .within("acme-prod"),
        RuleId::RoleBindingGrant => {
            Ask::create("rolebindings", &binding("ClusterRole", "cluster-admin", alice)).within("acme-prod")
        }
        RuleId::RoleGrant => {
            let rule = "{apiGroups: [''], resources: [pods/binding], verbs: [create]}";
            Ask::create("roles", &format!("{{metadata: {{name: r}}, rules: [{rule}]}}")).within("acme-prod")
        }
        RuleId::ClusterRoleBindingSubject => {
            Ask::create("clusterrolebindings", &binding("ClusterRole", "view", alice))
        }
        RuleId::ClusterRoleWidened => Ask::update(
            "clusterroles",
            "{metadata: {name: view}, rules: []}",
            "{metadata: {name: view}, rules: [{apiGroups: [''], resources: [resourcequotas], verbs: [delete]}]}",
        ),
        RuleId::NetworkPolicyOpen => Ask::create(
            "networkpolicies",
            "{metadata: {name: web}, spec: {podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}}",
        )
        .within("acme-prod"),
        RuleId::ImageRegistry
        | RuleId::PriorityClass
        | RuleId::RuntimeClass
        | RuleId::PodNodeName
        | RuleId::PodToleration
        | RuleId::PodPlacement
        | RuleId::VolumeRegion
        | RuleId::StorageClass
        | RuleId::ClaimVolume
        | RuleId::ClaimSource
        | RuleId::IngressClass
        | RuleId::Hostname
        | RuleId::ServiceType
        | RuleId::ServiceExternalIp
        | RuleId::ServiceExternalName => {
            let (path, spec) = outside_the_guard_rails(rule);
            let object = format!("{{metadata: {{name: web, labels: {{$T: acme}}}}, spec: {spec}}}");
            match rule {
                RuleId::VolumeRegion => Ask::update(path, "{metadata: {name: web}}", &object)
                    .by("system:serviceaccount:kube-system:persistent-volume-binder"),
                _ => Ask::create(path, &object),
            }
            .within("acme-prod")
        }
        RuleId::TenantHostname => Ask::create(
            "tenants",
            &tenant("{workloads: {hostnames: [shop.globex.example]}}"),
        ),
        RuleId::TenantInvalid => Ask::create(
            "tenants",
            &tenant("{owners: [{kind: Group, name: 'system:masters'}]}"),
        ),
        RuleId::TenantIdentity => {
            Ask::create("tenants", &tenant("{identities: {groups: ['oidc:acme:dev']}}"))
        }
        RuleId::TenantNamespace => Ask::create(
            "tenants",
            &tenant("{namespaces: {declared: [{name: acme-prod}]}}"),
        ),
        RuleId::Record => Ask::update(
            "tenants/status",
            "{metadata: {name: acme}}",
            "{metadata: {name: acme}}",
        ),
        RuleId::Malformed => Ask::create(
            "rolebindings",
            &binding("ClusterRole", "view", "{kind: user, name: alice}"),
        )
        .within("acme-prod"),
        RuleId::Undecided => {
            Ask::create("rolebindings", &binding("ClusterRole", "gone", alice)).within("acme-prod")
        }
        RuleId::Policy => Ask::create(
            "deployments",
            "{metadata: {name: web}, spec: {template: {spec: {containers: [{image: 'nginx:latest'}]}}}}",
        )
        .within("acme-prod"),
        RuleId::PolicyError => {
            Ask::create("deployments", "{metadata: {name: web}, spec: {replicas: many}}").within("acme-prod")
        }
        RuleId::PolicyInvalid | RuleId::PolicyAuthor => {
            Ask::create("tenantpolicies", "{metadata: {name: images}}").by("alice")
        }
        RuleId::PolicyApprover => Ask::create(
            "policyapprovals",
            &format!(
                "{{metadata: {{name: a}}, spec: {{policy: images, digest: '{}', approver: paula}}}}",
                policy().stored.digest
            ),
        )
        .by("paula"),
        RuleId::Unsupported => Ask::create("nodes", "{metadata: {name: node-1}}"),
    }
}

/// The kind and `spec` of an object that a guard rail refuses.
fn outside_the_guard_rails(rule: RuleId) -> (&'static str, &'static str) {
    match rule {
        RuleId::ImageRegistry => (
            "pods",
            "{runtimeClassName: gvisor, containers: [{image: 'nginx:1.29'}]}",
        ),
        RuleId::PriorityClass => (
            "pods",
            "{runtimeClassName: gvisor, priorityClassName: system-node-critical}",
        ),
        RuleId::RuntimeClass => ("pods", "{}"),
        RuleId::PodNodeName => ("pods", "{runtimeClassName: gvisor, nodeName: node-1}"),
        RuleId::PodToleration => (
            "pods",
            "{runtimeClassName: gvisor, tolerations: [{operator: Exists}]}",
        ),
        RuleId::PodPlacement => (
            "pods",
            "{nodeSelector: {pool: acme, topology.kubernetes.io/region: us-east-1}}",
        ),
        RuleId::StorageClass => ("persistentvolumeclaims", "{storageClassName: slow}"),
        RuleId::VolumeRegion | RuleId::ClaimVolume => (
            "persistentvolumeclaims",
            "{storageClassName: fast, volumeName: pv-1}",
        ),
        RuleId::ClaimSource => (
            "persistentvolumeclaims",
            "{storageClassName: fast, dataSourceRef: {kind: VolumeSnapshot, name: nightly, namespace: globex-prod}}",
        ),
        RuleId::IngressClass => ("ingresses", "{ingressClassName: public}"),
        RuleId::Hostname => (
            "ingresses",
            "{ingressClassName: internal, rules: [{host: shop.globex.example}]}",
        ),
        RuleId::ServiceType => ("services", "{type: LoadBalancer}"),
        RuleId::ServiceExternalIp => ("services", "{externalIPs: [198.51.100.7]}"),
        RuleId::ServiceExternalName => (
            "services",
            "{type: ExternalName, externalName: db.globex-prod.svc.cluster.local}",
        ),
        other => panic!("{other} is no guard rail"),
    }
}

/// acme and globex with guard rails, as `docs/rules.md` has them.
fn with_guard_rails(snapshot: &Snapshot) -> Snapshot {
    let mut snapshot = snapshot.clone();
    for (tenant, workloads) in [
        (
            "acme",
            "{registries: [registry.acme.io, ghcr.io/acme], storageClasses: [fast], runtimeClasses: [gvisor],
              ingressClasses: [internal], hostnames: ['*.acme.example'],
              services: {loadBalancer: false, externalNames: ['*.acme.example']}}",
        ),
        ("globex", "{hostnames: ['*.globex.example']}"),
    ] {
        let known = snapshot.tenants.by_name[tenant].spec.clone();
        let mut spec = serde_json::to_value(known).unwrap();
        spec["workloads"] = yaml(workloads);
        snapshot = with_spec(&snapshot, tenant, &spec.to_string());
    }
    snapshot
}

/// acme with a placement.
fn with_placement(snapshot: &Snapshot) -> Snapshot {
    let spec = "{namespaces: {declared: [{name: acme-prod}]}, placement: {regions: [eu-central-1], nodeSelector: {pool: acme}}}";
    with_spec(snapshot, "acme", spec).with_volume("pv-1".to_owned(), VolumeFacts::default())
}

/// A policy of acme by paula.
fn policy() -> Revision {
    let content = Content::of(&TenantPolicySpec {
        tenants: Some(vec!["acme".to_owned()]),
        match_: Some(Match {
            operations: vec![MatchOperation::Create],
            resources: vec![MatchResource {
                groups: vec!["apps".to_owned()],
                kinds: vec!["Deployment".to_owned()],
            }],
            namespace_selector: None,
        }),
        rego: Some(
            r#"package bailiwick

deny contains violation if {
    some i, container in input.request.object.spec.template.spec.containers
    endswith(container.image, ":latest")
    violation := {
        "msg": sprintf("the image '%s' changes from pull to pull", [container.image]),
        "field": sprintf("spec.template.spec.containers[%d].image", [i]),
        "fix": "write the tag of a version",
    }
}

deny contains "too many" if to_number(input.request.object.spec.replicas) > 100
"#
            .to_owned(),
        ),
        ..TenantPolicySpec::default()
    });
    Revision::compile(StoredRevision::new("images", "paula", content.unwrap())).unwrap()
}

fn with_policy(mut snapshot: Snapshot) -> Snapshot {
    let revision = policy();
    let authors = [(
        "images".to_owned(),
        [(revision.stored.digest.clone(), "paula".to_owned())].into(),
    )];
    let served = Served {
        policy: "images".to_owned(),
        active: Some(Active::Loaded(Arc::new(revision))),
        candidate: None,
        approved_by: BTreeMap::new(),
    };
    let policies = Policies::collect([Arc::new(served)], &snapshot.tenants);
    snapshot.policies = Arc::new(policies.with_authors(Arc::new(authors.into())));
    snapshot
}

/// What is wrong with a policy is told in its status and by `bailiwick check`; admission takes it.
fn invalid() -> String {
    let content = &policy().stored.content;
    let mut wrong = content.clone();
    wrong.sources[0].text = wrong.sources[0].text.replace("endswith", "endwith");
    assert_eq!(trial::try_out(content), Ok(()));
    let failed = trial::try_out(&wrong).unwrap_err();
    trial::finding(&failed.errors()[0]).to_string()
}

fn denial(rule: RuleId) -> String {
    if rule == RuleId::PolicyInvalid {
        return invalid();
    }
    let body = refused(rule).review().to_string();
    let snapshot = match rule {
        RuleId::PodPlacement | RuleId::VolumeRegion => with_placement(&cluster()),
        _ => with_policy(with_guard_rails(&cluster()).without(Need::ClusterRole("gone".to_owned()))),
    };
    match decide(&snapshot, &parse(body.as_bytes()).unwrap(), &Moment::default()) {
        Outcome::Decided(decision) => {
            assert!(decision.findings.iter().all(|it| it.rule == rule), "{decision:?}");
            decision.message()
        }
        Outcome::Needs(need) => panic!("{rule} needs {need:?}"),
    }
}

#[test]
fn every_rule_has_a_heading_and_no_heading_is_stale() {
    let text = text();
    let headings: Vec<&str> = text
        .lines()
        .filter_map(|it| it.strip_prefix("## "))
        .filter(|it| it.starts_with("BW-"))
        .collect();
    let rules: Vec<&str> = RuleId::ALL.iter().map(|it| it.as_str()).collect();
    assert_eq!(headings, rules, "in the order of RuleId::ALL");
}

#[test]
fn every_section_tells_all_that_is_asked() {
    let text = text();
    for rule in RuleId::ALL {
        let begin = text.find(&format!("\n## {rule}\n")).unwrap();
        let section = &text[begin + 1..];
        let section = section[3..]
            .find("\n## ")
            .map_or(section, |end| &section[..end + 3]);
        assert!(
            section.contains(rule.summary().trim()),
            "{rule} says: {}",
            rule.summary().trim()
        );
        for part in ["```text\n", "**Why.**", "**What to do.**", "**Where.**"] {
            assert!(section.contains(part), "{rule} lacks {part}");
        }
        let denial = denial(*rule);
        assert!(section.contains(&denial), "{rule} should show:\n{denial}");
    }
}
