//! The session's core: the thread that holds a request together over its attempts.
//!
//! ```text
//! Asking ─Granted─> Working ─Closed─> Owing (signed, the place free) ─Posted or too long─> over
//!    ^               ^ │ │ lost: a gap, a contradiction, silence, a dead engine
//!    │  who stands by└─┘ │
//!    └──nobody does──────┘      HangUp in either ─> Leaving ─Closed─> Owing, or too long─> over
//! ```
//!
//! Loss is decided here, on the data path, by positions and deadlines. The client sees one ending at most.

use super::answer::{Answer, Breach};
use super::fault::{Fault, Loss};
use super::limits::*;
use super::protocol::{Delivery, Effect, Grant, Input, Order, Trouble};
use crate::contract::{Core, Time, earliest};
use crate::generate::{Event, Finish, Work};
use crate::ids::{AttemptId, Class, NodeId, NodeKey};
use crate::outbox::protocol::Parcel;
use crate::scheduler::protocol::{Admit, Hint, Refusal};

mod ending;
mod losing;
mod standby;
mod vouching;

use losing::Signs;
use standby::Beside;
use vouching::Vouched;

/// One request.
#[derive(Debug)]
pub struct Thread {
    order: Order,
    key: NodeKey,
    coordinator: NodeId,
    answer: Answer,
    /// The number of the attempt that is wanted or runs.
    number: u32,
    /// Attempts that were lost.
    tries: u32,
    /// Attempts beside them whose tickets were too old for their doors.
    stale: u32,
    /// Workers that this request has left, in the order of that, and whose fault it was.
    avoid: Vec<(NodeId, Fault)>,
    /// The attempts that were given up, and why.
    losses: Vec<(AttemptId, Loss)>,
    /// What this node knows of workers, for the scheduler.
    hints: Box<[Hint]>,
    stage: Stage,
    /// When the client was last told how it goes.
    told: Option<Time>,
    /// The class of the worker that began it: only that one's words go on with what has been delivered.
    class: Option<Class>,
    ended: bool,
}

