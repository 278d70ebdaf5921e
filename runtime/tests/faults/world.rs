//! One node after another in one folder, what clients do to it, and what must be true after each case.

#[path = "scenes.rs"]
mod scenes;

use crate::cases::{Case, Scene};
use crate::power::power;
use crate::support::{Folder, Node, Response, Stream, until};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A folder with its keys, the node that runs in it, and the answers an undisturbed node gives.
pub(crate) struct World {
    folder: Folder,
    node: Node,
    guest: String,
    poor: String,
    short: String,
    long: String,
    /// When actors under the supervisor fell: it gives up at the fourth within five seconds.
    falls: VecDeque<Instant>,
    /// How far its clock is ahead, in milliseconds: a start three hours later stays three hours later.
    ahead: &'static str,
}

/// The first lines of the list.
pub(crate) fn heading() -> String {
    format!(
        "{:32} {:11} {:>10}  what the client saw\n",
        "actor:message:count", "scene", "serves"
    )
}

fn ask_short() -> Value {
    json!({ "seed": 5, "max_tokens": 6, "messages": [{ "role": "user", "content": "Hi" }] })
}

fn ask_long() -> Value {
    json!({ "seed": 6, "max_tokens": 24, "messages": [{ "role": "user", "content": "Tell me a story." }] })
}

fn content(answer: &Response) -> &str {
    let content = answer.json["choices"][0]["message"]["content"].as_str();
    content.unwrap_or_default()
}

fn error(answer: &Response) -> String {
    let message = answer.json["error"]["message"].as_str();
    let message = message.unwrap_or_else(|| panic!("an error has a message: {answer:?}"));
    format!("{} {message}", answer.status)
}

#[allow(clippy::disallowed_methods)] // Real processes are measured in real time.
fn now() -> Instant {
    Instant::now()
}

impl World {
    pub(crate) fn new() -> World {
        let folder = Folder::with_model();
        let node = start(&folder, NOT_AHEAD);
        let key = |name: &str, credits: &str| {
            let made = folder.json(&["key", "create", "--member", name, "--credits", credits]);
            made["key"].as_str().expect("a key").to_owned()
        };
        let (guest, poor) = (key("bo", "1000"), key("poor", "0"));
        let short = node.chat(None, ask_short()).expect("an answer");
        let long = node.chat(None, ask_long()).expect("an answer");
        assert_eq!((short.status, long.status), (200, 200));
        let (short, long) = (content(&short).to_owned(), content(&long).to_owned());
        World {
            folder,
            node,
            guest,
            poor,
            short,
            long,
            falls: VecDeque::new(),
            ahead: NOT_AHEAD,
        }
    }

    /// Plays one case and returns its line of the list.
    pub(crate) fn survive(&mut self, case: &Case) -> String {
        let _named = Named(case.name());
        let scene = format!("{:?}", case.scene);
        let scene = scene.split('(').next().unwrap_or_default();
        self.rest();
        let before = self.entries();
        // Some faults wait for the next start of the node.
        let at_once = !matches!(case.scene, Scene::Start | Scene::LaterStart);
        if at_once {
            self.plant(case);
        }

        let file = self.fault_file();
        let watch = move || {
            until("every fault is met", || met(&file).then_some(()));
            now()
        };
        let watched = at_once.then(|| std::thread::spawn(watch.clone()));

        let seen = self.play(case);

        let met = match watched {
            Some(watched) => watched.join().expect("every fault is met"),
            None => watch(),
        };
        self.falls.push_back(met);
        until("the node serves again, guests too", || {
            let answer = self.node.chat(Some(&self.guest), ask_short()).ok()?;
            (answer.status == 200).then(|| assert_eq!(content(&answer), self.short))
        });
        let took = format!("{:.1} s", met.elapsed().as_secs_f64());
        assert!(self.entries() >= before, "nothing committed is lost");
        self.check_conserved();
        format!("{:32} {scene:11} {took:>10}  {seen}\n", case.name())
    }

    fn fault_file(&self) -> PathBuf {
        fault_file(&self.folder)
    }

    fn plant(&self, case: &Case) {
        let half = self.folder.0.join("faults.new");
        fs::write(&half, case.faults()).expect("the faults can be written");
        fs::rename(&half, self.fault_file()).expect("the faults can be written");
    }

    fn met(&self) -> bool {
        met(&self.fault_file())
    }

