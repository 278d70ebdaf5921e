//! Several machines, one service: a coordinator, two workers and a client, each a process with a folder of its own.
//! Whatever happens to a worker, the client reads the bytes of the run that nothing happened to, and pays once.
//!
//! A few rounds of each kind; as many as are promised where `TROOP_LONG=1`.

#[path = "support/node.rs"]
#[allow(dead_code)] // Each test program uses a part of it.
mod support;

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::{Folder, Node, Stream, until};

fn rounds(short: usize, long: usize) -> usize {
    match std::env::var("TROOP_LONG").is_ok_and(|long| long == "1") {
        true => long,
        false => short,
    }
}

/// One machine. Where it runs again it listens for others at the same port.
struct Machine {
    folder: Folder,
    args: Vec<String>,
    quic: String,
    node: Option<Node>,
}

impl Machine {
    fn start(args: &[&str]) -> Machine {
        let port = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let mut machine = Machine {
            folder: Folder::with_model(),
            args: args.iter().map(ToString::to_string).collect(),
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

    fn id(&self) -> String {
        let status = self.folder.json(&["status"]);
        status["node"].as_str().expect("an id").to_owned()
    }

    fn kill(&mut self) {
        if let Some(node) = self.node.take() {
            node.kill();
        }
    }
}

struct Troop {
    coordinator: Machine,
    workers: Vec<(String, Machine)>,
    client: Machine,
}

impl Troop {
    fn start() -> Troop {
        let coordinator = Machine::start(&["--role", "coordinator"]);
        let invite = |role: &str| {
            let made = coordinator.folder.json(&["invite", "--role", role]);
            made["token"].as_str().expect("a token").to_owned()
        };
        let workers = (0..2).map(|_| {
            let token = invite("worker");
            let worker = Machine::start(&["--join", &token, "--threads", "1"]);
            (worker.id(), worker)
        });
        let workers = workers.collect();
        let token = invite("client");
        let client = Machine::start(&["--join", &token]);
        let troop = Troop {
            coordinator,
            workers,
            client,
        };
        troop.whole();
        troop
    }

    /// Waits until both workers serve.
    fn whole(&self) {
        until("both workers serve", || {
            let status = self.coordinator.folder.json(&["status"]);
            (status["queue"]["workers"] == 2).then_some(())
        });
        self.client.node().wait_ready();
        for (_, worker) in &self.workers {
            until("the engine is ready", || {
                let ps = worker.folder.json(&["ps"]);
                (ps["engines"][0]["state"] == "ready").then_some(())
            });
        }
    }

    fn worker(&mut self, id: &str) -> &mut Machine {
        let found = self.workers.iter_mut().find(|(worker, _)| worker == id);
        &mut found.expect("a worker of this troop").1
    }

    fn spent(&self) -> u64 {
        let balance = self.client.folder.json(&["balance"]);
        balance["spent_micros"].as_u64().expect("a number")
    }
}

/// What a client read.
#[derive(Debug, Default)]
struct Read {
    texts: Vec<String>,
    finishes: Vec<Option<String>>,
    /// The longest time between two pieces.
    gap: Duration,
}

/// Reads a stream to its end; `at` is called after so many pieces.
fn read(mut stream: Stream, strike: usize, mut at: impl FnMut(&str)) -> Read {
    assert_eq!(stream.status, 200);
    let worker = stream.header("x-troop-node").expect("a worker").to_owned();
    let mut read = Read::default();
    let mut pieces = 0;
    #[allow(clippy::disallowed_methods)] // A client has a clock.
    let now = Instant::now;
    let mut last = now();
    while let Some(event) = stream.event().expect("the stream goes on") {
        assert!(event.get("error").is_none(), "{event}");
        for choice in event["choices"].as_array().into_iter().flatten() {
            let index = choice["index"].as_u64().expect("a number") as usize;
            if read.texts.len() <= index {
                read.texts.resize(index + 1, String::new());
                read.finishes.resize(index + 1, None);
            }
            if let Some(piece) = choice["delta"]["content"].as_str() {
                read.texts[index].push_str(piece);
                if pieces > 0 {
                    read.gap = read.gap.max(last.elapsed());
                }
                pieces += 1;
                if pieces == strike {
                    at(&worker);
                }
                last = now();
            }
            if let Some(finish) = choice["finish_reason"].as_str() {
                read.finishes[index] = Some(finish.to_owned());
            }
        }
    }
    read
}

fn story(tokens: u32, more: Value) -> Value {
    let mut body = json!({
        "messages": [{ "role": "user", "content": "Tell me a long story about a fox." }],
        "max_tokens": tokens,
        "temperature": 0.8,
        "seed": 7,
    });
    for (name, value) in more.as_object().expect("fields") {
        body[name] = value.clone();
    }
    body
}

/// What happens to the worker that serves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Strike {
    Kill,
    Freeze,
    Pause,
}

/// Asks for the same thing again and again while the worker that serves it is struck, and compares with the
/// run that nothing happened to.
fn survives(troop: &mut Troop, body: &Value, strike: Strike, times: usize) {
    let ask = |troop: &Troop| {
        let stream = troop.client.node().stream(None, body.clone());
        stream.expect("the client listens")
    };
    let before = troop.spent();
    let calm = read(ask(troop), 0, |_| {});
    until("the undisturbed run is paid", || {
        (troop.spent() > before).then_some(())
    });
    let price = troop.spent() - before;
    let mut gaps = Vec::new();
    for round in 0..times {
        let before = troop.spent();
        let stream = ask(troop);
        // Somewhere in the first half, elsewhere each time.
        let at = 2 + (round * 13) % 40;
        let mut struck = None;
        let found = read(stream, at, |worker| {
            let machine = troop.worker(worker);
            match strike {
                Strike::Kill => machine.kill(),
                Strike::Freeze => machine.node().signal("-STOP"),
                Strike::Pause => drop(machine.folder.json(&["pause"])),
            }
            struck = Some(worker.to_owned());
        });
        assert_eq!(found.texts, calm.texts, "{strike:?}, round {round}");
        assert_eq!(found.finishes, calm.finishes, "{strike:?}, round {round}");
        let struck = struck.expect("the stream was long enough");
        let machine = troop.worker(&struck);
        match strike {
            Strike::Kill => machine.run(),
            Strike::Freeze => machine.node().signal("-CONT"),
            Strike::Pause => drop(machine.folder.json(&["resume"])),
        }
        until("it is paid", || (troop.spent() > before).then_some(()));
        assert_eq!(troop.spent() - before, price, "one bill");
        troop.whole();
        gaps.push(found.gap);
    }
    gaps.sort();
    let rank = |share: usize| gaps[(gaps.len() * share / 100).min(gaps.len() - 1)];
    println!(
        "{strike:?}: {times} of {times} the same bytes, one bill; gap median {:.2?}, 99 % {:.2?}",
        rank(50),
        rank(99)
    );
}

#[test]
fn streams_survive_their_worker_and_their_coordinator() {
    let mut troop = Troop::start();
    let plain = story(120, json!({}));
    survives(&mut troop, &plain, Strike::Kill, rounds(2, 200));
    survives(&mut troop, &plain, Strike::Freeze, rounds(1, 50));
    survives(&mut troop, &plain, Strike::Pause, rounds(1, 20));
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
        "response_format": { "type": "json_schema", "json_schema": { "name": "story", "schema": schema } },
    });
    survives(&mut troop, &story(200, format), Strike::Kill, rounds(1, 50));
    let three = story(60, json!({ "n": 3 }));
    survives(&mut troop, &three, Strike::Kill, rounds(1, 20));
    let stops = story(
        160,
        json!({ "stop": ["\u{1}", "zebra crossing"], "logprobs": true }),
    );
    survives(&mut troop, &stops, Strike::Kill, rounds(1, 20));

    // The coordinator dies in the middle: the stream goes on, and what is owed is paid on its return.
    for round in 0..rounds(1, 20) {
        let before = troop.spent();
        let calm = troop.client.node().stream(None, plain.clone());
        let calm = read(calm.expect("a stream"), 0, |_| {});
        until("it is paid", || (troop.spent() > before).then_some(()));
        let before = troop.spent();
        let stream = troop.client.node().stream(None, plain.clone());
        let found = read(stream.expect("a stream"), 3 + round, |_| {
            troop.coordinator.kill();
        });
        assert_eq!(found.texts, calm.texts);
        assert!(
            found.gap < Duration::from_secs(3),
            "nobody waits for a coordinator: {:?}",
            found.gap
        );
        troop.coordinator.run();
        troop.whole();
        until("it is paid", || (troop.spent() > before).then_some(()));
    }
    let verified = troop.coordinator.folder.json(&["ledger", "verify"]);
    assert_eq!(verified["ok"], true, "{verified}");
    assert_eq!(verified["faults"], json!([]));
}

#[test]
fn who_was_not_invited_or_is_no_longer_wanted_is_told_so() {
    let coordinator = Machine::start(&["--role", "coordinator"]);
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
    let client = Machine::start(&["--join", &token]);
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
