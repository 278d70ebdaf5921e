//! What a node and its engine child say to each other, over the child's standard input and output.
//!
//! A frame on the pipe is `length: u32 LE | kind: u8 | version: u8 | body: bincode`, `length` counting what
//! follows it. Unknown kinds are skipped, a known kind of another version ends the conversation.

use crate::generate::{Event, Failure, Tally, Work};
use crate::ids::{AttemptId, Digest};
use serde::{Deserialize, Serialize};

/// From the node to its engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToEngine {
    /// Begin an attempt.
    Start {
        /// Which.
        attempt: AttemptId,
        /// For whom: only the same tenant's texts are met again in memory.
        tenant: Digest,
        /// What is to be done.
        work: Box<Work>,
    },
    /// Stop an attempt; it is answered by `Closed` within one step. Unknown attempts are ignored.
    Cancel {
        /// Which.
        attempt: AttemptId,
    },
    /// Answer with `Alive`.
    Probe {
        /// Repeated in the answer.
        number: u64,
    },
}

/// From an engine to its node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromEngine {
    /// The model is loaded and has computed its first token.
    Ready(EngineFacts),
    /// How an attempt goes.
    Event {
        /// Which.
        attempt: AttemptId,
        /// What happened.
        event: Event,
    },
    /// An attempt is over: every choice has ended, or it failed, or it was cancelled.
    Closed {
        /// Which.
        attempt: AttemptId,
        /// What it amounted to.
        tally: Tally,
        /// Why it failed, if it did.
        failure: Option<Failure>,
    },
    /// The answer to a probe.
    Alive {
        /// The probe's number.
        number: u64,
        /// How it is.
        stats: EngineStats,
    },
    /// The model cannot be served; the engine exits after saying so.
    Unfit {
        /// Why: names the field of the file, or the bytes that are missing.
        message: String,
    },
}

/// What an engine is, once it is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineFacts {
    /// Tokens the model can see.
    pub context: u32,
    /// Sequences run at once.
    pub sequences_max: u32,
    /// Bytes the chat template adds to any conversation, at most.
    pub overhead_fixed_bytes: u64,
    /// And to each message.
    pub overhead_turn_bytes: u64,
    /// Bytes of weights in memory.
    pub weight_bytes: u64,
    /// KV pages of the layers that see everything, in all.
    pub pages: u32,
    /// Bytes of one of them.
    pub page_bytes: u64,
    /// Tokens that layers with a window see; 0 if there are none such.
    pub window: u32,
    /// KV pages of the layers with a window, in all.
    pub window_pages: u32,
    /// Bytes of one of them.
    pub window_page_bytes: u64,
    /// What the bytes of an answer depend on besides the request: versions of arithmetic, tokenizer,
    /// template and sampler.
    pub class: String,
}

impl EngineFacts {
    /// The class without the context, which engines of one class may differ in.
    pub fn class_of_any_context(&self) -> &str {
        let parts = self.class.rsplit_once("/context-");
        parts.map_or(&self.class, |(class, _)| class)
    }
}

/// How an engine is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineStats {
    /// Sequences in the batch.
    pub running: u32,
    /// Sequences waiting for pages.
    pub waiting: u32,
    /// KV pages not in use.
    pub pages_free: u32,
    /// Steps taken since the start.
    pub steps: u64,
    /// Tokens sampled since the start.
    pub tokens: u64,
    /// Prompt tokens evaluated since the start.
    pub prompt_tokens: u64,
    /// Tokens that were in memory already, and so not evaluated.
    pub reused_tokens: u64,
    /// Attempts cancelled since the start.
    pub cancelled: u64,
    /// The most steps any cancelled attempt still took part in after its cancel was read.
    pub steps_after_cancel_max: u64,
    /// Milliseconds of the longest of the last steps.
    pub step_ms: u32,
    /// Prompt tokens evaluated in a second, in thousandths, as measured lately; 0 where nothing was.
    pub prefill_rate: u32,
    /// Tokens that one sequence draws in a second, in thousandths, as measured lately; 0 where nothing was.
    pub decode_rate: u32,
    /// Tokens guessed and evaluated beside the one that was due, since the start.
    pub drafted_tokens: u64,
    /// Those of them that turned out right, each of which saved a sequence a step.
    pub accepted_tokens: u64,
}
