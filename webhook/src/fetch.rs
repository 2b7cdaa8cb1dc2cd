//! The one question that a decision may ask the API server: something so new that no watch has told of it yet.
//!
//! Requests that ask the same at the same time share one question. It is a task of its own: it goes on when a request
//! that asked it gives up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bailiwick_core::grants::Rule;
use bailiwick_core::ownership::NamespaceFacts;
use bailiwick_core::placement::VolumeFacts;
use bailiwick_core::snapshot::{Need, RoleFacts, Snapshot, rules};
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume};
use k8s_openapi::api::rbac::v1::{ClusterRole, Role};
use kube::{Api, Client};

/// How long the API server may take: less than the API server's own patience with the webhook.
const DEADLINE: Duration = Duration::from_millis(1500);

/// What was found.
#[derive(Clone, Debug)]
enum Found {
    Namespace(NamespaceFacts),
    ClusterRole(RoleFacts),
    Role(Vec<Rule>),
    Volume(VolumeFacts),
    Nothing,
}

type Answer = Result<Found, String>;
type Question = Shared<BoxFuture<'static, Answer>>;

/// Asks the API server, once for all who want to know.
#[derive(Clone)]
pub struct Fetcher {
    client: Client,
    open: Arc<Mutex<BTreeMap<Need, Question>>>,
}

impl Fetcher {
    /// A fetcher.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            open: Arc::default(),
        }
    }

    /// The snapshot with what it needs, or with the knowledge that it doesn't exist.
    ///
    /// # Errors
    /// Text that says why nobody knows.
    pub async fn fill(&self, snapshot: Snapshot, need: &Need) -> Result<Snapshot, String> {
        let question = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.entry(need.clone())
                .or_insert_with(|| self.ask(need.clone()))
                .clone()
        };
        Ok(match (question.await?, need.clone()) {
            (Found::Namespace(facts), Need::Namespace(name)) => snapshot.with_namespace(name, facts),
            (Found::ClusterRole(role), Need::ClusterRole(name)) => snapshot.with_cluster_role(name, role),
            (Found::Role(rules), Need::Role { namespace, name }) => {
                snapshot.with_role(namespace, name, rules)
            }
            (Found::Volume(volume), Need::PersistentVolume(name)) => snapshot.with_volume(name, volume),
            (_, need) => snapshot.without(need),
        })
    }

    fn ask(&self, need: Need) -> Question {
        let (client, open) = (self.client.clone(), self.open.clone());
        let asking = tokio::spawn(async move {
            let answer = match tokio::time::timeout(DEADLINE, get(client, need.clone())).await {
                Ok(Ok(found)) => Ok(found),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("the API server did not answer in time".to_owned()),
            };
            // Whoever asks from now on wants to know what is then.
            open.lock().unwrap_or_else(PoisonError::into_inner).remove(&need);
            answer
        });
        let answer = async move {
            let ended = |error: tokio::task::JoinError| Err(error.to_string());
            asking.await.unwrap_or_else(ended)
        };
        answer.boxed().shared()
    }
}

async fn get(client: Client, need: Need) -> Result<Found, kube::Error> {
    Ok(match need {
        Need::Namespace(name) => Api::<Namespace>::all(client)
            .get_opt(&name)
            .await?
            .map_or(Found::Nothing, |it| Found::Namespace(NamespaceFacts::from(&it))),
        Need::ClusterRole(name) => Api::<ClusterRole>::all(client)
            .get_opt(&name)
            .await?
            .map_or(Found::Nothing, |it| Found::ClusterRole(RoleFacts::from(&it))),
        Need::Role { namespace, name } => Api::<Role>::namespaced(client, &namespace)
            .get_opt(&name)
            .await?
            .map_or(Found::Nothing, |it| Found::Role(rules(it.rules.as_ref()))),
        Need::PersistentVolume(name) => Api::<PersistentVolume>::all(client)
            .get_opt(&name)
            .await?
            .map_or(Found::Nothing, |it| Found::Volume(VolumeFacts::from(&it))),
    })
}
