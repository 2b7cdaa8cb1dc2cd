//! What a machine needs to run a node, and one message for all that is missing.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// The folder of the CNI plugins, as distributions have it.
const PLUGINS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];
/// The plugins that the node's network is made of.
const NEEDED_PLUGINS: [&str; 4] = ["bridge", "host-local", "loopback", "portmap"];
/// Programs, and the Debian package of each.
const PROGRAMS: [(&str, &str); 9] = [
    ("bash", "bash"),
    ("unshare", "util-linux"),
    ("mount", "mount"),
    ("sysctl", "procps"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("runc", "runc"),
    ("buildah", "buildah"),
    ("musl-gcc", "musl-tools"),
];

/// What the machine has of what a node needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Requirements {
    /// The folder of the CNI plugins.
    pub(crate) plugins: PathBuf,
    /// runc.
    pub(crate) runc: PathBuf,
}

/// Looks for all of it on this machine.
///
/// # Errors
/// One message that names everything that is missing and the command that installs it.
pub(crate) fn requirements() -> Result<Requirements, String> {
    check(is_root(), find, Path::is_file)
}

fn check(
    is_root: bool,
    find: impl Fn(&str) -> Option<PathBuf>,
    is_file: impl Fn(&Path) -> bool,
) -> Result<Requirements, String> {
    let mut missing = Vec::new();
    let mut packages = Vec::new();
    if !is_root {
        missing.push("root: run it as root, or in a VM of its own".to_owned());
    }
    for (program, package) in PROGRAMS {
        if find(program).is_none() {
            missing.push(program.to_owned());
            packages.push(package);
        }
    }
    let has_all = |folder: &str| {
        NEEDED_PLUGINS
            .iter()
            .all(|it| is_file(&Path::new(folder).join(it)))
    };
    let plugins = PLUGINS.into_iter().find(|it| has_all(it));
    if plugins.is_none() {
        missing.push(format!(
            "the CNI plugins {} in {}",
            NEEDED_PLUGINS.join(", "),
            PLUGINS.join(" or ")
        ));
        packages.push("containernetworking-plugins");
    }
    let install = if packages.is_empty() {
        String::new()
    } else {
        format!(
            "\nOn Debian and Ubuntu: apt-get install -y {}",
            packages.join(" ")
        )
    };
    match (missing.is_empty(), plugins, find("runc")) {
        (true, Some(plugins), Some(runc)) => Ok(Requirements {
            plugins: PathBuf::from(plugins),
            runc,
        }),
        _ => Err(format!(
            "a real node needs, and this machine lacks: {}{install}",
            missing.join("; ")
        )),
    }
}

/// A program on PATH, or in the folders that root's PATH should have.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|it| it.join(program))
        .find(|it| it.is_file())
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ids = status.lines().find_map(|it| it.strip_prefix("Uid:"));
    ids.and_then(|it| it.split_whitespace().nth(1)) == Some("0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::unnecessary_wraps, reason = "it stands for a search")]
    fn somewhere(program: &str) -> Option<PathBuf> {
        Some(Path::new("/usr/bin").join(program))
    }

    #[test]
    fn a_machine_with_everything_will_do() {
        let found = check(true, somewhere, |it| it.starts_with("/opt/cni/bin")).unwrap();
        assert_eq!(found.plugins, Path::new("/opt/cni/bin"));
        assert_eq!(found.runc, Path::new("/usr/bin/runc"));
    }

    #[track_caller]
    fn lacks(found: Result<Requirements, String>, expected: &str) {
        assert_eq!(found.unwrap_err(), expected);
    }

    #[test]
    fn all_that_is_missing_is_named_at_once() {
        lacks(
            check(false, somewhere, |_| true),
            "a real node needs, and this machine lacks: root: run it as root, or in a VM of its own",
        );
        lacks(
            check(
                true,
                |it| somewhere(it).filter(|_| !matches!(it, "runc" | "buildah")),
                |_| true,
            ),
            "a real node needs, and this machine lacks: runc; buildah\nOn Debian and Ubuntu: apt-get install -y runc buildah",
        );
        lacks(
            check(true, somewhere, |it| it.ends_with("bridge")),
            "a real node needs, and this machine lacks: the CNI plugins bridge, host-local, loopback, portmap in /usr/lib/cni or /opt/cni/bin\nOn Debian and Ubuntu: apt-get install -y containernetworking-plugins",
        );
    }
}
