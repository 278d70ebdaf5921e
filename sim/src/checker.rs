//! What must be true of a run, one file per property.
//!
//! A checker is told what happened and never asks the code under test whether it was right: it keeps its own
//! reckoning of the same facts and compares. [`books`] reckons the ledger again from its entries, [`streams`]
//! knows every right answer in advance, [`endings`] counts how requests end, [`tickets`] remembers which
//! attempts were let in, [`keys`] what tickets are signed with. What must become true once faults stop is in [`drains`].

pub mod books;
pub mod drains;
pub mod endings;
pub mod keys;
pub mod streams;
pub mod tickets;

/// A property that was found broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The property's name: an invariant of the specification, or the checker's own.
    pub invariant: &'static str,
    /// What was found, in a sentence.
    pub detail: String,
}

/// What a check comes to.
pub type Verdict = Result<(), Violation>;

/// The violation of `invariant`, unless `holds`.
pub fn require(holds: bool, invariant: &'static str, detail: impl FnOnce() -> String) -> Verdict {
    if holds {
        return Ok(());
    }
    Err(Violation {
        invariant,
        detail: detail(),
    })
}
