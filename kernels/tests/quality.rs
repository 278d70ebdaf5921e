//! How far the canonical arithmetic is from the models themselves, judged by the yardstick, and the yardstick
//! judged by llama.cpp's f32 evaluation: SmolLM2 135M in Q4_1, and Gemma 3 270M in Q4_K_M.
//!
//! Of Gemma, whose vocabulary takes most of the time, a part is looked at; all of it where `TROOP_LONG=1`.

#[path = "support/steps.rs"]
mod steps;

use std::ops::Range;
use std::sync::Arc;

use steps::{Prompt, Step, Steps, is_long};
use troop_kernels::gguf::Gguf;
use troop_kernels::isa::Isa;
use troop_kernels::model::{Evaluator, Model, PAGE_TOKENS, PageId, PageKind, Pages, Run, Want};
use troop_kernels::tokenizer::{Specials, Tokenizer};
use troop_kernels::yardstick::{Yardstick, log_probabilities};

const THREADS: usize = 2;

/// llama.cpp adds in f32 and in another order; it differs from f64 by less than this.
const TOLERANCE: f64 = 1e-3;
/// Where llama.cpp reads GELU from a table of f16, which Gemma uses, its f32 runs lie this far from the model and
/// from each other: what f32 rounds in another order flips roundings to f16, and those flip more, layer after
/// layer. arithmetic.md has the figures.
const TABLE_TOLERANCE: f64 = 2e-2;
const TABLE_TOLERANCE_MEAN: f64 = 1.2e-3;

/// How far log-probabilities are from llama.cpp's, and how many of them there were.
struct Differences {
    worst: f64,
    mean: f64,
    count: usize,
}

/// The yardstick's log-probabilities, fed the ids of each step: per step, of the ids that llama.cpp tells of.
fn follow(file: &[u8], prompts: &[&Prompt]) -> Vec<Vec<f64>> {
    let gguf = Gguf::parse(file).unwrap();
    let yardstick = Yardstick::new(&gguf, file, THREADS).unwrap();
    let mut all = Vec::new();
    for prompt in prompts {
        let mut ids = prompt.ids.clone();
        ids.extend(prompt.steps.iter().map(|step| step.id));
        let first = prompt.ids.len() - 1;
        let logits = yardstick.logits(&ids[..ids.len() - 1], first..first + prompt.steps.len());
        for (step, logits) in prompt.steps.iter().zip(&logits) {
            let found = log_probabilities(logits);
            let of_top = step.top.iter().map(|(id, _)| found[*id as usize]);
            all.push(of_top.collect());
        }
    }
    all
}

/// Compares them with what llama.cpp has at these steps.
fn compare(found: &[Vec<f64>], prompts: &[&Prompt]) -> Differences {
    let steps: Vec<&Step> = prompts.iter().flat_map(|prompt| &prompt.steps).collect();
    assert_eq!(found.len(), steps.len());
    let (mut worst, mut sum, mut count) = (0.0f64, 0.0, 0u32);
    for (found, step) in found.iter().zip(steps) {
        for (found, (_, expected)) in found.iter().zip(&step.top) {
            let error = (found - expected).abs();
            worst = worst.max(error);
            sum += error;
            count += 1;
        }
    }
    let mean = sum / f64::from(count);
    println!("{count} log-probabilities, differences: mean {mean:.7}, largest {worst:.6}");
    Differences {
        worst,
        mean,
        count: count as usize,
    }
}

/// The prompts up to so many tokens long.
fn up_to(steps: &Steps, longest: usize) -> Vec<&Prompt> {
    let prompts = steps.prompts.iter();
    prompts.filter(|one| one.ids.len() <= longest).collect()
}

#[test]
fn the_yardstick_agrees_with_llama_cpp_in_f32_at_every_step() {
    let golden = steps::steps();
    assert_eq!(golden.prompts.len(), 20);
    let prompts = up_to(&golden, 1500);
    let found = compare(&follow(&steps::model(), &prompts), &prompts);
    assert_eq!(found.count, 4_295);
    assert!(found.worst < TOLERANCE, "{}", found.worst);
}

