//! Who may write policies, and who may approve them. The native policies see that nobody writes another's name.

use serde::Deserialize;

use super::{Findings, object};
use crate::finding::{Finding, RuleId};
use crate::identity::{Standing, Subject};
use crate::review::Request;
use crate::snapshot::Snapshot;

/// Judges a TenantPolicy by its requester; what is wrong with it is told in its status.
pub(super) fn decide(snapshot: &Snapshot, request: &Request<'_>) -> Vec<Finding> {
    let tenant = requesters_tenant(snapshot, request);
    tenant
        .map(|tenant| {
            Finding::new(
                RuleId::PolicyAuthor,
                "request.userInfo",
                format!(
                    "'{}' is a subject of tenant '{tenant}'",
                    request.user_info.username
                ),
                "TenantPolicies written by the platform only",
                "ask the platform team for the policy",
            )
        })
        .into_iter()
        .collect()
}

/// Judges a PolicyApproval.
pub(super) fn decide_approval(snapshot: &Snapshot, request: &Request<'_>) -> Findings {
    #[derive(Deserialize)]
    struct Approval {
        spec: Spec,
    }
    #[derive(Deserialize)]
    struct Spec {
        policy: String,
        digest: String,
        approver: Option<String>,
    }
    let Approval { spec } = object(request)?;
    let user = &*request.user_info.username;
    let refuse = |field: &str, found: String, allowed: &str, fix: &str| {
        Ok(vec![Finding::new(
            RuleId::PolicyApprover,
            field,
            found,
            allowed,
            fix,
        )])
    };
    if let Some(tenant) = requesters_tenant(snapshot, request) {
        return refuse(
            "request.userInfo",
            format!("'{user}' is a subject of tenant '{tenant}'"),
            "approvals by people of the platform",
            "ask the platform team for the approval",
        );
    }
    if spec.approver.as_deref() != Some(user) {
        return refuse(
            "spec.approver",
            format!("'{}'", spec.approver.unwrap_or_default()),
            &format!("'{user}', whose request it is"),
            "write your own name, or leave it to the API server",
        );
    }
    match snapshot.policies.author(&spec.policy, &spec.digest) {
        None => refuse(
            "spec.digest",
            format!(
                "'{}', which is no revision of policy '{}'",
                spec.digest, spec.policy
            ),
            "digests of revisions that are kept, such as status.candidateDigest of the policy",
            "look at `kubectl bailiwick policy history`, and try again",
        ),
        Some(author) if author == user => refuse(
            "spec.approver",
            format!("'{user}', who wrote this revision"),
            "approvals by others than the author",
            "let somebody else approve it",
        ),
        Some(_) => Ok(Vec::new()),
    }
}

fn requesters_tenant(snapshot: &Snapshot, request: &Request<'_>) -> Option<String> {
    let user = Subject::User(&request.user_info.username);
    let groups = request.user_info.groups.iter().flatten();
    std::iter::once(user)
        .chain(groups.map(|it| Subject::Group(it)))
        .find_map(|it| match snapshot.standing(it) {
            Standing::Tenants(tenants) => tenants.first().map(|it| (*it).to_owned()),
            _ => None,
        })
}
