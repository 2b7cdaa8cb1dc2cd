//! TenantPolicies among the manifests: what is wrong with them, and what they say of the other objects.

use bailiwick_cli::check::{Checked, Verdict, check_texts, check_texts_at};
use bailiwick_core::config::Config;

use crate::{CLUSTER, line};

/// A policy that wants an owner on Services and Deployments; `members` are further ones of its spec.
fn policy(members: &str, body: &str) -> String {
    format!(
        "apiVersion: bailiwick.dev/v1alpha1
kind: TenantPolicy
metadata: {{name: owned}}
spec:
  tenants: [acme]
  match: {{resources: [{{groups: ['', apps], kinds: [Service, Deployment, Pod]}}]}}
  {members}
  rego: |
    package bailiwick

    deny contains violation if {{
        {body}
        violation := {{\"msg\": \"nobody owns it\", \"field\": \"metadata.labels\", \"fix\": \"label it\"}}
    }}
"
    )
}

const BODY: &str = "not input.request.object.metadata.labels.owner";

fn service(namespace: &str, labels: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: s, namespace: {namespace}, labels: {labels}}}\n"
    )
}

/// The verdicts about the policy and about manifests beside it.
fn lines(policy: &str, manifests: &str) -> (Vec<String>, Vec<String>) {
    let texts = [
        ("cluster.yaml", CLUSTER),
        ("p.yaml", policy),
        ("m.yaml", manifests),
    ];
    let texts: Vec<_> = texts.into_iter().filter(|it| !it.1.is_empty()).collect();
    let report = check_texts(&texts, None, &Config::default());
    assert_eq!(report.unread, [], "{policy}");
    let of = |file: &str| {
        let objects = report.objects.iter().filter(|it| &*it.manifest.file == file);
        objects.map(line).collect()
    };
    (of("p.yaml"), of("m.yaml"))
}

/// What is wrong with a policy; `right` differs in what matters only.
#[track_caller]
fn check(wrong: &str, right: &str, expected: &str) {
    assert_eq!(lines(right, "").0, ["clean"], "{right}");
    assert_eq!(lines(wrong, "").0, [expected], "{wrong}");
}

#[test]
fn an_error_in_the_source_is_found_at_its_line_of_the_file() {
    check(
        &policy("", "not startwith(input.request.name, \"s\")"),
        &policy("", "not startswith(input.request.name, \"s\")"),
        "12:13 BW-POLICY-INVALID spec.rego",
    );
    let lib = |body: &str| {
        policy(
            &format!("libs:\n    - |\n      package lib.a\n\n      x := {body}"),
            "data.lib.a.x == 2",
        )
    };
    check(
        &lib("http.send({})"),
        &lib("1"),
        "11:12 BW-POLICY-INVALID spec.libs[0]",
    );
    // Where the lines are not those of the file, the field is.
    let quoted = |function: &str| {
        format!(
            "{}  rego: 'package bailiwick

    deny contains \"no\" if {function}(input.request.name, \"s\")'\n",
            policy("", "").split("  rego:").next().unwrap()
        )
    };
    check(
        &quoted("startwith"),
        &quoted("startswith"),
        "8:3 BW-POLICY-INVALID spec.rego",
    );
}

#[test]
fn a_test_that_fails_is_found() {
    let test = |labels: &str| {
        policy(
            &format!(
                "tests:\n    - name: owned\n      object: {{kind: Service, metadata: {{labels: {labels}}}}}\n      expect: Allow"
            ),
            BODY,
        )
    };
    check(
        &test("{}"),
        &test("{owner: a}"),
        "8:7 BW-POLICY-INVALID spec.tests[0]",
    );
    let rule = |count: u8| {
        policy("", &format!("{BODY}\n    }}\n\n    test_a if {{ count(deny) == {count}")).replace("\n        violation := {\"msg\": \"nobody owns it\", \"field\": \"metadata.labels\", \"fix\": \"label it\"}\n    }\n", "\n    }\n").replace("contains violation", "contains \"no\"")
    };
    check(&rule(2), &rule(1), "8:3 BW-POLICY-INVALID spec.rego");
}