#[test]
fn the_yardstick_agrees_with_llama_cpp_in_f32_about_gemma_too() {
    let golden = steps::gemma_steps();
    let computed = steps::gemma_steps_with_computed_gelu();
    assert_eq!(golden.prompts.len(), 21);
    // With the text of 1,500 tokens the window is left behind.
    let (longest, expected) = if is_long() { (1501, 5040) } else { (10, 1200) };
    let prompts = up_to(&golden, longest);
    let logs = follow(&steps::gemma(), &prompts);

    let found = compare(&logs, &up_to(&computed, longest));
    assert_eq!(found.count, expected);
    assert!(found.worst < TOLERANCE, "{}", found.worst);

    let found = compare(&logs, &prompts);
    assert_eq!(found.count, expected);
    assert!(found.worst < TABLE_TOLERANCE, "{}", found.worst);
    assert!(found.mean < TABLE_TOLERANCE_MEAN, "{}", found.mean);
}

/// Tokens in a chunk of the perplexity text, and the positions whose next token is scored.
const CHUNK: usize = 512;
const SCORED: Range<usize> = 256..511;

/// How far from the model an arithmetic is, over the scored positions of some chunks.
struct Distance {
    perplexity_exact: f64,
    divergence_mean: f64,
    divergence_99: f64,
}

/// Measures over the text's first so many chunks, `together` of them at a time: an arithmetic for each kind of page.
fn distances<const N: usize>(
    file: &[u8],
    kinds: [PageKind; N],
    all: usize,
    chunks: usize,
    together: usize,
) -> [Distance; N] {
    let gguf = Gguf::parse(file).unwrap();
    let tokenizer = Tokenizer::load(&gguf).unwrap();
    let text = steps::PERPLEXITY_TEXT;
    let mut ids = tokenizer.encode(text, Specials::Text, true).unwrap();
    assert_eq!(ids.len() / CHUNK, all);
    ids.truncate(chunks * CHUNK);
    // Where the model wants a text to begin with a token of its own, every chunk does.
    let begins_with = tokenizer.encode("", Specials::Text, true).unwrap();
    for chunk in ids.chunks_exact_mut(CHUNK) {
        chunk[..begins_with.len()].copy_from_slice(&begins_with);
    }
    let chunks: Vec<&[u32]> = ids.chunks_exact(CHUNK).collect();
    let yardstick = Yardstick::new(&gguf, file, THREADS).unwrap();
    let model = Arc::new(Model::load(&gguf, file, Isa::detect()).unwrap());
    let mut evaluator = Evaluator::new(model, THREADS, CHUNK * together).unwrap();

    let mut tallies = kinds.map(|_| Tally::default());
    let mut loss_exact = 0.0;
    for chunks in chunks.chunks(together) {
        // Chunks are evaluated side by side: a batch takes little longer than one.
        let mut canonical = kinds.map(|kind| canonical_logits(&mut evaluator, kind, chunks));
        for (index, chunk) in chunks.iter().enumerate() {
            let exact = yardstick.logits(&chunk[..SCORED.end], SCORED);
            for (offset, exact) in exact.iter().enumerate() {
                let exact = log_probabilities(exact);
                let next = chunk[SCORED.start + offset + 1] as usize;
                loss_exact -= exact[next];
                for (tally, canonical) in tallies.iter_mut().zip(&mut canonical) {
                    let logits = std::mem::take(&mut canonical[offset][index]);
                    let logits: Vec<f64> = logits.into_iter().map(f64::from).collect();
                    tally.add(&exact, &log_probabilities(&logits), next);
                }
            }
        }
    }
    let count = chunks.len() * SCORED.len();
    let perplexity_exact = libm::exp(loss_exact / count as f64);
    let mut named = kinds.into_iter();
    tallies.map(|mut tally| {
        assert_eq!(tally.divergences.len(), count);
        tally.divergences.sort_by(f64::total_cmp);
        let at_99 = tally.divergences[count * 99 / 100];
        let divergence_mean = tally.divergences.iter().sum::<f64>() / count as f64;
        println!(
            "pages of {}: perplexity: yardstick {perplexity_exact:.4}, canonical {:.4}; divergence: mean \
             {divergence_mean:.5}, 99 % {at_99:.4}, largest {:.3}; same first token {:.1} %",
            named.next().unwrap().name(),
            libm::exp(tally.loss / count as f64),
            tally.divergences[count - 1],
            100.0 * tally.same_first as f64 / count as f64
        );
        Distance {
            perplexity_exact,
            divergence_mean,
            divergence_99: at_99,
        }
    })
}

