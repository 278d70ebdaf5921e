//! Drafts: what they save, what they may not change, and what they may not take.

use super::*;
use crate::engine::Forward;
use std::sync::Arc;

/// A request whose answer has three letters only, and so says much again.
fn repetitive(seed: u64) -> Generate {
    let mut request = generate(Prompt::Text("abcabc".into()), seed);
    request.sampling.logit_bias = vec![(1, 20.0), (2, 20.0), (3, 20.0)];
    request.tokens_max = 300;
    request.ignore_end = true;
    request.logprobs = Some(3);
    request
}

/// Serves a request to its end on a machine whose steps take as long with drafts as without.
fn serve<F: Forward>(desk: &mut Desk<F, PretendWords>, request: &Generate) -> Story {
    let mut out = Vec::new();
    let frame = start(attempt(0), request.clone(), None);
    desk.hear(Time(0), frame, 0, &mut out);
    while desk.step(Time(0), &mut out) {
        desk.took(10);
    }
    let mut listener = Listener::default();
    listener.listen(&mut out);
    listener.stories.remove(&attempt(0)).expect("it was heard")
}

#[test]
fn drafts_that_are_right_save_steps_and_change_nothing_else() {
    for (seed, temperature) in [(1, 0.0), (2, 1.0), (3, 0.5)] {
        let mut request = repetitive(seed);
        request.sampling.temperature = temperature;
        request.choices = 2;
        let mut with = desk(64, 16, 2048);
        let mut without = desk(64, 16, 2048).without_speculation();
        let story = serve(&mut with, &request);
        assert_eq!(story, serve(&mut without, &request));
        let (with, without) = (with.stats(), without.stats());
        assert_eq!((without.drafted_tokens, without.accepted_tokens), (0, 0));
        assert!(with.accepted_tokens > 50, "{with:?}");
        assert!(with.drafted_tokens >= with.accepted_tokens);
        assert!(with.steps < without.steps, "{with:?}");
        let said = |it: EngineStats| (it.tokens, it.prompt_tokens, it.reused_tokens, it.pages_free);
        assert_eq!(said(with), said(without));
    }
}

#[test]
fn whatever_ends_a_text_ends_it_in_the_middle_of_right_drafts_too() {
    let whole = alone(&repetitive(4));
    let text = String::from_utf8(whole.text[&0].clone()).expect("letters");
    let mut saved = 0;
    for end in 1..120 {
        let mut by_length = repetitive(4);
        by_length.tokens_max = end as u32;
        let mut by_string = repetitive(4);
        by_string.stop = vec![text[end..end + 6].into()];
        let mut by_token = repetitive(4);
        by_token.tokens_min = end as u32;
        by_token.stop_ids = vec![2];
        for request in [by_length, by_string, by_token] {
            let mut desk = desk(64, 4, 2048);
            assert_eq!(serve(&mut desk, &request), alone(&request), "{request:?}");
            saved += desk.stats().accepted_tokens;
        }
    }
    assert!(saved > 1_000, "{saved}");
}

#[test]
fn what_an_answer_leaves_behind_is_what_it_said_and_no_draft() {
    let request = repetitive(5);
    let mut desk = desk(64, 4, 2048);
    let Story { prompt, ids, .. } = serve(&mut desk, &request);
    let stats = desk.stats();
    assert!(stats.drafted_tokens > stats.accepted_tokens, "{stats:?}");
    // The whole text but the token drawn last is met again; after another last token as far as it goes.
    let said = [&prompt.expect("it started")[..], &ids[&0]].concat();
    for (text, found) in [
        (said.clone(), said.len() - 1),
        ([&said[..200], &[9, 9]].concat(), 200),
    ] {
        let before = desk.stats().reused_tokens;
        let mut again = generate(Prompt::Tokens(text), 1);
        again.tokens_max = 20;
        assert_eq!(serve(&mut desk, &again), alone(&again));
        assert_eq!(desk.stats().reused_tokens - before, found as u64);
    }
}

#[test]
fn who_is_wrong_all_the_time_stops_guessing() {
    let mut desk = desk(64, 4, 2048);
    let mut request = generate(Prompt::Text("the cat sat on the mat. ".repeat(20)), 6);
    request.tokens_max = 1_000;
    request.ignore_end = true;
    assert_eq!(serve(&mut desk, &request), alone(&request));
    let stats = desk.stats();
    assert!(stats.drafted_tokens < 100, "{stats:?}");
}

#[test]
fn nobody_drafts_beside_a_prompt() {
    let mut desk = desk(64, 4, 2048);
    let mut out = Vec::new();
    let hear = |desk: &mut PretendDesk, number, request, out: &mut Vec<FromEngine>| {
        desk.hear(Time(0), start(attempt(number), request, None), 0, out);
    };
    hear(&mut desk, 0, repetitive(1), &mut out);
    let step = |desk: &mut PretendDesk, out: &mut Vec<FromEngine>| {
        assert!(desk.step(Time(0), out), "there is work");
        desk.took(10);
    };
    while desk.stats().drafted_tokens == 0 {
        step(&mut desk, &mut out);
    }
    hear(
        &mut desk,
        1,
        generate(Prompt::Text("x".repeat(1_000)), 1),
        &mut out,
    );
    let (before, read) = (desk.stats(), |stats: EngineStats| stats.prompt_tokens);
    while read(desk.stats()) < read(before) + 999 {
        step(&mut desk, &mut out);
        assert_eq!(desk.stats().drafted_tokens, before.drafted_tokens);
    }
}

