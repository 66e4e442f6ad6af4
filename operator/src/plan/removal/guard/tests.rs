use proptest::prelude::*;

use super::*;

const HOLD: i64 = 300;

fn guard() -> RemovalGuard {
    RemovalGuard { max_removed_percent: 50, hold_for: SignedDuration::from_secs(HOLD), accepted: None }
}

fn accepting(number: u64) -> RemovalGuard {
    RemovalGuard { accepted: Some(number), ..guard() }
}

fn name(name: &str) -> ServiceName {
    ServiceName { namespace: "demo".into(), name: name.into() }
}

fn addresses(name: &str) -> Vec<Address> {
    vec![format!("{name}.demo.svc.cluster.local:80").parse().expect("an address")]
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
}

/// Ordinary Services, each a letter, and strict ones.
fn there(ordinary: &str, strict: &str) -> Endpoints {
    let ordinary: Vec<String> = ordinary.chars().map(String::from).collect();
    let strict = strict.chars().map(|own| name(&own.to_string()));
    Endpoints {
        services: ordinary.iter().map(|own| name(own)).chain(strict).collect(),
        ordinary: ordinary.iter().map(|own| (name(own), addresses(own))).collect(),
        ..Endpoints::default()
    }
}

fn judged(guard: &RemovalGuard, before: &Remembered, endpoints: &Endpoints, now: Timestamp) -> Remembered {
    guard.judge(
        Some(before),
        Present {
            owner: "uid",
            selection: "all",
            endpoints,
            unknown: &Unknown::default(),
            pods: &StrictPods::new(),
        },
        now,
    )
}

/// When these were there all along.
fn knowing(ordinary: &str) -> Remembered {
    let endpoints = there(ordinary, "");
    guard().judge(
        None,
        Present {
            owner: "uid",
            selection: "all",
            endpoints: &endpoints,
            unknown: &Unknown::default(),
            pods: &StrictPods::new(),
        },
        at(-1000),
    )
}

/// When these are left of what was there.
fn left(before: &Remembered, ordinary: &str, second: i64) -> Remembered {
    judged(&guard(), before, &there(ordinary, ""), at(second))
}

fn held(remembered: &Remembered) -> String {
    remembered.held().map(|(name, _)| name.name.as_str()).collect()
}

#[test]
fn nothing_is_held_when_nothing_was_known_or_another_object_knew_it() {
    assert_eq!(held(&knowing("")), "");
    let known = Remembered { owner: "another".into(), ..knowing("abcd") };
    assert_eq!(left(&known, "", 0), left(&knowing(""), "", 0));
}

#[test]
fn half_may_go_and_more_than_half_may_not() {
    let known = knowing("abcd");
    assert_eq!(held(&left(&known, "cd", 0)), "");
    assert_eq!(held(&left(&known, "d", 0)), "abc");
    assert_eq!(held(&left(&known, "", 0)), "abcd");
}

#[test]
fn the_only_one_is_all_of_them() {
    assert_eq!(held(&left(&knowing("a"), "", 0)), "a");
    assert_eq!(held(&left(&knowing("ab"), "b", 0)), "");
}

#[test]
fn the_limit_is_what_the_spec_says() {
    let with = |max_removed_percent, rest| {
        let guard = RemovalGuard { max_removed_percent, ..guard() };
        held(&judged(&guard, &knowing("abcd"), &there(rest, ""), at(0)))
    };
    assert_eq!(with(0, "bcd"), "a");
    assert_eq!(with(100, "d"), "");
    assert_eq!(with(100, ""), "abcd");
}

#[test]
fn what_stays_stays_as_it_was_written() {
    let after = left(&knowing("abcd"), "", 0);
    let kept: Vec<_> = after.held().map(|(name, own)| (name.clone(), own.addresses.clone())).collect();
    assert_eq!(kept, ["a", "b", "c", "d"].map(|own| (name(own), addresses(own))));
}

#[test]
fn another_type_is_no_removal_and_strict_ones_are_never_held() {
    let known = knowing("abcd");
    let strict = judged(&guard(), &known, &there("", "abcd"), at(0));
    assert_eq!(held(&strict), "");
    assert_eq!(held(&left(&strict, "", 1)), "");
    // Three became strict, which leaves one ordinary that may go, and does not come back.
    let one_went = judged(&guard(), &known, &there("", "abc"), at(0));
    assert_eq!(held(&one_went), "");
    assert_eq!(judged(&guard(), &one_went, &there("", "abc"), at(1)), one_went);
}

#[test]
fn when_enough_come_back_the_rest_may_go() {
    let all = left(&knowing("abcd"), "", 0);
    assert_eq!(held(&left(&all, "a", 100)), "bcd");
    assert_eq!(held(&left(&all, "abc", 100)), "");
    assert_eq!(held(&left(&all, "abcd", 100)), "");
}

