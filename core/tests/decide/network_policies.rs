//! A tenant's own NetworkPolicies open nothing that its Tenant does not.

use bailiwick_core::snapshot::Snapshot;

use crate::cluster::{Ask, OPERATOR, PASS, check_in, cluster, with_spec};

/// acme, with exceptions of each kind.
fn open() -> Snapshot {
    with_spec(
        &cluster(),
        "acme",
        "{network: {ingress: {fromTenants: [globex], fromNamespaces: [ingress, contested]},
          egress: {toTenants: [initech], toCIDRs: [192.0.2.0/24, 198.51.100.0/25, '2001:db8::/48']}},
          namespaces: {declared: [{name: acme-prod}, {name: acme-dev}, {name: acme-new}]}}",
    )
}

/// acme, with the Internet, and a cluster whose own range is public.
fn online() -> Snapshot {
    let mut snapshot = with_spec(
        &cluster(),
        "acme",
        "{network: {egress: {internet: true, dns: false}}, namespaces: {declared: [{name: acme-prod}]}}",
    );
    let config = std::sync::Arc::make_mut(&mut snapshot.config);
    config.cluster_cidrs = vec!["203.0.113.0/24".parse().unwrap()];
    snapshot
}

fn policy(spec: &str) -> String {
    format!("{{metadata: {{name: own}}, spec: {spec}}}")
}

fn with(direction: &str, rules: &str) -> String {
    policy(&format!("{{podSelector: {{}}, {direction}: {rules}}}"))
}

/// A policy with this one peer, each way; what is expected of either.
#[track_caller]
fn peer(snapshot: &Snapshot, peer: &str, in_: bool, out: bool) {
    for (direction, side, passes) in [("ingress", "from", in_), ("egress", "to", out)] {
        let policy = with(direction, &format!("[{{{side}: [{peer}]}}]"));
        let refused = format!("BW-NP-OPEN spec.{direction}[0].{side}[0]");
        let expected = if passes { PASS } else { &refused };
        check_in(
            snapshot,
            &Ask::create("networkpolicies", &policy).within("acme-prod"),
            expected,
        );
    }
}

const YES: bool = true;
const NO: bool = false;

#[test]
fn a_policy_that_closes_is_everybodys_right() {
    for spec in [
        "{podSelector: {}}",
        "{podSelector: {}, policyTypes: [Ingress, Egress]}",
        "{podSelector: {}, policyTypes: [Ingress, Egress], ingress: [], egress: []}",
        "{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress], ingress: null}",
    ] {
        let ask = Ask::create("networkpolicies", &policy(spec)).within("acme-prod");
        check_in(&cluster(), &ask, PASS);
    }
    check_in(
        &cluster(),
        &Ask::delete("networkpolicies", &policy("{podSelector: {}, ingress: [{}]}")).within("acme-prod"),
        PASS,
    );
}

#[test]
fn a_rule_without_peers_is_open_to_everybody() {
    for (rules, field) in [
        ("[{}]", "[0]"),
        ("[{ports: [{port: 443}]}]", "[0]"),
        ("[{ports: [{port: 1, endPort: 65535}]}]", "[0]"),
    ] {
        for direction in ["ingress", "egress"] {
            let ask = Ask::create("networkpolicies", &with(direction, rules)).within("acme-prod");
            check_in(&open(), &ask, &format!("BW-NP-OPEN spec.{direction}{field}"));
        }
    }
    for (direction, side) in [("ingress", "from"), ("egress", "to")] {
        for empty in ["[]", "null"] {
            let rules = format!("[{{{side}: [{{podSelector: {{}}}}]}}, {{{side}: {empty}}}]");
            let ask = Ask::create("networkpolicies", &with(direction, &rules)).within("acme-prod");
            check_in(&open(), &ask, &format!("BW-NP-OPEN spec.{direction}[1]"));
        }
    }
}

#[test]
fn peers_inside_the_tenant_pass() {
    for inside in [
        "{podSelector: {}}",
        "{podSelector: {matchLabels: {app: web}}}",
        "{namespaceSelector: {matchLabels: {$T: acme}}}",
        "{namespaceSelector: {matchLabels: {$T: acme, team: x}}, podSelector: {}}",
        "{namespaceSelector: {matchExpressions: [{key: $T, operator: In, values: [acme]}]}}",
        "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: acme-dev}}}",
        "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: acme-new}}}",
        "{namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [acme-dev, acme-prod]}]}}",
        // Either of the two proves it.
        "{namespaceSelector: {matchLabels: {$T: acme, kubernetes.io/metadata.name: shop}}}",
        "{namespaceSelector: {matchExpressions: [{key: $T, operator: In, values: [acme, other]}, {key: $T, operator: In, values: [acme]}]}}",
    ] {
        peer(&cluster(), inside, YES, YES);
        peer(&open(), inside, YES, YES);
    }
}

