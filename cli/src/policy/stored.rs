//! A TenantPolicy of the cluster with its revisions, as the commands look at it.

use bailiwick_core::policy::{Content, StoredRevision};
use bailiwick_crds::v1alpha1::TenantPolicy;

use crate::live::policies::{Revisions, revisions};
use crate::live::{Api, BAILIWICK, needed};

/// A policy and its revisions.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The policy.
    pub policy: TenantPolicy,
    /// What is kept of it.
    pub revisions: Revisions,
}

/// One side of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Side {
    /// How it is called.
    pub name: String,
    /// What it holds.
    pub content: Content,
}

/// The path of a policy.
pub fn path(name: &str) -> String {
    format!("{BAILIWICK}/tenantpolicies/{name}")
}

impl Stored {
    /// Reads a policy and its revisions.
    ///
    /// # Errors
    /// Why they can't be had.
    pub fn read(api: &dyn Api, name: &str, namespace: &str) -> Result<Self, String> {
        Ok(Self {
            policy: needed(api, &path(name), &format!("TenantPolicy '{name}'"))?,
            revisions: revisions(api, namespace, Some(name))?,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.policy.metadata.name.as_deref().unwrap_or_default()
    }

    /// The revision that decides.
    pub fn active(&self) -> Option<&str> {
        self.policy.status.as_ref()?.active_revision.as_deref()
    }

    /// The revision that is to follow.
    pub fn candidate(&self) -> Option<&str> {
        self.policy.status.as_ref()?.candidate_revision.as_deref()
    }

    /// A revision that is kept.
    ///
    /// # Errors
    /// Why it is not there, and which are.
    pub fn kept(&self, revision: &str) -> Result<&StoredRevision, String> {
        let key = (self.name().to_owned(), revision.to_owned());
        match self.revisions.get(&key).map(|it| &it.stored) {
            Some(Ok(stored)) => Ok(stored),
            Some(Err(why)) => Err(format!("revision {revision} {why}")),
            None => Err(format!(
                "revision {revision} is not kept; there are {}",
                self.names().join(", ")
            )),
        }
    }

    fn names(&self) -> Vec<String> {
        let names: Vec<String> = self.revisions.keys().map(|it| it.1.clone()).collect();
        if names.is_empty() {
            vec!["none".to_owned()]
        } else {
            names
        }
    }

    /// The revision that is meant by `active`, `candidate`, a number, or the first digits of its name.
    ///
    /// # Errors
    /// What may be meant instead.
    pub fn named(&self, word: &str) -> Result<String, String> {
        let name = self.name();
        match word {
            "active" => {
                return self
                    .active()
                    .map(str::to_owned)
                    .ok_or_else(|| format!("TenantPolicy '{name}' has no active revision"));
            }
            "candidate" => {
                return self.candidate().map(str::to_owned).ok_or_else(|| {
                    format!("TenantPolicy '{name}' has no candidate: what is written is what decides, or is no good; see its status")
                });
            }
            _ => {}
        }
        let number: Option<i64> = word.parse().ok();
        let by_number = self
            .revisions
            .iter()
            .filter(|it| Some(it.1.number) == number && word.len() < 12);
        let by_name = self
            .revisions
            .keys()
            .filter(|it| it.1.starts_with(word))
            .map(|it| &it.1);
        let mut found: Vec<&String> = by_number.map(|it| &it.0.1).collect();
        // Fewer digits are a number that isn't there.
        if found.is_empty() && word.len() >= 4 {
            found = by_name.collect();
        }
        match found.as_slice() {
            [one] => Ok((*one).clone()),
            [] => Err(format!(
                "'{word}' is no revision of TenantPolicy '{name}'; there are {}, active and candidate",
                self.names().join(", ")
            )),
            many => Err(format!(
                "'{word}' may be any of {} revisions; write more digits",
                many.len()
            )),
        }
    }

    /// A revision to be compared.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn side(&self, word: &str) -> Result<Side, String> {
        let revision = self.named(word)?;
        let content = self.kept(&revision)?.content.clone();
        let name = if word == revision {
            revision
        } else {
            format!("{revision} ({word})")
        };
        Ok(Side { name, content })
    }
}
