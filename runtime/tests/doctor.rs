//! What a person sees who looks at a node: what is wrong and what to do about it, once; how it goes, all the time.

#[path = "support/network.rs"]
#[allow(dead_code)] // Each test program uses a part of it.
mod network;
#[path = "support/node.rs"]
#[allow(dead_code)] // The same.
mod support;
#[path = "support/terminal.rs"]
#[allow(dead_code)] // The same.
mod terminal;
#[path = "support/troop.rs"]
#[allow(dead_code)] // The same.
mod troop;

use network::{Network, on_a_network};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use support::{Folder, Node, until};
use terminal::Terminal;
use troop::{Machine, invite};

/// What the doctor says of a folder, and what it ends with.
fn doctor(folder: &Folder) -> (Option<i32>, Value) {
    let output = folder.troop(&["doctor", "--json"]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let first = text.lines().next().unwrap_or_default();
    let report: Value = serde_json::from_str(first).unwrap_or_else(|_| panic!("{text}"));
    assert_eq!(report["schema"], "troop.doctor/v1");
    assert_eq!(report["ok"] == true, output.status.success(), "{report}");
    (output.status.code(), report)
}

/// How one thing is: its state, its words, and what is to be done.
fn finding(report: &Value, name: &str) -> (String, String, Option<String>) {
    let checks = report["checks"].as_array().expect("checks");
    let found = checks.iter().find(|check| check["name"] == name);
    let found = found.unwrap_or_else(|| panic!("{name}: {report}"));
    let text = |field: &str| found[field].as_str().map(str::to_owned);
    (
        text("state").expect("a state"),
        text("detail").expect("a detail"),
        text("fix"),
    )
}

fn state(report: &Value, name: &str) -> String {
    finding(report, name).0
}

fn open_to_others(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
}

#[test]
fn without_a_node_it_says_what_can_be_told_and_each_red_line_has_its_fix() {
    let folder = Folder::with_model();
    let (code, report) = doctor(&folder);
    assert_eq!(code, Some(0), "{report}");
    for name in ["home", "models", "disk", "files", "sandbox", "machine"] {
        assert_eq!(state(&report, name), "ok", "{name}: {report}");
    }
    assert_eq!(state(&report, "node"), "unknown");

    // A key that others can read, and a model that was cut short.
    let key = folder.0.join("node.key");
    fs::write(&key, [7; 32]).expect("ours");
    open_to_others(&key, 0o644);
    let blobs = fs::read_dir(folder.0.join("models/blobs")).expect("a store");
    for blob in blobs.flatten() {
        open_to_others(&blob.path(), 0o644);
        let file = fs::File::options().write(true).open(blob.path());
        file.and_then(|file| file.set_len(1_000)).expect("ours");
    }
    open_to_others(&folder.0, 0o755);
    let (code, report) = doctor(&folder);
    assert_eq!(code, Some(1), "{report}");
    for (name, fix) in [
        ("home", "chmod 700"),
        ("key", "chmod 600"),
        ("models", "troop pull smollm2"),
    ] {
        let (state, _, todo) = finding(&report, name);
        assert_eq!(state, "bad", "{name}: {report}");
        assert!(
            todo.is_some_and(|todo| todo.contains(fix)),
            "{name}: {report}"
        );
    }
    let shown = folder.troop(&["doctor"]);
    let shown = String::from_utf8(shown.stdout).expect("UTF-8");
    assert!(
        shown.contains("bad  key") && shown.contains("fix: chmod 600"),
        "{shown}"
    );
}

#[test]
fn a_node_of_a_troop_is_seen_by_its_coordinator_and_a_clock_that_is_off_is_told() {
    let name = "a_node_of_a_troop_is_seen_by_its_coordinator_and_a_clock_that_is_off_is_told";
    on_a_network(name, seen_by_its_coordinator);
}

fn seen_by_its_coordinator(network: Network) {
    let coordinator = Machine::start(network.host(2), &["--role", "coordinator"]);
    let (_, report) = doctor(&coordinator.folder);
    assert_eq!(state(&report, "listening"), "ok", "{report}");
    assert_eq!(state(&report, "coordinator"), "ok", "{report}");

    let token = invite(&coordinator, "client");
    let client = Machine::start(network.here(), &["--join", &token]);
    let (_, report) = doctor(&client.folder);
    for name in ["certificate", "listening", "coordinator", "clock", "port"] {
        assert_eq!(state(&report, name), "ok", "{name}: {report}");
    }

    let (_, ports, _) = finding(&report, "listening");
    let port = match network.is_separate() {
        true => "off the loopback on udp 0.0.0.0:9001 and nothing else",
        false => "off the loopback on no port for other nodes and nothing else",
    };
    assert_eq!(ports, port);

    let token = invite(&coordinator, "client");
    let late = Folder::with_model();
    let ahead = [
        ("TROOP_CLOCK_AHEAD_MS", "60000"),
        ("TROOP_QUIC", "0.0.0.0:0"),
    ];
    let _node = Node::start_as(&late, &["--join", &token], &ahead);
    let (code, report) = doctor(&late);
    let (state, detail, _) = finding(&report, "clock");
    assert_eq!((code, &state[..]), (Some(1), "bad"), "{report}");
    assert!(detail.contains("ahead of the coordinator's"), "{detail}");

    // A coordinator that is away is red, and the node says so itself.
    drop(coordinator);
    let (code, report) = doctor(&client.folder);
    assert_eq!(code, Some(1), "{report}");
    assert_eq!(self::state(&report, "coordinator"), "bad", "{report}");
}

#[test]
fn what_is_watched_is_drawn_anew_or_told_line_by_line_and_ends_well() {
    let network = Network::loopback();
    let coordinator = Machine::start(network.host(2), &["--role", "coordinator"]);
    let watch = |args: &[&str]| {
        let mut command = coordinator.folder.command();
        command.args(["status", "--watch"]).args(args);
        command
    };
    let mut terminal = Terminal::start(&mut watch(&[]));
    for _ in 0..2 {
        terminal.expect("\x1b[H\x1b[2J");
        terminal.expect("listening");
    }
    terminal.keys("\x03");
    assert_eq!(terminal.code(), Some(0));

    let mut piped = watch(&["--json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("troop runs");
    let mut lines = BufReader::new(piped.stdout.take().expect("a pipe")).lines();
    for _ in 0..2 {
        let line = lines.next().expect("a line").expect("text");
        let status: Value = serde_json::from_str(&line).expect("an object");
        assert_eq!(status["schema"], "troop.status/v1");
    }
    let pid = piped.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status();
    assert!(sent.expect("kill runs").success());
    assert_eq!(piped.wait().expect("a child").code(), Some(0));
}
