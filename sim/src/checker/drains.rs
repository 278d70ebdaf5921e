//! What must be over once the faults are: nothing is held, owed, running or waiting any more.

use super::{Verdict, require};

/// What a healed and idle troop still has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// Holds that are open.
    pub holds: usize,
    /// Parcels in outboxes.
    pub parcels: usize,
    /// Attempts that are over, and whose workers do not know that they are paid.
    pub dues: usize,
    /// Receipts that were on an outbox's disk and that no ledger has answered.
    pub owed: usize,
    /// Sessions that are open.
    pub sessions: usize,
    /// Sequences in engines, running or waiting.
    pub sequences: usize,
    /// Pages of engines that are not free.
    pub pages: usize,
}

impl Remains {
    /// Nothing may remain.
    pub fn none(&self) -> Verdict {
        let kinds = [
            ("requests end in time", self.sessions, "sessions are open"),
            ("holds drain", self.holds, "holds are open"),
            ("outbox drains", self.parcels, "parcels are undelivered"),
            ("evidence drains", self.dues, "attempts are due"),
            ("signed receipts are paid", self.owed, "receipts are unpaid"),
            (
                "engines come to rest",
                self.sequences,
                "sequences are in engines",
            ),
            ("pages are released", self.pages, "pages are not free"),
        ];
        for (invariant, count, what) in kinds {
            require(count == 0, invariant, || {
                format!("after healing, {count} {what}")
            })?;
        }
        Ok(())
    }
}
