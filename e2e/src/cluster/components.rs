//! The command lines of etcd, kube-apiserver and kube-controller-manager.

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::certificates::Certificates;
use crate::{binaries::Binaries, supervisor::ProcessSpec};

/// Service addresses of the cluster. Only a node routes them.
const SERVICE_RANGE: &str = "10.96.0.0/16";
/// The address of the Service `kubernetes` in that range.
pub(super) const SERVICE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// Only the health endpoints answer without credentials.
const AUTHENTICATION: &str = "\
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
anonymous:
  enabled: true
  conditions: [{ path: /livez }, { path: /readyz }, { path: /healthz }]
";

/// The machine that a control plane runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    /// This one, at 127.0.0.1.
    Here,
    /// A node with this address, in namespaces of its own.
    Node(Ipv4Addr),
}

impl Machine {
    /// Where the API server is.
    pub(crate) fn address(self) -> Ipv4Addr {
        match self {
            Self::Here => Ipv4Addr::LOCALHOST,
            Self::Node(address) => address,
        }
    }
}

/// The ports of a control plane on its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    /// kube-apiserver.
    pub(super) apiserver: u16,
    /// kube-controller-manager, for its health.
    pub(super) controller_manager: u16,
    /// etcd, for its clients.
    pub(super) etcd_client: u16,
    /// etcd, for peers that don't exist; etcd insists on it.
    pub(super) etcd_peer: u16,
    /// Where kube-apiserver is told to find an admission webhook.
    pub(super) webhook: u16,
}

/// What the command lines are made of.
#[derive(Debug)]
pub(super) struct Components<'a> {
    pub(super) binaries: &'a Binaries,
    pub(super) directory: &'a Path,
    pub(super) certificates: &'a Certificates,
    pub(super) ports: Ports,
    pub(super) machine: Machine,
}

impl Components<'_> {
    pub(super) fn etcd(&self) -> ProcessSpec {
        let files = &self.certificates.etcd;
        let client = format!("https://127.0.0.1:{}", self.ports.etcd_client);
        let peer = format!("http://127.0.0.1:{}", self.ports.etcd_peer);
        self.process(
            "etcd",
            &self.binaries.etcd,
            vec![
                flag("data-dir", self.directory.join("etcd").display()),
                flag("listen-client-urls", &client),
                flag("advertise-client-urls", &client),
                flag("listen-peer-urls", &peer),
                flag("initial-advertise-peer-urls", &peer),
                flag("initial-cluster", format_args!("default={peer}")),
                flag("trusted-ca-file", self.certificates.ca.display()),
                flag("cert-file", files.certificate.display()),
                flag("key-file", files.key.display()),
                "--client-cert-auth".to_owned(),
                // The data lives as long as the cluster: a power cut costs nothing.
                "--unsafe-no-fsync".to_owned(),
                flag("log-level", "warn"),
            ],
        )
    }

    pub(super) fn apiserver(&self, extra: &[String]) -> Result<ProcessSpec> {
        let authentication = self.directory.join("authentication.yaml");
        fs::write(&authentication, AUTHENTICATION)
            .with_context(|| format!("write {}", authentication.display()))?;
        let certificates = self.certificates;
        let mut arguments = self.apiserver_on_its_machine();
        arguments.extend([
            flag("secure-port", self.ports.apiserver),
            flag(
                "etcd-servers",
                format_args!("https://127.0.0.1:{}", self.ports.etcd_client),
            ),
            flag("etcd-cafile", certificates.ca.display()),
            flag("etcd-certfile", certificates.etcd.certificate.display()),
            flag("etcd-keyfile", certificates.etcd.key.display()),
            flag("tls-cert-file", certificates.apiserver.certificate.display()),
            flag("tls-private-key-file", certificates.apiserver.key.display()),
            flag("client-ca-file", certificates.ca.display()),
            flag("authentication-config", authentication.display()),
            flag("authorization-mode", "Node,RBAC"),
            flag(
                "service-account-issuer",
                "https://kubernetes.default.svc.cluster.local",
            ),
            flag(
                "service-account-key-file",
                certificates.service_account_public_key.display(),
            ),
            flag(
                "service-account-signing-key-file",
                certificates.service_account_key.display(),
            ),
            flag("service-cluster-ip-range", SERVICE_RANGE),
            flag("allow-privileged", true),
            flag("profiling", false),
        ]);
        arguments.extend_from_slice(extra);
        Ok(self.process("kube-apiserver", &self.binaries.kube_apiserver, arguments))
    }

    fn apiserver_on_its_machine(&self) -> Vec<String> {
        match self.machine {
            Machine::Here => vec![
                flag("bind-address", "127.0.0.1"),
                // Endpoints may not hold a loopback address, so nobody shall try to write one.
                flag("advertise-address", "127.0.0.1"),
                flag("endpoint-reconciler-type", "none"),
            ],
            Machine::Node(address) => {
                let files = &self.certificates.kubelet_client;
                vec![
                    flag("bind-address", "0.0.0.0"),
                    flag("advertise-address", address),
                    flag("enable-admission-plugins", "NodeRestriction"),
                    flag("kubelet-certificate-authority", self.certificates.ca.display()),
                    flag("kubelet-client-certificate", files.certificate.display()),
                    flag("kubelet-client-key", files.key.display()),
                    flag("kubelet-preferred-address-types", "InternalIP"),
                ]
            }
        }
    }

    fn controllers(&self) -> &'static str {
        match self.machine {
            // The kubelet of the harness sends no heartbeats, and its Pods have addresses that
            // EndpointSlices may not hold.
            Machine::Here => {
                "*,-node-ipam-controller,-node-lifecycle-controller,-endpoints-controller,-endpointslice-controller"
            }
            Machine::Node(_) => "*,-node-ipam-controller",
        }
    }

    pub(super) fn controller_manager(&self, kubeconfig: &Path, extra: &[String]) -> ProcessSpec {
        let kubeconfig = kubeconfig.display();
        let mut arguments = vec![
            flag("kubeconfig", &kubeconfig),
            // Nobody but the health check calls it.
            flag("authentication-skip-lookup", true),
            flag("bind-address", "127.0.0.1"),
            flag("secure-port", self.ports.controller_manager),
            flag("leader-elect", false),
            // The default of 20 requests a second makes the start 4 s longer: each controller asks for a token.
            flag("kube-api-qps", 500),
            flag("kube-api-burst", 1000),
            flag("controllers", self.controllers()),
            flag("use-service-account-credentials", true),
            flag(
                "service-account-private-key-file",
                self.certificates.service_account_key.display(),
            ),
            flag("root-ca-file", self.certificates.ca.display()),
            flag("profiling", false),
        ];
        arguments.extend_from_slice(extra);
        self.process(
            "kube-controller-manager",
            &self.binaries.kube_controller_manager,
            arguments,
        )
    }

    fn process(&self, name: &str, program: &Path, arguments: Vec<String>) -> ProcessSpec {
        ProcessSpec {
            name: name.to_owned(),
            program: program.to_owned(),
            arguments,
            environment: BTreeMap::new(),
            log: log_file(self.directory, name),
        }
    }
}

/// The log of a process of the cluster in `directory`.
pub(crate) fn log_file(directory: &Path, name: &str) -> PathBuf {
    directory.join("logs").join(format!("{name}.log"))
}

pub(crate) fn flag(name: &str, value: impl std::fmt::Display) -> String {
    format!("--{name}={value}")
}
