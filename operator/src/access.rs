//! How far access to the tenants reaches, as it was last seen.

use std::sync::Arc;

use bailiwick_core::reach::Strays;
use bailiwick_crds::v1alpha1::{Tenant, TenantSpec};
use futures::Stream;
use futures::stream::{self, StreamExt as _};
use kube::runtime::watcher;
use tokio::sync::watch;

/// The bindings that undo the isolation of tenants.
#[derive(Clone)]
pub(crate) struct Access(watch::Sender<Arc<Strays>>);

impl Default for Access {
    fn default() -> Self {
        Self(watch::Sender::new(Arc::default()))
    }
}

impl Access {
    /// Replaces what is known.
    pub(crate) fn see(&self, strays: Strays) {
        self.0.send_if_modified(|known| {
            let is_new = **known != strays;
            if is_new {
                *known = Arc::new(strays);
            }
            is_new
        });
    }

    /// The bindings that undo a tenant's isolation, each in words.
    pub(crate) fn strays(&self, tenant: &str) -> Vec<String> {
        self.0.borrow().get(tenant).cloned().unwrap_or_default()
    }

    /// The Tenants of which it became another, by name alone.
    pub(crate) fn changes(&self) -> impl Stream<Item = Result<Tenant, watcher::Error>> + Send + use<> {
        let mut known = self.0.subscribe();
        // What was seen before anybody asked is a change, too.
        known.mark_changed();
        let steps = stream::unfold((known, Arc::<Strays>::default()), |(mut known, old)| async move {
            known.changed().await.ok()?;
            let new = known.borrow_and_update().clone();
            Some((stream::iter(differing(&old, &new)), (known, new)))
        });
        steps
            .flatten()
            .map(|name| Ok(Tenant::new(&name, TenantSpec::default())))
    }
}

fn differing(old: &Strays, new: &Strays) -> Vec<String> {
    let names = old.keys().chain(new.keys().filter(|it| !old.contains_key(*it)));
    names.filter(|it| old.get(*it) != new.get(*it)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_wakes_the_tenants_that_it_concerns() {
        let access = Access::default();
        let mut changes = Box::pin(access.changes());
        let strays = |of: &[(&str, &str)]| -> Strays {
            of.iter()
                .map(|(tenant, text)| ((*tenant).to_owned(), vec![(*text).to_owned()]))
                .collect()
        };
        let mut next = async || changes.next().await.unwrap().unwrap().metadata.name.unwrap();
        access.see(strays(&[("acme", "a"), ("globex", "b")]));
        assert_eq!((next().await.as_str(), next().await.as_str()), ("acme", "globex"));
        assert_eq!(access.strays("acme"), ["a"]);
        // The same again wakes nobody; a change of one wakes that one.
        access.see(strays(&[("acme", "a"), ("globex", "b")]));
        access.see(strays(&[("acme", "a"), ("globex", "c")]));
        assert_eq!(next().await, "globex");
        access.see(strays(&[("globex", "c")]));
        assert_eq!(next().await, "acme");
        assert!(access.strays("acme").is_empty());
    }
}
