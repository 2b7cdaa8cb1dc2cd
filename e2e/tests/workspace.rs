//! The shape of the workspace: which crate may depend on which, and what every crate has in common.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

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

fn cargo(arguments: &[&str]) -> String {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(arguments)
        .current_dir(checkout::root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn packages() -> Vec<Package> {
    let text = cargo(&["metadata", "--format-version=1", "--no-deps", "--locked"]);
    serde_json::from_str::<Metadata>(&text).unwrap().packages
}

#[test]
fn dependencies_between_crates_point_one_way() {
    let allowed = BTreeMap::from(MAY_DEPEND_ON);
    for package in packages() {
        let allowed = allowed.get(package.name.as_str());
        let allowed = allowed.unwrap_or_else(|| panic!("say here what {} may depend on", package.name));
        for dependency in package.dependencies.iter().filter(|it| it.kind.is_none()) {
            let ours = dependency.name.starts_with("bailiwick-");
            assert!(
                !ours || allowed.contains(&dependency.name.as_str()),
                "{} must not depend on {}: see ARCHITECTURE.md",
                package.name,
                dependency.name,
            );
        }
    }
}

#[test]
fn core_stays_pure() {
    // `cargo tree` resolves features for this crate alone; the workspace's would show what others turn on.
    let tree = cargo(&[
        "tree",
        "--package=bailiwick-core",
        "--edges=normal",
        "--prefix=none",
        "--locked",
    ]);
    let crates: BTreeSet<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    for impure in NOT_IN_CORE {
        assert!(
            !crates.contains(impure),
            "bailiwick-core must not depend on {impure}, directly or not"
        );
    }
}

#[test]
fn every_crate_has_the_lints_of_the_workspace() {
    for package in packages() {
        let manifest = fs::read_to_string(&package.manifest_path).unwrap();
        let inherited = manifest
            .split("[lints]")
            .nth(1)
            .is_some_and(|it| it.trim_start().starts_with("workspace = true"));
        assert!(
            inherited,
            "{} needs `[lints] workspace = true`",
            package.manifest_path.display()
        );
    }
}

#[test]
fn no_test_is_ignored() {
    // Written so that this file doesn't find itself.
    let attribute = concat!("#[", "ignore");
    for package in packages() {
        let folder = package.manifest_path.parent().unwrap();
        for file in rust_files(folder) {
            let text = fs::read_to_string(&file).unwrap();
            assert!(
                !text.contains(attribute),
                "{}: a test that doesn't run proves nothing: assert what is the case now, with a FIXME",
                file.display(),
            );
        }
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
    files
}
