//! A definition of a rule, written down once more so that it tells what its variables were.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{AssignOp, Expr, Literal, LiteralStmt, Module, Ref, Rule, RuleBody, RuleHead, Span};

use super::super::check::Checked;
use super::super::names::{Names, head, reference};
use super::super::policy::rule_path;
use super::super::source::{Language, Source};
use super::Condition;
use super::look::operands;
use super::seen::Looked;

/// A definition that can be evaluated by itself.
pub(super) struct Probe {
    /// The rule that it defines.
    pub(super) rule: String,
    /// Whether that is a set.
    pub(super) is_set: bool,
    pub(super) module: usize,
    pub(super) file: String,
    pub(super) line: u32,
    /// The path by which the engine finds it.
    pub(super) path: String,
    /// What is added to the source.
    pub(super) text: String,
    pub(super) conditions: Vec<Condition>,
    pub(super) looked_at: Vec<Looked>,
}

/// How the variables are named that stand for `_`.
const WILDCARD: &str = "bailiwick_wildcard_";

/// Probes of all definitions of the rules that decide, as far as they can be told apart. `sources` are as they were
/// written; in the modules facts have other names.
pub(super) fn all(
    checked: &Checked,
    modules: &[Ref<Module>],
    sources: &[Source],
    language: Language,
) -> Vec<Probe> {
    let mut probes = Vec::new();
    for (index, (module, source)) in modules.iter().zip(sources).enumerate() {
        let names = Names::of(module);
        if names.package != checked.package {
            continue;
        }
        for rule in &module.policy {
            let Rule::Spec { head: it, bodies, .. } = rule.as_ref() else {
                continue;
            };
            let path = head(rule).path;
            let [name] = path.as_slice() else { continue };
            if !checked.entries.contains(name) || bodies.iter().any(|it| it.is_else) {
                continue;
            }
            let Some((key, is_set)) = key(it, name) else {
                continue;
            };
            let none = [None];
            let bodies: Vec<Option<&RuleBody>> = bodies.iter().map(Some).collect();
            for body in if bodies.is_empty() {
                none.as_slice()
            } else {
                &bodies
            } {
                let statements: Vec<&LiteralStmt> = body.iter().flat_map(|it| &it.query.stmts).collect();
                let number = probes.len();
                let written = Written::of(&statements, &names);
                let name_of_probe = format!("bailiwick_probe_{number}");
                probes.push(Probe {
                    rule: name.clone(),
                    is_set,
                    module: index,
                    file: source.name.clone(),
                    line: rule.span().line,
                    path: rule_path(checked, &name_of_probe),
                    text: written.text(&name_of_probe, &key, language == Language::V1 || module.rego_v1),
                    conditions: conditions(&statements, &source.text),
                    looked_at: written.looked_at(&statements, &names),
                });
            }
        }
    }
    probes
}

/// The text of a rule's value, and whether the rule is a set.
fn key(head: &RuleHead, name: &str) -> Option<(String, bool)> {
    let after = |span: &Span| Some(text(span).strip_prefix(name)?.trim().to_owned());
    match head {
        RuleHead::Set {
            span, key: Some(_), ..
        } => {
            let rest = after(span)?;
            let key = match rest.strip_prefix("contains") {
                Some(key) => key,
                None => rest.strip_prefix('[')?.strip_suffix(']')?,
            };
            Some((key.trim().to_owned(), true))
        }
        RuleHead::Compr { span, assign, .. } => {
            let rest = after(span)?;
            let key = match assign {
                None if rest.is_empty() => "true",
                None => return None,
                Some(_) => rest.strip_prefix(":=").or_else(|| rest.strip_prefix('='))?,
            };
            Some((key.trim().to_owned(), false))
        }
        _ => None,
    }
}

/// The text of a span.
fn text(span: &Span) -> &str {
    text_in(span, span.source.contents())
}

/// The text that a span has in a source. To the engine a string ends before its closing quote.
fn text_in<'a>(span: &Span, all: &'a str) -> &'a str {
    let (start, end) = (span.start as usize, span.end as usize);
    let is_quote = all.get(end..).is_some_and(|it| it.starts_with(['"', '`']));
    all.get(start..end.saturating_add(usize::from(is_quote)))
        .unwrap_or_default()
}

/// The statements that can fail, which are the conditions. Where there is none, what binds a variable is one: it fails
/// where there is nothing to bind.
fn conditions(statements: &[&LiteralStmt], source: &str) -> Vec<Condition> {
    let of = |chosen: &dyn Fn(&LiteralStmt) -> bool| -> Vec<Condition> {
        let chosen = statements.iter().filter(|it| chosen(it));
        chosen
            .map(|it| Condition {
                line: it.span.line,
                text: text_in(&it.span, source)
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" "),
            })
            .collect()
    };
    let conditions = of(&|it| is_condition(it));
    if conditions.is_empty() {
        of(&binds_what_is_looked_at)
    } else {
        conditions
    }
}

