//! The real models draw the same tokens with the same odds whether drafts are evaluated or not: alone and among
//! strangers, cold and warm, free and kept to a schema.
//!
//! Steps are said to take as long with drafts as without, so that as many are made as ever are.

use std::collections::BTreeMap;
use troop_actors::contract::Time;
use troop_actors::engine::Desk;
use troop_actors::engine::frames::{EngineStats, FromEngine, ToEngine};
use troop_actors::engine::native::{self, Means, NativeForward, NativeWords};
use troop_actors::generate::{Event, Generate, Prompt, Sampling, Shape, Work};
use troop_actors::ids::{AttemptId, Digest, Passport};

#[path = "../../kernels/tests/support/test_model.rs"]
mod test_model;

type NativeDesk = Desk<NativeForward, NativeWords>;

fn desk(file: &[u8]) -> NativeDesk {
    let means = Means {
        threads: 2,
        sequences_max: 12,
        kv_bytes: Some(256 << 20),
        free_bytes: None,
    };
    let (forward, words, facts) = native::load(file, means).expect("the model is served");
    Desk::new(forward, words, facts)
}

/// By choice: its tokens with their odds, and how it ended.
type Story = BTreeMap<u32, Vec<Event>>;

/// Serves requests together and returns what each was told.
fn serve(desk: &mut NativeDesk, requests: &[Generate]) -> Vec<Story> {
    let mut out = Vec::new();
    for (number, generate) in requests.iter().enumerate() {
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
    while desk.step(Time(0), &mut out) {
        desk.took(10);
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

fn says_the_same_with_drafts(file: &[u8]) {
    let requests = requests();
    let mut without = desk(file).without_speculation();
    let alone: Vec<Story> = (requests.iter())
        .flat_map(|request| serve(&mut without, std::slice::from_ref(request)))
        .collect();
    let mut with = desk(file);
    for (number, request) in requests.iter().enumerate() {
        let before = with.stats();
        for beginning in ["cold", "warm"] {
            let story = serve(&mut with, std::slice::from_ref(request));
            assert_eq!(
                story,
                alone[number..=number],
                "request {number}, {beginning}"
            );
        }
        let accepted = with.stats().accepted_tokens - before.accepted_tokens;
        assert!(accepted > 10, "request {number}: {accepted}");
    }
    let strangers = (0..6).map(|number| {
        let text = format!("Once upon a time there were {number} mice, and they");
        request(&text, Shape::Free, 0.9)
    });
    let before = with.stats();
    let crowd: Vec<Generate> = requests.iter().cloned().chain(strangers).collect();
    let told = serve(&mut with, &crowd);
    for (number, story) in alone.iter().enumerate() {
        assert_eq!(story, &told[number], "request {number} among strangers");
    }
    let among = with.stats().accepted_tokens - before.accepted_tokens;
    assert!(among > 20, "{among}");
    let drawn = |it: EngineStats| it.tokens as f64 / it.steps as f64;
    let (with, without) = (with.stats(), without.stats());
    println!(
        "tokens a step: {:.2} with drafts, {:.2} without",
        drawn(with),
        drawn(without)
    );
    println!(
        "drafts: {}, right: {}",
        with.drafted_tokens, with.accepted_tokens
    );
    assert_eq!((without.drafted_tokens, without.accepted_tokens), (0, 0));
}

#[test]
fn smollm2_says_the_same_with_drafts_as_without() {
    says_the_same_with_drafts(&std::fs::read(test_model::test_model()).expect("it is there"));
}

#[test]
fn gemma_3_says_the_same_with_drafts_as_without() {
    says_the_same_with_drafts(&std::fs::read(test_model::gemma()).expect("it is there"));
}
