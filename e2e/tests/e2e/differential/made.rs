//! Requests that are put together by chance: who asks, by which verb, of what, and several changes at once.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    chance::Chance,
    change::{Change, json_patch, merge, merge_patch},
    grants::rule,
    kinds::{ALL, KINDS, RBAC, SUBJECTS, binding, pod, subject},
    people::{FURNISHED, NAMESPACES, REQUESTERS},
    step,
};
use crate::{
    requests::Step,
    steps::{MANAGED, TENANT_LABEL},
};

/// Labels and annotations that decide something, that a Tenant lists, and that say nothing.
const KEYS: [(&str, &[&str]); 11] = [
    (TENANT_LABEL, &["diff", "serve", "full", "nobody", ""]),
    ("bailiwick.dev/pod-label", &["Stamp", "Verify", "Require", "x"]),
    ("bailiwick.dev/suspended", &["true", "false"]),
    (
        "pod-security.kubernetes.io/enforce",
        &["privileged", "restricted"],
    ),
    ("pod-security.kubernetes.io/audit-version", &["latest"]),
    ("resource.kubernetes.io/admin-access", &["true"]),
    ("team", &["x", "y"]),
    ("Team", &["x"]),
    ("admission.gatekeeper.sh/ignore", &["x"]),
    ("acme.example/contact", &["x", "y"]),
    ("kubernetes.io/metadata.name", &["serve-base"]),
];
const ANNOTATIONS: [&str; 7] = [
    "bailiwick.dev/adopt-by",
    "bailiwick.dev/tenant-uid",
    "acme.example/contact",
    "team",
    "note",
    "kubectl.kubernetes.io/last-applied-configuration",
    "scheduler.alpha.kubernetes.io/node-selector",
];
const LABELS_OF_OBJECTS: [(&str, &[&str]); 4] = [
    (MANAGED, &["bailiwick-operator", "x", ""]),
    (TENANT_LABEL, &["diff", "serve", "nobody"]),
    ("app", &["a", "b"]),
    ("bailiwick.dev/policy", &["x"]),
];

/// Requests with what there is at hand, so that one can replace it whole.
pub(super) struct Maker<'a> {
    pub(super) seed: u64,
    pub(super) contents: &'a BTreeMap<String, Value>,
}

