//! Five machines that have nothing to do but know of each other: who dies, sleeps, stops or comes back, and when the others
//! see it, by `troop nodes`.
//!
//! Some losses and two sleeps; ten minutes of them where `TROOP_LONG=1`.

#[path = "support/network.rs"]
#[allow(dead_code)] // Each test program uses a part of it.
mod network;
#[path = "support/node.rs"]
#[allow(dead_code)] // The same.
mod support;
#[path = "support/troop.rs"]
#[allow(dead_code)] // The same.
mod troop;
#[path = "gossip/watch.rs"]
mod watch;

use network::{Network, on_a_network};
use serde_json::Value;
use std::time::Duration;
use support::{Folder, until};
use troop::{Machine, now, rounds};
use watch::Watch;

/// A machine, and what the troop calls it.
struct Member {
    name: String,
    machine: Machine,
}

impl Member {
    fn start(network: &Network, number: u8, name: &str, args: &[&str]) -> Member {
        let host = network.host(number);
        let folder = Folder::empty_entered_by(host.words());
        Member {
            name: name.to_owned(),
            machine: Machine::start_in(folder, host, args),
        }
    }

    /// What this machine says of all nodes.
    fn nodes(&self) -> Vec<Value> {
        let listed = self.machine.folder.get("/v1/troop/nodes");
        let mut listed = listed.expect("the node answers its owner");
        match listed["nodes"].take() {
            Value::Array(nodes) => nodes,
            other => panic!("no nodes: {other}"),
        }
    }

    /// What this machine says of the node called `name`.
    fn sees(&self, name: &str) -> Option<Value> {
        self.nodes().into_iter().find(|node| node["name"] == name)
    }

    fn sees_as(&self, name: &str, state: &str) -> bool {
        self.sees(name).is_some_and(|node| node["state"] == state)
    }
}

/// A coordinator and four guests, once each knows all.
fn five(network: &Network) -> Vec<Member> {
    let mut coordinator = Member::start(network, 2, "", &["--role", "coordinator"]);
    let own = coordinator.machine.folder.json(&["nodes"]);
    assert_eq!(own["schema"], "troop.nodes/v1");
    coordinator.name = own["nodes"][0]["name"].as_str().expect("a name").to_owned();
    let mut members = vec![coordinator];
    for (number, name) in (3..).zip(["ana", "bo", "cy", "di"]) {
        let invite = ["invite", "--role", "client", "--name", name];
        let made = members[0].machine.folder.json(&invite);
        let token = made["token"].as_str().expect("a token");
        members.push(Member::start(network, number, name, &["--join", token]));
    }
    let names: Vec<String> = members.iter().map(|it| it.name.clone()).collect();
    let all: Vec<&Member> = members.iter().collect();
    for name in &names {
        all_see(&all, name, "alive");
    }
    members
}

/// Waits until all of these see the node that is called so in this state; how long it took for the last.
fn all_see(members: &[&Member], name: &str, state: &str) -> Duration {
    let start = now();
    std::thread::scope(|scope| {
        for member in members {
            scope.spawn(|| {
                let what = format!("{} sees {name} {state}", member.name);
                until(&what, || member.sees_as(name, state).then_some(()));
            });
        }
    });
    start.elapsed()
}

/// Kills one, and waits until all others hold it dead.
fn crash(members: &mut [Member], which: usize) {
    members[which].machine.kill();
    let name = members[which].name.clone();
    let left: Vec<&Member> = members.iter().filter(|it| it.name != name).collect();
    let took = all_see(&left, &name, "dead");
    println!("an idle machine's death was seen by all others after {took:.2?} (goal: 6 s)");
    assert!(took < SEEN_DEAD, "{took:.2?}");
}

#[test]
fn five_idle_machines_know_who_is_there() {
    on_a_network("five_idle_machines_know_who_is_there", who_is_there);
}

fn who_is_there(network: Network) {
    let mut members = five(&network);
    for member in &members {
        let own = member.sees(&member.name).expect("itself");
        assert_eq!(own["path"], "self");
        assert_eq!(member.nodes().len(), 5);
    }
    // How far away they are.
    let seen = members[0].sees("bo").expect("it is there");
    assert_eq!(
        (&seen["path"], &seen["role"]),
        (&"lan".into(), &"client".into())
    );
    assert!(
        seen["rtt_micros"]
            .as_u64()
            .is_some_and(|rtt| rtt < 1_000_000),
        "{seen}"
    );
    let ana = &members[1].machine.folder;
    let status = ana.json(&["status"]);
    assert_eq!(status["coordinator"]["path"], "lan", "{status}");
    let pinged = ana.json(&["ping", "bo", "--count", "2"]);
    assert_eq!(
        (&pinged["received"], &pinged["loss_percent"]),
        (&2.into(), &0.into())
    );
    assert!(
        pinged["rtt_micros_median"]
            .as_u64()
            .is_some_and(|rtt| rtt > 0),
        "{pinged}"
    );
    let stranger = ana.troop(&["ping", "eve"]);
    assert_eq!(stranger.status.code(), Some(3));

    // One is killed, and says nothing any more.
    crash(&mut members, 4);
    let silent = members[1]
        .machine
        .folder
        .troop(&["ping", "di", "--count", "1"]);
    assert_eq!(silent.status.code(), Some(4));

    // Who died comes back, and who stops in good order has left.
    members[4].machine.run();
    let all: Vec<&Member> = members.iter().collect();
    let took = all_see(&all, "di", "alive");
    println!("a machine that was started again was alive for all others after {took:.2?}");
    members[2].machine.stop();
    let left = [&members[0], &members[1], &members[3], &members[4]];
    let took = all_see(&left, "bo", "left");
    println!("a machine that stopped had left for all others after {took:.2?}");
}

/// One after the other is frozen for ten seconds, while of a hundred packets five are lost. Who sleeps may be taken for
/// dead meanwhile; nobody is for good, and who woke up does not take the others for dead.
#[test]
fn nobody_is_held_dead_for_good_where_packets_are_lost_and_machines_sleep() {
    let name = "nobody_is_held_dead_for_good_where_packets_are_lost_and_machines_sleep";
    on_a_network(name, loss_and_sleep);
}

fn loss_and_sleep(network: Network) {
    let mut members = five(&network);
    if network.is_separate() {
        for member in &members {
            member.machine.host.lose(5);
        }
    }
    let mut watch = Watch::of(&members);
    for round in 0..rounds(2, 40) {
        watch.sleeps((2 * round) % members.len());
        watch.look_on(ASLEEP);
        watch.wakes();
        watch.look_on(AWAKE);
    }
    println!("{watch}");
    // The last moment may have been one of a suspicion.
    until("all see all alive", || watch.look().then_some(()));
    crash(&mut members, 3);
}

/// What is promised of five that are idle.
const SEEN_DEAD: Duration = Duration::from_secs(6);
/// How long a machine is frozen, and all are left in peace before the next one is.
const ASLEEP: Duration = Duration::from_secs(10);
const AWAKE: Duration = Duration::from_secs(5);
