//! The one control group that a node has on the machine.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::wait::eventually;

/// How long the kernel may take to let go of a group whose processes have ended.
const GONE: Duration = Duration::from_secs(20);
/// What begins the name of each node's group.
pub(super) const PREFIX: &str = "bailiwick-node-";

/// Where control groups are mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cgroups(PathBuf);

/// How the machine mounts its control groups.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Hierarchies {
    /// One for each controller (v1, also beside an empty v2).
    Many(Vec<PathBuf>),
    /// One for all (v2).
    One(PathBuf),
}

impl Default for Cgroups {
    fn default() -> Self {
        Self(PathBuf::from("/sys/fs/cgroup"))
    }
}

impl Cgroups {
    /// What the kubelet would refuse, if anything. Tries to make and to remove a group.
    pub(super) fn problem(&self) -> Option<String> {
        let probe = format!("bailiwick-probe-{}", std::process::id());
        self.problem_when(|hierarchy| {
            let group = hierarchy.join(&probe);
            fs::create_dir(&group)?;
            fs::remove_dir(&group)
        })
        .err()
        .map(|it| format!("{it:#}"))
    }

    fn problem_when(&self, try_to_make: impl Fn(&Path) -> io::Result<()>) -> Result<()> {
        let hierarchies = self.hierarchies()?;
        match &hierarchies {
            Hierarchies::Many(many) => {
                for controller in ["cpu", "cpuacct", "cpuset", "memory", "pids"] {
                    let has_it = |it: &PathBuf| {
                        let name = it.file_name().unwrap_or_default().to_string_lossy();
                        name.split(',').any(|it| it == controller)
                    };
                    if !many.iter().any(has_it) {
                        bail!(
                            "control groups with the controller {controller}, which isn't mounted in {}: mount it, or use another machine",
                            self.0.display()
                        );
                    }
                }
            }
            Hierarchies::One(root) => check_controllers(root)?,
        }
        for hierarchy in hierarchies.all() {
            try_to_make(hierarchy).map_err(|error| {
                anyhow::anyhow!(
                    "control groups that can be written, and none can be made in {} ({error}): in a container, run it privileged",
                    hierarchy.display()
                )
            })?;
        }
        Ok(())
    }

    /// Makes a group in each hierarchy, empty of what a crash left in it.
    pub(super) async fn make(&self, name: &str) -> Result<()> {
        self.remove(name).await?;
        for hierarchy in self.hierarchies()?.all() {
            let missing = || format!("make the control group {name} in {}", hierarchy.display());
            let group = hierarchy.join(name);
            fs::create_dir(&group).with_context(missing)?;
            // In v1 a new cpuset is empty, and nothing may run in it.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let (Ok(all), true) = (
                    fs::read_to_string(hierarchy.join(file)),
                    group.join(file).exists(),
                ) {
                    fs::write(group.join(file), all).with_context(missing)?;
                }
            }
        }
        Ok(())
    }

    /// Removes a group with all below it, as soon as nothing runs in it any more.
    pub(super) async fn remove(&self, name: &str) -> Result<()> {
        eventually(GONE, "the control group is empty", async || {
            for group in self.places(name) {
                remove_tree(&group)
                    .with_context(|| format!("remove the control group {}", group.display()))?;
            }
            Ok(())
        })
        .await
    }

    /// Whether a process is in the group or below it.
    pub(super) fn is_busy(&self, name: &str) -> bool {
        self.places(name).iter().any(|it| has_process(it))
    }

    /// The groups of all nodes, of those that run and of those that crashed.
    pub(super) fn of_nodes(&self) -> Vec<String> {
        let roots = self.roots();
        let entries = roots.iter().filter_map(|it| fs::read_dir(it).ok()).flatten();
        let mut names: Vec<_> = entries
            .filter_map(|it| it.ok()?.file_name().into_string().ok())
            .filter(|it| it.starts_with(PREFIX))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// The folders of a group that are there.
    fn places(&self, name: &str) -> Vec<PathBuf> {
        let places = self.roots().into_iter().map(|it| it.join(name));
        places.filter(|it| it.exists()).collect()
    }

    /// Every folder that a group may be in; none where control groups aren't mounted.
    fn roots(&self) -> Vec<PathBuf> {
        match self.hierarchies() {
            // runc uses the empty v2 beside v1, too.
            Ok(Hierarchies::Many(many)) => [many, vec![self.0.join("unified")]].concat(),
            Ok(Hierarchies::One(root)) => vec![root],
            Err(_) => Vec::new(),
        }
    }

    fn hierarchies(&self) -> Result<Hierarchies> {
        let root = &self.0;
        if root.join("cgroup.controllers").exists() {
            return Ok(Hierarchies::One(root.clone()));
        }
        let folders = fs::read_dir(root).map(|it| it.filter_map(|it| Some(it.ok()?.path())));
        let mut many: Vec<PathBuf> = folders
            .into_iter()
            .flatten()
            // Links are second names; `unified` is an empty v2 beside v1.
            .filter(|it| it.is_dir() && !it.is_symlink() && it.join("cgroup.procs").exists())
            .filter(|it| it.file_name().is_none_or(|name| name != "unified"))
            .collect();
        many.sort();
        if many.is_empty() {
            bail!(
                "control groups, and none are mounted at {}: in a container, run it privileged",
                root.display()
            );
        }
        Ok(Hierarchies::Many(many))
    }
}

