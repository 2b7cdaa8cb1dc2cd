//! An AdmissionReview as the API server sends it, read without parsing what no rule looks at.
//!
//! `object` and `oldObject` stay text until a rule reads the few members it needs. serde_json skips what a
//! type does not name without recursion, so an object nested five thousand levels deep costs its length and
//! nothing else. Two members of the same name are refused.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The sender's `request`, borrowed from the body.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request<'a> {
    /// Echoed in the answer.
    #[serde(borrow)]
    pub uid: Cow<'a, str>,
    /// Group, version and kind of the object, after conversion to what the rule matched.
    #[serde(borrow)]
    pub kind: Kind<'a>,
    /// Group, version and resource, likewise.
    #[serde(borrow)]
    pub resource: Resource<'a>,
    /// The subresource, if any.
    #[serde(borrow, default)]
    pub sub_resource: Option<Cow<'a, str>>,
    /// Name of the object. Empty with `generateName` and for a deletion by collection.
    #[serde(borrow, default)]
    pub name: Cow<'a, str>,
    /// Namespace of the object; empty for cluster-scoped kinds.
    #[serde(borrow, default)]
    pub namespace: Cow<'a, str>,
    /// What is being done.
    pub operation: Operation,
    /// Who does it.
    #[serde(borrow, default)]
    pub user_info: UserInfo<'a>,
    /// The object as it would become; absent for DELETE.
    #[serde(borrow, default)]
    pub object: Option<&'a RawValue>,
    /// The object as it is; present for UPDATE and DELETE.
    #[serde(borrow, default)]
    pub old_object: Option<&'a RawValue>,
    /// Whether nothing will be stored.
    #[serde(default)]
    pub dry_run: Option<bool>,
}

impl Request<'_> {
    /// `resource` or `resource/subresource`.
    pub fn resource_path(&self) -> Cow<'_, str> {
        match self.sub_resource.as_deref() {
            None | Some("") => Cow::Borrowed(&self.resource.resource),
            Some(sub) => Cow::Owned(format!("{}/{sub}", self.resource.resource)),
        }
    }
}

/// A group, version and kind.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Kind<'a> {
    /// API group; empty for the core group.
    #[serde(borrow, default)]
    pub group: Cow<'a, str>,
    /// API version.
    #[serde(borrow, default)]
    pub version: Cow<'a, str>,
    /// Kind.
    #[serde(borrow, default)]
    pub kind: Cow<'a, str>,
}

/// A group, version and resource.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Resource<'a> {
    /// API group; empty for the core group.
    #[serde(borrow, default)]
    pub group: Cow<'a, str>,
    /// API version.
    #[serde(borrow, default)]
    pub version: Cow<'a, str>,
    /// Resource, lower case plural.
    #[serde(borrow, default)]
    pub resource: Cow<'a, str>,
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// A new object.
    Create,
    /// A changed object, by PUT or PATCH.
    Update,
    /// A deletion; of a collection, one request for each object.
    Delete,
    /// A connection, such as exec.
    Connect,
}

/// Who sends a request.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct UserInfo<'a> {
    /// Name, as authenticated.
    #[serde(borrow, default)]
    pub username: Cow<'a, str>,
    /// Groups, as authenticated.
    #[serde(borrow, default)]
    pub groups: Option<Vec<Cow<'a, str>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionReview<'a> {
    #[serde(borrow)]
    api_version: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    request: Option<Request<'a>>,
}

/// Why a body is not an AdmissionReview that can be answered.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// It is not JSON, or a member is missing, doubled or of the wrong type.
    #[error("not an AdmissionReview: {0}")]
    Json(#[from] serde_json::Error),
    /// It is another kind or version.
    #[error("expected kind AdmissionReview of admission.k8s.io/v1, found {kind} of {api_version}")]
    Version {
        /// What was sent.
        api_version: String,
        /// What was sent.
        kind: String,
    },
    /// It carries no request.
    #[error("an AdmissionReview without a request")]
    NoRequest,
    /// The uid is empty or longer than any that the API server makes.
    #[error("request.uid must have 1 to 256 characters")]
    Uid,
}

