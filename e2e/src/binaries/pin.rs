//! What is pinned: the programs of each Go module in `controlplane/`, and the version that its `go.mod` requires.

use std::{env, fmt::Write, fs, path::PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::checkout;

/// A program that a module builds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// The name of the binary.
    pub(super) name: &'static str,
    /// The Go package of its `main`.
    pub(super) package: &'static str,
    /// The arguments that make it print its version.
    pub(super) version_arguments: &'static [&'static str],
}

/// A Go module of ours that does nothing but pin others.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Module<const N: usize> {
    /// The folder under `controlplane/`.
    pub(super) folder: &'static str,
    /// The required module whose version counts.
    pub(super) requires: &'static str,
    /// What is built from it.
    pub(super) programs: [Program; N],
    /// Go variable that gets the version when linking: without it Kubernetes calls itself v0.0.0.
    pub(super) version_variable: Option<&'static str>,
}

/// Kubernetes.
pub(super) const KUBERNETES: Module<3> = Module {
    folder: "kubernetes",
    requires: "k8s.io/kubernetes",
    programs: [
        Program {
            name: "kube-apiserver",
            package: "k8s.io/kubernetes/cmd/kube-apiserver",
            version_arguments: &["--version"],
        },
        Program {
            name: "kube-controller-manager",
            package: "k8s.io/kubernetes/cmd/kube-controller-manager",
            version_arguments: &["--version"],
        },
        Program {
            name: "kubectl",
            package: "k8s.io/kubernetes/cmd/kubectl",
            version_arguments: &["version", "--client"],
        },
    ],
    version_variable: Some("k8s.io/component-base/version.gitVersion"),
};

/// What a node runs of Kubernetes: the same module, and programs that a control plane without a node does not need.
pub(super) const NODE: Module<3> = Module {
    folder: "node",
    requires: "k8s.io/kubernetes",
    programs: [
        Program {
            name: "kubelet",
            package: "k8s.io/kubernetes/cmd/kubelet",
            version_arguments: &["--version"],
        },
        Program {
            name: "kube-proxy",
            package: "k8s.io/kubernetes/cmd/kube-proxy",
            version_arguments: &["--version"],
        },
        Program {
            name: "kube-scheduler",
            package: "k8s.io/kubernetes/cmd/kube-scheduler",
            version_arguments: &["--version"],
        },
    ],
    version_variable: KUBERNETES.version_variable,
};

/// containerd.
pub(super) const CONTAINERD: Module<3> = Module {
    folder: "containerd",
    requires: "github.com/containerd/containerd/v2",
    programs: [
        Program {
            name: "containerd",
            package: "github.com/containerd/containerd/v2/cmd/containerd",
            version_arguments: &["--version"],
        },
        Program {
            name: "containerd-shim-runc-v2",
            package: "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
            version_arguments: &["-v"],
        },
        Program {
            name: "ctr",
            package: "github.com/containerd/containerd/v2/cmd/ctr",
            version_arguments: &["--version"],
        },
    ],
    version_variable: None,
};

/// etcd.
pub(super) const ETCD: Module<1> = Module {
    folder: "etcd",
    requires: "go.etcd.io/etcd/server/v3",
    programs: [Program {
        name: "etcd",
        package: "go.etcd.io/etcd/server/v3",
        version_arguments: &["--version"],
    }],
    version_variable: None,
};

/// helm.
pub(super) const HELM: Module<1> = Module {
    folder: "helm",
    requires: "helm.sh/helm/v4",
    programs: [Program {
        name: "helm",
        package: "helm.sh/helm/v4/cmd/helm",
        version_arguments: &["version", "--short"],
    }],
    version_variable: None,
};

/// A module as it lies in this checkout.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pin {
    /// Name of the module's folder, for messages and for the cache.
    pub(super) name: &'static str,
    /// Where `go.mod` is.
    pub(super) directory: PathBuf,
    /// The required version with its `v`.
    pub(super) version: String,
    /// `-ldflags` of the build.
    pub(super) linker_flags: String,
    /// Hash over all that goes into the binaries.
    digest: String,
}

impl Pin {
    /// Reads `go.mod` and `go.sum`.
    pub(super) fn read<const N: usize>(module: &Module<N>) -> Result<Self> {
        let directory = checkout::root().join("e2e/controlplane").join(module.folder);
        let read = |name| {
            let path = directory.join(name);
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        let (go_mod, go_sum) = (read("go.mod")?, read("go.sum")?);
        let version = required_version(&go_mod, module.requires)
            .with_context(|| format!("{} requires no {}", directory.display(), module.requires))?;
        let linker_flags = match module.version_variable {
            Some(variable) => format!("-s -w -X {variable}={version}"),
            None => "-s -w".to_owned(),
        };
        let mut hash = Sha256::new();
        for part in [
            &go_mod,
            &go_sum,
            &linker_flags,
            env::consts::OS,
            env::consts::ARCH,
        ] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let digest = hash
            .finalize()
            .iter()
            .take(6)
            .fold(String::new(), |mut text, byte| {
                // Writing to a String can't fail.
                let _ = write!(text, "{byte:02x}");
                text
            });
        Ok(Self {
            name: module.folder,
            directory,
            version,
            linker_flags,
            digest,
        })
    }

    /// The folder in the cache: another version, dependency or flag is another folder.
    pub(super) fn cache_key(&self) -> String {
        format!("{}-{}-{}", self.name, self.version, self.digest)
    }
}

/// Finds `module vX.Y.Z` among the requirements of a `go.mod`.
fn required_version(go_mod: &str, module: &str) -> Option<String> {
    go_mod.lines().find_map(|line| {
        let mut words = line.trim_start_matches("require").split_whitespace();
        (words.next() == Some(module))
            .then(|| words.next().map(str::to_owned))
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_required_version_in_a_block_and_alone() {
        let go_mod = "module x\n\ntool k8s.io/kubernetes/cmd/kubectl\n\nrequire k8s.io/api v0.37.2\nrequire (\n\tk8s.io/kubernetes v1.37.2 // indirect\n)\n";
        assert_eq!(
            required_version(go_mod, "k8s.io/kubernetes").as_deref(),
            Some("v1.37.2")
        );
        assert_eq!(required_version(go_mod, "k8s.io/api").as_deref(), Some("v0.37.2"));
        assert_eq!(required_version(go_mod, "k8s.io/kube"), None);
    }

    #[test]
    fn a_node_runs_the_version_of_its_control_plane() {
        let (node, control_plane) = (Pin::read(&NODE).unwrap(), Pin::read(&KUBERNETES).unwrap());
        assert_eq!(node.version, control_plane.version);
    }

    #[test]
    fn cache_key_names_the_version() {
        let pin = Pin::read(&KUBERNETES).unwrap();
        assert!(
            pin.cache_key()
                .starts_with(&format!("kubernetes-{}-", pin.version)),
            "{}",
            pin.cache_key()
        );
    }
}
