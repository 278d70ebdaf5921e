//! What ends a choice, what may not, and what is told of tokens.

use super::*;
use crate::engine::Words;

fn hello() -> Generate {
    Generate {
        tokens_max: 200,
        ..generate(Prompt::Text("hello".into()), 3)
    }
}

#[test]
fn a_token_that_the_request_names_ends_a_choice_and_adds_nothing() {
    let whole = alone(&hello());
    let ids = &whole.ids[&0];
    // One that comes again later: the first of them ends.
    let end = ids.len() / 2;
    let stopped = alone(&Generate {
        stop_ids: vec![ids[end]],
        ..hello()
    });
    let first = ids
        .iter()
        .position(|id| *id == ids[end])
        .expect("it is there");
    assert_eq!(stopped.ids[&0], ids[..=first]);
    assert_eq!(stopped.ended[&0], Finish::Stop);
    let text: Vec<u8> = (ids[..first].iter())
        .flat_map(|id| PretendWords.piece(*id).to_vec())
        .collect();
    assert_eq!(stopped.text[&0], text);
}

#[test]
fn no_token_that_ends_a_choice_is_drawn_before_its_least_number() {
    let whole = alone(&hello());
    let length = whole.ids[&0].len() as u32;
    assert_eq!(whole.ended[&0], Finish::Stop, "the model ends by itself");
    let longer = Generate {
        tokens_min: length + 5,
        stop_ids: vec![1],
        ..hello()
    };
    let story = alone(&longer);
    let ids = &story.ids[&0];
    assert!(ids.len() > length as usize + 5);
    let early = &ids[..length as usize + 5];
    assert!(!early.iter().any(|id| *id == 1 || PretendWords.is_end(*id)));
    // Without a least number nothing is held back.
    let none = alone(&Generate {
        tokens_min: 0,
        ..longer
    });
    assert!(none.ids[&0].len() <= length as usize);
}

#[test]
fn odds_are_told_if_asked_for_and_change_no_token() {
    let plain = alone(&hello());
    assert!(plain.odds.values().flatten().all(Vec::is_empty));
    for likeliest in [0, 3, 20] {
        let story = alone(&Generate {
            logprobs: Some(likeliest),
            ..hello()
        });
        assert_eq!(story.ids, plain.ids);
        assert_eq!(story.closed, plain.closed);
        for (id, odds) in story.ids[&0].iter().zip(&story.odds[&0]) {
            assert_eq!(odds.len(), 1 + usize::from(likeliest));
            assert_eq!((odds[0].id, &*odds[0].bytes), (*id, PretendWords.name(*id)));
            let values: Vec<f64> = (odds[1..].iter())
                .filter_map(|one| one.logprob.value())
                .collect();
            assert!(values.is_sorted_by(|a, b| a >= b) && values.iter().all(|one| *one <= 0.0));
        }
    }
}

#[test]
fn what_cannot_be_asked_is_refused_by_its_name() {
    let cases = [
        (
            "stop_token_ids",
            Generate {
                stop_ids: vec![1; 65],
                ..hello()
            },
        ),
        (
            "stop_token_ids",
            Generate {
                stop_ids: vec![1 << 20],
                ..hello()
            },
        ),
        (
            "min_tokens",
            Generate {
                tokens_min: 201,
                ..hello()
            },
        ),
        (
            "top_logprobs",
            Generate {
                logprobs: Some(21),
                ..hello()
            },
        ),
    ];
    for (name, request) in cases {
        let mut out = Vec::new();
        let frame = start(attempt(0), request, None);
        desk(64, 16, 2048).hear(Time(0), frame, 0, &mut out);
        let [
            FromEngine::Closed {
                failure: Some(Failure::Invalid { field, .. }),
                ..
            },
        ] = &out[..]
        else {
            panic!("{name}: {out:?}");
        };
        assert_eq!(field, name);
    }
}
