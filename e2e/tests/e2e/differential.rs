//! Native policies and webhook give the same verdict on the same requests, in the area that both decide.
//!
//! Every request is sent twice as a dry run: as somebody whom the webhook doesn't look at, and as somebody whom the native
//! policies don't look at. The requests are products of small tables, so that every combination is there, also those
//! that nobody would write down.

mod offline;

use anyhow::{Result, bail, ensure};
use bailiwick_e2e::wait::eventually;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use crate::{
    fixture::{SOON, on_own_cluster, ready_tenant},
    requests::{Callers, Rights, Step, make_mutable, muted, send},
    steps::{MANAGED, TENANT_LABEL, tenant},
};

/// How many requests are under way at a time.
const PARALLEL: usize = 16;
/// Rules that only one of the two layers knows, as README and `docs/rules.md` say.
const NATIVE_ONLY: [&str; 3] = ["BW-NS-DECLARED", "BW-NS-ADOPT", "BW-RECORD"];
const WEBHOOK_ONLY: [&str; 5] = [
    "BW-RB-GRANT",
    "BW-ROLE-GRANT",
    "BW-NP-OPEN",
    "BW-NS-PREFIX",
    "BW-UNDECIDED",
];

/// How many requests of each verb are denied, and how many are allowed, at the least.
const VERBS: [(&str, usize); 8] = [
    ("create", 100),
    ("replace", 100),
    ("merge", 100),
    ("json", 100),
    ("strategic", 100),
    ("apply", 100),
    ("delete", 5),
    ("deletecollection", 1),
];
const NAMESPACES: [&str; 4] = ["diff-stamp", "diff-verify", "diff-other", "diff-plain"];
const REQUESTERS: [&str; 4] = [
    "platform-admin",
    "diff-owner",
    "operator",
    "system:serviceaccount:kube-system:namespace-controller",
];
/// Subjects of bindings: the two tenants', nobody's, everybody, the system's, and names that only look alike.
const SUBJECTS: [(&str, &str, &str); 16] = [
    ("User", "", "diff-owner"),
    ("User", "", "Diff-Owner"),
    ("User", "", "other-owner"),
    ("User", "", "oidc:diff:x"),
    ("User", "", "oidc:dif"),
    ("User", "", "system:anonymous"),
    ("User", "", "system:serviceaccount:diff-stamp:robot"),
    ("User", "", "system:serviceaccount:diff-stamp:"),
    ("Group", "", "diff-owner"),
    ("Group", "", "oidc:diff:devs"),
    ("Group", "", "system:serviceaccounts:diff-other"),
    ("Group", "", "system:authenticated"),
    ("Group", "", "system:masters"),
    ("ServiceAccount", "diff-stamp", "robot"),
    ("ServiceAccount", "diff-plain", "robot"),
    ("ServiceAccount", "kube-system", "cni"),
];
const ROLES: [&str; 4] = ["view", "system:discovery", "cluster-admin", "diff-absent"];

fn step(user: &str, verb: &str, path: impl Into<String>, body: Value) -> Step {
    Step {
        user: user.to_owned(),
        groups: Vec::new(),
        verb: verb.to_owned(),
        path: path.into(),
        body,
        rights: Rights::All,
    }
}

/// Labels of one key, or none.
fn labels(key: &str, value: Option<&str>) -> Value {
    value.map_or_else(|| json!({}), |it| json!({ key: it }))
}

/// The writes that set one label of an existing object, or take it off.
fn label_writes(user: &str, path: &str, types: (&str, &str), key: &str, value: Option<&str>) -> Vec<Step> {
    let merge = json!({ "metadata": { "labels": { key: value } } });
    let pointer = format!("/metadata/labels/{}", key.replace('/', "~1"));
    let operation = match value {
        Some(value) => json!([{ "op": "add", "path": pointer, "value": value }]),
        None => json!([{ "op": "remove", "path": pointer }]),
    };
    let mut writes = vec![
        step(user, "merge", path, merge.clone()),
        step(user, "strategic", path, merge),
        step(user, "json", path, operation),
    ];
    if value.is_some() {
        let whole =
            json!({ "apiVersion": types.0, "kind": types.1, "metadata": { "labels": { key: value } } });
        writes.push(step(user, "apply", path, whole));
    }
    writes
}