#[test]
fn peers_that_may_be_somebody_elses_are_refused() {
    for outside in [
        "{namespaceSelector: {}}",
        "{namespaceSelector: {}, podSelector: {matchLabels: {$T: acme}}}",
        "{namespaceSelector: {matchLabels: {team: x}}}",
        "{namespaceSelector: {matchLabels: {name: acme-prod}}}",
        "{namespaceSelector: {matchLabels: {$T: other}}}",
        "{namespaceSelector: {matchLabels: {$T: ''}}}",
        "{namespaceSelector: {matchLabels: {$T: Acme}}}",
        "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop}}}",
        "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: globex-prod}}}",
        "{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}}",
        "{namespaceSelector: {matchExpressions: [{key: $T, operator: In, values: [acme, other]}]}}",
        "{namespaceSelector: {matchExpressions: [{key: $T, operator: Exists}]}}",
        "{namespaceSelector: {matchExpressions: [{key: $T, operator: DoesNotExist}]}}",
        "{namespaceSelector: {matchExpressions: [{key: $T, operator: NotIn, values: [globex]}]}}",
        "{namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: NotIn, values: [kube-system]}]}}",
        "{namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [acme-prod, shop]}]}}",
        "{}",
    ] {
        peer(&cluster(), outside, NO, NO);
        peer(&open(), outside, NO, NO);
    }
}

#[test]
fn declared_exceptions_pass_in_their_direction() {
    let tenant = |name: &str| format!("{{namespaceSelector: {{matchLabels: {{$T: {name}}}}}}}");
    let named = |name: &str| {
        format!("{{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {name}}}}}}}")
    };
    peer(&open(), &tenant("globex"), YES, NO);
    peer(&open(), &tenant("initech"), NO, YES);
    peer(&open(), &named("ingress"), YES, NO);
    peer(&cluster(), &named("ingress"), YES, NO);
    // It is a tenant's by now, so the operator leaves it out.
    peer(&open(), &named("contested"), NO, NO);
    let two = "{namespaceSelector: {matchExpressions: [{key: $T, operator: In, values: [acme, globex]}]}}";
    peer(&open(), two, YES, NO);
    peer(&cluster(), two, NO, NO);
}

#[test]
fn addresses_lie_within_the_declared_networks() {
    let block = |cidr: &str, except: &str| format!("{{ipBlock: {{cidr: '{cidr}', except: [{except}]}}}}");
    for (cidr, except, passes) in [
        ("192.0.2.0/24", "", YES),
        ("192.0.2.7/32", "", YES),
        ("192.0.2.0/23", "", NO),
        ("192.0.2.0/23", "192.0.3.0/24", YES),
        ("192.0.2.0/23", "192.0.3.0/25", NO),
        ("198.51.100.0/24", "", NO),
        ("198.51.100.0/24", "198.51.100.128/25", YES),
        ("0.0.0.0/0", "", NO),
        ("0.0.0.0/0", "10.0.0.0/8", NO),
        ("::/0", "", NO),
        ("10.0.0.0/8", "", NO),
        ("169.254.169.254/32", "", NO),
        ("::ffff:192.0.2.0/120", "", NO),
        ("2001:db8::/64", "", YES),
        ("2001:db8::/32", "", NO),
        ("192.0.2.0/24", "x", NO),
        ("x", "", NO),
    ] {
        peer(&open(), &block(cidr, except), NO, passes);
        peer(&cluster(), &block(cidr, except), NO, NO);
    }
}

#[test]
fn the_internet_is_what_the_operators_own_policy_says() {
    const V4: &str = "0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 168.63.129.16/32, 169.254.0.0/16, 172.16.0.0/12, 192.0.0.0/24, 192.168.0.0/16, 198.18.0.0/15, 224.0.0.0/3";
    let all = |except: &str| format!("{{ipBlock: {{cidr: 0.0.0.0/0, except: [{except}]}}}}");
    peer(&online(), &all(&format!("{V4}, 203.0.113.0/24")), NO, YES);
    peer(&online(), &all(V4), NO, NO);
    peer(
        &online(),
        &all("10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16"),
        NO,
        NO,
    );
    for (cidr, passes) in [
        ("8.8.8.8/32", YES),
        ("203.0.112.0/24", YES),
        ("203.0.113.1/32", NO),
        ("10.0.0.1/32", NO),
        ("169.254.169.254/32", NO),
        ("2606:4700::/32", YES),
        ("fd00::/8", NO),
        ("64:ff9b::/96", NO),
    ] {
        peer(&online(), &format!("{{ipBlock: {{cidr: '{cidr}'}}}}"), NO, passes);
    }
}

