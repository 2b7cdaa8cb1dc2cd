//! References of images, as the container runtimes read them, and the registries they come from.
//!
//! The grammar is that of `distribution/reference`, with Docker's defaults: a reference whose first part is no host
//! is one of Docker Hub, and one with a single part is an official image there.

/// Docker Hub, which has another name for its index.
const HUB: &str = "docker.io";
const HUB_INDEX: &str = "index.docker.io";
const OFFICIAL: &str = "library";
/// The longest name of a repository, its registry included.
const MAX_NAME: usize = 255;

/// What an image is called, without its tag and digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// The registry, with its port, in lower case.
    pub registry: String,
    /// The path in it.
    pub path: String,
}

impl Repository {
    /// Reads a reference; none where the container runtimes can't either.
    pub fn parse(reference: &str) -> Option<Self> {
        let (rest, digest) = match reference.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (reference, None),
        };
        let (name, tag) = split_tag(rest);
        let is_sound = digest.is_none_or(is_digest) && tag.is_none_or(is_tag);
        // 64 hexadecimal digits are an identifier of a local image and no name.
        let is_identifier = name.len() == 64 && name.chars().all(|it| matches!(it, '0'..='9' | 'a'..='f'));
        if !is_sound || is_identifier {
            return None;
        }
        let (host, path) = match name.split_once('/') {
            Some((first, rest)) if is_host_like(first) => (first, rest),
            _ => (HUB, name),
        };
        let repository = Self {
            registry: registry(host)?,
            path: path.to_owned(),
        };
        if !path.split('/').all(is_component) {
            return None;
        }
        Some(repository.completed()).filter(|it| it.registry.len().saturating_add(it.path.len()) < MAX_NAME)
    }

    /// With the part that official images of Docker Hub leave out.
    fn completed(self) -> Self {
        if self.registry == HUB && !self.path.contains('/') {
            let path = format!("{OFFICIAL}/{}", self.path);
            return Self { path, ..self };
        }
        self
    }
}

/// A registry, or a path in one, from which images may come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    registry: String,
    /// Without slashes at its ends; empty for all of the registry.
    path: String,
}

impl Source {
    /// Reads what a Tenant names: it has to begin with a host, so that `acme/` is not taken for one.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('/').unwrap_or(text);
        let (host, path) = match text.split_once('/') {
            Some((host, path)) => (host, Some(path)),
            None => (text, None),
        };
        let is_path = path.is_none_or(|it| it.split('/').all(is_component));
        let is_host = host.contains(['.', ':']) || host == "localhost";
        (is_host && is_path).then_some(())?;
        Some(Self {
            registry: registry(host)?,
            path: path.unwrap_or_default().to_owned(),
        })
    }

    /// Whether a repository is this one, or lies below it. `acme` is not below `ac`.
    pub fn holds(&self, repository: &Repository) -> bool {
        let rest = repository.path.strip_prefix(&self.path);
        let is_below = self.path.is_empty() || rest.is_some_and(|it| it.is_empty() || it.starts_with('/'));
        self.registry == repository.registry && is_below
    }
}

/// The name and the tag; a colon before a slash belongs to a port.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (text, None),
    }
}

/// Whether the first part of a reference is a registry: as Docker decides it, by a dot, a port, `localhost` or a
/// capital letter, which no path may have.
fn is_host_like(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost" || part.chars().any(char::is_uppercase)
}

/// A host as it is compared: DNS knows no capital letters, and the Hub has two names.
fn registry(host: &str) -> Option<String> {
    let host = is_host(host).then(|| host.to_ascii_lowercase())?;
    Some(if host == HUB_INDEX { HUB.to_owned() } else { host })
}

/// A host name or an IPv6 address in brackets, with a port or without.
fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|it| it.split_once(']')) {
        Some((address, rest)) => {
            let is_address =
                !address.is_empty() && address.chars().all(|it| it.is_ascii_hexdigit() || it == ':');
            let port = rest.strip_prefix(':');
            if !is_address || (port.is_none() && !rest.is_empty()) {
                return false;
            }
            ("", port)
        }
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    let is_label = |it: &str| {
        let ends = |c: char| c.is_ascii_alphanumeric();
        it.starts_with(ends) && it.ends_with(ends) && it.chars().all(|c| ends(c) || c == '-')
    };
    let is_name = host.starts_with('[') || name.split('.').all(is_label);
    let is_port = port.is_none_or(|it| !it.is_empty() && it.chars().all(|c| c.is_ascii_digit()));
    is_name && is_port
}

/// A part of a path: lower case letters and digits, with one dot, one or two underscores or any number of dashes
/// between them.
fn is_component(part: &str) -> bool {
    let is_alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let between = |it: &str| matches!(it, "." | "_" | "__") || it.chars().all(|c| c == '-');
    part.starts_with(is_alphanumeric)
        && part.ends_with(is_alphanumeric)
        && part.split(is_alphanumeric).all(between)
}

fn is_tag(tag: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.starts_with(is_word) && tag.len() <= 128 && tag.chars().all(|c| is_word(c) || matches!(c, '.' | '-'))
}

