//! Templates that double what they hold. The interpreter counts steps, not bytes, so sixty steps could ask for
//! more than there is; what stops them is the limit on the memory of the process that renders, which for an
//! engine its sandbox sets. Here this test starts itself again under such a limit, once for every way to double.

#![cfg(target_os = "linux")]

#[path = "support/gguf_file.rs"]
mod gguf_file;

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use gguf_file::File;
use troop_kernels::gguf::Gguf;
use troop_kernels::template::{self, Conversation, Template};
use troop_kernels::tokenizer::Tokenizer;

/// Ways to double, each done sixty times.
const DOUBLINGS: [(&str, &str); 8] = [
    ("~", "{% set ns.x = ns.x ~ ns.x %}"),
    ("+", "{% set ns.x = ns.x + ns.x %}"),
    ("join", "{% set ns.x = [ns.x, ns.x] | join %}"),
    ("format", "{% set ns.x = '%s%s' | format(ns.x, ns.x) %}"),
    ("replace", "{% set ns.x = ns.x.replace('x', 'xx') %}"),
    ("a filter after", "{% set ns.x = (ns.x ~ ns.x) | upper %}"),
    (
        "a captured block",
        "{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}",
    ),
    (
        "lists in lists, as JSON",
        "{% set ns.l = [ns.l, ns.l] %}{% if loop.last %}{{ ns.l | tojson }}{% endif %}",
    ),
];

fn render(doubling: &str) -> Result<usize, String> {
    let source = format!(
        "{{% set ns = namespace(x='x', l=[1]) %}}{{% for i in range(60) %}}{doubling}{{% endfor %}}"
    );
    let file = File::new()
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", "smollm")
        .strings("tokenizer.ggml.tokens", &["a", "b"])
        .strings("tokenizer.ggml.merges", &[])
        .text("tokenizer.chat_template", &source)
        .done();
    let gguf = Gguf::parse(&file).expect("a good header");
    let tokenizer = Tokenizer::load(&gguf).expect("a good vocabulary");
    let template = Template::load(&gguf, &tokenizer).map_err(|error| error.to_string())?;
    let conversation = Conversation {
        messages: &[template::message("user", "x")],
        tools: None,
        now_seconds: None,
        add_generation_prompt: true,
    };
    let segments = template
        .render(&conversation)
        .map_err(|error| error.to_string())?;
    Ok(segments.iter().map(|segment| segment.text.len()).sum())
}

#[test]
fn a_template_that_doubles_ends_at_the_limit_of_its_process() {
    if let Ok(place) = std::env::var(INSIDE) {
        let place: usize = place.parse().expect("a number");
        bound_memory();
        panic!("it ended by itself: {:?}", render(DOUBLINGS[place].1));
    }
    for (place, (name, _)) in DOUBLINGS.into_iter().enumerate() {
        let itself = std::env::current_exe().expect("a test knows its own program");
        let test = "a_template_that_doubles_ends_at_the_limit_of_its_process";
        let output = Command::new(itself)
            .args(["--exact", test, "--nocapture"])
            .env(INSIDE, place.to_string())
            .env("RUST_BACKTRACE", "0")
            .output()
            .expect("it starts again");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.signal(),
            Some(libc::SIGABRT),
            "{name}: {said}"
        );
        assert!(said.contains("memory allocation of"), "{name}: {said}");
    }
}

/// As the engine's sandbox does, and more tightly.
fn bound_memory() {
    let limit = libc::rlimit {
        rlim_cur: 256 << 20,
        rlim_max: 256 << 20,
    };
    // SAFETY: the struct outlives the call, which only reads it.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

const INSIDE: &str = "TROOP_TEST_TEMPLATE_MEMORY";
