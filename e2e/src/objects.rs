//! Objects written as YAML, and refusals read back.

use anyhow::{Context, Result, anyhow, bail, ensure};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
    core::Status,
    discovery,
};

/// The field manager of [`apply`].
const FIELD_MANAGER: &str = "bailiwick-e2e";

/// Server-side apply of every document in `yaml`, in order; gives the objects as stored.
///
/// Conflicts with other field managers are errors.
pub async fn apply(client: &Client, yaml: &str) -> Result<Vec<DynamicObject>> {
    let mut stored = Vec::new();
    for object in parse(yaml)? {
        let api = api_of(client, &object).await?;
        let params = PatchParams::apply(FIELD_MANAGER);
        let name = object.name_any();
        let result = api.patch(&name, &params, &Patch::Apply(&object)).await;
        stored.push(result.with_context(|| format!("apply {name}"))?);
    }
    Ok(stored)
}

/// Creates every document in `yaml`, in order; gives the objects as stored.
pub async fn create(client: &Client, yaml: &str) -> Result<Vec<DynamicObject>> {
    let mut stored = Vec::new();
    for object in parse(yaml)? {
        let result = api_of(client, &object)
            .await?
            .create(&PostParams::default(), &object)
            .await;
        stored.push(result.with_context(|| format!("create {}", object.name_any()))?);
    }
    Ok(stored)
}

/// The Api of an object of any kind, in the object's namespace.
pub async fn api_of(client: &Client, object: &DynamicObject) -> Result<Api<DynamicObject>> {
    let types = object
        .types
        .as_ref()
        .context("an object without apiVersion and kind")?;
    let kind = GroupVersionKind::try_from(types)?;
    let (resource, capabilities) = discovery::pinned_kind(client, &kind)
        .await
        .with_context(|| format!("find the API of kind {}", types.kind))?;
    let api = Api::dynamic(client.clone(), &resource, &capabilities.scope);
    Ok(api.constrain(object.metadata.namespace.as_deref().unwrap_or("default")))
}

/// Objects from YAML documents.
pub fn parse(yaml: &str) -> Result<Vec<DynamicObject>> {
    // As kubectl has it: `n` is a name, not a boolean.
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_multiple_with_options(yaml, options).map_err(|error| anyhow!("not YAML: {error}"))
}

/// Checks that `result` is a refusal of admission (403) that carries the rule's id, and gives it.
pub fn denied<T, E: Into<anyhow::Error>>(result: Result<T, E>, rule: &str) -> Result<Box<Status>> {
    let Err(error) = result.map_err(Into::into) else {
        bail!("it was allowed; {rule} should refuse it")
    };
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => {
            ensure!(
                status.code == 403,
                "refused with {}, not 403: {}",
                status.code,
                status.message
            );
            ensure!(
                status.message.contains(rule),
                "refused, but not by {rule}: {}",
                status.message
            );
            Ok(status.clone())
        }
        _ => Err(error.context(format!("not a refusal by {rule}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: u16, message: &str) -> kube::Error {
        let status = Status {
            code,
            message: message.to_owned(),
            ..Status::default()
        };
        kube::Error::Api(Box::new(status))
    }

    #[track_caller]
    fn check(result: Result<(), kube::Error>, expected: bool) {
        let text = format!("{result:?}");
        assert_eq!(denied(result, "BW-X").is_ok(), expected, "{text}");
    }

    #[test]
    fn only_a_403_with_the_rule_is_a_denial() {
        check(Err(refusal(403, "denied: BW-X: no")), true);
        check(Err(refusal(403, "denied: BW-Y: no")), false);
        check(Err(refusal(422, "denied: BW-X: no")), false);
        check(Err(kube::Error::LinesCodecMaxLineLengthExceeded), false);
        check(Ok(()), false);
    }

    #[test]
    fn a_denial_is_found_under_context() {
        let result: Result<()> = Err(refusal(403, "BW-X")).context("apply x");
        assert!(denied(result, "BW-X").is_ok());
    }

    #[test]
    fn parses_several_documents() {
        let objects = parse("{apiVersion: v1, kind: A, metadata: {name: a}}\n---\n{apiVersion: v1, kind: B, metadata: {name: b}}").unwrap();
        assert_eq!(
            objects.iter().map(ResourceExt::name_any).collect::<Vec<_>>(),
            ["a", "b"]
        );
    }
}
