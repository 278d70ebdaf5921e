//! One step: many runs, of many sequences, through all layers at once.
//!
//! The evaluator owns what a step needs besides weights and pages: the threads and the workspace. It is
//! given a fixed count of tokens that a step may hold, and allocates for that once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use thiserror::Error;

use super::forward::{ALONE_MAX, Pass, Row};
use super::{Facts, Model, PageId, Pages};
use crate::attention::{PAGE_TOKENS, scratch_len};
use crate::block::BLOCK;
use crate::matmul::STRIP;
use crate::memory::{OutOfMemory, Shared, zeros};
use crate::pool::Pool;
use crate::quantize::GROUP;
use crate::rope;

/// Some tokens of one sequence, at their position.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The tokens; at least one.
    pub tokens: &'a [u32],
    /// The position of the first of them. All positions before it are in the pages already.
    pub start: u32,
    /// The sequence's pages, in order: position `p` is in page `pages[p / 64]`.
    pub pages: &'a [PageId],
    /// Whether the logits after the last token are wanted.
    pub logits: bool,
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
    KeysAndValues,
    Scores,
    AttentionOutput,
    FeedNorm,
    FeedInput,
    FeedHidden,
    OutputNorm,
    OutputInput,
    Logits,
}

const OPERATIONS: [(Operation, &str); 11] = [
    (Operation::AttentionNorm, "norm before attention"),
    (Operation::AttentionInput, "input of attention"),
    (Operation::KeysAndValues, "keys and values as f16"),
    (Operation::Scores, "attention scores"),
    (Operation::AttentionOutput, "result of attention"),
    (Operation::FeedNorm, "norm before the feed-forward layer"),
    (Operation::FeedInput, "input of the feed-forward layer"),
    (Operation::FeedHidden, "gated activation"),
    (Operation::OutputNorm, "norm before the output"),
    (Operation::OutputInput, "input of the output"),
    (Operation::Logits, "logits"),
];

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(OPERATIONS[*self as usize].1)
    }
}

/// Why an evaluator cannot be made.
#[derive(Debug, Error)]
pub enum EvaluatorError {
    /// The system starts no more threads.
    #[error("cannot start threads: {0}")]
    Threads(#[from] std::io::Error),
    /// The machine has not enough memory for steps of so many tokens.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
}

/// Threads and workspace for one model.
pub struct Evaluator {
    model: Arc<Model>,
    pool: Pool,
    threads: usize,
    tokens_max: usize,
    rope: rope::Table,
    workspace: Workspace,
}

/// Buffers of one step. Lengths are those of `Sizes`.
#[derive(Default)]
struct Workspace {
    x: Vec<f32>,
    normed: Vec<f32>,
    qkv: Vec<f32>,
    mixed: Vec<f32>,
    hidden: Vec<f32>,
    scores: Vec<f32>,
    q: Vec<i8>,
    scale: Vec<f32>,
    sum: Vec<i32>,
    mass: Vec<f32>,
}

/// Lengths of rows, derived from a model's facts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Width of the residual, padded to whole strips.
    pub(super) x: usize,
    /// Queries, keys and values, each padded to whole strips.
    pub(super) qkv: usize,
    pub(super) keys_at: usize,
    pub(super) values_at: usize,
    pub(super) mixed: usize,
    pub(super) hidden: usize,
    /// The longest input of a matmul.
    pub(super) input: usize,
    /// Scores of one thread, for the longest sequence of the step.
    pub(super) scores: usize,
}

impl Sizes {
    /// For sequences of up to `keys` tokens.
    pub(super) fn of(facts: &Facts, keys: usize) -> Self {
        let mixed = facts.heads * facts.head_width;
        let kv = (facts.kv_heads * facts.head_width).next_multiple_of(STRIP);
        let keys_at = mixed.next_multiple_of(STRIP);
        Self {
            x: facts.width.next_multiple_of(STRIP),
            qkv: keys_at + 2 * kv,
            keys_at,
            values_at: keys_at + kv,
            mixed,
            hidden: facts.feed_width,
            input: facts.width.max(mixed).max(facts.feed_width),
            scores: scratch_len(keys),
        }
    }

