//! A coordinator, two workers and a client as processes, and what the client reads.

use super::network::{Host, Network};
use super::support::{Folder, Node, Stream, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub(crate) fn rounds(short: usize, long: usize) -> usize {
    match std::env::var("TROOP_LONG").is_ok_and(|long| long == "1") {
        true => long,
        false => short,
    }
}

/// One machine. Where it runs again it listens for others at the same port.
pub(crate) struct Machine {
    pub(crate) folder: Folder,
    pub(crate) host: Host,
    args: Vec<String>,
    port: String,
    node: Option<Node>,
}

impl Machine {
    pub(crate) fn start(host: Host, args: &[&str]) -> Machine {
        Machine::start_in(Folder::entered_by(host.words()), host, args)
    }

    pub(crate) fn start_in(folder: Folder, host: Host, args: &[&str]) -> Machine {
        let mut machine = Machine {
            folder,
            args: args.iter().map(ToString::to_string).collect(),
            port: host.port(),
            host,
            node: None,
        };
        machine.run();
        machine
    }

    pub(crate) fn run(&mut self) {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let environment = [("TROOP_QUIC", self.port.as_str())];
        self.node = Some(Node::start_as(&self.folder, &args, &environment));
    }

    pub(crate) fn node(&self) -> &Node {
        self.node.as_ref().expect("it runs")
    }

    pub(crate) fn id(&self) -> String {
        let status = self.folder.json(&["status"]);
        status["node"].as_str().expect("an id").to_owned()
    }

    pub(crate) fn kill(&mut self) {
        if let Some(node) = self.node.take() {
            node.kill();
        }
    }

    /// Stops it in good order.
    pub(crate) fn stop(&mut self) {
        if let Some(mut node) = self.node.take() {
            node.signal("-TERM");
            let _ = node.process.wait();
        }
    }
}

pub(crate) struct Troop {
    pub(crate) coordinator: Machine,
    /// By their ids.
    pub(crate) workers: BTreeMap<String, Machine>,
    pub(crate) client: Machine,
}

impl Troop {
    pub(crate) fn start(network: &Network) -> Troop {
        Troop::start_with(network, network.here())
    }

    /// With the client there.
    pub(crate) fn start_with(network: &Network, here: Host) -> Troop {
        let coordinator = Machine::start(network.host(2), &["--role", "coordinator"]);
        let workers = [3, 4].map(|number| {
            let token = invite(&coordinator, "worker");
            let args = ["--join", &token, "--threads", "1"];
            let worker = Machine::start(network.host(number), &args);
            (worker.id(), worker)
        });
        let token = invite(&coordinator, "client");
        let client = Machine::start(here, &["--join", &token]);
        let troop = Troop {
            coordinator,
            workers: workers.into(),
            client,
        };
        troop.whole();
        troop
    }

    /// Waits until both workers serve.
    pub(crate) fn whole(&self) {
        until("both workers serve", || {
            let status = self.coordinator.folder.json(&["status"]);
            (status["queue"]["workers"] == 2).then_some(())
        });
        self.client.node().wait_ready();
        for worker in self.workers.values() {
            until("the engine is ready", || {
                let ps = worker.folder.json(&["ps"]);
                (ps["engines"][0]["state"] == "ready").then_some(())
            });
        }
    }

    /// The client asks, and gets a stream.
    pub(crate) fn ask(&self, body: &Value) -> Stream {
        let stream = self.client.node().stream(None, body.clone());
        stream.expect("the client listens")
    }

    pub(crate) fn spent(&self) -> u64 {
        let balance = self.client.folder.json(&["balance"]);
        balance["spent_micros"].as_u64().expect("a number")
    }

    /// What the client has paid since it had spent `before`, which is something.
    pub(crate) fn paid_since(&self, before: u64) -> u64 {
        until("it is paid", || {
            let spent = self.spent();
            (spent > before).then_some(spent - before)
        })
    }
}

/// The token of a new invitation.
pub(crate) fn invite(coordinator: &Machine, role: &str) -> String {
    let made = coordinator.folder.json(&["invite", "--role", role]);
    made["token"].as_str().expect("a token").to_owned()
}

/// What a client read.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) choices: Vec<Choice>,
    /// How many pieces of text came.
    pub(crate) pieces: usize,
    /// When the first of them came.
    pub(crate) first: Option<Instant>,
    /// The longest time between two of them.
    pub(crate) gap: Duration,
}

/// One choice of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Choice {
    text: String,
    odds: Vec<Value>,
    finish: Option<String>,
}

/// Reads a stream to its end; `at` is called with the worker's id after so many pieces.
pub(crate) fn read(mut stream: Stream, strike: usize, mut at: impl FnMut(&str)) -> Read {
    assert_eq!(stream.status, 200);
    let worker = stream.header("x-troop-node").expect("a worker").to_owned();
    let mut read = Read::default();
    let mut last = None;
    while let Some(event) = stream.event().expect("the stream goes on") {
        assert!(event.get("error").is_none(), "{event}");
        for told in event["choices"].as_array().into_iter().flatten() {
            let index = told["index"].as_u64().expect("a number") as usize;
            if read.choices.len() <= index {
                read.choices.resize(index + 1, Choice::default());
            }
            let choice = &mut read.choices[index];
            let odds = told["logprobs"]["content"].as_array();
            choice.odds.extend(odds.into_iter().flatten().cloned());
            if let Some(finish) = told["finish_reason"].as_str() {
                choice.finish = Some(finish.to_owned());
            }
            let Some(piece) = told["delta"]["content"].as_str() else {
                continue;
            };
            choice.text.push_str(piece);
            let came = now();
            read.first.get_or_insert(came);
            if let Some(last) = last {
                read.gap = read.gap.max(came - last);
            }
            read.pieces += 1;
            if read.pieces == strike {
                at(&worker);
            }
            last = Some(now());
        }
    }
    read
}

/// A client has a clock.
#[allow(clippy::disallowed_methods)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

pub(crate) fn story(tokens: u32, more: Value) -> Value {
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
