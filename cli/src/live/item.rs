//! Objects of the cluster, without their managedFields: a tenant can nest those deeper than any parser goes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

/// An object of the cluster.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its namespace, if it has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The object.
    pub raw: Box<RawValue>,
}

type Members = BTreeMap<String, Box<RawValue>>;

/// Reads an object. Those of a list don't say their apiVersion and kind: these are given then.
///
/// # Errors
/// When it is no object.
pub fn item(raw: &str, type_: Option<(&str, &str)>) -> Result<Item, serde_json::Error> {
    let mut members: Members = serde_json::from_str(raw)?;
    let mut metadata: Members = match members.get("metadata") {
        Some(it) => serde_json::from_str(it.get())?,
        None => Members::new(),
    };
    metadata.remove("managedFields");
    let text = |key: &str| {
        metadata
            .get(key)
            .and_then(|it| serde_json::from_str::<String>(it.get()).ok())
    };
    let (namespace, name) = (text("namespace"), text("name").unwrap_or_default());
    members.insert("metadata".to_owned(), serde_json::value::to_raw_value(&metadata)?);
    if let Some((api_version, kind)) = type_ {
        for (key, value) in [("apiVersion", api_version), ("kind", kind)] {
            if !value.is_empty() && !members.contains_key(key) {
                members.insert(key.to_owned(), serde_json::value::to_raw_value(value)?);
            }
        }
    }
    Ok(Item {
        namespace,
        name,
        raw: serde_json::value::to_raw_value(&members)?,
    })
}

/// Reads a page of a list: its items, and what the next one begins with.
///
/// # Errors
/// When it is no list.
pub fn page(text: &str) -> Result<(Vec<Item>, Option<String>), serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Page<'a> {
        #[serde(default)]
        api_version: String,
        #[serde(default)]
        kind: String,
        #[serde(default)]
        metadata: Metadata,
        #[serde(borrow, default)]
        items: Option<Vec<&'a RawValue>>,
    }
    #[derive(Default, Deserialize)]
    struct Metadata {
        #[serde(default, rename = "continue")]
        token: Option<String>,
    }
    let page: Page<'_> = serde_json::from_str(text)?;
    let kind = page.kind.strip_suffix("List").unwrap_or(&page.kind);
    let items = page.items.into_iter().flatten();
    let items = items.map(|it| item(it.get(), Some((&page.api_version, kind))));
    Ok((
        items.collect::<Result<_, _>>()?,
        page.metadata.token.filter(|it| !it.is_empty()),
    ))
}

/// A text as a part of a URL's query or path.
pub fn escaped(text: &str) -> String {
    text.bytes()
        .map(|it| match it {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(it).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managed_fields_are_dropped_however_deep() {
        let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
        let text = format!(
            r#"{{"kind":"PodList","apiVersion":"v1","metadata":{{"continue":"x="}},"items":[{{"metadata":{{"name":"a","namespace":"n","managedFields":{deep}}},"spec":{{"x":1}}}}]}}"#
        );
        let (items, token) = page(&text).unwrap();
        assert_eq!(
            (items[0].name.as_str(), items[0].namespace.as_deref()),
            ("a", Some("n"))
        );
        assert_eq!(
            items[0].raw.get(),
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","namespace":"n"},"spec":{"x":1}}"#
        );
        assert_eq!(token.map(|it| escaped(&it)).as_deref(), Some("x%3D"));
        assert!(page(r#"{"items":[1]}"#).is_err());
        let (items, token) = page(r#"{"items":null,"metadata":{"continue":""}}"#).unwrap();
        assert_eq!((items.len(), token), (0, None));
    }
}
