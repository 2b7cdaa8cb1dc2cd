//! Waiting for something to become true, with a deadline and a message that says what it was.
//!
//! There is no sleeping for luck: whoever waits names what for.

use std::{
    panic::Location,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

/// How often [`eventually`] looks.
const INTERVAL: Duration = Duration::from_millis(50);

/// Tries `attempt` until it succeeds, and gives what it gave.
///
/// After `deadline` the error names `what`, the place that waited, and why the last attempt failed.
#[track_caller]
pub fn eventually<T>(
    deadline: Duration,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Result<T>,
) -> impl Future<Output = Result<T>> {
    let caller = Location::caller();
    async move {
        let started = Instant::now();
        loop {
            let left = deadline.saturating_sub(started.elapsed());
            let error = match tokio::time::timeout(left.max(INTERVAL), attempt()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => error,
                Err(_) => anyhow!("the last attempt took longer than the time that was left"),
            };
            if started.elapsed() >= deadline {
                return Err(error.context(format!("not within {deadline:?}: {what} (waited at {caller})")));
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

/// Checks that `attempt` keeps succeeding for the whole `period`: for "stays so", the opposite of [`eventually`].
#[track_caller]
pub fn throughout(
    period: Duration,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Result<()>,
) -> impl Future<Output = Result<()>> {
    let caller = Location::caller();
    async move {
        let started = Instant::now();
        while started.elapsed() < period {
            if let Err(error) = attempt().await {
                let after = started.elapsed();
                return Err(error.context(format!(
                    "no longer so after {after:?}: {what} (watched at {caller})"
                )));
            }
            tokio::time::sleep(INTERVAL).await;
        }
        Ok(())
    }
}
