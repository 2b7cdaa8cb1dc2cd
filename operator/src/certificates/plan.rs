//! What to do next about the certificates.
//!
//! 1. Without a CA: make one.
//! 2. When a third of a CA's life is left: make the next one, and publish both.
//! 3. When the API server has had time to learn the next one: sign with it; keep publishing the one before until
//!    no leaf of it can be in use.
//! 4. A leaf is issued only by a CA that every webhook's caBundle holds, as read back from the API server.

use super::pki::Ca;

/// How long certificates live, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetimes {
    pub(super) ca: i64,
    pub(super) leaf: i64,
}

impl Lifetimes {
    /// How long API servers get to learn a new caBundle before a leaf depends on it.
    fn grace(self) -> i64 {
        (self.ca / 20).clamp(1, 60)
    }
}

/// The Secret with the CA's keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Authority {
    /// Signs leaves.
    pub(super) current: Option<Ca>,
    /// Is published already, and signs soon.
    pub(super) next: Option<Ca>,
    /// Signed before; still published.
    pub(super) previous: Option<String>,
    /// Until when, in Unix seconds.
    pub(super) previous_until: i64,
}

impl Authority {
    /// What every caBundle should hold.
    pub(super) fn bundle(&self) -> String {
        let current = self.current.iter().map(|it| it.certificate.as_str());
        let next = self.next.iter().map(|it| it.certificate.as_str());
        let previous = self.previous.iter().map(String::as_str);
        current.chain(next).chain(previous).collect()
    }
}

/// The Secret with the leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) issuer: String,
    pub(super) not_after: i64,
    /// Its names, sorted.
    pub(super) names: Vec<String>,
}

/// What is there.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) authority: Authority,
    pub(super) leaf: Option<Leaf>,
    /// The caBundle of each webhook; none while there is no webhook configuration.
    pub(super) bundles: Option<Vec<String>>,
    /// The names that the leaf must have.
    pub(super) names: Vec<String>,
}

/// A change of the CA's Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Make the first CA, or one in place of one that can't be used.
    Create,
    /// Make the next CA.
    CreateNext,
    /// Let the next CA sign.
    Promote,
    /// Stop publishing the one before.
    DropPrevious,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    WriteAuthority(Change),
    PublishBundle(String),
    IssueLeaf,
}

impl Step {
    /// The step in a word, for logs.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::WriteAuthority(Change::Create) => "a CA was made",
            Self::WriteAuthority(Change::CreateNext) => "the next CA was made",
            Self::WriteAuthority(Change::Promote) => "the next CA signs now",
            Self::WriteAuthority(Change::DropPrevious) => "the CA before is dropped",
            Self::PublishBundle(_) => "the caBundle was published",
            Self::IssueLeaf => "a leaf was issued",
        }
    }
}

/// Decides the next step at `now`, in Unix seconds.
pub(super) fn next_step(state: &State, lifetimes: Lifetimes, now: i64) -> Step {
    let authority = &state.authority;
    let Some(current) = authority.current.as_ref().filter(|it| now < it.not_after) else {
        return Step::WriteAuthority(Change::Create);
    };
    if authority.next.is_none() && now >= current.not_after - lifetimes.ca / 3 {
        return Step::WriteAuthority(Change::CreateNext);
    }
    if authority.previous.is_some() && now >= authority.previous_until {
        return Step::WriteAuthority(Change::DropPrevious);
    }
    let Some(bundles) = &state.bundles else {
        return Step::Nothing;
    };
    let bundle = authority.bundle();
    if bundles.iter().any(|it| *it != bundle) {
        return Step::PublishBundle(bundle);
    }
    if authority
        .next
        .as_ref()
        .is_some_and(|it| now >= it.created + lifetimes.grace())
    {
        return Step::WriteAuthority(Change::Promote);
    }
    let mut names = state.names.clone();
    names.sort();
    let is_good = state.leaf.as_ref().is_some_and(|it| {
        it.issuer == current.certificate && it.names == names && now < it.not_after - lifetimes.leaf / 3
    });
    if is_good { Step::Nothing } else { Step::IssueLeaf }
}

