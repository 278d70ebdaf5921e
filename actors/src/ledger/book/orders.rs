//! What each order becomes: an entry and its answer, or an answer alone.

use super::Book;
use crate::contract::Time;
use crate::ids::{AttemptId, HoldId, MemberId, NodeId};
use crate::ledger::protocol::{GrantError, Outcome};
use crate::ledger::{Fact, Hold, LATE_MS, Resolution, SUPPLY_MAX, Standby};
use crate::price::Micros;
use crate::receipt::{Receipt, Signed};
use crate::scheduler::protocol::{ATTEMPTS_MAX, HoldOrder, Refusal};
use std::cmp::Ordering;

impl Book {
    pub(super) fn grant(
        &mut self,
        now: Time,
        id: [u8; 16],
        (member, name, amount): (MemberId, String, Micros),
    ) -> Result<(), GrantError> {
        if self.busy() {
            return Err(GrantError::Unwritten);
        }
        if let Some(before) = self.accounts.grant(id) {
            return if before == (member, amount) {
                Ok(())
            } else {
                Err(GrantError::Different)
            };
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(GrantError::Name {
                limit: NAME_BYTES_MAX,
            });
        }
        if amount > SUPPLY_MAX - self.accounts.supply() {
            return Err(GrantError::Supply { limit: SUPPLY_MAX });
        }
        let fact = Fact::Grant {
            id,
            member,
            name,
            amount,
        };
        self.enter(now, fact)
            .map_err(|_| GrantError::Supply { limit: SUPPLY_MAX })
    }

    /// Sets credits aside, or directs what is set aside to a later attempt. One attempt has one worker for
    /// ever: its ticket may be out, so an order for it that names another worker is answered with the first.
    pub(super) fn hold(
        &mut self,
        now: Time,
        order: &HoldOrder,
    ) -> Result<(HoldId, NodeId), Refusal> {
        let hold = HoldId::of(order.request);
        let invalid = |field: &str, message: &str| Refusal::Invalid {
            field: field.to_owned(),
            message: message.to_owned(),
        };
        // Those that it went on from are remembered, and may claim: so there are only so many.
        if order.number >= ATTEMPTS_MAX {
            let message = format!("a request has at most {ATTEMPTS_MAX} attempts");
            return Err(invalid("number", &message));
        }
        let most = self.most(order);
        let most = most.ok_or_else(|| invalid("max_tokens", "the price does not fit 64 bits"))?;
        match self.accounts.resolution(hold) {
            Some(Resolution::Refused(needed)) => {
                let available = self.accounts.available(order.payer);
                return Err(Refusal::Credits { needed, available });
            }
            Some(_) => return Err(Refusal::Over),
            None => {}
        }
        let before = self.accounts.open().get(&hold).cloned();
        let mut to = Standby {
            number: order.number,
            worker: order.worker,
            payee: order.payee,
        };
        if let Some(before) = &before {
            if before.payer != order.payer || before.client != order.client {
                return Err(invalid("request", "the id belongs to another request"));
            }
            match order.number.cmp(&before.number) {
                Ordering::Less => return Err(Refusal::Over),
                Ordering::Equal => return Ok((hold, before.worker)),
                Ordering::Greater => {}
            }
            match before.party(hold, AttemptId::of(hold, order.number)) {
                Some(named) => to = named,
                // What is said to run had no ticket.
                None if order.is_begun => return Err(Refusal::Over),
                None => {}
            }
        } else if order.is_begun {
            return Err(Refusal::Over);
        }
        let own = self.accounts.open_of(order.payer);
        if before.is_none() && (own >= OPEN_OF_ONE_MAX || self.accounts.open().len() >= OPEN_MAX) {
            return Err(Refusal::Busy {
                waiting: own as u32,
                retry_after_ms: RETRY_AFTER_MS,
            });
        }
        let alone = if order.payer == to.payee { 0 } else { most };
        let amount = before
            .as_ref()
            .map_or(alone, |before| before.directed(to, alone).amount);
        let mine = before.as_ref().map_or(0, |before| before.amount);
        let available = self.accounts.available(order.payer) + mine;
        if amount > available {
            if before.is_none() {
                let needed = amount;
                self.enter(now, Fact::Refused { hold, needed })
                    .map_err(|rule| invalid("request", rule))?;
            }
            return Err(Refusal::Credits {
                needed: amount,
                available,
            });
        }
        let fact = if before.is_some() {
            Fact::Redirect {
                hold,
                payee: to.payee,
                worker: to.worker,
                number: to.number,
                amount,
            }
        } else {
            Fact::Hold {
                hold,
                request: order.request,
                payer: order.payer,
                payee: to.payee,
                client: order.client,
                worker: to.worker,
                number: to.number,
                amount,
                prices: self.prices.version(),
                expires: now.plus_ms(order.term_ms.min(TERM_MS_MAX)),
            }
        };
        self.enter(now, fact)
            .map_err(|rule| invalid("request", rule))?;
        Ok((hold, to.worker))
    }

