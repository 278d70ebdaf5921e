//! What comes back from a step, and what a step takes: rows for every token agree with rows for single ones,
//! and what is predicted from a header is what is there after loading.

#[path = "support/gguf_file.rs"]
mod gguf_file;
#[path = "support/synthetic.rs"]
mod synthetic;
#[path = "support/vectors/values.rs"]
mod values;

use std::sync::Arc;

use synthetic::{Shape, Synthetic};
use troop_kernels::gguf::{Format, Gguf};
use troop_kernels::isa::Isa;
use troop_kernels::mean::Mean;
use troop_kernels::model::{Evaluator, Model, Needs, PageId, PageKind, Pages, Plan, Run, Want};

const TOKENS: [u32; 12] = [3, 1, 4, 1, 5, 9, 2, 6, 5, 35, 8, 39];

/// What a model says of the tokens, cut into runs of so many, each wanting this.
fn rows(model: &Arc<Model>, chunk: usize, want: Want) -> Vec<Vec<f32>> {
    let mut pages = Pages::new(model.facts(), 1, 0).unwrap();
    let mut evaluator = Evaluator::new(Arc::clone(model), 2, 16).unwrap();
    let starts = (0..).step_by(chunk);
    let mut step = |(tokens, start): (&[u32], u32)| {
        let run = Run {
            tokens,
            start,
            pages: &[PageId(0)],
            window_pages: &[],
            want,
        };
        evaluator.step(&mut pages, &[run]).swap_remove(0).unwrap()
    };
    TOKENS.chunks(chunk).zip(starts).map(&mut step).collect()
}

fn model() -> (Vec<u8>, Arc<Model>) {
    let file = Synthetic::new(Shape::SMALL, Format::Q8_0, 1).file();
    let gguf = Gguf::parse(&file).unwrap();
    let model = Model::load(&gguf, &file, Isa::detect()).unwrap();
    (file, Arc::new(model))
}

#[test]
fn every_row_of_logits_is_the_one_a_run_that_ends_there_has() {
    let (_, model) = model();
    let single = rows(&model, 1, Want::Logits).concat();
    assert_eq!(single.len(), TOKENS.len() * Shape::SMALL.vocabulary);
    for chunk in [1, 5, 12] {
        let every = rows(&model, chunk, Want::EveryLogits).concat();
        assert_eq!(every, single, "chunks of {chunk}");
    }
    assert!(rows(&model, 5, Want::Nothing).concat().is_empty());
}

#[test]
fn hidden_rows_and_their_mean_do_not_depend_on_chunks() {
    let (_, model) = model();
    let whole = rows(&model, 12, Want::Hidden).concat();
    assert_eq!(whole.len(), TOKENS.len() * Shape::SMALL.width);
    // The last norm makes rows of this size.
    let size = whole.iter().map(|x| x * x).sum::<f32>() / whole.len() as f32;
    assert!((0.5..2.0).contains(&size), "{size}");
    let mut expected = Mean::new(Shape::SMALL.width);
    expected.add(&whole);
    for chunk in [1, 5] {
        let pieces = rows(&model, chunk, Want::Hidden);
        let mut mean = Mean::new(Shape::SMALL.width);
        pieces.iter().for_each(|rows| mean.add(rows));
        assert_eq!(pieces.concat(), whole, "chunks of {chunk}");
        assert_eq!(mean.result(), expected.result(), "chunks of {chunk}");
    }
}

#[test]
fn runs_that_want_different_things_share_a_step() {
    let (_, model) = model();
    let mut pages = Pages::new(model.facts(), 4, 0).unwrap();
    let mut evaluator = Evaluator::new(Arc::clone(&model), 2, 64).unwrap();
    let wants = [Want::Hidden, Want::EveryLogits, Want::Nothing, Want::Logits];
    let tables: Vec<[PageId; 1]> = (0..4).map(|page| [PageId(page)]).collect();
    let runs: Vec<Run<'_>> = (wants.into_iter().zip(&tables))
        .map(|(want, pages)| Run {
            tokens: &TOKENS,
            start: 0,
            pages,
            window_pages: &[],
            want,
        })
        .collect();
    let found = evaluator.step(&mut pages, &runs);
    for (want, found) in wants.into_iter().zip(found) {
        assert_eq!(found.unwrap(), rows(&model, 12, want).concat(), "{want:?}");
    }
}

#[test]
fn what_a_header_predicts_is_what_loading_takes() {
    for format in values::FORMATS {
        let file = Synthetic::new(Shape::of(format), format, 1).file();
        let gguf = Gguf::parse(&file).unwrap();
        for isa in Isa::available() {
            let plan = Plan {
                threads: 2,
                tokens_max: 512,
                context: 100,
                page_kind: PageKind::F16,
            };
            let needs = Needs::of(&gguf, isa, plan).unwrap();
            let model = Model::load(&gguf, &file, isa).unwrap();
            assert_eq!(&needs.facts, model.facts(), "{}", format.name());
            let stored: usize = gguf.tensors().iter().map(|one| one.range.len()).sum();
            let weights = needs.facts.weight_bytes as usize;
            assert!(
                weights >= stored && weights < stored * 5 / 4,
                "{} of {stored} bytes by {}: {weights}",
                format.name(),
                isa.name()
            );
        }
    }
}
