//! What a policy may say, checked before it runs: names, arguments, `data`, recursion.

mod entry;
mod graph;

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{Expr, LiteralStmt, Module, Ref, Rule};

use super::builtins::{self, Lookup};
use super::names::{Head, Names, Part, Path, begin, head, locals, place, reference, visit, visit_expr};
use super::problem::Problem;
use super::source::Convention;
use entry::is_test;
use graph::{Graph, Node};

pub use graph::MAX_DEPTH;

/// The most problems that are told at once.
const MAX_PROBLEMS: usize = 32;

/// What the engine knows of a tenant's request beside its input, by their last name.
pub(super) const FACTS: [&str; 2] = ["tenant", "namespace"];

/// What a check found out.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) convention: Convention,
    /// `data` and the package's path.
    pub(super) package: Path,
    /// Names of the rules that decide.
    pub(super) entries: Vec<String>,
    /// Names of the rules that test.
    pub(super) tests: Vec<String>,
    /// Builtins that are called.
    pub(super) builtins: BTreeSet<String>,
    /// Where facts are named: the module, and the first and last byte of `data.bailiwick.NAME`.
    pub(super) facts: Vec<(usize, usize, usize)>,
}

struct Check<'a> {
    files: &'a [&'a str],
    names: Vec<Names>,
    /// Functions and how many arguments they take.
    functions: BTreeMap<Node, usize>,
    rules: BTreeSet<Node>,
    problems: BTreeSet<Problem>,
    graph: Graph,
    builtins: BTreeSet<String>,
    facts: Vec<(usize, usize, usize)>,
    /// Where a policy, not a test, sets the whole input.
    replaced_inputs: Vec<(usize, (u32, u32))>,
}

/// Checks parsed modules; the first is the policy, the others are libraries.
pub(super) fn check(files: &[&str], modules: &[Ref<Module>]) -> Result<Checked, Vec<Problem>> {
    let mut check = Check {
        files,
        names: modules.iter().map(|it| Names::of(it)).collect(),
        functions: BTreeMap::new(),
        rules: BTreeSet::new(),
        problems: BTreeSet::new(),
        graph: Graph::default(),
        builtins: BTreeSet::new(),
        facts: Vec::new(),
        replaced_inputs: Vec::new(),
    };
    check.share();
    check.declare(modules);
    for (index, module) in modules.iter().enumerate() {
        check.imports(index, module);
        for rule in &module.policy {
            check.rule(index, rule);
        }
    }
    check.problems.extend(check.graph.problems(files));
    check.inputs();
    let entries = modules.first().and_then(|it| check.entry_points(it));
    if !check.problems.is_empty() {
        return Err(check.problems.into_iter().take(MAX_PROBLEMS).collect());
    }
    let (Some((convention, entries)), Some(names)) = (entries, check.names.first()) else {
        return Err(Vec::new());
    };
    let tests = names.rules.iter().filter(|it| is_test(it)).cloned().collect();
    Ok(Checked {
        convention,
        package: names.package.clone(),
        entries,
        tests,
        builtins: check.builtins,
        facts: check.facts,
    })
}

