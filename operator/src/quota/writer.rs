//! The word by which this operator signs the slices of tenants' quotas.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Signs slices. The word is another one for each run of an operator, and after each write of which nobody knows what
/// became of it: that one may still be on its way.
pub(crate) struct Writer {
    run: String,
    doubts: AtomicU64,
}

/// Writes that are under way. Unless it is told how they went, their writer's word is another one afterwards.
pub(crate) struct Underway<'a> {
    writer: &'a Writer,
    is_known: bool,
}

impl Writer {
    pub(crate) fn new(pod: &str) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let began = since_epoch.map(|it| it.as_millis()).unwrap_or_default();
        Self {
            run: format!("{pod}/{began:x}"),
            doubts: AtomicU64::new(0),
        }
    }

    /// The word.
    pub(crate) fn word(&self) -> String {
        format!("{}/{}", self.run, self.doubts.load(Ordering::SeqCst))
    }

    /// To be held while something is written.
    pub(crate) fn underway(&self) -> Underway<'_> {
        Underway {
            writer: self,
            is_known: false,
        }
    }
}

impl Underway<'_> {
    /// Each write was answered.
    pub(crate) fn over(mut self) {
        self.is_known = true;
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        if !self.is_known {
            self.writer.doubts.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_changes_with_each_doubt_and_never_else() {
        let writer = Writer::new("operator-1");
        let word = writer.word();
        writer.underway().over();
        assert_eq!(writer.word(), word);
        // A pass that is given up is dropped where it stands.
        drop(writer.underway());
        assert_ne!(writer.word(), word);
        assert!(writer.word().starts_with("operator-1/"));
    }
}
