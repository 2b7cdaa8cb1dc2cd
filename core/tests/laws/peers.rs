//! Laws of peers: what is judged to stay inside selects nobody else, in any cluster.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_core::network::Block;
use bailiwick_core::peer::Bounds;
use bailiwick_core::{ranges, selector};
use bailiwick_crds::labels;
use ipnet::{IpNet, Ipv4Net};
use k8s_openapi::api::networking::v1::{IPBlock, NetworkPolicyPeer};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::cases;

const KEYS: [&str; 4] = [labels::TENANT, labels::METADATA_NAME, "team", "name"];
const VALUES: [&str; 7] = ["acme", "globex", "initech", "acme-prod", "shop", "ingress", ""];
const OWN: [&str; 2] = ["acme-prod", "acme-dev"];

/// acme, which lets globex and the namespace `ingress` in.
fn bounds() -> Bounds {
    Bounds {
        tenants: ["acme", "globex"].map(str::to_owned).into(),
        namespaces: ["ingress".to_owned()].into(),
        ..Bounds::default()
    }
}

fn a_selector() -> impl Strategy<Value = LabelSelector> {
    let equal = proptest::collection::btree_map(
        select(KEYS.to_vec()).prop_map(str::to_owned),
        select(VALUES.to_vec()).prop_map(str::to_owned),
        0..3,
    );
    let expression = (
        select(KEYS.to_vec()),
        select(vec!["In", "In", "NotIn", "Exists", "DoesNotExist"]),
        subsequence(VALUES.to_vec(), 1..4),
    );
    let expression = expression.prop_map(|(key, operator, values)| LabelSelectorRequirement {
        key: key.to_owned(),
        operator: operator.to_owned(),
        values: operator
            .ends_with("In")
            .then(|| values.into_iter().map(str::to_owned).collect()),
    });
    (equal, proptest::collection::vec(expression, 0..3)).prop_map(|(equal, expressions)| LabelSelector {
        match_labels: Some(equal),
        match_expressions: Some(expressions),
    })
}

/// A Namespace as it may come to be: its name is its own, its tenant label tells its tenant, all else is anybody's.
fn a_namespace() -> impl Strategy<Value = BTreeMap<String, String>> {
    let name = select(vec![
        "acme-prod",
        "acme-dev",
        "shop",
        "ingress",
        "globex",
        "acme",
        "x",
    ]);
    let tenant = select(vec![
        None,
        Some("globex"),
        Some("initech"),
        Some("shop"),
        Some(""),
    ]);
    let free = proptest::collection::btree_map(
        select(vec!["team", "name"]).prop_map(str::to_owned),
        select(VALUES.to_vec()).prop_map(str::to_owned),
        0..3,
    );
    (name, tenant, free).prop_map(|(name, tenant, mut all)| {
        all.insert(labels::METADATA_NAME.to_owned(), name.to_owned());
        let tenant = match name {
            _ if OWN.contains(&name) => Some("acme"),
            "ingress" => None,
            _ => tenant,
        };
        all.extend(tenant.map(|it| (labels::TENANT.to_owned(), it.to_owned())));
        all
    })
}

fn is_inside(namespace: &BTreeMap<String, String>) -> bool {
    let tenant = namespace.get(labels::TENANT).map(String::as_str);
    matches!(tenant, Some("acme" | "globex")) || namespace[labels::METADATA_NAME] == "ingress"
}

fn beyond(peer: &NetworkPolicyPeer, bounds: &Bounds) -> bool {
    bounds.beyond(peer, &[], |it| OWN.contains(&it)).is_some()
}

/// A block in 10.0.0.0/26, whose addresses can be counted.
fn a_block() -> impl Strategy<Value = Block> {
    let net = || {
        (0_u8..64, 26_u8..=32).prop_map(|(last, length)| {
            let net = Ipv4Net::new([10, 0, 0, last].into(), length).unwrap();
            IpNet::V4(net.trunc())
        })
    };
    (net(), proptest::collection::vec(net(), 0..4)).prop_map(|(cidr, except)| Block { cidr, except })
}

fn addresses(block: &Block) -> BTreeSet<u8> {
    let all = 0..64;
    all.filter(|last| {
        let address = std::net::IpAddr::from([10, 0, 0, *last]);
        block.cidr.contains(&address) && !block.except.iter().any(|it| it.contains(&address))
    })
    .collect()
}

proptest! {
    #![proptest_config(cases(1024))]

    #[test]
    fn a_peer_that_stays_inside_selects_nobody_else(
        selector in a_selector(),
        universe in proptest::collection::vec(a_namespace(), 0..24),
    ) {
        let peer = NetworkPolicyPeer { namespace_selector: Some(selector.clone()), ..NetworkPolicyPeer::default() };
        if !beyond(&peer, &bounds()) {
            let selected = universe.iter().filter(|it| selector::matches(&selector, it));
            for namespace in selected {
                prop_assert!(is_inside(namespace), "{selector:?} selects {namespace:?}");
            }
        }
    }

    #[test]
    fn what_names_the_tenant_itself_stays_inside(selector in a_selector()) {
        let mut own = selector;
        own.match_labels.get_or_insert_default().insert(labels::TENANT.to_owned(), "acme".to_owned());
        let peer = NetworkPolicyPeer { namespace_selector: Some(own), ..NetworkPolicyPeer::default() };
        prop_assert!(!beyond(&peer, &bounds()));
    }

    #[test]
    fn a_block_is_within_others_as_its_addresses_are(
        block in a_block(),
        allowed in proptest::collection::vec(a_block(), 0..4),
    ) {
        let union: BTreeSet<u8> = allowed.iter().flat_map(addresses).collect();
        let expected = addresses(&block).is_subset(&union);
        prop_assert_eq!(ranges::is_within(&block, &allowed), expected);
        let written = IPBlock {
            cidr: block.cidr.to_string(),
            except: Some(block.except.iter().map(ToString::to_string).collect()),
        };
        let peer = NetworkPolicyPeer { ip_block: Some(written), ..NetworkPolicyPeer::default() };
        let bounds = Bounds { networks: allowed, ..bounds() };
        prop_assert_eq!(!beyond(&peer, &bounds), expected);
    }
}
