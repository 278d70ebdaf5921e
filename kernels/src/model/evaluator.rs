//! One step: many runs, of many sequences, through all layers at once.
//!
//! The evaluator owns what a step needs besides weights and pages: the threads and the workspace. It is
//! given a fixed count of tokens that a step may hold, and allocates for that once.

mod promises;
mod workspace;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use thiserror::Error;

use super::forward::{ALONE_MAX, Pass, Row, Table};
use super::run::OPERATIONS;
use super::{Facts, Model, NonFinite, Pages, Run, Want};
use crate::memory::{OutOfMemory, Shared};
use crate::pool::Pool;
use crate::rope;

pub(super) use workspace::Sizes;
use workspace::Workspace;

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
    rope: Vec<rope::Table>,
    workspace: Workspace,
}

impl Evaluator {
    /// Starts threads and allocates for steps of up to `tokens_max` tokens.
    pub fn new(
        model: Arc<Model>,
        threads: usize,
        tokens_max: usize,
    ) -> Result<Self, EvaluatorError> {
        let (threads, tokens_max) = (threads.max(1), tokens_max.max(1));
        let workspace = Workspace::new(&model.facts, threads, tokens_max)?;
        let divisors = model.divisors.as_deref();
        let turns = model.turns.iter();
        let rope = turns.map(|turning| rope::Table::new(*turning, divisors));
        let rope = rope.collect();
        Ok(Self {
            pool: Pool::new(threads)?,
            threads,
            model,
            tokens_max,
            rope,
            workspace,
        })
    }

    /// Divides cores, each a list of processors, among the threads: none shares a core with another one, where there
    /// are as many. Without it the system puts them where it likes.
    pub fn keep_apart(&mut self, cores: &[Vec<usize>]) {
        self.pool.keep_apart(cores);
    }

    /// The most bytes that an evaluator of this kind takes while no sequence is longer than `context`.
    /// Results come on top: `Facts::logits_bytes` for each row of logits in a step.
    pub fn workspace_bytes(
        facts: &Facts,
        threads: usize,
        tokens_max: usize,
        context: usize,
    ) -> u64 {
        let (threads, tokens_max) = (threads.max(1), tokens_max.max(1));
        let workspace = Workspace::bytes(facts, threads, tokens_max, context);
        workspace + rope::Table::positions(context) as u64 * facts.turn_bytes
    }

    /// The model it evaluates.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Takes the runs through the model: keys and values go to the pages, what is wanted to the caller. One
    /// result per run, in order.
    pub fn step(
        &mut self,
        pages: &mut Pages,
        runs: &[Run<'_>],
    ) -> Vec<Result<Vec<f32>, NonFinite>> {
        let model = Arc::clone(&self.model);
        let facts = &model.facts;
        promises::check(facts, self.tokens_max, runs);
        if runs.is_empty() {
            return Vec::new();
        }
        let keys = runs.iter().map(Run::end).max().unwrap_or(0);
        self.rope.iter_mut().for_each(|table| table.reach(keys));
        let space = &mut self.workspace;
        space.reach(facts, self.threads, keys);

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
        let (mut ended, mut logit_rows, mut hidden_rows) = (0, Vec::new(), Vec::new());
        for run in runs {
            let first = ended;
            ended += run.tokens.len();
            match run.want {
                Want::Nothing => {}
                Want::Logits => logit_rows.push(ended - 1),
                Want::EveryLogits => logit_rows.extend(first..ended),
                Want::Hidden => hidden_rows.extend(first..ended),
            }
        }
        let stride = model.head().output_columns();
        let mut logits = vec![0.0; logit_rows.len() * stride];
        let mut states = vec![0.0; hidden_rows.len() * facts.width];
        let faults: Vec<AtomicU32> = runs.iter().map(|_| AtomicU32::new(u32::MAX)).collect();
        let tables: Vec<[Table; 2]> = runs.iter().map(|run| tables(pages, run)).collect();
        let (page_kind, part_bytes) = (pages.kind(), pages.part_bytes());
        let pass = Pass {
            model: &model,
            sizes: Sizes::of(facts, keys),
            runs,
            rows: &rows,
            logit_rows: &logit_rows,
            hidden_rows: &hidden_rows,
            rope: &self.rope,
            tables: &tables,
            page_kind,
            part_bytes,
            pages: pages.bytes_mut().map(Shared::new),
            x: Shared::new(&mut space.x),
            normed: Shared::new(&mut space.normed),
            qkv: Shared::new(&mut space.qkv),
            mixed: Shared::new(&mut space.mixed),
            hidden: Shared::new(&mut space.hidden),
            added: Shared::new(&mut space.added),
            choices: Shared::new(&mut space.choices),
            scores: Shared::new(&mut space.scores),
            q: Shared::new(&mut space.q),
            scale: Shared::new(&mut space.scale),
            sum: Shared::new(&mut space.sum),
            mass: Shared::new(&mut space.mass),
            logits: Shared::new(&mut logits),
            states: Shared::new(&mut states),
            alone: rows.len() <= ALONE_MAX,
            faults: &faults,
        };
        self.pool.run(&|place| pass.walk(place));

        let mut logits = logits.chunks_exact(stride.max(1));
        let mut states = states.chunks_exact(facts.width);
        let result = |(run, fault): (&Run<'_>, &AtomicU32)| {
            let count = run.tokens.len();
            let mut logits = |count: usize| -> Vec<f32> {
                let rows = logits.by_ref().take(count);
                rows.flat_map(|row| &row[..facts.vocabulary])
                    .copied()
                    .collect()
            };
            let wanted = match run.want {
                Want::Nothing => Vec::new(),
                Want::Logits => logits(1),
                Want::EveryLogits => logits(count),
                Want::Hidden => states.by_ref().take(count).flatten().copied().collect(),
            };
            match fault.load(Ordering::Relaxed) {
                u32::MAX => Ok(wanted),
                code => Err(NonFinite {
                    layer: (code / 256) as usize,
                    operation: OPERATIONS[(code % 256) as usize].0,
                }),
            }
        };
        runs.iter().zip(&faults).map(result).collect()
    }
}

/// Where the pages of a run are: of layers that see everything, and of those with a window.
fn tables(pages: &Pages, run: &Run<'_>) -> [Table; 2] {
    let all = Table {
        first: 0,
        pages: run.pages.iter().map(|page| pages.at(*page)).collect(),
    };
    let window = Table {
        first: promises::first_window_page(run).unwrap_or(0),
        pages: (run.window_pages.iter())
            .map(|page| pages.window_at(*page))
            .collect(),
    };
    [all, window]
}
