//! Policies in Rego: what compiles, what they answer, and that none can do harm.

#![allow(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::panic,
    reason = "a case that can not be put is a failed one"
)]

mod compile;
mod evaluate;
mod explain;
