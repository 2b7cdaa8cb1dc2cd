//! Text becomes documents, or what is wrong with it.
//!
//! The text is cut at its `---` lines first, as kubectl does, so that one broken document costs no other.

use serde_saphyr::Error;
use serde_saphyr::options::Options;

use crate::check::node::{Node, Position};

/// Something that could not be read, so that nothing was decided about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The file, as it was named; `stdin` for the standard input.
    pub file: String,
    /// Where in the file.
    pub at: Option<Position>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub fix: Option<String>,
}

impl Unread {
    /// A file that could not be read.
    pub fn new(file: &str, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            at: None,
            message: message.into(),
            fix: None,
        }
    }

    /// The same with its place.
    #[must_use]
    pub fn at(mut self, at: Position) -> Self {
        self.at = Some(at);
        self
    }

    /// The same with what to do.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

/// One document of a file.
#[derive(Debug)]
pub struct Document {
    /// Which one it is; the first is 1.
    pub number: usize,
    /// Its content.
    pub root: Node,
    /// The file it was made from, when a tool left its name.
    pub origin: Option<String>,
}

/// What to do about a template.
pub const RENDER: &str = "render the chart first: helm template CHART | bailiwick check -f -";

/// Nodes of one document, aliases expanded.
const MAX_NODES: usize = 4_000_000;
/// Events that aliases may repeat in one document.
const MAX_REPEATED: usize = 200_000;
/// Levels of one document; the API server's own limit for JSON is far higher, but no manifest comes near this.
const MAX_DEPTH: usize = 128;
/// Enough for that many levels.
const STACK: usize = 32 << 20;

/// Reads all documents of a text.
pub fn read(file: &str, text: &str) -> (Vec<Document>, Vec<Unread>) {
    // The reader calls itself for each level, which is more than a thread's usual stack holds in a debug build.
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new().stack_size(STACK);
        let reader = reader.spawn_scoped(scope, || read_here(file, text));
        match reader.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(read)) => read,
            _ => (Vec::new(), vec![Unread::new(file, "the reader failed")]),
        }
    })
}

fn read_here(file: &str, text: &str) -> (Vec<Document>, Vec<Unread>) {
    let mut documents = Vec::new();
    let mut unread: Vec<Unread> = Vec::new();
    let mut number = 0;
    for (line, chunk) in chunks(text) {
        let parsed: Result<Option<Node>, Error> = serde_saphyr::from_str_with_options(chunk, options());
        match parsed {
            Ok(None) => {}
            Ok(Some(mut root)) => {
                number += 1;
                root.move_down(line);
                documents.push(Document {
                    number,
                    origin: origin(chunk, &root),
                    root,
                });
            }
            Err(error) => {
                number += 1;
                unread.push(explain(file, line, chunk, &error));
            }
        }
    }
    // A template breaks at every second line; one message says it all.
    if let Some(template) = unread.iter().position(|it| it.fix.as_deref() == Some(RENDER)) {
        unread = vec![unread.swap_remove(template)];
    }
    (documents, unread)
}

fn options() -> Options {
    serde_saphyr::options! {
        with_snippet: false,
        emit_comments: false,
        // As kubectl reads numbers and booleans: YAML 1.1.
        legacy_octal_numbers: true,
        budget: serde_saphyr::budget! {
            max_nodes: MAX_NODES,
            max_events: 4 * MAX_NODES,
            max_depth: MAX_DEPTH,
            max_total_scalar_bytes: 1 << 30,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPEATED },
    }
}

/// The pieces between `---` lines, each with the number of lines before it.
fn chunks(text: &str) -> impl Iterator<Item = (u64, &str)> {
    let mut rest = Some((0, text));
    std::iter::from_fn(move || {
        let (line, text) = rest?;
        let (mut end, mut lines) = (0, 0);
        for each in text.split_inclusive('\n') {
            if end > 0 && is_marker(each) {
                break;
            }
            end += each.len();
            lines += 1;
        }
        let (chunk, after) = text.split_at(end);
        rest = (!after.is_empty()).then_some((line + lines, after));
        Some((line, chunk))
    })
    .filter(|(_, chunk)| !is_directives(chunk))
}

fn is_marker(line: &str) -> bool {
    line.strip_prefix("---")
        .is_some_and(|it| it.is_empty() || it.starts_with(char::is_whitespace))
}

/// Whether nothing but `%YAML` and the like stands before the first `---`.
fn is_directives(chunk: &str) -> bool {
    chunk.starts_with('%')
        && chunk
            .lines()
            .all(|it| it.is_empty() || it.starts_with(['%', '#']))
}

/// Helm writes the template's name above what it made of it; kustomize and Flux write an annotation.
fn origin(chunk: &str, root: &Node) -> Option<String> {
    const ANNOTATION: &str = "config.kubernetes.io/origin";
    let comment = chunk
        .lines()
        .take_while(|it| it.is_empty() || it.starts_with('#') || is_marker(it))
        .find_map(|it| it.strip_prefix("# Source: "))
        .map(|it| it.trim().to_owned());
    comment.or_else(|| {
        root.at_path(&["metadata", "annotations", ANNOTATION])?
            .text()?
            .lines()
            .find_map(|it| it.strip_prefix("path: "))
            .map(|it| it.trim().to_owned())
    })
}

