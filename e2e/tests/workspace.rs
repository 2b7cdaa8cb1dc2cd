//! The shape of the workspace: which crate may depend on which, and what every crate has in common.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use bailiwick_e2e::checkout;
use serde::Deserialize;

/// The crates of the workspace that each crate may have among its normal dependencies.
const MAY_DEPEND_ON: [(&str, &[&str]); 8] = [
    ("bailiwick-crds", &[]),
    ("bailiwick-core", &["bailiwick-crds"]),
    ("bailiwick-runtime", &["bailiwick-crds", "bailiwick-core"]),
    (
        "bailiwick-operator",
        &["bailiwick-crds", "bailiwick-core", "bailiwick-runtime"],
    ),
    (
        "bailiwick-webhook",
        &["bailiwick-crds", "bailiwick-core", "bailiwick-runtime"],
    ),
    ("bailiwick-cli", &["bailiwick-crds", "bailiwick-core"]),
    ("bailiwick-e2e", &["bailiwick-crds", "bailiwick-core"]),
    (
        "bailiwick-bench",
        &[
            "bailiwick-crds",
            "bailiwick-core",
            "bailiwick-runtime",
            "bailiwick-operator",
            "bailiwick-webhook",
            "bailiwick-e2e",
        ],
    ),
];

/// What a crate may have beside that for its tests and its build.
const MAY_TEST_WITH: [(&str, &[&str]); 1] = [(
    "bailiwick-e2e",
    &["bailiwick-cli", "bailiwick-operator", "bailiwick-webhook"],
)];

/// What would let the outside world into pure decisions.
const NOT_IN_CORE: [&str; 7] = [
    "tokio",
    "kube-client",
    "kube-runtime",
    "hyper",
    "hyper-util",
    "rustls",
    "bailiwick-runtime",
];

/// The same by way of the standard library. `std::net` has addresses, which are values, and sockets, which are not.
const NOT_WRITTEN_IN_CORE: [&str; 12] = [
    // One `use` a line, so that the next ones are seen.
    "std::{",
    "std::env",
    "std::fs",
    "std::io",
    "std::process",
    "std::thread",
    // A Duration is a value; whoever reads a clock names one of these.
    "SystemTime",
    "Instant",
    "TcpStream",
    "UdpSocket",
    "tokio",
    "async fn",
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `None` is a normal one.
    kind: Option<String>,
}

fn cargo(arguments: &[&str]) -> Result<String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(arguments)
        .current_dir(checkout::root())
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn packages() -> Result<Vec<Package>> {
    let text = cargo(&["metadata", "--format-version=1", "--no-deps", "--locked"])?;
    Ok(serde_json::from_str::<Metadata>(&text)?.packages)
}

#[test]
fn dependencies_between_crates_point_one_way() -> Result<()> {
    let allowed = BTreeMap::from(MAY_DEPEND_ON);
    let more = BTreeMap::from(MAY_TEST_WITH);
    for package in packages()? {
        let allowed = allowed.get(package.name.as_str());
        let allowed = allowed.with_context(|| format!("say here what {} may depend on", package.name))?;
        let more = more.get(package.name.as_str()).copied().unwrap_or_default();
        let ours = |it: &&Dependency| it.name.starts_with("bailiwick-");
        for dependency in package.dependencies.iter().filter(ours) {
            let name = dependency.name.as_str();
            let beside = dependency.kind.is_some() && more.contains(&name);
            ensure!(
                allowed.contains(&name) || beside,
                "{} must not depend on {name} ({}): see ARCHITECTURE.md",
                package.name,
                dependency.kind.as_deref().unwrap_or("normal"),
            );
        }
    }
    Ok(())
}

#[test]
fn core_stays_pure() -> Result<()> {
    // `cargo tree` resolves features for this crate alone; the workspace's would show what others turn on.
    let tree = cargo(&[
        "tree",
        "--package=bailiwick-core",
        "--edges=normal",
        "--prefix=none",
        "--locked",
    ])?;
    let crates: BTreeSet<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    for impure in NOT_IN_CORE {
        ensure!(
            !crates.contains(impure),
            "bailiwick-core must not depend on {impure}, directly or not"
        );
    }
    let mut files = rust_files(&checkout::root().join("core/src"))?;
    // Tests are no part of what is shipped: they read the repository, and run threads.
    files.retain(|it| it.file_name().is_none_or(|it| it != "tests.rs"));
    ensure!(files.len() > 20, "{files:?}");
    for file in files {
        for (i, line) in fs::read_to_string(&file)?.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let found = NOT_WRITTEN_IN_CORE.iter().find(|it| uses(code, it));
            ensure!(
                found.is_none(),
                "{}:{}: core has no {}: whatever it depends on is a parameter",
                file.display(),
                i + 1,
                found.unwrap_or(&""),
            );
        }
    }
    Ok(())
}

/// Whether a line of code has these words, and not only inside longer ones.
fn uses(code: &str, words: &str) -> bool {
    let inside = |it: Option<char>| it.is_some_and(|it| it.is_alphanumeric() || it == '_');
    let ends = inside(words.chars().next_back());
    code.match_indices(words).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + words.len()..]);
        let longer = inside(before.chars().next_back()) || (ends && inside(after.chars().next()));
        !longer
    })
}

#[test]
fn a_word_is_not_found_inside_another() {
    for (code, found) in [
        ("use std::fs;", true),
        ("std::fs::read(x)", true),
        ("use std::fsx;", false),
        ("let at = Instant::now();", true),
        ("Instantly", false),
        ("use std::{fs, io};", true),
    ] {
        let any = ["std::fs", "Instant", "std::{"].iter().any(|it| uses(code, it));
        assert_eq!(any, found, "{code}");
    }
}

#[test]
fn what_the_threat_model_names_as_proof_exists() -> Result<()> {
    let path = checkout::root().join("docs/threat-model.md");
    let text = fs::read_to_string(path)?;
    let proofs = text
        .lines()
        .filter(|it| it.starts_with("| ") && it.ends_with("` |"));
    let mut named = 0;
    for file in proofs.flat_map(|it| it.split('`').skip(1).step_by(2)) {
        ensure!(
            checkout::root().join(file).exists(),
            "docs/threat-model.md names {file}, which doesn't exist"
        );
        named += 1;
    }
    ensure!(named >= 9, "only {named} proofs are named");
    Ok(())
}

#[test]
fn every_crate_has_the_lints_of_the_workspace() -> Result<()> {
    for package in packages()? {
        let manifest = fs::read_to_string(&package.manifest_path)?;
        let lints = manifest.split("[lints]").nth(1);
        let inherited = lints.is_some_and(|it| it.trim_start().starts_with("workspace = true"));
        ensure!(
            inherited,
            "{} needs `[lints] workspace = true`",
            package.manifest_path.display()
        );
    }
    Ok(())
}

#[test]
fn no_test_is_ignored() -> Result<()> {
    // Written so that this file doesn't find itself.
    let attribute = concat!("#[", "ignore");
    for package in packages()? {
        let folder = package
            .manifest_path
            .parent()
            .context("a manifest without a folder")?;
        for file in rust_files(folder)? {
            ensure!(
                !fs::read_to_string(&file)?.contains(attribute),
                "{}: a test that doesn't run proves nothing: assert what is the case now, with a FIXME",
                file.display(),
            );
        }
    }
    Ok(())
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}
