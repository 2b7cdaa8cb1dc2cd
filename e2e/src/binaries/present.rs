//! Looks for programs that are on the machine already, and takes them only if the version is the pinned one.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::Program;

/// A binary of exactly `version` in `KUBEBUILDER_ASSETS` or on PATH.
pub(super) fn find(program: &Program, version: &str) -> Option<PathBuf> {
    let assets = env::var_os("KUBEBUILDER_ASSETS")
        .filter(|it| !it.is_empty())
        .map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    assets
        .into_iter()
        .chain(env::split_paths(&path))
        .map(|directory| directory.join(program.name))
        .filter(|candidate| candidate.is_file())
        .find(|candidate| has_version(candidate, program, version))
}

fn has_version(candidate: &Path, program: &Program, version: &str) -> bool {
    let output = Command::new(candidate)
        .args(program.version_arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    output.is_ok_and(|it| it.status.success() && mentions(&String::from_utf8_lossy(&it.stdout), version))
}

/// Whether the first word that looks like a version is `version`: later ones are those of Go or of kustomize.
fn mentions(output: &str, version: &str) -> bool {
    let numbers = |text: &str| text.trim_start_matches('v').split('+').next().map(str::to_owned);
    output
        .split_whitespace()
        .find(|word| {
            word.trim_start_matches('v')
                .starts_with(|it: char| it.is_ascii_digit())
        })
        .is_some_and(|word| numbers(word) == numbers(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(output: &str, version: &str, expected: bool) {
        assert_eq!(mentions(output, version), expected, "{output:?} {version:?}");
    }

    #[test]
    fn compares_the_first_version_as_a_whole() {
        check("Kubernetes v1.37.2\n", "v1.37.2", true);
        check("Kubernetes v1.37.20\n", "v1.37.2", false);
        check("Kubernetes v1.37.2-rc.0\n", "v1.37.2", false);
        check(
            "Client Version: v1.32.4\nKustomize Version: v5.5.0\n",
            "v5.5.0",
            false,
        );
        check(
            "etcd Version: 3.6.16\nGit SHA: Not provided\nGo Version: go1.26.8\n",
            "v3.6.16",
            true,
        );
        check("v4.3.1+g1234567\n", "v4.3.1", true);
        check("", "v4.3.1", false);
    }
}