impl Maker<'_> {
    /// The request of a number: always the same for the same seed and the same cluster.
    pub(super) fn request(&self, number: u64) -> Step {
        let chance = &mut Chance::of(self.seed, number);
        match chance.below(20) {
            0..=6 => self.namespace(chance),
            7..=8 => new_namespace(chance),
            9..=10 => self.pod(chance),
            11..=14 => self.object(chance),
            15..=16 => self.binding(chance),
            _ => self.cluster_role(chance),
        }
    }

    /// Changes what is there: by a patch of some kind, or as a whole.
    fn write(
        &self,
        chance: &mut Chance,
        path: &str,
        subresource: &str,
        types: (&str, &str),
        changes: &[Change],
    ) -> Step {
        let user = requester(chance);
        let verbs = match subresource {
            "/finalize" => &["replace"][..],
            _ => &["merge", "strategic", "json", "apply", "replace", "replace"][..],
        };
        let verb = chance.one(verbs);
        let body = match verb {
            "json" => json_patch(changes),
            "replace" => {
                // What there is with the changes; at times the changes alone, which takes everything else off.
                let bare = json!({ "apiVersion": types.0, "kind": types.1, "metadata": { "name": path.rsplit('/').next() } });
                let now = self.contents.get(path).filter(|_| !chance.is_so(10));
                let mut object = now.cloned().unwrap_or(bare);
                merge(&mut object, &merge_patch(changes, verb));
                object
            }
            _ => {
                let mut body = merge_patch(changes, verb);
                if verb == "apply" {
                    body["apiVersion"] = json!(types.0);
                    body["kind"] = json!(types.1);
                }
                body
            }
        };
        step_of(user, verb, format!("{path}{subresource}"), body)
    }

    fn namespace(&self, chance: &mut Chance) -> Step {
        let (name, _) = chance.one(&NAMESPACES);
        let path = format!("{ALL}/{name}");
        if chance.is_so(5) {
            return step_of(requester(chance), "delete", path, Value::Null);
        }
        let subresource = chance.one(&["", "", "/status", "/finalize"]);
        let changes = changes_of_namespace(chance, subresource == "/finalize");
        self.write(chance, &path, subresource, ("v1", "Namespace"), &changes)
    }

    fn pod(&self, chance: &mut Chance) -> Step {
        let (namespace, _) = chance.one(&NAMESPACES);
        let all = format!("{ALL}/{namespace}/pods");
        let label = a_label(chance, &LABELS_OF_OBJECTS[..3]);
        let labels = |change: &Change| match change {
            Change::Label(key, Some(value)) => json!({ *key: value }),
            _ => json!({}),
        };
        match chance.below(4) {
            0 => step_of(requester(chance), "create", all, pod("new", &labels(&label))),
            1 => {
                let (path, name) = chance.one(&[
                    (format!("{all}/old/binding"), "old"),
                    (format!("{ALL}/{namespace}/bindings"), "old"),
                ]);
                let body = json!({
                    "apiVersion": "v1", "kind": "Binding", "metadata": { "name": name, "labels": labels(&label) },
                    "target": { "apiVersion": "v1", "kind": "Node", "name": "n" },
                });
                step_of(requester(chance), "create", path, body)
            }
            _ => {
                let subresource = chance.one(&["", "/status", "/ephemeralcontainers", "/resize"]);
                let changes = [label, a_label(chance, &LABELS_OF_OBJECTS[1..3])];
                self.write(
                    chance,
                    &format!("{all}/old"),
                    subresource,
                    ("v1", "Pod"),
                    &changes,
                )
            }
        }
    }

    fn object(&self, chance: &mut Chance) -> Step {
        let kind = &KINDS[chance.below(KINDS.len())];
        let namespace = if chance.is_so(15) {
            "full-late"
        } else {
            chance.one(&FURNISHED)
        };
        let all = kind.all(namespace);
        let name = chance.one(&["own", kind.kept(namespace)]);
        let path = format!("{all}/{name}");
        match chance.below(10) {
            0..=2 => {
                let label = a_label(chance, &LABELS_OF_OBJECTS);
                let labels = match label {
                    Change::Label(key, Some(value)) => json!({ key: value }),
                    _ => json!({}),
                };
                let mut object = kind.object("new", &labels);
                if chance.is_so(20) {
                    object["metadata"] = json!({ "generateName": "new-", "labels": labels });
                }
                step_of(requester(chance), "create", all, object)
            }
            3 => step_of(requester(chance), "delete", path, Value::Null),
            4 if chance.is_so(20) => step_of(requester(chance), "deletecollection", all, Value::Null),
            _ => {
                let mut changes = Vec::new();
                for _ in 0..=chance.below(2) {
                    changes.push(match chance.below(4) {
                        0 => Change::Content(kind.change()),
                        1 => Change::Annotation("note", chance.one(&[None, Some("y")])),
                        _ => a_label(chance, &LABELS_OF_OBJECTS),
                    });
                }
                let has_status = matches!(
                    kind.resource,
                    "resourcequotas" | "deployments" | "services" | "ingresses" | "persistentvolumeclaims"
                );
                let subresource = if has_status && chance.is_so(25) {
                    "/status"
                } else {
                    ""
                };
                self.write(chance, &path, subresource, kind.types, &changes)
            }
        }
    }

    fn binding(&self, chance: &mut Chance) -> Step {
        let role = chance.one(&["view", "system:discovery", "edit", "diff-free"]);
        let subjects = chance.some(4, &SUBJECTS);
        let (namespace, _) = chance.one(&NAMESPACES);
        let (all, old, kind) = if chance.is_so(40) {
            let all = format!("{RBAC}/clusterrolebindings");
            (all, "diff-old", "ClusterRoleBinding")
        } else {
            let all = format!("{RBAC}/namespaces/{namespace}/rolebindings");
            (all, "own", "RoleBinding")
        };
        if chance.is_so(50) {
            let mut new = binding("new", role, &subjects);
            if chance.is_so(10) {
                new["metadata"]["labels"] = json!({ MANAGED: "x" });
            }
            return step_of(requester(chance), "create", all, new);
        }
        let subjects: Vec<Value> = subjects.into_iter().map(subject).collect();
        let mut changes = vec![Change::Content(json!({ "subjects": subjects }))];
        if chance.is_so(10) {
            changes.push(a_label(chance, &LABELS_OF_OBJECTS));
        }
        let types = ("rbac.authorization.k8s.io/v1", kind);
        self.write(chance, &format!("{all}/{old}"), "", types, &changes)
    }

    fn cluster_role(&self, chance: &mut Chance) -> Step {
        let all = format!("{RBAC}/clusterroles");
        let rules: Vec<Value> = (0..=chance.below(3)).map(|_| rule(chance)).collect();
        let name = chance.one(&[
            "diff-cluster",
            "diff-tenant",
            "diff-tenant",
            "diff-both",
            "diff-free",
            "diff-unborn",
        ]);
        if name == "diff-unborn" {
            let role = json!({ "metadata": { "name": name }, "rules": rules });
            return step_of(requester(chance), "create", all, role);
        }
        let mut changes = vec![Change::Content(json!({ "rules": rules }))];
        if chance.is_so(10) {
            changes.push(a_label(chance, &LABELS_OF_OBJECTS));
        }
        let types = ("rbac.authorization.k8s.io/v1", "ClusterRole");
        self.write(chance, &format!("{all}/{name}"), "", types, &changes)
    }
}

