//! What an architecture is: one description each, and one forward pass that reads it.
//!
//! All of them are the same walk: norm, attention, norm, feed-forward, a residual around both halves. They differ
//! in what their tables below say. A description also lists the keys that it understands; a file with any other
//! key of its architecture is refused, because what it changes is not known.

use super::{gemma3, llama, phi3, qwen2, qwen3, qwen3moe};
use crate::gate::Gate;
use crate::rope::Pairing;

/// What sets an architecture apart.
#[derive(Debug)]
pub(crate) struct Architecture {
    /// As `general.architecture` has it.
    pub(crate) name: &'static str,
    /// Which elements of a head rope turns together.
    pub(crate) pairing: Pairing,
    /// Whether a file may say that only the first elements of a head are turned.
    pub(crate) turns_in_part: bool,
    /// Which numbers divide rope's frequencies.
    pub(crate) divisors: Divisors,
    /// Which layers see a window only, if the file has one.
    pub(crate) window: Window,
    /// Whether queries, keys and values each have a bias.
    pub(crate) biases: bool,
    /// Whether each head of queries and of keys is normed before rope.
    pub(crate) head_norms: bool,
    /// Whether what attention and the feed-forward layer add is normed first.
    pub(crate) post_norms: bool,
    /// Whether the embedding is multiplied by the root of the width.
    pub(crate) scaled_embedding: bool,
    /// The count of layers of a model whose scores are divided by the root of width / heads instead of the root
    /// of the head's width; 0 where there is none.
    pub(crate) odd_scale_layers: usize,
    /// What multiplies the ups.
    pub(crate) gate: Gate,
    /// Whether queries, keys and values are one tensor, and gates and ups another.
    pub(crate) fused: bool,
    /// Whether a router chooses experts for each token.
    pub(crate) experts: bool,
    /// The keys it understands besides those that all have.
    pub(crate) keys: &'static [&'static str],
}

/// The numbers that divide rope's frequencies, one per pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Divisors {
    /// There are none.
    Never,
    /// One tensor, in files that have it.
    One,
    /// One tensor for models that reach beyond the context they were first trained on, one for the others; in
    /// files that have them.
    ByContext,
}

/// Which layers see a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Window {
    /// None; there is no such key.
    Never,
    /// All of them.
    Every,
    /// All but each `n`-th, and those turn by a rope base of their own.
    AllBut {
        /// The last of so many layers sees everything.
        n: usize,
        /// Their base where the file does not say.
        base: f32,
    },
}

impl Architecture {
    /// What most of them are.
    pub(super) const PLAIN: Self = Self {
        name: "",
        pairing: Pairing::Halves,
        turns_in_part: false,
        divisors: Divisors::Never,
        window: Window::Never,
        biases: false,
        head_norms: false,
        post_norms: false,
        scaled_embedding: false,
        odd_scale_layers: 0,
        gate: Gate::Silu,
        fused: false,
        experts: false,
        keys: &[],
    };

    /// The one of that name.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        ALL.into_iter().find(|one| one.name == name)
    }

    /// Whether layers with a window turn by a base of their own.
    pub(super) fn turns_by_kind(&self) -> bool {
        matches!(self.window, Window::AllBut { .. })
    }

    /// Whether a layer sees a window only, if the file has one.
    pub(super) fn is_windowed(&self, layer: usize) -> bool {
        match self.window {
            Window::Never => false,
            Window::Every => true,
            Window::AllBut { n, .. } => layer % n != n - 1,
        }
    }
}

/// All that are understood.
pub(super) const ALL: [&Architecture; 6] = [
    &llama::LLAMA,
    &gemma3::GEMMA3,
    &qwen2::QWEN2,
    &qwen3::QWEN3,
    &phi3::PHI3,
    &qwen3moe::QWEN3MOE,
];
