//! The command line against a real node that keeps books and keys and serves no model.

#[path = "support/node.rs"]
#[allow(dead_code)] // Each test program uses a part of it.
mod support;

use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Output, Stdio};
use support::{Folder, until};
use troop_actors::invitation::Invitation;

/// A folder of its own, for its owner alone.
fn folder(name: &str) -> Folder {
    let path = std::env::temp_dir().join(format!("troop-line-{}-{name}", std::process::id()));
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700).create(&path).expect("a folder");
    Folder::at(path)
}

/// A coordinator, killed when the test is over.
struct Coordinator(Child);

impl Coordinator {
    fn start(folder: &Folder, environment: &[(&str, &str)]) -> Coordinator {
        let log = fs::File::create(folder.0.join("log")).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_troop"))
            .args(["node", "--role", "coordinator", "--listen", "127.0.0.1:0"])
            .env("TROOP_HOME", &folder.0)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("troop node starts");
        let coordinator = Coordinator(child);
        let note = folder.0.join("node.json");
        until("the node says where it listens", || {
            note.exists().then_some(())
        });
        coordinator
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn error(output: &Output) -> (Option<i32>, String) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let object: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"));
    let code = object["error"]["code"].as_str().unwrap_or_default();
    (output.status.code(), code.to_owned())
}

fn available(folder: &Folder, member: &str) -> Option<u64> {
    folder.json(&["balance", "--member", member])["available_micros"].as_u64()
}

#[test]
fn a_guest_is_never_the_owner_and_gets_what_is_given_or_a_reason() {
    let folder = folder("guest");
    let _node = Coordinator::start(&folder, &[]);
    for name in ["owner", "OWNER", "a b", "", "é"] {
        let refused = folder.troop(&["key", "create", "--member", name, "--json"]);
        assert_eq!(
            error(&refused),
            (Some(2), "name_invalid".to_owned()),
            "{name}"
        );
    }
    folder.json(&["key", "create", "--member", "bo", "--credits", "7"]);
    assert_eq!(available(&folder, "bo"), Some(7_000_000));
    // Another key is no reason for other credits, and saying credits again is not passed over.
    folder.json(&["key", "create", "--member", "bo"]);
    for credits in ["7", "50"] {
        let again = [
            "key",
            "create",
            "--member",
            "bo",
            "--credits",
            credits,
            "--json",
        ];
        assert_eq!(
            error(&folder.troop(&again)),
            (Some(1), "member_known".to_owned())
        );
    }
    let keys = folder.json(&["key", "list"])["keys"]
        .as_array()
        .map(Vec::len);
    assert_eq!(keys, Some(2), "a refusal makes no key");

    let given = folder.json(&["credit", "bo", "50"]);
    assert_eq!(given["available_micros"], 57_000_000);
    folder.json(&["credit", "bo", "50"]);
    assert_eq!(available(&folder, "bo"), Some(107_000_000));
    // Whoever has a key but no credits yet is known too.
    folder.json(&["key", "create", "--member", "cleo", "--credits", "0"]);
    assert_eq!(available(&folder, "cleo"), Some(0));
    assert_eq!(folder.json(&["credit", "cleo", "1"])["name"], "cleo");
    let stranger = folder.troop(&["credit", "boo", "1", "--json"]);
    assert_eq!(error(&stranger), (Some(3), "member_not_found".to_owned()));
    assert_eq!(folder.json(&["ledger", "verify"])["ok"], true);
}

#[test]
fn an_invitation_is_made_listed_and_taken_back_and_its_secret_is_shown_once() {
    let folder = folder("invite");
    let _node = Coordinator::start(&folder, &[]);
    let invite = |more: &[&str]| {
        let words = ["invite", "--address", "192.0.2.7:9001"];
        folder.json(&[&words[..], more].concat())
    };
    let made = invite(&["--role", "client", "--uses", "5", "--ttl", "7d"]);
    let token = made["token"].as_str().expect("a token");
    assert!(token.len() <= 120, "{token}");
    let read: Invitation = token.parse().expect("it reads back");
    assert_eq!(read.addresses, ["192.0.2.7:9001".parse().unwrap()]);
    assert_eq!(made["role"], "client");
    let (created, expires) = (&made["created_seconds"], &made["expires_seconds"]);
    let life = expires.as_u64().expect("a time") - created.as_u64().expect("a time");
    assert_eq!(life, 7 * 24 * 3600);

    let own = invite(&["--member", "owner", "--name", "attic"]);
    assert_eq!(own["member"], folder.json(&["status"])["owner"]);
    let listed = folder.json(&["invite", "list"]);
    assert_eq!(listed["invites"].as_array().map(Vec::len), Some(2));
    assert!(!listed.to_string().contains("trp1"), "{listed}");
    let id = own["id"].as_str().expect("an id");
    assert_eq!(folder.json(&["invite", "revoke", id])["state"], "revoked");
    let lines = folder.troop(&["invite", "list"]);
    let lines = String::from_utf8_lossy(&lines.stdout).into_owned();
    assert!(
        lines.contains("revoked") && lines.contains("attic"),
        "{lines}"
    );
    assert_eq!(folder.json(&["member", "list"])["members"], json!([]));

    let refused: [(&[&str], Option<i32>, &str); 8] = [
        (&["invite", "--uses", "0"], Some(2), "usage"),
        (&["invite", "--uses", "101"], Some(2), "usage"),
        (&["invite", "--ttl", "31d"], Some(2), "usage"),
        (&["invite", "--role", "coordinator"], Some(2), "usage"),
        (&["invite", "--address", "192.0.2.7:0"], Some(2), "usage"),
        (
            &["invite", "--address", "192.0.2.7:1", "--member", "bo"],
            Some(3),
            "member_not_found",
        ),
        (&["invite", "revoke", "zz"], Some(3), "invite_not_found"),
        (&["member", "remove", "bo"], Some(3), "member_not_found"),
    ];
    for (line, code, name) in refused {
        let line = [line, &["--json"]].concat();
        assert_eq!(
            error(&folder.troop(&line)),
            (code, name.to_owned()),
            "{line:?}"
        );
    }
    let leave = error(&folder.troop(&["leave", "--json"]));
    assert_eq!(leave.0, Some(1), "it runs");
}

#[test]
fn a_mistyped_token_is_told_apart_from_a_file_that_is_not_there() {
    let folder = folder("token");
    let good = "trp1pqqqsyqcyq5rqwzqfpg9scrgwpugpzysnzs23v9ccrydpk8qarc06tfd95kj6tfd95kj6tfd95kj62pxq4qq3ggefutmw9y";
    let mistyped = good.replacen("tfd9", "tfd8", 1);
    let file = folder.0.join("invite");
    fs::write(&file, format!("{mistyped}\n")).expect("a file");
    let file = format!("file:{}", file.display());
    let cases = [
        ("hello", "begins with trp1"),
        (&mistyped[..], "checksum"),
        (&file[..], "checksum"),
        ("file:/nowhere/at/all", "No such file"),
    ];
    for (token, words) in cases {
        let output = folder.troop(&["up", "--join", token]);
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(folder.json(&["leave"])["left"], false);
}

#[test]
fn what_is_wrong_with_a_line_is_an_object_where_objects_are_asked_for() {
    let folder = folder("usage");
    for line in [
        &["--json", "run"][..],
        &["--json", "nonsense"],
        &["list", "--jsn", "--json"],
    ] {
        assert_eq!(
            error(&folder.troop(line)),
            (Some(2), "usage".to_owned()),
            "{line:?}"
        );
    }
    let away = folder.troop(&["status", "--json"]);
    assert_eq!(error(&away), (Some(4), "unreachable".to_owned()));
    let missing = folder.troop(&["rm", "nothing", "--json"]);
    assert_eq!(error(&missing), (Some(3), "not_found".to_owned()));
    let removed = folder.json(&["rm", "nothing", "--ignore-missing"]);
    assert_eq!(removed["removed"].as_array().map(Vec::len), Some(0));
    for topic in [
        &["help", "env"][..],
        &["help", "exit-codes"],
        &["help", "key", "create"],
    ] {
        let help = folder.troop(topic);
        assert!(
            help.status.success() && !help.stdout.is_empty(),
            "{topic:?}"
        );
    }
    let text = folder.troop(&["help", "env"]).stdout;
    let text = String::from_utf8(text).expect("UTF-8");
    for variable in ["TROOP_HOME", "TROOP_HOSTS", "TROOP_TIMEOUT", "TROOP_QUIET"] {
        assert!(text.contains(variable), "{variable}");
    }
}

#[test]
fn an_answer_that_breaks_off_is_printed_once_and_starts_no_node() {
    let folder = folder("broken");
    let socket = UnixListener::bind(folder.0.join("ctl.sock")).expect("free");
    let asked = std::thread::spawn(move || {
        let heard = || {
            let (mut client, _) = socket.accept().expect("one question");
            let _ = client.read(&mut [0; 4096]).expect("it asks");
            client
        };
        let model = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        heard().write_all(model).expect("it listens");
        let mut client = heard();
        let event = "data: {\"choices\":[{\"delta\":{\"content\":\"The sky\"}}]}\n\n";
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunk = format!("{head}{:x}\r\n{event}\r\n", event.len());
        client.write_all(chunk.as_bytes()).expect("it listens");
    });
    let run = folder.troop(&["run", "smollm2", "Why?"]);
    asked.join().expect("asked once");
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert_eq!(String::from_utf8_lossy(&run.stdout), "The sky\n");
    assert!(
        said.contains("broke off") && !said.contains("starting one"),
        "{said}"
    );
}

#[test]
fn an_open_folder_of_troops_own_is_closed_and_another_is_refused() {
    let folder = folder("loose");
    let mode = || fs::metadata(&folder.0).expect("there").permissions().mode() & 0o777;
    let open = || fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o777));
    // Empty at first, with models in it the second time.
    for _ in 0..2 {
        open().expect("ours");
        assert!(folder.troop(&["list"]).status.success());
        assert_eq!(mode(), 0o700);
    }