#[test]
fn what_is_new_meanwhile_does_not_release_the_others() {
    let all = left(&knowing("abcd"), "", 0);
    let more = left(&all, "vwxyz", 100);
    assert_eq!(held(&more), "abcd");
    assert_eq!(held(&left(&more, "vwxyz", 101)), "abcd");
    assert_eq!(held(&left(&left(&knowing("abcd"), "vwxyz", 0), "vwxyz", 1)), "abcd");
    let over = left(&more, "vwxyz", HOLD);
    assert_eq!(held(&over), "");
    assert!(over.newcomers.is_empty(), "from then on they count as all others");
}

#[test]
fn each_goes_when_its_own_time_is_over_whatever_the_others_do() {
    let mut state = left(&knowing("abcd"), "d", 0);
    for second in 1..HOLD {
        state = left(&state, if second % 20 < 10 { "d" } else { "" }, second);
        assert!(held(&state).starts_with("abc"), "{second}");
    }
    assert_eq!(held(&left(&state, "", HOLD)), "d");
    assert_eq!(held(&left(&state, "d", HOLD)), "");
}

#[test]
fn the_number_stays_while_nothing_is_added_and_is_never_used_again() {
    let three = left(&knowing("abcde"), "de", 0);
    assert_eq!(held(&three), "abc");
    assert_eq!(three.number, u64::try_from(at(0).as_millisecond()).expect("after 1970"));
    assert_eq!(left(&three, "de", 50).number, three.number);
    let four = left(&three, "e", 100);
    assert!(four.number > three.number);
    assert_eq!(left(&four, "ce", 150).number, four.number);
    // Over, and again, on a clock that was set back.
    let back = left(&four, "abcde", 200);
    assert_eq!((held(&back).as_str(), back.number), ("", four.number));
    assert!(left(&back, "", 0).number > four.number);
}

#[test]
fn what_is_accepted_goes_at_once_and_does_not_come_back() {
    let all = left(&knowing("abcd"), "", 0);
    let accepted = judged(&accepting(all.number), &all, &there("", ""), at(1));
    assert_eq!(held(&accepted), "");
    assert_eq!(judged(&accepting(all.number), &accepted, &there("", ""), at(2)), accepted);
    // Still accepted in Git, and another removal.
    let again = judged(&accepting(all.number), &accepted, &there("efg", ""), at(3));
    let again = judged(&accepting(all.number), &again, &there("", ""), at(4));
    assert_eq!(held(&again), "efg");
    assert_eq!(held(&judged(&accepting(all.number), &again, &there("", ""), at(5))), "efg");
}

#[test]
fn what_vanishes_while_another_removal_is_accepted_is_held_on_its_own() {
    let three = left(&knowing("abcde"), "de", 0);
    let after = judged(&accepting(three.number), &three, &there("", ""), at(1));
    assert_eq!(held(&after), "de");
    assert!(after.number > three.number);
}

#[test]
fn one_after_the_other_is_one_change() {
    let known = knowing("abcd");
    let one = left(&known, "bcd", 0);
    let two = left(&one, "cd", 3);
    assert_eq!((held(&one).as_str(), held(&two).as_str()), ("", ""));
    let three = left(&two, "d", 6);
    assert_eq!(held(&three), "abc");
    assert_eq!(three.held_removal(guard().hold_for).expect("held").until, at(HOLD), "as of the first");
    assert_eq!(held(&left(&three, "", 9)), "abcd");
}

#[test]
fn what_goes_slowly_goes() {
    let one = left(&knowing("abcd"), "bcd", 0);
    let two = left(&one, "cd", 11);
    assert_eq!(held(&left(&two, "d", 22)), "");
}

#[test]
fn what_went_a_while_ago_is_forgotten_only_when_something_else_is_written() {
    let one = left(&knowing("abcd"), "bcd", 0);
    assert_eq!(left(&one, "bcd", 1000), one);
    assert!(left(&one, "bcde", 1000).missing.is_empty());
}

#[test]
fn an_edit_of_what_is_selected_holds_nothing_and_releases_what_is_held() {
    let edited = |before: &Remembered| {
        let endpoints = there("", "");
        guard().judge(
            Some(before),
            Present {
                owner: "uid",
                selection: "few",
                endpoints: &endpoints,
                unknown: &Unknown::default(),
                pods: &StrictPods::new(),
            },
            at(1),
        )
    };
    let known = knowing("abcd");
    assert_eq!(held(&edited(&known)), "");
    let all = left(&known, "", 0);
    assert_eq!((held(&edited(&all)).as_str(), edited(&all).number), ("", all.number));
}

#[test]
fn without_a_time_nothing_is_held() {
    let off = RemovalGuard { hold_for: SignedDuration::ZERO, ..guard() };
    let all = left(&knowing("abcd"), "", 0);
    assert_eq!(held(&judged(&off, &knowing("abcd"), &there("", ""), at(0))), "");
    assert_eq!(held(&judged(&off, &all, &there("", ""), at(1))), "");
}

#[test]
fn a_time_in_the_future_counts_as_now() {
    let mut all = left(&knowing("abcd"), "", 0);
    all.missing.values_mut().for_each(|missing| missing.since = at(1_000_000));
    let until = |state: &Remembered| state.held_removal(guard().hold_for).expect("held").until;
    assert_eq!(until(&left(&all, "", 5)), at(5 + HOLD));
}

