//! The same tokens give the same logits, bit for bit, however they are computed.

#[path = "support/steps.rs"]
mod steps;

use std::sync::{Arc, LazyLock};

use troop_kernels::gguf::Gguf;
use troop_kernels::isa::Isa;
use troop_kernels::model::{Evaluator, Model, PAGE_TOKENS, PageId, Pages, Run};

/// A model per instruction set of this machine, slowest first. The reference stands first.
static MODELS: LazyLock<Vec<Arc<Model>>> = LazyLock::new(|| {
    let file = steps::model();
    let gguf = Gguf::parse(&file).unwrap();
    let load = |isa| Arc::new(Model::load(&gguf, &file, isa).unwrap());
    Isa::available().into_iter().map(load).collect()
});

/// Tokens decoded one by one after a prompt.
const DECODED: usize = 4;

/// The logits after a prompt in chunks, and after each of a few tokens decoded one by one.
fn logits(evaluator: &mut Evaluator, ids: &[u32], chunk: usize) -> Vec<Vec<u32>> {
    let facts = evaluator.model().facts().clone();
    let count = ids.len().div_ceil(PAGE_TOKENS);
    let mut pages = Pages::new(&facts, count).unwrap();
    let table: Vec<PageId> = (0..count as u32).rev().map(PageId).collect();
    let prompt = ids.len() - DECODED;
    let mut all = Vec::new();
    let mut start = 0;
    while start < ids.len() {
        let end = if start < prompt {
            (start + chunk).min(prompt)
        } else {
            start + 1
        };
        let wanted = end >= prompt;
        let run = Run {
            tokens: &ids[start..end],
            start: start as u32,
            pages: &table,
            logits: wanted,
        };
        let logits = evaluator.step(&mut pages, &[run]).swap_remove(0).unwrap();
        all.extend(logits.map(|logits| bits(&logits)));
        start = end;
    }
    assert_eq!(all.len(), DECODED + 1);
    all
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|logit| logit.to_bits()).collect()
}

#[test]
fn every_instruction_set_returns_the_bits_of_the_reference() {
    // Past the end of a page, and with chunks that end inside one.
    let ids = &steps::long_ids()[..PAGE_TOKENS + 8];
    let mut expected = None;
    for model in &*MODELS {
        let mut evaluator = Evaluator::new(Arc::clone(model), 2, 512).unwrap();
        let found = logits(&mut evaluator, ids, 40);
        let expected = expected.get_or_insert_with(|| found.clone());
        assert!(found == *expected, "{}", model.isa().name());
    }
}

#[test]
fn threads_and_chunks_of_the_prompt_do_not_change_a_bit() {
    let ids = &steps::long_ids()[..512 + 9 + DECODED];
    let mut expected = None;
    for model in MODELS.iter().filter(|model| model.isa() != Isa::Reference) {
        for threads in [1, 2, 3] {
            let mut evaluator = Evaluator::new(Arc::clone(model), threads, 512).unwrap();
            // Three threads on two cores, and single tokens, are slow; once each is enough.
            let chunks: &[usize] = match (threads, model.isa()) {
                (3, _) => &[64],
                (1, Isa::Avx512) => &[1, 7, 512],
                _ => &[7, 64, 512],
            };
            for chunk in chunks {
                let found = logits(&mut evaluator, ids, *chunk);
                let expected = expected.get_or_insert_with(|| found.clone());
                let isa = model.isa().name();
                assert!(
                    found == *expected,
                    "{isa}, {threads} threads, chunks of {chunk}"
                );
            }
        }
    }
}

#[test]
fn sixteen_strangers_in_the_batch_do_not_change_a_bit() {
    let ids = &steps::long_ids()[..100];
    for model in MODELS.iter().filter(|model| model.isa() != Isa::Reference) {
        let facts = model.facts().clone();
        let mut evaluator = Evaluator::new(Arc::clone(model), 2, 512).unwrap();
        let expected = logits(&mut evaluator, ids, 23);

        let mut pages = Pages::new(&facts, 2 * 17).unwrap();
        let tables: Vec<[PageId; 2]> = (0..17)
            .map(|s| [PageId(2 * s), PageId(2 * s + 1)])
            .collect();
        let mut found = Vec::new();
        let mut start = 0;
        while start < ids.len() {
            let prompt = ids.len() - DECODED;
            let end = if start < prompt {
                (start + 23).min(prompt)
            } else {
                start + 1
            };
            // Strangers stand before and after, with other tokens, pieces of other lengths and at
            // other positions.
            let strangers: Vec<Vec<u32>> = (0..16)
                .map(|s| {
                    ids.iter()
                        .map(|id| (id * 31 + s) % 49_152)
                        .take(1 + (s as usize * 5) % 9)
                        .collect()
                })
                .collect();
            let mut runs: Vec<Run<'_>> = strangers
                .iter()
                .enumerate()
                .map(|(s, tokens)| Run {
                    tokens,
                    start: s as u32 * 3,
                    pages: &tables[s],
                    logits: s % 3 == 0,
                })
                .collect();
            let mine = Run {
                tokens: &ids[start..end],
                start: start as u32,
                pages: &tables[16],
                logits: end >= prompt,
            };
            runs.insert(7, mine);
            let mut results = evaluator.step(&mut pages, &runs);
            let logits = results.swap_remove(7).unwrap();
            found.extend(logits.map(|logits| bits(&logits)));
            start = end;
        }
        assert!(found == expected, "{}", model.isa().name());
    }
}

#[test]
fn a_copied_page_continues_as_the_original() {
    let model = MODELS.last().unwrap();
    let ids = &steps::long_ids()[..70];
    let mut evaluator = Evaluator::new(Arc::clone(model), 2, 512).unwrap();
    let mut pages = Pages::new(model.facts(), 3).unwrap();
    let original = [PageId(0), PageId(1)];
    let run = Run {
        tokens: &ids[..66],
        start: 0,
        pages: &original,
        logits: false,
    };
    assert_eq!(evaluator.step(&mut pages, &[run]), [Ok(None)]);
    pages.copy(PageId(1), PageId(2));

    let mut next = |table: &[PageId]| {
        let run = Run {
            tokens: &ids[66..],
            start: 66,
            pages: table,
            logits: true,
        };
        bits(
            &evaluator
                .step(&mut pages, &[run])
                .swap_remove(0)
                .unwrap()
                .unwrap(),
        )
    };
    assert!(next(&original) == next(&[PageId(0), PageId(2)]));
}
