//! The keeper's core: which engines live, what runs on them, and what each session is owed about it.
//!
//! ```text
//! Serve -> Down ─Spawn─> Starting ─Ready─> Ready ─Exited, silent─> Down (waits, then Spawn again)
//!                            └─Unfit─> Unfit (a model that cannot be served is not tried again)
//! any of them ─machine wanted, when nothing runs─> Resting ─machine free─> Starting
//! ```
//!
//! A child has a life number; what a dead life says is not heard. What becomes of attempts is in [`attempts`], how
//! engines come to rest in [`rest`].

mod attempts;
mod evidence;
mod rest;

use super::protocol::{Effect, Input};
use crate::contract::{Core, Time, earliest};
use crate::engine::PAGE_TOKENS;
use crate::engine::frames::{EngineFacts, EngineStats, FromEngine, ToEngine};
use crate::ids::{AttemptId, MemberId, NodeKey, Passport};
use crate::scheduler::protocol::{ModelReport, REPORT_EVERY_MS, WorkerReport};
use attempts::{ATTEMPTS_MAX, Attempt};
use evidence::{DUES_MAX, Due};
pub use rest::Wishes;
use std::collections::BTreeMap;

/// The engines of one worker.
#[derive(Debug)]
pub struct Keeper {
    key: NodeKey,
    owner: MemberId,
    engines: BTreeMap<Passport, Engine>,
    attempts: BTreeMap<AttemptId, Attempt>,
    /// Attempts that are over and not known to be paid.
    dues: BTreeMap<AttemptId, Due>,
    /// When the next report is due.
    report_at: Time,
    /// When the last one was made.
    reported: Time,
    /// What the coordinator must know at once has changed.
    changed: bool,
    /// Set once no more work is taken: when what still runs then is ended.
    drained: Option<Time>,
    /// The same while the machine's owner wants it for something else.
    rests: Option<Time>,
    wishes: Wishes,
}

/// One engine.
#[derive(Debug)]
pub struct Engine {
    /// What people call its model.
    pub name: String,
    /// When the model came to this machine, in seconds since the Unix epoch.
    pub created_seconds: u64,
    /// The number of its present or last life.
    pub life: u64,
    /// How it is.
    pub state: EngineState,
    /// What it said of itself when it was last asked.
    pub stats: EngineStats,
    /// Lives that ended by themselves.
    pub restarts: u64,
    failures: u32,
    probe: u64,
    probe_at: Time,
    heard: Time,
}

/// How an engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineState {
    /// Not running; it is started at this time.
    Down {
        /// When.
        until: Time,
        /// Why it went down.
        reason: String,
    },
    /// A child is loading the model.
    Starting {
        /// Since when.
        since: Time,
    },
    /// It takes work.
    Ready(EngineFacts),
    /// The model cannot be served.
    Unfit {
        /// Why.
        reason: String,
    },
    /// It is not run, because no work is taken.
    Resting,
}

impl Keeper {
    /// A keeper without engines, on the node with `key`, whose work is paid to `owner`.
    pub fn new(key: NodeKey, owner: MemberId) -> Keeper {
        Keeper {
            key,
            owner,
            engines: BTreeMap::new(),
            attempts: BTreeMap::new(),
            dues: BTreeMap::new(),
            report_at: Time(0),
            reported: Time(0),
            changed: true,
            drained: None,
            rests: None,
            wishes: Wishes::default(),
        }
    }

    /// Every engine, by model.
    pub fn engines(&self) -> &BTreeMap<Passport, Engine> {
        &self.engines
    }

    /// How many attempts run.
    pub fn running(&self) -> usize {
        self.attempts.len()
    }

    /// How many attempts are over and not known to be paid.
    pub fn owed(&self) -> usize {
        self.dues.len()
    }

    fn spawn(&mut self, now: Time, model: Passport, out: &mut Vec<Effect>) {
        let Some(engine) = self.engines.get_mut(&model) else {
            return;
        };
        engine.life += 1;
        engine.state = EngineState::Starting { since: now };
        engine.stats = EngineStats::default();
        engine.heard = now;
        out.push(Effect::Spawn {
            model,
            life: engine.life,
        });
    }

    /// The present life of an engine is over; whatever ran on it is lost and said to be.
    fn down(&mut self, now: Time, model: Passport, reason: String, out: &mut Vec<Effect>) {
        let Some(engine) = self.engines.get_mut(&model) else {
            return;
        };
        if matches!(
            engine.state,
            EngineState::Down { .. } | EngineState::Unfit { .. } | EngineState::Resting
        ) {
            return;
        }
        let wait = BACK_OFF_MS
            .saturating_mul(1 << engine.failures.min(10))
            .min(BACK_OFF_MS_MAX);
        engine.failures += 1;
        engine.restarts += 1;
        engine.state = EngineState::Down {
            until: now.plus_ms(wait),
            reason,
        };
        self.changed = true;
        self.lose(now, model, out);
    }

