//! The ledger's core: orders come in, entries go to the disk, and answers leave after them.
//!
//! ```text
//! Hold, Settle, Claim, Grant ──> entries of the next batch ──Persist──> disk
//!                         answers wait with them    <─Persisted─
//! ```
//!
//! One batch is in flight at a time; what comes meanwhile makes the next one, so many requests share one fsync.
//! An order that was carried out before is answered as before, and changes nothing (L07). What waits is bounded:
//! beyond it a hold is refused and a receipt is left to come again.

use super::accounts::Accounts;
use super::entry::{Batch, Entry, Fact};
use super::protocol::{Effect, Input, Outcome};
use crate::contract::{Core, Time};
use crate::ids::Digest;
use crate::outbox::protocol::of_worker;
use crate::price::Prices;
use crate::receipt::Receipt;
use crate::scheduler::protocol::Refusal;

/// The books.
#[derive(Debug)]
pub struct Book {
    accounts: Accounts,
    prices: Prices,
    head: Digest,
    sequence: u64,
    last: Time,
    durable: (u64, Digest),
    batches: u64,
    next: Vec<Entry>,
    next_answers: Vec<Effect>,
    flight: Option<Flight>,
    failed: bool,
    /// When it was first heard from: outboxes may have waited for it.
    opened: Option<Time>,
}

/// The batch that the disk is writing, and what is said when it has.
#[derive(Debug)]
struct Flight {
    batch: u64,
    head: (u64, Digest),
    answers: Vec<Effect>,
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
            durable: (0, Digest([0; 32])),
            batches: 0,
            next: Vec::new(),
            next_answers: Vec::new(),
            flight: None,
            failed: false,
            opened: None,
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
            book.take_in(&entry)?;
        }
        Ok(book)
    }

    /// Takes in the next durable entry of a replay. One that breaks a rule changes nothing.
    pub fn take_in(&mut self, entry: &Entry) -> Result<(), ReplayError> {
        let broken = |rule: &str| ReplayError {
            sequence: entry.sequence,
            rule: rule.to_owned(),
        };
        assert_eq!(
            self.durable.0, self.sequence,
            "a replay comes before any order"
        );
        if entry.sequence != self.sequence + 1 {
            return Err(broken("an entry is missing before it"));
        }
        if entry.previous != self.head {
            return Err(broken("L18: the chain is broken before it"));
        }
        if entry.at <= self.last {
            return Err(broken("L17: it is not later than the one before it"));
        }
        self.accounts.apply(&entry.fact).map_err(broken)?;
        self.sequence = entry.sequence;
        self.last = entry.at;
        self.head = entry.hash();
        self.durable = self.head();
        Ok(())
    }

    /// Accounts and holds, as they will be when everything in flight is durable.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Entries so far, and the hash of the last one.
    pub fn head(&self) -> (u64, Digest) {
        (self.sequence, self.head)
    }

    /// Entries that are known to be on the disk, and the hash of the last one.
    pub fn durable(&self) -> (u64, Digest) {
        self.durable
    }

    /// The price table in force.
    pub fn prices(&self) -> &Prices {
        &self.prices
    }

    /// Makes `fact` the next entry, or says which rule it would break and changes nothing.
    fn enter(&mut self, now: Time, fact: Fact) -> Result<(), &'static str> {
        let at = now.max(self.last.plus_ms(1));
        if at <= self.last {
            return Err("L17: there is no later time");
        }
        self.accounts.apply(&fact)?;
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
        Ok(())
    }

    /// Sends an answer once everything entered so far is durable (L21).
    fn answer(&mut self, effect: Effect, out: &mut Vec<Effect>) {
        match &mut self.flight {
            _ if !self.next.is_empty() => self.next_answers.push(effect),
            Some(flight) => flight.answers.push(effect),
            None => out.push(effect),
        }
    }

    fn flush(&mut self, out: &mut Vec<Effect>) {
        if self.flight.is_some() || self.next.is_empty() {
            return;
        }
        self.batches += 1;
        self.flight = Some(Flight {
            batch: self.batches,
            head: self.head(),
            answers: std::mem::take(&mut self.next_answers),
        });
        let entries = std::mem::take(&mut self.next);
        out.push(Effect::Persist(Batch {
            number: self.batches,
            entries,
        }));
    }

    /// Whether nothing more can be taken in: the disk is too far behind, or has failed.
    fn busy(&self) -> bool {
        let in_flight = self.flight.as_ref().map_or(0, |f| f.answers.len());
        self.failed || in_flight + self.next_answers.len() >= ANSWERS_MAX
    }
}

