//! What workers claim of a hold by their clients' vouchers, for the case that no receipt comes.
//!
//! ```text
//! Claim ──> noted on the hold, the best one ──term over, no receipt──> Vouched: paid, the rest back
//!                                           └──receipt──> Post: the claim is over
//! ```
//!
//! Any attempt that the hold ever named may claim, also one that the client has gone on from: who cannot be paid by a
//! receipt any more would else be who a client leaves in order not to pay. What is set aside therefore does not
//! shrink when a hold goes on.

use super::{Accounts, Hold, Resolution, Standby};
use crate::contract::Time;
use crate::ids::{AttemptId, Digest, HoldId};
use crate::price::Micros;
use serde::{Deserialize, Serialize};

/// The best claim to a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    /// Whose it is.
    pub party: Standby,
    /// What it comes to.
    pub amount: Micros,
    /// What the client signed.
    pub voucher: Digest,
}

impl Hold {
    /// The party to `attempt` of the hold `id`, if the hold ever named it.
    pub fn claimant(&self, id: HoldId, attempt: AttemptId) -> Option<Standby> {
        let mut former = self.former.iter().copied();
        former
            .find(|party| AttemptId::of(id, party.number) == attempt)
            .or_else(|| self.party(id, attempt))
    }
}

impl Accounts {
    /// When the next hold with a claim to it ends by itself.
    pub fn next_claimed(&self) -> Option<(Time, HoldId)> {
        self.claimed.first().copied()
    }

    /// Notes a claim in place of a smaller one.
    pub(super) fn note(
        &mut self,
        id: HoldId,
        number: u32,
        amount: Micros,
        voucher: Digest,
    ) -> Result<(), &'static str> {
        let hold = self.open.get(&id).or_else(|| self.lapsed.get(&id));
        let hold = hold.ok_or("L05: a claimed hold is not open")?;
        let party = hold.claimant(id, AttemptId::of(id, number));
        let party = party.ok_or("L14: a claim is for an attempt that the hold never named")?;
        if amount > hold.due_max(party.payee) {
            return Err("L06: more is claimed than was held");
        }
        if amount <= hold.noted.map_or(0, |noted| noted.amount) {
            return Err("a claim is noted only if it is the largest");
        }
        let noted = Some(Noted {
            party,
            amount,
            voucher,
        });
        if let Some(hold) = self.open.get_mut(&id) {
            hold.noted = noted;
            self.expiries.remove(&(hold.expires, id));
            self.claimed.insert((hold.expires, id));
        } else if let Some(hold) = self.lapsed.get_mut(&id) {
            hold.noted = noted;
        }
        Ok(())
    }

    /// Pays the claim that was noted: from what was set aside, or from what the payer has left if the hold has
    /// expired before it came.
    pub(super) fn pay_claim(
        &mut self,
        id: HoldId,
        amount: Micros,
        voucher: Digest,
    ) -> Result<(), &'static str> {
        let open = self.open.get(&id).cloned();
        let is_open = open.is_some();
        let hold = open.or_else(|| self.lapsed.get(&id).cloned());
        let mut hold = hold.ok_or("L05: a hold whose claim is paid is not open")?;
        let noted = hold.noted.filter(|noted| noted.voucher == voucher);
        let noted = noted.ok_or("L14: a claim is paid that was not noted")?;
        if amount > noted.amount || (is_open && amount < noted.amount) {
            return Err("L12: a claim is paid what it comes to");
        }
        if is_open && amount > hold.amount {
            return Err("L06: more is claimed than was held");
        }
        if !is_open && amount > self.available(hold.payer) {
            return Err("L04: more is paid late than is available");
        }
        hold.payee = noted.party.payee;
        self.pay(&hold, amount)?;
        let paid = Resolution::Vouched(amount, voucher);
        if is_open {
            self.close(id, &hold, paid);
        } else {
            self.lapsed.remove(&id);
            self.lapses.remove(&(hold.expires, id));
            self.resolved.insert(id, paid);
        }
        Ok(())
    }
}

/// Attempts that are remembered for their claims, at most: as many as a request may have.
pub(super) const FORMER_MAX: usize = crate::scheduler::protocol::ATTEMPTS_MAX as usize;
