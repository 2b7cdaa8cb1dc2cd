//! What is refused before it is parsed: the parser and the engine recurse over what these bounds hold small.

use regorus::Source as EngineSource;
use regorus::unstable::{Lexer, Token, TokenKind};

use super::problem::Problem;
use super::source::Source;

/// The longest source, in bytes.
pub const MAX_SOURCE: usize = 256 * 1024;
/// The most operators of one expression, those around it included: each is a level that is recursed over.
pub const MAX_OPERATORS: usize = 128;
/// The longest number, in digits.
const MAX_DIGITS: usize = 40;

const OPERATORS: [&str; 15] = [
    "+", "-", "*", "/", "%", "&", "|", "<", "<=", ">", ">=", "=", "==", "!=", ":=",
];

/// Checks the text of a source.
pub(super) fn check(source: &Source) -> Result<(), Problem> {
    let problem = |place, message: String| Problem::at(&source.name, place, message);
    if source.text.len() > MAX_SOURCE {
        return Err(problem(
            (0, 0),
            format!(
                "the source has {} bytes; at most {MAX_SOURCE} are allowed: split it into several policies",
                source.text.len()
            ),
        ));
    }
    let of_engine = |error: &anyhow::Error| Problem::of_engine(&source.name, error);
    let text =
        EngineSource::from_contents(source.name.clone(), source.text.clone()).map_err(|it| of_engine(&it))?;
    let mut lexer = Lexer::new(&text);
    let mut levels = vec![0_usize];
    let mut continues = true;
    let mut line = 0;
    loop {
        let Token(kind, span) = lexer.next_token().map_err(|it| of_engine(&it))?;
        let word = span.text();
        let is_operator = match kind {
            TokenKind::Symbol => OPERATORS.contains(&word),
            TokenKind::Ident => word == "in",
            _ => false,
        };
        if kind == TokenKind::Eof {
            return Ok(());
        }
        if kind == TokenKind::Number && !is_small(word) {
            return Err(problem(
                (span.line, span.col),
                format!(
                    "the number is too large; at most {MAX_DIGITS} digits and an exponent of at most 99 are allowed"
                ),
            ));
        }
        let is_new_statement = span.line > line && !continues && !is_operator;
        line = span.line;
        continues = is_operator || matches!(word, "(" | "[" | "{" | ",");
        match (kind, word) {
            (TokenKind::Symbol, "(" | "[" | "{") => {
                if is_new_statement && let Some(level) = levels.last_mut() {
                    *level = 0;
                }
                levels.push(0);
            }
            (TokenKind::Symbol, ")" | "]" | "}") => {
                levels.pop();
                if levels.is_empty() {
                    levels.push(0);
                }
            }
            (TokenKind::Symbol, "," | ";") => reset(&mut levels),
            _ if is_operator => {
                if let Some(level) = levels.last_mut() {
                    *level = level.saturating_add(1);
                }
                if levels.iter().sum::<usize>() > MAX_OPERATORS {
                    return Err(problem(
                        (span.line, span.col),
                        format!(
                            "the expression has more than {MAX_OPERATORS} operators: split it into several rules"
                        ),
                    ));
                }
            }
            _ if is_new_statement => reset(&mut levels),
            _ => {}
        }
    }
}

fn reset(levels: &mut [usize]) {
    if let Some(level) = levels.last_mut() {
        *level = 0;
    }
}

fn is_small(number: &str) -> bool {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(i64::MAX);
    mantissa.len() <= MAX_DIGITS.saturating_add(2) && exponent.unsigned_abs() <= 99
}
