//! `bailiwick check`: manifests become verdicts, without a cluster.

pub mod cluster;
pub mod document;
pub mod doubt;
pub mod judge;
pub mod kinds;
pub mod manifest;
pub mod node;
pub mod notes;
pub mod path;
pub mod request;
pub mod schema;
pub mod source;
pub mod suggest;
pub mod whatif;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::rc::Rc;

use bailiwick_core::config::Config;

use crate::check::cluster::Cluster;
use crate::check::document::Unread;
use crate::check::doubt::Doubt;
use crate::check::judge::{Judgement, judge};
use crate::check::manifest::{Manifest, manifests};
use crate::check::schema::TenantSchema;
use crate::check::source::Inputs;

/// What is checked, and against what.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Files, folders, `-` for the standard input.
    pub paths: Vec<PathBuf>,
    /// The namespace of objects that say none.
    pub namespace: Option<String>,
    /// The configuration of the cluster.
    pub config: Config,
}

/// What came out.
#[derive(Debug, Default)]
pub struct Report {
    /// How many texts were read.
    pub files: usize,
    /// How many Tenants were known.
    pub tenants: usize,
    /// Every object, in the order of the files.
    pub objects: Vec<Checked>,
    /// What could not be read.
    pub unread: Vec<Unread>,
    /// What was left out on purpose, and other advice.
    pub notes: Vec<String>,
}

/// One object and what came out for it.
#[derive(Debug)]
pub struct Checked {
    /// The object; its content is not kept.
    pub manifest: Manifest,
    /// What came out.
    pub judgement: Judgement,
}

/// The verdict about one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The cluster would refuse it.
    Denied,
    /// Something has to be known first.
    CannotTell,
    /// The cluster would accept it, as far as Bailiwick's rules go.
    Clean,
    /// No rule decides its kind.
    NotJudged,
}

impl Checked {
    /// The verdict. What is certain outweighs what is not.
    pub fn verdict(&self) -> Verdict {
        if !self.judgement.findings.is_empty() {
            Verdict::Denied
        } else if !self.judgement.doubts.is_empty() {
            Verdict::CannotTell
        } else if self.manifest.judged.is_some() {
            Verdict::Clean
        } else {
            Verdict::NotJudged
        }
    }
}

impl Report {
    /// How many objects got a verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.objects.iter().filter(|it| it.verdict() == verdict).count()
    }

    /// 0 clean, 1 denied, 2 can't tell or could not read. A denial is certain, so it outweighs what is not known.
    pub fn exit_code(&self) -> u8 {
        if self.count(Verdict::Denied) > 0 {
            1
        } else if self.count(Verdict::CannotTell) > 0 || !self.unread.is_empty() {
            2
        } else {
            0
        }
    }
}

/// Checks what the options name.
pub fn check(options: &Options, stdin: &mut dyn Read) -> Report {
    let found = Inputs::find(&options.paths);
    let mut reading = Reading {
        namespace: options.namespace.as_deref(),
        unread: found.unread,
        ..Reading::default()
    };
    for input in found.inputs {
        match input.read(stdin) {
            Ok(text) => reading.text(&input.name(), &text, input.is_named()),
            Err(unread) => reading.unread.push(unread),
        }
    }
    if reading.manifests.is_empty() && reading.unread.is_empty() {
        let empty = options
            .paths
            .iter()
            .map(|it| Unread::new(&source::show(it), source::NO_OBJECT));
        reading.unread.extend(empty);
    }
    let mut report = reading.judge(&options.config);
    report.notes.extend(found.notes);
    report
}

/// Checks texts, each with its name.
pub fn check_texts(texts: &[(&str, &str)], namespace: Option<&str>, config: &Config) -> Report {
    let mut reading = Reading {
        namespace,
        ..Reading::default()
    };
    for (name, text) in texts {
        reading.text(name, text, true);
    }
    reading.judge(config)
}

#[derive(Default)]
struct Reading<'a> {
    namespace: Option<&'a str>,
    files: usize,
    manifests: Vec<Manifest>,
    unread: Vec<Unread>,
}

impl Reading<'_> {
    fn text(&mut self, name: &str, text: &str, is_named: bool) {
        let file: Rc<str> = name.into();
        let (documents, unread) = document::read(name, text);
        if is_named && documents.is_empty() && unread.is_empty() {
            self.unread.push(Unread::new(name, source::NO_OBJECT));
        }
        self.files += 1;
        self.unread.extend(unread);
        for document in documents {
            let found = manifests(&file, document, self.namespace, &mut self.unread);
            self.manifests.extend(found);
        }
    }

    fn judge(self, config: &Config) -> Report {
        let cluster = Cluster::of(&self.manifests, config);
        let schema = TenantSchema::of_this_version();
        let notes = notes::without_consent(&self.manifests, &cluster);
        let mut first = BTreeMap::new();
        let mut objects = Vec::new();
        for mut manifest in self.manifests {
            let mut judgement = judge(&manifest, &cluster, schema);
            if let Some(place) = duplicate_of(&manifest, &mut first) {
                judgement.doubts.push(Doubt::Duplicate(place));
            }
            manifest.root = None;
            objects.push(Checked { manifest, judgement });
        }
        Report {
            files: self.files,
            tenants: cluster.snapshot.tenants.by_name.len(),
            objects,
            unread: self.unread,
            notes,
        }
    }
}

type Name = (String, String, Option<String>, String);

/// Where the same object stands, if it is not the first of its name.
fn duplicate_of(manifest: &Manifest, first: &mut BTreeMap<Name, String>) -> Option<String> {
    let id = &manifest.id;
    if !id.is_exact() {
        return None;
    }
    let name = (
        id.group.clone(),
        id.kind.clone(),
        id.namespace.clone(),
        id.name.clone(),
    );
    if let Some(place) = first.get(&name) {
        return Some(place.clone());
    }
    first.insert(name, format!("{}:{}", manifest.file, manifest.at.line));
    None
}
