//! The ledger, reckoned a second time from its entries alone, by the plainest means.
//!
//! It sees the entries as they are handed to the disk and the receipts as they arrive at the coordinator. It
//! shares no arithmetic with the ledger's core: balances here are signed sums over all entries so far.

use super::{Verdict, require};
mod claims;
mod receipts;

use std::collections::{BTreeMap, BTreeSet};
use troop_actors::contract::Time;
use troop_actors::ids::{AttemptId, Digest, HoldId, MemberId, NodeId};
use troop_actors::ledger::{Entry, Fact};
use troop_actors::price::Micros;
use troop_actors::receipt::Receipt;

/// The second set of books.
#[derive(Clone, Debug, Default)]
pub struct Books {
    accounts: BTreeMap<MemberId, Account>,
    minted: i128,
    grants: BTreeSet<[u8; 16]>,
    holds: BTreeMap<HoldId, Hold>,
    refused: BTreeSet<HoldId>,
    receipts: BTreeMap<Digest, Receipt>,
    vouchers: BTreeMap<Digest, Receipt>,
    paid: BTreeSet<AttemptId>,
    sequence: u64,
    at: Option<Time>,
    head: Option<Digest>,
}

/// One member's reckoning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Everything received less everything paid.
    pub balance: i128,
    /// Of that, set aside.
    pub held: i128,
}

#[derive(Clone, Debug)]
struct Hold {
    payer: MemberId,
    payee: MemberId,
    client: NodeId,
    worker: NodeId,
    /// Every attempt that it was ever for, and its one worker.
    attempts: BTreeMap<u32, NodeId>,
    /// And whom each of them would pay.
    payees: BTreeMap<u32, MemberId>,
    /// The best claim: by which voucher, of which attempt, and what it comes to.
    noted: Option<(Digest, u32, Micros)>,
    /// It was paid by a receipt.
    is_posted: bool,
    /// It was paid by a claim that came after its term.
    is_late: bool,
    /// Attempts later than the present one, and whom they would pay.
    standbys: BTreeMap<u32, (NodeId, MemberId)>,
    amount: Micros,
    expires: Time,
    resolved: bool,
    /// It is resolved by its term, and no receipt has come since.
    expired: bool,
}

impl Hold {
    /// An attempt has one worker for ever: its ticket may be out.
    fn directed(&mut self, hold: HoldId, number: u32, worker: NodeId) -> Verdict {
        let first = *self.attempts.entry(number).or_insert(worker);
        require(first == worker, "an attempt has one worker", || {
            format!("attempt {number} of {hold:?} was for {first:?} and is now for {worker:?}")
        })
    }
}

impl Books {
    /// The next entry of the books. `hash` is the entry's own, which the one after it must name.
    pub fn enter(&mut self, entry: &Entry, hash: Digest) -> Verdict {
        require(entry.sequence == self.sequence + 1, "L18 chain", || {
            format!("entry {} follows entry {}", entry.sequence, self.sequence)
        })?;
        if let Some(head) = self.head {
            require(entry.previous == head, "L18 chain", || {
                format!("entry {} does not name the one before it", entry.sequence)
            })?;
        }
        require(
            self.at.is_none_or(|at| entry.at > at),
            "L17 monotone-ts",
            || {
                format!(
                    "entry {} is at {:?}, the one before at {:?}",
                    entry.sequence, entry.at, self.at
                )
            },
        )?;
        self.sequence = entry.sequence;
        self.at = Some(entry.at);
        self.head = Some(hash);
        self.fact(entry.at, &entry.fact)?;
        self.conserved()
    }

