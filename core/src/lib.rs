//! The pure decisions of Bailiwick.
//!
//! Nothing in this crate reads a clock, an environment variable, a file or a socket, and nothing in it
//! panics: it turns values into values. Time, where it matters, is a parameter.
//!
//! - [`validate`]: a [`Tenant`](bailiwick_crds::v1alpha1::Tenant) as written becomes a [`validate::ValidTenant`], or findings.
//! - [`plan`]: a valid tenant becomes the objects that isolate it, and a comparison with what is there.
//! - [`quota`]: a tenant's limit becomes what each of its namespaces may use.
//! - [`stored`]: a Tenant as the API server holds it, read as far as it can be.
//! - [`snapshot`]: what a decision knows of the cluster.
//! - [`decide`]: a snapshot and an admission request become a [`decide::Decision`].
//! - [`rego`]: policies in Rego, compiled and evaluated.
//! - [`policy`]: TenantPolicies: their revisions, which of them decides, and what they say of a request.
//! - [`self_service`]: which names of Namespaces are whose to give, and which metadata is nobody's.
//! - [`index`]: a snapshot becomes the TenancyIndex that the native policies look up.
#![cfg_attr(
    not(test),
    warn(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unreachable,
        clippy::panic_in_result_fn
    )
)]

pub mod conditions;
pub mod config;
pub mod decide;
pub mod finding;
pub mod grants;
pub mod hostname;
pub mod identity;
pub mod image;
pub mod index;
pub mod neighbours;
pub mod network;
pub mod ownership;
pub mod peer;
pub mod placement;
pub mod plan;
pub mod policy;
pub mod quantity;
pub mod quota;
pub mod ranges;
pub mod reach;
pub mod rego;
pub mod review;
pub mod selector;
pub mod self_service;
pub mod snapshot;
pub mod stock;
pub mod stored;
pub mod validate;
