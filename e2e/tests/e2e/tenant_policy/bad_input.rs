//! What is wrong with a policy is told with its place, and what would be right.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{condition, home, refusing, served, write};
use crate::fixture::{on_shared_cluster, unique};

/// What differs from a policy that serves, the reason, and what the first error says and where.
struct Mistake {
    more: Value,
    reason: &'static str,
    field: &'static str,
    place: (i64, i64),
    says: &'static str,
}

fn invalid(more: Value, field: &'static str, place: (i64, i64), says: &'static str) -> Mistake {
    Mistake {
        more,
        reason: "Invalid",
        field,
        place,
        says,
    }
}

fn rego(text: &str, place: (i64, i64), says: &'static str) -> Mistake {
    let text = format!("package bailiwick\n\n{text}\n");
    invalid(json!({ "rego": text }), "spec.rego", place, says)
}

fn pack(name: &str, version: &str, parameters: &Value, field: &'static str, says: &'static str) -> Mistake {
    let pack = json!({ "name": name, "version": version });
    let more = json!({ "rego": null, "match": null, "pack": pack, "parameters": parameters });
    invalid(more, field, (0, 0), says)
}

/// Each mistake is told, and nothing serves; without it the policy does.
fn told(stem: &str, right: &Value, mistakes: &[Mistake]) -> Result<()> {
    on_shared_cluster(async |installed| {
        let client = installed.cluster.client();
        let (tenant, _) = home(&installed.cluster, stem).await?;
        let name = unique(stem);
        for Mistake {
            more,
            reason,
            field,
            place,
            says,
        } in mistakes
        {
            let mut policy = refusing(&name, &tenant, "a", "no", more);
            if let Some(spec) = policy["spec"].as_object_mut() {
                spec.retain(|_, it| !it.is_null());
            }
            write(&client, &policy).await?;
            let now = condition(&client, &name, ("Ready", "False", *reason)).await?;
            let error = &now.data["status"]["errors"][0];
            let number = |key: &str| error[key].as_i64().unwrap_or(0);
            ensure!(
                error["field"] == *field
                    && (number("line"), number("column")) == *place
                    && error["message"].as_str().is_some_and(|it| it.contains(says)),
                "{error} instead of {field}:{place:?}: {says}"
            );
            ensure!(
                now.data["status"]["activeRevision"].is_null(),
                "{}",
                now.data["status"]
            );
        }
        served(&client, &refusing(&name, &tenant, "a", "no", right)).await?;
        Ok(())
    })
}

#[test]
fn mistakes_in_rego_are_told_by_line_and_column() -> Result<()> {
    let other = json!({ "rego": "package other\n\ndeny contains \"x\" if true\n" });
    let lib = json!({ "libs": ["package lib\n\nf(x) := g(x)\n"] });
    let mistakes = [
        rego("deny contains \"x\" if {\n  input ==\n}", (5, 1), "expecting"),
        invalid(other, "spec.rego", (1, 1), "write `package bailiwick`"),
        rego("allow if true", (1, 1), "add `deny contains msg if"),
        rego("deny contains \"x\" if http.send({})", (3, 22), "http.send"),
        rego(
            "deny contains \"x\" if data.inventory.cluster",
            (3, 22),
            "data.inventory",
        ),
        rego(
            "deny contains \"x\" if startwith(\"a\", \"b\")",
            (3, 22),
            "startwith",
        ),
        invalid(lib, "spec.libs[0]", (3, 9), "g"),
    ];
    let right = json!({ "libs": ["package lib\n\nf(x) := x\n"] });
    told("mistaken", &right, &mistakes)
}

#[test]
fn tests_that_fail_or_take_too_long_are_told_by_name() -> Result<()> {
    let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "a": "x" } });
    let slow = "package bailiwick\n\ndeny contains \"x\" if { some i in numbers.range(1, 9000); some j in numbers.range(1, 9000); i * j < 0 }\n";
    let own = "package bailiwick\n\ndeny contains \"x\" if input.a\n\ntest_never if \"x\" in deny with input as {}\n";
    let test = |more: Value| {
        let mut test = json!({ "name": "t", "object": object });
        if let (Some(test), Some(more)) = (test.as_object_mut(), more.as_object()) {
            test.extend(more.clone());
        }
        json!([test])
    };
    let failing = |more: Value, field, says| Mistake {
        reason: "TestsFailed",
        ..invalid(more, field, (0, 0), says)
    };
    let mistakes = [
        failing(
            json!({ "tests": test(json!({ "expect": "Allow" })) }),
            "spec.tests[0]",
            "test 't': expected Allow, and it came to Deny (no)",
        ),
        failing(
            json!({ "tests": test(json!({ "expect": "Deny", "message": "yes" })) }),
            "spec.tests[0]",
            "expected a message with 'yes'",
        ),
        failing(
            json!({ "rego": slow, "tests": test(json!({ "expect": "Deny" })) }),
            "spec.tests[0]",
            "longer than its 1000 ms",
        ),
        failing(
            json!({ "rego": own }),
            "spec.rego",
            "test test_never: is not true",
        ),
    ];
    let right = json!({ "tests": test(json!({ "expect": "Deny", "message": "no" })) });
    told("untested", &right, &mistakes)
}

#[test]
fn packs_and_parameters_that_are_not_there_are_told_with_those_that_are() -> Result<()> {
    let mistakes = [
        pack(
            "registries",
            "1.0.0",
            &json!({}),
            "spec.pack",
            "there is no pack 'registries'; there are automount-token",
        ),
        pack(
            "seccomp",
            "0.9.0",
            &json!({}),
            "spec.pack",
            "has no version '0.9.0'; it has '1.0.0'",
        ),
        pack(
            "registry-allowlist",
            "1.0.0",
            &json!({ "registries": [] }),
            "spec.parameters.registries",
            "0 items; allowed: 1 to 64",
        ),
        pack(
            "registry-allowlist",
            "1.0.0",
            &json!({ "registry": "a" }),
            "spec.parameters.registries",
            "is missing",
        ),
    ];
    told("unpacked", &json!({}), &mistakes)
}
