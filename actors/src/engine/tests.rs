//! Desks over a pretend forward pass.

mod crowd;
mod drafts;
mod endings;
mod pace;
mod prefixes;
mod prompts;
mod stories;

use super::frames::{EngineStats, FromEngine, ToEngine};
use super::pretend::{PretendForward, PretendWords, facts};
use super::*;
use crate::contract::Time;
use crate::generate::{
    Event, Failure, Finish, Generate, Likely, Prompt, Resume, ResumeChoice, Sampling, Tally, Task,
    Vector, Work,
};
use crate::ids::{AttemptId, Digest, Passport};
use crate::receipt::transcript;
use std::collections::BTreeMap;
use stories::*;

#[test]
fn a_request_is_started_streamed_ended_and_closed() {
    let story = alone(&generate(Prompt::Text("hello".into()), 3));
    assert_eq!(story.prompt.as_ref().map(Vec::len), Some(5));
    assert_eq!(story.closed, Some(None));
    assert_eq!(story.ended.len(), 1);
    assert!(!story.ids[&0].is_empty());
}

#[test]
fn the_same_request_gives_the_same_ids_and_another_seed_gives_others() {
    let first = generate(Prompt::Text("hello".into()), 3);
    let second = generate(Prompt::Text("hello".into()), 4);
    assert_eq!(alone(&first), alone(&first));
    assert_ne!(alone(&first).ids, alone(&second).ids);
}

#[test]
fn choices_share_their_prompt_and_differ_in_what_they_draw() {
    let mut desk = desk(16, 16, 512);
    let mut request = generate(Prompt::Text("x".repeat(150)), 5);
    request.choices = 4;
    request.ignore_end = true;
    let mut out = Vec::new();
    desk.hear(Time(0), start(attempt(0), request, None), 0, &mut out);
    desk.step(Time(0), &mut out);
    assert_eq!(
        desk.stats().pages_free,
        16 - 3,
        "one choice evaluates the prompt for all"
    );
    while desk.stats().running < 4 {
        desk.step(Time(0), &mut out);
    }
    // 150 tokens are two full pages, which are shared, and a third, which each has for itself.
    assert_eq!(desk.stats().pages_free, 16 - 2 - 4);
    while desk.step(Time(0), &mut out) {}
    let mut listener = Listener::default();
    listener.listen(&mut out);
    let ids = &listener.stories[&attempt(0)].ids;
    assert!(ids[&0] != ids[&1] && ids[&1] != ids[&2]);
    assert_eq!(desk.stats().pages_free, 16);
}

#[test]
fn a_stream_is_taken_up_at_any_position_and_goes_on_as_it_would_have() {
    let mut request = generate(Prompt::Text("once upon a time".into()), 11);
    request.choices = 2;
    request.sampling.repetition_penalty = 1.3;
    request.sampling.frequency_penalty = 0.4;
    request.stop = vec!["qz".into(), "e".into()];
    let whole = alone(&request);
    for cut in 0..=whole.ids[&0].len().max(whole.ids[&1].len()) {
        let so_far =
            |choice: u32| -> Vec<u32> { whole.ids[&choice].iter().take(cut).copied().collect() };
        let resume = Resume {
            prompt: whole.prompt.clone().expect("it started"),
            choices: vec![
                ResumeChoice {
                    ids: so_far(0),
                    finish: None,
                },
                ResumeChoice {
                    ids: so_far(1),
                    finish: None,
                },
            ],
        };
        let mut desk = desk(32, 8, 512);
        let mut listener = Listener::default();
        listener.resumed(attempt(1), &[so_far(0), so_far(1)]);
        let mut out = Vec::new();
        desk.hear(
            Time(0),
            start(attempt(1), request.clone(), Some(resume)),
            0,
            &mut out,
        );
        while desk.step(Time(0), &mut out) {}
        listener.listen(&mut out);
        let story = &listener.stories[&attempt(1)];
        assert_eq!(
            (&story.ids, &story.ended),
            (&whole.ids, &whole.ended),
            "cut at {cut}"
        );
        assert_eq!(story.closed, Some(None));
    }
}

