//! What CI asks of the simulator at every change.

use std::collections::BTreeMap;
use troop_sim::checker::endings::Ending;
use troop_sim::doubt;
use troop_sim::faults::{Fault, Plan};
use troop_sim::scenario::Scenario;

fn seeds(range: std::ops::Range<u64>) -> BTreeMap<Ending, u64> {
    let mut endings = BTreeMap::new();
    for seed in range {
        match doubt::seed(seed, false) {
            Ok(summary) => summary.endings.into_iter().for_each(|(ending, count)| {
                *endings.entry(ending).or_insert(0) += count;
            }),
            Err(failure) => panic!("{}", failure.report(seed)),
        }
    }
    endings
}

/// As two tests, so that two processors share them.
#[test]
fn twenty_five_seeds_hold() {
    let endings = seeds(0..25);
    assert!(
        endings[&Ending::Done] > 500,
        "most requests are served: {endings:?}"
    );
    assert!(
        endings[&Ending::HungUp] > 10,
        "some clients hang up: {endings:?}"
    );
    assert!(
        endings[&Ending::Refused] > 10,
        "some cannot pay: {endings:?}"
    );
}

#[test]
fn twenty_five_more_seeds_hold() {
    seeds(25..50);
}

#[test]
fn the_same_seed_is_the_same_run_to_the_last_event() {
    let run = |seed| doubt::seed(seed, false).map(|summary| (summary.hash, summary.events));
    let hashes = [5, 17, 31].map(|seed| {
        let first = run(seed).expect("these seeds hold");
        assert_eq!(Ok(first), run(seed), "seed {seed}");
        first
    });
    assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2]);
}

#[test]
fn without_faults_everybody_who_can_pay_is_served() {
    let mut scenario = Scenario::draw(3);
    scenario.plan = Plan::default();
    scenario.members.fill(u64::from(u32::MAX));
    let summary =
        doubt::scenario(scenario, false).unwrap_or_else(|failure| panic!("{}", failure.report(3)));
    let served = [Ending::Done, Ending::HungUp];
    assert!(
        summary.endings.keys().all(|ending| served.contains(ending)),
        "{:?}",
        summary.endings
    );
}

#[test]
fn clients_that_vouch_and_do_not_sign_pay_when_their_holds_are_over() {
    let mut scenario = Scenario::draw(3);
    scenario.plan = Plan::only(Fault::Freeloading, 1.0);
    scenario.members.fill(u64::from(u32::MAX));
    // Longer than a session keeps a receipt that its outbox does not take.
    scenario.safety = 240_000_000;
    let summary =
        doubt::scenario(scenario, false).unwrap_or_else(|failure| panic!("{}", failure.report(3)));
    assert!(summary.vouched > 2, "{summary:?}");
}

/// One fault at its strongest, for each kind of fault: what a mixture might hide.
#[test]
fn each_fault_alone_and_at_its_strongest_is_survived() {
    for (seed, fault) in (1_000..).zip(Fault::ALL) {
        let mut scenario = Scenario::draw(seed);
        scenario.plan = Plan::only(fault, 1.0);
        scenario.requests = scenario.requests.min(30);
        if let Err(failure) = doubt::scenario(scenario, false) {
            panic!("{}", failure.report(seed));
        }
    }
}

/// Slow: only where `TROOP_LONG` is set, as in the nightly run.
#[test]
fn a_thousand_seeds_hold_in_a_long_run() {
    if std::env::var_os("TROOP_LONG").is_some() {
        seeds(1_000..2_000);
    }
}
