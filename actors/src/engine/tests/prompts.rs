//! Prompts that are told back, and prompts that become a vector.

use super::*;
use troop_kernels::mean::Mean;
use troop_kernels::sample::log_probabilities;

fn text(length: usize) -> Prompt {
    let letters = (0..length).map(|at| char::from(b'a' + (at * 7 % 26) as u8));
    Prompt::Text(letters.collect())
}

/// What the pretend arithmetic reads after each token of `ids`, alone and in one piece.
fn rows(ids: &[u32], reads: Reads) -> Vec<f32> {
    let pages = ids.len().div_ceil(PAGE_TOKENS as usize) as u32;
    let run = Run {
        place: Place {
            attempt: attempt(0),
            choice: 0,
        },
        tokens: ids.to_vec(),
        start: 0,
        pages: (0..pages).map(PageId).collect(),
        window_pages: Vec::new(),
        draws: true,
        reads,
    };
    let plan = Plan {
        reused: Vec::new(),
        copies: Copies::default(),
        runs: vec![run],
    };
    let mut results = PretendForward::new(pages).step(&plan);
    results.remove(0).expect("it is finite").expect("it reads")
}

#[test]
fn a_prompt_is_told_back_with_the_odds_of_every_token_but_the_first() {
    for (length, choices) in [(1, 1), (2, 2), (40, 1), (200, 3)] {
        let request = Generate {
            choices,
            task: Task::Echo,
            logprobs: Some(2),
            ..generate(text(length), 5)
        };
        let story = alone(&request);
        let prompt = story.prompt.clone().expect("it started");
        assert_eq!(story.echo.len(), length);
        let all = rows(&prompt, Reads::Every);
        let vocabulary = PretendWords.vocabulary() as usize;
        for (position, (bytes, odds)) in story.echo.iter().enumerate() {
            let id = prompt[position];
            assert_eq!(bytes, PretendWords.piece(id));
            assert_eq!(odds[0].id, id);
            if position == 0 {
                assert_eq!((odds.len(), odds[0].logprob.value()), (1, None));
                continue;
            }
            let logits = &all[(position - 1) * vocabulary..position * vocabulary];
            let (own, top) = log_probabilities(logits, id, 2);
            assert_eq!(odds[0].logprob, own.into());
            let told: Vec<_> = odds[1..].iter().map(|one| (one.id, one.logprob)).collect();
            let right: Vec<_> = top.iter().map(|one| (one.0, one.1.into())).collect();
            assert_eq!(told, right);
        }
        // Telling changes no token, and without odds every byte comes all the same.
        let plain = alone(&Generate {
            task: Task::Continue,
            logprobs: None,
            ..request.clone()
        });
        assert_eq!(story.ids, plain.ids);
        let named = alone(&Generate {
            logprobs: None,
            ..request
        });
        assert!(named.echo.iter().all(|(_, odds)| odds.is_empty()));
        let bytes = |story: &Story| -> Vec<Vec<u8>> {
            story.echo.iter().map(|(bytes, _)| bytes.clone()).collect()
        };
        assert_eq!(bytes(&named), bytes(&story));
    }
}

#[test]
fn a_prompt_becomes_the_mean_of_its_hidden_states_and_costs_one_token() {
    for length in [1, 17, 300] {
        let request = Generate {
            task: Task::Embed,
            tokens_max: 1,
            ..generate(text(length), 0)
        };
        let story = alone(&request);
        let prompt = story.prompt.clone().expect("it started");
        let states = rows(&prompt, Reads::Hidden);
        let mut mean = Mean::new(states.len() / length);
        mean.add(&states);
        assert_eq!(story.vector, Some(Vector::from(&*mean.result())));
        assert_eq!(story.closed, Some(None));
        assert!(story.ids.is_empty() && story.ended.is_empty());
    }
}

#[test]
fn in_a_crowd_that_evicts_them_echoes_and_vectors_are_the_same() {
    let requests: Vec<Generate> = (0..12)
        .map(|number| {
            let embeds = number % 3 == 0;
            Generate {
                task: match number % 3 {
                    0 => Task::Embed,
                    1 => Task::Echo,
                    _ => Task::Continue,
                },
                logprobs: (!embeds).then_some(1),
                tokens_max: if embeds { 1 } else { 120 },
                ignore_end: true,
                ..generate(text(30 + 20 * number), number as u64)
            }
        })
        .collect();
    let mut desk = desk(8, 6, 512);
    let (mut listener, mut out) = (Listener::default(), Vec::new());
    for (number, request) in requests.iter().enumerate() {
        let frame = start(attempt(number as u8), request.clone(), None);
        desk.hear(Time(0), frame, 0, &mut out);
    }
    while desk.step(Time(0), &mut out) {
        desk.check();
        listener.listen(&mut out);
    }
    listener.listen(&mut out);
    for (number, request) in requests.iter().enumerate() {
        let story = &listener.stories[&attempt(number as u8)];
        assert_eq!(*story, alone(request), "request {number}");
    }
}

#[test]
fn a_vector_is_one_choice_of_one_token_without_odds() {
    let good = Generate {
        task: Task::Embed,
        tokens_max: 1,
        ..generate(text(3), 0)
    };
    for bad in [
        Generate {
            choices: 2,
            ..good.clone()
        },
        Generate {
            tokens_max: 2,
            ..good.clone()
        },
        Generate {
            logprobs: Some(0),
            ..good
        },
    ] {
        let mut out = Vec::new();
        desk(8, 4, 256).hear(Time(0), start(attempt(0), bad, None), 0, &mut out);
        let refused = matches!(
            &out[..],
            [FromEngine::Closed {
                failure: Some(Failure::Invalid { field, .. }),
                ..
            }] if field == "task"
        );
        assert!(refused, "{out:?}");
    }
}

#[test]
fn a_prompt_that_is_only_read_is_told_by_name_and_costs_nothing() {
    for prompt in [text(40), Prompt::Tokens(vec![])] {
        let story = alone(&Generate {
            task: Task::Read,
            logprobs: Some(0),
            tokens_max: 1,
            ..generate(prompt, 0)
        });
        let ids = story.prompt.clone().expect("it started");
        let told: Vec<u32> = story.echo.iter().map(|(_, odds)| odds[0].id).collect();
        assert_eq!(told, ids);
        assert!(story.ids[&0].is_empty(), "nothing is drawn");
        assert_eq!(story.closed, Some(None));
    }
}
