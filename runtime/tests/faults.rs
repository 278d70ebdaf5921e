//! Each actor made to panic at each of its messages, one case at a time, in a real node that serves the real
//! model; and the engine's process killed. After each case the node must serve again by itself, the books
//! must verify, credits must be conserved, and what was committed must be there. What the client saw is
//! either the very answer it would have got, or an error that says it is one.
//!
//! Not reached from outside: `PersistFailed` (a disk that fails; the stores' own tests and the simulator do
//! that) and `EngineProcess`'s `Drain` and `Serve` (a fault at `Serve` would fall again at each start).

#[path = "support/node.rs"]
#[allow(dead_code)] // Each test program uses a part of it.
mod support;

use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use support::{Folder, Node, Response, until};

/// What a client does so that the message is sent.
#[derive(Clone, Copy, Debug)]
enum Scene {
    /// Asks, as a guest, and waits for the whole answer.
    Ask,
    /// Asks with a key whose member has no credits.
    AskPoor,
    /// Hangs up in the middle of a stream.
    HangUp,
    /// Loses the engine in the middle of a stream.
    KillEngine,
    /// Asks while more requests run than the engine has places for.
    Crowd,
    /// Makes a key and revokes it.
    Keys,
    /// Waits until a timer rings.
    Wait,
}

const CASES: &[(&str, Scene)] = &[
    ("session:Begin:1", Scene::Ask),
    ("session:Queued:1", Scene::Crowd),
    ("session:Granted:1", Scene::Ask),
    ("session:Refused:1", Scene::AskPoor),
    ("session:Event:1", Scene::Ask),
    ("session:Event:5", Scene::Ask),
    ("session:Closed:1", Scene::Ask),
    ("session:Lost:1", Scene::KillEngine),
    ("session:HangUp:1", Scene::HangUp),
    ("scheduler:Admit:1", Scene::Ask),
    ("scheduler:Held:1", Scene::Ask),
    ("scheduler:NotHeld:1", Scene::AskPoor),
    ("scheduler:Finished:1", Scene::Ask),
    ("scheduler:Report:1", Scene::Ask),
    ("scheduler:Report:2", Scene::Ask),
    ("ledger:Grant:2", Scene::Keys),
    ("ledger:Hold:1", Scene::Ask),
    ("ledger:Settle:1", Scene::Ask),
    ("ledger:Persisted:1", Scene::Ask),
    ("ledger:Persisted:2", Scene::Ask),
    ("ticket_issuer:Issue:1", Scene::Ask),
    ("doorkeeper:Knock:1", Scene::Ask),
    ("engine_process:Start:1", Scene::Ask),
    ("engine_process:Frame:1", Scene::Ask),
    ("engine_process:Frame:4", Scene::Ask),
    ("engine_process:Cancel:1", Scene::HangUp),
    ("engine_process:Exited:1", Scene::KillEngine),
    ("engine_process:Wake:1", Scene::Wait),
    ("outbox:Post:1", Scene::Ask),
    ("outbox:Persisted:1", Scene::Ask),
    ("outbox:Answered:1", Scene::Ask),
    ("keyring:Add:1", Scene::Keys),
    ("keyring:Remove:1", Scene::Keys),
    ("keyring:Persisted:1", Scene::Keys),
    ("none", Scene::KillEngine),
];

/// A folder with its keys, and the answers an undisturbed node gives.
struct World {
    folder: Folder,
    guest: String,
    poor: String,
    short: String,
    long: String,
}

fn ask_short() -> Value {
    json!({ "seed": 5, "max_tokens": 8 })
}

fn ask_long() -> Value {
    json!({ "seed": 6, "max_tokens": 24, "messages": [{ "role": "user", "content": "Tell me a story." }] })
}

fn content(answer: &Response) -> &str {
    answer.json["choices"][0]["message"]["content"]
        .as_str()
        .unwrap_or_default()
}

impl World {
    fn new() -> World {
        let folder = Folder::with_model();
        let node = Node::start(&folder);
        let key = |name: &str, credits: &str| {
            let made = folder.json(&["key", "create", "--member", name, "--credits", credits]);
            made["key"].as_str().expect("a key").to_owned()
        };
        let (guest, poor) = (key("bo", "1000"), key("poor", "0"));
        let short = node.chat(None, ask_short()).expect("an answer");
        let long = node.chat(None, ask_long()).expect("an answer");
        assert_eq!((short.status, long.status), (200, 200));
        let (short, long) = (content(&short).to_owned(), content(&long).to_owned());
        drop(node);
        World {
            folder,
            guest,
            poor,
            short,
            long,
        }
    }

