//! Lines and answers in, actions out: no terminal, no node.

use super::super::answer::Usage;
use super::*;

fn chat() -> Chat {
    let model = Model {
        name: "m".to_owned(),
        digest: "sha256:0".to_owned(),
        context: 100,
    };
    Chat::new(model, None, Settings::default(), false)
}

fn step(chat: &mut Chat, input: Input) -> Vec<Action> {
    let mut out = Vec::new();
    chat.step(input, &mut out);
    out
}

fn typed(chat: &mut Chat, line: &str) -> Vec<Action> {
    step(chat, Input::Line(line.to_owned()))
}

fn answered(chat: &mut Chat, text: &str, end: End) -> Vec<Action> {
    let answer = Answer {
        text: text.to_owned(),
        ..Answer::default()
    };
    let answer = Box::new(answer);
    step(chat, Input::Answered { answer, end })
}

/// The last request among `actions`, as `role: text` lines.
fn asked(actions: &[Action]) -> Option<String> {
    let request = actions.iter().find_map(|action| match action {
        Action::Ask(request) => Some(request),
        _ => None,
    })?;
    let messages = request["messages"].as_array().expect("messages");
    let lines = messages.iter().map(|message| {
        let part = |name: &str| message[name].as_str().expect("text").to_owned();
        format!("{}: {}", part("role"), part("content"))
    });
    Some(lines.collect::<Vec<_>>().join("\n"))
}

/// What is said by `actions`, one way or another.
fn said(actions: &[Action]) -> String {
    format!("{actions:?}")
}

#[test]
fn the_whole_conversation_is_sent_each_time() {
    let mut chat = chat();
    assert_eq!(asked(&typed(&mut chat, "  ")), None);
    typed(&mut chat, "/set system Be brief.");
    let first = typed(&mut chat, " one ");
    assert_eq!(asked(&first).unwrap(), "system: Be brief.\nuser: one");
    answered(&mut chat, "1", End::Whole);
    let second = typed(&mut chat, "two");
    let whole = "system: Be brief.\nuser: one\nassistant: 1\nuser: two";
    assert_eq!(asked(&second).unwrap(), whole);
    answered(&mut chat, "2", End::Whole);
    typed(&mut chat, "/clear");
    typed(&mut chat, "/set system");
    assert_eq!(asked(&typed(&mut chat, "three")).unwrap(), "user: three");
}

#[test]
fn several_lines_between_fences_are_one_message_and_one_entry_of_the_history() {
    let mut chat = chat();
    assert_eq!(chat.prompt(), ">>> ");
    assert!(typed(&mut chat, "\"\"\"one").is_empty());
    assert_eq!(chat.prompt(), "... ");
    assert!(typed(&mut chat, "/bye").is_empty());
    assert!(typed(&mut chat, "").is_empty());
    let actions = typed(&mut chat, "two\"\"\" ");
    assert_eq!(asked(&actions).unwrap(), "user: one\n/bye\n\ntwo");
    let Action::Remember(entry) = &actions[0] else {
        panic!("{actions:?}");
    };
    answered(&mut chat, "", End::Stopped);
    // What the history gives back is the same message again.
    let again = typed(&mut chat, entry);
    assert_eq!(asked(&again), asked(&actions));
    answered(&mut chat, "", End::Stopped);
    // A paste has its line ends in it.
    assert_eq!(asked(&typed(&mut chat, "a\nb")).unwrap(), "user: a\nb");
    answered(&mut chat, "", End::Stopped);

    typed(&mut chat, "/set system \"\"\"A");
    typed(&mut chat, "B\"\"\"");
    assert_eq!(chat.system.as_deref(), Some("A\nB"));
}

#[test]
fn a_stopped_answer_stays_as_far_as_it_came_and_the_chat_goes_on() {
    let mut chat = chat();
    typed(&mut chat, "one");
    let stopped = answered(&mut chat, "The sk", End::Stopped);
    assert!(said(&stopped).contains("[stopped]"));
    let next = typed(&mut chat, "go on");
    let whole = "user: one\nassistant: The sk\nuser: go on";
    assert_eq!(asked(&next).unwrap(), whole);
    assert!(said(&typed(&mut chat, "/show messages")).contains("assistant (cut)"));
    // Nothing was said at all: the question is given back, and no turn is left without its answer.
    let stopped = answered(&mut chat, "", End::Stopped);
    assert!(matches!(&stopped[0], Action::Offer(text) if text == "go on"));
    assert_eq!(chat.messages.len(), 2);
}

#[test]
fn a_question_that_does_not_fit_is_given_back_and_nothing_is_lost() {
    let mut chat = chat();
    typed(&mut chat, "one");
    answered(&mut chat, "1", End::Whole);
    typed(&mut chat, "long");
    let fault = Fault::usage("the context is 100 tokens, but the messages have 123 tokens");
    let fault = fault.named("context_length_exceeded");
    let actions = answered(&mut chat, "", End::Failed(fault));
    assert!(matches!(&actions[0], Action::Offer(text) if text == "long"));
    let words = said(&actions);
    for word in ["100", "123", "/clear", "/save"] {
        assert!(words.contains(word), "{words}");
    }
    assert_eq!(chat.messages.len(), 2);
    // An answer that fills the context says so too, and is kept.
    typed(&mut chat, "two");
    let answer = Box::new(Answer {
        text: "2".to_owned(),
        finish: Some("length".to_owned()),
        usage: Usage {
            prompt_tokens: 90,
            completion_tokens: 10,
            ..Usage::default()
        },
        ..Answer::default()
    });
    let end = End::Whole;
    let words = said(&step(&mut chat, Input::Answered { answer, end }));
    assert!(
        words.contains("context of 100") && words.contains("/clear"),
        "{words}"
    );
    assert_eq!(chat.messages.len(), 4);
}

