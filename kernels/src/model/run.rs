//! What an evaluator is asked for, and what it may answer.

use thiserror::Error;

use super::PageId;

/// Some tokens of one sequence, at their position.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The tokens; at least one.
    pub tokens: &'a [u32],
    /// The position of the first of them. All positions before it are in the pages already.
    pub start: u32,
    /// The sequence's pages for layers that see everything, in order: position `p` is in page `pages[p / 64]`.
    pub pages: &'a [PageId],
    /// The end of the sequence's pages for layers with a window: the last of them holds the run's last token,
    /// and the first of them the first position that the run's first token sees, or one before it. Empty for
    /// a model without a window.
    pub window_pages: &'a [PageId],
    /// What is to come back.
    pub want: Want,
}

/// What is wanted of a run: rows of numbers, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Nothing: its keys and values are stored, and that is all.
    Nothing,
    /// The logits after its last token.
    Logits,
    /// The logits after each of its tokens.
    EveryLogits,
    /// The last norm's result after each of its tokens, which embeddings are made of.
    Hidden,
}

impl Run<'_> {
    /// The position after the last token.
    pub(super) fn end(&self) -> usize {
        self.start as usize + self.tokens.len()
    }
}

/// A value that is not a finite number turned up. It concerns one run only: its pages hold nothing of
/// use from the run's start on, and its sequence cannot go on. The others are as if it had not been there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a finite number in layer {layer}: {operation}")]
pub struct NonFinite {
    /// 0-based; the count of layers stands for what comes after the last one.
    pub layer: usize,
    /// Where it was seen first.
    pub operation: Operation,
}

/// The places where values are checked, in the order of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the text of Display says it")]
pub enum Operation {
    AttentionNorm,
    AttentionInput,
    HeadNorms,
    KeysAndValues,
    Scores,
    AttentionOutput,
    AttentionPostNorm,
    FeedNorm,
    FeedInput,
    Router,
    FeedHidden,
    FeedPostNorm,
    OutputNorm,
    OutputInput,
    Logits,
}

pub(super) const OPERATIONS: [(Operation, &str); 15] = [
    (Operation::AttentionNorm, "norm before attention"),
    (Operation::AttentionInput, "input of attention"),
    (Operation::HeadNorms, "norms of queries and keys"),
    (Operation::KeysAndValues, "keys and values as f16"),
    (Operation::Scores, "attention scores"),
    (Operation::AttentionOutput, "result of attention"),
    (Operation::AttentionPostNorm, "norm after attention"),
    (Operation::FeedNorm, "norm before the feed-forward layer"),
    (Operation::FeedInput, "input of the feed-forward layer"),
    (Operation::Router, "choice of experts"),
    (Operation::FeedHidden, "gated activation"),
    (Operation::FeedPostNorm, "norm after the feed-forward layer"),
    (Operation::OutputNorm, "norm before the output"),
    (Operation::OutputInput, "input of the output"),
    (Operation::Logits, "logits"),
];

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(OPERATIONS[*self as usize].1)
    }
}