    fn log(&self) -> String {
        let log = fs::read(self.folder.0.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Entries in the books, which must be right; read from the file itself where no node runs.
    fn entries(&self) -> u64 {
        // The ledger may just be starting again.
        let verified = until("the ledger answers", || {
            let output = self.folder.troop(&["ledger", "verify", "--json"]);
            serde_json::from_slice::<Value>(&output.stdout)
                .ok()
                .filter(|answer| answer.get("ok").is_some())
        });
        assert_eq!(verified["ok"], true, "{verified}");
        verified["entries"].as_u64().expect("a number of entries")
    }

    /// The node that runs has as many credits as were granted.
    fn check_conserved(&self) {
        let balance = self.folder.json(&["balance", "--all"]);
        let accounts = balance["accounts"].as_array().expect("accounts");
        let sum = |name: &str| -> i64 {
            let amounts = accounts.iter().filter_map(|account| account[name].as_i64());
            amounts.sum()
        };
        assert_eq!(
            sum("granted_micros"),
            sum("available_micros") + sum("held_micros"),
            "{balance}"
        );
        assert_eq!(sum("earned_micros"), sum("spent_micros"), "{balance}");
    }

    /// Plays the scene and returns what the client saw; it must be the right answer, or an error.
    fn play(&self, node: &Node, scene: Scene) -> String {
        match scene {
            Scene::Ask => self.seen(node.chat(Some(&self.guest), ask_short())),
            Scene::AskPoor => match node.chat(Some(&self.poor), ask_short()) {
                Ok(answer) => {
                    assert_ne!(answer.status, 200, "{answer:?}");
                    error(&answer)
                }
                Err(broken) => format!("connection closed: {broken}"),
            },
            Scene::HangUp => {
                let mut stream = node.stream(None, ask_long()).expect("a stream");
                for _ in 0..3 {
                    stream.event().expect("an event");
                }
                "it hung up itself".to_owned()
            }
            Scene::KillEngine => {
                let mut stream = node
                    .stream(Some(&self.guest), ask_long())
                    .expect("a stream");
                let mut text = String::new();
                for _ in 0..4 {
                    let event = stream.event().expect("an event").expect("more of it");
                    let more = event["choices"][0]["delta"]["content"].as_str();
                    text.push_str(more.unwrap_or_default());
                }
                let pid = self.folder.json(&["ps"])["engines"][0]["pid"].to_string();
                let killed = Command::new("kill").args(["-9", &pid]).status();
                assert!(killed.expect("kill runs").success());
                let (rest, error) = stream.rest().expect("the stream goes on or says why not");
                text.push_str(&rest);
                match error {
                    Some(error) => format!("error in the stream: {}", error["message"]),
                    None => {
                        assert_eq!(
                            text, self.long,
                            "the stream survives its engine, byte for byte"
                        );
                        "the whole answer, over two engines".to_owned()
                    }
                }
            }
            Scene::Crowd => std::thread::scope(|scope| {
                let ask = || self.seen(node.chat(None, ask_short()));
                let clients: Vec<_> = (0..48).map(|_| scope.spawn(ask)).collect();
                let seen = clients.into_iter().map(|it| it.join().expect("a client"));
                let (whole, other): (Vec<_>, Vec<_>) = seen.partition(|seen| seen == WHOLE);
                format!("{} of 48 the whole answer; others: {other:?}", whole.len())
            }),
            Scene::Keys => {
                let made = self
                    .folder
                    .troop(&["key", "create", "--member", "cy", "--json"]);
                let answer: Value = serde_json::from_slice(&made.stdout).unwrap_or_default();
                let mut seen = format!("create: {}", outcome(made.status.success(), &answer));
                if let Some(prefix) = answer["prefix"].as_str() {
                    let revoked = self.folder.troop(&["key", "revoke", prefix, "--json"]);
                    let answer: Value = serde_json::from_slice(&revoked.stdout).unwrap_or_default();
                    let word = outcome(revoked.status.success(), &answer);
                    seen = format!("{seen}; revoke: {word}");
                }
                seen
            }
            Scene::Wait => "nothing".to_owned(),
        }
    }

    fn seen(&self, answer: std::io::Result<Response>) -> String {
        match answer {
            Ok(answer) if answer.status == 200 => {
                assert_eq!(
                    content(&answer),
                    self.short,
                    "an answer is the right one: {answer:?}"
                );
                WHOLE.to_owned()
            }
            Ok(answer) => error(&answer),
            Err(broken) => format!("connection closed: {broken}"),
        }
    }
}

fn outcome(ok: bool, answer: &Value) -> String {
    if ok {
        return "ok".to_owned();
    }
    format!("error: {}", answer["error"]["message"])
}

fn error(answer: &Response) -> String {
    let message = answer.json["error"]["message"].as_str();
    let message = message.unwrap_or_else(|| panic!("an error has a message: {answer:?}"));
    format!("{} {message}", answer.status)
}

const WHOLE: &str = "the whole answer";

#[test]
fn a_panic_at_any_message_of_any_actor_costs_at_most_the_request_it_met() {
    let world = World::new();
    let only = std::env::var("TROOP_ONLY").unwrap_or_default();
    let mut table = String::new();
    for (fault, scene) in CASES.iter().filter(|(fault, _)| fault.contains(&only)) {
        let (log, before) = (world.log().len(), world.entries());
        let mut node = Node::start_with(&world.folder, &[("TROOP_FAULT", fault)]);

        let seen = world.play(&node, *scene);

        for fault in fault.split(',').filter(|fault| *fault != "none") {
            until(&format!("{fault} is met"), || {
                let met = format!("a fault was planted at {fault}");
                world.log()[log..].contains(&met).then_some(())
            });
        }
        until("the node serves again, guests too", || {
            let answer = node.chat(Some(&world.guest), ask_short()).ok()?;
            (answer.status == 200).then(|| assert_eq!(content(&answer), world.short))
        });
        assert!(
            world.entries() >= before,
            "{fault}: nothing committed is lost"
        );
        world.check_conserved();
        node.signal("-TERM");
        let status = node.process.wait().expect("the node ends");
        assert!(status.success(), "{fault}: {status}");
        let line = format!("{fault:38} {:11} client: {seen}\n", format!("{scene:?}"));
        print!("{line}");
        table.push_str(&line);
    }
    let list = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults.txt");
    fs::write(&list, table).expect("the list can be written");
    println!("the list is in {}", list.display());
}
