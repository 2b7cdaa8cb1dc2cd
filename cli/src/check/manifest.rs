//! A document becomes manifests: the objects in it, each with its name and its place.

use std::sync::Arc;

use crate::check::document::{Document, RENDER, Unread, is_template};
use crate::check::kinds::{self, Judged};
use crate::check::node::{Node, Position, Value};
use crate::check::suggest;

/// One object of a file.
#[derive(Debug)]
pub struct Manifest {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// Which document of the file.
    pub document: usize,
    /// Where the object begins.
    pub at: Position,
    /// The file it was made from, when a tool left its name.
    pub origin: Option<String>,
    /// What it is.
    pub id: Id,
    /// How its kind is judged; none when no rule decides it.
    pub judged: Option<&'static Judged>,
    /// Its content, until it has been judged.
    pub root: Option<Node>,
    /// The text of its file, where lines within a value matter: of a policy.
    pub text: Option<Arc<str>>,
}

/// What an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Namespace, where it has one.
    pub namespace: Option<String>,
    /// Name, or its beginning with a `*` where the API server is to complete it.
    pub name: String,
}

impl Id {
    /// `apps/v1`
    pub fn api_version(&self) -> String {
        let Self { group, version, .. } = self;
        if group.is_empty() {
            version.clone()
        } else {
            format!("{group}/{version}")
        }
    }

    /// Whether another object can't have the same name.
    pub fn is_exact(&self) -> bool {
        !self.name.ends_with('*')
    }
}

/// How deeply Lists may be nested.
const MAX_LISTS: usize = 8;

/// Takes the objects out of a document.
pub fn manifests(
    file: &Arc<str>,
    document: Document,
    namespace: Option<&str>,
    unread: &mut Vec<Unread>,
) -> Vec<Manifest> {
    let mut found = Vec::new();
    let reader = Reader {
        file,
        number: document.number,
        origin: document.origin,
        namespace,
    };
    reader.take(document.root, None, 0, &mut found, unread);
    found
}

struct Reader<'a> {
    file: &'a Arc<str>,
    number: usize,
    origin: Option<String>,
    namespace: Option<&'a str>,
}

