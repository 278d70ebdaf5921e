//! What loading and running a model takes, known from the header of its file.
//!
//! Whoever admits a model, or prints what would fit, asks here; the loader, the pools and the evaluator allocate
//! by the same formulas, so the answer is not an estimate. Memory that grows with use, as a table of turns does,
//! is counted as it is when one sequence has reached the context.

use super::tensors::Tensors;
use super::{Evaluator, Facts, LoadError};
use crate::attention::PageKind;
use crate::gguf::Gguf;
use crate::isa::Isa;
use crate::matmul::pack::Space;

/// How a model is to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Threads that compute.
    pub threads: usize,
    /// Tokens that a step may hold.
    pub tokens_max: usize,
    /// Tokens of the longest sequence.
    pub context: usize,
    /// What is in pages.
    pub page_kind: PageKind,
}

/// Bytes that it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Needs {
    /// What the model is; its sizes of weights and of pages are among the facts.
    pub facts: Facts,
    /// Buffers of a step, scores and turns of the longest sequence included; logits are not.
    pub workspace_bytes: u64,
}

impl Needs {
    /// Of a linted file, of which no tensor is read.
    pub fn of(gguf: &Gguf<'_>, isa: Isa, plan: Plan) -> Result<Self, LoadError> {
        let tensors = Tensors::find(gguf)?;
        let mut facts = tensors.facts.clone().with_pages(plan.page_kind);
        facts.weight_bytes = weight_bytes(&tensors, isa);
        let context = plan.context.min(facts.context);
        Ok(Self {
            workspace_bytes: Evaluator::workspace_bytes(
                &facts,
                plan.threads,
                plan.tokens_max,
                context,
            ),
            facts,
        })
    }
}

/// Bytes of all weights as they are packed for an instruction set.
pub(super) fn weight_bytes(tensors: &Tensors<'_>, isa: Isa) -> u64 {
    let mut space = Space::new(isa);
    for (rows, stored) in tensors.matrices() {
        let shapes: Vec<_> = stored.iter().map(|one| (one.format(), one.rows)).collect();
        space.add(rows, stored[0].columns, &shapes);
    }
    let floats: usize = tensors.vectors().map(|vector| vector.columns).sum();
    (space.bytes() + floats * size_of::<f32>()) as u64
}
