//! The session's core: the thread that holds a request together over its attempts.
//!
//! ```text
//! Asking ─Granted─> Working ─Closed─> Owing (signed, the place free) ─Posted or too long─> over
//!    ^                 │ lost: a gap, a contradiction, silence, a dead engine
//!    └──next attempt───┘        HangUp in either ─> Leaving ─Closed─> Owing, or too long─> over
//! ```
//!
//! Loss is decided here, on the data path, by positions and deadlines. The client sees one ending at most.

use super::answer::{Answer, Breach};
use super::limits::*;
use super::protocol::{Delivery, Effect, Grant, Input, Order, Trouble};
use crate::contract::{Core, Time};
use crate::doorkeeper::protocol::Turnaway;
use crate::generate::{Event, Failure, Finish, Work};
use crate::ids::{AttemptId, NodeId, NodeKey};
use crate::outbox::protocol::Parcel;
use crate::scheduler::protocol::{Admit, Hint, Refusal};

mod ending;

/// One request.
#[derive(Debug)]
pub struct Thread {
    order: Order,
    key: NodeKey,
    coordinator: NodeId,
    answer: Answer,
    number: u32,
    /// Workers that failed this request, in the order of their failing.
    avoid: Vec<NodeId>,
    /// The attempts that were given up, and why.
    losses: Vec<(AttemptId, String)>,
    /// What this node knows of workers, for the scheduler.
    hints: Box<[Hint]>,
    stage: Stage,
    /// When the client was last told how it goes.
    told: Option<Time>,
    ended: bool,
}

#[derive(Debug)]
enum Stage {
    /// Not begun.
    New,
    /// A worker is wanted.
    Asking { since: Time, again: Time },
    /// A worker is at it.
    Working { grant: Box<Grant>, heard: Time },
    /// The client is gone; what was begun is to be signed for.
    Leaving {
        grant: Option<Box<Grant>>,
        again: Time,
        until: Time,
    },
    /// The receipt is signed by both sides; the outbox is to have it on its disk before it is forgotten here.
    Owing {
        parcel: Box<Parcel>,
        again: Time,
        until: Time,
    },
    /// Nothing more will come.
    Over,
}

impl Thread {
    /// The thread of `order`, signed for with `key`, under the coordinator `coordinator`.
    pub fn new(order: Order, key: NodeKey, coordinator: NodeId) -> Thread {
        let answer = Answer::new(&order.generate);
        Thread {
            order,
            key,
            coordinator,
            answer,
            number: 0,
            avoid: Vec::new(),
            losses: Vec::new(),
            hints: Box::default(),
            stage: Stage::New,
            told: None,
            ended: false,
        }
    }

    /// The same, with what its node knows of workers.
    pub fn hinted(self, hints: Box<[Hint]>) -> Thread {
        Thread { hints, ..self }
    }

    /// The attempts that were given up so far, and why.
    pub fn losses(&self) -> &[(AttemptId, String)] {
        &self.losses
    }

    fn admit(&self) -> Effect {
        let generate = &self.order.generate;
        Effect::Admit(Admit {
            request: self.order.request,
            number: self.number,
            client: self.key.node(),
            payer: self.order.payer,
            model: generate.model,
            prompt_bytes: generate.prompt_bytes(),
            turns: generate.prompt.turns(),
            tokens_max: generate.tokens_max,
            choices: generate.choices,
            avoid: self.avoid.clone(),
            begun: self.answer.has_begun(),
            hints: self.hints.clone(),
        })
    }

    fn ask(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.stage = Stage::Asking {
            since: now,
            again: now.plus_ms(ASK_AGAIN_MS),
        };
        out.push(self.admit());
    }

    fn knock(&self, grant: &Grant, out: &mut Vec<Effect>) {
        let generate = self.order.generate.clone();
        out.push(Effect::Knock {
            worker: grant.worker,
            request: self.order.request,
            attempt: grant.attempt,
            ticket: grant.ticket.clone(),
            work: Box::new(Work {
                generate,
                resume: self.answer.resume(),
            }),
        });
    }

    /// The attempt is not to be gone on with: the next one takes it up where it stands.
    fn lose(&mut self, now: Time, reason: &str, out: &mut Vec<Effect>) {
        self.lose_and_wait(now, reason, 0, out);
    }

