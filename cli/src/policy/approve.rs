//! `bailiwick policy approve`: a person says yes to one revision, by its whole digest.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::stored::Stored;
use crate::live::{Api, Write};

/// An approval that is to be given.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The revision.
    pub revision: String,
    /// Who approves it.
    pub approver: String,
    /// The PolicyApproval.
    pub approval: Value,
    /// What is worth knowing.
    pub notes: Vec<String>,
}

/// The user whom the API server takes the caller for.
///
/// # Errors
/// Why it can't be told.
pub fn whoami(api: &dyn Api) -> Result<String, String> {
    const PATH: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let written = api.write(Write::Create, PATH, &body)?;
    let name = match &written {
        crate::live::Written::Done(review) => review["status"]["userInfo"]["username"].as_str(),
        crate::live::Written::Exists => None,
    };
    name.map(str::to_owned)
        .ok_or_else(|| "the API server doesn't say who you are".to_owned())
}

/// The approval of a policy's candidate by a user. `digest` is the one that the user has reviewed, or its first digits.
///
/// # Errors
/// Why there is nothing to approve for this user.
pub fn plan(stored: &Stored, user: &str, digest: Option<&str>) -> Result<Plan, String> {
    let name = stored.name();
    let status = stored.policy.status.clone().unwrap_or_default();
    let (Some(revision), Some(candidate)) = (&status.candidate_revision, &status.candidate_digest) else {
        return Err(format!(
            "TenantPolicy '{name}' has no candidate that waits for approvals"
        ));
    };
    if let Some(digest) = digest
        && (digest.len() < 12 || !candidate.starts_with(digest))
    {
        return Err(format!(
            "the candidate of TenantPolicy '{name}' has the digest {candidate}, not {digest}: it was changed since; review it again"
        ));
    }
    let history = status.revisions.iter().find(|it| it.name == *revision);
    if history.is_some_and(|it| it.author == user) {
        return Err(format!(
            "revision {revision} was written by '{user}': nobody approves what is their own; let somebody else approve it"
        ));
    }
    let required = stored
        .kept(revision)
        .map(|it| it.content.required_approvals)
        .unwrap_or_default()
        .max(status.required_approvals.unwrap_or_default());
    let given = history.map(|it| it.approved_by.as_slice()).unwrap_or_default();
    let mut notes = Vec::new();
    if required == 0 {
        notes.push(format!("revision {revision} needs no approval"));
    } else if given.iter().any(|it| it == user) {
        notes.push(format!("'{user}' has approved revision {revision} already"));
    } else {
        notes.push(format!(
            "revision {revision} needs {required} approvals and has {}",
            given.len()
        ));
    }
    Ok(Plan {
        revision: revision.clone(),
        approver: user.to_owned(),
        approval: json!({
            "apiVersion": "bailiwick.dev/v1alpha1",
            "kind": "PolicyApproval",
            "metadata": {
                "name": approval_name(name, candidate, user),
                "ownerReferences": [{
                    "apiVersion": "bailiwick.dev/v1alpha1",
                    "kind": "TenantPolicy",
                    "name": name,
                    "uid": stored.policy.metadata.uid.clone().unwrap_or_default(),
                }],
            },
            "spec": {"policy": name, "digest": candidate, "approver": user},
        }),
        notes,
    })
}

/// The name of a user's approval: the same user's of the same revision is the same object.
fn approval_name(policy: &str, digest: &str, user: &str) -> String {
    let hash: [u8; 32] = Sha256::digest(user.as_bytes()).into();
    let [a, b, c, d, ..] = hash;
    let user = u32::from_be_bytes([a, b, c, d]);
    format!("{policy}-{}-{user:08x}", digest.get(..12).unwrap_or(digest))
}
