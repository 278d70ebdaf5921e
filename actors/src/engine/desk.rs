//! Frames in, frames out: everything an engine does but the arithmetic and the pipe.
//!
//! ```text
//! Start ──> checks ──> Words: prompt ids ──> Batch          each step:  Batch ──plan──> Forward ──logits──┐
//!   <── Started                                <── Token, Ended, Closed <── stop strings <── Sampler <────┘
//! ```
//!
//! The child process and the simulator use the same desk; they differ in [`Forward`] and [`Words`] and in who
//! calls [`Desk::step`]. It reads no clock, and it never waits.
//!
//! - E1 Every attempt that starts is closed, exactly once, by `Closed`; nothing is said of it afterwards.
//! - E2 Positions of a choice are delivered in order, without gaps, from where the attempt was taken up.
//! - E3 A cancelled attempt takes part in no step that begins after its cancel was heard.
//! - E4 An end token counts as a token and is delivered with no bytes; so is any other control token, and
//!   one that the request ends with.

mod attempt;
mod rows;
mod speculate;

use super::batch::{Batch, Limits, Place, Plan, Reads, Run};
use super::checks;
use super::draft::Costs;
use super::frames::{EngineFacts, EngineStats, FromEngine, ToEngine};
use super::memory::Copies;
use super::pace::Pace;
use super::pages::PageId;
use super::rates::{Rates, Stepped};
use crate::contract::Time;
use crate::generate::{Event, Failure, Finish, Prompt, Shape, Work};
use crate::ids::{AttemptId, Digest};
use attempt::Attempt;
use std::collections::BTreeMap;
use troop_kernels::grammar::Grammar;

/// The arithmetic. Its results are a function of each run's sequence alone: not of what else is in the step.
pub trait Forward {
    /// Carries out the copies, then the runs. One result for each run, in order: what it reads, row after row,
    /// or what went wrong with it. A run that reads the logits after its last token does so only if it draws.
    fn step(&mut self, plan: &Plan) -> Vec<Result<Option<Vec<f32>>, Failure>>;
}

/// Text to token ids and back.
pub trait Words {
    /// The ids of a prompt; of `shape` the tools are told to the model, and `now_seconds` is for templates that
    /// print the date.
    fn prompt(&self, prompt: &Prompt, shape: &Shape, now_seconds: u64)
    -> Result<Vec<u32>, Failure>;

    /// What may be said so that it comes out in this shape; `None` where everything may.
    fn grammar(&self, shape: &Shape) -> Result<Option<Grammar>, Failure> {
        match shape {
            Shape::Free => Ok(None),
            _ => Err(checks::invalid(
                "response_format",
                "this engine has no grammar",
            )),
        }
    }

    /// What a token adds to the text; empty for control tokens. `id` is below [`Words::vocabulary`].
    fn piece(&self, id: u32) -> &[u8];

    /// What a token is written as: its bytes, or the name of a control token.
    fn name(&self, id: u32) -> &[u8];

    /// Whether the model ends its turn with this token.
    fn is_end(&self, id: u32) -> bool;

    /// How many tokens there are.
    fn vocabulary(&self) -> u32;

    /// Bytes of text that one token of a prompt stands for, at most; not 0.
    fn longest(&self) -> u32;
}

/// An engine's state.
pub struct Desk<F, W> {
    forward: F,
    words: W,
    facts: EngineFacts,
    batch: Batch,
    attempts: BTreeMap<AttemptId, Attempt>,
    stats: EngineStats,
    pace: Pace,
    rates: Rates,
    /// What the last step was about.
    stepped: Stepped,
    /// What drafts cost; none where none are made.
    costs: Option<Costs>,
}

impl<F: Forward, W: Words> Desk<F, W> {
    /// A desk without attempts. The context in `facts` is one that all its pages can hold.
    pub fn new(forward: F, words: W, facts: EngineFacts) -> Desk<F, W> {
        let batch = Batch::new(Limits {
            pages: facts.pages,
            window_pages: facts.window_pages,
            window: facts.window,
            sequences: facts.sequences_max,
            context: facts.context,
        });
        Desk {
            forward,
            words,
            facts,
            batch,
            attempts: BTreeMap::new(),
            stats: EngineStats::default(),
            pace: Pace::default(),
            rates: Rates::default(),
            stepped: Stepped::default(),
            costs: Some(Costs::default()),
        }
    }

    /// One that evaluates no drafts: the same words, one token of a sequence a step.
    pub fn without_speculation(self) -> Desk<F, W> {
        Desk {
            costs: None,
            ..self
        }
    }