impl Reader<'_> {
    fn take(
        &self,
        mut root: Node,
        list: Option<(&str, &str)>,
        depth: usize,
        found: &mut Vec<Manifest>,
        unread: &mut Vec<Unread>,
    ) {
        let (api_version, kind) = match self.type_of(&root, list) {
            Ok(it) => it,
            Err(problem) => return unread.push(problem),
        };
        let items = root
            .entry("items")
            .map(|it| matches!(it.node.value, Value::List(_)));
        if let (Some(item_kind), Some(true)) = (kind.strip_suffix("List"), items) {
            if depth == MAX_LISTS {
                return unread.push(self.problem(root.at, "Lists in Lists, too deeply"));
            }
            // The items of a typed list are of its kind; those of a List tell their own.
            let item = (!item_kind.is_empty()).then_some((api_version.as_str(), item_kind));
            for node in take_items(&mut root) {
                self.take(node, item, depth + 1, found, unread);
            }
            return;
        }
        match self.manifest(root, &api_version, kind) {
            Ok(manifest) => found.push(manifest),
            Err(problem) => unread.push(problem),
        }
    }

    /// apiVersion and kind.
    fn type_of(&self, root: &Node, list: Option<(&str, &str)>) -> Result<(String, String), Unread> {
        if !matches!(root.value, Value::Map(_)) {
            let message = format!("{}, where an object is expected", root.describe());
            return Err(self.problem(root.at, message));
        }
        let read = |key: &str, default: Option<&str>| match (root.entry(key), default) {
            (None, Some(default)) => Ok(default.to_owned()),
            (None, None) => Err(self
                .problem(root.at, format!("not a Kubernetes object: no '{key}'"))
                .fix("leave the file out, or correct it")),
            (Some(it), _) => match it.node.text() {
                Some(text) if !text.is_empty() => Ok(text.to_owned()),
                _ => Err(self.problem(it.at, format!("'{key}' is {}", it.node.describe()))),
            },
        };
        let kind = read("kind", list.map(|it| it.1))?;
        Ok((read("apiVersion", list.map(|it| it.0))?, kind))
    }

    fn manifest(&self, root: Node, api_version: &str, kind: String) -> Result<Manifest, Unread> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let judged = kinds::judged(group, &kind);
        let id = Id {
            group: group.to_owned(),
            version: version.to_owned(),
            namespace: self.namespace_of(&root, judged)?,
            name: self.name_of(&root)?,
            kind,
        };
        self.own_kind(&root, &id)?;
        let templated = [Some(&id.name), Some(&id.kind), id.namespace.as_ref()];
        if templated.into_iter().flatten().any(|it| is_template(it)) {
            return Err(self.problem(root.at, "a template, not a manifest").fix(RENDER));
        }
        Ok(Manifest {
            file: Arc::clone(self.file),
            document: self.number,
            at: root.at,
            origin: self.origin.clone(),
            id,
            judged,
            root: Some(root),
            text: None,
        })
    }

    /// Kinds of our own group that don't exist are typing errors.
    fn own_kind(&self, root: &Node, id: &Id) -> Result<(), Unread> {
        const KINDS: [&str; 4] = ["Tenant", "TenantPolicy", "TenancyIndex", "PolicyApproval"];
        if id.group != kinds::BAILIWICK {
            return Ok(());
        }
        if !KINDS.contains(&id.kind.as_str()) {
            let meant = suggest::nearest(&id.kind, KINDS).unwrap_or("Tenant");
            return Err(self
                .problem(
                    place(root, "kind"),
                    format!("'{}' is no kind of {}", id.kind, id.group),
                )
                .fix(format!("write '{meant}'")));
        }
        if id.version != "v1alpha1" {
            return Err(self
                .problem(
                    place(root, "apiVersion"),
                    format!("'{}' is no version of {}", id.version, id.group),
                )
                .fix(format!(
                    "write '{}/v1alpha1', or use a newer bailiwick",
                    kinds::BAILIWICK
                )));
        }
        Ok(())
    }

    fn namespace_of(&self, root: &Node, judged: Option<&Judged>) -> Result<Option<String>, Unread> {
        let written = root.get("metadata").and_then(|it| it.entry("namespace"));
        let written = match written.map(|it| (&it.node.value, it)) {
            None | Some((Value::Null, _)) => None,
            Some((Value::Text(text), _)) => (!text.is_empty()).then(|| text.clone()),
            Some((_, it)) => {
                return Err(self.problem(it.at, format!("'namespace' is {}", it.node.describe())));
            }
        };
        Ok(match judged {
            Some(it) if !it.namespaced => None,
            Some(_) => written.or_else(|| self.namespace.map(str::to_owned)),
            None => written,
        })
    }

    fn name_of(&self, root: &Node) -> Result<String, Unread> {
        let metadata = root.get("metadata");
        let text = |key: &str| {
            metadata
                .and_then(|it| it.get(key))
                .and_then(Node::text)
                .filter(|it| !it.is_empty())
        };
        if let Some(name) = text("name") {
            return Ok(name.to_owned());
        }
        if let Some(prefix) = text("generateName") {
            return Ok(format!("{prefix}*"));
        }
        let name = metadata.and_then(|it| it.entry("name"));
        Err(match name {
            Some(it) => self.problem(it.at, format!("'name' is {}", it.node.describe())),
            None => self.problem(place(root, "metadata"), "no metadata.name"),
        })
    }

    fn problem(&self, at: Position, message: impl Into<String>) -> Unread {
        Unread::new(self.file, message).at(at)
    }
}

fn place(root: &Node, key: &str) -> Position {
    root.entry(key).map_or(root.at, |it| it.at)
}

fn take_items(root: &mut Node) -> Vec<Node> {
    let Value::Map(entries) = &mut root.value else {
        return Vec::new();
    };
    let items = entries.iter_mut().find(|it| it.key == "items");
    match items.map(|it| std::mem::replace(&mut it.node.value, Value::Null)) {
        Some(Value::List(items)) => items,
        _ => Vec::new(),
    }
}