    /// The same, and the next one is not asked for before `wait_ms` have passed.
    fn lose_and_wait(&mut self, now: Time, reason: &str, wait_ms: u64, out: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Working { grant, .. } => {
                let (worker, attempt) = (grant.worker, grant.attempt);
                out.push(Effect::Cancel { worker, attempt });
                self.losses.push((attempt, reason.to_owned()));
                self.number += 1;
                // The latest to fail is the last one to be tried again. A door that is about to open has not failed.
                if wait_ms == 0 {
                    self.avoid.retain(|failed| *failed != worker);
                    self.avoid.push(worker);
                }
                if self.number >= ATTEMPTS_MAX {
                    let (attempts, reason) = (self.number, reason.to_owned());
                    return self.fail(Trouble::Lost { attempts, reason }, out);
                }
                if wait_ms == 0 {
                    return self.ask(now, out);
                }
                let again = now.plus_ms(wait_ms);
                self.stage = Stage::Asking { since: now, again };
            }
            // Nobody is left who could sign: the hold expires by itself.
            Stage::Leaving { .. } => self.over(out),
            other => self.stage = other,
        }
    }

    /// Whether `attempt` is the one this thread listens to.
    fn current(&self, attempt: AttemptId) -> Option<&Grant> {
        let grant = match &self.stage {
            Stage::Working { grant, .. } => Some(grant),
            Stage::Leaving { grant, .. } => grant.as_ref(),
            _ => None,
        };
        grant
            .map(|grant| &**grant)
            .filter(|grant| grant.attempt == attempt)
    }

    /// The worker that `attempt` was given to, while this thread listens to it.
    pub fn worker(&self, attempt: AttemptId) -> Option<NodeId> {
        self.current(attempt).map(|grant| grant.worker)
    }

    /// Whether the client may be told again how it goes: what a scheduler or a worker says too often would
    /// fill the memory of a client that does not read.
    fn may_tell(&mut self, now: Time) -> bool {
        let often = self
            .told
            .is_some_and(|told| now.since_ms(told) < TELL_EVERY_MS);
        if !often {
            self.told = Some(now);
        }
        !often
    }

    fn event(&mut self, now: Time, attempt: AttemptId, event: Event, out: &mut Vec<Effect>) {
        let Some(worker) = self.current(attempt).map(|grant| grant.worker) else {
            return;
        };
        if let Stage::Working { heard, .. } = &mut self.stage {
            *heard = now;
            if matches!(
                event,
                Event::Ended {
                    finish: Finish::Cancelled,
                    ..
                }
            ) {
                return self.lose(now, "the worker stopped before the end", out);
            }
        }
        if matches!(event, Event::Progress { .. }) && !self.may_tell(now) {
            return;
        }
        let silent = self.ended;
        let say = |delivery| {
            if !silent {
                out.push(Effect::Deliver(delivery));
            }
        };
        match self.answer.take(event, worker, say) {
            Ok(()) => {}
            Err(Breach::Gap) => self.lose(now, "a part of the stream was lost", out),
            Err(Breach::Contradiction) => self.lose(now, "the worker contradicts itself", out),
        }
    }

    fn refused(&mut self, now: Time, number: u32, refusal: Refusal, out: &mut Vec<Effect>) {
        if number != self.number {
            return;
        }
        let passing = matches!(
            refusal,
            Refusal::NoWorker | Refusal::Busy { .. } | Refusal::LedgerUnavailable
        );
        match &mut self.stage {
            // A stream that was begun waits for a worker to come back, as an engine that is restarting does.
            Stage::Asking { again, .. } if passing && number > 0 => {
                *again = now.plus_ms(COME_BACK_MS);
            }
            Stage::Asking { .. } => self.fail(Trouble::Refused(refusal), out),
            Stage::Leaving { grant: None, .. } => self.over(out),
            _ => {}
        }
    }

    /// The door did not let this attempt in.
    fn turned(&mut self, now: Time, reason: Turnaway, out: &mut Vec<Effect>) {
        match reason {
            // A knock that arrived twice: the first one is being worked on, or its silence will show.
            Turnaway::Used => {}
            Turnaway::Beyond { ref field, .. } => {
                let (field, message) = (field.clone(), reason.to_string());
                self.fail(Trouble::Failed(Failure::Invalid { field, message }), out);
            }
            // A door that has just opened takes only newer tickets. Another worker may be open for longer; if
            // not, all doors opened together, and attempts are not to be spent before any of them can take one.
            Turnaway::Window if self.number > 0 => {
                self.lose_and_wait(now, &reason.to_string(), WINDOW_MS, out);
            }
            reason => self.lose(now, &reason.to_string(), out),
        }
    }

    fn granted(&mut self, now: Time, grant: Box<Grant>, out: &mut Vec<Effect>) {
        if grant.number != self.number {
            return;
        }
        match &self.stage {
            Stage::Asking { .. } => {
                self.knock(&grant, out);
                self.stage = Stage::Working { grant, heard: now };
            }
            // The hold is there: the worker is to sign for nothing, so that it is released at once.
            Stage::Leaving { grant: None, .. } => {
                self.knock(&grant, out);
                let (worker, attempt) = (grant.worker, grant.attempt);
                out.push(Effect::Cancel { worker, attempt });
                let again = now.plus_ms(CANCEL_AGAIN_MS);
                let until = now.plus_ms(LEAVE_MS);
                self.stage = Stage::Leaving {
                    grant: Some(grant),
                    again,
                    until,
                };
            }
            _ => {}
        }
    }
}