    /// Computes one token, so that an engine that says it is ready is. To be called before any attempt.
    pub fn prove(&mut self) -> Result<(), Failure> {
        assert!(self.attempts.is_empty(), "the page used here is nobody's");
        let plan = Plan {
            copies: Copies::default(),
            reused: Vec::new(),
            runs: vec![Run {
                place: Place {
                    attempt: AttemptId([0; 16]),
                    choice: 0,
                },
                tokens: vec![0],
                start: 0,
                pages: vec![PageId(0)],
                window_pages: (self.facts.window > 0)
                    .then_some(PageId(0))
                    .into_iter()
                    .collect(),
                draws: true,
                reads: Reads::Last,
            }],
        };
        self.forward
            .step(&plan)
            .into_iter()
            .try_for_each(|result| result.map(drop))
    }

    /// What this engine is.
    pub fn facts(&self) -> &EngineFacts {
        &self.facts
    }

    /// How it is.
    pub fn stats(&self) -> EngineStats {
        EngineStats {
            running: self.batch.running(),
            waiting: self.batch.waiting(),
            pages_free: self.batch.pages_free(),
            reused_tokens: self.batch.reused(),
            step_ms: u32::try_from(self.pace.longest_ms()).unwrap_or(u32::MAX),
            prefill_rate: self.rates.prefill(),
            decode_rate: self.rates.decode(),
            ..self.stats
        }
    }

    /// Whether there is nothing to compute until the next frame.
    pub fn is_idle(&self) -> bool {
        self.attempts.is_empty()
    }

    /// Takes a frame. `steps` is how many steps had ended when it came in from the pipe: with it, how long
    /// cancels take is measured and not only claimed.
    pub fn hear(&mut self, now: Time, frame: ToEngine, steps: u64, out: &mut Vec<FromEngine>) {
        match frame {
            ToEngine::Start {
                attempt,
                tenant,
                work,
            } => self.start(now, attempt, tenant, *work, out),
            ToEngine::Cancel { attempt } => self.cancel(attempt, steps, out),
            ToEngine::Probe { number } => out.push(FromEngine::Alive {
                number,
                stats: self.stats(),
            }),
        }
    }

    /// Takes one step, if there is anything to compute, and returns whether there was.
    pub fn step(&mut self, now: Time, out: &mut Vec<FromEngine>) -> bool {
        let mut plan = self.batch.plan(|rows| self.pace.chunk(rows));
        if plan.runs.is_empty() {
            return false;
        }
        self.stats.steps += 1;
        let draws = |run: &&Run| run.draws && run.tokens.len() == 1;
        let sequences = plan.runs.iter().filter(draws).count() as u32;
        let read = plan.tokens() - sequences;
        self.speculate(&mut plan);
        let (drafts, drawn_before) = (plan.tokens() - read - sequences, self.stats.tokens);
        out.extend(
            plan.reused
                .iter()
                .map(|(attempt, tokens)| FromEngine::Event {
                    attempt: *attempt,
                    event: Event::Reused { tokens: *tokens },
                }),
        );
        let results = self.forward.step(&plan);
        assert_eq!(results.len(), plan.runs.len(), "one result for each run");
        for (run, result) in plan.runs.iter().zip(results) {
            if run.reads != Reads::Drafted {
                self.stats.prompt_tokens += run.tokens.len() as u64 - u64::from(run.draws);
            }
            let rows = match result {
                Ok(rows) => rows,
                Err(_) if run.reads == Reads::Drafted => {
                    self.doubt(run.place);
                    continue;
                }
                Err(failure) => {
                    self.close(run.place.attempt, Some(failure), out);
                    continue;
                }
            };
            self.took_part(run.place.attempt);
            if let (Some(rows), Reads::Drafted) = (&rows, run.reads) {
                self.verify(now, run, rows, out);
                continue;
            }
            let end = run.start + run.tokens.len() as u32;
            self.batch.evaluated(run.place, run.start..end);
            match (rows, run.reads) {
                (None, _) => assert!(!run.draws, "who draws gets logits"),
                (Some(rows), Reads::Hidden) => self.embed(now, run, &rows, out),
                (Some(rows), reads) => {
                    if reads == Reads::Every {
                        self.echo(now, run, &rows, out);
                    }
                    let last = rows.len().saturating_sub(self.words.vocabulary() as usize);
                    if run.draws
                        && let Some(id) = self.draw(now, run.place, &rows[last..], out)
                    {
                        self.batch.drew(run.place, id);
                    }
                }
            }
        }
        self.stepped = Stepped {
            read,
            sequences,
            drafts,
            drawn: (self.stats.tokens - drawn_before) as u32,
        };
        if cfg!(debug_assertions) {
            self.check();
        }
        true
    }

