//! Several machines, one service: a coordinator, two workers and a client, each a process with a folder of its own.
//! Whatever happens to a worker, the client reads the bytes of the run that nothing happened to, and pays once.
//!
//! A few rounds of each kind; as many as are promised where `TROOP_LONG=1`.

#[path = "support/network.rs"]
mod network;
#[path = "support/strikes.rs"]
mod strikes;
#[path = "support/node.rs"]
#[allow(dead_code)] // Each test program uses a part of it.
mod support;
#[path = "support/troop.rs"]
#[allow(dead_code)] // The same.
mod troop;

use network::{Network, Socket, on_a_network, relay};
use serde_json::{Value, json};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;
use strikes::{Strike, strike_at, survives};
use support::{Folder, until};
use troop::{Machine, Troop, invite, now, read, rounds, story};

/// Exactly as many tokens as in the long rounds are promised; fewer in the short ones.
fn plain() -> Value {
    let tokens = rounds(100, 256) as u32;
    story(tokens, json!({ "min_tokens": tokens }))
}

#[test]
fn a_stream_survives_a_worker_that_is_killed() {
    on_a_network("a_stream_survives_a_worker_that_is_killed", |network| {
        let mut troop = Troop::start(&network);
        survives(&mut troop, &plain(), Strike::Kill, rounds(2, 200));
    });
}

#[test]
fn a_stream_survives_a_worker_that_is_frozen_or_wanted_by_its_owner() {
    let name = "a_stream_survives_a_worker_that_is_frozen_or_wanted_by_its_owner";
    on_a_network(name, |network| {
        let mut troop = Troop::start(&network);
        survives(&mut troop, &plain(), Strike::Freeze, rounds(1, 50));
        survives(&mut troop, &plain(), Strike::Pause, rounds(1, 20));
    });
}

#[test]
fn a_stream_survives_a_partition_between_its_worker_and_its_client() {
    let name = "a_stream_survives_a_partition_between_its_worker_and_its_client";
    on_a_network(name, |network| {
        if !network.is_separate() {
            return;
        }
        let mut troop = Troop::start(&network);
        survives(&mut troop, &plain(), Strike::Partition, rounds(1, 50));
        // And where only some of what they say is lost, nothing happens at all.
        let calm = read(troop.ask(&plain()), 0, |_| {});
        for worker in troop.workers.values() {
            worker.host.lose(5);
        }
        troop.client.host.lose(5);
        for _ in 0..rounds(2, 20) {
            let found = read(troop.ask(&plain()), 0, |_| {});
            assert_eq!(found.choices, calm.choices);
        }
    });
}

#[test]
fn a_schema_choices_and_stop_strings_survive_as_plain_text_does() {
    let name = "a_schema_choices_and_stop_strings_survive_as_plain_text_does";
    on_a_network(name, |network| {
        let mut troop = Troop::start(&network);
        let schema = json!({
            "type": "object",
            "properties": {
                "title": { "type": "string", "minLength": 30 },
                "words": { "type": "array", "items": { "type": "string" }, "minItems": 12 },
            },
            "required": ["title", "words"],
            "additionalProperties": false,
        });
        let format = json!({
            "response_format": {
                "type": "json_schema",
                "json_schema": { "name": "story", "schema": schema },
            },
        });
        let schema = story(200, format);
        survives(&mut troop, &schema, Strike::Kill, rounds(1, 50));
        let three = story(60, json!({ "n": 3 }));
        survives(&mut troop, &three, Strike::Kill, rounds(1, 20));
        let stops = json!({ "stop": ["\u{1}", "zebra crossing"], "logprobs": true });
        let stops = story(160, stops);
        survives(&mut troop, &stops, Strike::Kill, rounds(1, 20));
    });
}

#[test]
fn a_stream_outlives_its_coordinator_and_is_paid_on_its_return() {
    let name = "a_stream_outlives_its_coordinator_and_is_paid_on_its_return";
    on_a_network(name, |network| {
        let mut troop = Troop::start(&network);
        let before = troop.spent();
        let calm = read(troop.ask(&plain()), 0, |_| {});
        let price = troop.paid_since(before);
        for round in 0..rounds(1, 20) {
            let before = troop.spent();
            let stream = troop.ask(&plain());
            let found = read(stream, 3 + round, |_| {
                troop.coordinator.kill();
            });
            assert_eq!(found.choices, calm.choices);
            assert!(
                found.gap < Duration::from_secs(3),
                "nobody waits for a coordinator: {:?}",
                found.gap
            );
            troop.coordinator.run();
            troop.whole();
            assert_eq!(troop.paid_since(before), price, "one bill");
        }
        let verified = troop.coordinator.folder.json(&["ledger", "verify"]);
        assert_eq!(verified["ok"], true, "{verified}");
        assert_eq!(verified["faults"], json!([]));
    });
}

