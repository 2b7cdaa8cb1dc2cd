//! The TenantPolicies of the files: each is tried out as the operator tries it, and those that are good judge all
//! objects.

mod shape;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bailiwick_core::finding::Finding;
use bailiwick_core::policy::trial::{finding, try_out};
use bailiwick_core::policy::{Active, Content, Revision, Served, StoredRevision};
use bailiwick_crds::v1alpha1::{PolicyError, RolloutMode, TenantPolicySpec};

use crate::check::block::Block;
use crate::check::cluster::to_json;
use crate::check::judge::{Placed, merge_shape};
use crate::check::kinds;
use crate::check::manifest::Manifest;
use crate::check::node::{Node, Position};
use crate::check::path;
use crate::check::schema::KindSchema;

/// The shortest limit of one evaluation here, in milliseconds. How long the cluster takes is told by the cluster: the
/// verdict must not depend on the machine that asks for it.
const LIMIT: i32 = 10_000;

/// The policies of the files.
#[derive(Debug, Default)]
pub struct Written {
    /// What is wrong with those that are no good, by the number of the manifest.
    pub wrong: BTreeMap<usize, Vec<Placed>>,
    /// The others, as if they were active.
    pub served: Vec<Arc<Served>>,
    /// Where the cluster may decide by something else.
    pub notes: Vec<String>,
}

/// Whether a manifest is a policy.
pub fn is_policy(manifest: &Manifest) -> bool {
    manifest.id.group == kinds::BAILIWICK && manifest.id.kind == "TenantPolicy"
}

impl Written {
    /// Tries all policies out, on a thread with [`bailiwick_core::rego::STACK`].
    pub fn of(manifests: &[Manifest]) -> Self {
        let mut written = Self::default();
        let mut names = BTreeSet::new();
        for (i, manifest) in manifests.iter().enumerate().filter(|(_, it)| is_policy(it)) {
            match tried(manifest) {
                Err(wrong) => {
                    written.wrong.insert(i, wrong);
                }
                // Of two with one name the first counts; that there are two is said at the second.
                Ok((spec, served)) if names.insert(manifest.id.name.as_str()) => {
                    written.notes.extend(waits(manifest, &spec));
                    written.served.push(Arc::new(served));
                }
                Ok(_) => {}
            }
        }
        written
    }
}

/// Why the cluster would not decide by what is written.
fn waits(manifest: &Manifest, spec: &TenantPolicySpec) -> Option<String> {
    let name = &manifest.id.name;
    let why = match (&spec.revision, &spec.rollout) {
        (Some(revision), _) => format!("the cluster decides by its revision {revision} (spec.revision)"),
        (None, Some(it)) if it.mode != RolloutMode::All => format!(
            "where the cluster has an active revision, that decides as far as the rollout says ({:?})",
            it.mode
        ),
        _ => return None,
    };
    let place = format!("{}:{}", manifest.file, manifest.at.line);
    Some(format!(
        "{place}: TenantPolicy '{name}' judges here as it is written; {why}"
    ))
}

/// A policy that is ready to judge, or all that is wrong with it.
fn tried(manifest: &Manifest) -> Result<(TenantPolicySpec, Served), Vec<Placed>> {
    let Some(root) = &manifest.root else {
        return Err(Vec::new());
    };
    let mut found: Vec<Placed> = KindSchema::policy()
        .check(root)
        .into_iter()
        .chain(shape::name(&manifest.id.name))
        .map(|it| placed(root, it))
        .collect();
    let spec = match read(manifest) {
        Ok(spec) => spec,
        Err(wrong) => {
            // The schema says it better, where it says something.
            if found.is_empty() {
                found.push(placed(root, wrong));
            }
            return Err(found);
        }
    };
    let mut wrong: Vec<Finding> = shape::rules(&spec);
    let content = match Content::of(&spec) {
        Err(errors) => {
            let known = std::mem::take(&mut wrong);
            wrong = errors.iter().map(finding).collect();
            merge_shape(&mut wrong, known);
            None
        }
        Ok(content) => Some(content),
    };
    let known: BTreeSet<String> = found.iter().map(|it| it.finding.field.clone()).collect();
    let new = wrong.into_iter().filter(|it| !known.contains(&it.field));
    found.extend(new.map(|it| placed(root, it)));
    let Some(content) = content.filter(|_| found.is_empty()) else {
        return Err(sorted(found));
    };
    let place =
        |errors: &[PolicyError]| sorted(errors.iter().map(|it| in_block(manifest, root, it)).collect());
    try_out(&content).map_err(|it| place(it.errors()))?;
    let mut stored = StoredRevision::new(&manifest.id.name, "", content);
    stored.content.evaluation_milliseconds = stored.content.evaluation_milliseconds.max(LIMIT);
    let revision = Revision::compile(stored).map_err(|it| place(&it))?;
    let served = Served {
        policy: manifest.id.name.clone(),
        active: Some(Active::Loaded(Arc::new(revision))),
        candidate: None,
        approved_by: BTreeMap::new(),
    };
    Ok((spec, served))
}

