//! End-to-end tests on a real control plane.
//!
//! Tests that disturb nobody share one cluster and use names of their own; a test that stops, restarts or
//! misconfigures something starts its own. See `fixture`.

mod access;
mod attacks;
mod audit;
mod bad_input;
mod certificates;
mod chart;
mod content;
mod control_plane;
mod dev;
mod differential;
mod discovery;
mod drift;
mod examples;
mod fairness;
mod fixture;
mod gone;
mod guard_rails;
mod index;
mod install;
mod labels;
mod leaders;
mod life;
mod managed;
mod neighbours;
mod outage;
mod permissions;
mod placement;
mod poison;
mod policies;
mod policy_people;
mod quota;
mod requests;
mod self_service;
mod status;
mod steps;
mod suspension;
mod tenant_policy;
mod unreadable;
