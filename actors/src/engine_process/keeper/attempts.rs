//! What becomes of attempts: who may cancel them, when they have to end, and what is signed at their end.
//!
//! ```text
//! Running ─time of its ticket, or of the drain─> Ending ─Closed─> signed for, told to its session
//! ```
//!
//! An attempt belongs to the peer that its ticket names: only that peer can cancel it, and it is told the end,
//! whatever the end is. A stream that lasts as long as its ticket allows is cancelled and paid for as far as
//! it came, and its session hears the limit; one that a drained worker has no more time for is cancelled too,
//! and its session goes on elsewhere. So is one whose client does not vouch for what it gets (`evidence.rs`).

use super::super::protocol::Effect;
use super::evidence::Delivered;
use super::{EngineState, Keeper};
use crate::contract::{Time, earliest};
use crate::doorkeeper::protocol::Turnaway;
use crate::engine::frames::ToEngine;
use crate::generate::{Event, Failure, Finish, Tally, Work};
use crate::ids::{AttemptId, Class, NodeId, Passport, digest};
use crate::receipt::Half;
use crate::ticket::{Claims, Revoked};

/// Work that an engine has.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) claims: Claims,
    pub(super) delivered: Delivered,
    stage: Stage,
}

/// Where an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It may go on until this time.
    Running { until: Time },
    /// Its time is over; the engine was told to close it.
    Overdue,
    /// The worker's time is over; the engine was told to close it.
    Drained,
    /// Its client does not vouch for what it gets; the engine was told to close it.
    Unvouched,
}

impl Keeper {
    /// Whatever ran on an engine is lost, and said to be.
    pub(super) fn lose(&mut self, now: Time, model: Passport, out: &mut Vec<Effect>) {
        let lost = |_: &AttemptId, attempt: &mut Attempt| attempt.claims.model == model;
        let lost: Vec<(AttemptId, Attempt)> = self.attempts.extract_if(.., lost).collect();
        for (attempt, it) in lost {
            out.push(Effect::Lost {
                client: it.claims.client,
                request: it.claims.request,
                attempt,
            });
            self.owe(now, it, None);
        }
    }

    /// The doorkeeper has let an attempt in.
    pub(super) fn start(
        &mut self,
        now: Time,
        claims: Claims,
        work: Box<Work>,
        out: &mut Vec<Effect>,
    ) {
        let (client, request, attempt) = (claims.client, claims.request, claims.attempt);
        if self.closing().is_some() {
            return out.push(Effect::Turn {
                client,
                request,
                attempt,
                reason: Turnaway::Draining,
            });
        }
        let engine = self.engines.get(&claims.model);
        let ready = engine.and_then(|engine| match &engine.state {
            EngineState::Ready(facts) => Some((engine, facts.class_of_any_context())),
            _ => None,
        });
        let (Some((engine, class)), true) = (ready, self.attempts.len() < ATTEMPTS_MAX) else {
            return out.push(Effect::Lost {
                client,
                request,
                attempt,
            });
        };
        if self.attempts.contains_key(&attempt) {
            return;
        }
        if Class::of(class) != claims.class {
            return out.push(Effect::Turn {
                client,
                request,
                attempt,
                reason: Turnaway::OtherClass {
                    class: class.to_owned(),
                },
            });
        }
        let (model, life) = (claims.model, engine.life);
        let delivered = Delivered::nothing(&work);
        let tenant = digest("troop/tenant/v1", &[&claims.payer.0]);
        out.push(Effect::Write {
            model,
            life,
            frame: ToEngine::Start {
                attempt,
                tenant,
                work,
            },
        });
        let until = now.plus_ms(claims.stream_seconds_max.saturating_mul(1000));
        let stage = Stage::Running { until };
        let running = Attempt {
            claims,
            delivered,
            stage,
        };
        self.attempts.insert(attempt, running);
        self.look_at(now, model);
    }

