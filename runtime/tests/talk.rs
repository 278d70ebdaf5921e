//! `troop run` as a person and as a script meet it: on a terminal, and through pipes, with a real node and the
//! real model.

#[path = "support/node.rs"]
#[allow(dead_code)] // Each test program uses a part of it.
mod support;

#[path = "support/terminal.rs"]
mod terminal;

use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use support::{Folder, Node, until};
use terminal::Terminal;

fn run(folder: &Folder, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_troop"));
    command.arg("run").arg("smollm2").args(args);
    command.env("TROOP_HOME", &folder.0);
    command
}

/// A conversation whose answers are always the same, and say when they are over.
fn talk(folder: &Folder, args: &[&str]) -> Terminal {
    let fixed = ["--temperature", "0", "--verbose"];
    let mut terminal = Terminal::start(&mut run(folder, &[&fixed, args].concat()));
    terminal.expect(" is listening: ");
    terminal.expect(">>> ");
    terminal
}

const STORY: &str = "Tell me a long story about a fox and a raven in the woods.";

/// Asks for a long answer, and stops it when some of it has been said.
fn stop_a_story(terminal: &mut Terminal) -> String {
    terminal.line(STORY);
    terminal.expect("the woods.");
    until("something is said", || {
        (terminal.rest().matches(' ').count() > 30).then_some(())
    });
    terminal.keys("\x03");
    terminal.expect("[stopped]")
}

const OVER: &str = "first text";

/// Answers cancelled and sequences running, as the node counts them.
fn engine(folder: &Folder) -> (u64, u64) {
    let engine = &folder.json(&["ps"])["engines"][0];
    let count = |name: &str| engine[name].as_u64().expect("a count");
    (count("cancelled"), count("running"))
}