fn pod(name: &str, label: Option<&str>) -> Value {
    json!({
        "metadata": { "name": name, "labels": labels(TENANT_LABEL, label) },
        "spec": { "containers": [{ "name": "c", "image": "example.invalid/c" }], "automountServiceAccountToken": false, "serviceAccountName": "robot" },
    })
}

const TENANT_VALUES: [Option<&str>; 5] = [None, Some("diff"), Some("other"), Some("nobody"), Some("")];

fn pods() -> Vec<Step> {
    let mut steps = Vec::new();
    for namespace in NAMESPACES.iter().take(3) {
        let all = format!("/api/v1/namespaces/{namespace}/pods");
        for (user, label) in product(&REQUESTERS, &TENANT_VALUES) {
            steps.push(step(user, "create", &all, pod("new", label)));
            for subresource in ["", "/status", "/ephemeralcontainers", "/resize"] {
                let path = format!("{all}/old{subresource}");
                steps.extend(label_writes(user, &path, ("v1", "Pod"), TENANT_LABEL, label));
            }
            let binding = json!({
                "apiVersion": "v1", "kind": "Binding",
                "metadata": { "name": "old", "labels": labels(TENANT_LABEL, label) },
                "target": { "apiVersion": "v1", "kind": "Node", "name": "n" },
            });
            steps.push(step(
                user,
                "create",
                format!("{all}/old/binding"),
                binding.clone(),
            ));
            steps.push(step(
                user,
                "create",
                format!("/api/v1/namespaces/{namespace}/bindings"),
                binding,
            ));
        }
    }
    steps
}

fn namespaces() -> Vec<Step> {
    let keys: [(&str, &[Option<&str>]); 6] = [
        (TENANT_LABEL, &TENANT_VALUES),
        ("bailiwick.dev/pod-label", &[None, Some("Verify"), Some("Stamp")]),
        (
            "pod-security.kubernetes.io/enforce",
            &[None, Some("privileged"), Some("baseline")],
        ),
        ("pod-security.kubernetes.io/warn", &[None, Some("restricted")]),
        ("resource.kubernetes.io/admin-access", &[None, Some("true")]),
        ("team", &[None, Some("x")]),
    ];
    let mut steps = Vec::new();
    for (user, (key, values)) in product(&REQUESTERS, &keys) {
        for value in values {
            let new = json!({ "metadata": { "name": "diff-new", "labels": labels(key, *value) } });
            steps.push(step(user, "create", "/api/v1/namespaces", new));
            for (namespace, subresource) in product(&NAMESPACES, &["", "/status"]) {
                let path = format!("/api/v1/namespaces/{namespace}{subresource}");
                steps.extend(label_writes(user, &path, ("v1", "Namespace"), key, *value));
            }
            // As a whole, with this label and no other.
            for (namespace, subresource) in product(&NAMESPACES, &["", "/status", "/finalize"]) {
                let whole = json!({
                    "apiVersion": "v1", "kind": "Namespace",
                    "metadata": { "name": namespace, "labels": labels(key, *value) },
                    "spec": { "finalizers": ["kubernetes"] },
                });
                let path = format!("/api/v1/namespaces/{namespace}{subresource}");
                steps.push(step(user, "replace", path, whole));
            }
        }
    }
    for (user, namespace) in product(&REQUESTERS, &NAMESPACES) {
        let owner = json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "00000000-0000-0000-0000-000000000001" }]);
        let body = json!({ "metadata": { "ownerReferences": owner } });
        steps.push(step(
            user,
            "merge",
            format!("/api/v1/namespaces/{namespace}"),
            body,
        ));
    }
    steps
}

