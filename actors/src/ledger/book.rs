//! The ledger's core: orders come in, entries go to the disk, and answers leave after them.
//!
//! ```text
//! Hold, Settle, Grant ──> entries of the next batch ──Persist──> disk
//!                         answers wait with them    <─Persisted─
//! ```
//!
//! One batch is in flight at a time; what comes meanwhile makes the next one, so many requests share one fsync.
//! An order that was carried out before is answered as before, and changes nothing (L07).

use super::accounts::{Accounts, Resolution, SUPPLY_MAX};
use super::entry::{Batch, Entry, Fact};
use super::protocol::{Effect, GrantError, Input, Outcome};
use crate::contract::{Core, Time};
use crate::ids::{Digest, HoldId, MemberId};
use crate::price::{Micros, Prices};
use crate::receipt::Signed;
use crate::scheduler::protocol::{HoldOrder, Refusal};

/// The books.
#[derive(Debug)]
pub struct Book {
    accounts: Accounts,
    prices: Prices,
    head: Digest,
    sequence: u64,
    last: Time,
    batches: u64,
    next: Vec<Entry>,
    next_answers: Vec<Effect>,
    flight: Option<u64>,
    flight_answers: Vec<Effect>,
}

/// A book that cannot be opened: its entries break a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {sequence}: {rule}")]
pub struct ReplayError {
    /// The entry.
    pub sequence: u64,
    /// What it breaks.
    pub rule: String,
}

impl Default for Book {
    fn default() -> Book {
        Book::new(Prices::REFERENCE)
    }
}

impl Book {
    /// Empty books under a price table.
    pub fn new(prices: Prices) -> Book {
        Book {
            accounts: Accounts::default(),
            prices,
            head: Digest([0; 32]),
            sequence: 0,
            last: Time(0),
            batches: 0,
            next: Vec::new(),
            next_answers: Vec::new(),
            flight: None,
            flight_answers: Vec::new(),
        }
    }

    /// The books that durable entries make, from the first one on: the chain, the order of times and every
    /// movement are checked again (L17, L18, L28).
    pub fn replay(
        prices: Prices,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<Book, ReplayError> {
        let mut book = Book::new(prices);
        for entry in entries {
            let broken = |rule: &str| ReplayError {
                sequence: entry.sequence,
                rule: rule.to_owned(),
            };
            if entry.sequence != book.sequence + 1 {
                return Err(broken("an entry is missing before it"));
            }
            if entry.previous != book.head {
                return Err(broken("L18: the chain is broken before it"));
            }
            if entry.at <= book.last {
                return Err(broken("L17: it is not later than the one before it"));
            }
            book.accounts.apply(&entry.fact).map_err(broken)?;
            book.sequence = entry.sequence;
            book.last = entry.at;
            book.head = entry.hash();
        }
        Ok(book)
    }

    /// Accounts and holds, as they will be when everything in flight is durable.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Entries so far, and the hash of the last one.
    pub fn head(&self) -> (u64, Digest) {
        (self.sequence, self.head)
    }

    /// The price table in force.
    pub fn prices(&self) -> &Prices {
        &self.prices
    }

    fn enter(&mut self, now: Time, fact: Fact) {
        self.accounts
            .apply(&fact)
            .expect("an order is checked before it becomes a fact");
        let at = now.max(self.last.plus_ms(1));
        let entry = Entry {
            sequence: self.sequence + 1,
            at,
            previous: self.head,
            fact,
        };
        self.sequence = entry.sequence;
        self.last = at;
        self.head = entry.hash();
        self.next.push(entry);
    }

    /// Sends an answer once everything entered so far is durable.
    fn answer(&mut self, effect: Effect, out: &mut Vec<Effect>) {
        if !self.next.is_empty() {
            self.next_answers.push(effect);
        } else if self.flight.is_some() {
            self.flight_answers.push(effect);
        } else {
            out.push(effect);
        }
    }

    fn flush(&mut self, out: &mut Vec<Effect>) {
        if self.flight.is_some() || self.next.is_empty() {
            return;
        }
        self.batches += 1;
        self.flight = Some(self.batches);
        self.flight_answers = std::mem::take(&mut self.next_answers);
        let entries = std::mem::take(&mut self.next);
        out.push(Effect::Persist(Batch {
            number: self.batches,
            entries,
        }));
    }

    fn full(&self) -> bool {
        self.next.len() >= BATCH_MAX || self.flight_answers.len() >= BATCH_MAX
    }

    fn grant(
        &mut self,
        now: Time,
        id: [u8; 16],
        (member, name, amount): (MemberId, String, Micros),
    ) -> Result<(), GrantError> {
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
        if self.full() {
            return Err(GrantError::Unwritten);
        }
        self.enter(
            now,
            Fact::Grant {
                id,
                member,
                name,
                amount,
            },
        );
        Ok(())
    }

    fn hold(&mut self, now: Time, order: &HoldOrder) -> Result<HoldId, Refusal> {
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
            let same = before.payee == order.payee && before.worker == order.worker;
            if same && before.amount == amount {
                return Ok(hold);
            }
        }
        if self.full() {
            return Err(Refusal::LedgerUnavailable);
        }
        let mine = before.as_ref().map_or(0, |before| before.amount);
        let available = self.accounts.available(order.payer) + mine;
        if amount > available {
            if before.is_none() {
                self.enter(
                    now,
                    Fact::Refused {
                        hold,
                        needed: amount,
                    },
                );
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
                amount,
                prices: self.prices.version(),
                expires: now.plus_ms(order.term_ms.min(TERM_MS_MAX)),
            }
        };
        self.enter(now, fact);
        Ok(hold)
    }

