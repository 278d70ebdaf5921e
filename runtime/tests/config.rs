//! The configuration file: what it sets, what overrules it, and what is said where it is wrong.

#[path = "support/node.rs"]
#[allow(dead_code)] // Each test program uses a part of it.
mod support;

use serde_json::Value;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};
use support::{Folder, until};

/// A folder of its own, for its owner alone.
fn folder(name: &str) -> Folder {
    let path = std::env::temp_dir().join(format!("troop-config-{}-{name}", std::process::id()));
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700).create(&path).expect("a folder");
    Folder::at(path)
}

/// What a verb ends with, and all it says.
fn said(folder: &Folder, args: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_troop"));
    command.args(args).env("TROOP_HOME", &folder.0);
    command.envs(environment.iter().copied());
    let output = command.stdin(Stdio::null()).output().expect("troop runs");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8(text).expect("UTF-8"),
    )
}

#[test]
fn a_flag_overrules_its_variable_the_variable_the_file_and_the_file_the_default() {
    let folder = folder("order");
    let set = |args: &[&str]| {
        let (code, text) = said(&folder, &[&["config", "set"], args].concat(), &[]);
        assert_eq!(code, Some(0), "{text}");
    };
    set(&["node.role", "coordinator"]);
    set(&["node.listen", "127.0.0.1:0"]);
    set(&["no_header", "true"]);
    set(&["run.format", "/nowhere.json"]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_troop"));
    command.arg("node").env("TROOP_HOME", &folder.0);
    let mut node = command.stderr(Stdio::null()).spawn().expect("a node");
    let note = folder.0.join("node.json");
    until("the node says where it listens", || {
        note.exists().then_some(())
    });
    let facts: Value =
        serde_json::from_str(&fs::read_to_string(&note).expect("text")).expect("JSON");
    assert!(
        !facts["listen"]
            .as_str()
            .expect("an address")
            .ends_with(":9000")
    );

    let balance = |args: &[&str], environment: &[(&str, &str)]| {
        said(
            &folder,
            &[&["balance", "--columns", "member"], args].concat(),
            environment,
        )
        .1
    };
    assert_eq!(balance(&[], &[]), "owner\n");
    assert_eq!(balance(&[], &[("TROOP_NO_HEADER", "0")]), "MEMBER\nowner\n");
    assert_eq!(
        balance(&["--no-header"], &[("TROOP_NO_HEADER", "0")]),
        "owner\n"
    );
    let _ = node.kill();
    let _ = node.wait();

    // The file's word for a flag of one verb, and the flag itself.
    let (code, text) = said(&folder, &["run", "m", "Hi"], &[]);
    assert!(code == Some(2) && text.contains("/nowhere.json"), "{text}");
    let (_, text) = said(
        &folder,
        &["run", "m", "Hi", "--format", "/elsewhere.json"],
        &[],
    );
    assert!(text.contains("/elsewhere.json"), "{text}");

    let show = |environment: &[(&str, &str)]| {
        let (code, text) = said(&folder, &["config", "show", "--json"], environment);
        assert_eq!(code, Some(0), "{text}");
        let shown: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(shown["schema"], "troop.config/v1");
        shown["settings"].as_array().expect("a list").clone()
    };
    let origin = |settings: &[Value], key: &str| {
        let setting = settings.iter().find(|setting| setting["key"] == key);
        let setting = setting.unwrap_or_else(|| panic!("{key}"));
        let part = |name: &str| setting[name].as_str().expect("text").to_owned();
        (part("value"), part("origin"))
    };
    let settings = show(&[("TROOP_ROLE", "worker")]);
    let file = folder.0.join("config.toml");
    let line = |number| format!("{}:{number}", file.display());
    let is = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(origin(&settings, "node.role"), is("worker", "TROOP_ROLE"));
    assert_eq!(origin(&settings, "no_header"), is("true", &line(1)));
    assert_eq!(origin(&settings, "node.grace"), is("30", "default"));
    assert!(
        said(&folder, &["config", "show", "--origin"], &[])
            .1
            .contains("ORIGIN")
    );
    assert_eq!(
        said(&folder, &["config", "path"], &[]).1.trim(),
        file.display().to_string()
    );
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_stops_what_would_have_believed_it() {
    let folder = folder("wrong");
    let file = folder.0.join("config.toml");
    fs::write(&file, "[node]\nthreads = \"many\"\n").expect("ours");
    for line in [&["list"][..], &["config", "check"]] {
        let (code, text) = said(&folder, line, &[]);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains("config.toml:2:11: node.threads: "), "{text}");
    }
    let (_, text) = said(&folder, &["list", "--json"], &[]);
    assert!(text.starts_with("{\"error\":{\"code\":\"usage\""), "{text}");
    // What helps to put it right does not depend on it.
    for line in [&["config", "path"][..], &["help", "env"], &["--version"]] {
        assert_eq!(said(&folder, line, &[]).0, Some(0), "{line:?}");
    }

    fs::write(&file, "[node]\nlitsen = \"x\"\n").expect("ours");
    let (code, text) = said(&folder, &["list"], &[]);
    assert_eq!(code, Some(0));
    assert!(
        text.contains("warning: ") && text.contains("did you mean node.listen?"),
        "{text}"
    );
    assert!(!said(&folder, &["list", "-q"], &[]).1.contains("warning"));
    assert_eq!(said(&folder, &["config", "check"], &[]).0, Some(2));

    let absent = ["list", "--config", "/nowhere/config.toml"];
    assert_eq!(said(&folder, &absent, &[]).0, Some(2));
}

#[test]
fn a_key_is_written_only_if_it_is_sound_and_the_rest_of_the_file_stays() {
    let folder = folder("set");
    let (real, file) = (folder.0.join("kept.toml"), folder.0.join("config.toml"));
    let before = "# mine\ncolor = \"auto\" # and why\n\n[run]\nseed = 1\n";
    fs::write(&real, before).expect("ours");
    symlink(&real, &file).expect("ours");
    let wrong: &[(&[&str], &str)] = &[
        (&["node.threads", "many"], "node.threads"),
        (&["node.thread", "4"], "did you mean node.threads?"),
        (&["threads", "4"], "did you mean node.threads?"),
        (&["color", "auto", "never"], "one value"),
        (&["quiet", "yes"], "true or false"),
        (&["node.join", "secret"], "there is no key"),
    ];
    for (args, words) in wrong {
        let (code, text) = said(&folder, &[&["config", "set"], *args].concat(), &[]);
        assert!(code == Some(2) && text.contains(words), "{args:?}: {text}");
    }
    assert_eq!(fs::read_to_string(&file).expect("text"), before);

    let set: &[&[&str]] = &[
        &["color", "never"],
        &["run.stop", "END", "7"],
        &["node.threads", "4"],
        &["timeout", "30s"],
    ];
    for args in set {
        let (code, text) = said(&folder, &[&["config", "set"], *args].concat(), &[]);
        assert_eq!(code, Some(0), "{text}");
    }
    assert_eq!(
        said(&folder, &["config", "unset", "run.seed"], &[]).0,
        Some(0)
    );
    let after = "# mine\ncolor = \"never\" # and why\ntimeout = \"30s\"\n\n[run]\nstop = [\"END\", 7]\n\n\
                 [node]\nthreads = 4\n";
    assert_eq!(fs::read_to_string(&real).expect("text"), after);
    assert!(fs::symlink_metadata(&file).expect("there").is_symlink());
    let mode = fs::metadata(&real).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        said(&folder, &["config", "check"], &[]),
        (Some(0), format!("ok  {}\n", file.display()))
    );
}
