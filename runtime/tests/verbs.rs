//! The command line where no node is needed.

use std::process::{Command, Output, Stdio};

fn troop(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_troop"));
    let home = std::env::temp_dir().join(format!("troop-verbs-{}", std::process::id()));
    command
        .args(args)
        .env("TROOP_HOME", home)
        .stdin(Stdio::null());
    command
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn a_reader_that_has_gone_ends_a_verb_without_a_word() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = troop(&["help", "env"]).stdout(writer).output();
    let output = output.expect("troop runs");
    assert_eq!(said(&output), (Some(141), String::new()));
}

#[test]
fn help_knows_every_variable_and_every_exit_code_and_says_so_of_what_it_does_not_know() {
    let help = |topic: &str| said(&troop(&["help", topic]).output().expect("troop runs"));
    let (code, text) = help("env");
    assert_eq!(code, Some(0));
    for variable in [
        "TROOP_HOME",
        "TROOP_ROLE",
        "TROOP_LISTEN",
        "TROOP_QUIC",
        "TROOP_MODEL",
        "TROOP_JOIN",
    ] {
        assert!(
            text.lines().any(|line| line.starts_with(variable)),
            "{text}"
        );
    }
    let (code, text) = help("exit-codes");
    assert_eq!(code, Some(0));
    for number in [
        "0 ", "1 ", "2 ", "3 ", "4 ", "5 ", "6 ", "7 ", "8 ", "130 ", "141 ",
    ] {
        assert!(text.lines().any(|line| line.starts_with(number)), "{text}");
    }
    assert!(help("node").1.contains("--role"));
    let (code, text) = help("nonsense");
    assert_eq!(code, Some(2));
    assert!(
        text.contains("nonsense") && text.contains("hint: "),
        "{text}"
    );
}
