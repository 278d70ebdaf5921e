//! The owner first: a machine that is wanted hands over what it runs, and gives its memory back. Eight streams run
//! on two workers while one of them is paused, drained, or unplugged; their readers notice nothing.
//!
//! A few rounds of each kind; more where `TROOP_LONG=1`.

#[path = "support/network.rs"]
#[allow(dead_code)] // Each test program uses a part of it.
mod network;
#[path = "support/power.rs"]
mod power;
#[path = "support/node.rs"]
#[allow(dead_code)] // The same.
mod support;
#[path = "support/troop.rs"]
#[allow(dead_code)] // The same.
mod troop;

use network::Network;
use power::power;
use serde_json::json;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use support::until;
use troop::{Machine, Read, Troop, now, read, rounds, story};

/// Streams at once.
const STREAMS: u32 = 8;
/// Pieces that each of them has had when a worker is struck.
const PIECES: usize = 4;

/// What its owner does to a worker.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Strike {
    Pause,
    Drain,
    Unplug,
}

/// Reads eight streams at once; when all of them run, `strike` is called with a worker that serves one.
fn eight(troop: &Troop, strike: impl FnOnce(&str)) -> Vec<Read> {
    let (runs, running) = channel();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..STREAMS)
            .map(|number| {
                let runs = runs.clone();
                scope.spawn(move || {
                    let stream = troop.ask(&story(96, json!({ "seed": number })));
                    read(stream, PIECES, |worker| {
                        runs.send(worker.to_owned()).expect("somebody counts");
                    })
                })
            })
            .collect();
        let workers: Vec<String> = (0..STREAMS)
            .map(|_| running.recv().expect("every stream runs"))
            .collect();
        strike(&workers[0]);
        let read = readers.into_iter();
        read.map(|reader| reader.join().expect("a reader"))
            .collect()
    })
}

/// Megabytes that a process has in memory; none when it is gone.
fn resident(pid: u64) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    (pages > 0).then_some(pages * 4096 / 1_000_000)
}

/// How long until the engine with `pid` has given all of its memory back.
fn released(pid: u64, since: Instant) -> Duration {
    until("the memory is given back", || {
        resident(pid).is_none().then_some(())
    });
    since.elapsed()
}

fn engine(machine: &Machine) -> u64 {
    let ps = machine.folder.json(&["ps"]);
    ps["engines"][0]["pid"].as_u64().expect("an engine runs")
}

fn state(machine: &Machine) -> (String, Option<String>) {
    let status = machine.folder.json(&["status"]);
    let word = |name: &str| status["worker"][name].as_str().map(str::to_owned);
    (word("state").expect("it is a worker"), word("reason"))
}

fn survives(troop: &Troop, strike: Strike, times: usize) {
    let calm = eight(troop, |_| {});
    for round in 0..times {
        let before = troop.spent();
        let mut struck = None;
        let found = eight(troop, |worker| {
            let machine = &troop.workers[worker];
            let (pid, start) = (engine(machine), now());
            assert!(resident(pid).is_some_and(|megabytes| megabytes > 50));
            let reason = match strike {
                Strike::Pause => {
                    let told = machine.folder.post("/v1/troop/pause", "{}");
                    assert_eq!(told.expect("it listens"), 202);
                    "paused by its owner"
                }
                Strike::Drain => {
                    let empty = machine.folder.json(&["drain"]);
                    assert_eq!(empty["running"], 0, "{empty}");
                    "paused by its owner"
                }
                Strike::Unplug => {
                    power(&machine.folder.0, "Discharging");
                    until("it rests", || (state(machine).0 != "serving").then_some(()));
                    "on battery"
                }
            };
            let took = released(pid, start);
            if strike == Strike::Pause {
                assert!(took < Duration::from_secs(2), "memory after {took:?}");
            }
            assert_eq!(
                state(machine),
                ("resting".to_owned(), Some(reason.to_owned()))
            );
            println!("{strike:?}, round {round}: memory given back after {took:.2?}");
            struck = Some(worker.to_owned());
        });
        for (number, (found, calm)) in found.iter().zip(&calm).enumerate() {
            assert_eq!(
                found.choices, calm.choices,
                "{strike:?}, round {round}, stream {number}"
            );
        }
        let struck = struck.expect("somebody was struck");
        let machine = &troop.workers[&struck];
        match strike {
            Strike::Pause | Strike::Drain => drop(machine.folder.json(&["resume"])),
            Strike::Unplug => power(&machine.folder.0, "Charging"),
        }
        troop.whole();
        let gap = found.iter().map(|read| read.gap).max().unwrap_or_default();
        println!(
            "{strike:?}, round {round}: {STREAMS} of {STREAMS} the same bytes; longest gap {gap:.2?}"
        );
        until("they are paid", || (troop.spent() > before).then_some(()));
    }
}

#[test]
fn eight_streams_go_on_elsewhere_when_their_worker_is_paused_drained_or_unplugged() {
    let troop = Troop::start(&Network::loopback());
    survives(&troop, Strike::Pause, rounds(1, 20));
    survives(&troop, Strike::Drain, rounds(1, 20));
    survives(&troop, Strike::Unplug, rounds(1, 10));
    let verified = troop.coordinator.folder.json(&["ledger", "verify"]);
    assert_eq!(verified["ok"], true, "{verified}");

    // What is said by hand holds against what the machine says by itself.
    let worker = troop.workers.values().next().expect("two of them");
    let folder = &worker.folder;
    power(&folder.0, "Discharging");
    until("it rests", || (state(worker).0 == "resting").then_some(()));
    folder.json(&["resume"]);
    assert_eq!(state(worker), ("serving".to_owned(), None));
    // As long as the monitor needs to say it again.
    std::thread::sleep(Duration::from_secs(12));
    assert_eq!(state(worker), ("serving".to_owned(), None));
    power(&folder.0, "Charging");
    folder.json(&["pause"]);
    std::thread::sleep(Duration::from_secs(12));
    let paused = ("resting".to_owned(), Some("paused by its owner".to_owned()));
    assert_eq!(state(worker), paused);
    folder.json(&["resume"]);
}