pub(super) fn is_condition(statement: &LiteralStmt) -> bool {
    match &statement.literal {
        Literal::SomeVars { .. } | Literal::SomeIn { .. } => false,
        Literal::Expr { expr, .. } => {
            !matches!(
                expr.as_ref(),
                Expr::AssignExpr {
                    op: AssignOp::ColEq,
                    ..
                }
            ) && !is_print(expr)
        }
        Literal::NotExpr { .. } | Literal::Every { .. } => true,
    }
}

fn is_print(expr: &Ref<Expr>) -> bool {
    let Expr::Call { fcn, .. } = expr.as_ref() else {
        return false;
    };
    matches!(fcn.as_ref(), Expr::Var { span, .. } if matches!(span.text(), "print" | "trace"))
}

/// Whether a statement binds a variable to a part of something else.
pub(super) fn binds_what_is_looked_at(statement: &LiteralStmt) -> bool {
    match &statement.literal {
        Literal::SomeIn { .. } => true,
        Literal::Expr { expr, .. } => match expr.as_ref() {
            Expr::AssignExpr { rhs, .. } => {
                matches!(rhs.as_ref(), Expr::RefDot { .. } | Expr::RefBrack { .. })
            }
            _ => false,
        },
        _ => false,
    }
}

/// The statements of a probe, `_` replaced by names, and the variables that they bind.
pub(super) struct Written {
    statements: Vec<String>,
    pub(super) locals: BTreeSet<String>,
    /// The name of each `_`, by the byte where it stands.
    pub(super) wildcards: BTreeMap<u32, String>,
}

impl Written {
    fn of(statements: &[&LiteralStmt], names: &Names) -> Self {
        let mut written = Self {
            statements: Vec::new(),
            locals: BTreeSet::new(),
            wildcards: BTreeMap::new(),
        };
        for statement in statements {
            written.bind(statement, names);
            let start = statement.span.start;
            let mut text = text(&statement.span).to_owned();
            let within = start..statement.span.end;
            for (at, name) in written.wildcards.range(within).rev() {
                let at = at.saturating_sub(start) as usize;
                if text.get(at..at.saturating_add(1)) == Some("_") {
                    text.replace_range(at..at.saturating_add(1), name);
                }
            }
            written.statements.push(text);
        }
        written
    }

    /// Notes which variables a statement binds.
    fn bind(&mut self, statement: &LiteralStmt, names: &Names) {
        let mut local = |expr: &Ref<Expr>| {
            if let Expr::Var { span, .. } = expr.as_ref()
                && span.text() != "_"
            {
                self.locals.insert(span.text().to_owned());
            }
        };
        match &statement.literal {
            Literal::SomeVars { vars, .. } => {
                self.locals.extend(vars.iter().map(|it| it.text().to_owned()));
            }
            Literal::SomeIn {
                key,
                value,
                collection,
                ..
            } => {
                key.iter().chain([value]).for_each(&mut local);
                self.indices(collection, names);
            }
            Literal::Expr { expr, .. } => {
                if let Expr::AssignExpr { lhs, .. } = expr.as_ref() {
                    local(lhs);
                }
                operands(expr, &mut |it| self.indices(it, names));
            }
            Literal::NotExpr { .. } | Literal::Every { .. } => {}
        }
    }

    /// Variables between brackets are bound by what they run over.
    fn indices(&mut self, expr: &Ref<Expr>, names: &Names) {
        for index in reference(expr).into_iter().flat_map(|it| it.indices) {
            if let Expr::Var { span, .. } = index.as_ref() {
                let name = span.text();
                if name == "_" {
                    let name = format!("{WILDCARD}{}", span.start);
                    self.locals.insert(name.clone());
                    self.wildcards.insert(span.start, name);
                } else if !names.rules.contains(name) && !names.imports.contains_key(name) {
                    self.locals.insert(name.to_owned());
                }
            }
        }
    }

    fn text(&self, name: &str, key: &str, is_v1: bool) -> String {
        let locals = self.locals.iter().map(|it| format!("\"{it}\": {it}"));
        let locals = locals.collect::<Vec<_>>().join(", ");
        let value = format!("{{\"value\": {key}, \"locals\": {{{locals}}}}}");
        let body = if self.statements.is_empty() {
            "true".to_owned()
        } else {
            self.statements.join("\n")
        };
        if is_v1 {
            format!("\n{name} contains {value} if {{\n{body}\n}}\n")
        } else {
            format!("\n{name}[{value}] {{\n{body}\n}}\n")
        }
    }
}