    /// Says how it goes to those who have heard nothing for a second. To be called after each step.
    pub fn tick(&mut self, now: Time, out: &mut Vec<FromEngine>) {
        for (id, attempt) in &mut self.attempts {
            if now.since_ms(attempt.spoke) >= PROGRESS_EVERY_MS {
                attempt.spoke = now;
                out.push(FromEngine::Event {
                    attempt: *id,
                    event: Event::Progress {
                        done: self.batch.prefilled(*id),
                        total: attempt.prompt.len() as u32,
                    },
                });
            }
        }
    }

    /// The last step took so long; the size of the next ones follows from it.
    pub fn took(&mut self, ms: u64) {
        let Stepped {
            read,
            sequences,
            drafts,
            ..
        } = self.stepped;
        self.pace.took(sequences + drafts, read, ms);
        self.rates.took(self.stepped, ms);
        if let Some(costs) = self.costs.as_mut().filter(|_| read == 0) {
            costs.took(sequences, drafts, ms);
        }
    }

    /// Asserts every rule of the desk and its batch.
    pub fn check(&self) {
        self.batch.check();
        let open = self.attempts.values().flat_map(|attempt| &attempt.choices);
        let open = open.filter(|choice| choice.finish.is_none()).count();
        let sequences = self.batch.running() + self.batch.waiting();
        assert_eq!(open, sequences as usize, "every open choice is a sequence");
        if self.attempts.is_empty() {
            assert_eq!(
                self.batch.pages_free(),
                self.facts.pages,
                "who is gone holds no page"
            );
        }
    }

    fn start(
        &mut self,
        now: Time,
        id: AttemptId,
        tenant: Digest,
        work: Work,
        out: &mut Vec<FromEngine>,
    ) {
        if self.attempts.contains_key(&id) {
            return;
        }
        let mut events = Vec::new();
        let delivered = work.delivered();
        let opened = if self.attempts.len() >= ATTEMPTS_MAX {
            let message = format!("the engine has its {ATTEMPTS_MAX} already");
            Err(checks::invalid("attempts", message))
        } else {
            Attempt::open(now, work, &self.words, self.facts.context, &mut events)
        };
        match opened {
            Ok(attempt) => {
                let sequences = attempt.choices.iter().map(|choice| {
                    let open = choice.finish.is_none();
                    open.then(|| choice.ids.clone())
                });
                let sequences = sequences.collect();
                let (prompt, length_max) = (attempt.prompt.clone(), attempt.length_max());
                let reads = attempt.reads();
                let done = attempt.is_done();
                if !done {
                    self.batch
                        .start(id, tenant, prompt, reads, sequences, length_max);
                }
                self.attempts.insert(id, attempt);
                out.extend(
                    events
                        .into_iter()
                        .map(|event| FromEngine::Event { attempt: id, event }),
                );
                if done {
                    self.close(id, None, out);
                }
            }
            Err(failure) => out.push(FromEngine::Closed {
                attempt: id,
                tally: delivered,
                failure: Some(failure),
            }),
        }
    }

    /// Stops an attempt before the next step.
    fn cancel(&mut self, id: AttemptId, steps: u64, out: &mut Vec<FromEngine>) {
        let Some(attempt) = self.attempts.get_mut(&id) else {
            return;
        };
        let late = attempt.step.saturating_sub(steps);
        self.stats.cancelled += 1;
        self.stats.steps_after_cancel_max = self.stats.steps_after_cancel_max.max(late);
        for (index, choice) in attempt.choices.iter_mut().enumerate() {
            if choice.finish.is_none() {
                choice.finish = Some(Finish::Cancelled);
                out.push(FromEngine::Event {
                    attempt: id,
                    event: Event::Ended {
                        choice: index as u32,
                        tokens: choice.ids.len() as u32,
                        finish: Finish::Cancelled,
                    },
                });
            }
        }
        self.close(id, Some(Failure::Cancelled), out);
    }

    fn took_part(&mut self, id: AttemptId) {
        if let Some(attempt) = self.attempts.get_mut(&id) {
            attempt.step = self.stats.steps;
        }
    }

    /// Says the last word of an attempt and forgets it (E1).
    fn close(&mut self, id: AttemptId, failure: Option<Failure>, out: &mut Vec<FromEngine>) {
        self.batch.cancel(id);
        let Some(attempt) = self.attempts.remove(&id) else {
            return;
        };
        out.push(FromEngine::Closed {
            attempt: id,
            tally: attempt.tally(),
            failure,
        });
    }
}

/// How long an attempt stays silent at most while steps are short.
const PROGRESS_EVERY_MS: u64 = 1_000;
/// Attempts at a time, waiting ones included: as many as a keeper has, far more than can run, so that the queue
/// in front of an engine is the scheduler's business and not a second one here.
pub const ATTEMPTS_MAX: usize = 1024;
