//! How a worker stops working without being stopped: its owner wants the machine, for a while.
//!
//! ```text
//! Pause ─> no new work ─grace─> what runs is ended, its sessions go on elsewhere ─> memory is given back ─Resume─> Starting
//! ```

use super::super::protocol::Effect;
use super::{Engine, EngineState, Keeper};
use crate::contract::{Time, earliest};
use crate::ids::Passport;

impl Keeper {
    /// When what still runs is ended, if no more work is taken.
    pub(super) fn closing(&self) -> Option<Time> {
        earliest(self.drained, self.paused)
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
        let until = self.paused.filter(|_| self.engines.values().any(holds))?;
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
            self.lose(model, out);
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

    /// The machine may be used again.
    pub(super) fn resume(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.paused = None;
        self.changed = true;
        if self.drained.is_some() {
            return;
        }
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
