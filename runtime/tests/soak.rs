//! Random arrivals, cancels and shared beginnings against a real `troop engine` with the real model, for long
//! enough that what leaks shows: 12 seconds, or 15 minutes where `TROOP_LONG=1`.
//!
//! Three tenants ask for 1 to 3 continuations of prompts of any length, some new, some under a text that many share,
//! some going on where an earlier answer ended, some in a shape; every fifth is cancelled at some moment. Now and
//! then a request is made again to the letter. At the end
//! - every request has ended, each choice of those that were not cancelled has said how, and what was asked twice was
//!   answered alike;
//! - no page is held, and nobody runs or waits;
//! - the process is no larger than it was after a third of the time, when it had touched all its pages and done some of
//!   everything, but for [`GROWTH_KB_MAX`];
//! - no stream and no prompt has waited longer than the engine's rates and what was ahead of it explain
//!   ([`Bounds`]).

#[path = "soak/child.rs"]
mod child;
#[path = "soak/load.rs"]
mod load;
#[path = "../../kernels/tests/support/test_model.rs"]
mod test_model;

use child::{Child, Story};
use load::{Dice, Load};
use std::time::{Duration, Instant};

/// How much of it there is.
struct Size {
    lasts: Duration,
    /// Tokens of a prompt, at most.
    prompt_max: u32,
    /// Tokens of an answer, at most.
    tokens_max: u32,
    /// Sequences that run at once.
    sequences: u32,
    /// Attempts at once.
    open_max: usize,
}

/// What may be waited for, from the slowest rates that the engine said of itself.
#[derive(Debug)]
struct Bounds {
    /// A step beside which something draws: the longest of the three that `actors/src/engine/pace.rs` names.
    step_ms: f64,
    /// Tokens of prompts that such a step reads: what fits beside the draws, a quarter of it at least.
    share: f64,
    sequences: f64,
}

impl Bounds {
    fn new(prefill_rate: u32, decode_rate: u32, sequences: u32) -> Bounds {
        let token_ms = 1e6 / f64::from(prefill_rate);
        let draws_ms = 1e6 / f64::from(decode_rate);
        let step_ms = (100f64)
            .max(draws_ms * 4.0 / 3.0)
            .max(draws_ms + 16.0 * token_ms);
        let reads_ms = (step_ms - draws_ms).max(step_ms / 4.0);
        Bounds {
            step_ms,
            share: (reads_ms / token_ms).max(16.0),
            sequences: sequences.into(),
        }
    }

    /// Between two tokens: a step, twice for what it did not foresee, and as long again while attempts are started.
    fn gap_ms(&self) -> f64 {
        3.0 * self.step_ms
    }

    /// Until the first token of a story. It has a place when all that were open before are done: a step reads a share
    /// of their prompts, or the rest of one of them, or all places draw. Then its own prompt is read, beside as many
    /// others as there may be.
    fn first_ms(&self, story: &Story) -> f64 {
        let before = |(prompt, tokens, choices): &(u32, u32, u32)| {
            let reading = f64::from(*prompt) / self.share + 1.0;
            reading + f64::from(tokens * choices) / self.sequences
        };
        let before: f64 = story.ahead.iter().map(before).sum();
        let own = f64::from(story.prompt_tokens()) * self.sequences / self.share + 1.0;
        (before + own) * self.step_ms + self.gap_ms()
    }
}

