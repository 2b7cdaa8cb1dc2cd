//! What the conditions of a definition look at: the places that their references name, through variables that stand for
//! places, as far as that is written down.

use std::collections::BTreeMap;

use regorus::unstable::{Expr, Literal, LiteralStmt, Ref};

use super::super::names::Names;
use super::probe::{Written, binds_what_is_looked_at, is_condition};
use super::seen::{Alias, Base, Looked, Step, step};

impl Written {
    /// What the conditions look at.
    pub(super) fn looked_at(&self, statements: &[&LiteralStmt], names: &Names) -> Vec<Looked> {
        let aliases = self.aliases(statements, names);
        let chosen: Vec<&&LiteralStmt> = {
            let conditions: Vec<_> = statements.iter().filter(|it| is_condition(it)).collect();
            if conditions.is_empty() {
                statements
                    .iter()
                    .filter(|it| binds_what_is_looked_at(it))
                    .collect()
            } else {
                conditions
            }
        };
        let mut looked = Vec::new();
        // Where a part of the input is replaced, what is looked at is something else.
        for statement in chosen.into_iter().filter(|it| it.with_mods.is_empty()) {
            let mut see = |expr: &Ref<Expr>| {
                let found = self.look(expr, names, &aliases);
                if let Some(found) = found
                    && !looked.contains(&found)
                {
                    looked.push(found);
                }
            };
            match &statement.literal {
                Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => operands(expr, &mut see),
                Literal::SomeIn { collection, .. } => see(collection),
                Literal::Every { domain, .. } => see(domain),
                Literal::SomeVars { .. } => {}
            }
        }
        looked
    }

    /// What a reference looks at; none where that is not known.
    fn look(&self, expr: &Ref<Expr>, names: &Names, aliases: &BTreeMap<String, Alias>) -> Option<Looked> {
        let (first, steps) = self.steps(expr, names, aliases)?;
        let base = if first == "input" {
            Base::Input
        } else if self.locals.contains(&first) {
            match aliases.get(&first) {
                Some(alias) => Base::Alias(first, Box::new(alias.clone())),
                None => Base::Local(first),
            }
        } else {
            let mut path = names
                .resolve(std::slice::from_ref(&first), &self.locals)?
                .into_iter();
            match path.next().as_deref() {
                Some("input") => {
                    let before = path.map(Step::Key);
                    return Some(Looked {
                        base: Base::Input,
                        steps: before.chain(steps).collect(),
                    });
                }
                Some("data") => {
                    let all: Vec<Step> = path.map(Step::Key).chain(steps).collect();
                    let (Step::Key(first), rest) = all.split_first()? else {
                        return None;
                    };
                    return (first == "parameters").then(|| Looked {
                        base: Base::Parameters,
                        steps: rest.to_vec(),
                    });
                }
                _ => return None,
            }
        };
        Some(Looked { base, steps })
    }

    /// The first name of a reference, and what leads on from it.
    fn steps(
        &self,
        expr: &Ref<Expr>,
        names: &Names,
        aliases: &BTreeMap<String, Alias>,
    ) -> Option<(String, Vec<Step>)> {
        let mut steps = Vec::new();
        let mut current = expr;
        loop {
            current = match current.as_ref() {
                Expr::Var { span, .. } => {
                    steps.reverse();
                    return Some((span.text().to_owned(), steps));
                }
                Expr::RefDot { refr, field, .. } => {
                    steps.push(Step::Key(field.0.text().to_owned()));
                    refr
                }
                Expr::RefBrack { refr, index, .. } => {
                    let simple = step(index, &self.wildcards, &self.locals);
                    let other = || self.look(index, names, aliases).map(Box::new).map(Step::Found);
                    steps.push(simple.or_else(other)?);
                    refr
                }
                _ => return None,
            };
        }
    }

    /// What variables stand for, where that is a part of something else.
    fn aliases(&self, statements: &[&LiteralStmt], names: &Names) -> BTreeMap<String, Alias> {
        let mut aliases = BTreeMap::new();
        for statement in statements.iter().filter(|it| it.with_mods.is_empty()) {
            let (variable, key, of) = match &statement.literal {
                Literal::SomeIn {
                    key,
                    value,
                    collection,
                    ..
                } => (value, Some(key.as_ref()), collection),
                Literal::Expr { expr, .. } => match expr.as_ref() {
                    Expr::AssignExpr { lhs, rhs, .. } => (lhs, None, rhs),
                    _ => continue,
                },
                _ => continue,
            };
            let Expr::Var { span, .. } = variable.as_ref() else {
                continue;
            };
            let Some(mut looked) = self.look(of, names, &aliases) else {
                continue;
            };
            match key {
                None => {}
                Some(Some(key)) => match step(key, &self.wildcards, &self.locals) {
                    Some(key) => looked.steps.push(key),
                    None => continue,
                },
                Some(None) => looked.steps.push(Step::Holding(span.text().to_owned())),
            }
            aliases.insert(span.text().to_owned(), Alias(looked));
        }
        aliases
    }
}

/// The parts of an expression that are evaluated with the variables of the rule itself, not with those of a comprehension.
pub(super) fn operands(expr: &Ref<Expr>, see: &mut dyn FnMut(&Ref<Expr>)) {
    match expr.as_ref() {
        Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => see(expr),
        Expr::Array { items, .. } | Expr::Set { items, .. } => items.iter().for_each(|it| operands(it, see)),
        Expr::Object { fields, .. } => {
            for (_, key, value) in fields {
                operands(key, see);
                operands(value, see);
            }
        }
        Expr::Call { params, .. } => params.iter().for_each(|it| operands(it, see)),
        Expr::UnaryExpr { expr, .. } => operands(expr, see),
        Expr::BinExpr { lhs, rhs, .. }
        | Expr::BoolExpr { lhs, rhs, .. }
        | Expr::ArithExpr { lhs, rhs, .. }
        | Expr::AssignExpr { lhs, rhs, .. } => {
            operands(lhs, see);
            operands(rhs, see);
        }
        Expr::Membership {
            key,
            value,
            collection,
            ..
        } => key
            .iter()
            .chain([value, collection])
            .for_each(|it| operands(it, see)),
        _ => {}
    }
}