    fn fact(&mut self, at: Time, fact: &Fact) -> Verdict {
        match fact {
            Fact::Grant {
                id, member, amount, ..
            } => {
                require(self.grants.insert(*id), "L07 idempotent-replay", || {
                    format!("grant {id:02x?} was entered twice")
                })?;
                self.minted += i128::from(*amount);
                self.account(*member).balance += i128::from(*amount);
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
                prices: _,
                expires,
            } => {
                require(HoldId::of(*request) == *hold, "L05 resolve-once", || {
                    format!("{hold:?} is not the hold of {request:?}")
                })?;
                require(!self.holds.contains_key(hold), "L05 resolve-once", || {
                    format!("{hold:?} was made twice")
                })?;
                require(!self.refused.contains(hold), "L10 sticky-failure", || {
                    format!("{hold:?} was refused and then made")
                })?;
                require(*expires > at, "L05 resolve-once", || {
                    format!("{hold:?} had expired when it was made")
                })?;
                let account = self.account(*payer);
                let available = account.balance - account.held;
                require(i128::from(*amount) <= available, "L04 no-overdraft", || {
                    format!("{hold:?} takes {amount} of {available}")
                })?;
                account.held += i128::from(*amount);
                self.holds.insert(
                    *hold,
                    Hold {
                        payer: *payer,
                        payee: *payee,
                        client: *client,
                        worker: *worker,
                        attempts: BTreeMap::from([(*number, *worker)]),
                        payees: BTreeMap::from([(*number, *payee)]),
                        noted: None,
                        is_posted: false,
                        is_late: false,
                        standbys: BTreeMap::new(),
                        amount: *amount,
                        expires: *expires,
                        resolved: false,
                        expired: false,
                    },
                );
            }
            Fact::Redirect {
                hold,
                payee,
                worker,
                number,
                amount,
            } => {
                let found = self.holds.get_mut(hold);
                let found = found.filter(|found| !found.resolved || found.expired);
                require(found.is_some(), "L05 resolve-once", || {
                    format!("{hold:?} is redirected and is not open")
                })?;
                let found = found.expect("required above");
                let named = found.standbys.remove(number);
                require(
                    named.is_none_or(|named| named == (*worker, *payee)),
                    "an attempt has one worker",
                    || {
                        format!(
                            "attempt {number} of {hold:?} stood by at {named:?}, not {worker:?}"
                        )
                    },
                )?;
                found.directed(*hold, *number, *worker)?;
                let payer = found.payer;
                let claimable = found.payees.values().any(|payee| *payee != payer);
                require(
                    !claimable || *amount >= found.amount,
                    "what may be claimed stays set aside",
                    || format!("{hold:?} shrinks from {} to {amount}", found.amount),
                )?;
                found.payees.insert(*number, *payee);
                found.standbys.retain(|later, _| later > number);
                (found.payee, found.worker) = (*payee, *worker);
                if found.expired {
                    return require(
                        named.is_some() && *amount <= found.amount,
                        "L34 late-receipt",
                        || format!("{hold:?} expired and goes to one that did not stand by"),
                    );
                }
                self.set_aside(*hold, *amount)?;
            }
            Fact::Standby {
                hold,
                payee,
                worker,
                number,
                amount,
            } => {
                let found = self.open_hold(*hold)?;
                found.directed(*hold, *number, *worker)?;
                found.payees.insert(*number, *payee);
                found.standbys.insert(*number, (*worker, *payee));
                require(found.standbys.len() <= 4, "standbys are few", || {
                    format!("{} stand by for {hold:?}", found.standbys.len())
                })?;
                require(*amount >= found.amount, "L03 pending-zero", || {
                    format!("{hold:?} shrinks to {amount} while somebody stands by")
                })?;
                self.set_aside(*hold, *amount)?;
            }
            Fact::Refused { hold, .. } => {
                require(!self.holds.contains_key(hold), "L10 sticky-failure", || {
                    format!("{hold:?} was made and then refused")
                })?;
                self.refused.insert(*hold);
            }
            Fact::Post {
                hold,
                amount,
                receipt,
            } => {
                let found = self.resolve(*hold)?;
                require(*amount <= found.amount, "L06 post-le-hold", || {
                    format!("{hold:?} holds {}, {amount} are paid", found.amount)
                })?;
                self.priced(*hold, &found, *amount, *receipt, None)?;
                self.settled(*hold, receipt);
                let payer = self.account(found.payer);
                payer.held -= i128::from(found.amount);
                payer.balance -= i128::from(*amount);
                self.account(found.payee).balance += i128::from(*amount);
            }
            Fact::Expire { hold } => {
                let found = self.resolve(*hold)?;
                require(at >= found.expires, "L05 resolve-once", || {
                    format!("{hold:?} expired at {at:?}, before {:?}", found.expires)
                })?;
                self.account(found.payer).held -= i128::from(found.amount);
                if let Some(found) = self.holds.get_mut(hold) {
                    found.expired = true;
                }
            }
            Fact::Late {
                hold,
                amount,
                receipt,
            } => {
                let found = self.holds.get_mut(hold).filter(|found| found.expired);
                let late = found.map(|found| {
                    found.expired = false;
                    found.clone()
                });
                require(late.is_some(), "L05 resolve-once", || {
                    format!("{hold:?} is paid late and was not released before")
                })?;
                let found = late.expect("required above");
                let day = 24 * 60 * 60 * 1000;
                require(at <= found.expires.plus_ms(day), "L34 late-receipt", || {
                    format!(
                        "{hold:?} is paid at {at:?}, a day after {:?}",
                        found.expires
                    )
                })?;
                let payer = self.account(found.payer);
                let left = payer.balance - payer.held;
                self.priced(*hold, &found, *amount, *receipt, Some(left))?;
                self.settled(*hold, receipt);
                self.account(found.payer).balance -= i128::from(*amount);
                self.account(found.payee).balance += i128::from(*amount);
            }
            Fact::Claim {
                hold,
                number,
                amount,
                voucher,
            } => self.noted(*hold, *number, *amount, *voucher)?,
            Fact::Vouched {
                hold,
                amount,
                voucher,
            } => self.vouched(at, *hold, *amount, *voucher)?,
        }
        Ok(())
    }

