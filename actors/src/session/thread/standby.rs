//! The worker that stands by: where a stream goes on at once when its worker is lost, whether the coordinator is
//! there or not.
//!
//! Its ticket comes after the first one, good for the next attempt, and is renewed while the stream runs. It is kept
//! for as long as any door takes it by this node's own clock; nobody is asked what time it is elsewhere.

use super::{Stage, Thread};
use crate::contract::Time;
use crate::session::limits::*;
use crate::session::protocol::{Effect, Grant};

/// What a stream that runs knows of the worker beside its own.
#[derive(Debug)]
pub(super) struct Beside {
    /// The next attempt's ticket, and when it came.
    standby: Option<(Box<Grant>, Time)>,
    /// When one is asked for.
    pub(super) ask: Time,
}

impl Beside {
    /// Nobody yet; the coordinator may be about to name somebody.
    pub(super) fn nobody(now: Time) -> Beside {
        Beside {
            standby: None,
            ask: now.plus_ms(STANDBY_AGAIN_MS),
        }
    }

    /// Whether somebody stands by whose ticket is good at that time.
    pub(super) fn is_good(&self, at: Time) -> bool {
        let came = self.standby.as_ref().map(|(_, came)| *came);
        came.is_some_and(|came| at < came.plus_ms(STANDBY_MS))
    }

    /// Whoever stood by with a ticket that has run out does no more.
    pub(super) fn expire(&mut self, now: Time) {
        if !self.is_good(now) {
            self.standby = None;
        }
    }

    /// The ticket that is still good, if there is one, and when it came.
    pub(super) fn take(mut self, now: Time) -> Option<(Box<Grant>, Time)> {
        self.expire(now);
        self.standby
    }
}

impl Thread {
    /// A later attempt's ticket has come while this one runs.
    pub(super) fn named(&mut self, now: Time, named: Box<Grant>, out: &mut Vec<Effect>) {
        let has_left = self.has_left(named.worker);
        let Stage::Working { grant, beside, .. } = &mut self.stage else {
            return;
        };
        let known = beside.standby.as_ref().map(|(known, _)| known.number);
        let later = named.number > grant.number && known.is_none_or(|known| named.number >= known);
        if !later || named.worker == grant.worker || has_left {
            return;
        }
        let worker = named.worker;
        beside.standby = Some((named, now));
        beside.ask = now.plus_ms(STANDBY_RENEW_MS);
        out.push(Effect::Greet { worker });
    }

    /// Asks for somebody to stand by, or for a fresh ticket of whoever does.
    pub(super) fn ask_beside(&mut self, now: Time, out: &mut Vec<Effect>) {
        if let Stage::Working { grant, beside, .. } = &mut self.stage {
            beside.ask = now.plus_ms(STANDBY_AGAIN_MS);
            let running = Some(grant.worker);
            out.push(self.admit(running));
        }
    }
}