/// Managed objects and, beside each, one that a tenant could have made.
#[allow(clippy::type_complexity, reason = "a table that is read once")]
fn managed() -> Vec<Step> {
    let networking = "/apis/networking.k8s.io/v1";
    let kinds: [(&str, &str, (&str, &str), &str, Value); 3] = [
        (
            networking,
            "networkpolicies",
            ("networking.k8s.io/v1", "NetworkPolicy"),
            "bailiwick-default-deny",
            json!({ "spec": { "egress": [{}] } }),
        ),
        (
            "/api/v1",
            "resourcequotas",
            ("v1", "ResourceQuota"),
            "bailiwick",
            json!({ "spec": { "hard": { "pods": "9" } } }),
        ),
        (
            "/api/v1",
            "limitranges",
            ("v1", "LimitRange"),
            "bailiwick",
            json!({ "spec": { "limits": [{ "type": "Pod", "max": { "cpu": "9" } }] } }),
        ),
    ];
    let mut steps = Vec::new();
    for (user, (group, resource, types, name, change)) in product(&REQUESTERS, &kinds) {
        let all = format!("{group}/namespaces/diff-stamp/{resource}");
        for (key, value) in product(
            &[MANAGED, TENANT_LABEL],
            &[None, Some("bailiwick-operator"), Some("x")],
        ) {
            let new = json!({ "metadata": { "name": "new", "labels": labels(key, value) }, "spec": new_spec(resource) });
            steps.push(step(user, "create", &all, new));
            for name in [name, "own"] {
                let path = format!("{all}/{name}");
                steps.extend(label_writes(user, &path, types, key, value));
                let whole = json!({ "metadata": { "name": name, "labels": labels(key, value) }, "spec": new_spec(resource) });
                steps.push(step(user, "replace", path, whole));
            }
        }
        for name in [name, "own"] {
            let path = format!("{all}/{name}");
            steps.push(step(user, "merge", &path, change.clone()));
            steps.push(step(
                user,
                "merge",
                &path,
                json!({ "metadata": { "annotations": { "note": "x" } } }),
            ));
            steps.push(step(user, "delete", &path, Value::Null));
        }
        steps.push(step(user, "deletecollection", &all, Value::Null));
    }
    steps
}

fn new_spec(resource: &str) -> Value {
    match resource {
        "networkpolicies" => json!({ "podSelector": {}, "policyTypes": ["Ingress"] }),
        "resourcequotas" => json!({ "hard": { "count/secrets": "5" } }),
        _ => json!({ "limits": [] }),
    }
}

fn subject(of: (&str, &str, &str)) -> Value {
    let (kind, namespace, name) = of;
    match kind {
        "ServiceAccount" => json!({ "kind": kind, "namespace": namespace, "name": name }),
        _ => json!({ "kind": kind, "apiGroup": "rbac.authorization.k8s.io", "name": name }),
    }
}

fn binding(name: &str, role: &str, subjects: &[(&str, &str, &str)]) -> Value {
    json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
        "subjects": subjects.iter().map(|it| subject(*it)).collect::<Vec<_>>(),
    })
}

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

