//! Five machines that have nothing to do but know of each other: who dies, sleeps, stops or comes back, and when the others
//! see it, by `troop nodes`.

#[path = "support/node.rs"]
#[allow(dead_code)] // Each test program uses a part of it.
mod support;

use serde_json::Value;
use std::time::{Duration, Instant};
use support::{Folder, Node, until};

struct Machine {
    folder: Folder,
    args: Vec<String>,
    name: String,
    quic: String,
    node: Option<Node>,
}

impl Machine {
    fn start(name: &str, args: &[&str]) -> Machine {
        let port = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let mut machine = Machine {
            folder: Folder::empty(),
            args: args.iter().map(ToString::to_string).collect(),
            name: name.to_owned(),
            quic: port.expect("a free port").to_string(),
            node: None,
        };
        machine.run();
        machine
    }

    fn run(&mut self) {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let environment = [("TROOP_QUIC", self.quic.as_str())];
        self.node = Some(Node::start_as(&self.folder, &args, &environment));
    }

    fn node(&self) -> &Node {
        self.node.as_ref().expect("it runs")
    }

    /// What this machine says of the node called `name`.
    fn sees(&self, name: &str) -> Option<Value> {
        let listed = self.folder.json(&["nodes"]);
        assert_eq!(listed["schema"], "troop.nodes/v1");
        let nodes = listed["nodes"].as_array().expect("nodes");
        nodes.iter().find(|node| node["name"] == name).cloned()
    }

    fn sees_as(&self, name: &str, state: &str) -> bool {
        self.sees(name).is_some_and(|node| node["state"] == state)
    }
}

/// Waits until every machine but the one that is called so sees that one in this state; how long it took for the last.
fn all_see(machines: &[&Machine], name: &str, state: &str) -> Duration {
    #[allow(clippy::disallowed_methods)] // Real processes are measured in real time.
    let start = Instant::now();
    std::thread::scope(|scope| {
        for machine in machines {
            scope.spawn(|| {
                let what = format!("{} sees {name} {state}", machine.name);
                until(&what, || machine.sees_as(name, state).then_some(()));
            });
        }
    });
    start.elapsed()
}

#[test]
fn five_idle_machines_know_who_is_there() {
    let mut coordinator = Machine::start("office", &["--role", "coordinator"]);
    let own = coordinator.folder.json(&["nodes"]);
    coordinator.name = own["nodes"][0]["name"].as_str().expect("a name").to_owned();
    let mut guests = ["ana", "bo", "cy", "di"].map(|name| {
        let invite = ["invite", "--role", "client", "--name", name];
        let made = coordinator.folder.json(&invite);
        let token = made["token"].as_str().expect("a token");
        Machine::start(name, &["--join", token])
    });
    let names = |guests: &[Machine; 4], coordinator: &Machine| -> Vec<String> {
        let others = guests.iter().map(|machine| machine.name.clone());
        others.chain([coordinator.name.clone()]).collect()
    };
    let all = names(&guests, &coordinator);
    let machines: Vec<&Machine> = guests.iter().chain([&coordinator]).collect();
    for name in &all {
        all_see(&machines, name, "alive");
    }
    for machine in &machines {
        let own = machine.sees(&machine.name).expect("itself");
        assert_eq!(own["path"], "self");
        let listed = machine.folder.json(&["nodes"]);
        assert_eq!(
            listed["nodes"].as_array().map(Vec::len),
            Some(5),
            "{listed}"
        );
    }
    // How far away they are.
    let seen = coordinator.sees("bo").expect("it is there");
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
    let status = guests[0].folder.json(&["status"]);
    assert_eq!(status["coordinator"]["path"], "lan", "{status}");
    let pinged = guests[0].folder.json(&["ping", "bo", "--count", "2"]);
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
    let stranger = guests[0].folder.troop(&["ping", "eve"]);
    assert_eq!(stranger.status.code(), Some(3));

    // One is killed, and says nothing any more.
    guests[3].node.take().expect("it runs").kill();
    let left: Vec<&Machine> = guests[..3].iter().chain([&coordinator]).collect();
    let took = all_see(&left, "di", "dead");
    println!("an idle machine's death was seen by all others after {took:.2?}; 6 s are promised");
    assert!(took < LOADED, "{took:.2?}");
    let silent = guests[0].folder.troop(&["ping", "di", "--count", "1"]);
    assert_eq!(silent.status.code(), Some(4));

    // One is frozen for ten seconds. It may be taken for dead meanwhile, but not for good; nor does it take others for dead.
    guests[2].node().signal("-STOP");
    std::thread::sleep(Duration::from_secs(10));
    guests[2].node().signal("-CONT");
    let took = all_see(&left, "cy", "alive");
    println!("a machine that was frozen for 10 s was alive for all others after {took:.2?}");
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(500));
        for name in &all[..3] {
            for machine in &left {
                let seen = machine.sees(name).expect("it is known");
                assert_ne!(seen["state"], "dead", "{} sees {seen}", machine.name);
            }
        }
    }

    // Who died comes back, and who stops in good order has left.
    guests[3].run();
    let machines: Vec<&Machine> = guests.iter().chain([&coordinator]).collect();
    let took = all_see(&machines, "di", "alive");
    println!("a machine that was started again was alive for all others after {took:.2?}");
    let mut stopped = guests[1].node.take().expect("it runs");
    stopped.signal("-TERM");
    let _ = stopped.process.wait();
    let left = [&guests[0], &guests[2], &guests[3], &coordinator];
    let took = all_see(&left, "bo", "left");
    println!("a machine that stopped had left for all others after {took:.2?}");
}

/// What a machine that has other things to do may take; an idle one keeps to 6 s.
const LOADED: Duration = Duration::from_secs(12);
