//! The real models draw the same tokens with the same odds, however they are computed: with every instruction set,
//! on one thread and two, cold and warm, alone and among strangers, with prompts in long and in short chunks, with
//! drafts and without, free and kept to a schema.
//!
//! `kernels/tests/same_bits.rs` compares logits over more schedules; here a whole engine makes them. Steps are said
//! to take as long with drafts as without, so that as many are made as ever are.

use std::collections::BTreeMap;
use std::sync::Mutex;
use troop_actors::contract::Time;
use troop_actors::engine::Desk;
use troop_actors::engine::frames::{FromEngine, ToEngine};
use troop_actors::engine::native::{self, Means, NativeForward, NativeWords, PageKind};
use troop_actors::generate::{Event, Generate, Prompt, Sampling, Shape, Work};
use troop_actors::ids::{AttemptId, Digest, Passport};
use troop_kernels::isa::Isa;

#[path = "../../kernels/tests/support/test_model.rs"]
mod test_model;

type NativeDesk = Desk<NativeForward, NativeWords>;

/// A way to compute.
#[derive(Clone, Copy, Debug)]
struct Way {
    isa: Isa,
    threads: usize,
    drafts: bool,
    /// The first step of a request is said to take a second, so that later prompts are read in chunks of 16 tokens.
    slow: bool,
}

/// What every other way is compared with.
fn plain() -> Way {
    Way {
        isa: Isa::detect(),
        threads: 1,
        drafts: false,
        slow: false,
    }
}

/// All ways of the fastest instruction set, two of each other one; and one of the reference, which takes a tenth of
/// a second for each token.
fn ways() -> Vec<Way> {
    let all = [
        (2, true, false),
        (1, false, true),
        (1, true, false),
        (2, false, false),
        (2, true, true),
    ];
    let mut ways = Vec::new();
    for isa in Isa::available() {
        let count = match isa {
            Isa::Reference => 1,
            isa if isa == Isa::detect() => all.len(),
            _ => 2,
        };
        let of_isa = all[..count].iter().map(|&(threads, drafts, slow)| Way {
            isa,
            threads,
            drafts,
            slow,
        });
        ways.extend(of_isa);
    }
    ways
}

fn desk(file: &[u8], way: Way) -> NativeDesk {
    let means = Means {
        isa: way.isa,
        threads: way.threads,
        sequences_max: 12,
        page_kind: PageKind::F16,
        kv_bytes: Some(256 << 20),
        free_bytes: None,
    };
    let (forward, words, facts) = native::load(file, means).expect("the model is served");
    let desk = Desk::new(forward, words, facts);
    match way.drafts {
        true => desk,
        false => desk.without_speculation(),
    }
}

/// By choice: its tokens with their odds, and how it ended.
type Story = BTreeMap<u32, Vec<Event>>;

/// Serves requests together, whose numbers begin with `first`, and returns what each was told.
fn serve(desk: &mut NativeDesk, way: Way, first: usize, requests: &[Generate]) -> Vec<Story> {
    let mut out = Vec::new();
    for (number, generate) in (first..).zip(requests) {
        let work = Box::new(Work {
            generate: generate.clone(),
            resume: None,
        });
        let start = ToEngine::Start {
            attempt: AttemptId([number as u8; 16]),
            // Each finds nothing of the others' texts, and so reads its own.
            tenant: Digest([number as u8; 32]),
            work,
        };
        desk.hear(Time(0), start, 0, &mut out);
    }
    let mut step_ms = if way.slow { 1_000 } else { 10 };
    while desk.step(Time(0), &mut out) {
        desk.took(step_ms);
        step_ms = 10;
    }
    let mut stories = BTreeMap::new();
    for frame in out {
        match frame {
            FromEngine::Event { attempt, event } => {
                let story: &mut Story = stories.entry(attempt).or_default();
                if let Event::Token { choice, .. } | Event::Ended { choice, .. } = event {
                    story.entry(choice).or_default().push(event);
                }
            }
            FromEngine::Closed { failure, .. } => assert_eq!(failure, None),
            other => panic!("unexpected: {other:?}"),
        }
    }
    stories.into_values().collect()
}

fn request(text: &str, shape: Shape, temperature: f32) -> Generate {
    Generate {
        sampling: Sampling {
            temperature,
            seed: 11,
            ..Sampling::default()
        },
        tokens_max: 64,
        logprobs: Some(3),
        shape,
        ..Generate::new(Passport([0; 32]), Prompt::Text(text.into()))
    }
}

