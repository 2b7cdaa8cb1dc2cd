//! Hostnames: each is one tenant's, and what serves every name serves other tenants' too.

use super::Rails;
use crate::finding::{Finding, RuleId, some_of};
use crate::hostname::Hostname;
use crate::review::Metadata;

/// Annotations by which well-known controllers make a name lead to an object.
const ANNOTATIONS: [&str; 3] = [
    "external-dns.alpha.kubernetes.io/hostname",
    "external-dns.alpha.kubernetes.io/internal-hostname",
    "nginx.ingress.kubernetes.io/server-alias",
];

/// Judges a name that an object serves; an empty one is every name.
pub(super) fn judge(rails: &Rails<'_>, field: String, name: &str) -> Option<Finding> {
    let granted = rails.list(|it| it.hostnames.as_ref());
    let all = &rails.snapshot.tenants.hostnames;
    let Some(host) = Hostname::parse(name) else {
        let is_harmless = granted.is_none() && !all.has_others(rails.tenant);
        let found = match name {
            "" | "*" => "every hostname".to_owned(),
            other => format!("'{other}', which may be every hostname"),
        };
        return (!is_harmless).then(|| refused(rails, field, found, granted));
    };
    let rivals = all.rivals(rails.tenant, &host);
    if !rivals.is_empty() {
        let found = format!("'{name}', which belongs to tenant {}", some_of(rivals));
        return Some(refused(rails, field, found, granted));
    }
    let granted = granted?;
    let is_granted = granted
        .iter()
        .filter_map(|it| Hostname::parse(it))
        .any(|it| it.covers(&host));
    (!is_granted).then(|| refused(rails, field, format!("'{name}'"), Some(granted)))
}

/// Judges each name that an object serves; none are all.
pub(super) fn judge_all(rails: &Rails<'_>, field: &str, names: &[String]) -> Vec<Finding> {
    if names.is_empty() {
        return judge(rails, field.to_owned(), "").into_iter().collect();
    }
    let names = names.iter().enumerate();
    names
        .filter_map(|(i, it)| judge(rails, format!("{field}[{i}]"), it))
        .collect()
}

/// Judges the names in annotations.
pub(super) fn annotated(rails: &Rails<'_>, metadata: &Metadata<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for key in ANNOTATIONS {
        let names = metadata.annotations.get(key).map(|it| it.split(','));
        let names = names
            .into_iter()
            .flatten()
            .map(str::trim)
            .filter(|it| !it.is_empty());
        let field = format!("metadata.annotations['{key}']");
        findings.extend(names.filter_map(|it| judge(rails, field.clone(), it)));
    }
    findings
}

fn refused(rails: &Rails<'_>, field: String, found: String, granted: Option<&[String]>) -> Finding {
    let tenant = rails.tenant;
    Finding::new(
        RuleId::Hostname,
        field,
        found,
        granted.map_or_else(
            || "hostnames that no other tenant was granted".to_owned(),
            some_of,
        ),
        format!(
            "name hostnames of the tenant's, each of them; the platform grants them in spec.workloads.hostnames of Tenant '{tenant}'"
        ),
    )
}