/// `algorithm:hex`, the algorithm in parts that begin with a letter.
fn is_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else {
        return false;
    };
    let is_part = |it: &str| {
        it.starts_with(|c: char| c.is_ascii_alphabetic()) && it.chars().all(|c| c.is_ascii_alphanumeric())
    };
    algorithm.split(['+', '.', '-', '_']).all(is_part)
        && hex.len() >= 32
        && hex.chars().all(|it| it.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[track_caller]
    fn reads(reference: &str, expected: &str) {
        let read = Repository::parse(reference).map(|it| format!("{} {}", it.registry, it.path));
        assert_eq!(read.as_deref().unwrap_or("-"), expected, "{reference}");
    }

    #[test]
    fn a_reference_is_read_as_docker_does() {
        for (reference, expected) in [
            ("nginx", "docker.io library/nginx"),
            ("nginx:1.27", "docker.io library/nginx"),
            ("nginx:1.27@DIGEST", "docker.io library/nginx"),
            ("nginx@DIGEST", "docker.io library/nginx"),
            ("library/nginx", "docker.io library/nginx"),
            ("docker.io/nginx", "docker.io library/nginx"),
            ("index.docker.io/nginx", "docker.io library/nginx"),
            ("Docker.IO/nginx", "docker.io library/nginx"),
            ("acme/web", "docker.io acme/web"),
            ("acme/web/ui", "docker.io acme/web/ui"),
            ("ghcr.io/acme/web:v1", "ghcr.io acme/web"),
            ("GHCR.io/acme/web", "ghcr.io acme/web"),
            ("registry:5000/web", "registry:5000 web"),
            ("registry:5000/web:v1", "registry:5000 web"),
            ("localhost/web", "localhost web"),
            ("Registry/web", "registry web"),
            ("[fd00::1]:5000/web", "[fd00::1]:5000 web"),
            ("[fd00::1]/web", "[fd00::1] web"),
            ("10.0.0.1/web", "10.0.0.1 web"),
            ("web:5000", "docker.io library/web"),
            ("a__b/c.d/e-----f", "docker.io a__b/c.d/e-----f"),
            (
                "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
                "docker.io library/sha256",
            ),
        ] {
            reads(&reference.replace("DIGEST", DIGEST), expected);
        }
    }

    #[test]
    fn what_no_runtime_takes_is_none() {
        for reference in [
            "",
            " ",
            "/",
            "a//b",
            "/a",
            "a/",
            ":tag",
            "@DIGEST",
            "web:",
            "web@",
            "web@sha256:12",
            "web@DIGEST@DIGEST",
            "web:-x",
            "web:a b",
            "ghcr.io/Acme/web",
            "ghcr.io/acme/web ",
            " ghcr.io/acme/web",
            "ghcr.io\n/acme/web",
            "https://ghcr.io/acme/web",
            "ghcr.io/acme/../web",
            "ghcr.io/./web",
            "ghcr.io/a..b",
            "ghcr.io/a___b",
            "ghcr.io/a._b",
            "ghcr.io:/web",
            "ghcr.io:port/web",
            "-ghcr.io/web",
            "ghcr..io/web",
            "user@ghcr.io/web",
            "ghcr.io%2fweb",
            "gһcr.io/web",
            "[fd00::1/web",
            "[]/web",
            "[fd00::1]5000/web",
            "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            &format!("ghcr.io/{}", "a".repeat(256)),
        ] {
            reads(&reference.replace("DIGEST", DIGEST), "-");
        }
    }

    #[track_caller]
    fn holds(source: &str, reference: &str, expected: bool) {
        let source = Source::parse(source).unwrap();
        let repository = Repository::parse(reference).unwrap();
        assert_eq!(source.holds(&repository), expected, "{source:?} {reference}");
    }

    #[test]
    fn a_source_holds_what_lies_below_it() {
        for (source, reference, expected) in [
            ("ghcr.io", "ghcr.io/acme/web", true),
            ("ghcr.io/", "ghcr.io/acme/web", true),
            ("ghcr.io/acme", "ghcr.io/acme/web", true),
            ("ghcr.io/acme/", "ghcr.io/acme/web", true),
            ("ghcr.io/acme/web", "ghcr.io/acme/web:v1", true),
            ("ghcr.io/acme/web", "ghcr.io/acme/web-2", false),
            ("ghcr.io/acme", "ghcr.io/acme-evil/web", false),
            ("ghcr.io/ac", "ghcr.io/acme/web", false),
            ("ghcr.io", "ghcr.io.evil.example/acme/web", false),
            ("ghcr.io", "ghcr.io:5000/acme/web", false),
            ("ghcr.io:5000", "ghcr.io:5000/acme/web", true),
            ("GHCR.IO/acme", "ghcr.io/acme/web", true),
            ("ghcr.io", "acme/web", false),
            ("docker.io", "nginx", true),
            ("docker.io/library", "nginx", true),
            ("docker.io/library/nginx", "nginx", true),
            ("docker.io/library", "acme/web", false),
            ("index.docker.io/acme", "acme/web", true),
            ("docker.io/acme", "evil.example/docker.io/acme", false),
        ] {
            holds(source, reference, expected);
        }
    }

    #[test]
    fn a_source_begins_with_a_host() {
        for text in [
            "",
            "/",
            "acme",
            "acme/",
            "acme/web",
            "ghcr.io//",
            "ghcr.io/Acme",
            "https://ghcr.io",
            "*",
            "ghcr.io/*",
        ] {
            assert_eq!(Source::parse(text), None, "{text}");
        }
    }
}