    /// Bytes of the workspace for one token.
    fn token_bytes(&self) -> usize {
        let floats = self.x + self.input + self.qkv + self.mixed + self.hidden;
        floats * 4 + self.input + self.input.div_ceil(GROUP) * 8 + self.input.div_ceil(BLOCK) * 4
    }
}

impl Evaluator {
    /// Starts threads and allocates for steps of up to `tokens_max` tokens.
    pub fn new(
        model: Arc<Model>,
        threads: usize,
        tokens_max: usize,
    ) -> Result<Self, EvaluatorError> {
        let facts = &model.facts;
        let sizes = Sizes::of(facts, 0);
        let (threads, tokens_max) = (threads.max(1), tokens_max.max(1));
        let groups = sizes.input.div_ceil(GROUP);
        let blocks = sizes.input.div_ceil(BLOCK);
        // In a small step every thread has rows of its own.
        let rows = tokens_max.max(threads * ALONE_MAX);
        let workspace = Workspace {
            x: zeros(tokens_max * sizes.x, WORKSPACE)?,
            normed: zeros(rows * sizes.input, WORKSPACE)?,
            qkv: zeros(tokens_max * sizes.qkv, WORKSPACE)?,
            mixed: zeros(tokens_max * sizes.mixed, WORKSPACE)?,
            hidden: zeros(tokens_max * sizes.hidden, WORKSPACE)?,
            // They grow with the sequences: a file may claim a context that no sequence ever has.
            scores: Vec::new(),
            q: zeros(rows * sizes.input, WORKSPACE)?,
            scale: zeros(rows * groups, WORKSPACE)?,
            sum: zeros(rows * groups, WORKSPACE)?,
            mass: zeros(rows * blocks, WORKSPACE)?,
        };
        let factors = model.rope_factors.as_deref();
        let rope = rope::Table::new(facts.head_width, model.rope_base, factors);
        Ok(Self {
            pool: Pool::new(threads)?,
            threads,
            model,
            tokens_max,
            rope,
            workspace,
        })
    }

    /// The most bytes that an evaluator of this kind takes, for admission. Logits come on top: they
    /// are the caller's, `4 * vocabulary` bytes for each run that wants them, held twice during a step.
    pub fn workspace_bytes(facts: &Facts, threads: usize, tokens_max: usize) -> u64 {
        let sizes = Sizes::of(facts, facts.context);
        let rope = facts.context * facts.head_width * 4;
        let scores = threads.max(1) * sizes.scores * 4;
        let rows = tokens_max.max(threads.max(1) * ALONE_MAX);
        (rows * sizes.token_bytes() + scores + rope) as u64
    }

