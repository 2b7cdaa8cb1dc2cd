//! `bailiwick policy`: policies on their way into a cluster, and in it.
//!
//! - [`import`]: from Gatekeeper's objects to a TenantPolicy.
//! - [`history`], [`diff`]: which revisions there are, and how they differ.
//! - [`approve`], [`rollback`]: plans of what is to be written.
//! - [`replay`]: two revisions over what there is.
//! - [`run`]: the commands themselves, over an API server.

pub mod approve;
pub mod diff;
pub mod history;
pub mod import;
pub mod replay;
pub mod rollback;
pub mod run;
pub mod stored;
