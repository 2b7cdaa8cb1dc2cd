//! Names in a module: its package, its imports, its rules, and what a reference means.

use std::collections::{BTreeMap, BTreeSet};

use regorus::Value;
use regorus::unstable::{Expr, Literal, LiteralStmt, Module, Query, Ref, Rule, RuleHead, Span};

/// A dotted path such as `data.lib.allowed`.
pub(super) type Path = Vec<String>;

/// A reference: as much of its path as is written down, and whether it goes on with what is only known later.
pub(super) struct Reference<'a> {
    pub(super) path: Path,
    pub(super) is_open: bool,
    /// Expressions between brackets.
    pub(super) indices: Vec<&'a Ref<Expr>>,
    /// What the reference starts with, when that is not a name.
    pub(super) base: Option<&'a Ref<Expr>>,
}

/// Reads a chain of `.name` and `[index]` without recursion: it may be as long as the source.
pub(super) fn reference(expr: &Ref<Expr>) -> Option<Reference<'_>> {
    let mut parts: Vec<Option<String>> = Vec::new();
    let mut indices = Vec::new();
    let mut current = expr;
    loop {
        match current.as_ref() {
            Expr::RefDot { refr, field, .. } => {
                parts.push(text(&field.1).or_else(|| Some(field.0.text().to_owned())));
                current = refr;
            }
            Expr::RefBrack { refr, index, .. } => {
                parts.push(match index.as_ref() {
                    Expr::String { value, .. } | Expr::RawString { value, .. } => text(value),
                    _ => None,
                });
                indices.push(index);
                current = refr;
            }
            Expr::Var { span, .. } => {
                let mut path = vec![span.text().to_owned()];
                let mut is_open = false;
                for part in parts.into_iter().rev() {
                    match part {
                        Some(part) if !is_open => path.push(part),
                        _ => is_open = true,
                    }
                }
                return Some(Reference {
                    path,
                    is_open,
                    indices,
                    base: None,
                });
            }
            _ if parts.is_empty() => return None,
            _ => {
                return Some(Reference {
                    path: Vec::new(),
                    is_open: true,
                    indices,
                    base: Some(current),
                });
            }
        }
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.to_string()),
        _ => None,
    }
}

/// The place of a span, counted from 1.
pub(super) fn place(span: &Span) -> (u32, u32) {
    (span.line, span.col)
}

/// Where an expression begins: the engine gives a reference or a call the place of its last part.
pub(super) fn begin(expr: &Ref<Expr>) -> &Span {
    let mut current = expr;
    loop {
        current = match current.as_ref() {
            Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } => refr,
            Expr::Call { fcn, .. } => fcn,
            other => return other.span(),
        };
    }
}

/// A rule's head, whatever its form.
pub(super) struct Head<'a> {
    /// The path below the package.
    pub(super) path: Path,
    /// How many arguments it takes, if it is a function.
    pub(super) arguments: Option<&'a [Ref<Expr>]>,
    /// Expressions that the head evaluates.
    pub(super) expressions: Vec<&'a Ref<Expr>>,
}

pub(super) fn head(rule: &Rule) -> Head<'_> {
    let (refr, arguments, mut expressions) = match rule {
        Rule::Spec { head, .. } => match head {
            RuleHead::Compr { refr, assign, .. } => (refr, None, values(assign.as_ref())),
            RuleHead::Set { refr, key, .. } => (refr, None, key.iter().collect()),
            RuleHead::Func {
                refr, args, assign, ..
            } => (refr, Some(args.as_slice()), values(assign.as_ref())),
        },
        Rule::Default {
            refr, args, value, ..
        } => (refr, (!args.is_empty()).then_some(args.as_slice()), vec![value]),
    };
    let reference = reference(refr);
    let path = reference.as_ref().map(|it| it.path.clone()).unwrap_or_default();
    expressions.extend(reference.into_iter().flat_map(|it| it.indices));
    Head {
        path,
        arguments,
        expressions,
    }
}

fn values(assign: Option<&regorus::unstable::RuleAssign>) -> Vec<&Ref<Expr>> {
    assign.map(|it| &it.value).into_iter().collect()
}

/// What a module calls itself and others.
pub(super) struct Names {
    /// `data` and the package's path.
    pub(super) package: Path,
    /// Alias to the full path.
    pub(super) imports: BTreeMap<String, Path>,
    /// First names of the rules.
    pub(super) rules: BTreeSet<String>,
}

impl Names {
    pub(super) fn of(module: &Module) -> Self {
        let mut package = vec!["data".to_owned()];
        package.extend(
            reference(&module.package.refr)
                .map(|it| it.path)
                .unwrap_or_default(),
        );
        let imports = module.imports.iter().filter_map(|import| {
            let path = reference(&import.refr)?.path;
            let alias = match &import.r#as {
                Some(span) => span.text().to_owned(),
                None => path.last()?.clone(),
            };
            Some((alias, path))
        });
        Self {
            package,
            imports: imports.collect(),
            rules: module
                .policy
                .iter()
                .filter_map(|it| head(it).path.into_iter().next())
                .collect(),
        }
    }

    /// The full path that a reference means, if it is more than a local name.
    pub(super) fn resolve(&self, path: &[String], locals: &BTreeSet<String>) -> Option<Path> {
        let (first, rest) = path.split_first()?;
        if first == "data" || first == "input" {
            return Some(path.to_vec());
        }
        let start = if locals.contains(first) {
            return None;
        } else if self.rules.contains(first) {
            [self.package.as_slice(), std::slice::from_ref(first)].concat()
        } else {
            self.imports.get(first)?.clone()
        };
        Some([&start, rest].concat())
    }
}