#[test]
fn ctrl_c_at_the_prompt_says_how_to_leave_and_twice_at_once_leaves() {
    let interrupt = |chat: &mut Chat, at_ms| step(chat, Input::Interrupt { at_ms });
    let mut chat = chat();
    assert!(said(&interrupt(&mut chat, 0)).contains("Ctrl-D"));
    assert!(matches!(interrupt(&mut chat, 5_000)[0], Action::Say(_)));
    typed(&mut chat, "/show info");
    assert!(matches!(interrupt(&mut chat, 5_100)[0], Action::Say(_)));
    let left = interrupt(&mut chat, 5_200);
    assert!(matches!(left[0], Action::Leave(Some(Code::Interrupted))));
    // It drops lines that are being gathered.
    typed(&mut chat, "\"\"\"one");
    interrupt(&mut chat, 90_000);
    assert_eq!(chat.prompt(), ">>> ");
    assert!(matches!(
        step(&mut chat, Input::End)[0],
        Action::Leave(None)
    ));
    assert!(matches!(typed(&mut chat, "/bye")[1], Action::Leave(None)));
}

#[test]
fn a_line_that_is_no_command_says_what_was_meant() {
    let cases = [
        ("/hlep", "did you mean /help?"),
        ("/claer", "did you mean /clear?"),
        ("/etc/passwd is what?", "a space before the /"),
        ("/", "/? lists"),
        ("/set sytem x", "did you mean /set system?"),
        ("/set", "/set system, /set parameter"),
        ("/show messges", "did you mean /show messages?"),
        ("/set parameter temprature 1", "did you mean temperature?"),
        ("/set parameter temperature 9", "temperature"),
        ("/set parameter stop \"a", "ends with a quote"),
        ("/save", "needs a file"),
    ];
    for (line, words) in cases {
        let mut chat = chat();
        let actions = typed(&mut chat, line);
        assert!(matches!(actions[1], Action::Complain(_)), "{line}");
        assert!(said(&actions).contains(words), "{line}: {actions:?}");
        assert_eq!(asked(&actions), None);
        assert_eq!(chat.settings, Settings::default());
    }
    // With a space before it, it is a message.
    let mut chat = chat();
    assert_eq!(asked(&typed(&mut chat, " /etc")).unwrap(), "user: /etc");
}

#[test]
fn what_is_set_is_sent_and_shown() {
    let mut chat = chat();
    typed(&mut chat, "/set parameter temperature 0.2");
    typed(&mut chat, "/set parameter stop END \"\\n\\n\"");
    let shown = said(&typed(&mut chat, "/show parameters"));
    assert!(shown.contains("temperature        0.2"), "{shown}");
    let actions = typed(&mut chat, "hello");
    let Some(Action::Ask(request)) = actions.last() else {
        panic!("{actions:?}");
    };
    assert_eq!(request["temperature"], 0.2);
    assert_eq!(request["stop"], json!(["END", "\n\n"]));
    answered(&mut chat, "x", End::Whole);
    typed(&mut chat, "/set verbose");
    typed(&mut chat, "again");
    let words = said(&answered(&mut chat, "x", End::Whole));
    assert!(words.contains("queue, load"), "{words}");
}

#[test]
fn a_conversation_is_kept_in_a_file_and_gone_on_with_whole_or_not_at_all() {
    let mut before = chat();
    typed(&mut before, "/set system Be brief.");
    typed(&mut before, "/set parameter seed 7");
    typed(&mut before, "one");
    answered(&mut before, "uno", End::Stopped);
    let actions = typed(&mut before, "/save chat.json");
    let Action::File { text, .. } = &actions[1] else {
        panic!("{actions:?}");
    };
    let load = |chat: &mut Chat, text: &str| {
        let outcome = Ok(text.to_owned());
        let (what, name) = (File::Load, "chat.json".to_owned());
        said(&step(
            chat,
            Input::File {
                what,
                name,
                outcome,
            },
        ))
    };
    let mut after = chat();
    assert!(load(&mut after, text).contains("2 messages"));
    assert_eq!(after.kept(), before.kept());
    let cases = [
        ("", "EOF"),
        ("{}", "troop.chat/v1"),
        (&text.replace("\"seed\"", "\"sed\""), "no parameter"),
        (&text.replace("\"assistant\"", "\"user\""), "in turn"),
        (&text.replace("\"assistant\"", "\"tool\""), "messages[1]"),
        (&text.replace("\"Be brief.\"", "3"), "system"),
        (&text.replace(": 7", ": \"x\""), "seed"),
    ];
    for (text, words) in cases {
        let mut chat = chat();
        let refusal = load(&mut chat, text);
        assert!(refusal.contains(words), "{words}: {refusal}");
        assert_eq!((chat.messages.len(), chat.system), (0, None));
    }
}

#[test]
fn a_message_is_bounded_while_it_is_typed() {
    let mut chat = chat();
    let line = "x".repeat(MESSAGE_BYTES_MAX + 1);
    assert!(matches!(typed(&mut chat, &line)[1], Action::Complain(_)));
    assert!(chat.messages.is_empty());
    typed(&mut chat, FENCE);
    assert!(matches!(typed(&mut chat, &line)[0], Action::Complain(_)));
    assert_eq!(chat.prompt(), ">>> ");
}
