//! `bailiwick policy`: policies on their way into a cluster, and in it.

pub mod import;