#[test]
fn what_the_spec_says_wrongly_is_told_with_the_remedy() {
    let read = |annotation: &str, spec: &str| {
        let query: ThanosQuery = serde_saphyr::from_str(&format!(
            "{{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, metadata: {{name: a, annotations: \
             {{{annotation}}}}}, spec: {{{spec}}}}}"
        ))
        .expect("a ThanosQuery");
        let mut problems = vec![];
        (RemovalGuard::of(&query, &mut problems), problems.join("; "))
    };
    assert_eq!(read("", ""), (guard(), String::new()));
    let (all, problems) = read(
        "operator.thanos.io/accept-removal: ' 17 '",
        "serviceDiscovery: {removalGuard: {maxRemovedPercent: 20, holdFor: 1h}}",
    );
    let hold_for = SignedDuration::from_hours(1);
    assert_eq!(all, RemovalGuard { max_removed_percent: 20, hold_for, accepted: Some(17) });
    assert_eq!(problems, "");
    let (wrong, problems) = read(
        "operator.thanos.io/accept-removal: 'true'",
        "serviceDiscovery: {removalGuard: {holdFor: soon}}",
    );
    assert_eq!(wrong, guard());
    for word in ["removalGuard.holdFor", "5m", "accept-removal", "status.heldRemoval.generation"] {
        assert!(problems.contains(word), "{word}: {problems}");
    }
}

/// What happens in one second or more.
#[derive(Clone, Debug)]
struct Step {
    seconds: i64,
    ordinary: BTreeSet<char>,
    strict: BTreeSet<char>,
    accepts: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let some = || proptest::collection::btree_set(prop::sample::select(vec!['a', 'b', 'c', 'd', 'e']), 0..5);
    let one = (1..120_i64, some(), proptest::option::weighted(0.2, some()), prop::bool::weighted(0.1));
    let step = one.prop_map(|(seconds, ordinary, strict, accepts)| {
        let strict: BTreeSet<char> = strict.unwrap_or_default().difference(&ordinary).copied().collect();
        Step { seconds, ordinary, strict, accepts }
    });
    proptest::collection::vec(step, 1..30)
}

proptest! {
    #[test]
    fn whatever_happens_only_what_vanished_is_held_and_no_longer_than_said(steps in steps()) {
        let (mut state, mut now) = (knowing("abcde"), 0);
        let mut vanished: BTreeMap<ServiceName, i64> = BTreeMap::new();
        let mut numbers: BTreeSet<u64> = BTreeSet::new();
        for Step { seconds, ordinary, strict, accepts } in steps {
            now += seconds;
            let guard = if accepts { accepting(state.number) } else { guard() };
            let endpoints = there(&String::from_iter(ordinary), &String::from_iter(strict));
            let after = judged(&guard, &state, &endpoints, at(now));
            prop_assert_eq!(&judged(&guard, &after, &endpoints, at(now)), &after, "the same again");
            // What is there passes.
            prop_assert_eq!(&after.services, &endpoints.ordinary);
            vanished.retain(|name, _| !endpoints.services.contains(name));
            for (name, missing) in after.held() {
                prop_assert!(!endpoints.services.contains(name));
                let known = state.services.get(name);
                let known = known.or_else(|| state.missing.get(name).map(|own| &own.addresses));
                prop_assert_eq!(Some(&missing.addresses), known);
                let since = *vanished.entry(name.clone()).or_insert_with(|| missing.since.duration_since(at(0)).as_secs());
                prop_assert!(now < since + HOLD, "{name} since {since}, now {now}");
            }
            let is_held = |state: &Remembered, name| state.missing.get(name).is_some_and(|own: &Missing| own.held);
            let adds = after.held().any(|(name, _)| !is_held(&state, name));
            if adds {
                prop_assert!(numbers.insert(after.number), "{} was used before", after.number);
            } else {
                prop_assert_eq!(after.number, state.number);
            }
            if after.held().next().is_some() && accepts {
                prop_assert!(adds, "what was accepted went");
            }
            state = after;
        }
    }
}

#[test]
fn what_is_in_a_namespace_that_may_not_be_read_any_more_stays_for_as_long_as_that_is_so() {
    let unknown = Unknown::of_all();
    let gone = there("", "");
    let judged = |before: &Remembered, unknown: &Unknown, second: i64| {
        let present =
            Present { owner: "uid", selection: "all", endpoints: &gone, unknown, pods: &StrictPods::new() };
        guard().judge(Some(before), present, at(second))
    };
    let unseen = judged(&knowing("abcd"), &unknown, 0);
    assert_eq!(held(&unseen), "", "that is no removal");
    assert_eq!(unseen.kept(&gone.services).count(), 4);
    let later = judged(&unseen, &unknown, 9 * HOLD);
    assert_eq!(later.kept(&gone.services).count(), 4);
    // As soon as it can be seen that they are gone, that is a removal.
    assert_eq!(held(&judged(&later, &Unknown::default(), 10 * HOLD)), "abcd");
}
