//! A real Kubernetes control plane as child processes, with Bailiwick installed by its own chart.
//!
//! The end-to-end tests, the benchmarks and `make up` all start the same way:
//! [`cluster::Cluster::start`] runs etcd, kube-apiserver and kube-controller-manager; [`install::Bailiwick::install`]
//! installs the chart with helm, and a small kubelet runs the Pods of its Deployments as local processes.
//! Nothing is mocked but the container: command, arguments, environment and ServiceAccount are the chart's.
//!
//! A [`supervisor`] process owns every child and ends them all when the process that started it is gone.

pub mod binaries;
pub mod checkout;
pub mod cluster;

pub mod install;
pub mod kubelet;
pub mod node;
pub mod objects;
pub mod probe;
pub mod progress;
pub mod service;
pub mod slot;
pub mod supervisor;
pub mod wait;