    fn frame(&mut self, now: Time, model: Passport, frame: FromEngine, out: &mut Vec<Effect>) {
        let Some(engine) = self.engines.get_mut(&model) else {
            return;
        };
        engine.heard = now;
        match frame {
            FromEngine::Ready(facts) => {
                if matches!(engine.state, EngineState::Starting { .. }) {
                    engine.stats.pages_free = facts.pages;
                    engine.state = EngineState::Ready(facts);
                    engine.probe_at = now.plus_ms(PROBE_EVERY_MS);
                    self.changed = true;
                }
            }
            FromEngine::Event { attempt, event } => {
                // Work that is done proves the engine well, and its next fall is a first one again.
                engine.failures = 0;
                self.event(now, attempt, event, out);
            }
            FromEngine::Closed {
                attempt,
                tally,
                failure,
            } => {
                self.closed(now, attempt, tally, failure, out);
            }
            FromEngine::Alive { stats, .. } => {
                let before = std::mem::replace(&mut engine.stats, stats);
                let load = |it: EngineStats| (it.running, it.waiting, it.pages_free);
                if load(before) != load(stats) || before.decode_rate == 0 && stats.decode_rate > 0 {
                    self.stir();
                }
            }
            FromEngine::Unfit { message } => {
                let life = engine.life;
                engine.state = EngineState::Unfit { reason: message };
                self.changed = true;
                out.push(Effect::Kill { model, life });
                self.lose(now, model, out);
            }
        }
    }

    /// What the coordinator may know a little later has changed: several such changes make one report.
    fn stir(&mut self) {
        self.report_at = self.report_at.min(self.reported.plus_ms(STIR_MS));
    }

    /// An engine has more or less to do: it is asked soon how it is.
    fn look_at(&mut self, now: Time, model: Passport) {
        if let Some(engine) = self.engines.get_mut(&model) {
            engine.probe_at = engine.probe_at.min(now.plus_ms(LOOK_MS));
        }
        self.stir();
    }

    fn report(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.changed = false;
        self.reported = now;
        self.report_at = now.plus_ms(REPORT_EVERY_MS);
        let models = self
            .engines
            .iter()
            .filter_map(|(model, engine)| match &engine.state {
                EngineState::Ready(facts) if self.closing().is_none() => Some(ModelReport {
                    model: *model,
                    name: engine.name.clone(),
                    context: facts.context,
                    sequences_max: facts.sequences_max,
                    overhead_fixed_bytes: facts.overhead_fixed_bytes,
                    overhead_turn_bytes: facts.overhead_turn_bytes,
                    created_seconds: engine.created_seconds,
                    step_ms: engine.stats.step_ms,
                    prefill_rate: engine.stats.prefill_rate,
                    decode_rate: engine.stats.decode_rate,
                    kv_tokens_free: u64::from(engine.stats.pages_free) * u64::from(PAGE_TOKENS),
                    sequences_used: engine.stats.running,
                    sequences_waiting: engine.stats.waiting,
                    class: facts.class_of_any_context().to_owned(),
                }),
                _ => None,
            });
        out.push(Effect::Report(WorkerReport {
            worker: self.key.node(),
            owner: self.owner,
            models: models.collect(),
            rest: self.rest(),
            running: self
                .attempts
                .values()
                .map(|attempt| attempt.claims.request)
                .collect(),
        }));
    }

    /// When an engine wants attention: to be started, asked, or given up.
    fn attention(engine: &Engine) -> Option<Time> {
        match &engine.state {
            EngineState::Down { until, .. } => Some(*until),
            EngineState::Starting { since } => Some(since.plus_ms(START_MS_MAX)),
            EngineState::Ready(_) => Some(engine.probe_at.min(engine.heard.plus_ms(SILENCE_MS))),
            EngineState::Unfit { .. } | EngineState::Resting => None,
        }
    }
}