/// What is counted of an arithmetic at each scored position.
#[derive(Default)]
struct Tally {
    divergences: Vec<f64>,
    loss: f64,
    same_first: usize,
}

impl Tally {
    /// The model's own log-probabilities, those that were found, and the token that comes.
    fn add(&mut self, exact: &[f64], found: &[f64], next: usize) {
        let pairs = exact.iter().zip(found);
        let terms = pairs.map(|(p, q)| libm::exp(*p) * (p - q));
        self.divergences.push(terms.sum::<f64>());
        self.loss -= found[next];
        self.same_first += usize::from(first(exact) == first(found));
    }
}

/// llama.cpp's divergences from its own f32 run are the bars for ours.
#[test]
fn the_canonical_arithmetic_is_as_close_to_the_model_as_llama_cpp() {
    let [found, int8] = distances(&steps::model(), PageKind::ALL, 9, 9, 3);
    let perplexity = found.perplexity_exact;
    assert!((perplexity / 7.2647 - 1.0).abs() < 1e-3, "{perplexity}");
    assert!(found.divergence_mean <= 0.0032 * 1.05);
    assert!(found.divergence_99 <= 0.037);
    // Pages of int8 cost half as much again, and stay below the same bars.
    assert!(int8.divergence_mean > found.divergence_mean);
    assert!(int8.divergence_mean <= 0.0032 * 1.05);
    assert!(int8.divergence_99 <= 0.037);
}

#[test]
fn the_canonical_arithmetic_is_as_close_to_gemma_as_llama_cpp() {
    let chunks = if is_long() { 8 } else { 1 };
    let [found] = distances(&steps::gemma(), [PageKind::F16], 8, chunks, 1);
    let perplexity = found.perplexity_exact;
    // A part of the text has a perplexity of its own, and its rarest divergences may lie above the whole's.
    if is_long() {
        assert!((perplexity / 5.9209 - 1.0).abs() < 1e-3, "{perplexity}");
        assert!(found.divergence_99 <= 0.093);
    }
    assert!(found.divergence_mean <= 0.0066 * 1.05);
}

/// Per scored position, the logits of each chunk.
fn canonical_logits(
    evaluator: &mut Evaluator,
    kind: PageKind,
    chunks: &[&[u32]],
) -> Vec<Vec<Vec<f32>>> {
    let per_chunk = CHUNK / PAGE_TOKENS;
    let count = chunks.len() * per_chunk;
    let facts = evaluator.model().facts().clone().with_pages(kind);
    let mut pages = Pages::new(&facts, count, count).unwrap();
    let table: Vec<PageId> = (0..count as u32).map(PageId).collect();
    let tables: Vec<&[PageId]> = table.chunks_exact(per_chunk).collect();
    let windowed = facts.window > 0;
    let tail = |pages: &'_ [PageId], end: usize| -> Vec<PageId> {
        let pages = &pages[..end.div_ceil(PAGE_TOKENS)];
        pages.iter().copied().filter(|_| windowed).collect()
    };
    for (chunk, pages_of) in chunks.iter().zip(&tables) {
        let run = Run {
            tokens: &chunk[..SCORED.start],
            start: 0,
            pages: pages_of,
            window_pages: &tail(pages_of, SCORED.start),
            want: Want::Nothing,
        };
        assert_eq!(evaluator.step(&mut pages, &[run]), [Ok(Vec::new())]);
    }
    let mut step = |position: usize| -> Vec<Vec<f32>> {
        let tails = tables.iter().map(|pages| tail(pages, position + 1));
        let tails: Vec<Vec<PageId>> = tails.collect();
        let inputs = chunks.iter().zip(&tables).zip(&tails);
        let runs: Vec<Run<'_>> = inputs
            .map(|((chunk, pages), tail)| Run {
                tokens: &chunk[position..=position],
                start: position as u32,
                pages,
                window_pages: tail,
                want: Want::Logits,
            })
            .collect();
        let results = evaluator.step(&mut pages, &runs);
        results.into_iter().map(Result::unwrap).collect()
    };
    SCORED.map(&mut step).collect()
}

fn first(values: &[f64]) -> usize {
    let better = |best: usize, index: usize| {
        if values[index] > values[best] {
            index
        } else {
            best
        }
    };
    (0..values.len()).fold(0, better)
}