/// An arithmetic in which some runs come out as no numbers.
struct Faulty<P> {
    forward: PretendForward,
    fails: P,
    failed: Arc<std::sync::atomic::AtomicU32>,
}

impl<P: Fn(&Run) -> bool> Forward for Faulty<P> {
    fn step(&mut self, plan: &Plan) -> Vec<Result<Option<Vec<f32>>, Failure>> {
        let results = self.forward.step(plan);
        let spoil = |(run, result): (&Run, _)| match (self.fails)(run) {
            true => {
                self.failed
                    .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let operation = "logits".to_owned();
                Err(Failure::NonFinite {
                    layer: 3,
                    operation,
                })
            }
            false => result,
        };
        plan.runs.iter().zip(results).map(spoil).collect()
    }
}

fn faulty<P: Fn(&Run) -> bool>(
    fails: P,
) -> (
    Desk<Faulty<P>, PretendWords>,
    Arc<std::sync::atomic::AtomicU32>,
) {
    let failed = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let forward = Faulty {
        forward: PretendForward::new(64),
        fails,
        failed: failed.clone(),
    };
    (Desk::new(forward, PretendWords, facts(64, 4, 2048)), failed)
}

#[test]
fn a_draft_that_spoils_its_run_costs_a_step_and_no_answer() {
    let mut request = repetitive(7);
    request.choices = 3;
    let (mut desk, failed) = faulty(|run| run.reads == Reads::Drafted);
    assert_eq!(serve(&mut desk, &request), alone(&request));
    let failed = failed.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(failed, 3, "each choice tries once");
    assert_eq!(desk.stats().accepted_tokens, 0);
}

#[test]
fn what_is_wrong_without_drafts_fails_at_the_same_token_with_them() {
    for position in (20..120).step_by(7) {
        let covers =
            move |run: &Run| (run.start..run.start + run.tokens.len() as u32).contains(&position);
        let request = repetitive(8);
        let (mut with, _) = faulty(covers);
        let (without, _) = faulty(covers);
        let story = serve(&mut with, &request);
        assert_eq!(story, serve(&mut without.without_speculation(), &request));
        let failure = story.closed.flatten();
        assert!(matches!(failure, Some(Failure::NonFinite { .. })));
        // The prompt has six tokens, and after the last good one another was drawn.
        assert_eq!(story.ids[&0].len() as u32, position - 5);
    }
}

#[test]
fn drafts_take_free_pages_only_and_give_them_back_before_anybody_asks() {
    let mut batch = Batch::new(Limits {
        pages: 2,
        window_pages: 0,
        window: 0,
        sequences: 2,
        context: 128,
    });
    let begin = |batch: &mut Batch, number: u8, length_max| {
        let prompt = vec![u32::from(number); 60].into();
        let tenant = Digest([number; 32]);
        let drawn = vec![Some(Vec::new())];
        batch.start(
            attempt(number),
            tenant,
            prompt,
            Reads::Last,
            drawn,
            length_max,
        );
    };
    // One step in which everything is evaluated and everybody draws; its first run may have drafts, all wrong.
    let step = |batch: &mut Batch, drafts: &[u32]| -> Run {
        let mut runs = batch.plan(|_| 256).runs;
        if !drafts.is_empty() {
            batch.draft(&mut runs[0], drafts);
        }
        batch.check();
        for run in &runs {
            let read = match run.reads {
                Reads::Drafted => 1,
                _ => run.tokens.len() as u32,
            };
            batch.evaluated(run.place, run.start..run.start + read);
            batch.drew(run.place, 7);
        }
        runs.swap_remove(0)
    };
    begin(&mut batch, 1, 128);
    step(&mut batch, &[]);
    // 61 tokens are known, 60 evaluated. A page more is free, and holds what the drafts need of it.
    let run = step(&mut batch, &[9; 16]);
    assert_eq!((run.tokens.len(), run.pages.len()), (17, 2));
    assert_eq!((run.reads, batch.pages_free()), (Reads::Drafted, 0));
    // Somebody else finds it free all the same.
    begin(&mut batch, 2, 64);
    step(&mut batch, &[]);
    assert_eq!((batch.running(), batch.evictions()), (2, 0));
    // Now there is none, and drafts end with the page that the sequence has anyway.
    let run = step(&mut batch, &[9; 16]);
    assert_eq!((run.place.attempt, run.start), (attempt(1), 62));
    assert_eq!((run.tokens.len(), run.pages.len()), (2, 1));
    // They end where the sequence must, too: after the last of them one more token is drawn.
    batch.cancel(attempt(1));
    let run = step(&mut batch, &[9; 16]);
    assert_eq!((run.place.attempt, run.start), (attempt(2), 61));
    assert_eq!((run.tokens.len(), run.reads), (2, Reads::Drafted));
    let run = step(&mut batch, &[9; 16]);
    assert_eq!((run.tokens.len(), run.reads), (1, Reads::Last));
    assert_eq!(batch.evictions(), 0);
}
