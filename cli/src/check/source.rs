//! Paths become texts: files, folders and the standard input, each problem one message.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::check::document::{RENDER, Unread};
use crate::check::node::Position;

/// The largest text that is read: a hundred times what an API server stores in one object.
const MAX_BYTES: u64 = 128 << 20;

/// How the standard input is named.
const STDIN: &str = "stdin";

/// What is said of a text or folder that nothing can be judged of.
pub const NO_OBJECT: &str = "no object in it";

const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// One text to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The standard input.
    Stdin,
    /// A file that was named.
    File(PathBuf),
    /// A file that was found in a folder.
    Found(PathBuf),
}

/// What the paths on the command line stand for.
#[derive(Debug, Default)]
pub struct Inputs {
    /// What to read, in order, nothing twice.
    pub inputs: Vec<Input>,
    /// What can't be read.
    pub unread: Vec<Unread>,
    /// What is left out on purpose.
    pub notes: Vec<String>,
    seen: BTreeSet<PathBuf>,
}

impl Inputs {
    /// Finds what the paths stand for; `-` is the standard input.
    pub fn find(paths: &[PathBuf]) -> Self {
        let mut found = Self::default();
        for path in paths {
            if path.as_os_str() == "-" {
                if !found.inputs.contains(&Input::Stdin) {
                    found.inputs.push(Input::Stdin);
                }
                continue;
            }
            match fs::metadata(path) {
                Err(error) => found.unread.push(Unread::new(&show(path), reason(&error))),
                Ok(it) if it.is_dir() => {
                    let before = (found.inputs.len(), found.unread.len());
                    found.folder(path);
                    if before == (found.inputs.len(), found.unread.len()) {
                        let message = "a folder without manifests (*.yaml, *.yml, *.json)";
                        found.unread.push(Unread::new(&show(path), message));
                    }
                }
                Ok(_) => found.add(path, Input::File(path.clone())),
            }
        }
        found
    }

    /// Adds a file, once. A pipe has no other name, so it is taken as it is.
    fn add(&mut self, path: &Path, input: Input) {
        let canonical = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if self.seen.insert(canonical) {
            self.inputs.push(input);
        }
    }

    fn folder(&mut self, folder: &Path) {
        let canonical = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        if !self.seen.insert(canonical) {
            return;
        }
        if folder.join("Chart.yaml").is_file() {
            let chart = Unread::new(&show(folder), "a Helm chart, whose templates are no manifests");
            self.unread.push(chart.fix(RENDER));
            return;
        }
        let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                self.unread.push(Unread::new(&show(folder), reason(&error)));
                return;
            }
        };
        let mut paths: Vec<PathBuf> = entries.into_iter().map(|it| it.path()).collect();
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !name.starts_with('.') {
                self.entry(&path);
            }
        }
    }

    fn entry(&mut self, path: &Path) {
        let is_manifest = path
            .extension()
            .and_then(|it| it.to_str())
            .is_some_and(|it| EXTENSIONS.contains(&it.to_ascii_lowercase().as_str()));
        match fs::metadata(path) {
            Ok(it) if it.is_dir() => self.folder(path),
            Ok(it) if it.is_file() && is_kustomization(path) => {
                let folder = path.parent().map(show).unwrap_or_default();
                self.notes.push(format!(
                    "{} is left out; to check what it makes: kustomize build {folder} | bailiwick check -f -",
                    show(path)
                ));
            }
            Ok(it) if it.is_file() && is_manifest => self.add(path, Input::Found(path.to_owned())),
            Err(error) if is_manifest => self.unread.push(Unread::new(&show(path), reason(&error))),
            _ => {}
        }
    }
}

fn is_kustomization(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|it| it == "kustomization.yaml" || it == "kustomization.yml" || it == "Kustomization")
}

impl Input {
    /// Its name, as messages show it.
    pub fn name(&self) -> String {
        match self {
            Self::Stdin => STDIN.to_owned(),
            Self::File(path) | Self::Found(path) => show(path),
        }
    }

    /// Whether it was named, so that an empty one is worth a message.
    pub fn is_named(&self) -> bool {
        !matches!(self, Self::Found(_))
    }

    /// Reads it.
    ///
    /// # Errors
    /// When there is no text to be had from it.
    pub fn read(&self, stdin: &mut dyn Read) -> Result<String, Unread> {
        let name = self.name();
        let mut bytes = Vec::new();
        let read = match self {
            Self::Stdin => stdin.take(MAX_BYTES + 1).read_to_end(&mut bytes),
            Self::File(path) | Self::Found(path) => {
                File::open(path).and_then(|it| it.take(MAX_BYTES + 1).read_to_end(&mut bytes))
            }
        };
        read.map_err(|error| Unread::new(&name, reason(&error)))?;
        if bytes.len() as u64 > MAX_BYTES {
            let message = format!("larger than {} MiB", MAX_BYTES >> 20);
            return Err(Unread::new(&name, message).fix("split it"));
        }
        text(&name, bytes)
    }
}

/// The bytes as text, without a byte order mark.
fn text(name: &str, bytes: Vec<u8>) -> Result<String, Unread> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        let unread = Unread::new(name, "UTF-16, where UTF-8 is expected");
        return Err(unread.fix(format!("convert it: iconv -f UTF-16 -t UTF-8 {name}")));
    }
    if bytes.contains(&0) {
        return Err(Unread::new(name, "a binary file, not a manifest"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let before = String::from_utf8_lossy(before);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Unread::new(name, "not UTF-8").at(Position {
            line: before.matches('\n').count() as u64 + 1,
            column: line.chars().count() as u64 + 1,
        })
    })?;
    match text.strip_prefix('\u{feff}') {
        Some(rest) => Ok(rest.to_owned()),
        None => Ok(text),
    }
}

/// A path as it was written, without a leading `./`.
pub fn show(path: &Path) -> String {
    let text = path.strip_prefix(".").unwrap_or(path).display().to_string();
    if text.is_empty() { ".".to_owned() } else { text }
}

/// What went wrong, in words and without the number of the operating system's error.
pub fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or folder".to_owned(),
        io::ErrorKind::PermissionDenied => "no permission to read it".to_owned(),
        _ => error.to_string(),
    }
}
