//! Policies need a thread with much stack.

use std::thread;

use bailiwick_core::rego::STACK;

/// Runs something that compiles or evaluates policies.
///
/// # Errors
/// When there is no such thread to be had, or it failed.
pub fn with_stack<T: Send>(run: impl FnOnce() -> T + Send) -> Result<T, String> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run);
        let thread = thread.map_err(|error| format!("no thread for the policies: {error}"))?;
        thread
            .join()
            .map_err(|_| "the thread that judges by policies failed".to_owned())
    })
}