/// The names that a rule declares for itself, anywhere in it.
pub(super) fn locals(rule: &Rule) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for argument in head(rule).arguments.into_iter().flatten() {
        pattern(argument, &mut names);
    }
    if let Rule::Spec { bodies, .. } = rule {
        for query in bodies.iter().map(|it| &it.query) {
            visit(query, &mut |it| match it {
                Part::Statement(statement) => declared(statement, &mut names),
                Part::Expr(_) => {}
            });
        }
    }
    for expr in head(rule).expressions {
        visit_expr(expr, &mut |it| {
            if let Part::Statement(statement) = it {
                declared(statement, &mut names);
            }
        });
    }
    names
}

fn declared(statement: &LiteralStmt, names: &mut BTreeSet<String>) {
    match &statement.literal {
        Literal::SomeVars { vars, .. } => names.extend(vars.iter().map(|it| it.text().to_owned())),
        Literal::SomeIn { key, value, .. } => {
            for it in key.iter().chain([value]) {
                pattern(it, names);
            }
        }
        Literal::Every { key, value, .. } => {
            names.extend(key.iter().chain([value]).map(|it| it.text().to_owned()));
        }
        Literal::Expr { expr, .. } => {
            if let Expr::AssignExpr {
                op: regorus::unstable::AssignOp::ColEq,
                lhs,
                ..
            } = expr.as_ref()
            {
                pattern(lhs, names);
            }
        }
        Literal::NotExpr { .. } => {}
    }
}

/// The variables of a pattern.
fn pattern(expr: &Ref<Expr>, names: &mut BTreeSet<String>) {
    visit_expr(expr, &mut |it| {
        if let Part::Expr(expr) = it
            && let Expr::Var { span, .. } = expr.as_ref()
        {
            names.insert(span.text().to_owned());
        }
    });
}

/// Something inside a rule.
pub(super) enum Part<'a> {
    /// A statement of a query.
    Statement(&'a LiteralStmt),
    /// An expression; a reference comes once, as a whole.
    Expr(&'a Ref<Expr>),
}

/// Visits all statements and expressions of a query, those of comprehensions included.
pub(super) fn visit<'a>(query: &'a Query, see: &mut dyn FnMut(Part<'a>)) {
    for statement in &query.stmts {
        see(Part::Statement(statement));
        match &statement.literal {
            Literal::SomeVars { .. } => {}
            Literal::SomeIn {
                key,
                value,
                collection,
                ..
            } => {
                for it in key.iter().chain([value, collection]) {
                    visit_expr(it, see);
                }
            }
            Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => visit_expr(expr, see),
            Literal::Every { domain, query, .. } => {
                visit_expr(domain, see);
                visit(query, see);
            }
        }
        for with in &statement.with_mods {
            visit_expr(&with.r#as, see);
        }
    }
}

/// Visits an expression and all in it. The parser and [`super::limits`] bound how deep that goes.
pub(super) fn visit_expr<'a>(expr: &'a Ref<Expr>, see: &mut dyn FnMut(Part<'a>)) {
    see(Part::Expr(expr));
    match expr.as_ref() {
        Expr::String { .. }
        | Expr::RawString { .. }
        | Expr::Number { .. }
        | Expr::Bool { .. }
        | Expr::Null { .. }
        | Expr::Var { .. } => {}
        Expr::Array { items, .. } | Expr::Set { items, .. } => {
            for it in items {
                visit_expr(it, see);
            }
        }
        Expr::Object { fields, .. } => {
            for (_, key, value) in fields {
                visit_expr(key, see);
                visit_expr(value, see);
            }
        }
        Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
            visit_expr(term, see);
            visit(query, see);
        }
        Expr::ObjectCompr {
            key, value, query, ..
        } => {
            visit_expr(key, see);
            visit_expr(value, see);
            visit(query, see);
        }
        Expr::Call { params, .. } => {
            for it in params {
                visit_expr(it, see);
            }
        }
        Expr::UnaryExpr { expr, .. } => visit_expr(expr, see),
        Expr::RefDot { .. } | Expr::RefBrack { .. } => {
            if let Some(reference) = reference(expr) {
                for it in reference.indices.into_iter().chain(reference.base) {
                    visit_expr(it, see);
                }
            }
        }
        Expr::BinExpr { lhs, rhs, .. }
        | Expr::BoolExpr { lhs, rhs, .. }
        | Expr::ArithExpr { lhs, rhs, .. }
        | Expr::AssignExpr { lhs, rhs, .. } => {
            visit_expr(lhs, see);
            visit_expr(rhs, see);
        }
        Expr::Membership {
            key,
            value,
            collection,
            ..
        } => {
            for it in key.iter().chain([value, collection]) {
                visit_expr(it, see);
            }
        }
    }
}
