//! Names that a tenant may serve, and who else was given them.
//!
//! `*.example` stands for every name below `example`, however deep: some controllers take it for one label, others for
//! all, and who was granted it should have both.

use std::collections::{BTreeMap, BTreeSet};

/// A name, or all names below one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hostname {
    /// The labels, the last one first, each with a dot behind it: what lies below a name begins with it.
    reversed: String,
    /// Whether it stands for what lies below.
    is_wildcard: bool,
}

impl Hostname {
    /// Reads `name.example` or `*.name.example`, in lower case letters or not.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, is_wildcard) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        let ends = |c: char| c.is_ascii_alphanumeric();
        // An underscore is no letter of a host, but of names that people serve all the same.
        let is_label = |it: &str| {
            it.starts_with(ends)
                && it.ends_with(ends)
                && it.chars().all(|c| ends(c) || matches!(c, '-' | '_'))
        };
        if name.len() > 253 || !name.split('.').all(is_label) {
            return None;
        }
        let labels = name.rsplit('.').map(|it| format!("{}.", it.to_ascii_lowercase()));
        Some(Self {
            reversed: labels.collect(),
            is_wildcard,
        })
    }

    /// Whether each name that `other` stands for is one of these.
    pub fn covers(&self, other: &Self) -> bool {
        if self.is_wildcard {
            let is_below = other.reversed.starts_with(&self.reversed);
            is_below && (other.is_wildcard || other.reversed.len() > self.reversed.len())
        } else {
            self == other
        }
    }

    /// Whether both stand for a same name.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self)
    }
}

/// Who was granted which names. Asking takes as long however many there are.
#[derive(Clone, Debug, Default)]
pub struct Hostnames {
    granted: BTreeMap<Hostname, BTreeSet<String>>,
}

impl Hostnames {
    /// Collects what tenants were granted; what can't be read is nobody's.
    pub fn collect<'a>(granted: impl IntoIterator<Item = (&'a str, &'a [String])>) -> Self {
        let mut all = Self::default();
        for (tenant, hostnames) in granted {
            for hostname in hostnames.iter().filter_map(|it| Hostname::parse(it)) {
                all.granted.entry(hostname).or_default().insert(tenant.to_owned());
            }
        }
        all
    }

    /// The tenants but this one who were granted a name that `hostname` stands for.
    pub fn rivals(&self, tenant: &str, hostname: &Hostname) -> BTreeSet<&str> {
        let above = hostname.reversed.char_indices().filter(|it| it.1 == '.');
        let above = above.filter_map(|(end, _)| hostname.reversed.get(..=end));
        let above = above.flat_map(|it| {
            [false, true].map(|is_wildcard| Hostname {
                reversed: it.to_owned(),
                is_wildcard,
            })
        });
        let above = above.filter_map(|it| self.granted.get_key_value(&it));
        // What begins with a name follows it in this order.
        let below = self.granted.range(hostname.clone()..);
        let below =
            below.take_while(|it| hostname.is_wildcard && it.0.reversed.starts_with(&hostname.reversed));
        above
            .chain(below)
            .filter(|it| it.0.overlaps(hostname))
            .flat_map(|it| it.1)
            .map(String::as_str)
            .filter(|it| *it != tenant)
            .collect()
    }

    /// Whether anybody but this tenant was granted any name.
    pub fn has_others(&self, tenant: &str) -> bool {
        self.granted.values().flatten().any(|it| it != tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Hostname {
        Hostname::parse(text).unwrap()
    }

    #[test]
    fn a_wildcard_stands_for_what_lies_below() {
        for (a, b, expected) in [
            ("*.acme.example", "www.acme.example", true),
            ("*.acme.example", "a.b.acme.example", true),
            ("*.acme.example", "*.b.acme.example", true),
            ("*.acme.example", "*.acme.example", true),
            ("*.acme.example", "acme.example", false),
            ("*.acme.example", "*.example", false),
            ("*.acme.example", "www.xacme.example", false),
            ("*.acme.example", "www.acme.example.evil", false),
            ("www.acme.example", "www.acme.example", true),
            ("www.acme.example", "WWW.Acme.Example", true),
            ("www.acme.example", "a.www.acme.example", false),
            ("www.acme.example", "*.acme.example", false),
            ("www.acme.example", "*.www.acme.example", false),
        ] {
            assert_eq!(host(a).covers(&host(b)), expected, "{a} {b}");
        }
    }

    #[test]
    fn what_is_no_name_is_none() {
        for text in [
            "",
            "*",
            "*.",
            ".",
            "a.",
            ".a",
            "a..b",
            "*.*.a",
            "a.*",
            "*a.b",
            "a b",
            "-a",
            "~^www",
            "a/b",
            "a:80",
            "ä.example",
        ] {
            assert_eq!(Hostname::parse(text), None, "{text}");
        }
    }

    #[test]
    fn rivals_are_those_with_a_name_in_common() {
        let grants = [
            (
                "acme",
                vec!["*.acme.example".to_owned(), "acme.example".to_owned()],
            ),
            (
                "globex",
                vec!["shop.globex.example".to_owned(), "x".to_owned() + "."],
            ),
        ];
        let all = Hostnames::collect(grants.iter().map(|it| (it.0, it.1.as_slice())));
        for (name, expected) in [
            ("www.acme.example", "acme"),
            ("acme.example", "acme"),
            ("*.acme.example", "acme"),
            ("*.a.acme.example", "acme"),
            ("*.example", "acme globex"),
            ("example", ""),
            ("shop.globex.example", "globex"),
            ("*.globex.example", "globex"),
            ("*.shop.globex.example", ""),
            ("www.globex.example", ""),
            ("a.acme.examples", ""),
        ] {
            let rivals: Vec<&str> = all.rivals("initech", &host(name)).into_iter().collect();
            assert_eq!(rivals.join(" "), expected, "{name}");
            assert!(!all.rivals("acme", &host(name)).contains("acme"), "{name}");
        }
        assert!(all.has_others("acme") && all.has_others("initech"));
        assert!(!Hostnames::default().has_others("acme"));
    }
}
