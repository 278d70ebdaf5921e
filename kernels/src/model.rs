//! A loaded model and its forward pass: the surface an engine drives.
//!
//! ```text
//! Model      weights, packed for this machine; never changes, shared by everybody
//! Pages      the pools of keys and values, 64 tokens a page; the engine says which page holds what
//! Run        some tokens of one sequence, at their position: a piece of a prompt, or one new token
//! Evaluator  threads and workspace; takes many runs through all layers in one step
//! ```
//!
//! The logits of a run depend on the tokens of its sequence and on nothing else: not on how they
//! were cut into runs, on who shares the step, on threads or on the instruction set.
//!
//! What this file refuses: tokens outside the vocabulary, positions outside the context, pages shared by
//! two writers. Those are the engine's promises, and breaking one is an assertion.

pub(crate) mod architecture;
mod evaluator;
mod forward;
mod gemma3;
mod llama;
mod load;
mod load_error;
mod needs;
mod pages;
mod phi3;
mod qwen2;
mod qwen3;
mod qwen3moe;
mod run;
pub(crate) mod tensors;

use crate::gguf::Gguf;
use crate::isa::Isa;
use crate::matmul::{Matrix, STRIP};
use crate::rope::Turning;

use architecture::Architecture;

pub use crate::attention::{PAGE_TOKENS, PageKind};
pub use evaluator::{Evaluator, EvaluatorError};
pub use load_error::LoadError;
pub use needs::{Needs, Plan};
pub use pages::{PageId, Pages};
pub use run::{NonFinite, Operation, Run, Want};

/// What an engine has to know about a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// The name of the architecture, e.g. `llama`.
    pub architecture: String,
    /// Layers.
    pub layers: usize,
    /// Width of the residual.
    pub width: usize,
    /// Query heads.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_width: usize,
    /// Width of the feed-forward layer, or of one expert's.
    pub feed_width: usize,
    /// Experts that a router chooses from; 0 where there is no router.
    pub experts: usize,
    /// Experts that it chooses for a token.
    pub experts_used: usize,
    /// Whether what a layer adds to the residual is normed first.
    pub post_norms: bool,
    /// Positions the model was made for.
    pub context: usize,
    /// Token ids: 0 to this, exclusive.
    pub vocabulary: usize,
    /// Bytes of weights in memory.
    pub weight_bytes: u64,
    /// Tokens that layers with a window see, each its own included; 0 where no layer has one.
    pub window: usize,
    /// What is in pages: f16 unless [`Facts::with_pages`] says otherwise.
    pub page_kind: PageKind,
    /// Bytes of one page of 64 tokens, over the layers that see everything.
    pub page_bytes: u64,
    /// The same over the layers with a window.
    pub window_page_bytes: u64,
    /// Bytes of the turns of one position, which an evaluator keeps.
    pub turn_bytes: u64,
}

impl Facts {
    /// The same with pages of another kind, which an evaluator takes as well.
    pub fn with_pages(self, kind: PageKind) -> Self {
        let part = |kind: PageKind| kind.part_bytes(self.head_width) as u64;
        let of_kind = |bytes: u64| bytes / part(self.page_kind) * part(kind);
        Self {
            page_kind: kind,
            page_bytes: of_kind(self.page_bytes),
            window_page_bytes: of_kind(self.window_page_bytes),
            ..self
        }
    }

    /// Bytes that a row of logits takes while a step ends: as computed, and as handed over.
    pub fn logits_bytes(&self) -> u64 {
        let computed = self.vocabulary.next_multiple_of(STRIP);
        ((computed + self.vocabulary) * size_of::<f32>()) as u64
    }
}

/// A model in memory.
#[derive(Debug)]
pub struct Model {
    pub(crate) isa: Isa,
    pub(crate) facts: Facts,
    pub(crate) architecture: &'static Architecture,
    pub(crate) epsilon: f32,
    /// What scores are multiplied by.
    pub(crate) score_scale: f32,
    pub(crate) embedding_scale: Option<f32>,
    pub(crate) turns: Vec<Turning>,
    /// Divisors of the frequencies of all turns.
    pub(crate) divisors: Option<Vec<f32>>,
    pub(crate) embedding: Matrix,
    pub(crate) layers: Vec<Layer>,
    pub(crate) output_norm: Vec<f32>,
    /// None where the embedding serves as the output too.
    pub(crate) output: Option<Matrix>,
}

/// The weights of one layer.
#[derive(Debug)]
pub(crate) struct Layer {
    /// Whether it sees a window only.
    pub(crate) windowed: bool,
    /// Its 0-based place among the layers that see as much, which is its place in their pages.
    pub(crate) of_kind: usize,
    /// Which of the turns is its.
    pub(crate) turn: usize,
    pub(crate) attention_norm: Vec<f32>,
    /// Queries, keys, values over the same input.
    pub(crate) qkv: Matrix,
    /// Of queries, keys and values.
    pub(crate) biases: Option<[Vec<f32>; 3]>,
    /// Of the heads of queries and of keys.
    pub(crate) head_norms: Option<[Vec<f32>; 2]>,
    pub(crate) attention_output: Matrix,
    pub(crate) attention_post_norm: Option<Vec<f32>>,
    pub(crate) feed_norm: Vec<f32>,
    /// A row for each expert.
    pub(crate) router: Option<Vec<f32>>,
    /// One, where there is no router.
    pub(crate) experts: Vec<Expert>,
    pub(crate) feed_post_norm: Option<Vec<f32>>,
}

/// The weights of a feed-forward layer.
#[derive(Debug)]
pub(crate) struct Expert {
    /// Gates and ups, interleaved.
    pub(crate) gate_up: Matrix,
    pub(crate) down: Matrix,
}

impl Model {
    /// Packs the tensors of a linted file for an instruction set. The file is not needed afterwards.
    pub fn load(gguf: &Gguf<'_>, file: &[u8], isa: Isa) -> Result<Self, LoadError> {
        load::load(gguf, file, isa)
    }

    /// What an engine has to know.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The instruction set it was packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    pub(crate) fn head(&self) -> &Matrix {
        self.output.as_ref().unwrap_or(&self.embedding)
    }
}