    let foreign = folder.0.join("foreign");
    fs::create_dir(&foreign).expect("ours");
    fs::write(foreign.join("somebody's file"), "x").expect("ours");
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o755)).expect("ours");
    let home = foreign.display().to_string();
    let refused = folder.troop(&["list", "--home", &home]);
    assert_eq!(refused.status.code(), Some(1));
    let mode = fs::metadata(&foreign).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}

#[test]
fn a_model_that_is_here_is_loaded_when_it_is_asked_for_and_by_any_of_its_names() {
    let folder = Folder::with_model();
    let faults = folder.0.join("faults");
    fs::write(&faults, "").expect("ours");
    let planted = [("TROOP_FAULT", faults.to_str().expect("a plain path"))];
    let _node = support::Node::start_with(&folder, &planted);
    let model = fs::read_dir(folder.0.join("models/blobs"))
        .and_then(|mut blobs| blobs.next().expect("one"))
        .expect("the model");
    // The same model by another name, and one that differs in a byte that nobody reads.
    let other = folder.0.join("other.gguf");
    fs::copy(model.path(), &other).expect("room");
    let same = format!("file:{}", other.display());
    folder.json(&["pull", "same", "--from", &same]);
    let mut file = fs::File::options().append(true).open(&other).expect("ours");
    file.write_all(&[0]).expect("room");
    folder.json(&["pull", "other", "--from", &same]);
    let ask = |model: &str| {
        folder.troop(&[
            "run",
            model,
            "Hello!",
            "--max-tokens",
            "3",
            "--temperature",
            "0",
        ])
    };
    let first = ask("smollm2");
    for name in ["same", "other", "other"] {
        let answer = ask(name);
        let said = String::from_utf8_lossy(&answer.stderr).into_owned();
        assert!(answer.status.success(), "{name}: {said}");
        assert_eq!(answer.stdout, first.stdout, "{name}");
    }
    let engines = folder.json(&["ps"])["engines"].as_array().map(Vec::len);
    assert_eq!(engines, Some(2), "one for each model, not for each name");
    let unknown = folder.troop(&["run", "smolm2", "Hello!"]);
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert_eq!(unknown.status.code(), Some(3), "{said}");
    assert!(said.contains("did you mean smollm2?"), "{said}");
    // It is served again when the keeper of engines has fallen, though it was loaded later.
    let digest = format!(
        "sha256:{}",
        folder.json(&["show", "other"])["sha256"]
            .as_str()
            .expect("one")
    );
    fs::write(&faults, "engine_process:Wake:1\n").expect("ours");
    until("the keeper falls", || {
        fs::read_to_string(&faults)
            .is_ok_and(|left| left.is_empty())
            .then_some(())
    });
    until("the model is served again", || {
        let told = folder.troop(&["ps", "--json"]);
        let told: Value = serde_json::from_slice(&told.stdout).ok()?;
        let mut engines = told["engines"].as_array()?.iter();
        engines
            .any(|engine| engine["digest"] == *digest && engine["state"] == "ready")
            .then_some(())
    });
}

