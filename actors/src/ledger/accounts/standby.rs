//! Workers that stand by: later attempts of a hold that may be paid from it before anybody asked for them.
//!
//! ```text
//! attempt 0 at A ─────────────── A is lost ─┐          the coordinator may be away all the while
//! attempt 1 at B, named with 0    (waits)   └─> B delivers ─> receipt of attempt 1 ─> Redirect to 1, Post
//! ```
//!
//! A ticket that may be out must be payable, and none may be paid twice. So what an attempt is worth is entered
//! before its ticket is signed: its number, its worker, its payee, and enough credits for whichever of them is
//! paid. An attempt has one worker for ever. The hold still ends once (L05) and within what is set aside (L06), by
//! the one receipt that its client signs; which attempt that is, the client decides by where it took its tokens.

use super::claims::FORMER_MAX;
use super::{Accounts, Hold};
use crate::ids::{AttemptId, HoldId, MemberId, NodeId};
use crate::price::Micros;
use serde::{Deserialize, Serialize};

/// An attempt that may be paid from a hold, and who delivers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standby {
    /// The number of the attempt.
    pub number: u32,
    /// Who delivers.
    pub worker: NodeId,
    /// Who is paid.
    pub payee: MemberId,
}

impl Hold {
    /// The attempt that is paid from it as it stands.
    fn present(&self) -> Standby {
        Standby {
            number: self.number,
            worker: self.worker,
            payee: self.payee,
        }
    }

    /// The party to `attempt` of the hold `id`, if its receipt may be paid from it.
    pub fn party(&self, id: HoldId, attempt: AttemptId) -> Option<Standby> {
        let mut parties = std::iter::once(self.present()).chain(self.standbys.iter().copied());
        parties.find(|party| AttemptId::of(id, party.number) == attempt)
    }

    /// What may be paid to `payee`: nothing for work within one member.
    pub fn due_max(&self, payee: MemberId) -> Micros {
        if payee == self.payer { 0 } else { self.amount }
    }

    /// The hold once it goes to `to`, which alone needs `amount`. Whoever was named stays covered, for what it was named
    /// with: those that stand by for still later attempts, those that it goes on from, which may claim, and `to`, whose
    /// ticket may have been out for longer.
    pub fn directed(&self, to: Standby, amount: Micros) -> Hold {
        let later = |standby: &Standby| standby.number > to.number;
        let (standbys, past): (Vec<_>, Vec<_>) = self.standbys.iter().copied().partition(later);
        let mut former = self.former.clone();
        former.push(self.present());
        former.extend(past.into_iter().filter(|past| past.number < to.number));
        former.drain(..former.len().saturating_sub(FORMER_MAX));
        Hold {
            payee: to.payee,
            worker: to.worker,
            number: to.number,
            amount: amount.max(self.amount),
            standbys,
            former,
            ..self.clone()
        }
    }

    /// The number that the next attempt to stand by gets.
    pub fn next_number(&self) -> Option<u32> {
        let last = self.standbys.last();
        last.map_or(self.number, |standby| standby.number)
            .checked_add(1)
    }

    /// Whether only the payer itself could be paid.
    fn is_own(&self) -> bool {
        let own = |payee| payee == self.payer;
        let mut others = self.standbys.iter().chain(&self.former);
        own(self.payee) && others.all(|other| own(other.payee))
    }

    pub(super) fn check(&self) {
        let mut before = self.number;
        for standby in &self.standbys {
            assert!(standby.number > before, "attempts have rising numbers");
            before = standby.number;
        }
        assert!(self.standbys.len() <= STANDBYS_MAX);
        assert!(self.former.len() <= FORMER_MAX);
    }
}

impl Accounts {
    /// Directs a hold to a later attempt.
    pub(super) fn redirect(
        &mut self,
        id: HoldId,
        to: Standby,
        amount: Micros,
    ) -> Result<(), &'static str> {
        let found = self.open.get(&id).or_else(|| self.lapsed.get(&id));
        let old = found.ok_or("L05: a redirected hold is not open")?.clone();
        if to.number <= old.number {
            return Err("a hold goes to a later attempt only");
        }
        let named = old.standbys.iter().find(|named| named.number == to.number);
        if named.is_some_and(|named| *named != to) {
            return Err("an attempt has one worker for ever");
        }
        // Books from before there were claims set less aside for those that a hold goes on from, and are read as
        // they were written.
        let new = Hold {
            amount,
            ..old.directed(to, amount)
        };
        let mut beside = new.standbys.iter();
        if amount < old.amount && beside.any(|standby| standby.payee != old.payer) {
            return Err("what is set aside does not shrink while somebody stands by");
        }
        if let Some(lapsed) = self.lapsed.get_mut(&id) {
            // Nothing is set aside any more: it is only said whom a late receipt pays.
            if named.is_none() || new.amount > old.amount {
                return Err("L34: a hold that expired goes only to one that stood by");
            }
            *lapsed = new;
            return Ok(());
        }
        self.replace(id, &old, new)
    }

    /// Names an attempt that may be paid from an open hold as well.
    pub(super) fn stand_by(
        &mut self,
        id: HoldId,
        named: Standby,
        amount: Micros,
    ) -> Result<(), &'static str> {
        let old = self.open.get(&id).cloned();
        let old = old.ok_or("L05: a hold that somebody stands by for is not open")?;
        if old.standbys.len() >= STANDBYS_MAX {
            return Err("as many stand by as may");
        }
        if old.next_number().is_none_or(|next| named.number < next) {
            return Err("an attempt has one worker for ever");
        }
        if amount < old.amount {
            return Err("what is set aside does not shrink while somebody stands by");
        }
        let mut new = old.clone();
        new.standbys.push(named);
        new.amount = amount;
        self.replace(id, &old, new)
    }

    /// Sets aside what `new` says in place of what `old` did.
    fn replace(&mut self, id: HoldId, old: &Hold, new: Hold) -> Result<(), &'static str> {
        if new.is_own() && new.amount > 0 {
            return Err("work for one's own member holds nothing");
        }
        if old.noted.is_some_and(|noted| new.amount < noted.amount) {
            return Err("L06: what is claimed stays set aside");
        }
        if new.amount > self.available(old.payer) + old.amount {
            return Err("L04: a hold is more than what is available");
        }
        let account = self.account(old.payer);
        account.held = account.held - old.amount + new.amount;
        self.open.insert(id, new);
        Ok(())
    }
}

/// Attempts that may stand by for one hold at a time: each is a ticket that may be out.
pub const STANDBYS_MAX: usize = 4;
