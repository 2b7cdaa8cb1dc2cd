//! `policy history`, `diff`, `approve` and `rollback`.

use std::fs;

use bailiwick_cli::live::Write;
use serde_json::{Value, json};

use crate::{Fake, cluster, policy, revision, spec};

fn name(label: &str, required: i32) -> String {
    revision(label, required, "x").name().to_owned()
}

#[test]
fn the_history_tells_what_each_revision_does() {
    let (code, stdout, stderr) = policy(&cluster("cleo"), &["history", "owned"], "");
    assert_eq!((code, stderr.as_str()), (0, ""));
    let (first, second, third) = (name("a", 0), name("owner", 1), name("team", 1));
    let expected = format!(
        "NUMBER  REVISION      STATE               AUTHOR  APPROVED BY  CREATED
3       {third}  candidate, Pending  ann     -            2026-11-01T00:00:00Z
2       {second}  active              bob     cleo         2026-11-01T00:00:00Z
1       {first}  -                   ann     -            2026-11-01T00:00:00Z
"
    );
    assert_eq!(stdout, expected);
    let (_, stdout, _) = policy(&cluster("cleo"), &["history", "owned", "-o", "json"], "");
    let document: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(document["revisions"][1]["state"], "active");
    let (code, _, stderr) = policy(&cluster("cleo"), &["history", "other"], "");
    assert_eq!(
        (code, stderr.as_str()),
        (2, "error: there is no TenantPolicy 'other'\n")
    );
}

#[test]
fn the_diff_is_of_the_sources_and_of_all_else() {
    let (code, stdout, _) = policy(&cluster("cleo"), &["diff", "owned"], "");
    let (second, third) = (name("owner", 1), name("team", 1));
    let expected = format!(
        "--- spec.rego {second} (active)
+++ spec.rego {third} (candidate)
@@ -1,5 +1,5 @@
 package bailiwick

-deny contains \"no owner\" if {{
-    not input.request.object.metadata.labels.owner
+deny contains \"no team\" if {{
+    not input.request.object.metadata.labels.team
 }}
"
    );
    assert_eq!(
        (code, stdout.replace(" \n", "\n").as_str()),
        (1, expected.as_str())
    );
    let (code, stdout, stderr) = policy(&cluster("cleo"), &["diff", "owned", "1", &second[..5]], "");
    assert!(
        code == 1 && stdout.contains("-requiredApprovals: 0\n+requiredApprovals: 1\n"),
        "{code}{stdout}{stderr}"
    );
    let (code, stdout, _) = policy(&cluster("cleo"), &["diff", "owned", "active", "2"], "");
    assert_eq!((code, stdout.as_str()), (0, ""));
    let (code, _, stderr) = policy(&cluster("cleo"), &["diff", "owned", "9"], "");
    assert!(
        code == 2 && stderr.contains("'9' is no revision of TenantPolicy 'owned'"),
        "{stderr}"
    );
    let mut settled = cluster("cleo");
    settled
        .answers
        .get_mut("/apis/bailiwick.dev/v1alpha1/tenantpolicies/owned")
        .unwrap()["status"]["candidateRevision"] = json!(null);
    let (code, _, stderr) = policy(&settled, &["diff", "owned"], "");
    assert!(
        code == 2 && stderr.contains("'owned' has no candidate"),
        "{stderr}"
    );
}

#[test]
fn a_file_is_compared_with_what_decides() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.yaml");
    let write = |name: &str, label: &str| {
        let policy = json!({"apiVersion": "bailiwick.dev/v1alpha1", "kind": "TenantPolicy", "metadata": {"name": name}, "spec": spec(label, 1)});
        fs::write(&file, policy.to_string()).unwrap();
    };
    let diff = || {
        policy(
            &cluster("cleo"),
            &["diff", "owned", "-f", file.to_str().unwrap()],
            "",
        )
    };
    write("owned", "owner");
    assert_eq!(diff().0, 0);
    write("owned", "cost");
    assert!(diff().1.contains("+deny contains \"no cost\" if {"));
    write("other", "cost");
    assert!(diff().2.contains("holds TenantPolicy 'other', not 'owned'"));
}

fn written(api: &Fake) -> Vec<(Write, String, Value)> {
    api.written.lock().unwrap().clone()
}