fn sorted(mut found: Vec<Placed>) -> Vec<Placed> {
    found.sort_by_key(|it| it.at);
    found
}

/// The spec, as the API server takes it.
fn read(manifest: &Manifest) -> Result<TenantPolicySpec, Finding> {
    let json = to_json(manifest);
    let spec = json.get("spec").cloned().unwrap_or_default();
    let read = serde_path_to_error::deserialize::<_, TenantPolicySpec>(spec);
    read.map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." {
            "spec".to_owned()
        } else {
            format!("spec.{path}")
        };
        finding(&PolicyError {
            field,
            message: error.into_inner().to_string(),
            ..PolicyError::default()
        })
    })
}

fn placed(root: &Node, finding: Finding) -> Placed {
    Placed {
        at: path::locate(root, &finding.field, ""),
        finding,
    }
}

/// An error in a source, at its line of the file.
fn in_block(manifest: &Manifest, root: &Node, error: &PolicyError) -> Placed {
    let mut placed = placed(root, finding(error));
    let line = error.line.and_then(|it| u64::try_from(it).ok());
    let column = error.column.and_then(|it| u64::try_from(it).ok());
    if let Some(at) = line.and_then(|line| at_line(manifest, root, &error.field, line, column.unwrap_or(1))) {
        placed.at = at;
    }
    placed
}

/// Where a line of a source stands in its file.
pub fn at_line(manifest: &Manifest, root: &Node, field: &str, line: u64, column: u64) -> Option<Position> {
    let block = Block::of(manifest.text.as_deref()?, path::at(root, field))?;
    Some(block.place(line, column))
}

/// The sources of the policies by policy and field, each with where its lines stand.
#[derive(Clone, Debug, Default)]
pub struct Sources(BTreeMap<(String, String), (Arc<str>, Block)>);

impl Sources {
    /// Finds them.
    pub fn of(manifests: &[Manifest]) -> Self {
        let mut sources = BTreeMap::new();
        for manifest in manifests.iter().filter(|it| is_policy(it)) {
            let (Some(root), Some(text)) = (&manifest.root, &manifest.text) else {
                continue;
            };
            let libs = root
                .at_path(&["spec", "libs"])
                .map(Node::items)
                .unwrap_or_default();
            let fields = (0..libs.len()).map(|i| format!("spec.libs[{i}]"));
            for field in fields.chain(["spec.rego".to_owned()]) {
                if let Some(block) = Block::of(text, path::at(root, &field)) {
                    let key = (manifest.id.name.clone(), field);
                    sources
                        .entry(key)
                        .or_insert_with(|| (Arc::clone(&manifest.file), block));
                }
            }
        }
        Self(sources)
    }

    /// `file:line` of a line of a source; as the engine names it where it is in no file.
    pub fn place(&self, policy: &str, field: &str, line: u32) -> String {
        match self.0.get(&(policy.to_owned(), field.to_owned())) {
            Some((file, block)) => format!("{file}:{}", block.place(line.into(), 1).line),
            None => format!("{field}:{line}"),
        }
    }
}