impl Check<'_> {
    fn problem(&mut self, module: usize, at: (u32, u32), message: impl Into<String>) {
        let file = self.files.get(module).copied().unwrap_or_default();
        self.problems.insert(Problem::at(file, at, message));
    }

    /// Modules of one package see each other's rules.
    fn share(&mut self) {
        let mut by_package: BTreeMap<Path, BTreeSet<String>> = BTreeMap::new();
        for names in &self.names {
            by_package
                .entry(names.package.clone())
                .or_default()
                .extend(names.rules.iter().cloned());
        }
        for names in &mut self.names {
            names.rules = by_package.get(&names.package).cloned().unwrap_or_default();
        }
    }

    fn declare(&mut self, modules: &[Ref<Module>]) {
        for (names, module) in self.names.iter().zip(modules) {
            for rule in &module.policy {
                let Head { path, arguments, .. } = head(rule);
                if let Some(arguments) = arguments {
                    self.functions
                        .insert([names.package.as_slice(), &path].concat(), arguments.len());
                }
                if let Some(first) = path.into_iter().next() {
                    self.rules.insert([names.package.as_slice(), &[first]].concat());
                }
            }
        }
    }

    fn imports(&mut self, index: usize, module: &Module) {
        for import in &module.imports {
            let Some(reference) = reference(&import.refr) else {
                continue;
            };
            let at = place(&import.span);
            // The engine takes such a name for the import where it is called, and for the rule elsewhere.
            let alias = match &import.r#as {
                Some(span) => Some(span.text().to_owned()),
                None => reference.path.last().cloned(),
            };
            let is_reference = reference
                .path
                .first()
                .is_some_and(|it| it == "data" || it == "input");
            if let Some(alias) = alias
                && is_reference
                && self.names.get(index).is_some_and(|it| it.rules.contains(&alias))
            {
                let message =
                    format!("the import {alias} has the name of a rule: import it `as` another name");
                self.problem(index, at, message);
            }
            match reference.path.first().map(String::as_str) {
                Some("data") => {
                    let fact = self.data(index, at, &reference.path, false);
                    if let Some(fact) = fact {
                        if import.r#as.is_none() {
                            let message =
                                format!("import data.bailiwick.{fact} needs a name: add `as {fact}`");
                            self.problem(index, at, message);
                        }
                        self.fact(index, &import.refr, fact);
                    }
                }
                Some("input" | "rego" | "future") => {}
                _ => self.problem(
                    index,
                    at,
                    format!(
                        "import {} is none: an import begins with data, input, rego or future",
                        reference.path.join(".")
                    ),
                ),
            }
        }
    }

    /// Checks a path that begins with `data`. The name of the fact that it reads, if it does.
    fn data(
        &mut self,
        module: usize,
        at: (u32, u32),
        path: &[String],
        is_open: bool,
    ) -> Option<&'static str> {
        let names: Vec<&str> = path.iter().skip(1).map(String::as_str).collect();
        let is_rule = self.rules.iter().any(|it| path.starts_with(it));
        let is_package = self.names.iter().any(|it| it.package == path);
        match names.as_slice() {
            _ if is_rule || (is_package && !is_open) => None,
            ["parameters", ..] => None,
            ["bailiwick", name, ..] if FACTS.contains(name) => FACTS.iter().find(|it| *it == name).copied(),
            ["inventory", ..] => {
                self.problem(
                    module,
                    at,
                    "data.inventory is not there: a policy sees the request and its own tenant, never other objects; put what it needs into the parameters",
                );
                None
            }
            _ => {
                let written = path.join(".");
                let open = if is_open { "[…]" } else { "" };
                self.problem(
                    module,
                    at,
                    format!(
                        "{written}{open} is not there: a policy sees data.parameters, data.bailiwick.tenant, data.bailiwick.namespace and the rules of its own sources, each by a written name"
                    ),
                );
                None
            }
        }
    }

    /// Notes where a fact is named.
    fn fact(&mut self, module: usize, expr: &Ref<Expr>, fact: &str) {
        let mut current = expr;
        // The part of the chain that is three names long.
        while let Expr::RefDot { refr, field, .. } = current.as_ref() {
            if reference(current).is_some_and(|it| it.path.len() == 3 && !it.is_open) {
                let first = begin(current);
                let (start, end) = (first.start as usize, field.0.end as usize);
                let text = first.source.contents();
                if text.get(start..end) == Some(&format!("data.bailiwick.{fact}")) {
                    self.facts.push((module, start, end));
                    return;
                }
            }
            current = refr;
        }
        if let Expr::RefBrack { refr, .. } = current.as_ref() {
            return self.fact(module, refr, fact);
        }
        let message =
            format!("write it as data.bailiwick.{fact}, without brackets or an alias for a part of it");
        self.problem(module, place(begin(expr)), message);
    }

    fn rule(&mut self, index: usize, rule: &Ref<Rule>) {
        let Head {
            path, expressions, ..
        } = head(rule);
        let (Some(first), Some(names)) = (path.first(), self.names.get(index)) else {
            return;
        };
        let node = [names.package.as_slice(), std::slice::from_ref(first)].concat();
        let at = place(rule.span());
        if names.package == ["data", "bailiwick"]
            && (FACTS.contains(&first.as_str()) || first == "parameters")
        {
            self.problem(
                index,
                at,
                format!("the rule {first} would hide data.bailiwick.{first}: choose another name"),
            );
        }
        let locals = locals(rule);
        let is_test = is_test(first);
        let mut parts: Vec<Part<'_>> = Vec::new();
        for expr in expressions {
            visit_expr(expr, &mut |it| parts.push(it));
        }
        if let Rule::Spec { bodies, .. } = rule.as_ref() {
            for body in bodies {
                if let Some(assign) = &body.assign {
                    visit_expr(&assign.value, &mut |it| parts.push(it));
                }
                visit(&body.query, &mut |it| parts.push(it));
            }
        }
        for part in parts {
            match part {
                Part::Statement(statement) => self.modifiers(index, statement, is_test, &locals),
                Part::Expr(expr) => self.expr(index, &node, expr, is_test, &locals),
            }
        }
    }

    fn modifiers(&mut self, index: usize, statement: &LiteralStmt, is_test: bool, locals: &BTreeSet<String>) {
        for with in &statement.with_mods {
            let at = place(&with.span);
            let Some(reference) = reference(&with.refr) else {
                continue;
            };
            let path = self
                .names
                .get(index)
                .and_then(|it| it.resolve(&reference.path, locals))
                .unwrap_or_default();
            match path.first().map(String::as_str) {
                Some("input") => {
                    if path.len() == 1 && !is_test {
                        self.replaced_inputs.push((index, at));
                    }
                }
                Some("data") if is_test => {
                    if !self.functions.contains_key(&path)
                        && let Some(fact) = self.data(index, at, &path, reference.is_open)
                    {
                        self.fact(index, &with.refr, fact);
                    }
                }
                _ if is_test => {}
                _ => self.problem(
                    index,
                    at,
                    format!(
                        "`with {} as` is for tests: in a policy, only input can be replaced",
                        reference.path.join(".")
                    ),
                ),
            }
        }
    }

    fn expr(
        &mut self,
        index: usize,
        node: &Node,
        expr: &Ref<Expr>,
        is_test: bool,
        locals: &BTreeSet<String>,
    ) {
        let at = place(begin(expr));
        match expr.as_ref() {
            Expr::Call { fcn, params, .. } => self.call(index, node, at, fcn, params.len()),
            Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => {
                let Some(reference) = reference(expr) else { return };
                let Some(names) = self.names.get(index) else {
                    return;
                };
                let Some(path) = names.resolve(&reference.path, locals) else {
                    return;
                };
                if path.first().is_some_and(|it| it == "data") {
                    // An import of the fact itself is rewritten where it stands.
                    let first = reference.path.first();
                    let imported = first
                        .and_then(|it| names.imports.get(it))
                        .is_some_and(|it| it.len() > 2);
                    let is_written = first.is_some_and(|it| it == "data") || !imported;
                    if let Some(fact) = self.data(index, at, &path, reference.is_open)
                        && is_written
                    {
                        self.fact(index, expr, fact);
                    }
                    self.edge(index, node, &path, at, is_test);
                }
            }
            _ => {}
        }
    }

    fn edge(&mut self, index: usize, node: &Node, path: &[String], at: (u32, u32), is_test: bool) {
        let Some(target) = self.rules.iter().find(|it| path.starts_with(it)).cloned() else {
            return;
        };
        if !is_test && target.last().is_some_and(|it| self::is_test(it)) {
            self.problem(
                index,
                at,
                format!("{} is a test, and a policy doesn't use one", target.join(".")),
            );
        }
        self.graph.add(node, target, (index, at));
    }

    fn call(&mut self, index: usize, node: &Node, at: (u32, u32), function: &Ref<Expr>, given: usize) {
        let Some(reference) = reference(function).filter(|it| it.base.is_none() && !it.is_open) else {
            return self.problem(index, at, "a function is called by its name");
        };
        let name = reference.path.join(".");
        let full = self
            .names
            .get(index)
            .and_then(|it| it.resolve(&reference.path, &BTreeSet::new()));
        let known = full.as_ref().and_then(|it| Some((it, *self.functions.get(it)?)));
        if let Some((path, expected)) = known {
            if given != expected && given != expected.saturating_add(1) {
                self.problem(
                    index,
                    at,
                    format!("{name} takes {expected} arguments, and {given} are given"),
                );
            }
            let is_test = node.last().is_some_and(|it| is_test(it));
            self.edge(index, node, &path.clone(), at, is_test);
            return;
        }
        match builtins::look_up(&name) {
            Lookup::Builtin(expected) => {
                if let Some(expected) = expected
                    && given != expected
                    && given != expected.saturating_add(1)
                {
                    self.problem(
                        index,
                        at,
                        format!("{name} takes {expected} arguments, and {given} are given"),
                    );
                }
                self.builtins.insert(name);
            }
            Lookup::Refused(why) => self.problem(index, at, format!("{name} is not allowed: {why}")),
            Lookup::Unknown(closest) => {
                let hint = closest.map_or_else(String::new, |it| format!("; did you mean {it}?"));
                self.problem(index, at, format!("there is no function {name}{hint}"));
            }
        }
    }

    /// Facts ride in the input, so whoever replaces it would lose them without a word.
    fn inputs(&mut self) {
        if self.facts.is_empty() {
            return;
        }
        for (module, at) in std::mem::take(&mut self.replaced_inputs) {
            self.problem(
                module,
                at,
                "`with input as` can't be combined with data.bailiwick.tenant or data.bailiwick.namespace: replace a part of it, such as `with input.request.object as`",
            );
        }
    }
}