impl Core for Keeper {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Pause { grace_ms } => self.heed(now, &input, grace_ms, out),
            Input::Resume | Input::Machine { .. } => self.heed(now, &input, 0, out),
            Input::Serve {
                model,
                name,
                created_seconds,
            } => {
                if !self.engines.contains_key(&model) && self.engines.len() < ENGINES_MAX {
                    let state = EngineState::Resting;
                    let engine = Engine {
                        name,
                        created_seconds,
                        life: 0,
                        state,
                        stats: EngineStats::default(),
                        restarts: 0,
                        failures: 0,
                        probe: 0,
                        probe_at: now,
                        heard: now,
                    };
                    self.engines.insert(model, engine);
                    if self.closing().is_none() {
                        self.spawn(now, model, out);
                    }
                }
            }
            Input::Start { claims, work } => self.start(now, *claims, work, out),
            Input::Cancel { peer, attempt } => self.cancel(peer, attempt, out),
            Input::Vouch {
                peer,
                attempt,
                tally,
                signature,
            } => self.vouch(now, peer, attempt, tally, signature),
            Input::Paid { attempt } | Input::Kept { attempt } => {
                self.dues.remove(&attempt);
            }
            Input::Frame { model, life, frame } => {
                if self
                    .engines
                    .get(&model)
                    .is_some_and(|engine| engine.life == life)
                {
                    self.frame(now, model, frame, out);
                }
            }
            Input::Exited {
                model,
                life,
                reason,
            } => {
                if self
                    .engines
                    .get(&model)
                    .is_some_and(|engine| engine.life == life)
                {
                    self.down(now, model, reason, out);
                }
            }
            Input::Drain { grace_ms } => {
                let until = now.plus_ms(grace_ms);
                self.drained = Some(self.drained.map_or(until, |known| known.min(until)));
                self.changed = true;
                self.hurry_dues(now);
            }
            Input::Revoke(revoked) => self.revoke(&revoked, out),
        }
        self.release(now, out);
        if self.changed || now >= self.report_at {
            self.report(now, out);
        }
    }

    fn deadline(&self) -> Option<Time> {
        let attention = self.engines.values().filter_map(Keeper::attention).min();
        let ends = earliest(self.term(), self.release_at());
        let ends = earliest(ends, self.due_at());
        earliest(earliest(attention, ends), Some(self.report_at))
    }

    fn wake(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.end_terms(now, out);
        self.post_dues(now, out);
        let closes = self.closing().is_some();
        let models: Vec<Passport> = self.engines.keys().copied().collect();
        for model in models {
            let Some(engine) = self.engines.get_mut(&model) else {
                continue;
            };
            if Keeper::attention(engine).is_none_or(|at| now < at) {
                continue;
            }
            let life = engine.life;
            match &engine.state {
                EngineState::Down { .. } if closes => engine.state = EngineState::Resting,
                EngineState::Down { .. } => self.spawn(now, model, out),
                EngineState::Ready(_) if now < engine.heard.plus_ms(SILENCE_MS) => {
                    engine.probe += 1;
                    engine.probe_at = now.plus_ms(PROBE_EVERY_MS);
                    let frame = ToEngine::Probe {
                        number: engine.probe,
                    };
                    out.push(Effect::Write { model, life, frame });
                }
                EngineState::Ready(_) | EngineState::Starting { .. } => {
                    out.push(Effect::Kill { model, life });
                    self.down(now, model, "it fell silent".to_owned(), out);
                }
                EngineState::Unfit { .. } | EngineState::Resting => {}
            }
        }
        self.release(now, out);
        if self.changed || now >= self.report_at {
            self.report(now, out);
        }
    }

    fn check(&self) {
        assert!(self.attempts.len() <= ATTEMPTS_MAX, "attempts are bounded");
        assert!(self.dues.len() <= DUES_MAX, "dues are bounded");
        for Attempt { claims, .. } in self.attempts.values() {
            let engine = self
                .engines
                .get(&claims.model)
                .expect("an attempt has its engine");
            assert!(
                matches!(engine.state, EngineState::Ready(_)),
                "attempts run on ready engines"
            );
        }
    }
}

/// Models served by one worker, at most.
const ENGINES_MAX: usize = 16;
/// The first wait before a fallen engine is started again; it doubles from there.
const BACK_OFF_MS: u64 = 100;
/// The longest such wait.
const BACK_OFF_MS_MAX: u64 = 30_000;
/// How long a model may take to load.
const START_MS_MAX: u64 = 120_000;
/// How often a ready engine is asked how it is.
const PROBE_EVERY_MS: u64 = 5_000;
/// And how soon after an attempt has begun or ended.
const LOOK_MS: u64 = 100;
/// How long changes that can wait are gathered for one report.
const STIR_MS: u64 = 200;
/// An engine that has said nothing for so long, though asked, is ended. One step of the largest chunk on a
/// slow machine takes seconds.
const SILENCE_MS: u64 = 30_000;

#[cfg(test)]
mod tests;
