//! Paths become policies: a folder of Rego files, a file, a ConstraintTemplate of Gatekeeper.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use bailiwick_core::rego::{Language, Source};
use serde::Deserialize;

use crate::check::document::Unread;
use crate::check::source::reason;

/// A policy with its tests.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The folder, file or ConstraintTemplate.
    pub name: String,
    /// Its dialect.
    pub language: Language,
    /// The policy, then what it imports and what tests it.
    pub sources: Vec<Source>,
}

/// What the paths stand for.
#[derive(Debug, Default)]
pub struct Found {
    /// Policies, in order.
    pub suites: Vec<Suite>,
    /// What can't be read.
    pub unread: Vec<Unread>,
}

/// Finds policies. In a folder all Rego files are one policy; folders within it are others.
pub fn find(paths: &[PathBuf], language: Language) -> Found {
    let mut found = Found::default();
    for path in paths {
        let before = found.suites.len() + found.unread.len();
        found.path(path, language, true);
        if found.suites.len() + found.unread.len() == before {
            let message = "no policy in it (*.rego, or a ConstraintTemplate in *.yaml, *.yml or *.json)";
            found
                .unread
                .push(Unread::new(&path.display().to_string(), message));
        }
    }
    found
}

/// Whether a file holds tests only, as `opa test` names them.
pub fn is_test_file(name: &str) -> bool {
    name.ends_with("_test.rego")
}

impl Found {
    fn path(&mut self, path: &Path, language: Language, is_named: bool) {
        let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
        match fs::metadata(path) {
            Err(error) => self.cannot(path, &reason(&error)),
            Ok(it) if it.is_dir() => self.folder(path, language),
            Ok(_) if extension == "rego" => self.policy(path, &[path.to_owned()], language),
            Ok(_) if ["yaml", "yml", "json"].contains(&extension) => self.template(path, is_named),
            Ok(_) if is_named => self.cannot(path, "neither Rego nor YAML nor JSON by its name"),
            Ok(_) => {}
        }
    }

    fn folder(&mut self, folder: &Path, language: Language) {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.cannot(folder, &reason(&error)),
        };
        let mut paths: Vec<PathBuf> = entries.filter_map(|it| Some(it.ok()?.path())).collect();
        paths.retain(|it| {
            !it.file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .starts_with('.')
        });
        paths.sort_by_key(|it| (is_test_file(&it.display().to_string()), it.clone()));
        let (rego, others): (Vec<_>, Vec<_>) = paths
            .into_iter()
            .partition(|it| it.extension().is_some_and(|it| it == "rego") && it.is_file());
        if !rego.is_empty() {
            self.policy(folder, &rego, language);
        }
        for path in others {
            self.path(&path, language, false);
        }
    }

    fn policy(&mut self, path: &Path, files: &[PathBuf], language: Language) {
        let mut sources = Vec::new();
        for file in files {
            match fs::read_to_string(file) {
                Ok(text) => sources.push(Source::new(file.display().to_string(), text)),
                Err(error) => return self.cannot(file, &reason(&error)),
            }
        }
        let name = path.display().to_string();
        self.suites.push(Suite {
            name,
            language,
            sources,
        });
    }

    fn template(&mut self, path: &Path, is_named: bool) {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.cannot(path, &reason(&error)),
        };
        if !text.contains("ConstraintTemplate") {
            if is_named {
                self.cannot(path, "no ConstraintTemplate in it");
            }
            return;
        }
        let name = path.display().to_string();
        match ConstraintTemplate::read(&text) {
            Ok(template) => self.suites.extend(template.suites(&name)),
            Err(error) => self.cannot(path, &format!("not a ConstraintTemplate: {error}")),
        }
    }

    fn cannot(&mut self, path: &Path, message: &str) {
        self.unread
            .push(Unread::new(&path.display().to_string(), message));
    }
}

/// Gatekeeper's policy object, as far as Rego goes.
#[derive(Debug, Deserialize)]
struct ConstraintTemplate {
    kind: String,
    spec: TemplateSpec,
}

#[derive(Debug, Deserialize)]
struct TemplateSpec {
    #[serde(default)]
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    #[serde(default)]
    rego: String,
    #[serde(default)]
    libs: Vec<String>,
    #[serde(default)]
    code: Vec<Code>,
}

#[derive(Debug, Deserialize)]
struct Code {
    engine: String,
    source: CodeSource,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CodeSource {
    rego: String,
    libs: Vec<String>,
    version: Option<String>,
}

impl ConstraintTemplate {
    fn read(text: &str) -> Result<Self, String> {
        let template: Self = serde_saphyr::from_str(text).map_err(|it| it.to_string())?;
        if template.kind == "ConstraintTemplate" {
            Ok(template)
        } else {
            Err(format!("its kind is {}", template.kind))
        }
    }

    fn suites(self, name: &str) -> Vec<Suite> {
        let mut suites = Vec::new();
        for target in self.spec.targets {
            let code = target
                .code
                .into_iter()
                .filter(|it| it.engine == "Rego")
                .map(|it| it.source);
            let old = CodeSource {
                rego: target.rego,
                libs: target.libs,
                version: None,
            };
            for code in code.chain([old]).filter(|it| !it.rego.is_empty()) {
                let is_v1 = code.version.as_deref() == Some("v1");
                let policy = Source::new(format!("{name}#rego"), code.rego);
                let libs = code.libs.into_iter().enumerate();
                let libs = libs.map(|(index, text)| Source::new(format!("{name}#libs[{index}]"), text));
                suites.push(Suite {
                    name: name.to_owned(),
                    language: if is_v1 { Language::V1 } else { Language::V0 },
                    sources: [policy].into_iter().chain(libs).collect(),
                });
            }
        }
        suites
    }
}