#[test]
fn a_node_whose_root_gives_up_ends_with_the_code_of_a_failure_and_says_why() {
    let folder = folder("fallen");
    let faults = folder.0.join("faults");
    // One fall more than a supervisor bears in five seconds.
    fs::write(&faults, "keyring:List:1\n".repeat(4)).expect("ours");
    let mut node = Coordinator::start(&folder, &[("TROOP_FAULT", &faults.display().to_string())]);
    let status = until("the node gives up", || {
        folder.troop(&["key", "list"]);
        node.0.try_wait().expect("a child")
    });
    let log = fs::read_to_string(folder.0.join("log")).expect("a log");
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(
        log.contains("keyring") && log.contains("error: the node gave up"),
        "{log}"
    );
    assert_eq!(fs::read_to_string(&faults).expect("ours"), "");
    assert!(!folder.0.join("node.json").exists());
    let codes = folder.troop(&["help", "exit-codes"]).stdout;
    let codes = String::from_utf8(codes).expect("UTF-8");
    let failed = codes.lines().find(|line| line.starts_with("1 "));
    assert!(
        failed.is_some_and(|line| line.contains("gave up")),
        "{codes}"
    );
}

#[test]
fn a_node_is_asked_at_the_socket_that_is_named_and_tables_have_the_columns_that_are() {
    let folder = folder("addr");
    let node = Coordinator::start(&folder, &[]);
    let socket = format!("unix:{}", folder.0.join("ctl.sock").display());
    let elsewhere = self::folder("elsewhere");
    let said = |args: &[&str]| {
        let output = elsewhere.troop(&[args, &["--addr", &socket]].concat());
        let text = [&output.stdout[..], &output.stderr[..]].concat();
        (
            output.status.code(),
            String::from_utf8(text).expect("UTF-8"),
        )
    };
    let (code, table) = said(&["balance", "--columns", "spent,member"]);
    assert_eq!(
        (code, &table[..]),
        (Some(0), "SPENT  MEMBER\n 0.00  owner\n")
    );
    let (_, table) = said(&["balance", "--no-header", "--columns", "member"]);
    assert_eq!(table, "owner\n");
    let (_, table) = said(&["balance", "--quiet"]);
    assert_eq!(table, "owner\n");
    let (code, wrong) = said(&["balance", "--columns", "membr"]);
    assert_eq!(code, Some(2));
    assert!(wrong.contains("did you mean MEMBER?"), "{wrong}");
    drop(node);
    // Whoever names a node means that one: none is started in its place.
    for verb in [&["run", "smollm2", "Hi"][..], &["ledger", "verify"]] {
        assert_eq!(said(verb).0, Some(4), "{verb:?}");
    }
    assert_eq!(
        said(&["--addr", "http://127.0.0.1:9000", "status"]).0,
        Some(2)
    );
}

#[test]
fn every_shell_gets_completions_that_it_can_read() {
    let folder = folder("completions");
    for shell in ["bash", "zsh", "fish"] {
        let text = folder.troop(&["completions", shell]).stdout;
        let text = String::from_utf8(text).expect("UTF-8");
        for word in ["ledger", "max-tokens", "no-header"] {
            assert!(text.contains(word), "{shell}: {word}");
        }
    }
    let file = folder.0.join("troop.bash");
    fs::write(&file, folder.troop(&["completions", "bash"]).stdout).expect("ours");
    let script = format!(
        "source {}; COMP_WORDS=(troop stat); COMP_CWORD=1; _troop troop stat troop; echo ${{COMPREPLY[*]}}",
        file.display()
    );
    let bash = Command::new("bash")
        .args(["-c", &script])
        .output()
        .expect("bash");
    assert_eq!(String::from_utf8_lossy(&bash.stdout).trim(), "status");
    assert_eq!(folder.troop(&["completions", "tcl"]).status.code(), Some(2));
}
