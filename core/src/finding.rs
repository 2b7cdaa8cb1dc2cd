//! What is wrong, said so that its reader needs no source code: the rule, the field, what was found, what is
//! allowed and what to do.

use std::fmt;

use serde::Serialize;

macro_rules! rule_ids {
    ($($(#[doc = $doc:literal])+ $variant:ident = $id:literal,)+) => {
        /// A rule, by its stable id. `docs/rules.md` explains each one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RuleId {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl RuleId {
            /// Every rule, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The id as denials, metrics and audit annotations show it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $id,)+ }
            }

            /// What the rule holds, in a sentence.
            pub const fn summary(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+),)+ }
            }
        }
    };
}

rule_ids! {
    /// Only the operator sets, changes or removes the labels that tie a Namespace to its tenant and decide its Pod security.
    NamespaceIdentity = "BW-NS-IDENTITY",
    /// A tenant's Namespace carries no ownerReferences: the garbage collector would delete it with its owner.
    NamespaceOwnerReference = "BW-NS-OWNERREF",
    /// A tenant's subject may not consent to the adoption of a Namespace.
    NamespaceAdoption = "BW-NS-ADOPT",
    /// A Namespace that a Tenant declares can't be deleted: the Tenant has to stop declaring it first.
    NamespaceDeclared = "BW-NS-DECLARED",
    /// A tenant's subject creates a Namespace only where its Tenant has self-service, and as that says.
    NamespaceSelfService = "BW-NS-SELFSERVICE",
    /// The name of a Namespace made by self-service is the Tenant's to give.
    NamespacePrefix = "BW-NS-PREFIX",
    /// A tenant's subject sets only such labels and annotations of a Namespace as its Tenant lists.
    NamespaceMetadata = "BW-NS-METADATA",
    /// Nothing is made in a Namespace that its tenant has not taken yet.
    NamespaceClosed = "BW-NS-CLOSED",
    /// A Pod carries its own Namespace's tenant label, and a Pod outside any tenant carries none.
    PodLabel = "BW-POD-LABEL",
    /// A Binding may not carry the tenant label, which would overwrite the Pod's.
    BindingLabel = "BW-BINDING-LABEL",
    /// Managed objects are written by the operator only.
    Managed = "BW-MANAGED",
    /// What lives in the namespaces of a tenant that is suspended may be read only.
    Suspended = "BW-SUSPENDED",
    /// A RoleBinding in a tenant's namespace names subjects of that tenant or of the platform.
    RoleBindingSubject = "BW-RB-SUBJECT",
    /// A RoleBinding gives a tenant's subjects nothing that reaches out of the tenant.
    RoleBindingGrant = "BW-RB-GRANT",
    /// A Role in a tenant's namespace grants nothing that reaches out of the tenant.
    RoleGrant = "BW-ROLE-GRANT",
    /// A ClusterRoleBinding gives tenants' subjects nothing but discovery.
    ClusterRoleBindingSubject = "BW-CRB-SUBJECT",
    /// A ClusterRole that tenants' subjects are bound to may not be widened beyond what they may have.
    ClusterRoleWidened = "BW-CR-WIDEN",
    /// A NetworkPolicy in a tenant's namespace opens nothing beyond the tenant and its declared exceptions.
    NetworkPolicyOpen = "BW-NP-OPEN",
    /// An image comes from a registry that the Tenant allows.
    ImageRegistry = "BW-IMAGE-REGISTRY",
    /// A Pod names a PriorityClass that the Tenant allows, and never one of the cluster's own.
    PriorityClass = "BW-PRIORITY-CLASS",
    /// A Pod runs in a RuntimeClass that the Tenant allows.
    RuntimeClass = "BW-RUNTIME-CLASS",
    /// A tenant's Pod does not name its node.
    PodNodeName = "BW-POD-NODENAME",
    /// A tenant's Pod tolerates the taints that its Tenant allows, and never all.
    PodToleration = "BW-POD-TOLERATION",
    /// A tenant's Pod runs where its Tenant's placement says, and nowhere else.
    PodPlacement = "BW-POD-PLACEMENT",
    /// A tenant's data lies within the regions of its Tenant's placement.
    VolumeRegion = "BW-VOLUME-REGION",
    /// A PersistentVolumeClaim names a StorageClass that the Tenant allows.
    StorageClass = "BW-STORAGE-CLASS",
    /// A tenant's PersistentVolumeClaim does not name its volume.
    ClaimVolume = "BW-PVC-VOLUME",
    /// A tenant's PersistentVolumeClaim takes no data from other tenants' namespaces.
    ClaimSource = "BW-PVC-SOURCE",
    /// An Ingress or Gateway names a class that the Tenant allows.
    IngressClass = "BW-INGRESS-CLASS",
    /// A tenant serves the hostnames that it was granted, and nobody else's.
    Hostname = "BW-HOSTNAME",
    /// A Service is of a type that the Tenant allows.
    ServiceType = "BW-SERVICE-TYPE",
    /// A Service takes traffic to external addresses only where the Tenant allows them.
    ServiceExternalIp = "BW-SERVICE-EXTERNAL-IP",
    /// A Service leads to an external name only where the Tenant allows it.
    ServiceExternalName = "BW-SERVICE-EXTERNAL-NAME",
    /// A Tenant's spec can be carried out as written.
    TenantInvalid = "BW-TENANT-INVALID",
    /// A subject belongs to one Tenant.
    TenantIdentity = "BW-TENANT-IDENTITY",
    /// A Namespace belongs to one Tenant.
    TenantNamespace = "BW-TENANT-NAMESPACE",
    /// A hostname is granted to one Tenant.
    TenantHostname = "BW-TENANT-HOSTNAME",
    /// Bailiwick's record of its tenants is written by the operator only.
    Record = "BW-RECORD",
    /// A request that can't be understood is refused.
    Malformed = "BW-MALFORMED",
    /// A request that can't be decided yet is refused; the same request may pass a moment later.
    Undecided = "BW-UNDECIDED",
    /// A request meets the policies (TenantPolicy) of its tenant.
    Policy = "BW-POLICY",
    /// A request that a policy can't judge is refused, as far as the policy refuses anything.
    PolicyError = "BW-POLICY-ERROR",
    /// A TenantPolicy compiles, passes its tests and can be carried out as written.
    PolicyInvalid = "BW-POLICY-INVALID",
    /// A tenant's subject writes no policy.
    PolicyAuthor = "BW-POLICY-AUTHOR",
    /// Nobody approves a revision of a policy that is their own, or that isn't there.
    PolicyApprover = "BW-POLICY-APPROVER",
    /// A kind of object that this version does not decide is refused where the webhook is asked about it.
    Unsupported = "BW-UNSUPPORTED",
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for RuleId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One reason for a denial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule that is broken.
    pub rule: RuleId,
    /// Path of the field, such as `spec.owners[0].name`.
    pub field: String,
    /// What was found there.
    pub found: String,
    /// What is allowed instead.
    pub allowed: String,
    /// What to do next.
    pub fix: String,
    /// The policy that says so; none for a rule that is built in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Box<Source>>,
}