fn bindings() -> Vec<Step> {
    let system = ("ServiceAccount", "kube-system", "cni");
    let mut steps = Vec::new();
    for (role, one) in product(&ROLES, &SUBJECTS) {
        let cluster = format!("{RBAC}/clusterrolebindings");
        steps.push(step(
            "platform-admin",
            "create",
            &cluster,
            binding("new", role, &[one]),
        ));
        steps.push(step(
            "platform-admin",
            "create",
            &cluster,
            binding("new", role, &[system, one]),
        ));
        for namespace in NAMESPACES.iter().take(3) {
            let all = format!("{RBAC}/namespaces/{namespace}/rolebindings");
            steps.push(step(
                "platform-admin",
                "create",
                &all,
                binding("new", role, &[one]),
            ));
            steps.push(step(
                "diff-owner",
                "create",
                &all,
                binding("new", role, &[system, one]),
            ));
        }
    }
    for one in SUBJECTS {
        let change = json!({ "subjects": [subject(system), subject(one)] });
        steps.push(step(
            "platform-admin",
            "merge",
            format!("{RBAC}/clusterrolebindings/diff-old"),
            change.clone(),
        ));
        let own = format!("{RBAC}/namespaces/diff-stamp/rolebindings/own");
        steps.push(step("platform-admin", "merge", &own, change));
        let whole = binding("own", "view", &[system, one]);
        steps.push(step("platform-admin", "replace", own, whole));
    }
    steps
}