impl Core for Thread {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Begin => {
                if matches!(self.stage, Stage::New) {
                    self.ask(now, out);
                }
            }
            Input::Queued { ahead } => {
                if matches!(self.stage, Stage::Asking { .. }) && !self.ended && self.may_tell(now) {
                    let ahead = Some(ahead);
                    out.push(Effect::Deliver(Delivery::Waiting {
                        ahead,
                        prefill: None,
                    }));
                }
            }
            Input::Granted(grant) => self.granted(now, grant, out),
            Input::Refused { number, refusal } => self.refused(now, number, refusal, out),
            Input::Turned { attempt, reason } => {
                if self.current(attempt).is_some() {
                    self.turned(now, reason, out);
                }
            }
            Input::Event { attempt, event } => self.event(now, attempt, event, out),
            Input::Closed {
                attempt,
                half,
                failure,
            } => {
                if half.receipt.attempt == attempt {
                    self.closed(now, *half, failure, out);
                }
            }
            Input::Lost { attempt } => {
                if self.current(attempt).is_some() {
                    self.lose(now, "the engine died", out);
                }
            }
            Input::Posted { attempt } => {
                if matches!(&self.stage, Stage::Owing { parcel, .. } if parcel.id == attempt) {
                    self.close(out);
                }
            }
            Input::HangUp => self.hang_up(now, out),
        }
    }

    fn deadline(&self) -> Option<Time> {
        match &self.stage {
            Stage::New | Stage::Over => None,
            Stage::Asking { since, again } => {
                Some((*again).min(since.plus_ms(patience_ms(self.number))))
            }
            Stage::Working { heard, grant } => Some(heard.plus_ms(silence_ms(grant))),
            Stage::Leaving { again, until, .. } | Stage::Owing { again, until, .. } => {
                Some((*again).min(*until))
            }
        }
    }

    fn wake(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        let patience = patience_ms(self.number);
        match &mut self.stage {
            Stage::New | Stage::Over => {}
            Stage::Asking { since, again } => {
                let waited_ms = now.since_ms(*since);
                if waited_ms < patience {
                    *again = now.plus_ms(ASK_AGAIN_MS);
                    return out.push(self.admit());
                }
                let trouble = match self.number {
                    0 => Trouble::QueueTimeout { waited_ms },
                    attempts => {
                        let reason = "no other worker came".to_owned();
                        Trouble::Lost { attempts, reason }
                    }
                };
                // A ticket may be on its way all the same: it is waited for as after a hang-up.
                self.end(Delivery::Failed(trouble), out);
                self.hang_up(now, out);
            }
            Stage::Working { .. } => self.lose(now, "the worker fell silent", out),
            Stage::Leaving {
                grant,
                again,
                until,
            } => match grant {
                Some(grant) if now < *until => {
                    *again = now.plus_ms(CANCEL_AGAIN_MS);
                    let (worker, attempt) = (grant.worker, grant.attempt);
                    out.push(Effect::Cancel { worker, attempt });
                }
                _ => self.over(out),
            },
            Stage::Owing {
                parcel,
                again,
                until,
            } if now < *until => {
                *again = now.plus_ms(POST_AGAIN_MS);
                out.push(Effect::Post(parcel.clone()));
            }
            Stage::Owing { .. } => self.close(out),
        }
    }

    fn check(&self) {
        assert!(
            self.number < ATTEMPTS_MAX || matches!(self.stage, Stage::Over),
            "attempts end"
        );
        let leaving = matches!(self.stage, Stage::Leaving { .. });
        assert!(!leaving || self.ended, "only a client that is gone is left");
    }
}

/// How long the worker of this grant may be silent.
fn silence_ms(grant: &Grant) -> u64 {
    grant
        .silence_ms
        .clamp(*SILENCE_MS.start(), *SILENCE_MS.end())
}

#[cfg(test)]
mod tests;
