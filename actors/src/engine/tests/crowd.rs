//! Many attempts at once, at random, in an engine that is too small for them.

use super::*;
use proptest::prelude::*;

/// One thing that happens to an engine.
#[derive(Clone, Debug)]
enum Happening {
    Start {
        prompt: usize,
        choices: u32,
        seed: u64,
        tokens_max: u32,
        stop: bool,
        few: bool,
    },
    Cancel(usize),
    Steps(usize),
    Took(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        3 => (1usize..300, 1u32..5, 0u64..4, 1u32..150, any::<bool>(), any::<bool>()).prop_map(
            |(prompt, choices, seed, tokens_max, stop, few)| Happening::Start {
                prompt, choices, seed, tokens_max, stop, few,
            }
        ),
        1 => (0usize..20).prop_map(Happening::Cancel),
        3 => (0usize..40).prop_map(Happening::Steps),
        1 => (0u64..5000).prop_map(Happening::Took),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_an_attempt_says_does_not_depend_on_who_else_is_there(
        happenings in prop::collection::vec(happening(), 1..30),
        pages in 8u32..16,
        sequences in 1u32..9,
        window in prop_oneof![Just(0u32), 1u32..200],
        spare in 0u32..12,
        drafts_cost_ms in prop_oneof![Just(0u64), Just(2), Just(10)],
    ) {
        let mut desk = windowed(pages, sequences, 512, window, spare);
        let mut listener = Listener::default();
        let mut out = Vec::new();
        let mut requests = Vec::new();
        let mut cancelled = Vec::new();
        // A machine that takes so long for each token, and as long again for each draft if they cost as much.
        let step = |desk: &mut PretendDesk, out: &mut Vec<FromEngine>| {
            let before = desk.stats().drafted_tokens;
            let stepped = desk.step(Time(0), out);
            let drafts = desk.stats().drafted_tokens - before;
            desk.took(10 + drafts * drafts_cost_ms);
            stepped
        };
        for happening in happenings {
            match happening {
                Happening::Start { prompt, choices, seed, tokens_max, stop, few } => {
                    let mut request = generate(Prompt::Text("abcdefg ".repeat(40)[..prompt].into()), seed);
                    request.choices = choices;
                    request.tokens_max = tokens_max;
                    request.stop = if stop { vec!["ab".into(), "q.".into()] } else { Vec::new() };
                    request.ignore_end = !stop;
                    request.logprobs = stop.then_some(2);
                    if few {
                        request.sampling.logit_bias = vec![(1, 20.0), (2, 20.0), (3, 20.0)];
                    }
                    let id = attempt(requests.len() as u8);
                    desk.hear(Time(0), start_for(seed as u8 % 2, id, request.clone(), None), 0, &mut out);
                    requests.push(request);
                }
                Happening::Cancel(index) => {
                    let id = attempt(index as u8);
                    if listener.stories.get(&id).is_some_and(|story| story.closed.is_none()) {
                        cancelled.push(index);
                    }
                    desk.hear(Time(0), ToEngine::Cancel { attempt: id }, 0, &mut out);
                }
                Happening::Steps(count) => {
                    for _ in 0..count {
                        step(&mut desk, &mut out);
                    }
                }
                Happening::Took(ms) => desk.took(ms),
            }
            desk.check();
            listener.listen(&mut out);
        }
        let mut steps = 0;
        while step(&mut desk, &mut out) {
            steps += 1;
            prop_assert!(steps < 100_000, "everything ends");
        }
        listener.listen(&mut out);
        prop_assert!(desk.is_idle());
        prop_assert_eq!(desk.stats().pages_free, pages);
        for (index, request) in requests.iter().enumerate() {
            let story = &listener.stories[&attempt(index as u8)];
            let whole = alone(request);
            if cancelled.contains(&index) {
                for (choice, ids) in &story.ids {
                    prop_assert!(whole.ids[choice].starts_with(ids));
                }
            } else {
                prop_assert_eq!(story, &whole);
            }
        }
    }
}
