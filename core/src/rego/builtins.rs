//! The builtins that a policy may call, and what bounds them.
//!
//! The engine's deadline is looked at between statements, never inside a builtin. So no builtin gets more than it can
//! finish in a few milliseconds, and none that grows its result without bound, reaches out of the process, or answers
//! differently for the same request is there at all.

use std::sync::OnceLock;

use anyhow::Context as _;
use regorus::unstable::{BUILTINS, BuiltinFcn, Expr, Ref, Span};
use regorus::{Engine, Source, Value};

/// The longest string that goes into or comes out of a builtin, in bytes.
const MAX_STRING: usize = 1024 * 1024;
/// The most elements of a collection that a builtin makes, and the most that it looks at.
const MAX_ELEMENTS: usize = 100_000;
/// The widest field that `sprintf` fills, in characters.
const MAX_WIDTH: usize = 1000;
/// Numbers beyond this take longer to print than to compute.
const MAX_NUMBER: f64 = 1e100;

/// Builtins of OPA that are refused, and why.
const REFUSED: &[(&str, &str)] = &[
    (
        "http.send",
        "a policy reaches nothing outside itself; put what it needs into the parameters",
    ),
    (
        "net.lookup_ip_addr",
        "a policy reaches nothing outside itself; put what it needs into the parameters",
    ),
    (
        "opa.runtime",
        "a policy doesn't see the environment; put what it needs into the parameters",
    ),
    (
        "rand.intn",
        "the same request must get the same answer; use a part of the object instead",
    ),
    (
        "uuid.rfc4122",
        "the same request must get the same answer; use input.request.uid instead",
    ),
    (
        "time.now_ns",
        "the same request must get the same answer, and it carries no time",
    ),
    (
        "graph.reachable_paths",
        "the number of paths grows without bound; use graph.reachable",
    ),
    ("yaml.marshal", "there is no YAML at admission; use json.marshal"),
    (
        "yaml.unmarshal",
        "aliases in YAML grow without bound; use json.unmarshal",
    ),
    (
        "yaml.is_valid",
        "aliases in YAML grow without bound; use json.is_valid",
    ),
    ("test.sleep", "a policy doesn't wait"),
];

/// What a policy may call.
const ALLOWED: &str = "
    abs array.concat array.reverse array.slice base64.decode base64.encode base64.is_valid base64url.decode
    base64url.encode base64url.encode_no_pad bits.and bits.lsh bits.negate bits.or bits.rsh bits.xor ceil concat
    contains count endswith floor format_int glob.match glob.quote_meta graph.reachable hex.decode hex.encode
    indexof indexof_n intersection is_array is_boolean is_null is_number is_object is_set is_string json.filter
    json.is_valid json.marshal json.marshal_with_options json.patch json.remove json.unmarshal lower max min
    net.cidr_contains net.cidr_expand net.cidr_is_valid numbers.range numbers.range_step object.filter
    object.get object.keys object.remove object.subset object.union object.union_n product regex.find_n
    regex.is_valid regex.match regex.replace regex.split regex.template_match replace round semver.compare
    semver.is_valid sort split sprintf startswith strings.any_prefix_match strings.any_suffix_match
    strings.count strings.replace_n strings.reverse substring sum to_number trace trim trim_left trim_prefix
    trim_right trim_space trim_suffix type_name union units.parse units.parse_bytes upper walk
";

fn allowed() -> impl Iterator<Item = &'static str> {
    ALLOWED.split_whitespace()
}