    /// Waits until the supervisor has forgotten most falls.
    fn rest(&mut self) {
        while self.falls.len() >= 2 {
            let oldest = self.falls[0].elapsed();
            if oldest > WINDOW {
                self.falls.pop_front();
            } else {
                std::thread::sleep(WINDOW - oldest);
            }
        }
    }

    /// Entries in the books, which must be right.
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

    /// There are as many credits as were granted.
    fn check_conserved(&self) {
        let balance = self.folder.json(&["balance", "--all"]);
        let accounts = balance["accounts"].as_array().expect("accounts");
        let sum = |name: &str| -> i64 {
            let amounts = accounts.iter().map(|account| account[name].as_i64());
            amounts.map(|amount| amount.expect("an amount")).sum()
        };
        assert_eq!(
            sum("granted_micros"),
            sum("available_micros") + sum("held_micros"),
            "{balance}"
        );
        assert_eq!(sum("earned_micros"), sum("spent_micros"), "{balance}");
    }

    /// Plays the scene and returns what the client saw; it must be the right answer, or an error.
    fn play(&mut self, case: &Case) -> String {
        match case.scene {
            Scene::Ask => self.seen(self.node.chat(Some(&self.guest), ask_short())),
            Scene::AskPoor => match self.node.chat(Some(&self.poor), ask_short()) {
                Ok(answer) => {
                    assert_ne!(answer.status, 200, "{answer:?}");
                    error(&answer)
                }
                Err(broken) => closed(&broken),
            },
            Scene::HangUp => {
                let mut stream = self.stream();
                for _ in 0..3 {
                    stream.event().expect("an event");
                }
                "it hung up itself".to_owned()
            }
            Scene::KillEngine => self.kill_engine(),
            Scene::Crowd => self.crowd(),
            Scene::Keys => self.keys(),
            Scene::Invites => self.invites(),
            Scene::Verb(args) => {
                let output = self.folder.troop(&[args, &["--json"]].concat());
                let answer = serde_json::from_slice(&output.stdout).unwrap_or_default();
                outcome(output.status.success(), &answer)
            }
            Scene::Get(path) => match self.node.try_get(path) {
                Some(answer) => answer.status.to_string(),
                None => "connection closed".to_owned(),
            },
            Scene::Load => {
                let body = json!({ "model": "smollm2" }).to_string();
                match self.folder.post("/v1/troop/models/load", &body) {
                    Ok(status) => status.to_string(),
                    Err(broken) => closed(&broken),
                }
            }
            Scene::Pause => {
                let tell = |verb| {
                    let told = self.folder.troop(&[verb, "--json"]);
                    let answer = serde_json::from_slice(&told.stdout).unwrap_or_default();
                    outcome(told.status.success(), &answer)
                };
                let (paused, resumed) = (tell("pause"), tell("resume"));
                // Whoever hears that the keeper does not answer says it again.
                if resumed != "ok" {
                    until("a resume is heard", || {
                        (tell("resume") == "ok").then_some(())
                    });
                }
                format!("{paused}, {resumed}")
            }
            Scene::Unplug => self.unplug(),
            Scene::Join | Scene::PutOut => self.join(case.scene == Scene::PutOut),
            Scene::Wait => "nothing".to_owned(),
            Scene::Stop | Scene::StopLate => {
                let mut ask = ask_long();
                if case.scene == Scene::StopLate {
                    ask["max_tokens"] = 2_000.into();
                    ask["n"] = 16.into();
                }
                let mut stream = self.node.stream(None, ask).expect("a stream");
                stream.event().expect("an event");
                self.node.signal("-TERM");
                let seen = self.rest_of(stream);
                self.start_again();
                seen
            }
            Scene::StopAsked => {
                let address = self.node.address.clone();
                let guest = self.guest.clone();
                let asked = std::thread::scope(|scope| {
                    let ask = || crate::support::chat(&address, Some(&guest), ask_short());
                    let client = scope.spawn(ask);
                    until("the first fault is met", || {
                        let left = fs::read_to_string(self.fault_file()).ok()?;
                        (left.lines().count() < 2).then_some(())
                    });
                    self.node.signal("-TERM");
                    client.join().expect("the client runs")
                });
                let seen = self.seen(asked);
                self.start_again();
                seen
            }
            Scene::Start => {
                self.node.signal("-TERM");
                let _ = self.node.process.wait();
                self.plant(case);
                self.node = start(&self.folder, self.ahead);
                "a node that starts a little later".to_owned()
            }
            Scene::LaterStart => {
                let hold = Case::hold_left_behind();
                self.plant(&hold);
                let seen = self.play(&hold);
                until("the hold's session is gone", || self.met().then_some(()));
                self.node.signal("-TERM");
                let _ = self.node.process.wait();
                self.plant(case);
                self.ahead = THREE_HOURS_MS;
                self.node = start(&self.folder, self.ahead);
                format!("{seen}; three hours later nothing")
            }
        }
    }