fn requester(chance: &mut Chance) -> &'static str {
    // The platform's more often than the others: most rules hold for it, too.
    if chance.is_so(25) {
        "platform-admin"
    } else {
        chance.one(&REQUESTERS).0
    }
}

fn step_of(user: &str, verb: &str, path: String, body: Value) -> Step {
    step(user, verb, path, body)
}

fn a_label(chance: &mut Chance, of: &[(&'static str, &'static [&'static str])]) -> Change {
    let (key, values) = chance.one(of);
    let value = (!chance.is_so(30)).then(|| chance.one(values));
    Change::Label(key, value)
}

fn changes_of_namespace(chance: &mut Chance, is_finalize: bool) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    if is_finalize {
        let held: [&[&str]; 4] = [
            &["kubernetes"],
            &[],
            &["kubernetes", "acme.example/hold"],
            &["acme.example/hold"],
        ];
        changes.push(Change::Held(chance.one(&held)));
    }
    for _ in 0..=chance.below(3) {
        changes.push(match chance.below(10) {
            0..=4 => a_label(chance, &KEYS),
            5..=7 => Change::Annotation(
                chance.one(&ANNOTATIONS),
                chance.one(&[None, Some("diff"), Some("serve")]),
            ),
            8 => Change::Finalizers(chance.one(&[&["acme.example/hold"][..], &[]])),
            _ => Change::Owner(chance.one(&["x", "y"])),
        });
    }
    changes
}

fn new_namespace(chance: &mut Chance) -> Step {
    let name = chance.one(&["serve-new", "serve-", "full-new", "halt-new", "diff-new", "x-new"]);
    let is_finalize = chance.is_so(10);
    let mut changes = changes_of_namespace(chance, is_finalize);
    if chance.is_so(70) {
        changes.push(Change::Label(
            TENANT_LABEL,
            Some(chance.one(&["serve", "full", "halt", "diff", "nobody"])),
        ));
    }
    let mut body = json!({ "apiVersion": "v1", "kind": "Namespace" });
    merge(&mut body, &merge_patch(&changes, "apply"));
    let user = requester(chance);
    match chance.below(5) {
        0 if name.ends_with("new") => {
            body["metadata"]["name"] = json!(name);
            step_of(user, "apply", format!("{ALL}/{name}"), body)
        }
        1 => {
            body["metadata"]["generateName"] = json!(name);
            step_of(user, "create", ALL.to_owned(), body)
        }
        _ => {
            body["metadata"]["name"] = json!(name);
            step_of(user, "create", ALL.to_owned(), body)
        }
    }
}