#[test]
fn the_clusters_dns_may_be_asked_on_its_port() {
    const REFUSED: &str = "BW-NP-OPEN spec.egress[0].to[0]";
    let rule = |selector: &str, pods: &str, ports: &str| {
        format!(
            "[{{to: [{{namespaceSelector: {{{selector}}}, podSelector: {{{pods}}}}}], ports: [{ports}]}}]"
        )
    };
    let (system, pods, ports) = (
        "matchLabels: {kubernetes.io/metadata.name: kube-system}",
        "matchLabels: {k8s-app: kube-dns}",
        "{protocol: UDP, port: 53}, {protocol: TCP, port: 53, endPort: 53}",
    );
    let ask = |selector: &str, pods: &str, ports: &str| {
        Ask::create("networkpolicies", &with("egress", &rule(selector, pods, ports))).within("acme-prod")
    };
    check_in(&cluster(), &ask(system, pods, ports), PASS);
    check_in(&cluster(), &ask(system, pods, "{port: 53}"), PASS);
    check_in(&online(), &ask(system, pods, ports), REFUSED);
    check_in(&cluster(), &ask("", pods, ports), REFUSED);
    check_in(&cluster(), &ask(system, "", ports), REFUSED);
    check_in(
        &cluster(),
        &ask(system, "matchLabels: {k8s-app: etcd}", ports),
        REFUSED,
    );
    for other in [
        "",
        "{port: 443}",
        "{port: 53}, {port: 443}",
        "{protocol: UDP}",
        "{port: dns}",
        "{port: 53, endPort: 65535}",
        "{protocol: SCTP, port: 53}",
    ] {
        check_in(&cluster(), &ask(system, pods, other), REFUSED);
    }
    let ingress = rule(system, pods, ports).replace("to:", "from:");
    check_in(
        &cluster(),
        &Ask::create("networkpolicies", &with("ingress", &ingress)).within("acme-prod"),
        "BW-NP-OPEN spec.ingress[0].from[0]",
    );
}

#[test]
fn each_peer_is_judged_and_its_place_told() {
    // The one element with two selectors, and the two elements that look like it.
    let and = "[{from: [{namespaceSelector: {matchLabels: {$T: acme}}, podSelector: {}}]}]";
    let or = "[{from: [{podSelector: {}}, {namespaceSelector: {}}]}]";
    let ask = |rules: &str| Ask::create("networkpolicies", &with("ingress", rules)).within("acme-prod");
    check_in(&cluster(), &ask(and), PASS);
    check_in(&cluster(), &ask(or), "BW-NP-OPEN spec.ingress[0].from[1]");
    let both = policy(
        "{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}, {podSelector: {}}, {namespaceSelector: {}}]}], egress: [{}]}",
    );
    check_in(
        &cluster(),
        &Ask::create("networkpolicies", &both).within("acme-prod"),
        "BW-NP-OPEN spec.ingress[0].from[0]; BW-NP-OPEN spec.ingress[0].from[2]; BW-NP-OPEN spec.egress[0]",
    );
}

#[test]
fn the_change_is_judged_and_not_what_was_open() {
    const ANY: &str = "[{from: [{namespaceSelector: {}}], ports: [{port: 80}]}]";
    let update = |old: &str, new: &str| Ask::update("networkpolicies", old, new).within("acme-prod");
    let (web, all) = ("{matchLabels: {app: web}}", "{}");
    let open = |pods: &str, rules: &str| policy(&format!("{{podSelector: {pods}, ingress: {rules}}}"));
    let more = "[{from: [{podSelector: {}}]}, {from: [{namespaceSelector: {}}], ports: [{port: 80}]}]";
    check_in(&cluster(), &update(&open(web, ANY), &open(web, ANY)), PASS);
    check_in(&cluster(), &update(&open(web, ANY), &open(web, more)), PASS);
    check_in(&cluster(), &update(&open(web, ANY), &open(web, "[]")), PASS);
    let refused = "BW-NP-OPEN spec.ingress[0].from[0]";
    check_in(&cluster(), &update(&open(web, ANY), &open(all, ANY)), refused);
    check_in(&cluster(), &update(&open(web, "[]"), &open(web, ANY)), refused);
    let wider = ANY.replace("80", "81");
    check_in(&cluster(), &update(&open(web, ANY), &open(web, &wider)), refused);
    let types = |it: &str| {
        policy(&format!(
            "{{podSelector: {{}}, policyTypes: [{it}], ingress: {ANY}}}"
        ))
    };
    check_in(&cluster(), &update(&types("Egress"), &types("Egress")), PASS);
    check_in(&cluster(), &update(&types("Egress"), &types("Ingress")), refused);
}

#[test]
fn nobody_is_exempt_but_the_operator_and_nowhere_but_in_tenants() {
    let ask = Ask::create("networkpolicies", &with("ingress", "[{}]"));
    check_in(&cluster(), &ask.clone().within("shop"), PASS);
    check_in(&cluster(), &ask.clone().within("kube-system"), PASS);
    check_in(&cluster(), &ask.clone().within("acme-prod").by(OPERATOR), PASS);
    for user in ["alice", "platform-admin", "system:serviceaccount:acme-prod:app"] {
        check_in(
            &cluster(),
            &ask.clone().within("acme-prod").by(user),
            "BW-NP-OPEN spec.ingress[0]",
        );
    }
    // The tenant of this one is gone.
    check_in(
        &cluster(),
        &ask.clone().within("ghost"),
        "BW-NP-OPEN spec.ingress[0]",
    );
    check_in(&cluster(), &ask.within("unseen"), "needs Namespace unseen");
}
