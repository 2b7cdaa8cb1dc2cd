//! What a repository can't hold: binary files, other encodings, broken links, pipes, very large files; and anything
//! at all, which ends in a message and never in a panic.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::fs;
use std::io;
use std::path::PathBuf;

use bailiwick_cli::check::{Options, Report, check, check_texts};
use bailiwick_cli::report;
use bailiwick_core::config::Config;
use proptest::prelude::*;

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: default}\n";
const TENANT: &str = "apiVersion: bailiwick.dev/v1alpha1\nkind: Tenant\nmetadata: {name: acme}\n";

fn check_folder(folder: &tempfile::TempDir) -> Report {
    let options = Options {
        paths: vec![folder.path().to_owned()],
        ..Options::default()
    };
    check(&options, &mut io::empty())
}

/// The one message about a file `it.yaml` with this content; the file beside it is judged all the same.
#[track_caller]
fn check_bytes(bytes: &[u8], expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("it.yaml"), bytes).unwrap();
    fs::write(folder.path().join("tenant.yaml"), TENANT).unwrap();
    fs::write(folder.path().join("pod.yaml"), POD).unwrap();
    let found = check_folder(&folder);
    let messages: Vec<String> = found.unread.iter().map(report::unread).collect();
    let prefix = format!("{}/", folder.path().display());
    let messages: Vec<String> = messages.iter().map(|it| it.replace(&prefix, "")).collect();
    assert_eq!(messages.join("\n"), expected);
    let objects = if expected.is_empty() { 3 } else { 2 };
    assert_eq!(found.objects.len(), objects);
    assert_eq!(found.exit_code(), if expected.is_empty() { 0 } else { 2 });
}

#[test]
fn bytes_that_are_no_text() {
    let other = POD.replace("name: p", "name: 'é'");
    check_bytes(other.as_bytes(), "");
    let latin: Vec<u8> = other
        .chars()
        .map(|it| u8::try_from(u32::from(it)).unwrap())
        .collect();
    check_bytes(&latin, "it.yaml:3:19: not UTF-8");
    let wide: Vec<u8> = [0xfeff]
        .into_iter()
        .chain(other.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    let prefix = "it.yaml: UTF-16, where UTF-8 is expected; convert it: iconv -f UTF-16 -t UTF-8 it.yaml";
    check_bytes(&wide, prefix);
    check_bytes(b"\x7fELF\x02\x01\0\0", "it.yaml: a binary file, not a manifest");
    check_bytes(&[b"\xef\xbb\xbf", other.as_bytes()].concat(), "");
    check_bytes(other.replace('\n', "\r\n").as_bytes(), "");
}

#[test]
fn text_that_is_no_manifest() {
    check_bytes(
        b"just text\n",
        "it.yaml:1:1: the text 'just text', where an object is expected",
    );
    check_bytes(b"[]\n", "it.yaml:1:1: a list of 0, where an object is expected");
    check_bytes(b"7\n", "it.yaml:1:1: the number 7, where an object is expected");
    check_bytes(
        b"{}\n",
        "it.yaml:1:1: not a Kubernetes object: no 'kind'; leave the file out, or correct it",
    );
    check_bytes(
        b"apiVersion: v1\nkind: [Pod]\n",
        "it.yaml:2:1: 'kind' is a list of 1",
    );
    check_bytes(
        b"apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: 5}\n",
        "it.yaml:3:21: 'namespace' is the number 5",
    );
    check_bytes(
        b"apiVersion: v1\nkind: Pod\nmetadata: {name: '{{ .Release.Name }}', namespace: default}\n",
        "it.yaml:1:1: a template, not a manifest; render the chart first: helm template CHART | bailiwick check -f -",
    );
    check_bytes(
        b"apiVersion: v1\nkind:\n\t- Pod\n",
        "it.yaml:3:2: not YAML: tabs disallowed within this context (block indentation)",
    );
}

#[test]
fn a_large_file_is_read_and_a_larger_one_is_not() {
    let comment = format!("# {}\n", "x".repeat(1022));
    let large = comment.repeat(16 << 10) + &POD.replace("name: p", "name: q");
    check_bytes(large.as_bytes(), "");
    drop(large);
    let folder = tempfile::tempdir().unwrap();
    let file = fs::File::create(folder.path().join("it.yaml")).unwrap();
    file.set_len((128 << 20) + 1).unwrap();
    let found = check_folder(&folder);
    assert!(report::unread(&found.unread[0]).ends_with("it.yaml: larger than 128 MiB; split it"));
}

#[cfg(unix)]
#[test]
fn links_and_pipes() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("sub")).unwrap();
    fs::write(at("tenant.yaml"), TENANT).unwrap();
    fs::write(at("sub/pod.yaml"), POD).unwrap();
    symlink("../sub/pod.yaml", at("sub/again.yaml")).unwrap();
    symlink("..", at("sub/loop")).unwrap();
    let found = check_folder(&folder);
    assert_eq!(
        (found.objects.len(), found.unread.len(), found.exit_code()),
        (2, 0, 0)
    );
    symlink("nowhere", at("broken.yaml")).unwrap();
    let found = check_folder(&folder);
    assert!(report::unread(&found.unread[0]).ends_with("broken.yaml: no such file or folder"));
    assert_eq!(found.exit_code(), 2);
}