#[test]
fn a_stream_outlives_its_worker_while_its_coordinator_is_dead() {
    let name = "a_stream_outlives_its_worker_while_its_coordinator_is_dead";
    on_a_network(name, |network| {
        let mut troop = Troop::start(&network);
        let before = troop.spent();
        let calm = read(troop.ask(&plain()), 0, |_| {});
        let price = troop.paid_since(before);
        let mut gaps = Vec::new();
        for round in 0..rounds(2, 50) {
            let before = troop.spent();
            let at = 1 + (round * 89 + 37) % (calm.pieces - 1);
            let mut struck = None;
            let stream = troop.ask(&plain());
            let found = read(stream, at, |worker| {
                troop.coordinator.kill();
                strike_at(&mut troop, worker, Strike::Kill);
                struck = Some(worker.to_owned());
            });
            assert_eq!(found.choices, calm.choices, "round {round}");
            gaps.push(found.gap);
            troop.coordinator.run();
            let struck = struck.expect("the stream was long enough");
            let machine = troop.workers.get_mut(&struck).expect("a worker");
            machine.run();
            troop.whole();
            assert_eq!(troop.paid_since(before), price, "one bill");
        }
        let verified = troop.coordinator.folder.json(&["ledger", "verify"]);
        assert_eq!(verified["ok"], true, "{verified}");
        gaps.sort();
        println!("with nobody to ask: gaps {gaps:.2?}");
    });
}

/// Whoever is put out is so at the workers too, and what it has begun there ends.
#[test]
fn a_stream_of_a_member_who_is_put_out_ends_at_its_worker() {
    let name = "a_stream_of_a_member_who_is_put_out_ends_at_its_worker";
    on_a_network(name, |network| {
        let troop = Troop::start(&network);
        let id = troop.client.id();
        let mut stream = troop.ask(&story(1_500, json!({ "min_tokens": 1_500 })));
        for _ in 0..3 {
            stream.event().expect("the stream goes on");
        }
        let begun = now();
        troop.coordinator.folder.json(&["member", "remove", &id]);
        let running = || {
            let workers = troop.workers.values();
            let engines = workers.map(|worker| worker.folder.json(&["ps"])["engines"][0].clone());
            engines
                .filter(|engine| engine["pages_free"] != engine["pages"])
                .count()
        };
        until("nothing runs for it any more", || {
            (running() == 0).then_some(())
        });
        let took = now() - begun;
        println!("put out and cut off within {took:.2?} (goal: 10 s)");
        assert!(took < Duration::from_secs(10), "{took:?}");
    });
}

/// A worker is not held lost because it is busy: each request is granted one place, and gets along with it.
#[test]
fn nobody_moves_where_nothing_happens() {
    on_a_network("nobody_moves_where_nothing_happens", |network| {
        let troop = Troop::start(&network);
        let granted = |troop: &Troop| {
            let status = troop.coordinator.folder.json(&["status"]);
            status["queue"]["granted"].as_u64().expect("a number")
        };
        let (lanes, each) = (8, rounds(5, 125));
        let short = story(16, json!({}));
        let ask = |times: usize| {
            std::thread::scope(|scope| {
                for _ in 0..lanes {
                    scope.spawn(|| {
                        for _ in 0..times {
                            read(troop.ask(&short), 0, |_| {});
                        }
                    });
                }
            });
        };
        // A door that has just opened may ask for patience, which is another grant. Then they are open.
        ask(1);
        let before = granted(&troop);
        ask(each);
        let requests = (lanes * each) as u64;
        assert_eq!(granted(&troop) - before, requests);
        println!("{requests} undisturbed requests, no failover");
    });
}

/// Whoever hangs up at one machine ends the work at another.
#[test]
fn a_hang_up_ends_the_work_at_the_worker_within_a_step() {
    let name = "a_hang_up_ends_the_work_at_the_worker_within_a_step";
    on_a_network(name, |network| {
        let troop = Troop::start(&network);
        hangs_up(&troop, rounds(10, 100));
    });
}

fn hangs_up(troop: &Troop, times: usize) {
    for round in 0..times {
        let mut stream = troop.ask(&plain());
        for _ in 0..=round % 30 {
            stream.event().expect("the stream goes on");
        }
    }
    let engines = || {
        let workers = troop.workers.values();
        workers.map(|worker| worker.folder.json(&["ps"])["engines"][0].clone())
    };
    let sum = |field: &str| -> u64 {
        let counts = engines().map(|engine| engine[field].as_u64().expect("a count"));
        counts.sum()
    };
    until("all have heard of it", || {
        (sum("cancelled") == times as u64).then_some(())
    });
    for engine in engines() {
        let late = engine["steps_after_cancel_max"].as_u64();
        assert!(late <= Some(1), "{engine}");
        assert_eq!(engine["pages_free"], engine["pages"]);
    }
}

