//! Who uses whom among rules and functions: in no circle, and not too deep.

use std::collections::{BTreeMap, BTreeSet};

use super::{MAX_PROBLEMS, Path, Problem};

/// How deep rules and functions may use each other: each level is one of the engine's stack.
pub const MAX_DEPTH: usize = 32;

/// A rule or function by its full path.
pub(super) type Node = Path;
/// Where it says so: the module, and the line and column in it.
type Use = (usize, (u32, u32));

/// Rules and functions, and what they use.
#[derive(Default)]
pub(super) struct Graph(BTreeMap<Node, BTreeMap<Node, Use>>);

struct Walk<'a> {
    graph: &'a Graph,
    files: &'a [&'a str],
    trail: Vec<&'a Node>,
    depths: BTreeMap<&'a Node, usize>,
    problems: BTreeSet<Problem>,
}

impl Graph {
    pub(super) fn add(&mut self, node: &Node, target: Node, at: Use) {
        self.0
            .entry(node.clone())
            .or_default()
            .entry(target)
            .or_insert(at);
    }

    /// What uses itself, and what is too deep: the engine would run out of stack.
    pub(super) fn problems(&self, files: &[&str]) -> BTreeSet<Problem> {
        let mut walk = Walk {
            graph: self,
            files,
            trail: Vec::new(),
            depths: BTreeMap::new(),
            problems: BTreeSet::new(),
        };
        for node in self.0.keys() {
            walk.depth(node);
        }
        walk.problems
    }
}

impl<'a> Walk<'a> {
    fn depth(&mut self, node: &'a Node) -> usize {
        if let Some(depth) = self.depths.get(node) {
            return *depth;
        }
        self.trail.push(node);
        let mut deepest = 0;
        let graph = self.graph;
        for (target, at) in graph.0.get(node).into_iter().flatten() {
            if let Some(start) = self.trail.iter().position(|it| *it == target) {
                let circle = self.trail.iter().skip(start).copied().chain([target]);
                let names: Vec<&str> = circle.filter_map(|it| it.last().map(String::as_str)).collect();
                self.problem(*at, format!("recursion: {}", names.join(" -> ")));
            } else if self.trail.len() >= MAX_DEPTH {
                self.too_deep(*at);
            } else {
                let below = self.depth(target);
                if below.saturating_add(self.trail.len()) > MAX_DEPTH {
                    self.too_deep(*at);
                }
                deepest = deepest.max(below);
            }
            if self.problems.len() > MAX_PROBLEMS {
                break;
            }
        }
        self.trail.pop();
        let depth = deepest.saturating_add(1);
        self.depths.insert(node, depth);
        depth
    }

    fn too_deep(&mut self, at: Use) {
        self.problem(
            at,
            format!("rules use each other more than {MAX_DEPTH} levels deep: join some of them"),
        );
    }

    fn problem(&mut self, (module, at): Use, message: String) {
        let file = self.files.get(module).copied().unwrap_or_default();
        self.problems.insert(Problem::at(file, at, message));
    }
}
