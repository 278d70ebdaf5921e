//! What drafts bring: `just bench-speculation MODEL.gguf…`.
//!
//! Two tasks, one that repeats its prompt and one that does not, each as one stream and as eight. Every task is run
//! with drafts and without in turn, so that both meet the same machine; the words are compared, and a line has the
//! medians of tokens a second, their ratio, and how many drafts of how many were right.

#![allow(
    clippy::disallowed_methods,
    reason = "real time is what is measured here"
)]

use std::time::{Instant, SystemTime, UNIX_EPOCH};
use troop_actors::contract::Time;
use troop_actors::engine::Desk;
use troop_actors::engine::frames::{FromEngine, ToEngine};
use troop_actors::engine::native::{self, Means, NativeForward, NativeWords, PageKind};
use troop_actors::generate::{Event, Generate, Prompt, Sampling, Work};
use troop_actors::ids::{AttemptId, Digest, Passport};
use troop_kernels::isa::Isa;

type NativeDesk = Desk<NativeForward, NativeWords>;

/// What a round took.
struct Round {
    /// By attempt, position after position.
    ids: Vec<(AttemptId, u32)>,
    /// Those of them that were drawn in that time.
    timed: usize,
    seconds: f64,
}

fn main() {
    for path in std::env::args().skip(1) {
        let file = std::fs::read(&path).expect("the model can be read");
        println!("{path}");
        let mut with = desk(&file);
        let mut without = desk(&file).without_speculation();
        for (task, prompt) in [("copy", copy as fn(usize) -> String), ("story", story)] {
            for streams in [1, 8] {
                compare(&mut with, &mut without, task, prompt, streams);
            }
        }
    }
}

fn desk(file: &[u8]) -> NativeDesk {
    let means = Means {
        isa: Isa::detect(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        sequences_max: 8,
        page_kind: PageKind::F16,
        kv_bytes: Some(512 << 20),
        free_bytes: None,
    };
    let (forward, words, facts) = native::load(file, means).expect("the model is served");
    Desk::new(forward, words, facts)
}

/// A text that is there twice, and begins once more.
fn copy(number: usize) -> String {
    let rule = format!(
        "On line {number} the night train leaves the harbour at nine and stops twice in the hills. Who wants to sleep \
         takes a bed by the window; who does not may sit in the dining car, where tea and soup are served until \
         midnight. At dawn it reaches the lake, and the ferry waits for a quarter of an hour. "
    );
    [&rule.repeat(3), "On line"].concat()
}

fn story(number: usize) -> String {
    format!("Story number {number}. Once upon a time, in a village at the edge of a forest,")
}

fn compare(
    with: &mut NativeDesk,
    without: &mut NativeDesk,
    task: &str,
    prompt: impl Fn(usize) -> String,
    streams: usize,
) {
    let before = with.stats();
    let (mut drafting, mut plain) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let requests: Vec<Generate> = (0..streams)
            .map(|stream| request(prompt(stream + 8 * round), (stream + 8 * round) as u64))
            .collect();
        let first = serve(with, &requests);
        let second = serve(without, &requests);
        assert!(first.ids == second.ids, "drafts change no word");
        let rate = |round: &Round| round.timed as f64 / round.seconds;
        drafting.push(rate(&first));
        plain.push(rate(&second));
    }
    let (drafting, plain) = (median(drafting), median(plain));
    let after = with.stats();
    println!(
        "{task:6} {streams} streams: {plain:7.1} tokens/s without, {drafting:7.1} with ({:.2}x); {} of {} drafts right",
        drafting / plain,
        after.accepted_tokens - before.accepted_tokens,
        after.drafted_tokens - before.drafted_tokens,
    );
}

fn request(text: String, seed: u64) -> Generate {
    Generate {
        sampling: Sampling {
            temperature: 0.7,
            seed,
            ..Sampling::default()
        },
        tokens_max: 160,
        ignore_end: true,
        ..Generate::new(Passport([0; 32]), Prompt::Text(text))
    }
}

/// Serves requests together. The time counts from the first token that all have: prompts are not what is measured.
fn serve(desk: &mut NativeDesk, requests: &[Generate]) -> Round {
    let mut out = Vec::new();
    let now = || {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        Time(wall.unwrap_or_default().as_millis() as u64)
    };
    for (number, generate) in requests.iter().enumerate() {
        let work = Box::new(Work {
            generate: generate.clone(),
            resume: None,
        });
        let start = ToEngine::Start {
            attempt: AttemptId([number as u8; 16]),
            tenant: Digest([number as u8; 32]),
            work,
        };
        desk.hear(now(), start, 0, &mut out);
    }
    let mut began = Instant::now();
    let (mut ids, mut before) = (Vec::new(), 0);
    loop {
        let since = now();
        if !desk.step(since, &mut out) {
            break;
        }
        desk.took(now().since_ms(since));
        let mut begun = false;
        for frame in out.drain(..) {
            if let FromEngine::Event {
                attempt,
                event: Event::Token { id, position, .. },
            } = frame
            {
                begun |= position == 0;
                ids.push((attempt, id));
            }
        }
        if begun {
            began = Instant::now();
            before = ids.len();
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let timed = ids.len() - before;
    ids.sort_by_key(|(attempt, _)| *attempt);
    Round {
        ids,
        timed,
        seconds,
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Times that every task is run.
const ROUNDS: usize = 3;
