use super::*;

fn amount(text: &str) -> Amount {
    Amount::parse(text).unwrap()
}

fn amounts(of: &str) -> Amounts {
    BTreeMap::from([("pods".to_owned(), amount(of))])
}

/// A still slice of ours: wanted, enforced, used.
fn member(wanted: &str, enforced: &str, used: &str) -> Holder {
    Holder {
        stake: Stake::Member,
        slice: Some(Slice {
            wanted: amounts(wanted),
            enforced: amounts(enforced),
            used: amounts(used),
            signature: Signature::Ours,
            motion: Motion::Still,
        }),
        asks: Amounts::new(),
    }
}

fn unlimited() -> Holder {
    Holder {
        stake: Stake::Member,
        slice: None,
        asks: Amounts::new(),
    }
}

fn asking(holder: Holder, ask: &str) -> Holder {
    Holder {
        asks: amounts(ask),
        ..holder
    }
}

fn with(mut holder: Holder, change: impl Fn(&mut Slice)) -> Holder {
    holder.slice.iter_mut().for_each(change);
    holder
}

fn moves(limit: &str, holders: Vec<Holder>) -> Moves {
    let names = ["a", "b", "c", "d", "e"].map(str::to_owned);
    next(&amounts(limit), &names.into_iter().zip(holders).collect())
}

#[track_caller]
fn check(limit: &str, holders: Vec<Holder>, expected: &[(&str, &str)]) {
    let found: Vec<(String, String)> = moves(limit, holders)
        .writes
        .into_iter()
        .map(|(name, it)| (name, it.hard["pods"].to_string()))
        .collect();
    let expected: Vec<(String, String)> = expected
        .iter()
        .map(|(name, hard)| ((*name).to_owned(), (*hard).to_owned()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn what_is_not_limited_yet_is_closed_before_anything_grows() {
    check("10", vec![unlimited(), member("0", "0", "0")], &[("a", "0")]);
    let unseen = with(member("0", "0", "0"), |it| it.enforced.clear());
    check("10", vec![unseen.clone(), member("0", "0", "0")], &[]);
    assert_eq!(moves("10", vec![unseen]).open, BTreeSet::from(["a".to_owned()]));
    // The same, limited.
    check(
        "10",
        vec![member("0", "0", "0"), member("0", "0", "0")],
        &[("a", "5"), ("b", "5")],
    );
    assert!(moves("10", vec![member("0", "0", "0")]).open.is_empty());
}

#[test]
fn while_nobody_is_short_nothing_moves() {
    check("20", vec![member("10", "10", "3"), member("10", "10", "7")], &[]);
    check("20", vec![member("10", "10", "3"), member("10", "10", "9")], &[]);
}

#[test]
fn who_is_short_waits_until_the_donor_shows_what_it_gave() {
    // 10 are free: a keeps one of them, a quarter of its half.
    check("20", vec![member("10", "10", "0"), member("10", "10", "8")], &[]);
    check(
        "20",
        vec![member("10", "10", "0"), member("10", "10", "10")],
        &[("a", "1")],
    );
    check("20", vec![member("1", "10", "0"), member("10", "10", "10")], &[]);
    check(
        "20",
        vec![member("1", "1", "0"), member("10", "10", "10")],
        &[("b", "19")],
    );
    // What was used meanwhile is not given.
    check(
        "20",
        vec![member("1", "1", "5"), member("10", "10", "10")],
        &[("a", "7"), ("b", "13")],
    );
}

#[test]
fn what_was_refused_comes_first_and_in_one_piece() {
    let idle = || member("10", "10", "0");
    check("40", vec![idle(), idle(), idle(), idle()], &[]);
    let shrunk = [("b", "1"), ("c", "1"), ("d", "0")];
    check("40", vec![asking(idle(), "38"), idle(), idle(), idle()], &shrunk);
    // Nobody can have what is more than what is free.
    check("40", vec![asking(idle(), "41"), idle(), idle(), idle()], &[]);
    // Of two that don't fit together the smaller one is served.
    let moves = moves(
        "40",
        vec![asking(idle(), "30"), asking(idle(), "31"), idle(), idle()],
    );
    assert!(!moves.writes.contains_key("a") && moves.writes["b"].hard["pods"] < amount("10"));
}

#[test]
fn nothing_is_taken_from_what_moves() {
    let moving = |it| with(it, |slice| slice.motion = Motion::Moving);
    let moves = moves(
        "20",
        vec![moving(member("10", "10", "0")), member("10", "10", "10")],
    );
    assert!(moves.writes.is_empty());
    assert_eq!(moves.moving, BTreeSet::from(["a".to_owned()]));
}

#[test]
fn a_new_writer_signs_before_it_lets_grow() {
    let foreign = |it| with(it, |slice| slice.signature = Signature::Foreign);
    let (donor, short) = (member("1", "1", "0"), member("10", "10", "10"));
    check("20", vec![donor.clone(), short.clone()], &[("b", "19")]);
    check("20", vec![foreign(donor.clone()), short.clone()], &[("a", "1")]);
    check(
        "20",
        vec![foreign(donor), foreign(short)],
        &[("a", "1"), ("b", "10")],
    );
    // It needs no signature to do nothing, or to let shrink.
    let idle = || foreign(member("10", "10", "3"));
    check("20", vec![idle(), idle()], &[]);
    check("6", vec![idle(), idle()], &[("a", "3"), ("b", "3")]);
}

#[test]
fn who_leaves_holds_what_it_has_and_gets_nothing() {
    let leaving = |it| Holder {
        stake: Stake::Leaving,
        ..it
    };
    check(
        "20",
        vec![leaving(member("10", "10", "2")), member("10", "10", "10")],
        &[],
    );
    check(
        "20",
        vec![leaving(member("8", "8", "2")), member("10", "10", "10")],
        &[("b", "12")],
    );
    // Gone.
    check("20", vec![member("10", "10", "10")], &[("a", "20")]);
}

#[test]
fn over_use_closes_everything_below_what_is_used() {
    // 30 of 20 are used: an end in b must not make room for a successor.
    check(
        "20",
        vec![member("40", "40", "20"), member("10", "10", "10")],
        &[("a", "13"), ("b", "6")],
    );
    check("20", vec![member("13", "13", "20"), member("6", "6", "10")], &[]);
    check(
        "20",
        vec![member("13", "13", "20"), member("6", "6", "5")],
        &[("b", "4")],
    );
    // Exactly the limit: closed, and no lower.
    check(
        "20",
        vec![member("13", "13", "12"), member("6", "6", "8")],
        &[("a", "12")],
    );
}
