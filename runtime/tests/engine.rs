//! `troop engine` as its node meets it: a real child, a real model, frames on its pipes.

use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;
use troop_actors::engine::frames::{EngineFacts, EngineStats, FromEngine, ToEngine};
use troop_actors::engine::pipe::{self, Kind};
use troop_actors::generate::{
    Event, Failure, Finish, Generate, Prompt, Resume, ResumeChoice, Sampling, Work,
};
use troop_actors::ids::{AttemptId, Digest, Passport};

#[path = "engine/process.rs"]
mod process;
#[path = "../../kernels/tests/support/test_model.rs"]
mod test_model;

/// A running engine. Dropping it ends it.
struct Engine {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    facts: EngineFacts,
}

fn command(model: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_troop"));
    command.args(["engine", "--model", model]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

fn model() -> String {
    let path = test_model::test_model();
    path.to_str().expect("the path is UTF-8").to_owned()
}

impl Engine {
    fn start(arguments: &[&str]) -> Engine {
        let mut child = command(&model())
            .args(arguments)
            .spawn()
            .expect("troop starts");
        let input = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let first = pipe::read(&mut output, Kind::FromEngine).expect("a frame");
        let Some(FromEngine::Ready(facts)) = first else {
            panic!("not ready: {first:?}");
        };
        Engine {
            child,
            input,
            output,
            facts,
        }
    }

    fn say(&mut self, frame: &ToEngine) {
        let input = self.input.as_mut().expect("a pipe");
        pipe::write(input, Kind::ToEngine, frame).expect("it reads");
        input.flush().expect("it reads");
    }

    fn begin(&mut self, number: u8, generate: &Generate, resume: Option<Resume>) {
        let attempt = AttemptId([number; 16]);
        let work = Box::new(Work {
            generate: generate.clone(),
            resume,
        });
        self.say(&ToEngine::Start {
            attempt,
            tenant: Digest([0; 32]),
            work,
        });
    }

    fn hear(&mut self) -> FromEngine {
        let frame = pipe::read(&mut self.output, Kind::FromEngine).expect("a frame");
        frame.expect("it is still there")
    }

    /// Everything the open attempts say until `count` of them are closed, by attempt.
    fn finish(&mut self, count: usize) -> BTreeMap<u8, Story> {
        let mut stories: BTreeMap<u8, Story> = BTreeMap::new();
        let mut closed = 0;
        while closed < count {
            match self.hear() {
                FromEngine::Event { attempt, event } => {
                    let story = stories.entry(attempt.0[0]).or_default();
                    match event {
                        Event::Started { prompt } => story.prompt = prompt,
                        Event::Echo { .. } | Event::Embedded { .. } => {
                            panic!("nobody asked for {event:?}")
                        }
                        Event::Progress { .. } | Event::Reused { .. } => {}
                        Event::Token { id, bytes, .. } => {
                            story.ids.push(id);
                            story.text.extend(bytes);
                        }
                        Event::Ended { finish, .. } => story.finish = Some(finish),
                    }
                }
                FromEngine::Closed {
                    attempt, failure, ..
                } => {
                    closed += 1;
                    stories.entry(attempt.0[0]).or_default().failure = failure;
                }
                other => panic!("unexpected: {other:?}"),
            }
        }
        stories
    }

    /// Processor time of all its threads so far, in ticks of the system's clock.
    #[cfg(target_os = "linux")]
    fn burnt_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("it runs");
        // The name is in brackets and may hold spaces; of what follows, the 12th and 13th are meant.
        let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
        let times = fields.split(' ').skip(11).take(2);
        times
            .map(|ticks| ticks.parse::<u64>().expect("a number"))
            .sum()
    }

    fn stats(&mut self) -> EngineStats {
        self.say(&ToEngine::Probe { number: 9 });
        loop {
            if let FromEngine::Alive { number: 9, stats } = self.hear() {
                return stats;
            }
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Story {
    prompt: Vec<u32>,
    ids: Vec<u32>,
    text: Vec<u8>,
    finish: Option<Finish>,
    failure: Option<Failure>,
}

fn generate(text: &str, seed: Option<u64>, tokens_max: u32) -> Generate {
    Generate {
        sampling: Sampling {
            temperature: if seed.is_some() { 1.0 } else { 0.0 },
            seed: seed.unwrap_or_default(),
            ..Sampling::default()
        },
        tokens_max,
        ignore_end: true,
        ..Generate::new(Passport([0; 32]), Prompt::Text(text.into()))
    }
}

#[test]
fn a_real_model_says_what_the_golden_run_said_and_ends_with_its_pipe() {
    let mut engine = Engine::start(&[]);
    assert_eq!(engine.facts.context, 8192);
    engine.begin(1, &generate("The capital of France is", None, 5), None);
    let story = engine.finish(1).remove(&1).expect("it was heard");
    // As llama.cpp's tokens and as those of its f32 run, which part only later.
    assert_eq!(story.prompt, [504, 3575, 282, 4649, 314]);
    assert_eq!(story.ids, [7042, 30, 198, 198, 504]);
    assert_eq!(String::from_utf8_lossy(&story.text), " Paris.\n\nThe");
    assert_eq!(story.finish, Some(Finish::Length));
    let stats = engine.stats();
    assert_eq!((stats.running, stats.pages_free), (0, engine.facts.pages));
    engine.input = None;
    assert!(engine.child.wait().expect("it ends").success());
}

#[test]
fn sixteen_strangers_in_a_batch_change_nothing_and_neither_does_being_taken_up() {
    let mut engine = Engine::start(&[]);
    let texts = [
        "Once upon a time",
        "The sea is",
        "fn main() {",
        "1, 2, 3, 4, 5, 6, 7, 8, 9,",
    ];
    let request = |n: u8| {
        generate(
            &texts[usize::from(n) % 4].repeat(1 + usize::from(n)),
            Some(n.into()),
            16,
        )
    };
    for n in 0..16 {
        engine.begin(n, &request(n), None);
    }
    let together = engine.finish(16);
    for n in [0, 3, 7, 10, 15] {
        engine.begin(n, &request(n), None);
        let alone = engine.finish(1);
        assert_eq!(alone[&n], together[&n], "attempt {n}");
    }
    let whole = &together[&7];
    let resume = Resume {
        prompt: whole.prompt.clone(),
        choices: vec![ResumeChoice {
            ids: whole.ids[..9].to_vec(),
            finish: None,
        }],
    };
    // Another process, as on another worker, with fewer pages than the first.
    let mut other = Engine::start(&[
        "--kv-bytes",
        "50000000",
        "--threads",
        "1",
        "--sequences",
        "2",
    ]);
    other.begin(7, &request(7), Some(resume));
    assert_eq!(other.finish(1)[&7].ids, whole.ids[9..]);
}

#[test]
fn an_engine_with_pages_of_int8_holds_nearly_twice_as_much_in_a_class_of_its_own() {
    let bytes = ["--kv-bytes", "50000000", "--threads", "1"];
    let halves = Engine::start(&bytes).facts.clone();
    let int8 = [&bytes[..], &["--kv-cache", "int8"]].concat();
    let mut one = Engine::start(&int8);
    // A head of 64 is 128 bytes of halves, and 68 of integers with their scale.
    assert_eq!(one.facts.page_bytes * 32, halves.page_bytes * 17);
    assert!(one.facts.pages * 10 >= halves.pages * 18, "{:?}", one.facts);
    let classes = [&halves, &one.facts].map(EngineFacts::class_of_any_context);
    assert_ne!(classes[0], classes[1]);
    assert!(classes[1].contains("int8"), "{}", classes[1]);

    // What one of the class began another one goes on with, at the very next token.
    let request = generate("Once upon a time", Some(1), 40);
    one.begin(1, &request, None);
    let whole = one.finish(1).remove(&1).expect("it is there");
    let resume = Resume {
        prompt: whole.prompt.clone(),
        choices: vec![ResumeChoice {
            ids: whole.ids[..9].to_vec(),
            finish: None,
        }],
    };
    let mut other = Engine::start(&[&int8[..], &["--no-speculation"]].concat());
    assert_eq!(
        other.facts.class_of_any_context(),
        one.facts.class_of_any_context()
    );
    other.begin(1, &request, Some(resume));
    assert_eq!(other.finish(1)[&1].ids, whole.ids[9..]);
}

#[test]
fn a_cancel_is_heard_within_one_step_and_frees_every_page() {
    let mut engine = Engine::start(&[]);
    let mut request = generate("Once upon a time", Some(1), 4000);
    request.choices = 4;
    engine.begin(1, &request, None);
    engine.begin(2, &generate(&"word ".repeat(3000), Some(1), 4000), None);
    for _ in 0..20 {
        engine.hear();
    }
    for number in [1, 2] {
        let attempt = AttemptId([number; 16]);
        engine.say(&ToEngine::Cancel { attempt });
    }
    let stories = engine.finish(2);
    assert!(
        stories
            .values()
            .all(|story| story.failure == Some(Failure::Cancelled))
    );
    let stats = engine.stats();
    assert_eq!((stats.running, stats.waiting, stats.cancelled), (0, 0, 2));
    assert_eq!(stats.pages_free, engine.facts.pages);
    assert!(stats.steps_after_cancel_max <= 1, "{stats:?}");
}

#[test]
#[allow(clippy::disallowed_methods)] // A real process is measured in real time.
fn a_prompt_met_again_is_answered_in_a_tenth_of_the_time_and_with_the_same_tokens() {
    let mut engine = Engine::start(&[]);
    // Seven pages and a half of another text each time; one token is enough to have the prompt evaluated.
    let prompt = |n: u8| {
        (0..500)
            .map(|word| 1_000 + word * 7 + u32::from(n))
            .collect()
    };
    let request = |n: u8| Generate {
        prompt: Prompt::Tokens(prompt(n)),
        ..generate("", None, 1)
    };
    let mut ask = |n: u8| {
        let began = Instant::now();
        engine.begin(n, &request(n), None);
        let story = engine.finish(1).remove(&n).expect("it was heard");
        (began.elapsed(), story.ids)
    };
    let mut ratios = Vec::new();
    for n in 0..5 {
        let (cold, said) = ask(n);
        let (warm, again) = ask(n);
        assert_eq!(said, again, "prompt {n}");
        ratios.push(warm.as_secs_f64() / cold.as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    println!("warm to cold: {ratios:.3?}");
    assert!(ratios[0] <= 0.1, "{ratios:?}");
    assert_eq!(engine.stats().reused_tokens, 5 * 499);
}

#[test]
fn a_hostile_file_is_unfit_and_the_field_is_named() {
    let cases: [(&str, &[u8], &str); 3] = [
        ("magic", b"GGML\x03\0\0\0", "magic"),
        (
            "count",
            b"GGUF\x03\0\0\0\xff\xff\xff\xff\xff\xff\xff\x7f\0\0\0\0\0\0\0\0",
            "tensor count",
        ),
        (
            "empty",
            b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            "tokenizer.ggml.tokens",
        ),
    ];
    for (name, bytes, field) in cases {
        let path = std::env::temp_dir().join(format!("troop-{}-{name}.gguf", std::process::id()));
        std::fs::write(&path, bytes).expect("a temporary file");
        let output = command(&path.to_string_lossy())
            .output()
            .expect("troop starts");
        std::fs::remove_file(&path).expect("it is ours");
        let said = pipe::read(&mut &output.stdout[..], Kind::FromEngine).expect("a frame");
        match said {
            Some(FromEngine::Unfit { message }) => assert!(message.contains(field), "{message}"),
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(output.status.code(), Some(2));
    }
}