    /// The model it evaluates.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Takes the runs through the model: keys and values go to the pages, logits to the caller. One
    /// result per run, in order; its logits if it wanted them.
    pub fn step(
        &mut self,
        pages: &mut Pages,
        runs: &[Run<'_>],
    ) -> Vec<Result<Option<Vec<f32>>, NonFinite>> {
        let model = Arc::clone(&self.model);
        let facts = &model.facts;
        check(facts, self.tokens_max, runs);
        if runs.is_empty() {
            return Vec::new();
        }
        let ends = runs.iter().map(|run| run.start as usize + run.tokens.len());
        let keys = ends.max().unwrap_or(0);
        self.rope.reach(keys);
        let sizes = Sizes::of(facts, keys);
        let rows: Vec<Row> = (runs.iter().enumerate())
            .flat_map(|(index, run)| {
                let position = run.start as usize;
                let row = move |(offset, token): (usize, &u32)| Row {
                    run: index,
                    position: position + offset,
                    token: *token,
                };
                run.tokens.iter().enumerate().map(row)
            })
            .collect();
        let mut last = 0;
        let mut wanted = Vec::new();
        for run in runs {
            last += run.tokens.len();
            if run.logits {
                wanted.push(last - 1);
            }
        }
        let stride = model.head().output_columns();
        let mut logits = vec![0.0; wanted.len() * stride];
        let faults: Vec<AtomicU32> = runs.iter().map(|_| AtomicU32::new(u32::MAX)).collect();
        let space = &mut self.workspace;
        let scores = self.threads * sizes.scores;
        if space.scores.len() < scores {
            // Nothing of earlier steps is kept, so nothing is copied.
            let most = self.threads * scratch_len(facts.context);
            space.scores = vec![0.0; scores.next_power_of_two().min(most)];
        }
        let part_at = |page, layer, kv_head| pages.part_at(page, layer, kv_head);
        let tables: Vec<usize> = runs
            .iter()
            .flat_map(|run| run.pages.iter().map(|page| part_at(*page, 0, 0)))
            .collect();
        let part_len = pages.part_len();
        let pass = Pass {
            model: &model,
            sizes,
            runs,
            rows: &rows,
            wanted: &wanted,
            rope: &self.rope,
            tables: &tables,
            part_len,
            pages: Shared::new(pages.values_mut()),
            x: Shared::new(&mut space.x),
            normed: Shared::new(&mut space.normed),
            qkv: Shared::new(&mut space.qkv),
            mixed: Shared::new(&mut space.mixed),
            hidden: Shared::new(&mut space.hidden),
            scores: Shared::new(&mut space.scores),
            q: Shared::new(&mut space.q),
            scale: Shared::new(&mut space.scale),
            sum: Shared::new(&mut space.sum),
            mass: Shared::new(&mut space.mass),
            logits: Shared::new(&mut logits),
            alone: rows.len() <= ALONE_MAX,
            faults: &faults,
        };
        self.pool.run(&|place| pass.walk(place));

        let mut rows = logits.chunks_exact(stride.max(1));
        let result = |(run, fault): (&Run<'_>, &AtomicU32)| {
            let row = run.logits.then(|| rows.next()).flatten();
            match fault.load(Ordering::Relaxed) {
                u32::MAX => Ok(row.map(|row| row[..facts.vocabulary].to_vec())),
                code => Err(NonFinite {
                    layer: (code / 256) as usize,
                    operation: OPERATIONS[(code % 256) as usize].0,
                }),
            }
        };
        runs.iter().zip(&faults).map(result).collect()
    }
}

/// What memory is for, where there is not enough.
const WORKSPACE: &str = "the workspace of a step";

/// The engine's promises about its runs.
fn check(facts: &Facts, tokens_max: usize, runs: &[Run<'_>]) {
    let tokens: usize = runs.iter().map(|run| run.tokens.len()).sum();
    assert!(
        tokens <= tokens_max,
        "a step of {tokens} tokens, at most {tokens_max}"
    );
    let mut written = Vec::new();
    for (index, run) in runs.iter().enumerate() {
        assert!(!run.tokens.is_empty(), "a run without tokens");
        assert!(
            run.tokens
                .iter()
                .all(|token| (*token as usize) < facts.vocabulary)
        );
        let (start, end) = (run.start as usize, run.start as usize + run.tokens.len());
        assert!(end <= facts.context, "position {end} of {}", facts.context);
        assert!(
            end <= run.pages.len() * PAGE_TOKENS,
            "too few pages for position {end}"
        );
        let pages = &run.pages[start / PAGE_TOKENS..end.div_ceil(PAGE_TOKENS)];
        written.extend(pages.iter().map(|page| (*page, index)));
    }
    written.sort_unstable();
    for pair in written.windows(2) {
        assert!(
            pair[0].0 != pair[1].0,
            "page {} has two writers",
            pair[0].0.0
        );
    }
    for (index, run) in runs.iter().enumerate() {
        let end = run.start as usize + run.tokens.len();
        for page in &run.pages[..end.div_ceil(PAGE_TOKENS)] {
            if let Ok(found) = written.binary_search_by_key(page, |(page, _)| *page) {
                let writer = written[found].1;
                assert!(
                    writer == index,
                    "page {} is read while it is written",
                    page.0
                );
            }
        }
    }
}