impl Core for Book {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        self.opened.get_or_insert(now);
        match input {
            Input::Grant {
                id,
                member,
                name,
                amount,
            } => {
                // Grants come only from this node's own operator, whose calls the shell bounds: their answers
                // keep their order.
                let outcome = self.grant(now, id, (member, name, amount));
                self.answer(Effect::Granted { id, outcome }, out);
            }
            Input::Hold(order) => {
                let (request, number) = (order.request, order.number);
                let not_held = |refusal| Effect::NotHeld {
                    request,
                    number,
                    refusal,
                };
                if self.busy() {
                    // Nothing was done, so nothing need be durable before this is said.
                    return out.push(not_held(Refusal::LedgerUnavailable));
                }
                let effect = match self.hold(now, &order) {
                    Ok((hold, worker)) => Effect::Held {
                        request,
                        hold,
                        number,
                        worker,
                        standby: self.stand_by(now, &order),
                    },
                    Err(refusal) => not_held(refusal),
                };
                self.answer(effect, out);
            }
            // A receipt or a claim that is not answered comes again.
            Input::Settle { .. } | Input::Claim { .. } if self.busy() => return,
            Input::Settle {
                from,
                parcel,
                receipt,
            } => {
                let outcome = self.settle(now, &receipt);
                let paid = matches!(outcome, Outcome::Settled { .. });
                let answer = Effect::Answer {
                    to: from,
                    parcel,
                    outcome,
                };
                self.answer(answer, out);
                let Receipt {
                    worker, attempt, ..
                } = receipt.receipt;
                if paid && parcel != of_worker(attempt) {
                    self.answer(Effect::Paid { worker, attempt }, out);
                }
            }
            Input::Claim {
                from,
                parcel,
                claim,
            } => {
                if let Some(outcome) = self.claim(now, &claim) {
                    let answer = Effect::Answer {
                        to: from,
                        parcel,
                        outcome,
                    };
                    self.answer(answer, out);
                }
            }
            Input::Persisted { batch } => {
                if let Some(flight) = self.flight.take_if(|flight| flight.batch == batch) {
                    self.durable = flight.head;
                    out.extend(flight.answers);
                }
            }
            // Whether the batch is on the disk is unknown: nothing more may be said from this state.
            Input::PersistFailed { .. } => {
                self.failed = true;
                self.next.clear();
                self.next_answers.clear();
                self.flight = None;
            }
        }
        self.flush(out);
    }

    fn deadline(&self) -> Option<Time> {
        if self.failed || self.next.len() >= EXPIRIES_MAX {
            return None;
        }
        self.next_end().map(|(at, _)| at)
    }

    fn wake(&mut self, now: Time, out: &mut Vec<Effect>) {
        self.opened.get_or_insert(now);
        // The others come with the next batch: `deadline` is in the past again once this one is durable.
        while self.deadline().is_some_and(|at| at <= now) {
            let (_, hold) = self.next_end().expect("a deadline is a hold's");
            if self.end(now, hold).is_err() {
                break;
            }
        }
        self.flush(out);
    }

    fn check(&self) {
        self.accounts.check();
        let (last, _) = self.durable;
        match &self.flight {
            _ if self.failed => {}
            Some(flight) => assert!(last < flight.head.0, "what is in flight is not durable"),
            None => {
                assert!(self.next.is_empty(), "entries wait only for a commit");
                assert_eq!(self.durable, self.head(), "what is written is durable");
            }
        }
        assert!(
            !self.next.is_empty() || self.next_answers.is_empty(),
            "answers wait only for entries"
        );
        if let Some(first) = self.next.first() {
            let count = self.next.len() as u64;
            assert_eq!(
                first.sequence + count,
                self.sequence + 1,
                "entries have no gaps"
            );
        }
    }
}

/// Answers that may wait for the disk; beyond it the books are busy.
const ANSWERS_MAX: usize = 4096;
/// Expiries that may be entered in one batch; the others wait for the next.
const EXPIRIES_MAX: usize = 4096;
mod claims;
mod orders;
#[cfg(test)]
mod tests;