#[test]
fn the_shape_is_that_of_the_custom_resource_definition() {
    let with = |members: &str| policy(members, BODY);
    for (wrong, right, expected) in [
        (
            "enforcment: Warn",
            "enforcement: Warn",
            "7:3 BW-POLICY-INVALID spec.enforcment",
        ),
        (
            "enforcement: Wran",
            "enforcement: Warn",
            "7:3 BW-POLICY-INVALID spec.enforcement",
        ),
        (
            "limits: {evaluationMilliseconds: 0}",
            "limits: {evaluationMilliseconds: 1}",
            "7:12 BW-POLICY-INVALID spec.limits.evaluationMilliseconds",
        ),
        (
            "revision: 12345678901",
            "revision: 123456789abc",
            "7:3 BW-POLICY-INVALID spec.revision",
        ),
        (
            "rollout: {mode: Percent}",
            "rollout: {mode: Percent, percent: 10}",
            "7:3 BW-POLICY-INVALID spec.rollout.percent",
        ),
        (
            "rollout: {percent: 10}",
            "rollout: {}",
            "7:13 BW-POLICY-INVALID spec.rollout.percent",
        ),
        (
            "pack: {name: seccomp, version: 1.0.0}",
            "",
            "7:3 BW-POLICY-INVALID spec.pack",
        ),
        ("tenantSelector: {}", "", "4:1 BW-POLICY-INVALID spec"),
        (
            "exceptions: [{name: e, namespaces: [a], until: tomorrow, reason: r, owner: o}]",
            "exceptions: [{name: e, namespaces: [a], until: '2030-01-01T00:00:00Z', reason: r, owner: o}]",
            "7:43 BW-POLICY-INVALID spec.exceptions[0].until",
        ),
    ] {
        check(&with(wrong), &with(right), expected);
    }
    check(
        &with("").replace("name: owned", "name: Owned"),
        &with(""),
        "3:12 BW-POLICY-INVALID metadata.name",
    );
    let pack = |members: &str| {
        format!(
            "apiVersion: bailiwick.dev/v1alpha1\nkind: TenantPolicy\nmetadata: {{name: p}}\nspec:\n  tenantSelector: {{}}\n  {members}\n"
        )
    };
    check(
        &pack(
            "pack: {name: registry-allowlist, version: 1.0.0}\n  parameters: {registries: [a/], registry: []}",
        ),
        &pack("pack: {name: registry-allowlist, version: 1.0.0}\n  parameters: {registries: [a/]}"),
        "7:34 BW-POLICY-INVALID spec.parameters.registry",
    );
    check(
        &pack("pack: {name: secomp, version: 1.0.0}"),
        &pack("pack: {name: seccomp, version: 1.0.0}"),
        "6:3 BW-POLICY-INVALID spec.pack",
    );
    check(
        &pack("pack: {name: seccomp, version: 1.0.0}\n  regoVersion: v0"),
        &pack("pack: {name: seccomp, version: 1.0.0}"),
        "7:3 BW-POLICY-INVALID spec.regoVersion",
    );
}

#[test]
fn objects_are_judged_in_the_namespaces_of_the_policys_tenants() {
    let policy = policy("", BODY);
    let judged = |manifests: &str| lines(&policy, manifests).1.join("\n");
    assert_eq!(
        judged(&service("acme-prod", "{}")),
        "3:43 BW-POLICY metadata.labels"
    );
    assert_eq!(judged(&service("acme-prod", "{owner: a}")), "clean");
    // Another tenant's, nobody's, another kind: the guard rails have nothing against a Service.
    assert_eq!(judged(&service("globex-prod", "{}")), "clean");
    assert_eq!(judged(&service("shared", "{}")), "clean");
    let map = service("acme-prod", "{}").replace("Service", "ConfigMap");
    assert_eq!(judged(&map), "not judged");
    // Whose it is has to be known.
    assert_eq!(
        judged(&service("elsewhere", "{}")),
        "can't tell: Namespace 'elsewhere' is in none of the files: whose it is can't be told"
    );
    assert_eq!(judged(&map.replace("acme-prod", "elsewhere")), "not judged");
    let nowhere = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n";
    assert_eq!(judged(nowhere), "can't tell: it says no metadata.namespace");
    let texts = [
        ("c.yaml", CLUSTER),
        ("p.yaml", policy.as_str()),
        ("m.yaml", nowhere),
    ];
    let report = check_texts(&texts, Some("acme-prod"), &Config::default());
    assert_eq!(
        line(report.objects.last().unwrap()),
        "3:1 BW-POLICY metadata.labels"
    );
}

#[test]
fn what_makes_pods_is_judged_by_itself_and_by_its_pods() {
    let deployment = |own: &str, pods: &str| {
        format!(
            "apiVersion: apps/v1
kind: Deployment
metadata: {{name: d, namespace: acme-prod, labels: {own}}}
spec:
  template:
    metadata:
      labels: {pods}
"
        )
    };
    let judged = |own: &str, pods: &str| lines(&policy("", BODY), &deployment(own, pods)).1.join("\n");
    assert_eq!(judged("{owner: a}", "{owner: a}"), "clean");
    assert_eq!(judged("{}", "{owner: a}"), "3:43 BW-POLICY metadata.labels");
    assert_eq!(
        judged("{owner: a}", "{}"),
        "7:7 BW-POLICY spec.template.metadata.labels"
    );
}

