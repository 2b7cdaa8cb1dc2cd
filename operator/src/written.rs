//! What this process wrote last: a difference from it was made by somebody else.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use bailiwick_core::plan::Kind;

/// Kind, namespace and name of an object.
pub(crate) type Key = (Kind, String, String);

/// What was written, by hash.
#[derive(Default)]
pub(crate) struct Written(Mutex<HashMap<Key, u64>>);

impl Written {
    /// What was written last.
    pub(crate) fn recall(&self, key: &Key) -> Option<u64> {
        self.with(|it| it.get(key).copied())
    }

    /// Remembers what was written.
    pub(crate) fn remember(&self, key: Key, hash: u64) {
        self.with(|it| it.insert(key, hash));
    }

    /// Forgets an object that was deleted.
    pub(crate) fn forget(&self, key: &Key) {
        self.with(|it| it.remove(key));
    }

    /// Forgets what was in these namespaces, which are gone.
    pub(crate) fn forget_namespaces(&self, gone: &BTreeSet<&str>) {
        self.with(|it| it.retain(|(_, namespace, _), _| !gone.contains(namespace.as_str())));
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<Key, u64>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_forgotten_and_nothing_else() {
        let key = |namespace: &str, name: &str| (Kind::RoleBinding, namespace.to_owned(), name.to_owned());
        let written = Written::default();
        for (namespace, name) in [("a", "x"), ("a", "y"), ("ab", "x"), ("b", "x")] {
            written.remember(key(namespace, name), 1);
        }
        written.forget_namespaces(&["a", "c"].into());
        written.forget(&key("b", "x"));
        let left = ["a", "ab", "b"].map(|it| written.recall(&key(it, "x")));
        assert_eq!(left, [None, Some(1), None]);
        assert_eq!(written.recall(&key("a", "y")), None);
    }
}
