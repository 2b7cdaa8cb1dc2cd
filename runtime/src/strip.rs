//! Drops the contents of `managedFields`, and what is nested too deep to be parsed, from a JSON stream.
//!
//! A tenant may store field sets nested five thousand levels deep in an object's `managedFields`, and whoever writes a
//! TenantPolicy may nest its parameters as deep; a parser that stops at 128 levels then refuses the whole list the
//! object is in. `managedFields` are replaced by an empty list in the bytes, before anything parses them, which saves a
//! third of the memory, too. Elsewhere a value below [`LEVELS`] becomes `null`: only free-form members have such values,
//! and who reads those refuses what is nothing like as deep.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// What begins the member. Inside a JSON string each `"` follows a `\`, so these bytes are never part of one.
const PATTERN: &[u8] = br#""managedFields":["#;

/// The deepest level of nesting that is kept.
pub const LEVELS: usize = 100;

/// A filter over the bytes of a JSON document, in any number of pieces.
#[derive(Debug, Default)]
pub struct Filter {
    /// How many bytes of [`PATTERN`] were just seen.
    matched: usize,
    /// How many lists and objects are open.
    depth: usize,
    text: Text,
    /// None while copying.
    left_out: Option<LeftOut>,
}

/// Where a byte stands to JSON's strings.
#[derive(Clone, Copy, Debug, Default)]
enum Text {
    #[default]
    Outside,
    Inside,
    Escaped,
}

/// What is being left out.
#[derive(Clone, Copy, Debug)]
struct LeftOut {
    /// How many lists and objects are open after it.
    until: usize,
    /// What closes what stands in its place.
    closing: Option<u8>,
}

impl Filter {
    /// Filters the next piece.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len());
        for &byte in piece {
            let before = self.depth;
            self.track(byte);
            match self.left_out {
                Some(LeftOut { until, closing }) => {
                    if self.depth == until {
                        out.extend(closing);
                        self.left_out = None;
                    }
                }
                None if self.depth > LEVELS && self.depth > before => {
                    out.extend_from_slice(b"null");
                    self.leave_out(before, None);
                }
                None => {
                    out.push(byte);
                    self.matched = if PATTERN.get(self.matched) == Some(&byte) {
                        self.matched.saturating_add(1)
                    } else {
                        usize::from(byte == b'"')
                    };
                    if self.matched == PATTERN.len() {
                        self.leave_out(before, Some(b']'));
                    }
                }
            }
        }
        out
    }

    fn leave_out(&mut self, until: usize, closing: Option<u8>) {
        self.matched = 0;
        self.left_out = Some(LeftOut { until, closing });
    }

    fn track(&mut self, byte: u8) {
        self.text = match (self.text, byte) {
            (Text::Inside, b'\\') => Text::Escaped,
            (Text::Inside, b'"') => Text::Outside,
            (Text::Escaped | Text::Inside, _) | (Text::Outside, b'"') => Text::Inside,
            (Text::Outside, b'[' | b'{') => {
                self.depth = self.depth.saturating_add(1);
                Text::Outside
            }
            (Text::Outside, b']' | b'}') => {
                self.depth = self.depth.saturating_sub(1);
                Text::Outside
            }
            (Text::Outside, _) => Text::Outside,
        };
    }
}

/// A response body with the contents of `managedFields` dropped.
#[derive(Debug)]
pub struct StripManagedFields<B> {
    body: B,
    filter: Filter,
}

impl<B> StripManagedFields<B> {
    /// Filters a body.
    pub fn new(body: B) -> Self {
        Self {
            body,
            filter: Filter::default(),
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for StripManagedFields<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(
            frame.map(|it| it.map(|frame| frame.map_data(|data| Bytes::from(self.filter.push(&data))))),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result does not depend on where the pieces are cut.
    #[track_caller]
    fn check(input: &str, expected: &str) {
        for size in 1..=input.len().clamp(1, 40) {
            let mut filter = Filter::default();
            let out: Vec<u8> = input
                .as_bytes()
                .chunks(size)
                .flat_map(|it| filter.push(it))
                .collect();
            assert_eq!(String::from_utf8(out).unwrap(), expected, "pieces of {size}");
        }
    }

    #[test]
    fn the_list_is_emptied_and_nothing_else_changes() {
        check(r#"{"a":1}"#, r#"{"a":1}"#);
        check(
            r#"{"metadata":{"managedFields":[{"f":{"x":[1,"]"]}}],"name":"n"}}"#,
            r#"{"metadata":{"managedFields":[],"name":"n"}}"#,
        );
        check(r#"{"managedFields":[]}"#, r#"{"managedFields":[]}"#);
        check(
            r#"[{"managedFields":[1]},{"managedFields":[2]}]"#,
            r#"[{"managedFields":[]},{"managedFields":[]}]"#,
        );
        check(
            r#"{"managedFields":["\"]\\"],"a":"b"}"#,
            r#"{"managedFields":[],"a":"b"}"#,
        );
        check(r#"{"managedFields":null}"#, r#"{"managedFields":null}"#);
        check("", "");
    }

    #[test]
    fn text_that_looks_like_the_member_is_kept() {
        check(
            r#"{"a":"\"managedFields\":[1]"}"#,
            r#"{"a":"\"managedFields\":[1]"}"#,
        );
        check(
            r#"{"a":"managedFields","b":[1]}"#,
            r#"{"a":"managedFields","b":[1]}"#,
        );
        check(r#"{"xmanagedFields":[1]}"#, r#"{"xmanagedFields":[1]}"#);
        check(r#"{"":"","managedFields":[1]}"#, r#"{"":"","managedFields":[]}"#);
    }

    #[test]
    fn what_is_too_deep_becomes_null() {
        let nested = |levels: usize, inner: &str| {
            format!("{}{inner}{}", r#"{"a":"#.repeat(levels), "}".repeat(levels))
        };
        let kept = nested(LEVELS, "1");
        check(&kept, &kept);
        for inner in [
            r#"{"]":[1,{}]}"#,
            r#"["}\"",2]"#,
            "{}",
            r#"{"managedFields":[1]}"#,
        ] {
            check(&nested(LEVELS, inner), &nested(LEVELS, "null"));
        }
        // Lines of a watch: what follows is read as if it came first.
        let line = r#"{"a":[1]}"#;
        check(
            &format!("{}\n{line}\n", nested(5000, "1")),
            &format!("{}\n{line}\n", nested(LEVELS, "null")),
        );
    }

    #[test]
    fn five_thousand_levels_become_parsable() {
        let deep = format!(
            "{}{}",
            r#"{"a":"#.repeat(5000),
            "1".to_owned() + &"}".repeat(5000)
        );
        let json = format!(r#"{{"metadata":{{"managedFields":[{deep}],"name":"n"}}}}"#);
        assert!(serde_json::from_str::<serde_json::Value>(&json).is_err());
        let out = Filter::default().push(json.as_bytes());
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["metadata"]["name"], "n");
    }
}