#[test]
fn the_pod_of_a_template_says_what_it_is_and_where() {
    let deployment = "apiVersion: apps/v1
kind: Deployment
metadata: {name: d, namespace: acme-prod}
spec:
  template:
    metadata:
      labels: {a: b}
";
    let judged = |kind: &str, namespace: &str| {
        let body = format!(
            "input.request.object.kind == \"{kind}\"
        input.request.object.apiVersion == \"v1\"
        input.request.object.metadata.namespace == \"{namespace}\""
        );
        lines(&policy("", &body), deployment).1.join("\n")
    };
    assert_eq!(
        judged("Pod", "acme-prod"),
        "7:7 BW-POLICY spec.template.metadata.labels"
    );
    assert_eq!(judged("PodTemplate", "acme-prod"), "clean");
    assert_eq!(judged("Pod", "globex-prod"), "clean");
}

#[test]
fn policies_see_the_annotations_that_the_files_give_a_namespace() {
    let body = "data.bailiwick.namespace.annotations.contact == \"moss\"";
    let judged = |contact: &str| {
        let namespace = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: acme-prod, annotations: {{contact: {contact}}}}}\n---\n"
        );
        let manifests = namespace + &service("acme-prod", "{}");
        lines(&policy("", body), &manifests).1.join("\n")
    };
    assert_eq!(judged("moss"), "clean\n7:43 BW-POLICY metadata.labels");
    assert_eq!(judged("fern"), "clean\nclean");
}

fn said(checked: &Checked) -> [usize; 4] {
    let it = &checked.judgement;
    [&it.findings, &it.warnings, &it.audited, &it.excepted].map(Vec::len)
}

#[test]
fn what_becomes_of_a_violation_is_for_the_policy_to_say() {
    let until = "2030-01-01T00:00:00Z";
    let exception = |namespace: &str| {
        format!("exceptions: [{{name: e, namespaces: [{namespace}], until: '{until}', reason: r, owner: o}}]")
    };
    let before = 1_893_456_000 - 1;
    for (members, now, expected, verdict) in [
        (String::new(), before, [1, 0, 0, 0], Verdict::Denied),
        (
            "enforcement: Warn".to_owned(),
            before,
            [0, 1, 0, 0],
            Verdict::Clean,
        ),
        (
            "enforcement: Audit".to_owned(),
            before,
            [0, 0, 1, 0],
            Verdict::Clean,
        ),
        (exception("acme-prod"), before, [0, 0, 0, 1], Verdict::Clean),
        (exception("acme-prod"), before + 1, [1, 0, 0, 0], Verdict::Denied),
        (exception("acme-dev"), before, [1, 0, 0, 0], Verdict::Denied),
    ] {
        let (policy, service) = (policy(&members, BODY), service("acme-prod", "{}"));
        let texts = [
            ("c.yaml", CLUSTER),
            ("p.yaml", policy.as_str()),
            ("m.yaml", service.as_str()),
        ];
        let report = check_texts_at(&texts, None, &Config::default(), now);
        let checked = report.objects.last().unwrap();
        assert_eq!(
            (said(checked), checked.verdict()),
            (expected, verdict),
            "{members}"
        );
        assert_eq!(report.exit_code(), u8::from(verdict == Verdict::Denied));
    }
}

#[test]
fn a_policy_that_is_wrong_judges_nothing() {
    let (policies, objects) = lines(
        &policy("", "startwith(\"a\", \"b\")"),
        &service("acme-prod", "{}"),
    );
    assert_eq!(policies, ["12:9 BW-POLICY-INVALID spec.rego"]);
    assert_eq!(objects, ["clean"]);
}

#[test]
fn a_policy_that_fails_refuses() {
    let body = "to_number(input.request.object.metadata.labels.owner) > 1";
    let judged = |labels: &str| {
        lines(&policy("", body), &service("acme-prod", labels))
            .1
            .join("\n")
    };
    assert_eq!(judged("{owner: '1'}"), "clean");
    assert_eq!(judged("{owner: x}"), "1:1 BW-POLICY-ERROR ");
}

#[test]
fn what_is_rendered_later_is_not_judged_before() {
    let body = "input.request.object.metadata.labels.owner != \"a\"";
    let policy = policy("", body).replace("\"metadata.labels\"", "\"metadata.labels.owner\"");
    let judged = |labels: &str| lines(&policy, &service("acme-prod", labels)).1.join("\n");
    assert_eq!(judged("{owner: b}"), "3:52 BW-POLICY metadata.labels.owner");
    assert_eq!(
        judged("{owner: '{{ .Values.owner }}'}"),
        "can't tell: it holds a template expression {{ }}"
    );
}

#[test]
fn other_objects_of_policies_are_known() {
    let approval = "apiVersion: bailiwick.dev/v1alpha1\nkind: PolicyApproval\nmetadata: {name: a}\nspec: {policy: p, digest: d}\n";
    assert_eq!(lines(approval, "").0, ["not judged"]);
    let texts = [("p.yaml", policy("", BODY))];
    let texts: Vec<_> = texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
    assert_eq!(check_texts(&texts, None, &Config::default()).exit_code(), 0);
}
