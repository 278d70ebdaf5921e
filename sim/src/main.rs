//! `troop-sim SEED` tells one run on standard output; `troop-sim --many N [FIRST]` runs many and reports those
//! that fail; `troop-sim --find N [FIRST]` stops at the first one that fails, and says no more than what it
//! breaks. Ends with 1 if a run failed or none was to be found, with 2 if it was called wrongly.

use std::process::ExitCode;
use std::time::Duration;
use troop_sim::doubt;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (mode, numbers) = match arguments.split_first() {
        Some((mode, rest)) if mode.starts_with("--") => (mode.as_str(), rest),
        _ => ("", &arguments[..]),
    };
    let numbers: Vec<Option<u64>> = numbers.iter().map(|number| number.parse().ok()).collect();
    match (mode, numbers.as_slice()) {
        ("", [Some(seed)]) => one(*seed),
        ("--many", [Some(count)]) => several(0, *count),
        ("--many", [Some(count), Some(first)]) => several(*first, *count),
        ("--find", [Some(count)]) => find(0, *count),
        ("--find", [Some(count), Some(first)]) => find(*first, *count),
        _ => {
            eprintln!(
                "usage: troop-sim SEED\n       troop-sim --many COUNT [FIRST]\n       \
                 troop-sim --find COUNT [FIRST]"
            );
            ExitCode::from(2)
        }
    }
}

fn one(seed: u64) -> ExitCode {
    match doubt::seed(seed, true) {
        Ok(summary) => {
            println!(
                "seed {seed} holds: trace {:016x}, {} events, {} s simulated, {} strikes, \
                 {} attempts, {} entries, {:?}",
                summary.hash,
                summary.events,
                summary.simulated / 1_000_000,
                summary.strikes,
                summary.attempts,
                summary.entries,
                summary.endings
            );
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{}", failure.scenario);
            println!(
                "seed {seed} breaks \"{}\": {}",
                failure.violation.invariant, failure.violation.detail
            );
            ExitCode::FAILURE
        }
    }
}

fn several(first: u64, count: u64) -> ExitCode {
    // What a failing core says is in its report; the default hook would say it a second time.
    std::panic::set_hook(Box::new(|_| {}));
    let begun = stopwatch();
    let (mut failed, mut simulated, mut events, mut strikes) = (Vec::new(), 0, 0, 0);
    let mut endings = std::collections::BTreeMap::new();
    for seed in first..first.saturating_add(count) {
        match doubt::seed(seed, false) {
            Ok(summary) => {
                simulated += summary.simulated;
                events += summary.events;
                strikes += summary.strikes;
                for (ending, number) in summary.endings {
                    *endings.entry(ending).or_insert(0) += number;
                }
            }
            Err(failure) => {
                println!("{}\n", failure.report(seed));
                failed.push((seed, failure.violation.invariant));
            }
        }
    }
    let spent = stopwatch().saturating_sub(begun);
    let simulated = simulated / 1_000_000;
    println!(
        "{count} seeds, {} failed; {simulated} s simulated, {events} events, {strikes} strikes, \
         {endings:?}",
        failed.len()
    );
    println!(
        "{:.1} s of real time: {:.0} simulated seconds for each",
        spent.as_secs_f64(),
        simulated as f64 / spent.as_secs_f64().max(0.001)
    );
    for (seed, invariant) in &failed {
        println!("failed: seed {seed}: {invariant}");
    }
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn find(first: u64, count: u64) -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let seeds = first..first.saturating_add(count);
    let found = seeds.clone().find_map(|seed| {
        doubt::seed(seed, false)
            .err()
            .map(|failure| (seed, failure))
    });
    match found {
        Some((seed, failure)) => {
            println!("seed {seed} breaks \"{}\"", failure.violation.invariant);
            ExitCode::SUCCESS
        }
        None => {
            println!("no seed of {seeds:?} breaks anything");
            ExitCode::FAILURE
        }
    }
}

/// What a speed is measured by, and no input of any run.
fn stopwatch() -> Duration {
    #[allow(
        clippy::disallowed_methods,
        reason = "a stopwatch around whole runs; no run sees it"
    )]
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
}
