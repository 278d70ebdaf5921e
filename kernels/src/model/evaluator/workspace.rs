//! The memory of a step: how long each buffer is, which is also how many bytes an evaluator takes.

use super::super::Facts;
use super::super::forward::ALONE_MAX;
use crate::attention::scratch_len;
use crate::block::BLOCK;
use crate::matmul::STRIP;
use crate::memory::{OutOfMemory, zeros};
use crate::quantize::GROUP;

/// Buffers of one step.
#[derive(Default)]
pub(super) struct Workspace {
    pub(super) x: Vec<f32>,
    pub(super) normed: Vec<f32>,
    pub(super) qkv: Vec<f32>,
    pub(super) mixed: Vec<f32>,
    pub(super) hidden: Vec<f32>,
    pub(super) added: Vec<f32>,
    pub(super) choices: Vec<f32>,
    /// They grow with the sequences: a file may claim a context that no sequence ever has.
    pub(super) scores: Vec<f32>,
    pub(super) q: Vec<i8>,
    pub(super) scale: Vec<f32>,
    pub(super) sum: Vec<i32>,
    pub(super) mass: Vec<f32>,
}

/// Lengths of rows, derived from a model's facts.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Sizes {
    /// Width of the residual, padded to whole strips.
    pub(in super::super) x: usize,
    /// Queries, keys and values, each padded to whole strips.
    pub(in super::super) qkv: usize,
    pub(in super::super) keys_at: usize,
    pub(in super::super) values_at: usize,
    pub(in super::super) mixed: usize,
    pub(in super::super) hidden: usize,
    /// What is added to the residual later: a row, or one for each expert chosen; none where it is added at once.
    pub(in super::super) added: usize,
    /// A weight for each expert.
    pub(in super::super) choices: usize,
    /// The longest input of a matmul.
    pub(in super::super) input: usize,
    /// Scores of one thread, for the longest sequence of the step.
    pub(in super::super) scores: usize,
}

impl Sizes {
    /// For sequences of up to `keys` tokens.
    pub(in super::super) fn of(facts: &Facts, keys: usize) -> Self {
        let mixed = facts.heads * facts.head_width;
        let kv = (facts.kv_heads * facts.head_width).next_multiple_of(STRIP);
        let keys_at = mixed.next_multiple_of(STRIP);
        let x = facts.width.next_multiple_of(STRIP);
        let hidden = facts.feed_width * facts.experts_used.max(1);
        Self {
            x,
            qkv: keys_at + 2 * kv,
            keys_at,
            values_at: keys_at + kv,
            mixed,
            hidden,
            added: match facts.experts_used {
                0 => x * usize::from(facts.post_norms),
                used => x * used,
            },
            choices: facts.experts,
            input: facts.width.max(mixed).max(hidden),
            scores: scratch_len(keys),
        }
    }
}

/// How many elements each buffer has that is there from the start.
struct Lengths {
    x: usize,
    normed: usize,
    qkv: usize,
    mixed: usize,
    hidden: usize,
    added: usize,
    choices: usize,
    q: usize,
    groups: usize,
    blocks: usize,
}

impl Lengths {
    fn of(sizes: &Sizes, threads: usize, tokens_max: usize) -> Self {
        // In a small step every thread has rows of its own.
        let rows = tokens_max.max(threads * ALONE_MAX);
        Self {
            x: tokens_max * sizes.x,
            normed: rows * sizes.x,
            qkv: tokens_max * sizes.qkv,
            mixed: tokens_max * sizes.mixed,
            hidden: tokens_max * sizes.hidden,
            added: tokens_max * sizes.added,
            choices: rows * sizes.choices,
            q: rows * sizes.input,
            groups: rows * sizes.input.div_ceil(GROUP),
            blocks: rows * sizes.input.div_ceil(BLOCK),
        }
    }
}

impl Workspace {
    /// For steps of up to so many tokens.
    pub(super) fn new(
        facts: &Facts,
        threads: usize,
        tokens_max: usize,
    ) -> Result<Self, OutOfMemory> {
        let lengths = Lengths::of(&Sizes::of(facts, 0), threads, tokens_max);
        Ok(Self {
            x: zeros(lengths.x, WHAT)?,
            normed: zeros(lengths.normed, WHAT)?,
            qkv: zeros(lengths.qkv, WHAT)?,
            mixed: zeros(lengths.mixed, WHAT)?,
            hidden: zeros(lengths.hidden, WHAT)?,
            added: zeros(lengths.added, WHAT)?,
            choices: zeros(lengths.choices, WHAT)?,
            scores: Vec::new(),
            q: zeros(lengths.q, WHAT)?,
            scale: zeros(lengths.groups, WHAT)?,
            sum: zeros(lengths.groups, WHAT)?,
            mass: zeros(lengths.blocks, WHAT)?,
        })
    }

    /// Bytes of a workspace whose longest sequence has `context` tokens.
    pub(super) fn bytes(facts: &Facts, threads: usize, tokens_max: usize, context: usize) -> u64 {
        let sizes = Sizes::of(facts, context);
        let lengths = Lengths::of(&sizes, threads, tokens_max);
        let layer = lengths.normed + lengths.qkv + lengths.mixed + lengths.hidden;
        let floats = lengths.x + layer + lengths.added + lengths.choices;
        let fours = floats + 2 * lengths.groups + lengths.blocks + threads * sizes.scores;
        4 * fours as u64 + lengths.q as u64
    }

    /// Makes the scores reach sequences of so many tokens.
    pub(super) fn reach(&mut self, facts: &Facts, threads: usize, keys: usize) {
        let needed = threads * scratch_len(keys);
        if self.scores.len() < needed {
            let most = threads * scratch_len(facts.context);
            // Nothing of earlier steps is kept, so nothing is copied, and there are never two of them.
            self.scores = Vec::new();
            self.scores = vec![0.0; needed.next_power_of_two().min(most)];
        }
    }
}

/// What memory is for, where there is not enough.
const WHAT: &str = "the workspace of a step";