/// A client in another town reads the same bytes, and waits a little longer for them.
#[test]
fn from_afar_a_stream_survives_its_worker_and_a_hang_up_is_heard() {
    let name = "from_afar_a_stream_survives_its_worker_and_a_hang_up_is_heard";
    on_a_network(name, |network| {
        if !network.is_separate() {
            return;
        }
        let here = network.here();
        here.far_from(&[2, 3, 4]);
        let mut troop = Troop::start_with(&network, here);
        let ways = until("the client knows how far away all are", || {
            let listed = troop.client.folder.json(&["nodes"]);
            let nodes = listed["nodes"].as_array().expect("nodes");
            let ways = nodes.iter().filter_map(|node| node["rtt_micros"].as_u64());
            let ways: Vec<u64> = ways.collect();
            (ways.len() == 3).then_some(ways)
        });
        let near = 2 * relay::DELAY_MICROS.start;
        assert!(ways.iter().all(|way| *way >= near), "{ways:?}");
        println!("there and back takes {ways:?} us");
        survives(&mut troop, &plain(), Strike::Kill, rounds(1, 50));
        hangs_up(&troop, rounds(3, 50));
    });
}

/// A machine is found by others at one port, and joined to a troop by one command.
#[test]
fn a_worker_listens_at_one_port_and_serves_soon_after_it_joins() {
    let name = "a_worker_listens_at_one_port_and_serves_soon_after_it_joins";
    on_a_network(name, |network| {
        let coordinator = Machine::start(network.host(2), &["--role", "coordinator"]);
        let token = invite(&coordinator, "client");
        let client = Machine::start(network.here(), &["--join", &token]);
        let token = invite(&coordinator, "worker");
        let begun = now();
        let worker = Machine::start(network.host(3), &["--join", &token]);
        client.node().wait_ready();
        let stream = client.node().stream(None, story(4, json!({})));
        let found = read(stream.expect("the client listens"), 0, |_| {});
        let first = found.first.expect("a token").duration_since(begun);
        println!("from joining to the first token served: {first:.2?} (goal: 10 s)");
        if !network.is_separate() {
            return;
        }
        let host = &worker.host;
        for kind in ["tcp", "tcp6"] {
            let listening = |socket: &Socket| socket.listens && !socket.loopback;
            assert!(!host.sockets(kind).iter().any(listening), "{kind}");
        }
        let sockets = host.sockets("udp").into_iter().chain(host.sockets("udp6"));
        let off: Vec<u16> = sockets
            .filter(|socket| !socket.loopback)
            .map(|socket| socket.port)
            .collect();
        assert_eq!(off, [9001]);
        let open = |port: &u16| TcpStream::connect((host.address(), *port)).is_ok();
        assert_eq!((1..=u16::MAX).find(open), None);
        println!("65,535 TCP ports are closed to others; UDP 9001 is the only one that is open");
    });
}

#[test]
fn who_was_not_invited_or_is_no_longer_wanted_is_told_so() {
    let network = Network::loopback();
    let coordinator = Machine::start(network.host(2), &["--role", "coordinator"]);
    let made = coordinator.folder.json(&["invite", "--role", "client"]);
    let token = made["token"].as_str().expect("a token").to_owned();
    let join = |token: &str| {
        let folder = Folder::with_model();
        let output = folder.troop(&["node", "--join", token, "--quic", "127.0.0.1:0"]);
        let words = String::from_utf8(output.stderr).expect("text");
        (output.status.code(), words)
    };
    // A slip of the finger is told apart from a refusal, and nobody is asked.
    let last = token.chars().last().expect("a letter");
    let other = if last == 'q' { 'p' } else { 'q' };
    let slipped = format!("{}{other}", &token[..token.len() - 1]);
    let (code, words) = join(&slipped);
    assert_eq!(code, Some(2), "{words}");

    let invites = coordinator.folder.json(&["invite", "list"]);
    let id = invites["invites"][0]["id"].as_str().expect("an id");
    coordinator.folder.json(&["invite", "revoke", id]);
    let (code, words) = join(&token);
    assert_eq!(code, Some(5), "{words}");
    assert!(words.contains("taken back"), "{words}");

    let made = coordinator.folder.json(&["invite", "--role", "client"]);
    let token = made["token"].as_str().expect("a token").to_owned();
    let worker = Folder::with_model();
    let asked = worker.troop(&["node", "--join", &token, "--role", "worker"]);
    assert_eq!(asked.status.code(), Some(5), "invited as a client");
    let client = Machine::start(network.here(), &["--join", &token]);
    let (code, words) = join(&token);
    assert_eq!(code, Some(5), "{words}");
    assert!(words.contains("use"), "{words}");

    // Whoever is put out is put out at once.
    client.folder.json(&["balance"]);
    let members = coordinator.folder.json(&["member", "list"]);
    let name = members["members"][0]["name"].as_str().expect("a name");
    coordinator.folder.json(&["member", "remove", name]);
    until("the member is out", || {
        let balance = client.folder.troop(&["balance"]);
        (!balance.status.success()).then_some(())
    });
}

#[test]
fn a_port_for_other_nodes_that_is_taken_is_named_and_starts_no_node() {
    let folder = Folder::with_model();
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let output = folder.troop(&["node", "--role", "coordinator", "--quic", &address]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&address), "{text}");
    assert!(text.contains("--quic 0.0.0.0:0"), "{text}");
}
