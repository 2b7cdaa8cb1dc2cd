//! What both servers need and neither decides: a client, logs, metrics, health, a lease and TLS.
//!
//! Nothing here knows what a tenant is.

pub mod admin;
pub mod args;
pub mod client;
pub mod lease;
mod pace;
pub mod serve;
pub mod shutdown;
pub mod strip;
pub mod telemetry;
pub mod tls;