#[test]
fn a_person_talks_stops_an_answer_looks_back_and_leaves() {
    let folder = Folder::with_model();
    let node = Node::start(&folder);
    let history = folder.0.join("history");

    let mut terminal = talk(&folder, &["--system", "Be brief."]);
    terminal.line("/set parameter max_tokens 4");
    terminal.expect("max_tokens is set");
    terminal.line("My name is Bo.");
    terminal.expect(OVER);
    terminal.line("\"\"\"What is");
    terminal.expect("... ");
    terminal.line("my name?\"\"\"");
    terminal.expect(OVER);
    terminal.expect(">>> ");
    terminal.line("/show messages");
    let shown = terminal.expect("assistant:");
    assert!(shown.contains("user:\r\nMy name is Bo."), "{shown}");
    terminal.expect("What is\r\nmy name?");
    terminal.expect("assistant:");

    // Ctrl-C stops the answer, in the node too, and nothing else.
    terminal.line("/set parameter max_tokens");
    terminal.expect("is the node's own again");
    // Thirty words are more than a line of the terminal's.
    let story = stop_a_story(&mut terminal);
    let shown = story.lines().filter_map(|line| line.split("\x1b[").next());
    let wide = shown.map(str::len);
    assert!(
        story.lines().count() > 2 && wide.max() <= Some(80),
        "{story:?}"
    );
    terminal.expect(">>> ");
    until("the engine has stopped", || {
        let (cancelled, running) = engine(&folder);
        (cancelled == 1 && running == 0).then_some(())
    });
    terminal.line("/show messages");
    terminal.expect("assistant (cut):");
    terminal.line("/hlep");
    terminal.expect("did you mean /help?");
    terminal.line("/save ");
    terminal.expect("needs a file");
    let kept = folder.0.join("chat.json");
    terminal.line(&format!("/save {}", kept.display()));
    terminal.expect("Saved in");
    terminal.expect(">>> ");
    terminal.keys("\x03");
    terminal.expect("Ctrl-D or /bye leaves");
    terminal.line("/bye");
    assert_eq!(terminal.code(), Some(0));

    for file in [&history, &kept] {
        let mode = fs::metadata(file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
    let before = fs::read_to_string(&history).expect("text");
    assert!(
        before.contains("\"\"\"What is\\nmy name?\"\"\""),
        "{before}"
    );

    // The next one has the lines of the last, and the conversation where it is wanted.
    let mut terminal = talk(&folder, &[]);
    terminal.keys("\x1b[A");
    terminal.expect("/bye");
    terminal.keys("\x15");
    terminal.line(&format!("/load {}", kept.display()));
    terminal.expect("6 messages from");
    terminal.keys("\x04");
    assert_eq!(terminal.code(), Some(0));

    let mut command = run(&folder, &[]);
    let mut terminal = Terminal::start(command.env("TROOP_NOHISTORY", "1"));
    terminal.expect(">>> ");
    terminal.line("/show info");
    let info = terminal.expect("conversation");
    assert!(info.contains("sha256:"), "{info}");
    terminal.expect(">>> ");
    terminal.keys("\x03");
    terminal.expect("Ctrl-D or /bye leaves");
    terminal.keys("\x03");
    assert_eq!(terminal.code(), Some(130));
    let after = fs::read_to_string(&history).expect("text");
    assert!(!after.contains("/show info"), "{after}");

    // What does not fit is said with both numbers, and can be got out of.
    let long = "one two three four five six seven eight ".repeat(1_500);
    let turns = json!([
        { "role": "user", "content": long },
        { "role": "assistant", "content": "Yes." },
    ]);
    let chat = json!({ "schema": "troop.chat/v1", "parameters": {}, "messages": turns });
    fs::write(&kept, chat.to_string()).expect("ours");
    let mut terminal = talk(&folder, &[]);
    terminal.line(&format!("/load {}", kept.display()));
    terminal.expect("2 messages from");
    terminal.line("And now?");
    terminal.expect("error:");
    let context = folder.json(&["status"])["models"][0]["context"].to_string();
    let said = terminal.expect("/clear");
    assert!(said.contains(&context), "{said}");
    // The question stands at the prompt again.
    terminal.expect("And now?");
    terminal.keys("\x15");
    terminal.line("/clear");
    terminal.expect("begins anew");
    terminal.line("/set parameter max_tokens 2");
    terminal.line("And now?");
    terminal.expect(OVER);
    drop((terminal, node));
}

#[test]
fn a_node_for_the_occasion_outlives_a_stopped_answer_and_ends_with_the_conversation() {
    let folder = Folder::with_model();
    let mut terminal = talk(&folder, &[]);
    stop_a_story(&mut terminal);
    terminal.line("/set parameter max_tokens 3");
    terminal.line("Go on.");
    let said = terminal.expect(OVER);
    assert!(!said.contains("error"), "{said}");
    assert_eq!(folder.json(&["ps"])["engines"][0]["restarts"], 0);
    terminal.keys("\x04");
    assert_eq!(terminal.code(), Some(0));
    let away = folder.troop(&["status"]);
    assert_eq!(away.status.code(), Some(4));
}

#[test]
fn a_terminal_of_any_kind_is_left_as_it_was_found() {
    let folder = Folder::with_model();
    let node = Node::start(&folder);
    // Once, stopped: what was said is there, and the engine stops too.
    let mut terminal = Terminal::start(&mut run(&folder, &["--temperature", "0", STORY]));
    until("something is said", || {
        (terminal.rest().matches(' ').count() > 20).then_some(())
    });
    terminal.keys("\x03");
    terminal.expect("stopped by Ctrl-C");
    assert_eq!(terminal.code(), Some(130));
    until("the engine has stopped", || {
        (engine(&folder) == (1, 0)).then_some(())
    });

    // Answers into a file: the prompt is on the terminal, and no escape in the file.
    let out = folder.0.join("out.txt");
    let program = env!("CARGO_BIN_EXE_troop");
    let script = format!(
        "{program} run smollm2 --max-tokens 4 --verbose > {}",
        out.display()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).env("TROOP_HOME", &folder.0);
    let mut terminal = Terminal::start(&mut command);
    terminal.expect(">>> ");
    terminal.line("Hello!");
    terminal.expect(OVER);
    terminal.expect(">>> ");
    terminal.keys("\x04");
    assert_eq!(terminal.code(), Some(0));
    let answer = fs::read_to_string(&out).expect("text");
    assert!(
        !answer.trim().is_empty() && !answer.contains(['\x1b', '>']),
        "{answer:?}"
    );

    // A plain terminal edits no lines; Ctrl-C leaves all the same.
    let mut command = run(&folder, &["--max-tokens", "4", "--verbose"]);
    let mut terminal = Terminal::start_as("dumb", &mut command);
    terminal.expect(">>> ");
    terminal.line("Hello!");
    terminal.expect(OVER);
    let said = terminal.expect(">>> ");
    assert!(!said.contains('\x1b'), "{said:?}");
    terminal.keys("\x03");
    assert_eq!(terminal.code(), Some(130));

    // And a signal from elsewhere ends it with the terminal in order.
    let terminal = talk(&folder, &[]);
    assert!(!terminal.echoes());
    terminal.signal("-TERM");
    until("the terminal is in order", || {
        terminal.echoes().then_some(())
    });
    assert_eq!(terminal.code(), Some(130));
    drop(node);
}

fn piped(folder: &Folder, args: &[&str], input: &str) -> Output {
    let fixed = if args.contains(&"--temperature") {
        &[]
    } else {
        FIXED
    };
    let mut command = run(folder, &[args, fixed].concat());
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("troop runs");
    // It may refuse its arguments before it reads.
    let _ = child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

const FIXED: &[&str] = &["--temperature", "0", "--max-tokens", "8"];

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn a_script_gets_the_answer_and_nothing_else() {
    let folder = Folder::with_model();
    let node = Node::start(&folder);
    let api = |content: &str| {
        let messages = json!([{ "role": "user", "content": content }]);
        let options = json!({ "messages": messages, "temperature": 0, "max_tokens": 8 });
        let answer = node.chat(None, options).expect("an answer").json;
        let content = answer["choices"][0]["message"]["content"].as_str();
        format!("{}\n", content.expect("text"))
    };
    // Through a pipe, on the line, and both: the line first.
    let cases: &[(&[&str], &str, &str)] = &[
        (&[], "Why is the sky blue?", "Why is the sky blue?"),
        (&["Why", "is the sky blue?"], "", "Why is the sky blue?"),
        (
            &["Sum up:"],
            "The sky is blue.\n",
            "Sum up:\n\nThe sky is blue.\n",
        ),
    ];
    for (args, input, asked) in cases {
        let output = piped(&folder, args, input);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), api(asked), "{asked}");
        assert_eq!(text(&output.stderr), "", "{asked}");
    }

    let timed = piped(&folder, &["--verbose"], "Why is the sky blue?");
    assert_eq!(text(&timed.stdout), api("Why is the sky blue?"));
    let words = text(&timed.stderr);
    for word in [
        "total",
        "queue, load",
        "prompt",
        "first text",
        "8 tokens",
        "tokens/s",
        "credits      0.00",
    ] {
        assert!(words.contains(word), "{word}: {words}");
    }

    let events = piped(&folder, &["--json"], "Why is the sky blue?");
    let events: Vec<Value> = text(&events.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object"))
        .collect();
    assert!(events.iter().all(|event| event["schema"] == "troop.run/v1"));
    let named = |name: &str| {
        events
            .iter()
            .filter(|event| event["event"] == name)
            .collect::<Vec<_>>()
    };
    let joined: String = named("text")
        .iter()
        .filter_map(|event| event["text"].as_str())
        .collect();
    assert_eq!(format!("{joined}\n"), api("Why is the sky blue?"));
    assert_eq!(named("begun")[0]["model"], "smollm2");
    assert_eq!(named("done")[0]["completion_tokens"], 8);
    assert_eq!(named("done")[0]["cost_micros"], 0);
    assert_eq!(events.last().expect("some")["event"], "done");

    // An answer that fits a schema, whatever the model would have said.
    let schema = folder.0.join("colour.json");
    let colours = json!({
        "type": "object",
        "properties": { "colour": { "enum": ["red", "green", "blue"] } },
        "required": ["colour"],
        "additionalProperties": false,
    });
    fs::write(&schema, colours.to_string()).expect("ours");
    let schema = schema.display().to_string();
    let formed = [
        "--format",
        &schema,
        "--max-tokens",
        "64",
        "--temperature",
        "1",
    ];
    let formed = piped(&folder, &formed, "Tell me a story.");
    assert!(formed.status.success(), "{}", text(&formed.stderr));
    let object: Value = serde_json::from_slice(&formed.stdout).expect("JSON");
    let colour = object["colour"].as_str().expect("a colour");
    assert!(["red", "green", "blue"].contains(&colour), "{object}");

    let wrong: &[(&[&str], &str, i32, &str)] = &[
        (&["--temperature", "9"], "Hi", 2, "temperature"),
        (&["--image", "cat.png"], "Hi", 2, "text alone"),
        (&["--format", "/nowhere.json"], "Hi", 2, "/nowhere.json"),
        (&[], " \n", 2, "PROMPT"),
    ];
    for (args, input, code, words) in wrong {
        let output = piped(&folder, args, input);
        assert_eq!(output.status.code(), Some(*code), "{args:?}");
        assert!(
            text(&output.stderr).contains(words),
            "{}",
            text(&output.stderr)
        );
        assert_eq!(text(&output.stdout), "", "{args:?}");
    }
}
