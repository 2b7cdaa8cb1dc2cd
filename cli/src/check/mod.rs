//! `bailiwick check`: manifests become verdicts, without a cluster.

pub mod block;
pub mod cluster;
pub mod document;
pub mod doubt;
pub mod judge;
pub mod kinds;
pub mod manifest;
pub mod node;
pub mod notes;
pub mod path;
pub mod policies;
pub mod request;
pub mod schema;
pub mod source;
pub mod stack;
pub mod suggest;
pub mod whatif;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bailiwick_core::config::Config;
use bailiwick_core::policy::Moment;

use crate::check::cluster::Cluster;
use crate::check::document::Unread;
use crate::check::doubt::Doubt;
use crate::check::judge::{Judgement, Placed, judge};
use crate::check::manifest::{Manifest, manifests};
use crate::check::policies::Written;
use crate::check::source::Inputs;
use crate::check::stack::with_stack;

/// What is checked, and against what.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Files, folders, `-` for the standard input.
    pub paths: Vec<PathBuf>,
    /// The namespace of objects that say none.
    pub namespace: Option<String>,
    /// The configuration of the cluster.
    pub config: Config,
    /// The time, in Unix seconds: exceptions of policies end.
    pub now: i64,
}

/// What came out.
#[derive(Debug, Default)]
pub struct Report {
    /// How many texts were read.
    pub files: usize,
    /// How many Tenants were known.
    pub tenants: usize,
    /// How many policies judged.
    pub policies: usize,
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
        } else if self.manifest.judged.is_some() || !self.judgement.policies.is_empty() {
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

    /// How many findings of some sort there are.
    pub fn said(&self, sort: impl Fn(&Judgement) -> &Vec<Placed>) -> usize {
        self.objects.iter().map(|it| sort(&it.judgement).len()).sum()
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
    let (reading, notes) = read(options, stdin);
    let mut report = reading.judge(&options.config, options.now);
    report.notes.extend(notes);
    report
}

/// Reads what the options name, with what was left out on purpose.
pub(crate) fn read<'a>(options: &'a Options, stdin: &mut dyn Read) -> (Reading<'a>, Vec<String>) {
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
    (reading, found.notes)
}

/// Checks texts, each with its name, at a time when no exception holds any more.
pub fn check_texts(texts: &[(&str, &str)], namespace: Option<&str>, config: &Config) -> Report {
    check_texts_at(texts, namespace, config, i64::MAX)
}

/// Checks texts, each with its name, at a time in Unix seconds.
pub fn check_texts_at(texts: &[(&str, &str)], namespace: Option<&str>, config: &Config, now: i64) -> Report {
    let mut reading = Reading {
        namespace,
        ..Reading::default()
    };
    for (name, text) in texts {
        reading.text(name, text, true);
    }
    reading.judge(config, now)
}

/// What was read.
#[derive(Default)]
pub(crate) struct Reading<'a> {
    namespace: Option<&'a str>,
    files: usize,
    pub(crate) manifests: Vec<Manifest>,
    pub(crate) unread: Vec<Unread>,
}

impl Reading<'_> {
    fn text(&mut self, name: &str, text: &str, is_named: bool) {
        let file: Arc<str> = name.into();
        let mut whole: Option<Arc<str>> = None;
        let (documents, unread) = document::read(name, text);
        if is_named && documents.is_empty() && unread.is_empty() {
            self.unread.push(Unread::new(name, source::NO_OBJECT));
        }
        self.files += 1;
        self.unread.extend(unread);
        for document in documents {
            let mut found = manifests(&file, document, self.namespace, &mut self.unread);
            for policy in found.iter_mut().filter(|it| policies::is_policy(it)) {
                policy.text = Some(Arc::clone(whole.get_or_insert_with(|| text.into())));
            }
            self.manifests.extend(found);
        }
    }

    /// Judges all that was read. What decides by policies needs more stack than a thread usually has.
    fn judge(self, config: &Config, now: i64) -> Report {
        let (files, namespace) = (self.files, self.namespace.map(str::to_owned));
        let manifests = self.manifests;
        let judged = with_stack(move || judged(manifests, namespace.as_deref(), config, now));
        let mut report = judged.unwrap_or_else(|failure| Report {
            unread: vec![Unread::new("bailiwick", failure)],
            ..Report::default()
        });
        report.files = files;
        report.unread.splice(0..0, self.unread);
        report
    }
}

/// How long all policies together may take for one object. There is no API server that waits.
const BUDGET: Duration = Duration::from_mins(1);

/// The moment of a decision that no API server waits for.
pub(crate) fn moment(now: i64) -> Moment {
    Moment {
        now,
        budget: BUDGET,
        ..Moment::default()
    }
}

/// What a policy judges is in a namespace; the default one where it says none.
pub(crate) fn in_default_namespace(manifest: &mut Manifest, cluster: &Cluster, namespace: Option<&str>) {
    if manifest.id.namespace.is_none() && manifest.judged.is_none() && cluster.takes(&manifest.id) {
        manifest.id.namespace = namespace.map(str::to_owned);
    }
}

fn judged(mut manifests: Vec<Manifest>, namespace: Option<&str>, config: &Config, now: i64) -> Report {
    let written = Written::of(&manifests);
    let cluster = Cluster::of(&manifests, written.served, config);
    let notes = notes::without_consent(&manifests, &cluster);
    let moment = moment(now);
    let mut first = BTreeMap::new();
    let mut objects = Vec::new();
    for (i, mut manifest) in manifests.drain(..).enumerate() {
        in_default_namespace(&mut manifest, &cluster, namespace);
        let wrong = written.wrong.get(&i).map(Vec::as_slice).unwrap_or_default();
        let mut judgement = judge(&manifest, &cluster, wrong, &moment);
        if let Some(place) = duplicate_of(&manifest, &mut first) {
            judgement.doubts.push(Doubt::Duplicate(place));
        }
        manifest.root = None;
        manifest.text = None;
        objects.push(Checked { manifest, judgement });
    }
    Report {
        tenants: cluster.snapshot.tenants.by_name.len(),
        policies: cluster.snapshot.policies.all().len(),
        objects,
        notes: [written.notes, notes].concat(),
        ..Report::default()
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