fn cluster_roles() -> Vec<Step> {
    let rules = [
        json!({ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"] }),
        json!({ "apiGroups": [""], "resources": ["nodes"], "verbs": ["get"] }),
        json!({ "apiGroups": [""], "resources": ["namespaces"], "verbs": ["patch"] }),
        json!({ "apiGroups": [""], "resources": ["resourcequotas"], "verbs": ["update"] }),
        json!({ "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["escalate"] }),
        json!({ "apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"] }),
        json!({ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }),
        json!({ "nonResourceURLs": ["/version"], "verbs": ["get"] }),
        json!({ "nonResourceURLs": ["/metrics"], "verbs": ["get"] }),
        json!({ "apiGroups": ["bailiwick.dev"], "resources": ["tenants"], "verbs": ["get"] }),
    ];
    let mut steps = Vec::new();
    for (role, (first, second)) in product(
        &["diff-cluster", "diff-tenant", "diff-free"],
        &product(&rules, &rules),
    ) {
        let path = format!("{RBAC}/clusterroles/{role}");
        steps.push(step(
            "platform-admin",
            "merge",
            path,
            json!({ "rules": [first, second] }),
        ));
    }
    steps
}

fn product<A: Clone, B: Clone>(left: &[A], right: &[B]) -> Vec<(A, B)> {
    let pairs = left
        .iter()
        .flat_map(|a| right.iter().map(move |b| (a.clone(), b.clone())));
    pairs.collect()
}

/// What a layer said: nothing, or the message of its refusal. What the API server itself refuses is no verdict.
#[derive(Debug, PartialEq)]
enum Verdict {
    Allowed,
    Denied(String),
    Other,
}

impl Verdict {
    fn of(result: kube::Result<()>) -> Result<Self> {
        match result {
            Ok(()) => Ok(Self::Allowed),
            Err(kube::Error::Api(status))
                if matches!(status.code, 403 | 503) && status.message.contains("BW-") =>
            {
                Ok(Self::Denied(status.message))
            }
            Err(kube::Error::Api(status)) if status.code < 500 => Ok(Self::Other),
            Err(error) => bail!("{error}"),
        }
    }

    /// The ids of the rules that refuse, without those of one layer only.
    fn shared_rules(&self) -> Vec<&str> {
        let Self::Denied(message) = self else {
            return Vec::new();
        };
        let id = |text: &'_ str| -> usize {
            text.find(|it: char| !it.is_ascii_uppercase() && it != '-')
                .unwrap_or(text.len())
        };
        let starts = message.match_indices("BW-").map(|(at, _)| &message[at..]);
        let mut rules: Vec<_> = starts.map(|it| &it[..id(it)]).collect();
        rules.retain(|it| !NATIVE_ONLY.contains(it) && !WEBHOOK_ONLY.contains(it));
        rules.sort_unstable();
        rules.dedup();
        rules
    }
}

/// Whether the API server asks the webhook at all: its selectors and matchConditions keep some requests out, for which
/// the native policies are the only guard.
fn is_asked(step: &Step) -> bool {
    let namespace = step.path.strip_prefix("/api/v1/namespaces").filter(|it| {
        let mut parts = it.trim_start_matches('/').split('/');
        matches!(parts.nth(1), None | Some("status" | "finalize"))
    });
    match (step.user.as_str(), namespace) {
        ("operator", _) => false,
        ("system:serviceaccount:kube-system:namespace-controller", of_a_namespace) => {
            let is_report = step.path.ends_with("/status");
            of_a_namespace.is_none() && !is_report && !step.verb.starts_with("delete")
        }
        // Not a tenant's, before or after.
        (_, Some("" | "/diff-plain" | "/diff-plain/status" | "/diff-plain/finalize")) => {
            step.body.to_string().replace("~1", "/").contains(TENANT_LABEL)
        }
        _ => true,
    }
}

/// Why the two verdicts can't both be right. A native refusal names one rule, the first; the webhook names all.
fn disagreement(step: &Step, native: &Verdict, webhook: &Verdict) -> Option<String> {
    let (by_native, by_webhook) = (native.shared_rules(), webhook.shared_rules());
    let agree = match by_native.as_slice() {
        _ if !is_asked(step) => by_webhook.is_empty(),
        [] => by_webhook.is_empty() || matches!(native, Verdict::Denied(_)),
        // A role that doesn't exist is refused either way; the webhook says that it may pass once there is one.
        _ if matches!(webhook, Verdict::Denied(message) if message.contains("BW-UNDECIDED")) => true,
        rules => rules.iter().all(|it| by_webhook.contains(it)),
    };
    (!agree).then(|| format!("{by_native:?} {by_webhook:?} native {native:?}\n    webhook {webhook:?}"))
}

#[test]
fn native_policies_and_webhook_agree() -> Result<()> {
    on_own_cluster(async |cluster, _| {
        let mut callers = Callers::new(cluster);
        ready_tenant(
            cluster,
            &tenant(
                "diff",
                &["diff-stamp", "diff-verify"],
                "identities: { users: [\"oidc:diff:*\"], groups: [\"oidc:diff:*\"] }, quota: { namespace: { count/secrets: \"9\" }, limits: [{ type: Container, default: { cpu: 100m } }] }",
            ),
            SOON,
        )
        .await?;
        ready_tenant(
            cluster,
            &tenant("other", &["diff-other"], "podLabel: Verify"),
            SOON,
        )
        .await?;
        for step in set_up() {
            // A binding is allowed once the index tells that its role grants nothing.
            eventually(SOON, "the setting is made", async || {
                Ok(callers.send(&step, "", &[]).await??)
            })
            .await?;
        }
        eventually(SOON, "the index tells of the new bindings", async || {
            let index = cluster
                .kubectl(&["get", "tenancyindex", "bailiwick", "-o", "json"])
                .await?
                .ok()?;
            let index: Value = serde_json::from_str(&index)?;
            let spec = &index["spec"];
            ensure!(
                spec["clusterBoundRoles"]["diff-cluster"] == true
                    && spec["tenantBoundRoles"]["diff-tenant"] == true,
                "{spec}"
            );
            Ok(())
        })
        .await?;
        let natives = make_mutable(cluster, "ValidatingAdmissionPolicy").await?;
        let webhooks = make_mutable(cluster, "ValidatingWebhookConfiguration").await?;
        let without_natives: Vec<String> = natives.iter().map(|it| muted(it)).collect();
        let without_webhooks: Vec<String> = webhooks.iter().map(|it| muted(it)).collect();
        let nobody: Vec<String> = without_natives.iter().chain(&without_webhooks).cloned().collect();

        let steps: Vec<Step> = [pods(), namespaces(), managed(), bindings(), cluster_roles()].concat();
        // All layers are off for this one as soon as the API server has taken the changes in.
        for probe in [0, steps.len() / 2, steps.len() - 1] {
            let probe = &steps[probe];
            eventually(SOON, "the layers can be switched off", async || {
                let verdict = Verdict::of(callers.send(probe, "dryRun=All", &nobody).await?)?;
                ensure!(!matches!(verdict, Verdict::Denied(_)), "{probe:?}: {verdict:?}");
                Ok(())
            })
            .await?;
        }

        let mut work = Vec::new();
        for step in &steps {
            let native = callers.client(step, &without_webhooks)?;
            let webhook = callers.client(step, &without_natives)?;
            work.push(async move {
                let native = Verdict::of(send(native, step, "dryRun=All").await?)?;
                let webhook = Verdict::of(send(webhook, step, "dryRun=All").await?)?;
                Ok::<_, anyhow::Error>((step, native, webhook))
            });
        }
        let answers: Vec<_> = stream::iter(work)
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await?;
        let wrong: Vec<String> = answers
            .iter()
            .filter_map(|(step, native, webhook)| {
                Some(format!("{step:?}\n    {}", disagreement(step, native, webhook)?))
            })
            .collect();
        let (first, count) = (wrong.iter().take(40).cloned().collect::<Vec<_>>(), wrong.len());
        ensure!(
            count == 0,
            "{count} of {} disagree:\n{}",
            steps.len(),
            first.join("\n")
        );
        for (verb, enough) in VERBS {
            let of_verb = || answers.iter().filter(|it| it.0.verb == verb);
            let denied = of_verb().filter(|it| matches!(it.1, Verdict::Denied(_))).count();
            let allowed = of_verb().filter(|it| it.1 == Verdict::Allowed).count();
            ensure!(
                denied >= enough && allowed >= enough,
                "{denied} denied and {allowed} allowed of {} by {verb}: the tables say too little",
                of_verb().count()
            );
        }
        Ok(())
    })
}

/// What the requests work on, beside what the operator made.
fn set_up() -> Vec<Step> {
    let create = |path: String, body: Value| step("platform-admin", "create", path, body);
    let role = |name: &str, rules: Value| json!({ "metadata": { "name": name }, "rules": rules });
    let reads = json!([{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"] }]);
    let (roles, wide) = (
        format!("{RBAC}/clusterroles"),
        format!("{RBAC}/clusterrolebindings"),
    );
    let narrow = format!("{RBAC}/namespaces/diff-stamp/rolebindings");
    let owner = [("User", "", "diff-owner")];
    let mut steps = vec![
        create(
            "/api/v1/namespaces".to_owned(),
            json!({ "metadata": { "name": "diff-plain" } }),
        ),
        create(roles.clone(), role("diff-free", reads.clone())),
        create(roles.clone(), role("diff-tenant", reads)),
        create(roles, role("diff-cluster", json!([]))),
        create(wide.clone(), binding("diff-cluster", "diff-cluster", &owner)),
        create(wide, binding("diff-old", "view", &[("User", "", "nobody")])),
        create(narrow.clone(), binding("own", "view", &owner)),
        create(narrow, binding("tenant", "diff-tenant", &owner)),
    ];
    for namespace in NAMESPACES {
        let prefix = format!("/api/v1/namespaces/{namespace}");
        steps.push(step(
            "platform-admin",
            "create",
            format!("{prefix}/serviceaccounts"),
            json!({ "metadata": { "name": "robot" } }),
        ));
        let label = match namespace {
            "diff-plain" => None,
            "diff-other" => Some("other"),
            _ => Some("diff"),
        };
        steps.push(step(
            "platform-admin",
            "create",
            format!("{prefix}/pods"),
            pod("old", label),
        ));
    }
    for (group, resource) in [
        ("/apis/networking.k8s.io/v1", "networkpolicies"),
        ("/api/v1", "resourcequotas"),
        ("/api/v1", "limitranges"),
    ] {
        let own = json!({ "metadata": { "name": "own" }, "spec": new_spec(resource) });
        steps.push(step(
            "platform-admin",
            "create",
            format!("{group}/namespaces/diff-stamp/{resource}"),
            own,
        ));
    }
    steps
}