    /// A peer wants an attempt ended.
    pub(super) fn cancel(&self, peer: NodeId, attempt: AttemptId, out: &mut Vec<Effect>) {
        let own = |it: &&Attempt| it.claims.client == peer;
        if let Some(Attempt { claims, .. }) = self.attempts.get(&attempt).filter(own) {
            self.write_cancel(attempt, claims.model, out);
        }
    }

    /// Tickets were taken back: what runs by them is ended, and paid for as far as it came.
    pub(super) fn revoke(&self, revoked: &[Revoked], out: &mut Vec<Effect>) {
        for (attempt, Attempt { claims, .. }) in &self.attempts {
            if revoked.iter().any(|revoked| revoked.names(claims)) {
                self.write_cancel(*attempt, claims.model, out);
            }
        }
    }

    fn write_cancel(&self, attempt: AttemptId, model: Passport, out: &mut Vec<Effect>) {
        if let Some(engine) = self.engines.get(&model) {
            let life = engine.life;
            out.push(Effect::Write {
                model,
                life,
                frame: ToEngine::Cancel { attempt },
            });
        }
    }

    /// When the next attempt has to end.
    pub(super) fn term(&self) -> Option<Time> {
        let until = |attempt: &Attempt| match attempt.stage {
            Stage::Running { until } => {
                let patience = attempt.delivered.patience();
                earliest(earliest(self.closing(), patience), Some(until))
            }
            Stage::Overdue | Stage::Drained | Stage::Unvouched => None,
        };
        self.attempts.values().filter_map(until).min()
    }

    /// Ends the attempts whose time is over; the engine answers with what they came to.
    pub(super) fn end_terms(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.term().is_none_or(|term| now < term) {
            return;
        }
        let drained = self.closing().is_some_and(|until| until <= now);
        let mut ended = Vec::new();
        for (id, attempt) in &mut self.attempts {
            let Stage::Running { until } = attempt.stage else {
                continue;
            };
            let patience = attempt.delivered.patience();
            attempt.stage = match () {
                () if until <= now => Stage::Overdue,
                () if drained => Stage::Drained,
                () if patience.is_some_and(|until| until <= now) => Stage::Unvouched,
                () => continue,
            };
            ended.push((*id, attempt.claims.model));
        }
        for (attempt, model) in ended {
            self.write_cancel(attempt, model, out);
        }
    }

    /// An engine says how an attempt goes.
    pub(super) fn event(
        &mut self,
        now: Time,
        attempt: AttemptId,
        event: Event,
        out: &mut Vec<Effect>,
    ) {
        let Some(Attempt {
            claims,
            delivered,
            stage,
        }) = self.attempts.get_mut(&attempt)
        else {
            return;
        };
        // A choice that was cut off has not ended: why there is no more of it is said at the end.
        let cut = matches!(
            event,
            Event::Ended {
                finish: Finish::Cancelled,
                ..
            }
        );
        if cut && *stage == Stage::Overdue {
            return;
        }
        delivered.send(now, &event);
        let (client, request) = (claims.client, claims.request);
        out.push(Effect::Event {
            client,
            request,
            attempt,
            event,
        });
    }

    /// An attempt is over: it is signed for and forgotten.
    pub(super) fn closed(
        &mut self,
        now: Time,
        attempt: AttemptId,
        tally: Tally,
        failure: Option<Failure>,
        out: &mut Vec<Effect>,
    ) {
        let Some(running) = self.attempts.remove(&attempt) else {
            return;
        };
        let claims = &running.claims;
        let (client, request, model) = (claims.client, claims.request, claims.model);
        let failure = match (failure, running.stage) {
            (Some(Failure::Cancelled), Stage::Overdue) => Some(Failure::Overtime {
                seconds: claims.stream_seconds_max,
            }),
            (failure, _) => failure,
        };
        let half = Half::sign(self.statement(claims, tally), &self.key);
        self.owe(now, running, Some(half.clone()));
        self.look_at(now, model);
        out.push(Effect::Closed {
            client,
            request,
            attempt,
            half: Box::new(half),
            failure,
        });
    }
}

/// Attempts on all engines of one worker, at most; above what any engine runs at once.
pub(super) const ATTEMPTS_MAX: usize = 1024;
