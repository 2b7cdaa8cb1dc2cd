//! What a machine needs to run a node or to build the image, and one message for all that is missing.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{NAMESPACES, cgroups::Cgroups, image::TARGET};
use crate::checkout;

/// The folder of the CNI plugins, as distributions have it.
const PLUGINS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];
/// The plugins that the node's network is made of.
const NEEDED_PLUGINS: [&str; 4] = ["bridge", "host-local", "loopback", "portmap"];
/// Programs that build images, and the Debian package of each.
const BUILDERS: [(&str, &str); 2] = [("buildah", "buildah"), ("musl-gcc", "musl-tools")];
/// Programs that a node needs beside them.
const PROGRAMS: [(&str, &str); 7] = [
    ("bash", "bash"),
    ("unshare", "util-linux"),
    ("mount", "mount"),
    ("sysctl", "procps"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("runc", "runc"),
];

/// What something is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Building the image.
    Image,
    /// Running a node, which builds images too.
    Node,
}

/// What the machine has of what a node needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Requirements {
    /// The folder of the CNI plugins.
    pub(crate) plugins: PathBuf,
    /// runc.
    pub(crate) runc: PathBuf,
}

/// Looks for all that a node needs on this machine.
///
/// # Errors
/// One message that names everything that is missing and the commands that install it.
pub(crate) fn requirements() -> Result<Requirements, String> {
    let machine = Real;
    let nothing = PathBuf::new;
    check(&machine, Purpose::Node)?;
    Ok(Requirements {
        plugins: plugins(&machine).map_or_else(nothing, PathBuf::from),
        runc: machine.find("runc").unwrap_or_else(nothing),
    })
}

/// Looks for all that building the image needs.
///
/// # Errors
/// As [`requirements`].
pub(super) fn image_requirements() -> Result<(), String> {
    check(&Real, Purpose::Image)
}

/// What can be asked of a machine.
trait Machine {
    fn is_root(&self) -> bool;
    /// A program on PATH, or in the folders that root's PATH should have.
    fn find(&self, program: &str) -> Option<PathBuf>;
    fn is_file(&self, path: &Path) -> bool;
    /// Whether Rust can build for the image.
    fn has_target(&self) -> bool;
    /// Why root can't make namespaces, if so.
    fn namespaces(&self) -> Option<String>;
    /// Why the kubelet can't have a control group, if so.
    fn cgroups(&self) -> Option<String>;
}

fn check(machine: &impl Machine, purpose: Purpose) -> Result<(), String> {
    let mut missing = Vec::new();
    let mut packages = Vec::new();
    let mut install = String::new();
    let is_node = purpose == Purpose::Node;
    if is_node && !machine.is_root() {
        missing.push("root: run it as root, or in a VM of its own".to_owned());
    }
    let of_a_node = PROGRAMS.into_iter().filter(|_| is_node);
    for (program, package) in of_a_node.chain(BUILDERS) {
        if machine.find(program).is_none() {
            missing.push(program.to_owned());
            packages.push(package);
        }
    }
    if is_node && plugins(machine).is_none() {
        missing.push(format!(
            "the CNI plugins {} in {}",
            NEEDED_PLUGINS.join(", "),
            PLUGINS.join(" or ")
        ));
        packages.push("containernetworking-plugins");
    }
    if !packages.is_empty() {
        install = format!(
            "\nOn Debian and Ubuntu: apt-get install -y {}",
            packages.join(" ")
        );
    }
    if !machine.has_target() {
        missing.push(format!("Rust's target {TARGET}"));
        install.push_str("\nrustup target add ");
        install.push_str(TARGET);
    }
    if is_node && machine.find("go").is_none() {
        missing.push("go: see https://go.dev/dl/".to_owned());
    }
    // Nobody else can be told anything by a trial.
    if is_node && machine.is_root() {
        missing.extend(machine.namespaces());
        missing.extend(machine.cgroups());
    }
    if missing.is_empty() {
        return Ok(());
    }
    let what = match purpose {
        Purpose::Node => "a real node",
        Purpose::Image => "the image",
    };
    Err(format!(
        "{what} needs, and this machine lacks: {}{install}",
        missing.join("; ")
    ))
}

fn plugins(machine: &impl Machine) -> Option<&'static str> {
    let has_all = |folder: &str| {
        let mut needed = NEEDED_PLUGINS.iter();
        needed.all(|it| machine.is_file(&Path::new(folder).join(it)))
    };
    PLUGINS.into_iter().find(|it| has_all(it))
}

