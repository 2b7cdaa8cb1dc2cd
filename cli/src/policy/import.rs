//! `bailiwick policy import`: a ConstraintTemplate and a Constraint of Gatekeeper become a TenantPolicy.
//!
//! The Rego stays as it is. What a TenantPolicy can't say is refused by name where leaving it out would refuse more or
//! less than before, and noted where it wouldn't.

use bailiwick_core::policy::Content;
use bailiwick_core::policy::trial::{finding, try_out};
use bailiwick_crds::v1alpha1::TenantPolicySpec;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::check::document;
use crate::check::stack::with_stack;

/// What became of the two.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The TenantPolicy.
    pub policy: Value,
    /// What is worth knowing.
    pub notes: Vec<String>,
}

/// A text with its name.
pub type Named<'a> = (&'a str, &'a str);

/// Makes a TenantPolicy of them.
///
/// # Errors
/// All that keeps it from being one.
pub fn import(template: Named<'_>, constraint: Named<'_>) -> Result<Imported, Vec<String>> {
    let one = |it: String| vec![it];
    let code = Code::of(template).map_err(one)?;
    let mut notes = code.notes.clone();
    let constraint = Constraint::of(constraint, &code).map_err(one)?;
    let mut spec = Map::new();
    spec.insert("tenantSelector".to_owned(), json!({}));
    spec.insert("match".to_owned(), constraint.matches()?);
    spec.insert(
        "enforcement".to_owned(),
        constraint.enforcement().map_err(one)?.into(),
    );
    if let Some(parameters) = constraint.spec.get("parameters") {
        spec.insert("parameters".to_owned(), parameters.clone());
    }
    let version = if code.is_v1 { "v1" } else { "v0" };
    spec.insert("regoVersion".to_owned(), version.into());
    spec.insert("rego".to_owned(), code.rego.as_str().into());
    if !code.libs.is_empty() {
        spec.insert("libs".to_owned(), json!(code.libs));
    }
    notes.push(
        "it is for all tenants (tenantSelector: {}); name the ones that it is for in spec.tenants or spec.tenantSelector"
            .to_owned(),
    );
    let spec = Value::Object(spec);
    tried(&spec)?;
    let policy = json!({
        "apiVersion": "bailiwick.dev/v1alpha1",
        "kind": "TenantPolicy",
        "metadata": {"name": constraint.name},
        "spec": spec,
    });
    Ok(Imported { policy, notes })
}

/// Compiles what came out, and runs the tests that are in the source.
fn tried(spec: &Value) -> Result<(), Vec<String>> {
    let spec = TenantPolicySpec::deserialize(spec).map_err(|it| vec![format!("spec: {it}")])?;
    let tried = with_stack(move || {
        let content = Content::of(&spec)?;
        try_out(&content).map_err(|it| it.errors().to_vec())
    });
    let shown = |it: &bailiwick_crds::v1alpha1::PolicyError| {
        let finding = finding(it);
        format!("{}: {}", finding.field, finding.found)
    };
    tried
        .map_err(|it| vec![it])?
        .map_err(|errors| errors.iter().map(shown).collect())
}

/// The one object of a file that is meant.
fn object((name, text): Named<'_>, is_meant: impl Fn(&Value) -> bool, what: &str) -> Result<Value, String> {
    let (documents, unread) = document::read(name, text);
    if let Some(it) = unread.first() {
        return Err(crate::report::unread(it));
    }
    let mut meant = documents.iter().map(|it| it.root.to_json()).filter(is_meant);
    match (meant.next(), meant.next()) {
        (Some(it), None) => Ok(it),
        (None, _) => Err(format!("{name}: there is no {what} in it")),
        (Some(_), Some(_)) => Err(format!(
            "{name}: there are several of {what} in it; give one at a time"
        )),
    }
}

/// What a ConstraintTemplate says in Rego.
struct Code {
    kind: String,
    rego: String,
    libs: Vec<String>,
    is_v1: bool,
    notes: Vec<String>,
}