#[derive(Debug)]
enum Stage {
    /// Not begun.
    New,
    /// A worker is wanted.
    Asking { since: Time, again: Time },
    /// A worker is at it.
    Working {
        grant: Box<Grant>,
        /// Whether its ticket had stood by for long when it was shown.
        is_old: bool,
        signs: Signs,
        beside: Beside,
        vouched: Vouched,
    },
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
            tries: 0,
            stale: 0,
            avoid: Vec::new(),
            losses: Vec::new(),
            hints: Box::default(),
            stage: Stage::New,
            told: None,
            class: None,
            ended: false,
        }
    }

    /// The same, with what its node knows of workers.
    pub fn hinted(self, hints: Box<[Hint]>) -> Thread {
        Thread { hints, ..self }
    }

    /// The attempts that were given up so far, and why.
    pub fn losses(&self) -> &[(AttemptId, Loss)] {
        &self.losses
    }

    fn admit(&self, running: Option<NodeId>) -> Effect {
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
            begun: self.class,
            hints: self.hints.clone(),
            running,
        })
    }

    fn ask(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.stage = Stage::Asking {
            since: now,
            again: now.plus_ms(ASK_AGAIN_MS),
        };
        out.push(self.admit(None));
    }

    /// Goes on at the worker of `grant`, whose ticket came at `came`.
    fn work(&mut self, now: Time, grant: Box<Grant>, came: Time, out: &mut Vec<Effect>) {
        self.number = grant.number;
        self.knock(&grant, out);
        self.stage = Stage::Working {
            grant,
            is_old: now.since_ms(came) > FRESH_MS,
            signs: Signs::new(now),
            beside: Beside::nobody(now),
            vouched: Vouched::from(self.answer.tokens()),
        };
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

    /// The attempt this thread listens to.
    fn present(&self) -> Option<&Grant> {
        let grant = match &self.stage {
            Stage::Working { grant, .. } => Some(grant),
            Stage::Leaving { grant, .. } => grant.as_ref(),
            _ => None,
        };
        grant.map(|grant| &**grant)
    }

    /// Whether the worker of `grant` would make the bytes that this request has begun with.
    fn goes_on(&self, grant: &Grant) -> bool {
        self.class.is_none_or(|class| class == grant.class)
    }

    /// Whether this request has left `worker` before.
    fn has_left(&self, worker: NodeId) -> bool {
        self.avoid.iter().any(|(left, _)| *left == worker)
    }

    /// Whether `attempt` is that one.
    fn current(&self, attempt: AttemptId) -> Option<&Grant> {
        self.present().filter(|grant| grant.attempt == attempt)
    }

    /// The attempt this thread listens to, and its worker.
    pub fn listens(&self) -> Option<(AttemptId, NodeId)> {
        self.present().map(|grant| (grant.attempt, grant.worker))
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
        let Some(grant) = self.current(attempt) else {
            return;
        };
        let (worker, class) = (grant.worker, grant.class);
        if let Stage::Working { signs, .. } = &mut self.stage {
            signs.hear(now, &event);
            if matches!(
                event,
                Event::Ended {
                    finish: Finish::Cancelled,
                    ..
                }
            ) {
                return self.lose(now, Loss::Stopped, out);
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
            Ok(()) => {
                if self.answer.has_begun() {
                    self.class.get_or_insert(class);
                }
                self.vouch(now, out);
            }
            Err(Breach::Gap) => self.lose(now, Loss::Gap, out),
            Err(Breach::Contradiction) => self.lose(now, Loss::Contradiction, out),
        }
    }

    fn refused(&mut self, now: Time, number: u32, refusal: Refusal, out: &mut Vec<Effect>) {
        if number < self.number {
            return;
        }
        let passing = matches!(
            refusal,
            Refusal::NoWorker | Refusal::Busy { .. } | Refusal::LedgerUnavailable
        );
        match &mut self.stage {
            // A stream that was begun waits for a worker to come back, as an engine that is restarting does.
            Stage::Asking { again, .. } if passing && self.tries > 0 => {
                *again = now.plus_ms(COME_BACK_MS);
            }
            Stage::Asking { .. } => self.fail(Trouble::Refused(refusal), out),
            Stage::Leaving { grant: None, .. } => self.over(out),
            _ => {}
        }
    }

    fn granted(&mut self, now: Time, grant: Box<Grant>, out: &mut Vec<Effect>) {
        if grant.number < self.number {
            return;
        }
        let goes_on = self.goes_on(&grant);
        match &mut self.stage {
            Stage::Asking { .. } if goes_on => self.work(now, grant, now, out),
            // The attempt is that worker's for ever: the next one is asked for, soon and not at once, because who grants
            // this may do so again.
            Stage::Asking { again, .. } => {
                self.number = grant.number.saturating_add(1);
                *again = now.plus_ms(COME_BACK_MS);
            }
            Stage::Working { .. } if goes_on => self.named(now, grant, out),
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
                    self.lose(now, Loss::Engine, out);
                }
            }
            Input::Broken { attempt } => {
                if self.current(attempt).is_some() {
                    self.lose(now, Loss::Broken, out);
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
                Some((*again).min(since.plus_ms(patience_ms(self.tries))))
            }
            Stage::Working {
                grant,
                signs,
                beside,
                ..
            } => {
                let stuck = self.stuck_at(grant, signs, beside);
                earliest(stuck, Some(self.silent_at(grant, signs).min(beside.ask)))
            }
            Stage::Leaving { again, until, .. } | Stage::Owing { again, until, .. } => {
                Some((*again).min(*until))
            }
        }
    }

    fn wake(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        let patience = patience_ms(self.tries);
        match &mut self.stage {
            Stage::New | Stage::Over => {}
            Stage::Asking { since, again } => {
                let waited_ms = now.since_ms(*since);
                if waited_ms < patience {
                    *again = now.plus_ms(ASK_AGAIN_MS);
                    return out.push(self.admit(None));
                }
                let trouble = match self.tries {
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
            Stage::Working { .. } => self.watch(now, out),
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
            self.tries < TRIES_MAX || matches!(self.stage, Stage::Over),
            "attempts end"
        );
        assert!(self.stale <= self.tries, "also those that are not counted");
        let leaving = matches!(self.stage, Stage::Leaving { .. });
        assert!(!leaving || self.ended, "only a client that is gone is left");
    }
}

#[cfg(test)]
mod tests;