    /// Has the worker that `order` names stand by, if that is covered, and says which attempt is its own: the
    /// same one as long as it is the same worker. The hold of `order` is there.
    pub(super) fn stand_by(&mut self, now: Time, order: &HoldOrder) -> Option<(u32, NodeId)> {
        let (worker, payee) = *order.standby.clone()?;
        let hold = HoldId::of(order.request);
        let open = self.accounts.open().get(&hold)?;
        if worker == open.worker {
            return None;
        }
        let same = |named: &&Standby| named.worker == worker && named.payee == payee;
        if let Some(named) = open.standbys.iter().find(same) {
            return Some((named.number, worker));
        }
        let number = open.next_number().filter(|number| *number < ATTEMPTS_MAX)?;
        let alone = match order.payer == payee {
            true => 0,
            false => self.most(order)?,
        };
        let fact = Fact::Standby {
            hold,
            payee,
            worker,
            number,
            amount: open.amount.max(alone),
        };
        // One that is not covered, or one too many, does not stand by: the request goes on without.
        self.enter(now, fact).ok()?;
        Some((number, worker))
    }

    /// The most that an attempt of `order` may cost another member.
    fn most(&self, order: &HoldOrder) -> Option<Micros> {
        let (prompt, completion) = (order.prompt_tokens_max, order.completion_tokens_max);
        self.prices.cost(prompt, completion)
    }

    /// What `receipt` costs, if it is between the parties to the hold, and signed.
    pub(super) fn comes_to(
        &self,
        hold: &Hold,
        party: Standby,
        receipt: &Receipt,
        is_signed: impl FnOnce() -> bool,
    ) -> Result<Micros, &'static str> {
        if hold.request != receipt.request {
            return Err("it is for another request");
        }
        if hold.client != receipt.client || party.worker != receipt.worker {
            return Err("it is between others than the hold");
        }
        if !is_signed() {
            return Err("L14: it is not signed by both sides");
        }
        let cost = receipt.cost(&self.prices);
        cost.filter(|_| hold.prices == receipt.prices)
            .ok_or("L12: the price table is not the one of the hold")
    }

    /// Pays a receipt, never more than was held. One that comes within a day after its hold has expired is
    /// paid from what the payer has left: the work was done, and both sides signed for it.
    pub(super) fn settle(&mut self, now: Time, signed: &Signed) -> Outcome {
        let receipt = &signed.receipt;
        let rejected = |reason: &str| Outcome::Rejected {
            reason: reason.to_owned(),
        };
        match self.accounts.resolution(receipt.hold) {
            Some(Resolution::Posted(amount, by)) if by == receipt.digest() => {
                return Outcome::Settled { amount };
            }
            Some(Resolution::Posted(..)) => return rejected("L05: another receipt settled it"),
            Some(Resolution::Vouched(..)) => return rejected("L05: its worker's claim was paid"),
            Some(Resolution::Refused(_)) => return rejected("there was no hold"),
            Some(Resolution::Expired) | None => {}
        }
        let lapsed = self.accounts.lapsed().get(&receipt.hold);
        let lapsed = lapsed.filter(|hold| now.since_ms(hold.expires) <= LATE_MS);
        let is_late = lapsed.is_some();
        let Some(hold) = self.accounts.open().get(&receipt.hold).or(lapsed).cloned() else {
            return rejected("there is no such hold, or it expired more than a day ago");
        };
        let Some(party) = hold.party(receipt.hold, receipt.attempt) else {
            return rejected("the receipt is for another attempt than the hold");
        };
        let cost = match self.comes_to(&hold, party, receipt, || signed.verifies()) {
            Ok(cost) => cost,
            Err(rule) => return rejected(rule),
        };
        let (id, receipt) = (receipt.hold, receipt.digest());
        let most = hold.due_max(party.payee);
        // The client went on at a worker that stood by: the hold goes there first, in the same commit.
        if party.number != hold.number {
            let redirect = Fact::Redirect {
                hold: id,
                payee: party.payee,
                worker: party.worker,
                number: party.number,
                amount: hold.directed(party, most).amount,
            };
            if let Err(rule) = self.enter(now, redirect) {
                return rejected(rule);
            }
        }
        let mut amount = cost.min(most);
        let fact = if is_late {
            amount = amount.min(self.accounts.available(hold.payer));
            Fact::Late {
                hold: id,
                amount,
                receipt,
            }
        } else {
            Fact::Post {
                hold: id,
                amount,
                receipt,
            }
        };
        match self.enter(now, fact) {
            Ok(()) => Outcome::Settled { amount },
            Err(rule) => rejected(rule),
        }
    }
}

/// Holds that may be open at once: far more than a coordinator can serve within a hold's term.
const OPEN_MAX: usize = 100_000;
/// And those of one payer: nobody closes the books to the others with requests that it never makes.
const OPEN_OF_ONE_MAX: usize = 4_096;
/// When it may be worth asking again while there are too many.
const RETRY_AFTER_MS: u64 = 10_000;
/// Milliseconds a hold may last, at most: two hours.
const TERM_MS_MAX: u64 = 2 * 60 * 60 * 1000;
/// Bytes of a member's name, at most.
const NAME_BYTES_MAX: usize = 128;
