//! Accounts and holds, and the one place where a fact changes them.
//!
//! [`Accounts::apply`] is used for new facts and for replay alike, and refuses whatever would break an
//! invariant, so a book that was replayed is a book that was checked.

use super::entry::Fact;
use crate::contract::Time;
use crate::ids::{Digest, HoldId, MemberId, NodeId, RequestId, digest};
use crate::price::Micros;
use crate::wire;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

mod claims;
mod standby;

pub use claims::Noted;
pub use standby::{STANDBYS_MAX, Standby};

/// One member's account. Balances are derived, never assigned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The member's name, for listings.
    pub name: String,
    /// µc granted to it, ever.
    pub granted: Micros,
    /// µc it was paid, ever.
    pub earned: Micros,
    /// µc it paid, ever.
    pub spent: Micros,
    /// µc set aside by its open holds.
    pub held: Micros,
}

impl Account {
    /// What it may spend: never what is pending in its favour (L26).
    pub fn available(&self) -> Micros {
        let into = i128::from(self.granted) + i128::from(self.earned);
        let out = i128::from(self.spent) + i128::from(self.held);
        // L04 keeps it from being negative, and L02 below the supply: it fits.
        Micros::try_from(into - out).expect("L04: an account is overdrawn")
    }
}

/// A hold that is not resolved yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The request it is for.
    pub request: RequestId,
    /// Who pays.
    pub payer: MemberId,
    /// Who will be paid.
    pub payee: MemberId,
    /// Who receives.
    pub client: NodeId,
    /// Who delivers.
    pub worker: NodeId,
    /// The number of the attempt that is paid from it.
    pub number: u32,
    /// How much is set aside, for whichever attempt is paid.
    pub amount: Micros,
    /// The price table, by hash.
    pub prices: Digest,
    /// When it is released by itself.
    pub expires: Time,
    /// Later attempts whose workers stand by, in the order of their numbers; at most [`STANDBYS_MAX`].
    pub standbys: Vec<Standby>,
    /// Attempts that it went on from, in the order of their numbers. They may still claim.
    pub former: Vec<Standby>,
    /// What is paid if its time is over and no receipt has come.
    pub noted: Option<Noted>,
}

/// How a hold ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resolution {
    /// Paid, by this receipt.
    Posted(Micros, Digest),
    /// Paid, by this voucher: no receipt came.
    Vouched(Micros, Digest),
    /// Released by itself.
    Expired,
    /// Never made: it could not be paid for.
    Refused(Micros),
}

/// Milliseconds after its expiry for which a hold may still be paid: a day.
pub const LATE_MS: u64 = 24 * 60 * 60 * 1000;

/// The state of the books.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    members: BTreeMap<MemberId, Account>,
    grants: BTreeMap<[u8; 16], (MemberId, Micros)>,
    open: BTreeMap<HoldId, Hold>,
    /// How many of them each payer has.
    open_of: BTreeMap<MemberId, usize>,
    resolved: BTreeMap<HoldId, Resolution>,
    /// When each open hold ends by itself: those that nobody claims, and the others.
    expiries: BTreeSet<(Time, HoldId)>,
    claimed: BTreeSet<(Time, HoldId)>,
    /// Expired holds, for as long as a receipt for them may still come; and the same by their expiry.
    lapsed: BTreeMap<HoldId, Hold>,
    lapses: BTreeSet<(Time, HoldId)>,
    supply: Micros,
}

impl Accounts {
    /// Every account, by member.
    pub fn members(&self) -> &BTreeMap<MemberId, Account> {
        &self.members
    }

    /// How many holds of `payer` are not resolved.
    pub fn open_of(&self, payer: MemberId) -> usize {
        self.open_of.get(&payer).copied().unwrap_or(0)
    }

    /// Every hold that is not resolved.
    pub fn open(&self) -> &BTreeMap<HoldId, Hold> {
        &self.open
    }

    /// Holds that expired within [`LATE_MS`] and were not paid since.
    pub fn lapsed(&self) -> &BTreeMap<HoldId, Hold> {
        &self.lapsed
    }

    /// How a hold ended, if it did.
    pub fn resolution(&self, hold: HoldId) -> Option<Resolution> {
        self.resolved.get(&hold).copied()
    }

    /// What a grant's id was used for, if it was.
    pub fn grant(&self, id: [u8; 16]) -> Option<(MemberId, Micros)> {
        self.grants.get(&id).copied()
    }

    /// All µc ever made; there is no way to destroy them yet.
    pub fn supply(&self) -> Micros {
        self.supply
    }

