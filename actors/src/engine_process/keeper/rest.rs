//! How a worker stops working without being stopped: its owner wants the machine, for a while.
//!
//! ```text
//! Pause, or a machine that is wanted ─> no new work ─grace─> what runs is ended, its sessions go on elsewhere
//!     ─> memory is given back ─Resume, or a machine that is idle again─> Starting
//! ```
//!
//! Who speaks by hand is heard first: a pause lasts until the resume, whatever the machine is free for; a resume while
//! the machine is wanted holds for [`INSIST_MS`], whatever it is wanted for.

use super::super::protocol::{Effect, Input, Rest};
use super::{Engine, EngineState, Keeper};
use crate::contract::{Time, earliest};
use crate::gpu_monitor::protocol::{Reason, Use};
use crate::ids::Passport;

/// What its owner wants of a worker. It outlasts the keeper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    paused: bool,
    wanted: Option<Reason>,
    /// Until then the machine serves although it is wanted.
    insisted: Option<Time>,
}

impl Wishes {
    /// Takes in what is a wish.
    pub fn hear(&mut self, now: Time, input: &Input) {
        match input {
            Input::Pause { .. } => {
                self.paused = true;
                self.insisted = None;
            }
            Input::Resume => {
                self.paused = false;
                if self.wanted.take().is_some() {
                    self.insisted = Some(now.plus_ms(INSIST_MS));
                }
            }
            Input::Machine { now_for: Use::Idle } => self.wanted = None,
            Input::Machine {
                now_for: Use::Wanted(reason),
            } => {
                self.insisted = self.insisted.filter(|until| now < *until);
                self.wanted = self.insisted.is_none().then_some(*reason);
            }
            Input::Serve { .. }
            | Input::Start { .. }
            | Input::Cancel { .. }
            | Input::Vouch { .. }
            | Input::Paid { .. }
            | Input::Kept { .. }
            | Input::Frame { .. }
            | Input::Exited { .. }
            | Input::Drain { .. }
            | Input::Revoke(_) => {}
        }
    }

    /// Why no work is taken, if none is.
    pub fn rest(&self) -> Option<Rest> {
        match (self.paused, self.wanted) {
            (true, _) => Some(Rest::Paused),
            (false, Some(reason)) => Some(Rest::Wanted(reason)),
            (false, None) => None,
        }
    }
}

impl Keeper {
    /// The same keeper, whose owner has said so before.
    pub fn heeding(self, wishes: Wishes) -> Keeper {
        Keeper {
            rests: wishes.rest().map(|_| Time(0)),
            wishes,
            ..self
        }
    }

    /// Why no work is taken, if none is.
    pub fn rest(&self) -> Option<Rest> {
        match self.drained {
            Some(_) => Some(Rest::Stopping),
            None => self.wishes.rest(),
        }
    }

    /// When what still runs is ended, if no more work is taken.
    pub(super) fn closing(&self) -> Option<Time> {
        earliest(self.drained, self.rests)
    }

    /// When the memory of all engines is given back, if the owner wants the machine: at once where nothing runs,
    /// and soon after what runs was told to end.
    pub(super) fn release_at(&self) -> Option<Time> {
        let holds = |engine: &Engine| {
            !matches!(
                engine.state,
                EngineState::Resting | EngineState::Unfit { .. }
            )
        };
        let until = self.rests.filter(|_| self.engines.values().any(holds))?;
        Some(match self.attempts.is_empty() {
            true => until,
            false => until.plus_ms(RELEASE_MS),
        })
    }

    pub(super) fn release(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.release_at().is_none_or(|at| now < at) {
            return;
        }
        let models: Vec<Passport> = self.engines.keys().copied().collect();
        for model in models {
            self.lose(now, model, out);
            let Some(engine) = self.engines.get_mut(&model) else {
                continue;
            };
            let life = engine.life;
            match engine.state {
                EngineState::Resting | EngineState::Unfit { .. } => continue,
                EngineState::Down { .. } => {}
                EngineState::Starting { .. } | EngineState::Ready(_) => {
                    out.push(Effect::Kill { model, life });
                }
            }
            engine.state = EngineState::Resting;
            self.changed = true;
        }
    }

    /// The owner has said something; what runs may go on for `grace_ms` if the machine is wanted.
    pub(super) fn heed(&mut self, now: Time, input: &Input, grace_ms: u64, out: &mut Vec<Effect>) {
        let before = (self.rest(), self.rests);
        self.wishes.hear(now, input);
        let until = now.plus_ms(grace_ms);
        let earlier = |known: Option<Time>| known.map_or(until, |known| known.min(until));
        self.rests = self.wishes.rest().map(|_| earlier(self.rests));
        self.changed |= before != (self.rest(), self.rests);
        match self.closing() {
            Some(_) => self.end_terms(now, out),
            None => self.rise(now, out),
        }
    }

    /// The machine may be used again.
    fn rise(&mut self, now: Time, out: &mut Vec<Effect>) {
        let resting = |(model, engine): (&Passport, &Engine)| {
            (engine.state == EngineState::Resting).then_some(*model)
        };
        let models: Vec<Passport> = self.engines.iter().filter_map(resting).collect();
        for model in models {
            self.spawn(now, model, out);
        }
    }
}

/// How long what runs may take to end before its engine is ended under it.
const RELEASE_MS: u64 = 1_000;
/// How long a resume holds against a machine that is wanted: whoever says so is there, and may say so again.
pub(super) const INSIST_MS: u64 = 3_600_000;
