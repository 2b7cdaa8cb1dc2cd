//! `bailiwick policy rollback`: hold a policy at an earlier revision, or let it follow what is written again.

use serde_json::{Value, json};

use super::stored::Stored;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish<'a> {
    /// The revision before the active one.
    Before,
    /// This one.
    To(&'a str),
    /// What is written.
    Undo,
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// A merge patch of the policy; none where it is so already.
    pub patch: Option<Value>,
    /// What that does, in a sentence.
    pub says: String,
}

/// Plans it.
///
/// # Errors
/// Why there is no such revision.
pub fn plan(stored: &Stored, wish: Wish<'_>) -> Result<Plan, String> {
    let name = stored.name();
    let pinned = stored.policy.spec.revision.as_deref();
    let target = match wish {
        Wish::Undo => None,
        Wish::To(word) => Some(stored.named(word)?),
        Wish::Before => Some(before(stored)?),
    };
    if let Some(target) = &target {
        stored.kept(target)?;
    }
    let says = match (&target, pinned) {
        (Some(target), Some(pinned)) if target == pinned => {
            return Ok(Plan {
                patch: None,
                says: format!("TenantPolicy '{name}' is held at revision {target} already"),
            });
        }
        (None, None) => {
            return Ok(Plan {
                patch: None,
                says: format!("TenantPolicy '{name}' follows what is written already"),
            });
        }
        (Some(target), _) => {
            let approvals = stored
                .policy
                .status
                .as_ref()
                .and_then(|it| it.required_approvals)
                .filter(|it| *it > 0)
                .map(|it| format!("; it needs {it} approvals, given before or now"));
            format!(
                "TenantPolicy '{name}' goes back to revision {target} and is held there{}",
                approvals.unwrap_or_default()
            )
        }
        (None, Some(pinned)) => {
            format!(
                "TenantPolicy '{name}' is held at revision {pinned} no longer and follows what is written"
            )
        }
    };
    Ok(Plan {
        patch: Some(json!({"spec": {"revision": target}})),
        says,
    })
}

/// The revision before the active one.
fn before(stored: &Stored) -> Result<String, String> {
    let name = stored.name();
    let active = stored.named("active")?;
    let number = |revision: &str| {
        let key = (name.to_owned(), revision.to_owned());
        stored.revisions.get(&key).map(|it| it.number)
    };
    let of_active = number(&active);
    let earlier = stored.revisions.iter().filter(|it| Some(it.1.number) < of_active);
    earlier
        .max_by_key(|it| it.1.number)
        .map(|it| it.0.1.clone())
        .ok_or_else(|| {
            format!("TenantPolicy '{name}' keeps no revision before {active}, which is active; to stop it, change or delete the policy")
        })
}
