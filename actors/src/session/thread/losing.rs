//! When a worker is held lost, and what follows: who stands by takes the stream up, or the coordinator is asked.
//!
//! ```text
//! silent for longer than its steps explain      lost
//! speaks, and gets no further for too long      left, if another one stands by; it may be that it waits for memory
//! a gap, a contradiction, a broken stream       lost
//! ```

use super::standby::Beside;
use super::{Stage, Thread};
use crate::contract::Time;
use crate::doorkeeper::protocol::Turnaway;
use crate::generate::{Event, Failure};
use crate::session::fault::{Fault, Loss};
use crate::session::limits::*;
use crate::session::protocol::{Effect, Grant, Trouble};

/// What was last heard of the worker.
#[derive(Debug)]
pub(super) struct Signs {
    heard: Time,
    /// When it last got further, and how much of the prompt it had read then.
    moved: Time,
    done: u32,
}

impl Signs {
    /// It is knocked at.
    pub(super) fn new(now: Time) -> Signs {
        Signs {
            heard: now,
            moved: now,
            done: 0,
        }
    }

    /// It says something.
    pub(super) fn hear(&mut self, now: Time, event: &Event) {
        self.heard = now;
        match event {
            Event::Progress { done, .. } if *done <= self.done => return,
            Event::Progress { done, .. } => self.done = *done,
            Event::Started { .. }
            | Event::Reused { .. }
            | Event::Echo { .. }
            | Event::Embedded { .. }
            | Event::Token { .. }
            | Event::Ended { .. } => {}
        }
        self.moved = now;
    }

    /// When it has got no further for too long.
    fn stuck_at(&self, grant: &Grant) -> Time {
        let (least, most) = PROGRESS_MS.into_inner();
        self.moved
            .plus_ms(grant.patience.progress_ms.clamp(least, most))
    }
}

/// In which manner an attempt is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Another worker is better, whoever is at fault.
    Lost,
    /// The door is about to open, and has not failed: it is waited for, unless somebody stands by.
    Shut,
    /// The ticket was too old for the door, which has not failed: a fresh one is asked for, and no try is spent.
    Stale,
}

impl Thread {
    /// When the worker's silence is a loss. One that comes back to a request which it failed is the only one left: it
    /// may be slow and not gone, and gets more time.
    pub(super) fn silent_at(&self, grant: &Grant, signs: &Signs) -> Time {
        let (least, most) = SILENCE_MS.into_inner();
        let times = match self.has_left(grant.worker) {
            true => SECOND_SILENCE,
            false => 1,
        };
        let silence = grant.patience.silence_ms.saturating_mul(times);
        signs.heard.plus_ms(silence.clamp(least, most))
    }

    /// When the worker is left for the one that stands by, although it is alive. Not for the last try: it may
    /// yet get on.
    pub(super) fn stuck_at(&self, grant: &Grant, signs: &Signs, beside: &Beside) -> Option<Time> {
        let at = signs.stuck_at(grant);
        (self.tries + 2 < TRIES_MAX && beside.is_good(at)).then_some(at)
    }

    /// The worker's time to speak, or to get on, may be over; or somebody is to be asked to stand by.
    pub(super) fn watch(&mut self, now: Time, out: &mut Vec<Effect>) {
        if let Stage::Working { beside, .. } = &mut self.stage {
            beside.expire(now);
        }
        let Stage::Working {
            grant,
            signs,
            beside,
            ..
        } = &self.stage
        else {
            return;
        };
        let is_stuck = self.stuck_at(grant, signs, beside);
        if now >= self.silent_at(grant, signs) {
            self.lose(now, Loss::Silent, out);
        } else if is_stuck.is_some_and(|at| at <= now) {
            self.lose(now, Loss::Stuck, out);
        } else if now >= beside.ask {
            self.ask_beside(now, out);
        }
    }

    /// The attempt is not to be gone on with: the next one takes it up where it stands.
    pub(super) fn lose(&mut self, now: Time, loss: Loss, out: &mut Vec<Effect>) {
        self.leave(now, loss, Manner::Lost, out);
    }

    fn leave(&mut self, now: Time, loss: Loss, manner: Manner, out: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Working { grant, beside, .. } => {
                let (worker, attempt) = (grant.worker, grant.attempt);
                out.push(Effect::Cancel { worker, attempt });
                self.losses.push((attempt, loss.clone()));
                self.number = grant.number + 1;
                match manner {
                    Manner::Stale => self.stale += 1,
                    Manner::Lost | Manner::Shut => self.tries += 1,
                }
                // The latest to be left is the last one to be tried again; but one that failed once stays one that did.
                if manner == Manner::Lost {
                    let before = self.avoid.iter().position(|(left, _)| *left == worker);
                    let before = before.map(|at| self.avoid.remove(at).1);
                    let fault = before.filter(|fault| *fault == Fault::Worker);
                    self.avoid.push((worker, fault.unwrap_or(loss.fault())));
                }
                if self.tries >= TRIES_MAX {
                    let (attempts, reason) = (self.tries, loss.to_string());
                    return self.fail(Trouble::Lost { attempts, reason }, out);
                }
                match beside.take(now) {
                    Some((standby, came)) if self.goes_on(&standby) => {
                        self.work(now, standby, came, out);
                        // The coordinator hears by this where the stream is now.
                        return self.ask_beside(now, out);
                    }
                    // It was named before anything had begun, and the attempt is its own for ever.
                    Some((standby, _)) => self.number = standby.number.saturating_add(1),
                    None => {}
                }
                match manner {
                    Manner::Lost | Manner::Stale => self.ask(now, out),
                    Manner::Shut => {
                        let again = now.plus_ms(WINDOW_MS);
                        self.stage = Stage::Asking { since: now, again };
                    }
                }
            }
            // Nobody is left who could sign: the hold expires by itself.
            Stage::Leaving { .. } => self.over(out),
            other => self.stage = other,
        }
    }

    /// How to take it that a door has not been open for longer than the ticket is old.
    fn shut(&self) -> Manner {
        match &self.stage {
            // It stood by while the door was opened anew: a fresh one may be let in at once. A ticket grows old beside
            // an attempt that is then lost, so there is one such for each try.
            Stage::Working { is_old: true, .. } if self.stale < self.tries => Manner::Stale,
            // Another worker may be open for longer; if not, all doors opened together, and attempts are not to be
            // spent before any of them can take one.
            _ if self.tries > 0 => Manner::Shut,
            _ => Manner::Lost,
        }
    }

    /// The door did not let this attempt in.
    pub(super) fn turned(&mut self, now: Time, reason: Turnaway, out: &mut Vec<Effect>) {
        match reason {
            // A knock that arrived twice: the first one is being worked on, or its silence will show.
            Turnaway::Used => {}
            Turnaway::Beyond { ref field, .. } => {
                let (field, message) = (field.clone(), reason.to_string());
                self.fail(Trouble::Failed(Failure::Invalid { field, message }), out);
            }
            Turnaway::Window | Turnaway::New => {
                let manner = self.shut();
                self.leave(now, Loss::Turned(reason), manner, out);
            }
            // Its key or its epoch may have ended while it stood by.
            Turnaway::Ticket(_) => {
                let manner = match self.shut() {
                    Manner::Stale => Manner::Stale,
                    Manner::Lost | Manner::Shut => Manner::Lost,
                };
                self.leave(now, Loss::Turned(reason), manner, out);
            }
            reason => self.lose(now, Loss::Turned(reason), out),
        }
    }
}