impl Hierarchies {
    fn all(&self) -> &[PathBuf] {
        match self {
            Self::Many(many) => many,
            Self::One(root) => std::slice::from_ref(root),
        }
    }
}

/// In v2 a group has the controllers that the one above it passes on, and the kubelet wants all it knows.
fn check_controllers(root: &Path) -> Result<()> {
    let words = |file: &str| -> Vec<String> {
        let text = fs::read_to_string(root.join(file)).unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    };
    let (there, on) = (words("cgroup.controllers"), words("cgroup.subtree_control"));
    for (controller, must) in [
        ("cpu", true),
        ("memory", true),
        ("pids", true),
        ("cpuset", false),
        ("hugetlb", false),
    ] {
        let is_in = |list: &[String]| list.iter().any(|it| it == controller);
        if is_in(&on) || (!must && !is_in(&there)) {
            continue;
        }
        bail!(
            "the controller {controller}, which {0}/cgroup.subtree_control doesn't pass on (it has {1:?}): turn it on with `echo +{controller} > {0}/cgroup.subtree_control`, which in a container works only once its own processes are in a group below",
            root.display(),
            on.join(" ")
        );
    }
    Ok(())
}

fn has_process(group: &Path) -> bool {
    let own = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let mut below = fs::read_dir(group).into_iter().flatten().filter_map(Result::ok);
    !own.trim().is_empty() || below.any(|it| it.path().is_dir() && has_process(&it.path()))
}

/// A control group goes when those below it are gone; its files go with it.
fn remove_tree(group: &Path) -> Result<()> {
    for entry in fs::read_dir(group)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_tree(&path)?;
        }
    }
    fs::remove_dir(group)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: [&str; 4] = ["cpu,cpuacct", "cpuset", "memory", "pids"];

    /// Files that look like mounted control groups, in a folder that goes with the value.
    struct Fake(PathBuf);

    impl Fake {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("bailiwick-cgroups-{name}-{}", std::process::id()));
            fs::create_dir_all(&root).unwrap();
            for (file, text) in files {
                let path = root.join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(root)
        }

        fn v1(name: &str, controllers: &[&str]) -> Self {
            let files: Vec<_> = controllers
                .iter()
                .map(|it| (format!("{it}/cgroup.procs"), ""))
                .collect();
            let files: Vec<_> = files.iter().map(|(file, text)| (file.as_str(), *text)).collect();
            Self::new(name, &files)
        }

        fn v2(name: &str, there: &str, on: &str) -> Self {
            Self::new(
                name,
                &[("cgroup.controllers", there), ("cgroup.subtree_control", on)],
            )
        }

        fn problem(&self) -> Option<String> {
            Cgroups(self.0.clone()).problem()
        }

        #[track_caller]
        fn lacks(&self, expected: &str) {
            let problem = self.problem().unwrap();
            assert!(problem.contains(expected), "{problem}");
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn both_versions_will_do_with_all_controllers() {
        assert_eq!(Fake::v1("v1", &V1).problem(), None);
        assert_eq!(
            Fake::v2("v2", "cpuset cpu io memory pids", "cpuset cpu memory pids").problem(),
            None
        );
        assert_eq!(
            Fake::v2("v2-small", "cpu memory pids", "cpu memory pids").problem(),
            None
        );
    }

    #[test]
    fn a_missing_controller_is_named() {
        Fake::v1("no-memory", &["cpu,cpuacct", "cpuset", "pids"]).lacks("the controller memory");
        let fake = Fake::v2("pids-off", "cpu memory pids", "cpu memory");
        fake.lacks("the controller pids");
        fake.lacks("echo +pids > ");
        // It is there, so the kubelet wants it.
        Fake::v2("cpuset-off", "cpuset cpu memory pids", "cpu memory pids").lacks("the controller cpuset");
    }

    #[test]
    fn no_mount_is_said_so() {
        Fake::new("empty", &[]).lacks("none are mounted at");
        // A v2 beside v1 alone has no controllers.
        Fake::v1("unified", &["unified"]).lacks("none are mounted at");
    }

    #[test]
    fn a_mount_that_cant_be_written_is_said_so() {
        let fake = Fake::v1("read-only", &V1);
        let refused = Cgroups(fake.0.clone())
            .problem_when(|_| Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem)))
            .unwrap_err();
        assert!(refused.to_string().contains("none can be made in"), "{refused}");
    }

    #[tokio::test]
    async fn groups_of_nodes_are_found_and_filled() {
        let fake = Fake::new(
            "groups",
            &[
                ("cpuset/cgroup.procs", ""),
                ("cpuset/bailiwick-node-7/cgroup.procs", "12\n"),
                ("cpuset/bailiwick-node-8/pod/cgroup.procs", ""),
                ("cpuset/another/cgroup.procs", "13\n"),
            ],
        );
        let cgroups = Cgroups(fake.0.clone());
        assert_eq!(cgroups.of_nodes(), ["bailiwick-node-7", "bailiwick-node-8"]);
        assert!(cgroups.is_busy("bailiwick-node-7"));
        assert!(!cgroups.is_busy("bailiwick-node-8"));
        cgroups.make("bailiwick-node-9").await.unwrap();
        assert!(fake.0.join("cpuset/bailiwick-node-9").is_dir());
        cgroups.remove("bailiwick-node-9").await.unwrap();
        assert!(!fake.0.join("cpuset/bailiwick-node-9").exists());
    }
}