#[cfg(test)]
mod tests {
    use super::super::pki;
    use super::*;

    const LIFETIMES: Lifetimes = Lifetimes { ca: 3000, leaf: 300 };

    /// Carries out steps as the keeper does, at one time, until there is nothing to do.
    fn settle(state: &mut State, now: i64) -> Vec<Step> {
        let mut steps = Vec::new();
        loop {
            let step = next_step(state, LIFETIMES, now);
            match &step {
                Step::Nothing => return steps,
                Step::WriteAuthority(change) => {
                    state.authority = pki::change(&state.authority, *change, LIFETIMES, now).unwrap();
                }
                Step::PublishBundle(bundle) => {
                    state
                        .bundles
                        .iter_mut()
                        .flatten()
                        .for_each(|it| bundle.clone_into(it));
                }
                Step::IssueLeaf => {
                    let data = pki::leaf(&state.authority, &state.names, LIFETIMES, now).unwrap();
                    let text = |key: &str| String::from_utf8(data[key].clone()).unwrap();
                    state.leaf = pki::read_leaf(&text("tls.crt"), text("ca.crt"));
                }
            }
            steps.push(step);
            assert!(steps.len() < 20, "{steps:?}");
        }
    }

    fn begin() -> State {
        State {
            bundles: Some(vec![String::new(), String::new()]),
            names: vec![
                "bailiwick-webhook.bailiwick-system.svc".to_owned(),
                "127.0.0.1".to_owned(),
            ],
            ..State::default()
        }
    }

    #[test]
    fn from_nothing_to_a_trusted_leaf() {
        let mut state = begin();
        let steps = settle(&mut state, 1000);
        assert!(
            matches!(
                steps.as_slice(),
                [
                    Step::WriteAuthority(Change::Create),
                    Step::PublishBundle(_),
                    Step::IssueLeaf
                ]
            ),
            "{steps:?}"
        );
        assert_eq!(settle(&mut state, 1001), []);
    }

    #[test]
    fn no_leaf_is_issued_before_the_api_server_can_trust_it() {
        let mut state = State {
            bundles: None,
            ..begin()
        };
        assert_eq!(settle(&mut state, 1000), [Step::WriteAuthority(Change::Create)]);
        assert_eq!(state.leaf, None);
    }

    #[test]
    fn at_every_moment_of_ten_rotations_the_leaf_is_valid_and_trusted() {
        let mut state = begin();
        let mut issuers = std::collections::BTreeSet::new();
        for now in (1000..31_000).step_by(7) {
            settle(&mut state, now);
            let leaf = state.leaf.clone().unwrap();
            assert!(now < leaf.not_after, "expired at {now}");
            for bundle in state.bundles.iter().flatten() {
                assert!(bundle.contains(&leaf.issuer), "untrusted at {now}");
            }
            issuers.insert(leaf.issuer);
        }
        assert!(issuers.len() > 8, "{} CAs", issuers.len());
    }

    #[test]
    fn the_next_ca_is_published_for_a_while_before_it_signs() {
        let mut state = begin();
        settle(&mut state, 1000);
        let first = state.leaf.clone().unwrap().issuer;
        settle(&mut state, 3001);
        assert!(state.authority.next.is_some());
        assert_eq!(state.leaf.clone().unwrap().issuer, first);
        settle(&mut state, 3001 + 59);
        assert_eq!(state.leaf.clone().unwrap().issuer, first);
        settle(&mut state, 3001 + 60);
        assert_ne!(state.leaf.clone().unwrap().issuer, first);
        assert!(
            state.bundles.clone().unwrap()[0].contains(&first),
            "still published"
        );
    }

    #[test]
    fn a_changed_name_or_a_stranger_in_the_bundle_is_put_right() {
        let mut state = begin();
        settle(&mut state, 1000);
        state.names.push("other".to_owned());
        assert_eq!(settle(&mut state, 1001), [Step::IssueLeaf]);
        state.bundles = Some(vec!["stranger".to_owned(), state.authority.bundle()]);
        assert_eq!(
            settle(&mut state, 1001),
            [Step::PublishBundle(state.authority.bundle())]
        );
    }
}
