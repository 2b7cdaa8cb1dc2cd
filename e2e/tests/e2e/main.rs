//! End-to-end tests on a real control plane.
//!
//! Tests that disturb nobody share one cluster and use names of their own; a test that stops, restarts or
//! misconfigures something starts its own. See `fixture`.

mod bad_input;
mod certificates;
mod chart;
mod control_plane;
mod dev;
mod differential;
mod discovery;
mod drift;
mod examples;
mod fixture;
mod gone;
mod install;
mod labels;
mod life;
mod neighbours;
mod outage;
mod permissions;
mod policies;
mod requests;
mod steps;
mod unreadable;
