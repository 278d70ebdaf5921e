//! What becomes of claims, and of holds whose time is over.
//!
//! A claim never beats a receipt. It is paid only where none has come by the end of the hold's time, and then not
//! before whoever has one had the time to deliver it: outboxes say everything again within a minute, also to books
//! that were closed for longer than the hold lasted. So a hold that is claimed stays open for a little longer.

use super::Book;
use crate::contract::Time;
use crate::ids::HoldId;
use crate::ledger::protocol::Outcome;
use crate::ledger::{Fact, LATE_MS, Noted, Resolution};
use crate::receipt::Claim;

impl Book {
    /// The next hold that ends by itself, and when.
    pub(super) fn next_end(&self) -> Option<(Time, HoldId)> {
        let claimed = self.accounts.next_claimed();
        let claimed = claimed.map(|(at, hold)| (self.heard_out(at), hold));
        [self.accounts.next_expiry(), claimed]
            .into_iter()
            .flatten()
            .min()
    }

    /// Ends a hold whose time is over: by the claim to it, or by nothing.
    pub(super) fn end(&mut self, now: Time, hold: HoldId) -> Result<(), &'static str> {
        let open = self.accounts.open().get(&hold);
        let paid = match open.and_then(|open| open.noted) {
            Some(noted) => self.enter(now, vouched(hold, noted)),
            None => Err("nobody claims it"),
        };
        paid.or_else(|_| self.enter(now, Fact::Expire { hold }))
    }

    /// When everybody who has a receipt for a hold that ended at `end` has had the time to deliver it.
    fn heard_out(&self, end: Time) -> Time {
        let opened = self.opened.unwrap_or_default();
        opened.max(end).plus_ms(HEAR_OUT_MS)
    }

    /// Notes a claim, or pays it if it comes after its hold has expired. None if it is to come again.
    pub(super) fn claim(&mut self, now: Time, claim: &Claim) -> Option<Outcome> {
        let statement = &claim.receipt;
        let (id, voucher) = (statement.hold, statement.voucher());
        let rejected = |reason: &str| {
            Some(Outcome::Rejected {
                reason: reason.to_owned(),
            })
        };
        match self.accounts.resolution(id) {
            Some(Resolution::Vouched(amount, by)) if by == voucher => {
                return Some(Outcome::Settled { amount });
            }
            Some(Resolution::Vouched(..)) => return rejected("L05: a larger claim was paid"),
            Some(Resolution::Posted(..)) => return rejected("L05: a receipt settled it"),
            Some(Resolution::Refused(_)) => return rejected("there was no hold"),
            Some(Resolution::Expired) | None => {}
        }
        let lapsed = self.accounts.lapsed().get(&id);
        let lapsed = lapsed.filter(|hold| now.since_ms(hold.expires) <= LATE_MS);
        let is_late = lapsed.is_some();
        let Some(hold) = self.accounts.open().get(&id).or(lapsed) else {
            return rejected("there is no such hold, or it expired more than a day ago");
        };
        let Some(party) = hold.claimant(id, statement.attempt) else {
            return rejected("the claim is for an attempt that the hold never named");
        };
        let cost = match self.comes_to(hold, party, statement, || claim.verifies()) {
            Ok(cost) => cost,
            Err(rule) => return rejected(rule),
        };
        if is_late && now < self.heard_out(hold.expires) {
            return None;
        }
        let mut amount = cost.min(hold.due_max(party.payee));
        if is_late {
            amount = amount.min(self.accounts.available(hold.payer));
        }
        if amount <= hold.noted.map_or(0, |noted| noted.amount) {
            return Some(Outcome::Noted { amount });
        }
        let noted = Noted {
            party,
            amount,
            voucher,
        };
        let fact = Fact::Claim {
            hold: id,
            number: party.number,
            amount,
            voucher,
        };
        let entered = self.enter(now, fact);
        let entered = match is_late {
            true => entered.and_then(|()| self.enter(now, vouched(id, noted))),
            false => entered,
        };
        match entered {
            Ok(()) if is_late => Some(Outcome::Settled { amount }),
            Ok(()) => Some(Outcome::Noted { amount }),
            Err(rule) => rejected(rule),
        }
    }
}

fn vouched(hold: HoldId, noted: Noted) -> Fact {
    let Noted {
        amount, voucher, ..
    } = noted;
    Fact::Vouched {
        hold,
        amount,
        voucher,
    }
}

/// How long receipts are waited for before a claim is paid in their place: twice the longest that an outbox waits
/// between two deliveries.
const HEAR_OUT_MS: u64 = 2 * crate::outbox::RETRY_MS_MAX;
