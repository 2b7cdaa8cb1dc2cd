//! Where a line of a text stands that was written as a literal block (`rego: |`).

use crate::check::node::{Node, Position, Value};

/// A literal block of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The line before its first line.
    pub header: u64,
    /// How many spaces each of its lines begins with.
    pub indent: u64,
}

impl Block {
    /// The block that a value was written as; none where its lines are not those of the file.
    pub fn of(text: &str, node: &Node) -> Option<Self> {
        let Value::Text(value) = &node.value else {
            return None;
        };
        let lines: Vec<&str> = text.lines().collect();
        let first = usize::try_from(node.at.line.checked_sub(1)?).ok()?;
        let header = (0..first).rev().find(|it| !lines[*it].trim().is_empty())?;
        if !opens_a_literal(lines[header]) {
            return None;
        }
        let indent = lines.get(first).map(|it| it.len() - it.trim_start().len())?;
        let leading = value.lines().find(|it| !it.trim().is_empty())?;
        let indent = indent.checked_sub(leading.len() - leading.trim_start().len())?;
        let is_written = value.lines().enumerate().all(|(i, line)| {
            let written = lines.get(header + 1 + i).copied().unwrap_or_default();
            written.get(indent..).unwrap_or_default() == line
        });
        is_written.then_some(Self {
            header: header as u64 + 1,
            indent: indent as u64,
        })
    }

    /// Where a line of the text stands in the file; both begin at 1.
    pub fn place(self, line: u64, column: u64) -> Position {
        Position {
            line: self.header + line,
            column: self.indent + column.max(1),
        }
    }
}

/// Whether a line ends in `|`, `|-`, `|2+` and the like.
fn opens_a_literal(line: &str) -> bool {
    let code = line.split(" #").next().unwrap_or_default().trim_end();
    let opener = code.trim_end_matches(|it: char| it.is_ascii_digit() || it == '-' || it == '+');
    opener.ends_with('|') && code.len() - opener.len() <= 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::document;

    /// Where the second line of `a.b` stands, as `line:column` and what the file says there.
    #[track_caller]
    fn check(text: &str, expected: Option<(u64, u64)>) {
        let (documents, unread) = document::read("f.yaml", text);
        assert_eq!(unread, [], "{text}");
        let node = documents[0].root.at_path(&["a", "b"]).unwrap();
        let node = node.items().first().unwrap_or(node);
        let at = Block::of(text, node).map(|it| it.place(2, 1));
        assert_eq!(at.map(|it| (it.line, it.column)), expected, "{text}");
        if let Some((line, column)) = expected {
            let line = text.lines().nth(usize::try_from(line).unwrap() - 1).unwrap();
            assert!(
                line[usize::try_from(column).unwrap() - 1..].starts_with('y'),
                "{line}"
            );
        }
    }

    #[test]
    fn a_literal_block_has_the_lines_of_its_file() {
        check("a:\n  b: |\n    x\n    y\n", Some((4, 5)));
        check("---\na:\n  b: |- # why\n    x\n    y\n", Some((5, 5)));
        check("a:\n  b: |\n\n    y\n", Some((4, 5)));
        check("a:\n  b: |1\n     x\n   y\n", Some((4, 4)));
        check("a:\n  b:\n  - |\n    x\n    y\n", Some((5, 5)));
        check("a:\r\n  b: |\r\n    x\r\n    y\r\n", Some((4, 5)));
        check("a:\n  b:\n    |\n    x\n    y\n", Some((5, 5)));
    }

    #[test]
    fn another_text_has_not() {
        check("a:\n  b: >\n    x\n    y\n", None);
        check("a:\n  b: \"x\\ny\"\n", None);
        check("a:\n  b:\n    x\n    y\n", None);
        check("c: &c |\n  x\n  y |\na:\n  b: *c\n", None);
        check("{\"a\": {\"b\": \"x\\ny\"}}", None);
    }
}