/// A name that is called and that no module of the policy declares.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// A builtin, and how many arguments it takes; `print` takes any number.
    Builtin(Option<usize>),
    /// A builtin of OPA that is not there, and why.
    Refused(&'static str),
    /// Nothing; the closest name that exists.
    Unknown(Option<&'static str>),
}

pub(super) fn look_up(name: &str) -> Lookup {
    if name == "print" {
        return Lookup::Builtin(None);
    }
    if let Some((_, why)) = REFUSED.iter().find(|(it, _)| *it == name) {
        return Lookup::Refused(why);
    }
    if allowed().any(|it| it == name)
        && let Some((_, arguments)) = BUILTINS.get(name)
    {
        return Lookup::Builtin(Some(usize::from(*arguments)));
    }
    let closest = allowed()
        .map(|it| (distance(it, name), it))
        .filter(|(distance, it)| *distance <= 2 || it.rsplit('.').next() == Some(name))
        .min();
    Lookup::Unknown(closest.map(|(_, it)| it))
}

/// How many letters have to be inserted, deleted or replaced.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut above_left = i;
        let mut left = i.saturating_add(1);
        let mut next = vec![left];
        for (y, above) in b.iter().zip(row.iter().skip(1)) {
            let replaced = above_left.saturating_add(usize::from(x != *y));
            left = replaced.min(left.saturating_add(1)).min(above.saturating_add(1));
            next.push(left);
            above_left = *above;
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// Puts a bound around the builtins of these names.
///
/// # Errors
/// When one of them is not a builtin.
pub(super) fn bound<'a>(
    engine: &mut Engine,
    names: impl IntoIterator<Item = &'a str>,
    strict: bool,
) -> anyhow::Result<()> {
    for name in names {
        let (Some(name), Some(builtin)) = (allowed().find(|it| *it == name), BUILTINS.get(name)) else {
            continue;
        };
        // It makes one value of each path, which the engine iterates itself and looks at the clock in between.
        if name == "walk" {
            continue;
        }
        let builtin = *builtin;
        let call = move |arguments: Vec<Value>| call(name, builtin, &arguments, strict);
        engine.add_extension(name.to_owned(), builtin.1, Box::new(call))?;
    }
    Ok(())
}

fn call(name: &str, builtin: BuiltinFcn, arguments: &[Value], strict: bool) -> anyhow::Result<Value> {
    for argument in arguments {
        check_size(name, argument)?;
    }
    if let Some(size) = growth(name, arguments) {
        anyhow::ensure!(
            size <= MAX_STRING as u128,
            "{name} would make a value of {size} bytes or elements; at most {MAX_STRING} are allowed"
        );
    }
    let nowhere = nowhere()?;
    let parameters = vec![nowhere.parameter.clone(); arguments.len()];
    let result = (builtin.0)(&nowhere.span, &parameters, arguments, strict);
    match result {
        Ok(value) => {
            check_size(name, &value)?;
            Ok(value)
        }
        // Not all builtins of the engine know what is not strict.
        Err(_) if !strict => Ok(Value::Undefined),
        Err(error) => Err(anyhow::anyhow!("{}", last_line(&error.to_string()))),
    }
}

fn last_line(text: &str) -> &str {
    text.rsplit_once("error: ").map_or(text, |(_, it)| it).trim()
}

/// What a builtin is told of its call. The engine puts the real place before what an extension says.
struct Call {
    span: Span,
    parameter: Ref<Expr>,
}

fn nowhere() -> anyhow::Result<&'static Call> {
    static NOWHERE: OnceLock<Option<Call>> = OnceLock::new();
    let make = || {
        let span = Span {
            source: Source::from_contents("builtin".to_owned(), String::new()).ok()?,
            line: 1,
            col: 1,
            start: 0,
            end: 0,
        };
        let parameter = Ref::new(Expr::Null {
            span: span.clone(),
            value: Value::Null,
            eidx: 0,
        });
        Some(Call { span, parameter })
    };
    NOWHERE
        .get_or_init(make)
        .as_ref()
        .context("the engine takes no source")
}

/// Refuses what is too large to be looked at between two looks at the clock.
fn check_size(name: &str, value: &Value) -> anyhow::Result<()> {
    let mut budget = MAX_ELEMENTS;
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        budget = budget
            .checked_sub(1)
            .ok_or_else(|| anyhow::anyhow!("{name} was given, or made, more than {MAX_ELEMENTS} elements"))?;
        match value {
            Value::String(text) => anyhow::ensure!(
                text.len() <= MAX_STRING,
                "{name} was given, or made, a string of {} bytes; at most {MAX_STRING} are allowed",
                text.len()
            ),
            Value::Number(_) => anyhow::ensure!(
                as_f64(value).is_some_and(|it| it.abs() <= MAX_NUMBER),
                "{name} was given, or made, a number beyond {MAX_NUMBER:e}"
            ),
            Value::Array(items) => open.extend(items.iter()),
            Value::Set(items) => open.extend(items.iter()),
            Value::Object(members) => open.extend(members.iter().flat_map(|(k, v)| [k, v])),
            Value::Null | Value::Bool(_) | Value::Undefined => {}
        }
        anyhow::ensure!(
            open.len() <= MAX_ELEMENTS,
            "{name} was given, or made, more than {MAX_ELEMENTS} elements"
        );
    }
    Ok(())
}

