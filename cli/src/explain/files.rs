//! Manifests of files, explained.

use std::io::Read;

use bailiwick_core::policy::explain::explain as explained;

use super::{Explained, Part, Report};
use crate::check::cluster::Cluster;
use crate::check::document::Unread;
use crate::check::judge::judge;
use crate::check::manifest::{Id, Manifest};
use crate::check::policies::{Sources, Written};
use crate::check::request::requests;
use crate::check::stack::with_stack;
use crate::check::{Options, Verdict, in_default_namespace, kinds, moment, read};

/// An object that is asked about: its kind and its name, in the options' namespace where they say one.
pub type Asked = Option<(String, String)>;

/// Explains what the options name.
pub fn explain(options: &Options, asked: &Asked, stdin: &mut dyn Read) -> Report {
    let (reading, _) = read(options, stdin);
    let (manifests, unread) = (reading.manifests, reading.unread);
    let made = with_stack(move || all(manifests, options, asked));
    let mut report = made.unwrap_or_else(|failure| Report {
        unread: vec![Unread::new("bailiwick", failure)],
        ..Report::default()
    });
    report.unread.splice(0..0, unread);
    report
}

fn all(mut manifests: Vec<Manifest>, options: &Options, asked: &Asked) -> Report {
    let sources = Sources::of(&manifests);
    let written = Written::of(&manifests);
    let cluster = Cluster::of(&manifests, written.served, &options.config);
    let moment = moment(options.now);
    let mut objects = Vec::new();
    for (i, mut manifest) in manifests.drain(..).enumerate() {
        in_default_namespace(&mut manifest, &cluster, options.namespace.as_deref());
        let is_meant = match asked {
            Some((kind, name)) => is_asked(&manifest.id, kind, name, options.namespace.as_deref()),
            None => true,
        };
        if !is_meant {
            continue;
        }
        let wrong = written.wrong.get(&i).map(Vec::as_slice).unwrap_or_default();
        let judgement = judge(&manifest, &cluster, wrong, &moment);
        let mut parts = Vec::new();
        if manifest.id.namespace.is_some() {
            for request in requests(&manifest, &cluster) {
                let admission = request.admission();
                parts.push(Part {
                    kind: admission.kind.kind.to_string(),
                    prefix: request.prefix.clone(),
                    considered: explained(&cluster.snapshot, &admission, &moment),
                });
            }
        }
        let built_in = judgement.findings.iter().map(|it| &it.finding);
        let explained = Explained {
            place: Some(format!("{}:{}", manifest.file, manifest.at.line)),
            tenant: judgement.tenant.clone(),
            verdict: verdict(&manifest, &judgement),
            built_in: built_in.filter(|it| it.source.is_none()).cloned().collect(),
            doubts: judgement
                .doubts
                .iter()
                .map(crate::check::doubt::Doubt::message)
                .collect(),
            id: manifest.id.clone(),
            parts,
        };
        // What only describes the cluster is worth no word while nothing is wrong with it.
        let is_context = manifest.id.group == kinds::BAILIWICK || manifest.id.namespace.is_none();
        if asked.is_some() || !is_context || explained.verdict == Verdict::Denied {
            objects.push(explained);
        }
    }
    Report {
        objects,
        sources,
        unread: Vec::new(),
    }
}

fn verdict(manifest: &Manifest, judgement: &crate::check::judge::Judgement) -> Verdict {
    if !judgement.findings.is_empty() {
        Verdict::Denied
    } else if !judgement.doubts.is_empty() {
        Verdict::CannotTell
    } else if manifest.judged.is_some() || !judgement.policies.is_empty() {
        Verdict::Clean
    } else {
        Verdict::NotJudged
    }
}

/// Whether an object is the one that is asked about; its kind as people write it: `Service`, `service`, `services`.
fn is_asked(id: &Id, kind: &str, name: &str, namespace: Option<&str>) -> bool {
    let kind = kind.to_lowercase();
    let (kind, group) = kind.split_once('.').unwrap_or((&kind, &id.group));
    let is_kind = kind == id.kind.to_lowercase() || kind == kinds::resource(&id.kind);
    is_kind
        && group == id.group
        && name == id.name
        && (namespace.is_none() || id.namespace.is_none() || id.namespace.as_deref() == namespace)
}
