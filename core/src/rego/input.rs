//! What a policy sees of a request.

use std::fmt;

use regorus::Value;
use regorus::value::{Array, Object};
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The most values that an object may hold: what walks over it looks at each.
pub const MAX_VALUES: usize = 200_000;

/// An object as policies see it: without `metadata.managedFields`, which no rule reads and which tenants can nest
/// thousands of levels deep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document(pub(super) Value);

impl Document {
    /// Reads JSON.
    ///
    /// # Errors
    /// When it is no JSON, has a member twice, is nested deeper than 120 levels, or holds more than [`MAX_VALUES`] values.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        let mut left = MAX_VALUES;
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let value = Seed {
            level: Level::Root,
            left: &mut left,
        }
        .deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(Self(value))
    }
}

/// Where in an object a value stands, as far as it matters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Metadata,
    Below,
}

struct Seed<'a> {
    level: Level,
    left: &'a mut usize,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, it: bool) -> Result<Value, E> {
        Ok(Value::Bool(it))
    }

    fn visit_u64<E>(self, it: u64) -> Result<Value, E> {
        Ok(Value::from(it))
    }

    fn visit_i64<E>(self, it: i64) -> Result<Value, E> {
        Ok(Value::from(it))
    }

    fn visit_f64<E>(self, it: f64) -> Result<Value, E> {
        Ok(Value::from(it))
    }

    fn visit_str<E>(self, it: &str) -> Result<Value, E> {
        Ok(Value::from(it))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(Seed {
            level: Level::Below,
            left: self.left,
        })? {
            take(self.left)?;
            all.push(item);
        }
        Ok(Value::from(Array::from(all)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut all = Object::new();
        while let Some(key) = members.next_key::<std::borrow::Cow<'de, str>>()? {
            take(self.left)?;
            if self.level == Level::Metadata && key == "managedFields" {
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            let level = match (self.level, &*key) {
                (Level::Root, "metadata") => Level::Metadata,
                _ => Level::Below,
            };
            let value = members.next_value_seed(Seed {
                level,
                left: self.left,
            })?;
            if all.insert(Value::from(&*key), value).is_some() {
                return Err(A::Error::custom(format!("'{key}' is there twice")));
            }
        }
        Ok(Value::from(all))
    }
}

fn take<E: serde::de::Error>(left: &mut usize) -> Result<(), E> {
    *left = left
        .checked_sub(1)
        .ok_or_else(|| E::custom(format!("more than {MAX_VALUES} values")))?;
    Ok(())
}

/// A request, built once and read by all policies.
#[derive(Clone, Debug)]
pub struct Review {
    pub(super) request: Value,
    pub(super) object: Value,
}

impl Review {
    /// A review of a request. `envelope` is the AdmissionReview's `request` without `object` and `oldObject`.
    pub fn new(envelope: &serde_json::Value, object: Option<Document>, old_object: Option<Document>) -> Self {
        let mut request: Object = match Value::from(envelope.clone()) {
            Value::Object(members) => members.as_ref().clone(),
            _ => Object::new(),
        };
        let either = object
            .as_ref()
            .or(old_object.as_ref())
            .map_or(Value::Null, |it| it.0.clone());
        for (name, document) in [("object", object), ("oldObject", old_object)] {
            request.insert(Value::from(name), document.map_or(Value::Null, |it| it.0));
        }
        Self {
            request: Value::from(request),
            object: either,
        }
    }
}

/// What a policy sees beside the request: its own tenant and the request's namespace, and nothing of others.
#[derive(Clone, Debug)]
pub struct Facts {
    pub(super) tenant: Value,
    pub(super) namespace: Value,
}

impl Facts {
    /// Facts as `data.bailiwick.tenant` and `data.bailiwick.namespace` show them.
    pub fn new(tenant: &serde_json::Value, namespace: &serde_json::Value) -> Self {
        Self {
            tenant: Value::from(tenant.clone()),
            namespace: Value::from(namespace.clone()),
        }
    }
}