/// A number that is not too large to be printed.
#[allow(clippy::cast_precision_loss, reason = "it is compared with a bound")]
fn as_f64(value: &Value) -> Option<f64> {
    let Value::Number(number) = value else { return None };
    number
        .as_f64()
        .or_else(|| value.as_i128().ok().map(|it| it as f64))
}

/// An upper bound for what a builtin makes, where it can be more than it is given.
fn growth(name: &str, arguments: &[Value]) -> Option<u128> {
    let length = |index: usize| match arguments.get(index) {
        Some(Value::String(text)) => text.len() as u128,
        Some(Value::Array(items)) => items.len() as u128,
        Some(Value::Set(items)) => items.len() as u128,
        Some(Value::Object(members)) => members.len() as u128,
        _ => 0,
    };
    let number = |index: usize| arguments.get(index).and_then(as_f64).unwrap_or_default();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates"
    )]
    let elements = |count: f64| {
        if count.is_nan() {
            u128::MAX
        } else {
            (count.abs() as u128).saturating_mul(16)
        }
    };
    let strings = |index: usize| total_string(arguments.get(index));
    Some(match name {
        "numbers.range" => elements(number(1) - number(0)),
        "numbers.range_step" => elements((number(1) - number(0)) / number(2)),
        "bits.lsh" => elements(number(1) * 8.0),
        "net.cidr_expand" => match arguments.first() {
            Some(Value::String(cidr)) => addresses(cidr).saturating_mul(32),
            _ => 0,
        },
        "replace" | "regex.replace" => {
            length(0).saturating_add(length(0).saturating_add(1).saturating_mul(length(2)))
        }
        // Each pattern may match in what the one before it made.
        "strings.replace_n" => length(1)
            .saturating_add(1)
            .saturating_mul(strings(0).saturating_add(1)),
        "concat" => strings(1).saturating_add(length(0).saturating_mul(length(1))),
        "product" => digits(arguments.first()),
        "sprintf" => width(arguments.first()),
        _ => return None,
    })
}

/// How long a product would be, where it is longer than a number may be.
fn digits(factors: Option<&Value>) -> u128 {
    let of = |it: &Value| as_f64(it).map_or(0.0, |it| it.abs().log10().max(0.0));
    let digits: f64 = match factors {
        Some(Value::Array(items)) => items.iter().map(of).sum(),
        Some(Value::Set(items)) => items.iter().map(of).sum(),
        _ => 0.0,
    };
    if digits > MAX_NUMBER.log10() { u128::MAX } else { 0 }
}

fn total_string(value: Option<&Value>) -> u128 {
    let length = |it: &Value| match it {
        Value::String(text) => text.len() as u128,
        _ => 0,
    };
    match value {
        Some(Value::Array(items)) => items.iter().map(length).sum(),
        Some(Value::Set(items)) => items.iter().map(length).sum(),
        Some(Value::Object(members)) => members
            .iter()
            .map(|(k, v)| length(k).saturating_add(length(v)))
            .sum(),
        _ => 0,
    }
}

/// How many addresses a CIDR has; what is none has none.
fn addresses(cidr: &str) -> u128 {
    let Some((address, bits)) = cidr.split_once('/') else {
        return 0;
    };
    let all: u32 = if address.contains(':') { 128 } else { 32 };
    let free = all.saturating_sub(bits.trim().parse().unwrap_or(all));
    1_u128.checked_shl(free).unwrap_or(u128::MAX)
}

/// The widths and precisions of a format, where one is too wide: all its digits, read as one number each.
fn width(format: Option<&Value>) -> u128 {
    let Some(Value::String(format)) = format else {
        return 0;
    };
    let mut widest = 0_u128;
    let mut current: Option<u128> = None;
    let mut after_percent = false;
    for letter in format.chars() {
        match (letter, letter.to_digit(10)) {
            ('%', _) => {
                after_percent = !after_percent;
                current = None;
            }
            (_, Some(digit)) if after_percent => {
                let width = current
                    .unwrap_or(0)
                    .saturating_mul(10)
                    .saturating_add(u128::from(digit));
                current = Some(width);
                widest = widest.max(width);
            }
            // The engine takes each of Unicode's digits for one of its own, and gives up.
            _ if after_percent && letter.is_numeric() => return u128::MAX,
            ('.' | '-' | '+' | '#' | ' ' | '[' | ']' | '*', _) => current = None,
            _ => after_percent = false,
        }
    }
    if widest > MAX_WIDTH as u128 { u128::MAX } else { 0 }
}