#[test]
fn a_choice_that_had_ended_is_not_run_again() {
    let request = generate(Prompt::Text("abc".into()), 2);
    let whole = alone(&request);
    let resume = Resume {
        prompt: whole.prompt.clone().expect("it started"),
        choices: vec![ResumeChoice {
            ids: whole.ids[&0].clone(),
            finish: Some(whole.ended[&0]),
        }],
    };
    let mut desk = desk(32, 8, 512);
    let mut out = Vec::new();
    desk.hear(
        Time(0),
        start(attempt(1), request, Some(resume)),
        0,
        &mut out,
    );
    assert!(desk.is_idle());
    let mut listener = Listener::default();
    listener.resumed(attempt(1), &[whole.ids[&0].clone()]);
    listener.listen(&mut out);
    let story = &listener.stories[&attempt(1)];
    assert_eq!((story.closed.clone(), story.ended.len()), (Some(None), 0));
}

#[test]
fn an_end_token_counts_has_no_bytes_and_can_be_ignored() {
    let mut request = generate(Prompt::Text("abc".into()), 0);
    request.tokens_max = 500;
    let ended = alone(&request);
    assert_eq!(ended.ended[&0], Finish::Stop);
    assert_eq!(ended.ids[&0].last(), Some(&33));
    assert!(ended.text[&0].len() < ended.ids[&0].len());
    request.ignore_end = true;
    let long = alone(&request);
    assert_eq!((long.ended[&0], long.ids[&0].len()), (Finish::Length, 500));
    assert!(long.ids[&0].starts_with(&ended.ids[&0]));
}

#[test]
fn a_stop_string_ends_a_choice_at_the_token_that_completes_it() {
    let mut request = generate(Prompt::Text("abc".into()), 0);
    request.ignore_end = true;
    request.tokens_max = 200;
    let text = alone(&request).text[&0].clone();
    let stop = String::from_utf8(text[20..22].to_vec()).expect("letters");
    request.stop = vec![stop.clone()];
    let story = alone(&request);
    assert_eq!(story.ended[&0], Finish::Stop);
    assert!(story.text[&0].ends_with(stop.as_bytes()));
    assert!(story.text[&0].len() <= 22);
}

#[test]
fn what_cannot_be_served_is_refused_with_both_numbers() {
    let ok = || generate(Prompt::Text("abc".into()), 0);
    let mut many = ok();
    many.choices = 17;
    let mut none = ok();
    none.tokens_max = 0;
    let mut hot = ok();
    hot.sampling.temperature = f32::NAN;
    let mut stops = ok();
    stops.stop = vec![String::new()];
    let mut bias = ok();
    bias.sampling.logit_bias = vec![(34, 1.0)];
    let cases = [
        (
            generate(Prompt::Text("x".repeat(512)), 0),
            "the prompt has 512 tokens, the model's context is 512",
        ),
        (
            generate(Prompt::Text(String::new()), 0),
            "the prompt is empty",
        ),
        (
            generate(Prompt::Tokens(vec![1, 34]), 0),
            "prompt: token 34 is outside the vocabulary of 34",
        ),
        (
            generate(Prompt::Chat(Vec::new()), 0),
            "messages: 0 messages is outside 1 to 2048",
        ),
        (many, "choices: 17 is outside 1 to 16"),
        (none, "tokens_max: must be at least 1"),
        (hot, "temperature: must be 0 to 100"),
        (stops, "stop: 0 bytes is outside 1 to 256"),
        (bias, "logit_bias: token 34 is outside the vocabulary of 34"),
    ];
    for (request, expected) in cases {
        let mut desk = desk(8, 4, 4096);
        let mut out = Vec::new();
        desk.hear(Time(0), start(attempt(0), request, None), 0, &mut out);
        match &out[..] {
            [
                FromEngine::Closed {
                    failure: Some(failure),
                    ..
                },
            ] => {
                assert_eq!(failure.to_string(), expected);
            }
            other => panic!("{expected}: {other:?}"),
        }
        assert!(desk.is_idle());
    }
}