#[test]
fn an_approval_is_of_the_whole_digest_and_in_ones_own_name() {
    let api = cluster("cleo");
    let (code, stdout, stderr) = policy(&api, &["approve", "owned"], "yes\n");
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.contains("+deny contains \"no team\" if {") && stdout.ends_with("is approved by cleo\n"),
        "{stdout}"
    );
    assert!(stderr.contains("needs 1 approvals and has 0"), "{stderr}");
    let digest = revision("team", 1, "ann").digest;
    let written_once = written(&api);
    let [(Write::Create, path, body)] = written_once.as_slice() else {
        panic!("one approval");
    };
    // How sha256 of "cleo" begins.
    let name = format!("owned-{}-cbdd10d7", &digest[..12]);
    assert_eq!(path, "/apis/bailiwick.dev/v1alpha1/policyapprovals");
    assert_eq!(body["metadata"]["name"], name);
    assert_eq!(
        body["spec"],
        json!({"policy": "owned", "digest": digest, "approver": "cleo"})
    );
    assert_eq!(body["metadata"]["ownerReferences"][0]["uid"], "uid-of-owned");
    let (code, stdout, _) = policy(
        &api,
        &["approve", "owned", "--yes", "--digest", &digest[..12]],
        "",
    );
    assert!(
        code == 0 && stdout.ends_with("is approved already by cleo\n"),
        "{stdout}"
    );
}

#[test]
fn what_is_not_to_be_approved_is_not() {
    for (user, words, stdin, expected) in [
        ("cleo", vec![], "\n", "nothing was approved"),
        ("cleo", vec![], "", "nothing was approved"),
        ("cleo", vec![], "nay", "nothing was approved"),
        (
            "ann",
            vec!["--yes"],
            "",
            "was written by 'ann': nobody approves what is their own",
        ),
        (
            "cleo",
            vec!["--yes", "--digest", "0123456789ab"],
            "",
            "it was changed since; review it again",
        ),
        (
            "cleo",
            vec!["--yes", "--digest", ""],
            "",
            "it was changed since; review it again",
        ),
    ] {
        let api = cluster(user);
        let words = [vec!["approve", "owned"], words].concat();
        let (code, _, stderr) = policy(&api, &words, stdin);
        assert!(code == 2 && stderr.contains(expected), "{words:?}: {stderr}");
        assert_eq!(written(&api), []);
    }
}

#[test]
fn a_rollback_sets_the_revision() {
    let (first, third) = (name("a", 0), name("team", 1));
    let patched = |words: &[&str]| {
        let api = cluster("cleo");
        let words = [&["rollback", "owned"], words].concat();
        let (code, stdout, stderr) = policy(&api, &words, "");
        let patches: Vec<Value> = written(&api).into_iter().map(|it| it.2).collect();
        (code, patches, stdout + &stderr)
    };
    assert_eq!(patched(&[]).1, [json!({"spec": {"revision": first}})]);
    assert_eq!(patched(&["--to", "3"]).1, [json!({"spec": {"revision": third}})]);
    assert_eq!(
        patched(&["--to", &third[..4]]).1,
        [json!({"spec": {"revision": third}})]
    );
    let (code, writes, said) = patched(&["--undo"]);
    assert_eq!((code, writes.len()), (0, 0), "{said}");
    let (code, writes, said) = patched(&["--to", "7"]);
    assert_eq!((code, writes.len()), (2, 0), "{said}");
    // Where it is held already.
    let mut held = cluster("cleo");
    held.answers
        .get_mut("/apis/bailiwick.dev/v1alpha1/tenantpolicies/owned")
        .unwrap()["spec"]["revision"] = json!(first);
    assert_eq!(policy(&held, &["rollback", "owned"], "").0, 0);
    assert_eq!(written(&held), []);
    policy(&held, &["rollback", "owned", "--undo"], "");
    assert_eq!(written(&held)[0].2, json!({"spec": {"revision": null}}));
    assert_eq!(written(&held)[0].0, Write::Merge);
    // Before the first there is none.
    let mut young = cluster("cleo");
    young
        .answers
        .get_mut("/apis/bailiwick.dev/v1alpha1/tenantpolicies/owned")
        .unwrap()["status"]["activeRevision"] = json!(first);
    let (code, _, stderr) = policy(&young, &["rollback", "owned"], "");
    assert!(
        code == 2 && stderr.contains("keeps no revision before"),
        "{stderr}"
    );
}