/// The policy that a finding comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Name of the TenantPolicy.
    pub policy: String,
    /// Name of the revision.
    pub revision: String,
    /// The rule in it, such as `deny`; empty where the policy could not be evaluated.
    pub rule: String,
}

impl Source {
    /// A rule of a revision of a policy.
    pub fn new(policy: &str, revision: &str, rule: &str) -> Self {
        Self {
            policy: policy.to_owned(),
            revision: revision.to_owned(),
            rule: rule.to_owned(),
        }
    }
}

impl Finding {
    /// A finding; the arguments are in the order in which they are read.
    pub fn new(
        rule: RuleId,
        field: impl Into<String>,
        found: impl Into<String>,
        allowed: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            rule,
            field: printable(field.into()),
            found: printable(found.into()),
            allowed: printable(allowed.into()),
            fix: printable(fix.into()),
            source: None,
        }
    }

    /// The finding as one of a policy.
    #[must_use]
    pub fn of(mut self, source: Source) -> Self {
        self.source = Some(Box::new(source));
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rule,
            field,
            found,
            allowed,
            fix,
            source,
        } = self;
        write!(f, "{rule}")?;
        if let Some(Source { policy, revision, .. }) = source.as_deref() {
            write!(f, " {policy}@{revision}")?;
        }
        if !field.is_empty() {
            write!(f, ": {field}")?;
        }
        write!(f, ": {found}")?;
        if !allowed.is_empty() {
            write!(f, "; allowed: {allowed}")?;
        }
        if !fix.is_empty() {
            write!(f, "; {fix}")?;
        }
        Ok(())
    }
}

/// The longest text that a finding repeats of what somebody wrote.
const MAX_TEXT: usize = 600;

/// Text from outside, with what steers a reader's screen escaped and at most [`MAX_TEXT`] characters long: it
/// goes into logs, terminals and HTTP answers.
fn printable(text: String) -> String {
    let plain = text.len() <= MAX_TEXT && !text.chars().any(steers);
    if plain {
        return text;
    }
    let mut shown: String = text
        .chars()
        .take(MAX_TEXT)
        .flat_map(|c| {
            if steers(c) {
                c.escape_default().collect::<Vec<_>>()
            } else {
                vec![c]
            }
        })
        .collect();
    if text.chars().count() > MAX_TEXT {
        shown.push('…');
    }
    shown
}

/// Control characters, line separators, and what turns the direction of text around or can't be seen.
fn steers(c: char) -> bool {
    let unseen =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    c.is_control() || unseen
}

/// A list for a message: quoted, the first few, and how many more.
pub fn some_of<I>(items: I) -> String
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    const SHOWN: usize = 8;
    let mut items = items.into_iter();
    let text = items
        .by_ref()
        .take(SHOWN)
        .map(|it| format!("'{}'", it.as_ref()))
        .collect::<Vec<_>>()
        .join(", ");
    let more = items.count();
    match (text.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (false, 0) => text,
        (false, _) => format!("{text} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_begin_with_the_products_letters() {
        let ids: std::collections::BTreeSet<_> = RuleId::ALL.iter().map(|it| it.as_str()).collect();
        assert_eq!(ids.len(), RuleId::ALL.len());
        assert!(ids.iter().all(|it| it.starts_with("BW-")));
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        let bad = "a\u{1b}[2Jb\n\u{202e}c\u{200b}";
        let finding = Finding::new(RuleId::PodLabel, bad, bad, bad, bad);
        assert!(finding.to_string().is_ascii(), "{finding}");
    }

    #[test]
    fn a_list_is_quoted_and_cut() {
        let names: Vec<String> = (0..10).map(|i| i.to_string()).collect();
        assert_eq!(some_of(&names[..0]), "none");
        assert_eq!(some_of(&names[..1]), "'0'");
        assert_eq!(some_of(&names[..2]), "'0', '1'");
        assert_eq!(some_of(&names[..8]), "'0', '1', '2', '3', '4', '5', '6', '7'");
        assert_eq!(
            some_of(&names),
            "'0', '1', '2', '3', '4', '5', '6', '7' and 2 more"
        );
    }

    #[test]
    fn a_megabyte_of_text_is_cut() {
        let finding = Finding::new(RuleId::PodLabel, "f", "é".repeat(1 << 20), "x", "y");
        assert!(finding.to_string().len() < 4 * MAX_TEXT);
    }
}
