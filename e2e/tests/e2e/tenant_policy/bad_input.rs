//! What is wrong with a policy is told with its place, and what would be right.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{condition, home, refusing, write};
use crate::fixture::{on_shared_cluster, unique};

#[test]
fn each_mistake_is_told_where_it_is() -> Result<()> {
    on_shared_cluster(async |installed| {
        let client = installed.cluster.client();
        let (tenant, _) = home(&installed.cluster, "mistaken").await?;
        let name = unique("mistaken");
        let pod = json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "a": "x" } });
        let rego = |text: &str| json!({ "rego": text });
        let pack = |name: &str, version: &str, parameters: Value| json!({ "rego": null, "match": null, "pack": { "name": name, "version": version }, "parameters": parameters });
        let slow = "package bailiwick\n\ndeny contains \"x\" if { some i in numbers.range(1, 9000); some j in numbers.range(1, 9000); i * j < 0 }\n";
        for (more, reason, field, place, says) in [
            (
                rego("package bailiwick\n\ndeny contains \"x\" if {\n  input ==\n}\n"),
                "Invalid",
                "spec.rego",
                (5, 1),
                "expecting",
            ),
            (
                rego("package other\n\ndeny contains \"x\" if true\n"),
                "Invalid",
                "spec.rego",
                (1, 1),
                "write `package bailiwick`",
            ),
            (
                rego("package bailiwick\n\nallow if true\n"),
                "Invalid",
                "spec.rego",
                (1, 1),
                "add `deny contains msg if",
            ),
            (
                rego("package bailiwick\n\ndeny contains \"x\" if http.send({})\n"),
                "Invalid",
                "spec.rego",
                (3, 22),
                "http.send",
            ),
            (
                rego("package bailiwick\n\ndeny contains \"x\" if data.inventory.cluster\n"),
                "Invalid",
                "spec.rego",
                (3, 22),
                "data.inventory",
            ),
            (
                rego("package bailiwick\n\ndeny contains \"x\" if startwith(\"a\", \"b\")\n"),
                "Invalid",
                "spec.rego",
                (3, 22),
                "startwith",
            ),
            (
                json!({ "libs": ["package lib\n\nf(x) := g(x)\n"] }),
                "Invalid",
                "spec.libs[0]",
                (3, 9),
                "g",
            ),
            (
                json!({ "tests": [{ "name": "t", "object": pod, "expect": "Allow" }] }),
                "TestsFailed",
                "spec.tests[0]",
                (0, 0),
                "expected Allow, and it came to Deny (no)",
            ),
            (
                json!({ "tests": [{ "name": "t", "object": pod, "expect": "Deny", "message": "yes" }] }),
                "TestsFailed",
                "spec.tests[0]",
                (0, 0),
                "expected a message with 'yes'",
            ),
            (
                json!({ "rego": slow, "tests": [{ "name": "t", "object": pod, "expect": "Deny" }] }),
                "TestsFailed",
                "spec.tests[0]",
                (0, 0),
                "longer than its 1000 ms",
            ),
            (
                pack("registries", "1.0.0", json!({})),
                "Invalid",
                "spec.pack",
                (0, 0),
                "there is no pack 'registries'; there are automount-token",
            ),
            (
                pack("seccomp", "0.9.0", json!({})),
                "Invalid",
                "spec.pack",
                (0, 0),
                "has no version '0.9.0'; it has '1.0.0'",
            ),
            (
                pack("registry-allowlist", "1.0.0", json!({ "registries": [] })),
                "Invalid",
                "spec.parameters.registries",
                (0, 0),
                "0 items; allowed: 1 to 64",
            ),
            (
                pack("registry-allowlist", "1.0.0", json!({ "registry": "a" })),
                "Invalid",
                "spec.parameters.registries",
                (0, 0),
                "is missing",
            ),
        ] {
            let mut policy = refusing(&name, &tenant, "a", "no", &more);
            if let Some(spec) = policy["spec"].as_object_mut() {
                spec.retain(|_, it| !it.is_null());
            }
            write(&client, &policy).await?;
            let now = condition(&client, &name, ("Ready", "False", reason)).await?;
            let error = &now.data["status"]["errors"][0];
            let found = (
                error["line"].as_i64().unwrap_or(0),
                error["column"].as_i64().unwrap_or(0),
            );
            ensure!(
                error["field"] == field
                    && found == place
                    && error["message"].as_str().is_some_and(|it| it.contains(says)),
                "{error} instead of {field}:{place:?}: {says}"
            );
            ensure!(
                now.data["status"]["activeRevision"].is_null(),
                "{}",
                now.data["status"]
            );
        }
        // Its near neighbour serves.
        super::served(
            &client,
            &refusing(
                &name,
                &tenant,
                "a",
                "no",
                &json!({ "tests": [{ "name": "t", "object": pod, "expect": "Deny", "message": "no" }] }),
            ),
        )
        .await?;
        Ok(())
    })
}
