//! The command lines and configurations of containerd, kubelet, kube-proxy and kube-scheduler.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Host, Requirements, image::WORKLOAD};
use crate::{
    binaries::NodeBinaries,
    cluster::{Cluster, NODE, flag, log_file},
    supervisor::ProcessSpec,
};

/// The addresses of Pods. Only the node itself knows of them.
const PODS: &str = "10.67.0.0/24";
const SOCKET: &str = "/run/containerd/containerd.sock";

/// What the command lines are made of.
pub(super) struct Daemons<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) binaries: &'a NodeBinaries,
    pub(super) requirements: &'a Requirements,
}

/// The environment of a daemon: where it finds other programs.
pub(super) fn path(first: Option<&Path>) -> BTreeMap<String, String> {
    let system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let path = match first {
        Some(first) => format!("{}:{system}", first.display()),
        None => system.to_owned(),
    };
    BTreeMap::from([("PATH".to_owned(), path)])
}

impl Daemons<'_> {
    pub(super) fn containerd(&self) -> Result<ProcessSpec> {
        let plugins = self.requirements.plugins.display().to_string();
        let network = self.file("net.d/10-node.conflist", &cni(&self.path("cni")).to_string())?;
        let network = network
            .parent()
            .context("a file without a folder")?
            .display()
            .to_string();
        let root = self.path("containerd");
        let runc = self.requirements.runc.display();
        // Without CAP_SYS_RESOURCE, which containers of CI lack, no OOM score can be lowered, and runc would give up.
        let config = format!(
            r#"version = 3
root = "{root}"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri"]
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{WORKLOAD}"
[plugins."io.containerd.cri.v1.runtime"]
  enable_unprivileged_ports = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{plugins}"]
    conf_dir = "{network}"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      BinaryName = "{runc}"
      SystemdCgroup = false
"#
        );
        let config = self.file("containerd.toml", &config)?;
        let arguments = vec!["--config".to_owned(), config.display().to_string()];
        Ok(self.process("containerd", &self.binaries.containerd, arguments))
    }

    /// One call of containerd's client, named for its log.
    pub(super) fn ctr(&self, name: &str, arguments: &[&str]) -> ProcessSpec {
        let all = ["--address", SOCKET].into_iter().chain(arguments.iter().copied());
        self.process(
            &format!("ctr-{name}"),
            &self.binaries.ctr,
            all.map(str::to_owned).collect(),
        )
    }

    pub(super) fn kubelet(&self) -> Result<ProcessSpec> {
        let certificates = self.cluster.certificates();
        let host = Host::of(self.cluster.slot());
        let config = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": { "enabled": false },
                "webhook": { "enabled": true },
                "x509": { "clientCAFile": certificates.ca },
            },
            "authorization": { "mode": "Webhook" },
            "tlsCertFile": certificates.kubelet_server.certificate,
            "tlsPrivateKeyFile": certificates.kubelet_server.key,
            "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
            // On a machine that still has cgroup v1 the kubelet refuses to start otherwise.
            "failCgroupV1": false,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": format!("/{}", host.cgroup()),
            "failSwapOn": false,
            // It finds the settings as it wants them, and shall not try to set them.
            "protectKernelDefaults": true,
            // There is no DNS in this cluster.
            "resolvConf": "",
            "staticPodPath": self.path("static-pods"),
            "nodeStatusUpdateFrequency": "5s",
            // A developer's disk is nearly full more often than not, and images can't be pulled again.
            "imageMinimumGCAge": "24h",
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "evictionHard": { "memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%" },
        });
        fs::create_dir_all(self.path("static-pods")).context("create the folder of static Pods")?;
        let config = self.file("kubelet.json", &config.to_string())?;
        let kubeconfig = self
            .cluster
            .component_kubeconfig("kubelet", &certificates.kubelet)?;
        let arguments = vec![
            flag("config", config.display()),
            flag("kubeconfig", kubeconfig.display()),
            flag("hostname-override", NODE),
            flag("node-ip", host.address()),
            flag("v", 1),
        ];
        Ok(self.process("kubelet", &self.binaries.kubelet, arguments))
    }

    pub(super) fn proxy(&self) -> Result<ProcessSpec> {
        let certificates = self.cluster.certificates();
        let kubeconfig = self
            .cluster
            .component_kubeconfig("kube-proxy", &certificates.proxy)?;
        let config = json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "hostnameOverride": NODE,
            "clientConnection": { "kubeconfig": kubeconfig },
            "clusterCIDR": PODS,
            // Settings of the whole machine: not for a guest.
            "conntrack": { "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s" },
            "metricsBindAddress": "127.0.0.1:10249",
        });
        let config = self.file("kube-proxy.json", &config.to_string())?;
        Ok(self.process(
            "kube-proxy",
            &self.binaries.kube_proxy,
            vec![flag("config", config.display())],
        ))
    }

    pub(super) fn scheduler(&self) -> Result<ProcessSpec> {
        let certificates = self.cluster.certificates();
        let kubeconfig = self
            .cluster
            .component_kubeconfig("kube-scheduler", &certificates.scheduler)?;
        let kubeconfig = kubeconfig.display();
        let arguments = vec![
            flag("kubeconfig", &kubeconfig),
            flag("authentication-kubeconfig", &kubeconfig),
            flag("authorization-kubeconfig", &kubeconfig),
            flag("bind-address", "127.0.0.1"),
            flag("leader-elect", false),
        ];
        Ok(self.process("kube-scheduler", &self.binaries.kube_scheduler, arguments))
    }

    fn process(&self, name: &str, program: &Path, arguments: Vec<String>) -> ProcessSpec {
        ProcessSpec {
            name: name.to_owned(),
            program: program.to_owned(),
            arguments,
            environment: path(self.binaries.shim.parent()),
            log: log_file(self.cluster.directory(), name),
        }
    }

    fn path(&self, name: &str) -> String {
        self.cluster
            .directory()
            .join("machine")
            .join(name)
            .display()
            .to_string()
    }

    fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.cluster.directory().join("machine").join(name);
        let folder = path.parent().context("a file without a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}

/// The Pods' network: a bridge inside the node.
fn cni(data: &str) -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "node",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{ "subnet": PODS }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                    "dataDir": data,
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
}