    /// What is set aside for an open hold changes to `amount`.
    fn set_aside(&mut self, hold: HoldId, amount: Micros) -> Verdict {
        let found = self.open_hold(hold)?;
        let before = std::mem::replace(&mut found.amount, amount);
        let payer = found.payer;
        let account = self.account(payer);
        account.held += i128::from(amount) - i128::from(before);
        require(account.held <= account.balance, "L04 no-overdraft", || {
            format!("{hold:?} now takes {amount}, more than there is")
        })
    }

    /// A hold ends once.
    fn resolve(&mut self, hold: HoldId) -> Result<Hold, super::Violation> {
        let found = self.open_hold(hold)?;
        found.resolved = true;
        Ok(found.clone())
    }

    fn open_hold(&mut self, hold: HoldId) -> Result<&mut Hold, super::Violation> {
        let found = self.holds.get_mut(&hold);
        require(
            found.as_ref().is_some_and(|found| !found.resolved),
            "L05 resolve-once",
            || format!("{hold:?} is resolved twice, or was never made"),
        )?;
        Ok(found.expect("a hold that is open exists: required above"))
    }

    /// Nothing is made or lost but by the mint (L01, L02), and what is set aside is what holds say (L03).
    fn conserved(&self) -> Verdict {
        let balances: i128 = self.accounts.values().map(|account| account.balance).sum();
        require(balances == self.minted, "L01 sum-zero", || {
            format!("{} were minted, accounts hold {balances}", self.minted)
        })?;
        let held: i128 = self.accounts.values().map(|account| account.held).sum();
        let open: i128 = self
            .holds
            .values()
            .filter(|hold| !hold.resolved)
            .map(|hold| i128::from(hold.amount))
            .sum();
        require(held == open, "L03 pending-zero", || {
            format!("open holds come to {open}, accounts have set aside {held}")
        })
    }

    /// Whether a receipt's payment is on the disk.
    pub fn is_paid(&self, parcel: AttemptId) -> bool {
        self.paid.contains(&parcel)
    }

    /// Whether the disk says that this attempt of a hold is, or was, for this worker.
    pub fn is_directed(&self, hold: HoldId, number: u32, worker: NodeId) -> bool {
        let found = self.holds.get(&hold);
        found.is_some_and(|found| found.attempts.get(&number) == Some(&worker))
    }

    /// Whether a grant is on the disk.
    pub fn is_granted(&self, id: [u8; 16]) -> bool {
        self.grants.contains(&id)
    }

    /// The reckoning of one member.
    pub fn of(&self, member: MemberId) -> Account {
        self.accounts.get(&member).copied().unwrap_or_default()
    }

    /// Every member's reckoning.
    pub fn accounts(&self) -> &BTreeMap<MemberId, Account> {
        &self.accounts
    }

    /// Holds that are open, and when each is over.
    pub fn open(&self) -> impl Iterator<Item = (HoldId, Time)> {
        self.holds
            .iter()
            .filter(|(_, hold)| !hold.resolved)
            .map(|(id, hold)| (*id, hold.expires))
    }

    /// The number of the last entry and its hash.
    pub fn head(&self) -> (u64, Option<Digest>) {
        (self.sequence, self.head)
    }

    fn account(&mut self, member: MemberId) -> &mut Account {
        self.accounts.entry(member).or_default()
    }
}
