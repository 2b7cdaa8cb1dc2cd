//! What passes and what does not, surface by surface: each case is an AdmissionReview as the API server sends it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case that can not be put is a failed one"
)]

mod bindings;
mod cluster;
mod cluster_role_bindings;
mod cluster_roles;
mod conditions;
mod documentation;
mod edges;
mod facts;
mod guard_rails;
mod index;
mod managed;
mod namespaces;
mod neighbours;
mod network_policies;
mod pods;
mod policy_conditions;
mod role_bindings;
mod roles;
mod self_service;
mod stock_roles;
mod suspension;
mod tenants;
