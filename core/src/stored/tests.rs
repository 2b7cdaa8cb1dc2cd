use super::*;
use crate::config::PlatformSubjects;
use crate::identity::{Identities, Standing, Subject as Who};
use bailiwick_crds::v1alpha1::{DeletionPolicy, NamespaceOrigin};

fn stored(spec: &str, status: &str) -> StoredTenant {
    let yaml = format!("{{metadata: {{name: acme, uid: u}}, spec: {spec}, status: {status}}}");
    read(serde_saphyr::from_str(&yaml).unwrap()).unwrap()
}

#[track_caller]
fn unreadable(spec: &str, expected: &[&str]) -> Tenant {
    let stored = stored(spec, "{}");
    let fields: Vec<&str> = stored.unreadable.iter().map(|it| it.field.as_str()).collect();
    assert_eq!(fields, expected, "{spec}");
    Arc::unwrap_or_clone(stored.tenant)
}

#[track_caller]
fn standing(tenant: &Tenant, who: Who<'_>, is_its: bool) {
    let identities = Identities::collect([("acme", &tenant.spec)]);
    let standing = identities.standing(who, |_| None, &PlatformSubjects::default());
    let expected = if is_its {
        standing.is_only("acme")
    } else {
        standing == Standing::Unclaimed
    };
    assert!(expected, "{who}: {standing:?}");
}

#[test]
fn what_can_be_read_is_read_whole() {
    let tenant = unreadable(
        "{owners: [{kind: User, name: a}], podLabel: Stamp, fromTheFuture: 1}",
        &[],
    );
    assert_eq!(tenant.spec.owners.len(), 1);
    assert_eq!(tenant.spec.identities, None);
}

#[test]
fn one_unknown_value_leaves_the_rest_as_it_is() {
    let spec = |label: &str| {
        format!(
            "{{owners: [{{kind: User, name: alice}}], identities: {{groups: ['acme:*']}}, podLabel: {label}, \
             namespaces: {{declared: [{{name: a}}]}}, deletionPolicy: Delete}}"
        )
    };
    for (label, expected) in [("Verify", &[][..]), ("Future", &["spec.podLabel"][..])] {
        let tenant = unreadable(&spec(label), expected);
        standing(&tenant, Who::User("alice"), true);
        standing(&tenant, Who::Group("acme:dev"), true);
        standing(&tenant, Who::User("bob"), false);
        assert_eq!(tenant.spec.namespaces.unwrap().declared[0].name, "a");
        assert_eq!(tenant.spec.deletion_policy, Some(DeletionPolicy::Delete));
    }
}

#[test]
fn names_stay_claimed_where_their_kind_is_unknown() {
    let spec = "{owners: [{kind: Robot, name: r2}, {kind: Robot, name: d, namespace: ci}, {kind: User, name: alice}]}";
    let tenant = unreadable(spec, &["spec.owners[0].kind", "spec.owners[1].kind"]);
    standing(&tenant, Who::User("r2"), true);
    standing(&tenant, Who::Group("r2"), true);
    standing(&tenant, Who::User("system:serviceaccount:ci:d"), true);
    standing(&tenant, Who::Group("alice"), false);
    // They are given nothing.
    assert_eq!(tenant.spec.owners.len(), 1);
    for (spec, field) in [
        ("{identities: {groups: 'acme:*'}}", "spec.identities.groups"),
        (
            "{identities: {groups: [{prefix: 'acme:*'}]}}",
            "spec.identities.groups[0]",
        ),
        (
            "{identities: {groups: ['acme:*', 7]}}",
            "spec.identities.groups[1]",
        ),
    ] {
        let tenant = unreadable(spec, &[field]);
        standing(&tenant, Who::Group("acme:x"), true);
        standing(&tenant, Who::User("acme:x"), false);
    }
}

#[test]
fn fields_are_named_as_they_were_written() {
    unreadable(
        "{access: [{clusterRole: a, subjects: [{kind: X, name: a}, {kind: User, name: b}, {kind: Y, name: c}]}, 7]}",
        &[
            "spec.access[0].subjects[0].kind",
            "spec.access[0].subjects[2].kind",
            "spec.access[1]",
        ],
    );
    let tenant = unreadable(
        "{namespaces: {declared: [{name: a, labels: {stage: 5, team: x}}, {name: 7}]}}",
        &[
            "spec.namespaces.declared[0].labels.stage",
            "spec.namespaces.declared[1].name",
        ],
    );
    let declared = tenant.spec.namespaces.unwrap().declared;
    assert_eq!((declared.len(), declared[0].labels.len()), (1, 1));
    unreadable("7", &["spec"]);
}

#[test]
fn a_record_that_can_not_be_read_is_no_record() {
    let status = "{namespaces: [{name: a, uid: u, origin: Found}, {name: b, uid: v, origin: Declared}]}";
    let stored = stored("{}", status);
    assert_eq!(stored.unreadable[0].field, "status.namespaces[0].origin");
    let records = &stored.tenant.status.as_ref().unwrap().namespaces;
    assert_eq!((records.len(), records[0].origin), (1, NamespaceOrigin::Declared));
}

#[test]
fn without_metadata_it_is_nobodys() {
    assert!(read(serde_json::json!({"metadata": 7, "spec": {}})).is_err());
    assert!(read(serde_json::json!({"metadata": {"name": "acme"}})).is_ok());
    assert!(read(serde_json::json!([])).is_err());
}

/// What can't be read of a placement opens nothing.
#[test]
fn nothing_is_within_a_placement_that_cannot_be_read() {
    let regions = |placement: &str, expected: &[&str]| {
        let tenant = unreadable(&format!("{{placement: {placement}}}"), expected);
        tenant.spec.placement.and_then(|it| it.regions)
    };
    let own = Some(vec!["eu-1".to_owned()]);
    assert_eq!(regions("{regions: [eu-1]}", &[]), own);
    assert_eq!(
        regions("{regions: {any: eu-1}}", &["spec.placement.regions"]),
        Some(Vec::new())
    );
    assert_eq!(regions("everywhere", &["spec.placement"]), Some(Vec::new()));
    assert_eq!(
        regions(
            "{nodeSelector: {pool: [a]}}",
            &["spec.placement.nodeSelector.pool"]
        ),
        Some(Vec::new())
    );
    assert_eq!(
        regions(
            "{regions: [eu-1], exceptions: all}",
            &["spec.placement.exceptions"]
        ),
        own
    );
    assert_eq!(
        regions(
            "{regions: [eu-1], tolerations: all}",
            &["spec.placement.tolerations"]
        ),
        own
    );
}