#[test]
fn a_hidden_folder_is_left_out_unless_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tenant.yaml"), TENANT).unwrap();
    fs::create_dir(folder.path().join(".github")).unwrap();
    let hidden = folder.path().join(".github/workflow.yaml");
    fs::write(&hidden, "on: push\n").unwrap();
    assert_eq!(check_folder(&folder).exit_code(), 0);
    let options = Options {
        paths: vec![PathBuf::from(&hidden)],
        ..Options::default()
    };
    assert_eq!(check(&options, &mut io::empty()).exit_code(), 2);
}

/// Names that a report repeats reach no terminal with their control characters.
#[test]
fn control_characters_are_escaped() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: \"\\e[2Jx\", namespace: nowhere}\n";
    let found = check_texts(&[("t.yaml", TENANT), ("m.yaml", pod)], None, &Config::default());
    for width in [report::table::Width::Problems, report::table::Width::Everything] {
        let mut out = Vec::new();
        report::table::write(&found, width, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(r"\u{1b}[2Jx"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}

/// Words that manifests are made of, so that arbitrary texts get somewhere.
fn word() -> impl Strategy<Value = String> {
    let words = [
        "apiVersion: ",
        "kind: ",
        "metadata: ",
        "spec: ",
        "name: ",
        "namespace: ",
        "labels: ",
        "items: ",
        "subjects: ",
        "roleRef: ",
        "rules: ",
        "template: ",
        "v1",
        "bailiwick.dev/v1alpha1",
        "Pod",
        "List",
        "Tenant",
        "Role",
        "RoleBinding",
        "acme",
        "default",
        "bailiwick.dev/tenant: ",
        "rbac.authorization.k8s.io/v1",
        "{",
        "}",
        "[",
        "]",
        ",",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "---\n",
        "&a ",
        "*a",
        "<<: ",
        "null",
        "7",
        "!!str ",
        "|\n",
        "'",
        "\"",
        ": ",
        "#",
        "\u{0}",
        "é",
        "\t",
        "{{ x }}",
    ];
    prop_oneof![
        8 => prop::sample::select(words.to_vec()).prop_map(str::to_owned),
        1 => ".{0,4}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_panics(words in prop::collection::vec(word(), 0..60), head in any::<bool>()) {
        let mut text = words.concat();
        if head {
            text = format!("{POD}{text}");
        }
        let found = check_texts(&[("t.yaml", TENANT), ("m.yaml", &text)], None, &Config::default());
        let mut out = Vec::new();
        report::json::write(&found, &mut out).unwrap();
        report::table::write(&found, report::table::Width::Everything, &mut out).unwrap();
        prop_assert!(found.exit_code() <= 2);
    }
}