    /// What a member may spend.
    pub fn available(&self, member: MemberId) -> Micros {
        self.members.get(&member).map_or(0, Account::available)
    }

    /// The next expiry, and its hold, to which there is no claim.
    pub fn next_expiry(&self) -> Option<(Time, HoldId)> {
        self.expiries.first().copied()
    }

    /// A hash of everything: two books with the same digest answer everything alike.
    pub fn digest(&self) -> Digest {
        let ended = (&self.resolved, &self.lapsed);
        let all = (&self.members, &self.grants, &self.open, ended);
        digest("troop/accounts/v1", &[&wire::encode(1, &all)])
    }

    /// Carries a fact out, or says which rule it would break and changes nothing.
    pub fn apply(&mut self, fact: &Fact) -> Result<(), &'static str> {
        match fact {
            Fact::Grant {
                id,
                member,
                name,
                amount,
            } => {
                let supply = self
                    .supply
                    .checked_add(*amount)
                    .filter(|sum| *sum <= SUPPLY_MAX);
                let supply = supply.ok_or("L27: more credits than the books can count")?;
                if self.grants.contains_key(id) {
                    return Err("L09: a grant's id was used before");
                }
                self.grants.insert(*id, (*member, *amount));
                self.supply = supply;
                let account = self.members.entry(*member).or_default();
                account.granted += amount;
                if !name.is_empty() {
                    account.name.clone_from(name);
                }
            }
            Fact::Hold {
                hold,
                request,
                payer,
                payee,
                client,
                worker,
                number,
                amount,
                prices,
                expires,
            } => {
                if self.open.contains_key(hold) || self.resolved.contains_key(hold) {
                    return Err("L09: a hold's id was used before");
                }
                if *hold != HoldId::of(*request) {
                    return Err("a hold's id does not follow from its request");
                }
                self.set_aside(*payer, *payee, *amount)?;
                *self.open_of.entry(*payer).or_default() += 1;
                self.open.insert(
                    *hold,
                    Hold {
                        request: *request,
                        payer: *payer,
                        payee: *payee,
                        client: *client,
                        worker: *worker,
                        number: *number,
                        amount: *amount,
                        prices: *prices,
                        expires: *expires,
                        standbys: Vec::new(),
                        former: Vec::new(),
                        noted: None,
                    },
                );
                self.expiries.insert((*expires, *hold));
            }
            Fact::Redirect {
                hold,
                payee,
                worker,
                number,
                amount,
            } => {
                let to = Standby {
                    number: *number,
                    worker: *worker,
                    payee: *payee,
                };
                self.redirect(*hold, to, *amount)?;
            }
            Fact::Refused { hold, needed } => {
                if self.open.contains_key(hold) || self.resolved.contains_key(hold) {
                    return Err("L09: a refused hold's id was used before");
                }
                self.resolved.insert(*hold, Resolution::Refused(*needed));
            }
            Fact::Post {
                hold,
                amount,
                receipt,
            } => {
                let old = self
                    .open
                    .get(hold)
                    .cloned()
                    .ok_or("L05: a posted hold is not open")?;
                if *amount > old.amount {
                    return Err("L06: more is posted than was held");
                }
                self.pay(&old, *amount)?;
                self.close(*hold, &old, Resolution::Posted(*amount, *receipt));
            }
            Fact::Late {
                hold,
                amount,
                receipt,
            } => {
                let old = self
                    .lapsed
                    .get(hold)
                    .cloned()
                    .ok_or("L34: a hold that is paid late did not expire within a day")?;
                if *amount > old.amount {
                    return Err("L06: more is paid late than was held");
                }
                if *amount > self.available(old.payer) {
                    return Err("L04: more is paid late than is available");
                }
                self.pay(&old, *amount)?;
                self.lapsed.remove(hold);
                self.lapses.remove(&(old.expires, *hold));
                let paid = Resolution::Posted(*amount, *receipt);
                self.resolved.insert(*hold, paid);
            }
            Fact::Expire { hold } => {
                let old = self
                    .open
                    .get(hold)
                    .cloned()
                    .ok_or("L05: an expired hold is not open")?;
                self.close(*hold, &old, Resolution::Expired);
                self.lapse(*hold, old);
            }
            Fact::Standby {
                hold,
                payee,
                worker,
                number,
                amount,
            } => {
                let named = Standby {
                    number: *number,
                    worker: *worker,
                    payee: *payee,
                };
                self.stand_by(*hold, named, *amount)?;
            }
            Fact::Claim {
                hold,
                number,
                amount,
                voucher,
            } => self.note(*hold, *number, *amount, *voucher)?,
            Fact::Vouched {
                hold,
                amount,
                voucher,
            } => self.pay_claim(*hold, *amount, *voucher)?,
        }
        Ok(())
    }

    fn account(&mut self, member: MemberId) -> &mut Account {
        self.members.entry(member).or_default()
    }

    fn set_aside(
        &mut self,
        payer: MemberId,
        payee: MemberId,
        amount: Micros,
    ) -> Result<(), &'static str> {
        if payer == payee && amount > 0 {
            return Err("work for one's own member holds nothing");
        }
        if amount > self.available(payer) {
            return Err("L04: a hold is more than what is available");
        }
        self.account(payer).held += amount;
        Ok(())
    }

    fn give_back(&mut self, hold: &Hold) {
        self.account(hold.payer).held -= hold.amount;
    }

    /// Moves `amount` from the payer of a hold to its payee, or says which rule that would break.
    fn pay(&mut self, hold: &Hold, amount: Micros) -> Result<(), &'static str> {
        if hold.payer == hold.payee && amount > 0 {
            return Err("work for one's own member moves nothing");
        }
        // What an account ever earned and spent is not bounded by the supply (L27).
        let wraps = "L27: more has moved than an account can count";
        let ever = |member| {
            self.members
                .get(member)
                .map_or((0, 0), |a| (a.spent, a.earned))
        };
        let spent = ever(&hold.payer).0.checked_add(amount).ok_or(wraps)?;
        let earned = ever(&hold.payee).1.checked_add(amount).ok_or(wraps)?;
        self.account(hold.payer).spent = spent;
        self.account(hold.payee).earned = earned;
        Ok(())
    }

    /// Keeps an expired hold for late receipts, and forgets those for which none may come any more.
    fn lapse(&mut self, id: HoldId, hold: Hold) {
        let now = hold.expires;
        self.lapses.insert((now, id));
        self.lapsed.insert(id, hold);
        while let Some(&(at, id)) = self.lapses.first()
            && now.since_ms(at) > LATE_MS
        {
            self.lapses.pop_first();
            self.lapsed.remove(&id);
        }
    }

    fn close(&mut self, id: HoldId, hold: &Hold, resolution: Resolution) {
        self.give_back(hold);
        self.open.remove(&id);
        match self.open_of.get_mut(&hold.payer) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.open_of.remove(&hold.payer)),
        }
        self.expiries.remove(&(hold.expires, id));
        self.claimed.remove(&(hold.expires, id));
        self.resolved.insert(id, resolution);
    }

    /// Asserts what must hold of every state, by adding everything up again.
    pub fn check(&self) {
        let mut granted: i128 = 0;
        let mut moved: i128 = 0;
        let mut held: i128 = 0;
        for account in self.members.values() {
            let into = i128::from(account.granted) + i128::from(account.earned);
            let out = i128::from(account.spent) + i128::from(account.held);
            assert!(into >= out, "L04: an account is overdrawn");
            granted += i128::from(account.granted);
            moved += i128::from(account.earned) - i128::from(account.spent);
            held += i128::from(account.held);
        }
        assert_eq!(moved, 0, "L01: what is earned is not what is spent");
        assert_eq!(
            granted,
            i128::from(self.supply),
            "L02: the supply is not what was granted"
        );
        let pending: i128 = self.open.values().map(|hold| i128::from(hold.amount)).sum();
        assert_eq!(
            held, pending,
            "L03: what is held is not the sum of open holds"
        );
        assert_eq!(
            self.open.len(),
            self.expiries.len() + self.claimed.len(),
            "each open hold has its expiry"
        );
        assert_eq!(
            self.open.len(),
            self.open_of.values().sum::<usize>(),
            "each open hold is one of its payer's"
        );
        let both = self
            .open
            .keys()
            .find(|hold| self.resolved.contains_key(hold));
        assert_eq!(both, None, "L05: a hold is open and resolved");
        self.open.values().for_each(Hold::check);
        assert_eq!(self.lapsed.len(), self.lapses.len());
        let expired = |hold| self.resolved.get(hold) == Some(&Resolution::Expired);
        assert!(
            self.lapsed.keys().all(expired),
            "L34: only what expired and was not paid may be paid late"
        );
    }
}

/// All µc that may exist: a quarter of 64 bits, so that no sum of two balances can wrap.
pub const SUPPLY_MAX: Micros = u64::MAX / 4;