    /// The answer to a receipt; `None` where there is no room to carry it out now, and it will come again.
    fn settle(&mut self, now: Time, signed: &Signed) -> Option<Outcome> {
        let receipt = &signed.receipt;
        let rejected = |reason: &str| {
            Some(Outcome::Rejected {
                reason: reason.to_owned(),
            })
        };
        match self.accounts.resolution(receipt.hold) {
            Some(Resolution::Posted(amount, by)) if by == receipt.digest() => {
                return Some(Outcome::Settled { amount });
            }
            Some(Resolution::Posted(..)) => return rejected("L05: another receipt settled it"),
            Some(Resolution::Expired) => return rejected("the hold has expired"),
            Some(Resolution::Refused(_)) => return rejected("there was no hold"),
            None => {}
        }
        let Some(hold) = self.accounts.open().get(&receipt.hold) else {
            return rejected("there is no such hold");
        };
        if hold.request != receipt.request {
            return rejected("the receipt is for another request");
        }
        if hold.client != receipt.client || hold.worker != receipt.worker {
            return rejected("the receipt is between others than the hold");
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
        let amount = if hold.payer == hold.payee { 0 } else { cost };
        if amount > hold.amount {
            return rejected("L06: it costs more than was held");
        }
        if self.full() {
            return None;
        }
        let post = Fact::Post {
            hold: receipt.hold,
            amount,
            receipt: receipt.digest(),
        };
        self.enter(now, post);
        Some(Outcome::Settled { amount })
    }
}

impl Core for Book {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Grant {
                id,
                member,
                name,
                amount,
            } => {
                let outcome = self.grant(now, id, (member, name, amount));
                self.answer(Effect::Granted { id, outcome }, out);
            }
            Input::Hold(order) => {
                let request = order.request;
                let effect = match self.hold(now, &order) {
                    Ok(hold) => Effect::Held { request, hold },
                    Err(refusal) => Effect::NotHeld { request, refusal },
                };
                self.answer(effect, out);
            }
            Input::Settle {
                from,
                parcel,
                receipt,
            } => {
                if let Some(outcome) = self.settle(now, &receipt) {
                    self.answer(
                        Effect::Answer {
                            to: from,
                            parcel,
                            outcome,
                        },
                        out,
                    );
                }
            }
            Input::Persisted { batch } => {
                if self.flight == Some(batch) {
                    self.flight = None;
                    out.append(&mut self.flight_answers);
                }
            }
            // Whether the batch is on the disk is unknown: nothing more may be said from this state.
            Input::PersistFailed { .. } => {
                self.next_answers.clear();
                self.flight_answers.clear();
            }
        }
        self.flush(out);
    }

    fn deadline(&self) -> Option<Time> {
        self.accounts.next_expiry().map(|(at, _)| at)
    }

    fn wake(&mut self, now: Time, out: &mut Vec<Effect>) {
        while let Some((_, hold)) = self.accounts.next_expiry().filter(|(at, _)| *at <= now) {
            self.enter(now, Fact::Expire { hold });
        }
        self.flush(out);
    }

    fn check(&self) {
        self.accounts.check();
        assert!(
            self.next.is_empty() || self.flight.is_some(),
            "entries wait only for a commit"
        );
        assert!(
            self.flight.is_some() || self.flight_answers.is_empty(),
            "answers leave with it"
        );
        let first = self
            .next
            .first()
            .map_or(self.sequence + 1, |entry| entry.sequence);
        assert_eq!(
            first + self.next.len() as u64,
            self.sequence + 1,
            "entries have no gaps"
        );
    }
}

/// Entries that may wait for one commit; beyond it the books are busy.
const BATCH_MAX: usize = 4096;
/// Milliseconds a hold may last, at most: two hours.
const TERM_MS_MAX: u64 = 2 * 60 * 60 * 1000;
/// Bytes of a member's name, at most.
const NAME_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests;
