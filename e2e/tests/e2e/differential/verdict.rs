//! What a layer says of a request, and when the two can't both be right.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use super::{SHARED, asked::is_asked};
use crate::requests::Step;

/// What the webhook alone knows of rules that both hold: who of a tenant's people is an owner and how many namespaces there
/// are, and which revisions.
const WEBHOOK_ALONE: [(&str, &str); 3] = [
    ("BW-NS-SELFSERVICE", "made by somebody who is no owner"),
    ("BW-NS-SELFSERVICE", "one more than "),
    ("BW-POLICY-APPROVER", "which is no revision of"),
];
/// What a native policy says, and the rule that is then left to it. The API server tells the first validation of a policy that
/// fails, and so not the second one; and some requests are looked at by one policy only, which nobody gets past.
const LEFT_TO: [(&str, &str); 5] = [
    (
        "BW-NS-SELFSERVICE: this Namespace would be made by a tenant's owner without",
        "BW-NS-IDENTITY",
    ),
    (
        "BW-NS-SELFSERVICE: this Namespace would be made by a tenant's owner without",
        "BW-NS-OWNERREF",
    ),
    (
        "'bailiwick-namespace-identity' denied request: BW-NS-IDENTITY",
        "BW-NS-OWNERREF",
    ),
    // With the mode of Pod labels a new Namespace is not for bailiwick-namespace-creation.
    (
        "BW-NS-IDENTITY: label bailiwick.dev/pod-label of",
        "BW-NS-SELFSERVICE",
    ),
    ("BW-MANAGED: RoleBinding ", "BW-RB-SUBJECT"),
];

/// Nothing, or the message of a refusal. What the API server itself refuses is no verdict.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    Allowed,
    Denied(String),
    Other,
}

impl Verdict {
    pub(super) fn of(result: kube::Result<()>) -> Result<Self> {
        match result {
            Ok(()) => Ok(Self::Allowed),
            Err(kube::Error::Api(status))
                if matches!(status.code, 403 | 503) && status.message.contains("BW-") =>
            {
                Ok(Self::Denied(status.message))
            }
            Err(kube::Error::Api(status)) if status.code < 500 => Ok(Self::Other),
            Err(error) => bail!("{error}"),
        }
    }

    pub(super) fn is_denied(&self) -> bool {
        matches!(self, Self::Denied(_))
    }

    /// The ids of the rules that refuse, as far as both layers hold them.
    pub(super) fn shared_rules(&self) -> BTreeSet<&'static str> {
        let Self::Denied(message) = self else {
            return BTreeSet::new();
        };
        let findings = message.split("BW-").skip(1);
        let rules = findings.filter_map(|finding| {
            let end = finding.find(|it: char| !it.is_ascii_uppercase() && it != '-');
            let id = &finding[..end.unwrap_or(finding.len())];
            let (rule, ..) = SHARED.iter().find(|it| it.0.strip_prefix("BW-") == Some(id))?;
            let is_alone = WEBHOOK_ALONE
                .iter()
                .any(|(it, text)| it == rule && finding.contains(text));
            (!is_alone).then_some(*rule)
        });
        rules.collect()
    }

    /// The native policy that refuses.
    fn policy(&self) -> Option<&str> {
        let Self::Denied(message) = self else { return None };
        let (_, rest) = message.split_once("ValidatingAdmissionPolicy '")?;
        rest.split_once('\'').map(|it| it.0)
    }
}

/// A request, and what was said of it.
pub(super) struct Answer<'a> {
    pub(super) step: &'a Step,
    /// The API server says what one native policy says. What the others say is asked for, one after the other, as long as the
    /// webhook names rules that no native policy has named.
    pub(super) natives: Vec<Verdict>,
    pub(super) webhook: Verdict,
}

impl Answer<'_> {
    /// What the native policies said first.
    pub(super) fn native(&self) -> &Verdict {
        self.natives.first().unwrap_or(&Verdict::Other)
    }

    pub(super) fn is_allowed(&self) -> bool {
        *self.native() == Verdict::Allowed && self.webhook == Verdict::Allowed
    }

    /// Whether no rule that both layers hold refuses it. The webhook may have reasons of its own.
    pub(super) fn is_let_pass(&self) -> bool {
        *self.native() == Verdict::Allowed
            && self.webhook != Verdict::Other
            && self.webhook.shared_rules().is_empty()
    }

    pub(super) fn native_rules(&self) -> BTreeSet<&'static str> {
        self.natives.iter().flat_map(Verdict::shared_rules).collect()
    }

    /// The rules by which both layers refuse.
    pub(super) fn by_both(&self) -> BTreeSet<&'static str> {
        let by_native = self.native_rules();
        by_native
            .intersection(&self.webhook.shared_rules())
            .copied()
            .collect()
    }

    /// The native policies that refused so far, if others have to be asked.
    pub(super) fn to_be_passed(&self) -> Option<Vec<&str>> {
        let is_more = !self.unsaid().is_empty() && self.natives.last().is_some_and(Verdict::is_denied);
        is_more.then(|| self.natives.iter().filter_map(Verdict::policy).collect())
    }

    /// The rules that the webhook names and no native policy did, though it could have.
    fn unsaid(&self) -> BTreeSet<&'static str> {
        let by_native = self.native_rules();
        let said = |text: &str| {
            let mut messages = self.natives.iter();
            messages.any(|it| matches!(it, Verdict::Denied(message) if message.contains(text)))
        };
        let mut unsaid = self.webhook.shared_rules();
        unsaid.retain(|rule| {
            let is_left = LEFT_TO.iter().any(|(text, left)| left == rule && said(text));
            !by_native.contains(rule) && !is_left
        });
        unsaid
    }

    /// Why the two verdicts can't both be right.
    pub(super) fn disagreement(&self) -> Option<String> {
        let (by_native, by_webhook) = (self.native_rules(), self.webhook.shared_rules());
        let agree = if is_asked(self.step) {
            // A role that doesn't exist is refused either way; the webhook says that it may pass once there is one.
            let is_undecided =
                matches!(&self.webhook, Verdict::Denied(message) if message.contains("BW-UNDECIDED"));
            let natively_alone = by_native.difference(&by_webhook).count();
            self.unsaid().is_empty() && (natively_alone == 0 || is_undecided)
        } else {
            !self.webhook.is_denied()
        };
        (!agree).then(|| {
            format!(
                "natively {by_native:?}, by the webhook {by_webhook:?}\n    natively {:?}\n    by the webhook {:?}",
                self.natives, self.webhook
            )
        })
    }
}