#[test]
fn a_choice_ends_where_the_context_does() {
    let mut request = generate(Prompt::Text("x".repeat(100)), 0);
    request.ignore_end = true;
    request.tokens_max = 10_000;
    let mut desk = desk(2, 4, 4096);
    let mut out = Vec::new();
    desk.hear(Time(0), start(attempt(0), request, None), 0, &mut out);
    while desk.step(Time(0), &mut out) {}
    let mut listener = Listener::default();
    listener.listen(&mut out);
    let story = &listener.stories[&attempt(0)];
    assert_eq!((story.ids[&0].len(), story.ended[&0]), (28, Finish::Length));
}

#[test]
fn a_cancel_ends_every_choice_before_the_next_step_and_frees_its_pages() {
    let mut desk = desk(16, 4, 512);
    let mut request = generate(Prompt::Text("x".repeat(100)), 0);
    request.choices = 2;
    request.ignore_end = true;
    let mut out = Vec::new();
    desk.hear(Time(0), start(attempt(0), request, None), 0, &mut out);
    for _ in 0..5 {
        desk.step(Time(0), &mut out);
    }
    let read_at = desk.stats().steps;
    desk.hear(
        Time(0),
        ToEngine::Cancel {
            attempt: attempt(0),
        },
        read_at,
        &mut out,
    );
    assert!(!desk.step(Time(0), &mut out));
    let stats = desk.stats();
    assert_eq!(
        (
            stats.cancelled,
            stats.steps_after_cancel_max,
            stats.pages_free
        ),
        (1, 0, 16)
    );
    desk.hear(
        Time(0),
        ToEngine::Cancel {
            attempt: attempt(0),
        },
        read_at,
        &mut out,
    );
    let mut listener = Listener::default();
    listener.listen(&mut out);
    let story = &listener.stories[&attempt(0)];
    assert_eq!(story.closed, Some(Some(Failure::Cancelled)));
    assert!(
        story
            .ended
            .values()
            .all(|finish| *finish == Finish::Cancelled)
    );
}

#[test]
fn who_waits_hears_how_it_goes_every_second() {
    let mut desk = desk(16, 1, 512);
    let mut out = Vec::new();
    let mut request = generate(Prompt::Text("x".repeat(300)), 0);
    request.ignore_end = true;
    desk.hear(
        Time(0),
        start(attempt(0), request.clone(), None),
        0,
        &mut out,
    );
    desk.hear(Time(0), start(attempt(1), request, None), 0, &mut out);
    out.clear();
    for second in 1..=5 {
        desk.step(Time(second * 1000), &mut out);
        desk.tick(Time(second * 1000), &mut out);
    }
    let waiting = out.iter().filter(|frame| {
        matches!(frame, FromEngine::Event { attempt: id, event: Event::Progress { done: 0, .. } } if *id == attempt(1))
    });
    assert_eq!(waiting.count(), 5);
    assert!(out.iter().any(|frame| {
        matches!(
            frame,
            FromEngine::Event {
                event: Event::Progress {
                    done: 128,
                    total: 300
                },
                ..
            }
        )
    }));
}

#[test]
fn a_short_prompt_is_not_held_up_by_a_long_one() {
    let mut desk = desk(64, 8, 4096);
    let mut out = Vec::new();
    desk.hear(
        Time(0),
        start(
            attempt(0),
            generate(Prompt::Text("x".repeat(2000)), 0),
            None,
        ),
        0,
        &mut out,
    );
    desk.step(Time(0), &mut out);
    desk.hear(
        Time(0),
        start(attempt(1), generate(Prompt::Text("y".repeat(20)), 0), None),
        0,
        &mut out,
    );
    desk.step(Time(0), &mut out);
    assert!(out.iter().any(|frame| {
        matches!(frame, FromEngine::Event { attempt: id, event: Event::Token { .. } } if *id == attempt(1))
    }));
}