impl Code {
    fn of(template: Named<'_>) -> Result<Self, String> {
        let object = object(
            template,
            |it| it["kind"] == "ConstraintTemplate",
            "ConstraintTemplate",
        )?;
        let file = template.0;
        let kind = object["spec"]["crd"]["spec"]["names"]["kind"].as_str();
        let kind = kind.ok_or_else(|| format!("{file}: spec.crd.spec.names.kind is missing"))?;
        let targets = object["spec"]["targets"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let [target] = targets else {
            return Err(format!(
                "{file}: spec.targets has {} items; one can be imported",
                targets.len()
            ));
        };
        let mut notes = Vec::new();
        let codes = target["code"].as_array().map(Vec::as_slice).unwrap_or_default();
        let others: Vec<&str> = codes
            .iter()
            .filter_map(|it| it["engine"].as_str())
            .filter(|it| *it != "Rego")
            .collect();
        let (source, version) = match codes.iter().find(|it| it["engine"] == "Rego") {
            Some(it) => (&it["source"], it["source"]["version"].as_str()),
            None => (target, None),
        };
        let Some(rego) = source["rego"].as_str().filter(|it| !it.trim().is_empty()) else {
            return Err(match others.first() {
                Some(engine) => format!(
                    "{file}: spec.targets[0].code is for the engine {engine} only; a TenantPolicy holds Rego: use it as a ValidatingAdmissionPolicy, or write it in Rego"
                ),
                None => format!("{file}: spec.targets[0].rego is missing"),
            });
        };
        if let Some(engine) = others.first() {
            notes.push(format!(
                "spec.targets[0].code for the engine {engine} is left out: the Rego says the same"
            ));
        }
        if !object["spec"]["crd"]["spec"]["validation"].is_null() {
            notes.push(
                "spec.crd.spec.validation is left out: a TenantPolicy's parameters have no schema; tests can check them"
                    .to_owned(),
            );
        }
        let libs = source["libs"].as_array().into_iter().flatten();
        Ok(Self {
            kind: kind.to_owned(),
            rego: rego.to_owned(),
            libs: libs.filter_map(Value::as_str).map(str::to_owned).collect(),
            is_v1: version == Some("v1"),
            notes,
        })
    }
}

/// A Constraint.
struct Constraint {
    file: String,
    name: String,
    spec: Value,
}

impl Constraint {
    fn of(constraint: Named<'_>, code: &Code) -> Result<Self, String> {
        let is_meant = |it: &Value| it["kind"].as_str() == Some(&code.kind);
        let object = object(constraint, is_meant, &code.kind)?;
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let is_label = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-';
        if name.is_empty() || name.len() > 63 || !name.chars().all(is_label) {
            return Err(format!(
                "{}: metadata.name is '{name}'; a TenantPolicy is named by at most 63 lower case letters, digits and '-': rename it",
                constraint.0
            ));
        }
        Ok(Self {
            file: constraint.0.to_owned(),
            name: name.to_owned(),
            spec: object["spec"].clone(),
        })
    }

    fn enforcement(&self) -> Result<&'static str, String> {
        match self.spec["enforcementAction"].as_str() {
            None | Some("deny") => Ok("Deny"),
            Some("warn") => Ok("Warn"),
            Some("dryrun") => Ok("Audit"),
            Some(other) => Err(format!(
                "{}: spec.enforcementAction is '{other}'; deny, warn and dryrun can be imported",
                self.file
            )),
        }
    }

    /// `spec.match`.
    fn matches(&self) -> Result<Value, Vec<String>> {
        let empty = Map::new();
        let written = self.spec["match"].as_object().unwrap_or(&empty);
        let mut wrong = Vec::new();
        let mut refuse =
            |field: &str, why: &str| wrong.push(format!("{}: spec.match.{field} {why}", self.file));
        let mut resources = Vec::new();
        let mut selector = Map::new();
        let mut expressions = Vec::new();
        for (key, value) in written {
            match key.as_str() {
                "kinds" => {
                    for it in value.as_array().into_iter().flatten() {
                        if has_wildcard(&it["apiGroups"]) || has_wildcard(&it["kinds"]) {
                            refuse(
                                "kinds",
                                "has a '*'; a TenantPolicy names groups and kinds: write them out",
                            );
                        }
                        resources.push(json!({"groups": it["apiGroups"], "kinds": it["kinds"]}));
                    }
                }
                "namespaceSelector" => {
                    let members = value.as_object().cloned().unwrap_or_default();
                    for it in members
                        .get("matchExpressions")
                        .and_then(Value::as_array)
                        .into_iter()
                        .flatten()
                    {
                        expressions.push(it.clone());
                    }
                    selector.extend(members);
                }
                "namespaces" | "excludedNamespaces" => {
                    if has_wildcard(value) {
                        refuse(
                            key,
                            "has a '*'; choose the namespaces by a label, in namespaceSelector",
                        );
                    }
                    let operator = if key == "namespaces" { "In" } else { "NotIn" };
                    expressions.push(json!({
                        "key": "kubernetes.io/metadata.name", "operator": operator, "values": value,
                    }));
                }
                "scope" if value == "Cluster" => {
                    refuse(
                        "scope",
                        "is Cluster; TenantPolicies judge what is in tenants' namespaces",
                    );
                }
                "scope" => {}
                other => refuse(other, "can't be said in a TenantPolicy; ask for it in the Rego"),
            }
        }
        if resources.is_empty() {
            refuse(
                "kinds",
                "is missing; a TenantPolicy names the kinds that it judges: write them down",
            );
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let mut matches = json!({"resources": resources});
        if !expressions.is_empty() {
            selector.insert("matchExpressions".to_owned(), expressions.into());
        }
        if let (Some(matches), false) = (matches.as_object_mut(), selector.is_empty()) {
            matches.insert("namespaceSelector".to_owned(), selector.into());
        }
        Ok(matches)
    }
}

fn has_wildcard(list: &Value) -> bool {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).any(|it| it.contains('*'))
}
