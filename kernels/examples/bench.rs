//! Rates of prefill and decode of one model, beside what the machine reads from memory in the same run.
//!
//! ```text
//! cargo run --release -p troop-kernels --example bench -- [MODEL.gguf] [threads] [isa]
//! ```
//!
//! The model defaults to `$TROOP_TEST_MODEL`. The plain read is what a thread each reads of a buffer as
//! large as the weights, and is the ceiling of decode: every token reads every weight.

use std::sync::Arc;
use std::time::{Duration, Instant};

use troop_kernels::gguf::Gguf;
use troop_kernels::isa::Isa;
use troop_kernels::model::{Evaluator, Facts, Model, PAGE_TOKENS, PageId, Pages, Run, Want};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().filter(|path| path != "-");
    let path = path.or_else(|| std::env::var("TROOP_TEST_MODEL").ok());
    let path = path.ok_or("name a model file, or set TROOP_TEST_MODEL")?;
    let cores = std::thread::available_parallelism().map_or(1, |count| count.get());
    let threads: usize = arguments.next().map_or(Ok(cores), |text| text.parse())?;
    let wanted = arguments.next();
    let isa = Isa::available()
        .into_iter()
        .rfind(|isa| wanted.as_deref().is_none_or(|name| name == isa.name()))
        .ok_or("no such instruction set here")?;

    let start = now();
    let file = std::fs::read(&path)?;
    let read = start.elapsed();
    let gguf = Gguf::parse(&file)?;
    let start = now();
    let model = Arc::new(Model::load(&gguf, &file, isa)?);
    println!(
        "{} on {threads} threads; read {read:.1?}, load {:.1?}",
        isa.name(),
        start.elapsed()
    );
    drop(gguf);
    drop(file);

    let facts = model.facts().clone();
    let mut evaluator = Evaluator::new(Arc::clone(&model), threads, 512)?;
    let mut pages = Pages::new(&facts, 64, if facts.window > 0 { 64 } else { 0 })?;
    let table: Vec<PageId> = (0..64).map(PageId).collect();
    let slow = isa == Isa::Reference;

    let prompt: Vec<u32> = (0..512)
        .map(|i| (i * 37 + 11) % facts.vocabulary as u32)
        .collect();
    for (name, count) in [
        ("prefill", if slow { 8 } else { 512 }),
        ("again", if slow { 8 } else { 512 }),
    ] {
        let start = now();
        let run = pass(&facts, &prompt[..count], 0, &table);
        evaluator.step(&mut pages, &[run])[0]
            .as_ref()
            .map_err(|fault| *fault)?;
        println!("{name} {count}: {:.0} tok/s", rate(count, start.elapsed()));
    }

    let before = plain_read(facts.weight_bytes as usize, threads);
    for depth in [0u32, 512, 2048] {
        let count = if slow { 2 } else { 64 };
        let start = now();
        let mut token = [504];
        for step in 0..count {
            let run = pass(&facts, &token, depth + step, &table);
            let logits = evaluator.step(&mut pages, &[run]).swap_remove(0)?;
            token = [greedy(&logits)];
        }
        let rate = rate(count as usize, start.elapsed());
        let seen = |tokens: u32, page_bytes: u64| {
            f64::from(tokens) / PAGE_TOKENS as f64 * page_bytes as f64
        };
        let bytes = facts.weight_bytes as f64
            + seen(depth, facts.page_bytes)
            + seen(depth.min(facts.window as u32), facts.window_page_bytes);
        println!(
            "decode at {depth}: {rate:.0} tok/s, {:.1} GB/s",
            rate * bytes / 1e9
        );
    }
    for batch in [8usize, 16] {
        let count = if slow { 1 } else { 32 };
        let start = now();
        for step in 0..count {
            let runs: Vec<Run<'_>> = (0..batch)
                .map(|b| pass(&facts, &prompt[b..b + 1], step, &table[b..b + 1]))
                .collect();
            evaluator.step(&mut pages, &runs);
        }
        println!(
            "decode, batch {batch}: {:.0} tok/s",
            rate(batch * count as usize, start.elapsed())
        );
    }
    let after = plain_read(facts.weight_bytes as usize, threads);
    println!("plain read: {before:.1} GB/s before, {after:.1} GB/s after");

    // The first words are known: this catches a bench of wrong results.
    let prompt = [504u32, 3575, 282, 4649, 314];
    let run = pass(&facts, &prompt, 0, &table);
    let logits = evaluator.step(&mut pages, &[run]).swap_remove(0)?;
    let mut ids = vec![greedy(&logits)];
    while ids.len() < 12 && !slow {
        let at = 4 + ids.len() as u32;
        let run = pass(&facts, &ids[ids.len() - 1..], at, &table);
        let logits = evaluator.step(&mut pages, &[run]).swap_remove(0)?;
        ids.push(greedy(&logits));
    }
    println!("greedy after {prompt:?}: {ids:?}");
    Ok(())
}

/// A run that wants the logits of its last token. Layers with a window keep all of it here, in pages of their own
/// with the same numbers.
fn pass<'a>(facts: &Facts, tokens: &'a [u32], start: u32, pages: &'a [PageId]) -> Run<'a> {
    let end = start as usize + tokens.len();
    let window = if facts.window > 0 {
        end.div_ceil(PAGE_TOKENS)
    } else {
        0
    };
    Run {
        tokens,
        start,
        pages,
        window_pages: &pages[..window],
        want: Want::Logits,
    }
}

fn greedy(logits: &[f32]) -> u32 {
    let better = |best: usize, index: usize| {
        if logits[index] > logits[best] {
            index
        } else {
            best
        }
    };
    (0..logits.len()).fold(0, better) as u32
}

fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// GB/s of threads that each sum their own part of a buffer, best of five passes.
fn plain_read(bytes: usize, threads: usize) -> f64 {
    let words = vec![1u64; bytes / 8];
    let best = (0..5).map(|_| {
        let start = now();
        let sum: u64 = std::thread::scope(|scope| {
            let part = |part: &[u64]| part.iter().fold(0u64, |sum, word| sum.wrapping_add(*word));
            let parts: Vec<_> = words
                .chunks(words.len().div_ceil(threads))
                .map(|words| scope.spawn(move || part(words)))
                .collect();
            parts.into_iter().map(|part| part.join().unwrap_or(0)).sum()
        });
        assert_eq!(sum, words.len() as u64);
        bytes as f64 / start.elapsed().as_secs_f64() / 1e9
    });
    best.fold(0.0, f64::max)
}

#[allow(clippy::disallowed_methods, reason = "a bench measures time")]
fn now() -> Instant {
    Instant::now()
}
