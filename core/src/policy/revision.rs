//! A revision: its content, made ready to be evaluated, and the form in which it is kept.

use bailiwick_crds::v1alpha1::PolicyError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::content::Content;
use crate::rego;

/// How many digits of a digest name a revision.
const NAME: usize = 12;

/// A revision as a ControllerRevision keeps it in `data`, which can't be changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredRevision {
    /// The policy that it is of.
    pub policy: String,
    /// Its digest.
    pub digest: String,
    /// Who wrote it, as the API server authenticated them.
    pub author: String,
    /// What it holds.
    pub content: Content,
}

impl StoredRevision {
    /// The revision of a policy with this content.
    pub fn new(policy: &str, author: &str, content: Content) -> Self {
        Self {
            policy: policy.to_owned(),
            digest: content.digest(policy),
            author: author.to_owned(),
            content,
        }
    }

    /// Reads `data`.
    ///
    /// # Errors
    /// When it can't be read, or is not what its digest says.
    pub fn read(data: &Value) -> Result<Self, String> {
        let stored = Self::deserialize(data).map_err(|it| format!("can't be read: {it}"))?;
        let digest = stored.content.digest(&stored.policy);
        if digest == stored.digest {
            Ok(stored)
        } else {
            Err(format!("has the digest {digest} and says {}", stored.digest))
        }
    }

    /// The name of the ControllerRevision that keeps it.
    pub fn object_name(&self) -> String {
        format!("{}-{}", self.policy, self.name())
    }

    /// Its name: the first digits of its digest.
    pub fn name(&self) -> &str {
        name_of(&self.digest)
    }
}

/// The name of the revision with a digest.
pub fn name_of(digest: &str) -> &str {
    digest.get(..NAME).unwrap_or(digest)
}

/// A revision that can be evaluated, from many threads.
#[derive(Debug)]
pub struct Revision {
    /// What is kept of it.
    pub stored: StoredRevision,
    pub(super) policy: rego::Policy,
}

impl Revision {
    /// Compiles a revision, on a thread with [`rego::STACK`].
    ///
    /// # Errors
    /// What keeps it from being compiled, with field, line and column.
    pub fn compile(stored: StoredRevision) -> Result<Self, Vec<PolicyError>> {
        let content = &stored.content;
        let parameters = Value::Object(content.parameters.clone());
        let policy = rego::Policy::compile(content.language(), &content.rego_sources(), &parameters)
            .map_err(|it| it.iter().map(of_problem).collect::<Vec<_>>())?;
        Ok(Self { stored, policy })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.stored.name()
    }
}

pub(super) fn of_problem(problem: &rego::Problem) -> PolicyError {
    let place = |it: u32| i32::try_from(it).ok().filter(|it| *it > 0);
    PolicyError {
        field: problem.file.chars().take(253).collect(),
        line: place(problem.line),
        column: place(problem.column),
        message: problem.message.chars().take(2048).collect(),
    }
}