#[test]
#[allow(clippy::disallowed_methods)] // A real process is measured in real time.
fn nothing_leaks_and_nobody_starves() {
    let size = size();
    let model = test_model::test_model();
    let arguments = |kv_bytes: u64| {
        let sequences = size.sequences.to_string();
        let kv_bytes = kv_bytes.to_string();
        [
            "--sequences".to_owned(),
            sequences,
            "--kv-bytes".to_owned(),
            kv_bytes,
        ]
    };
    // Pages for all that can run at once and no more, so that remembered ones are forgotten all the time.
    let page_bytes = Child::start(&model, &arguments(1 << 28)).facts.page_bytes;
    let pages_each = (size.prompt_max + size.tokens_max).div_ceil(64) + 1;
    let kv_bytes = u64::from(pages_each * size.sequences) * page_bytes;
    let mut child = Child::start(&model, &arguments(kv_bytes));
    assert_eq!(child.facts.pages, pages_each * size.sequences);

    let mut load = Load::new(Dice::new(5), size.prompt_max, size.tokens_max);
    let began = Instant::now();
    child.fill(size.prompt_max);
    let filled = began.elapsed();
    let (touched_kb, start) = (child.memory_kb(), Instant::now());
    let mut memory_kb = Vec::new();
    let (mut next, mut look) = (start, start);
    let mut rates = (u32::MAX, u32::MAX);
    while start.elapsed() < size.lasts || !child.open.is_empty() {
        let now = Instant::now();
        assert!(
            start.elapsed() < size.lasts + ENDS_WITHIN,
            "open: {:?}",
            child.open
        );
        if now >= next && start.elapsed() < size.lasts && child.open.len() < size.open_max {
            let (tenant, request) = load.request(&child.done);
            let cancel = load.cancel().map(|after| now + after);
            child.begin(tenant, request, cancel);
            next = now + load.pause();
        }
        if now >= look {
            child.probe();
            memory_kb.push(child.memory_kb());
            look = now + Duration::from_millis(500);
        }
        child.listen(Duration::from_millis(5));
        for stats in child.heard.drain(..) {
            if stats.prefill_rate > 0 && stats.decode_rate > 0 {
                rates = (
                    rates.0.min(stats.prefill_rate),
                    rates.1.min(stats.decode_rate),
                );
            }
        }
    }
    child.probe();
    memory_kb.push(child.memory_kb());
    while child.heard.is_empty() {
        child.listen(Duration::from_secs(60));
    }
    let stats = child.heard[0];

    let bounds = Bounds::new(rates.0, rates.1, size.sequences);
    let gaps = Spread::of(
        child
            .done
            .iter()
            .flat_map(|story| story.gaps_ms.iter().copied()),
    );
    let firsts = Spread::of(child.done.iter().filter_map(Story::first_ms));
    let used = |story: &Story| Some(story.first_ms()? / bounds.first_ms(story));
    let used = Spread::of(child.done.iter().filter_map(used));
    println!(
        "filled {} pages in {:.1} s, then {} requests in {:.1} s",
        child.facts.pages,
        filled.as_secs_f64(),
        child.done.len(),
        start.elapsed().as_secs_f64()
    );
    println!("{stats:?}");
    println!(
        "slowest rates: prefill {}, decode {} in thousandths a second; {bounds:?}",
        rates.0, rates.1
    );
    println!(
        "between two tokens, ms: {gaps}; at most {:.0}",
        bounds.gap_ms()
    );
    println!("to the first token, ms: {firsts}; as a part of the bound of each: {used}");
    let (warming, warm) = memory_kb.split_at(memory_kb.len() / 3);
    let most = |samples: &[u64]| samples.iter().copied().max().expect("it was looked at");
    let (warm_kb, most_kb) = (most(warming), most(warm));
    println!(
        "memory, kB: {touched_kb} with all pages touched, {warm_kb} after a third of the time, {most_kb} after all"
    );

    assert!(child.done.len() >= 5, "there was something to measure");
    child.done.iter().for_each(Story::check);
    let again = load::alike(&child.done);
    println!("asked again and answered alike: {again}");
    assert_eq!((stats.running, stats.waiting), (0, 0));
    assert_eq!(stats.pages_free, child.facts.pages, "no page is held");
    assert!(stats.steps_after_cancel_max <= 1, "{stats:?}");
    assert!(
        most_kb <= warm_kb + GROWTH_KB_MAX,
        "{warm_kb} kB grew to {most_kb}"
    );
    assert!(
        gaps.most_of_thousand <= bounds.gap_ms(),
        "streams waited: {gaps}"
    );
    let most = bounds.gap_ms() + HELD_UP_MS;
    assert!(gaps.most <= most, "a stream waited: {gaps}");
    assert!(
        used.most <= 1.0,
        "a prompt waited {} of its bound",
        used.most
    );
}

/// How numbers are spread.
struct Spread {
    middle: f64,
    most_of_hundred: f64,
    most_of_thousand: f64,
    most: f64,
    count: usize,
}

impl Spread {
    fn of(numbers: impl Iterator<Item = f64>) -> Spread {
        let mut numbers: Vec<f64> = numbers.collect();
        numbers.sort_by(f64::total_cmp);
        let at = |part: f64| numbers[((numbers.len() - 1) as f64 * part) as usize];
        assert!(!numbers.is_empty(), "there was something to measure");
        Spread {
            middle: at(0.5),
            most_of_hundred: at(0.99),
            most_of_thousand: at(0.999),
            most: at(1.0),
            count: numbers.len(),
        }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Spread {
            middle,
            most_of_hundred,
            most_of_thousand,
            most,
            count,
        } = self;
        write!(
            out,
            "median {middle:.3}, 99 of 100 within {most_of_hundred:.3}, 999 of \
             1000 within {most_of_thousand:.3}, all {count} within {most:.3}"
        )
    }
}

fn size() -> Size {
    match std::env::var("TROOP_LONG").is_ok_and(|long| long == "1") {
        true => Size {
            lasts: Duration::from_secs(15 * 60),
            prompt_max: 1_500,
            tokens_max: 200,
            sequences: 8,
            open_max: 16,
        },
        false => Size {
            lasts: Duration::from_secs(12),
            prompt_max: 300,
            tokens_max: 60,
            sequences: 4,
            open_max: 8,
        },
    }
}

/// What is open when no more is asked ends within this.
const ENDS_WITHIN: Duration = Duration::from_secs(300);
/// Some grammars more at once than before, and what the allocator keeps of them: a fiftieth of pages and weights.
const GROWTH_KB_MAX: u64 = 8 << 10;
/// How long other programs may keep a step from the processors once in a thousand times.
const HELD_UP_MS: f64 = 2_000.0;