/// Reads the body of a review.
///
/// # Errors
/// When it can't be answered by uid; the caller then answers 400, which the API server treats as a failed call.
pub fn parse(body: &[u8]) -> Result<Request<'_>, ReviewError> {
    let review: AdmissionReview<'_> = serde_json::from_slice(body)?;
    if review.api_version != "admission.k8s.io/v1" || review.kind != "AdmissionReview" {
        return Err(ReviewError::Version {
            api_version: review.api_version.chars().take(80).collect(),
            kind: review.kind.chars().take(80).collect(),
        });
    }
    let request = review.request.ok_or(ReviewError::NoRequest)?;
    if request.uid.is_empty() || request.uid.len() > 256 {
        return Err(ReviewError::Uid);
    }
    Ok(request)
}

/// The members of `metadata` that rules read.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata<'a> {
    /// Name.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// Labels.
    #[serde(borrow, deserialize_with = "null_map")]
    pub labels: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    /// Annotations.
    #[serde(borrow, deserialize_with = "null_map")]
    pub annotations: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    /// ownerReferences, whole.
    #[serde(deserialize_with = "crate::grants::null_is_empty")]
    pub owner_references: Vec<OwnerReference>,
    /// Finalizers.
    #[serde(deserialize_with = "crate::grants::null_is_empty")]
    pub finalizers: Vec<String>,
}

/// An owner reference, as far as a change of it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    /// API version of the owner.
    pub api_version: String,
    /// Kind of the owner.
    pub kind: String,
    /// Name of the owner.
    pub name: String,
    /// UID of the owner.
    pub uid: String,
    /// Whether it is the controller.
    pub controller: Option<bool>,
    /// Whether it blocks the owner's deletion.
    pub block_owner_deletion: Option<bool>,
}

type TextMap<'a> = BTreeMap<Cow<'a, str>, Cow<'a, str>>;

/// Reads labels or annotations: `null` is none, and a key that stands twice is refused, because readers differ
/// in which of the two they believe.
fn null_map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TextMap<'de>, D::Error> {
    /// Borrows its text where it can.
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    struct Unique;

    impl<'de> Visitor<'de> for Unique {
        type Value = TextMap<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map from text to text")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(TextMap::new())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
            let mut map = TextMap::new();
            while let Some((key, value)) = members.next_entry::<Text<'de>, Text<'de>>()? {
                if map.insert(key.0, value.0).is_some() {
                    return Err(A::Error::custom("the same key twice"));
                }
            }
            Ok(map)
        }
    }

    deserializer.deserialize_any(Unique)
}

/// Reads a struct by the names of its members. By itself serde takes a list of them in order, too.
pub(crate) fn by_name<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    struct ByName<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for ByName<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(members))
        }
    }

    deserializer.deserialize_map(ByName(PhantomData))
}

/// An object of any kind.
#[derive(Debug, Default, Deserialize)]
pub struct Object<'a> {
    /// Its metadata.
    #[serde(borrow, default, deserialize_with = "by_name")]
    pub metadata: Metadata<'a>,
    /// Its `spec`, which stays text until a rule reads it.
    #[serde(borrow, default)]
    pub spec: Option<&'a RawValue>,
}

/// An object whose `spec` is read along with the rest, because it is most of the text.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "S: Deserialize<'de>"))]
pub struct ReadWhole<'a, S> {
    /// Its metadata.
    #[serde(borrow, default, deserialize_with = "by_name")]
    pub metadata: Metadata<'a>,
    /// Its `spec`.
    #[serde(default = "none")]
    pub spec: Option<S>,
}