    fn stream(&self) -> Stream {
        let stream = self.node.stream(Some(&self.guest), ask_long());
        stream.expect("a stream")
    }

    /// What a client sees of the rest of its stream.
    fn rest_of(&self, mut stream: Stream) -> String {
        match stream.rest() {
            Ok((_, None)) => "its stream to the end".to_owned(),
            Ok((_, Some(error))) => format!("error in the stream: {}", error["message"]),
            Err(broken) => closed(&broken),
        }
    }

    /// The node ends, well or not; the next one must start on what it left.
    fn start_again(&mut self) {
        let process = &mut self.node.process;
        until("the node ends", || process.try_wait().expect("it is ours"));
        until("every fault is met", || self.met().then_some(()));
        self.node = start(&self.folder, self.ahead);
    }

    fn kill_engine(&self) -> String {
        let mut stream = self.stream();
        let mut text = String::new();
        for _ in 0..4 {
            let event = stream.event().expect("an event").expect("more of it");
            let more = event["choices"][0]["delta"]["content"].as_str();
            text.push_str(more.unwrap_or_default());
        }
        let pid = self.folder.json(&["ps"])["engines"][0]["pid"].to_string();
        let killed = Command::new("kill").args(["-9", &pid]).status();
        assert!(killed.expect("kill runs").success());
        let (rest, error) = match stream.rest() {
            Ok(rest) => rest,
            Err(broken) => return closed(&broken),
        };
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

    /// Two requests take all places, a third one has to wait.
    fn crowd(&self) -> String {
        let many = json!({ "n": 16, "max_tokens": 400, "seed": 1 });
        let mut streams: Vec<Stream> = (0..2)
            .map(|_| self.node.stream(None, many.clone()).expect("a stream"))
            .collect();
        for stream in &mut streams {
            stream.event().expect("an event");
        }
        std::thread::scope(|scope| {
            let ask = || self.seen(self.node.chat(Some(&self.guest), ask_short()));
            let client = scope.spawn(ask);
            until("somebody is queued", || self.met().then_some(()));
            drop(streams);
            client.join().expect("a client")
        })
    }

    fn seen(&self, answer: std::io::Result<Response>) -> String {
        match answer {
            Ok(answer) if answer.status == 200 => {
                assert_eq!(
                    content(&answer),
                    self.short,
                    "it is the right one: {answer:?}"
                );
                "the whole answer".to_owned()
            }
            Ok(answer) => error(&answer),
            Err(broken) => closed(&broken),
        }
    }
}

fn start(folder: &Folder, ahead: &str) -> Node {
    let file = fault_file(folder);
    let file = file.to_str().expect("a temporary folder's name is text");
    let ours = [
        ("TROOP_SHARE", "polite"),
        ("TROOP_FAULT", file),
        ("TROOP_GRACE", "3"),
        ("TROOP_THREADS", "1"),
        (AHEAD, ahead),
    ];
    Node::start_with(folder, &ours)
}

fn fault_file(folder: &Folder) -> PathBuf {
    folder.0.join("faults")
}

/// Whether nothing is planted any more.
fn met(faults: &Path) -> bool {
    fs::read_to_string(faults).is_ok_and(|left| left.is_empty())
}

fn closed(broken: &std::io::Error) -> String {
    format!("connection closed: {broken}")
}

fn outcome(ok: bool, answer: &Value) -> String {
    if ok {
        return "ok".to_owned();
    }
    format!("error: {}", answer["error"]["message"])
}

/// Says which case it was if one fails.
struct Named(String);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in the case {}", self.0);
        }
    }
}

/// The supervisor's window, and a little.
const WINDOW: Duration = Duration::from_millis(5_500);
/// What tells a node how far ahead its clock is, in milliseconds.
const AHEAD: &str = "TROOP_CLOCK_AHEAD_MS";
const NOT_AHEAD: &str = "0";
/// Longer than any hold's term.
const THREE_HOURS_MS: &str = "10800000";