fn explain(file: &str, lines: u64, chunk: &str, error: &Error) -> Unread {
    let at = error.location().map(|it| Position {
        line: it.line() + lines,
        column: it.column(),
    });
    let (message, fix) = match error.without_snippet() {
        Error::DuplicateMappingKey { key: Some(key), .. } if key == "apiVersion" || key == "kind" => (
            format!("the key '{key}' is written twice"),
            Some("put a line '---' between two objects"),
        ),
        Error::DuplicateMappingKey { key, .. } => (
            format!("the key {} is written twice", quoted(key.as_deref())),
            Some("remove one of the two"),
        ),
        Error::Budget { .. }
        | Error::AliasError { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => (
            "the document is nested too deeply, too large, or repeats itself too often through aliases"
                .to_owned(),
            Some("split it, or write out what the aliases stand for"),
        ),
        error => {
            let text = error.to_string();
            let text = text.split(" at line ").next().unwrap_or_default();
            (format!("not YAML: {text}"), None)
        }
    };
    let template = is_template(chunk);
    let mut unread = Unread::new(file, if template { TEMPLATE.to_owned() } else { message });
    unread.at = at;
    unread.fix = if template { Some(RENDER) } else { fix }.map(str::to_owned);
    unread
}

const TEMPLATE: &str = "a template, not a manifest";

fn quoted(key: Option<&str>) -> String {
    key.map_or_else(String::new, |it| format!("'{it}'"))
}

/// Whether a text holds Helm's `{{ … }}`, as far as one can tell without rendering it.
pub fn is_template(text: &str) -> bool {
    text.contains("{{") && text.contains("}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a text and shows each document as `line` and each problem as `line:column message`.
    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let (documents, unread) = read("f.yaml", text);
        let documents = documents
            .iter()
            .map(|it| format!("{} at {}", it.number, it.root.at.line));
        let unread = unread.iter().map(|it| {
            let at = it.at.unwrap();
            format!("{}:{} {}", at.line, at.column, it.message)
        });
        assert_eq!(documents.chain(unread).collect::<Vec<_>>(), expected, "{text}");
    }

    #[test]
    fn documents_are_cut_at_their_markers_and_nowhere_else() {
        check("a: 1\n", &["1 at 1"]);
        check("", &[]);
        check("# nothing\n---\n---\n", &[]);
        check("---\n# first\na: 1\n---\n\nb: 2\n", &["1 at 3", "2 at 6"]);
        check("a: 1\r\n---\r\nb: 2\r\n", &["1 at 1", "2 at 3"]);
        check("a: |\n  ---\n  x\nb: \"---\"\n", &["1 at 1"]);
        check("a: |\n  x\n  --- y\n", &["1 at 1"]);
        check("a:\n  b\n  --- c\n", &["1 at 1"]);
        check("--- {a: 1}\n--- # two\nb: 1\n...\n", &["1 at 1", "2 at 3"]);
        check("%YAML 1.2\n---\na: 1\n", &["1 at 3"]);
        check("{\"a\": 1}", &["1 at 1"]);
    }

    #[test]
    fn a_broken_document_costs_no_other() {
        check(
            "a: [\n---\nb: 1\n---\nc: 1\nc: 2\n",
            &[
                "2 at 3",
                "1:4 not YAML: unclosed bracket '['",
                "6:1 the key 'c' is written twice",
            ],
        );
    }

    #[test]
    fn an_alias_bomb_and_a_tower_of_brackets_are_refused() {
        let levels = ["b", "c", "d", "e", "f", "g", "h"];
        let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (previous, level) in ["a"].iter().chain(&levels).zip(&levels) {
            let nine = vec![format!("*{previous}"); 9].join(", ");
            bomb.extend([level, ": &", level, " [", &nine, "]\n"]);
        }
        let message =
            "the document is nested too deeply, too large, or repeats itself too often through aliases";
        for text in [bomb, format!("a: {}1{}", "{a: ".repeat(200), "}".repeat(200))] {
            let (documents, unread) = read("f.yaml", &text);
            assert!(documents.is_empty());
            assert_eq!(unread[0].message, message);
        }
        for text in ["[".repeat(100_000), "a:\n ".repeat(20_000)] {
            assert!(!read("f.yaml", &text).1.is_empty());
        }
        check(
            &format!("a: {}1{}", "{a: ".repeat(100), "}".repeat(100)),
            &["1 at 1"],
        );
        check("a: &a {x: 1}\nb: *a\n", &["1 at 1"]);
    }

    #[test]
    fn the_file_behind_a_pipe_is_found() {
        let origin = |text: &str| read("stdin", text).0.remove(0).origin;
        assert_eq!(origin("a: 1\n"), None);
        assert_eq!(
            origin("---\n# Source: web/templates/web.yaml\na: 1\n").as_deref(),
            Some("web/templates/web.yaml")
        );
        let annotated =
            "metadata:\n  annotations:\n    config.kubernetes.io/origin: |\n      path: base/web.yaml\n";
        assert_eq!(origin(annotated).as_deref(), Some("base/web.yaml"));
    }
}