fn none<S>() -> Option<S> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(object: &str) -> String {
        format!(
            r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{{"uid":"u","kind":{{"group":"","version":"v1","kind":"Pod"}},"resource":{{"group":"","version":"v1","resource":"pods"}},"operation":"CREATE","userInfo":{{"username":"alice"}},"object":{object}}}}}"#
        )
    }

    #[test]
    fn reads_a_review() {
        let body = body(r#"{"metadata":{"labels":{"a":"b\n"},"annotations":null}}"#);
        let request = parse(body.as_bytes()).unwrap();
        assert_eq!(request.operation, Operation::Create);
        let object: Object<'_> = serde_json::from_str(request.object.unwrap().get()).unwrap();
        assert_eq!(object.metadata.labels["a"], "b\n");
    }

    #[test]
    fn a_null_object_is_none() {
        assert!(parse(body("null").as_bytes()).unwrap().object.is_none());
    }

    #[test]
    fn five_thousand_levels_are_skipped() {
        let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
        let body = body(&format!(
            r#"{{"metadata":{{"managedFields":{deep},"labels":{{"a":"b"}}}},"spec":{deep}}}"#
        ));
        let request = parse(body.as_bytes()).unwrap();
        let object: Object<'_> = serde_json::from_str(request.object.unwrap().get()).unwrap();
        assert_eq!(object.metadata.labels["a"], "b");
    }

    #[test]
    fn a_million_open_brackets_are_an_error() {
        let body = body(&"[".repeat(1_000_000));
        assert!(parse(body.as_bytes()).is_err());
    }

    #[track_caller]
    fn metadata(text: &str, expected: Result<usize, &str>) {
        let object = format!(r#"{{"metadata":{text}}}"#);
        let read: Result<Object<'_>, _> = serde_json::from_str(&object);
        match (read, expected) {
            (Ok(object), Ok(count)) => assert_eq!(object.metadata.labels.len(), count, "{text}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{text}: {error}"),
            (read, _) => panic!("{text}: {read:?}"),
        }
    }

    #[test]
    fn metadata_has_one_reading() {
        metadata(r#"{"labels":{"a":"b","c":"d"}}"#, Ok(2));
        metadata(r#"{"labels":null,"ownerReferences":null}"#, Ok(0));
        metadata("{}", Ok(0));
        metadata(r#"{"labels":{"a":"b","a":"d"}}"#, Err("twice"));
        metadata(r#"{"labels":{"a":"b","\u0061":"b"}}"#, Err("twice"));
        metadata(r#"{"labels":{"a":"b"},"labels":{}}"#, Err("duplicate field"));
        metadata(r#"{"labels":{"a":null}}"#, Err("null"));
        metadata(r#"{"labels":{"a":1}}"#, Err("integer"));
        metadata(r#"{"labels":[["a","b"]]}"#, Err("sequence"));
        metadata(r#"{"labels":{"a":"\ud800"}}"#, Err("hex escape"));
        metadata(r#"["name",{"a":"b"}]"#, Err("sequence"));
        metadata("null", Err("null"));
        metadata(r#""x""#, Err("string"));
    }

    #[test]
    fn what_is_not_a_review_is_refused() {
        for (body, reason) in [
            ("", "EOF"),
            ("{}", "missing field"),
            ("[]", "invalid length"),
            (
                r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":null}"#,
                "without a request",
            ),
            (
                r#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":null}"#,
                "v1beta1",
            ),
            (
                r#"{"apiVersion":"admission.k8s.io/v1","apiVersion":"x","kind":"AdmissionReview"}"#,
                "duplicate field",
            ),
        ] {
            let error = parse(body.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(reason), "{body}: {error}");
        }
        let twice = body("{}").replace(r#""userInfo""#, r#""object":{},"userInfo""#);
        assert!(
            parse(twice.as_bytes())
                .unwrap_err()
                .to_string()
                .contains("duplicate field")
        );
        let uid = body("{}").replace(r#""uid":"u""#, r#""uid":"""#);
        assert!(matches!(parse(uid.as_bytes()), Err(ReviewError::Uid)));
        let operation = body("{}").replace("CREATE", "Create");
        assert!(parse(operation.as_bytes()).is_err());
        assert!(parse(&body("{}").into_bytes()[..200]).is_err());
        assert!(parse(b"\xff\xfe").is_err());
    }
}
