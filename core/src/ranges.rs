//! Sets of addresses: whether what one block holds lies within others.

use ipnet::IpNet;

use crate::network::Block;

/// The first and the last address of a range.
type Span = (u128, u128);

/// Whether each address of `block` is one of `allowed`, whatever is taken out of either.
pub fn is_within(block: &Block, allowed: &[Block]) -> bool {
    let others = allowed.iter().filter(|it| is_v4(&it.cidr) == is_v4(&block.cidr));
    let spans = others.flat_map(spans_of);
    spans
        .fold(spans_of(block), |rest, it| without(&rest, it))
        .is_empty()
}

/// What a block holds.
fn spans_of(block: &Block) -> Vec<Span> {
    let holes = block.except.iter().filter(|it| is_v4(it) == is_v4(&block.cidr));
    holes.fold(vec![span_of(&block.cidr)], |rest, it| without(&rest, span_of(it)))
}

fn is_v4(net: &IpNet) -> bool {
    matches!(net, IpNet::V4(_))
}

fn span_of(net: &IpNet) -> Span {
    match net {
        IpNet::V4(net) => (
            u128::from(u32::from(net.network())),
            u128::from(u32::from(net.broadcast())),
        ),
        IpNet::V6(net) => (u128::from(net.network()), u128::from(net.broadcast())),
    }
}

/// The spans, less a hole.
fn without(spans: &[Span], (first, last): Span) -> Vec<Span> {
    let mut rest = Vec::new();
    for &(begin, end) in spans {
        if last < begin || end < first {
            rest.push((begin, end));
            continue;
        }
        let before = first.checked_sub(1).filter(|it| begin <= *it);
        let after = last.checked_add(1).filter(|it| *it <= end);
        rest.extend(before.map(|it| (begin, it)));
        rest.extend(after.map(|it| (it, end)));
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> Block {
        let mut parts = text.split(" - ").map(|it| it.parse().unwrap());
        Block {
            cidr: parts.next().unwrap(),
            except: parts.collect(),
        }
    }

    #[track_caller]
    fn check(inner: &str, allowed: &[&str], expected: bool) {
        let allowed: Vec<Block> = allowed.iter().map(|it| block(it)).collect();
        assert_eq!(
            is_within(&block(inner), &allowed),
            expected,
            "{inner} in {allowed:?}"
        );
    }

    #[test]
    fn a_block_is_within_what_holds_all_of_it() {
        check("10.0.0.0/24", &["10.0.0.0/24"], true);
        check("10.0.0.0/24", &["10.0.0.0/16"], true);
        check("10.0.0.0/24", &["10.0.0.0/25"], false);
        check("10.0.0.0/24", &["10.0.0.0/25", "10.0.0.128/25"], true);
        check("10.0.0.0/24", &["10.0.0.128/25", "10.0.0.0/26"], false);
        check("10.0.0.0/24", &[], false);
        check("0.0.0.0/0", &["0.0.0.0/0"], true);
        check("::/0", &["::/0"], true);
        check("::/0", &["0.0.0.0/0"], false);
        check("0.0.0.0/0", &["::/0"], false);
        check("255.255.255.255/32", &["255.255.255.254/31"], true);
        check("0.0.0.0/32", &["0.0.0.0/31"], true);
    }

    #[test]
    fn what_is_taken_out_counts_on_both_sides() {
        check("10.0.0.0/24 - 10.0.0.128/25", &["10.0.0.0/25"], true);
        check("10.0.0.0/24 - 10.0.0.129/32", &["10.0.0.0/25"], false);
        check("10.0.0.0/24", &["10.0.0.0/16 - 10.0.0.7/32"], false);
        check("10.0.0.0/24 - 10.0.0.7/32", &["10.0.0.0/16 - 10.0.0.7/32"], true);
        check("10.0.0.0/24 - 10.0.0.8/32", &["10.0.0.0/16 - 10.0.0.7/32"], false);
        check("10.0.0.0/24", &["10.0.0.0/16 - 10.0.0.7/32", "10.0.0.7/32"], true);
        check("10.0.0.0/24 - 10.0.0.0/24", &[], true);
        check("10.0.0.0/24 - ::/0", &["10.0.0.0/25"], false);
    }
}