/// This machine.
struct Real;

impl Machine for Real {
    fn is_root(&self) -> bool {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ids = status.lines().find_map(|it| it.strip_prefix("Uid:"));
        ids.and_then(|it| it.split_whitespace().nth(1)) == Some("0")
    }

    fn find(&self, program: &str) -> Option<PathBuf> {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path)
            .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
            .map(|it| it.join(program))
            .find(|it| it.is_file())
    }

    fn is_file(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn has_target(&self) -> bool {
        let output = Command::new("rustc")
            .args(["--print", "target-libdir", "--target", TARGET])
            .current_dir(checkout::root())
            .stderr(Stdio::null())
            .output();
        output.is_ok_and(|it| Path::new(String::from_utf8_lossy(&it.stdout).trim()).is_dir())
    }

    fn namespaces(&self) -> Option<String> {
        let [first, options @ .., _, _, _, _] = NAMESPACES;
        let output = Command::new(first)
            .args(options)
            .args(["mount", "-t", "tmpfs", "tmpfs", "/run"])
            .output();
        match output {
            Ok(output) if output.status.success() => None,
            Ok(output) => {
                let error = String::from_utf8_lossy(&output.stderr);
                Some(format!(
                    "namespaces of its own, which root may not make here ({}): in a container, run it privileged",
                    error.trim()
                ))
            }
            // That unshare is missing is said already.
            Err(_) => None,
        }
    }

    fn cgroups(&self) -> Option<String> {
        Cgroups::default().problem()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that has everything but this.
    struct Lacking(&'static [&'static str]);

    impl Machine for Lacking {
        fn is_root(&self) -> bool {
            !self.0.contains(&"root")
        }
        fn find(&self, program: &str) -> Option<PathBuf> {
            (!self.0.contains(&program)).then(|| Path::new("/usr/bin").join(program))
        }
        fn is_file(&self, path: &Path) -> bool {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            path.starts_with("/opt/cni/bin") && !self.0.contains(&&*name)
        }
        fn has_target(&self) -> bool {
            !self.0.contains(&"target")
        }
        fn namespaces(&self) -> Option<String> {
            self.0.contains(&"unshare").then(|| "namespaces".to_owned())
        }
        fn cgroups(&self) -> Option<String> {
            self.0.contains(&"cgroups").then(|| "control groups".to_owned())
        }
    }

    #[test]
    fn a_machine_with_everything_will_do() {
        assert_eq!(check(&Lacking(&[]), Purpose::Node), Ok(()));
        assert_eq!(plugins(&Lacking(&[])), Some("/opt/cni/bin"));
        // The image needs neither root nor what runs it.
        let image = Lacking(&["root", "runc", "bridge", "cgroups", "unshare", "go"]);
        assert_eq!(check(&image, Purpose::Image), Ok(()));
    }

    #[track_caller]
    fn lacks(missing: &'static [&'static str], purpose: Purpose, expected: &str) {
        assert_eq!(check(&Lacking(missing), purpose).unwrap_err(), expected);
    }

    #[test]
    fn all_that_is_missing_is_named_at_once() {
        lacks(
            &["root", "cgroups"],
            Purpose::Node,
            "a real node needs, and this machine lacks: root: run it as root, or in a VM of its own",
        );
        lacks(
            &["cgroups"],
            Purpose::Node,
            "a real node needs, and this machine lacks: control groups",
        );
        lacks(
            &["runc", "buildah", "go"],
            Purpose::Node,
            "a real node needs, and this machine lacks: runc; buildah; go: see https://go.dev/dl/\nOn Debian and Ubuntu: apt-get install -y runc buildah",
        );
        lacks(
            &["portmap", "target"],
            Purpose::Node,
            "a real node needs, and this machine lacks: the CNI plugins bridge, host-local, loopback, portmap in /usr/lib/cni or /opt/cni/bin; Rust's target x86_64-unknown-linux-musl\nOn Debian and Ubuntu: apt-get install -y containernetworking-plugins\nrustup target add x86_64-unknown-linux-musl",
        );
        lacks(
            &["musl-gcc"],
            Purpose::Image,
            "the image needs, and this machine lacks: musl-gcc\nOn Debian and Ubuntu: apt-get install -y musl-tools",
        );
    }
}