/// Requests whose answers repeat what was there before.
fn requests() -> Vec<Generate> {
    let rule = "The night train leaves the harbour at nine, stops twice in the hills, and reaches the lake by dawn. ";
    let copy = [&rule.repeat(3), "The night train"].concat();
    let list = "Six people as JSON: [{\"name\": \"Ann\", \"colour\": \"red\"}, {\"name\": \"Bob\", \"colour\": \"blue\"}, …]\n";
    let schema = r#"{"type": "array", "minItems": 5, "maxItems": 6, "items": {"type": "object",
        "properties": {"name": {"enum": ["Ann", "Bob", "Cem", "Dora"]}, "colour": {"enum": ["red", "blue"]}},
        "required": ["name", "colour"], "additionalProperties": false}}"#;
    let schema = Shape::Schema(schema.into());
    let mut requests = Vec::new();
    for temperature in [0.0, 0.8] {
        requests.push(request(&copy, Shape::Free, temperature));
        requests.push(request(list, schema.clone(), temperature));
    }
    requests[0].sampling.repetition_penalty = 1.02;
    requests[2].choices = 2;
    requests
}

/// Serves requests each alone, cold and warm, and then, in most ways of the fastest instruction set, all together among
/// strangers; all as they were told before.
///
/// Returns the count of steps that the requests took alone.
fn serve_as_before(file: &[u8], way: Way, requests: &[Generate], before: &[Story]) -> u64 {
    let mut desk = desk(file, way);
    for (number, request) in requests.iter().enumerate() {
        let accepted = desk.stats().accepted_tokens;
        for beginning in ["cold", "warm"] {
            let story = serve(&mut desk, way, number, std::slice::from_ref(request));
            let same = story == before[number..=number];
            assert!(same, "request {number}, {beginning}, {way:?}");
        }
        let accepted = desk.stats().accepted_tokens - accepted;
        assert!(
            !way.drafts || accepted > 10,
            "request {number}, {way:?}: {accepted}"
        );
    }
    // What a crowd takes depends on its company: only steps of requests alone are told.
    let steps = desk.stats().steps;
    if way.isa == Isa::detect() && (way.slow || way.threads == 2 && way.drafts) {
        let strangers = (0..6).map(|number| {
            let text = format!("Once upon a time there were {number} mice, and they");
            request(&text, Shape::Free, 0.9)
        });
        let crowd: Vec<Generate> = requests.iter().cloned().chain(strangers).collect();
        let told = serve(&mut desk, way, 0, &crowd);
        for (number, story) in before.iter().enumerate() {
            assert!(
                *story == told[number],
                "request {number} among strangers, {way:?}"
            );
        }
    }
    let stats = desk.stats();
    assert!(stats.reused_tokens > 0);
    if !way.drafts {
        assert_eq!((stats.drafted_tokens, stats.accepted_tokens), (0, 0));
    }
    println!(
        "{way:?}: {} tokens in {} steps; {} drafts, {} right; {} tokens reused",
        stats.tokens, stats.steps, stats.drafted_tokens, stats.accepted_tokens, stats.reused_tokens,
    );
    steps
}

/// Two engines of two threads each would wait for each other's threads.
static ALONE: Mutex<()> = Mutex::new(());

fn says_the_same_in_every_way(file: &[u8]) {
    let _alone = ALONE.lock();
    let requests = requests();
    let mut desk = desk(file, plain());
    let alone: Vec<Story> = (requests.iter().enumerate())
        .flat_map(|(number, request)| {
            serve(&mut desk, plain(), number, std::slice::from_ref(request))
        })
        .collect();
    let mut steps = BTreeMap::new();
    for way in ways() {
        let count = match way.isa {
            Isa::Reference => 1,
            _ => requests.len(),
        };
        let taken = serve_as_before(file, way, &requests[..count], &alone);
        if way.isa == Isa::detect() && way.drafts {
            steps.insert((way.slow, way.threads), taken);
        }
    }
    if Isa::detect() != Isa::Reference {
        assert!(steps[&(true, 2)] > steps[&(false, 2)], "{steps:?}");
        assert_eq!(steps[&(false, 1)], steps[&(false, 2)], "threads alone");
    }
}

#[test]
fn smollm2_says_the_same_in_every_way() {
    says_the_same_in_every_way(&std::fs::read(test_model::test_model()).expect("it is there"));
}

#[test]
fn gemma_3_says_the_same_in_every_way() {
    says_the_same_in_every_way(&std::fs::read(test_model::gemma()).expect("it is there"));
}
