//! `troop pull` as a process: killed in the middle, it goes on; what it is told it says in exit codes.

#[path = "support/node.rs"]
#[allow(dead_code)] // Each test program uses a part of it.
mod node;
#[path = "../../actors/tests/support/server.rs"]
mod server;

use node::{Folder, until};
use serde_json::Value;
use server::{Fault, Server};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The real model: large enough that a pull can be killed in the middle.
fn model() -> Vec<u8> {
    fs::read(node::test_model::test_model()).expect("the model can be read")
}

fn sha256(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn folder(name: &str) -> Folder {
    let path = std::env::temp_dir().join(format!("troop-pulled-{}-{name}", std::process::id()));
    fs::create_dir_all(&path).expect("a folder");
    Folder::at(path)
}

/// Bytes that a pull has noted to be on the disk.
fn noted(home: &Path) -> Option<u64> {
    let notes = fs::read_dir(home.join("models/partial")).ok()?;
    let paths = notes.filter_map(|entry| Some(entry.ok()?.path()));
    let note: PathBuf = paths
        .into_iter()
        .find(|path| path.extension().is_some_and(|ending| ending == "json"))?;
    let note: Value = serde_json::from_slice(&fs::read(note).ok()?).ok()?;
    note["bytes"].as_u64()
}

#[test]
fn a_pull_that_is_killed_twice_goes_on_and_ends_with_the_right_file() {
    let (folder, file) = (folder("killed"), model());
    let server = Server::start(file.clone());
    let source = format!("{}#sha256={}", server.address(), sha256(&file));
    for least in [16 << 20, 48 << 20] {
        let mut victim = Command::new(env!("CARGO_BIN_EXE_troop"))
            .args(["pull", "tiny", "--from", &source, "--limit-rate", "40M"])
            .env("TROOP_HOME", &folder.0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("troop runs");
        until("enough has come", || {
            noted(&folder.0).filter(|bytes| *bytes >= least)
        });
        // SIGKILL: nothing of it gets to say anything.
        victim.kill().expect("it still pulls");
        victim.wait().expect("it ends");
        assert_eq!(folder.troop(&["list", "-q"]).stdout, b"");
        let blobs = fs::read_dir(folder.0.join("models/blobs")).expect("a store");
        assert_eq!(blobs.count(), 0);
    }
    let output = folder.troop(&["pull", "tiny", "--from", &source, "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let lines: Vec<Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object a line"))
        .collect();
    let (last, progress) = lines.split_last().expect("something is said");
    assert_eq!(last["schema"], "troop.pull/v1");
    assert_eq!(last["sha256"], sha256(&file));
    assert!(
        progress
            .iter()
            .all(|line| line["schema"] == "troop.progress/v1")
    );
    assert!(progress.iter().any(|line| line["phase"] == "fetching"));

    let from: Vec<usize> = server
        .seen()
        .iter()
        .map(|seen| seen.from.unwrap_or(0))
        .collect();
    assert!(
        from[0] == 0 && from[1] >= 16 << 20 && from[2] >= 48 << 20,
        "{from:?}"
    );
    let blob = folder
        .0
        .join("models/blobs")
        .join(format!("sha256-{}", sha256(&file)));
    assert!(fs::read(blob).expect("the model is here") == file);
    let shown = folder.troop(&["show", "tiny", "--verify"]);
    assert_eq!(shown.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&shown.stdout).contains("\nverified "));
    let rest = fs::read_dir(folder.0.join("models/partial")).expect("a folder");
    assert_eq!(rest.count(), 0);
}

#[test]
fn a_pull_says_by_its_exit_code_what_was_wrong() {
    let (folder, file) = (folder("codes"), model());
    let server = Server::start(file[..200_000].to_vec());
    let pinned = format!("{}#sha256={}", server.address(), "0".repeat(64));
    let cases = [
        (Fault::None, &pinned[..], 8, "integrity"),
        (Fault::None, &server.address(), 8, "integrity"),
        (Fault::Status(404, None), &server.address(), 3, "not_found"),
        (
            Fault::Status(401, None),
            &server.address(),
            5,
            "unauthorised",
        ),
        (
            Fault::Redirect("http://192.0.2.1/".to_owned()),
            &server.address(),
            1,
            "failed",
        ),
        (
            Fault::None,
            "https://user:word@127.0.0.1/x.gguf",
            2,
            "usage",
        ),
    ];
    for (fault, source, code, name) in cases {
        server.faults([fault.clone()]);
        let output = folder.troop(&["pull", "tiny", "--from", source, "--json"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let last: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
        assert_eq!(
            output.status.code(),
            Some(code),
            "{fault:?} {source}: {text}"
        );
        assert_eq!(last["error"]["code"], name, "{fault:?} {source}: {text}");
        let blobs = fs::read_dir(folder.0.join("models/blobs")).expect("a store");
        assert_eq!(blobs.count(), 0, "{fault:?}");
    }
    // A source gives the name where nobody else does; a manifest that is damaged can be removed.
    let output = folder.troop(&["pull", "smolm2"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("did you mean smollm2?"));
    let offline = folder.troop(&["pull", "gemma3:270m", "--offline"]);
    assert_eq!(offline.status.code(), Some(1));
    let path = format!("file:{}", node::test_model::test_model().display());
    assert_eq!(folder.troop(&["pull", &path]).status.code(), Some(0));
    let name = "smollm2-135m-instruct.q4_1";
    let manifest = folder.0.join(format!("models/manifests/{name}.json"));
    fs::write(&manifest, "{").expect("ours");
    assert_eq!(folder.troop(&["show", name]).status.code(), Some(8));
    assert_eq!(folder.troop(&["list"]).status.code(), Some(0));
    assert_eq!(folder.troop(&["rm", name]).status.code(), Some(0));
    assert!(!manifest.exists());
    let blobs = fs::read_dir(folder.0.join("models/blobs")).expect("a store");
    assert_eq!(blobs.count(), 0);
}
