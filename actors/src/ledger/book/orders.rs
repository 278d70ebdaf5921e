//! What each order becomes: an entry and its answer, or an answer alone.

use super::Book;
use crate::contract::Time;
use crate::ids::{AttemptId, HoldId, MemberId, NodeId};
use crate::ledger::protocol::{GrantError, Outcome};
use crate::ledger::{Fact, LATE_MS, Resolution, SUPPLY_MAX};
use crate::price::Micros;
use crate::receipt::Signed;
use crate::scheduler::protocol::{HoldOrder, Refusal};
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
        let most = self
            .prices
            .cost(order.prompt_tokens_max, order.completion_tokens_max);
        let most = most.ok_or_else(|| invalid("max_tokens", "the price does not fit 64 bits"))?;
        let amount = if order.payer == order.payee { 0 } else { most };
        match self.accounts.resolution(hold) {
            Some(Resolution::Refused(needed)) => {
                let available = self.accounts.available(order.payer);
                return Err(Refusal::Credits { needed, available });
            }
            Some(_) => return Err(Refusal::Over),
            None => {}
        }
        let before = self.accounts.open().get(&hold).cloned();
        if let Some(before) = &before {
            if before.payer != order.payer || before.client != order.client {
                return Err(invalid("request", "the id belongs to another request"));
            }
            match order.number.cmp(&before.number) {
                Ordering::Less => return Err(Refusal::Over),
                Ordering::Equal => return Ok((hold, before.worker)),
                Ordering::Greater => {}
            }
        }
        if before.is_none() && self.accounts.open().len() >= OPEN_MAX {
            return Err(Refusal::Busy {
                waiting: OPEN_MAX as u32,
                retry_after_ms: RETRY_AFTER_MS,
            });
        }
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
                payee: order.payee,
                worker: order.worker,
                number: order.number,
                amount,
            }
        } else {
            Fact::Hold {
                hold,
                request: order.request,
                payer: order.payer,
                payee: order.payee,
                client: order.client,
                worker: order.worker,
                number: order.number,
                amount,
                prices: self.prices.version(),
                expires: now.plus_ms(order.term_ms.min(TERM_MS_MAX)),
            }
        };
        self.enter(now, fact)
            .map_err(|rule| invalid("request", rule))?;
        Ok((hold, order.worker))
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
            Some(Resolution::Refused(_)) => return rejected("there was no hold"),
            Some(Resolution::Expired) | None => {}
        }
        let lapsed = self.accounts.lapsed().get(&receipt.hold);
        let lapsed = lapsed.filter(|hold| now.since_ms(hold.expires) <= LATE_MS);
        let Some(hold) = self.accounts.open().get(&receipt.hold).or(lapsed) else {
            return rejected("there is no such hold, or it expired more than a day ago");
        };
        if hold.request != receipt.request {
            return rejected("the receipt is for another request");
        }
        if hold.client != receipt.client || hold.worker != receipt.worker {
            return rejected("the receipt is between others than the hold");
        }
        if receipt.attempt != AttemptId::of(receipt.hold, hold.number) {
            return rejected("the receipt is for another attempt than the hold");
        }
        if !signed.verifies() {
            return rejected("L14: it is not signed by both sides");
        }
        let Some(cost) = receipt
            .cost(&self.prices)
            .filter(|_| hold.prices == receipt.prices)
        else {
            return rejected("L12: the price table is not the one of the hold");
        };
        let (id, digest, amount) = (receipt.hold, receipt.digest(), cost.min(hold.amount));
        let (fact, amount) = match lapsed {
            None => (
                Fact::Post {
                    hold: id,
                    amount,
                    receipt: digest,
                },
                amount,
            ),
            Some(hold) => {
                let amount = amount.min(self.accounts.available(hold.payer));
                let late = Fact::Late {
                    hold: id,
                    amount,
                    receipt: digest,
                };
                (late, amount)
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
/// When it may be worth asking again while there are too many.
const RETRY_AFTER_MS: u64 = 10_000;
/// Milliseconds a hold may last, at most: two hours.
const TERM_MS_MAX: u64 = 2 * 60 * 60 * 1000;
/// Bytes of a member's name, at most.
const NAME_BYTES_MAX: usize = 128;
