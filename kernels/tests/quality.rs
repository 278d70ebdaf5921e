//! How far the canonical arithmetic is from the model itself, judged by the yardstick, and the yardstick
//! judged by llama.cpp's f32 evaluation. All figures are of SmolLM2 135M in Q4_1.

#[path = "support/steps.rs"]
mod steps;

use std::sync::{Arc, LazyLock};

use troop_kernels::gguf::Gguf;
use troop_kernels::isa::Isa;
use troop_kernels::model::{Evaluator, Model, PAGE_TOKENS, PageId, Pages, Run, Want};
use troop_kernels::tokenizer::{Specials, Tokenizer};
use troop_kernels::yardstick::{Yardstick, log_probabilities};

static FILE: LazyLock<Vec<u8>> = LazyLock::new(steps::model);
static GGUF: LazyLock<Gguf<'static>> = LazyLock::new(|| Gguf::parse(&FILE).unwrap());

const THREADS: usize = 2;

/// llama.cpp adds in f32 and in another order; it differs from f64 by less than this.
const LOG_PROBABILITY_TOLERANCE: f64 = 2e-3;

#[test]
fn the_yardstick_agrees_with_llama_cpp_in_f32_at_every_step() {
    let yardstick = Yardstick::new(&GGUF, &FILE, THREADS).unwrap();
    let golden = steps::steps();
    let (mut worst, mut checked) = (0.0f64, 0);
    for prompt in &golden.prompts {
        let mut ids = prompt.ids.clone();
        ids.extend(prompt.steps.iter().map(|step| step.id));
        let first = prompt.ids.len() - 1;
        let logits = yardstick.logits(&ids[..ids.len() - 1], first..first + prompt.steps.len());
        for (step, logits) in prompt.steps.iter().zip(&logits) {
            let found = log_probabilities(logits);
            for (id, expected) in &step.top {
                let error = (found[*id as usize] - expected).abs();
                worst = worst.max(error);
                assert!(
                    error < LOG_PROBABILITY_TOLERANCE,
                    "{}: token {id} has log-probability {}, llama.cpp says {expected}",
                    prompt.name,
                    found[*id as usize]
                );
                checked += 1;
            }
        }
    }
    assert_eq!(golden.prompts.len(), 20);
    println!("{checked} log-probabilities, largest difference {worst:.6}");
}

/// Tokens in a chunk of the perplexity text, and the positions whose next token is scored.
const CHUNK: usize = 512;
const SCORED: std::ops::Range<usize> = 256..511;

/// llama.cpp's perplexity in f32 over the same chunks.
const PERPLEXITY_F32: f64 = 7.2647;
/// llama.cpp's own divergence from its f32 run: the bars for ours.
const DIVERGENCE_MEAN_MAX: f64 = 0.0032 * 1.05;
const DIVERGENCE_99_MAX: f64 = 0.037;

#[test]
fn the_canonical_arithmetic_is_as_close_to_the_model_as_llama_cpp() {
    let tokenizer = Tokenizer::load(&GGUF).unwrap();
    let ids = tokenizer
        .encode(steps::PERPLEXITY_TEXT, Specials::Text, true)
        .unwrap();
    let chunks: Vec<&[u32]> = ids.chunks_exact(CHUNK).collect();
    assert_eq!(chunks.len(), 9);
    let yardstick = Yardstick::new(&GGUF, &FILE, THREADS).unwrap();
    let model = Arc::new(Model::load(&GGUF, &FILE, Isa::detect()).unwrap());
    let mut evaluator = Evaluator::new(model, THREADS, CHUNK).unwrap();

    let mut divergences = Vec::new();
    let (mut loss_exact, mut loss, mut same_first) = (0.0, 0.0, 0);
    for chunks in chunks.chunks(3) {
        // Chunks are evaluated side by side: a batch of three takes little longer than one.
        let mut canonical = canonical_logits(&mut evaluator, chunks);
        for (index, chunk) in chunks.iter().enumerate() {
            let exact = yardstick.logits(&chunk[..SCORED.end], SCORED);
            for (offset, exact) in exact.iter().enumerate() {
                let exact = log_probabilities(exact);
                let logits = std::mem::take(&mut canonical[offset][index]);
                let found =
                    log_probabilities(&logits.into_iter().map(f64::from).collect::<Vec<_>>());
                let next = chunk[SCORED.start + offset + 1] as usize;
                loss_exact -= exact[next];
                loss -= found[next];
                let terms = exact
                    .iter()
                    .zip(&found)
                    .map(|(p, q)| libm::exp(*p) * (p - q));
                divergences.push(terms.sum::<f64>());
                same_first += usize::from(first(&exact) == first(&found));
            }
        }
    }
    let count = divergences.len();
    assert_eq!(count, 9 * SCORED.len());
    divergences.sort_by(f64::total_cmp);
    let mean = divergences.iter().sum::<f64>() / count as f64;
    let (at_99, largest) = (divergences[count * 99 / 100], divergences[count - 1]);
    let perplexity_exact = libm::exp(loss_exact / count as f64);
    println!(
        "perplexity: yardstick {perplexity_exact:.4}, canonical {:.4}; divergence: mean {mean:.5}, \
         99 % {at_99:.4}, largest {largest:.3}; same first token {:.1} %",
        libm::exp(loss / count as f64),
        100.0 * same_first as f64 / count as f64
    );
    assert!(
        (perplexity_exact / PERPLEXITY_F32 - 1.0).abs() < 1e-3,
        "{perplexity_exact}"
    );
    assert!(mean <= DIVERGENCE_MEAN_MAX, "mean {mean}");
    assert!(at_99 <= DIVERGENCE_99_MAX, "99 % {at_99}");
}

/// Per scored position, the logits of each chunk.
fn canonical_logits(evaluator: &mut Evaluator, chunks: &[&[u32]]) -> Vec<Vec<Vec<f32>>> {
    let per_chunk = CHUNK / PAGE_TOKENS;
    let mut pages = Pages::new(evaluator.model().facts(), chunks.len() * per_chunk, 0).unwrap();
    let table: Vec<PageId> = (0..(chunks.len() * per_chunk) as u32).map(PageId).collect();
    let tables: Vec<&[PageId]> = table.chunks_exact(per_chunk).collect();
    for (chunk, pages_of) in chunks.iter().zip(&tables) {
        let tokens = &chunk[..SCORED.start];
        let run = Run {
            tokens,
            start: 0,
            pages: pages_of,
            window_pages: &[],
            want: Want::Nothing,
        };
        assert_eq!(evaluator.step(&mut pages, &[run]), [Ok(Vec::new())]);
    }
    let mut step = |position: usize| -> Vec<Vec<f32>> {
        let inputs = chunks.iter().zip(&tables);
        let runs: Vec<Run<'_>> = inputs
            .map(|(chunk, pages)| Run {
                tokens: &chunk[position..=position],
                start: position as u32,
                pages,
                window_pages: &[],
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
