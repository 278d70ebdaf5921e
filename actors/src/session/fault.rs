//! Whose fault it was that an attempt, or a request, did not come to its good end: decided here, from what the session
//! saw, and nowhere else.
//!
//! A request that no worker can take must not be held against workers, nor a link that broke; so what is seen is sorted
//! before anybody is blamed. A session does not see behind a silence: a worker that was killed and one that cannot be
//! reached are the same to it, and neither is proven to be at fault.

use super::protocol::Trouble;
use crate::doorkeeper::protocol::Turnaway;
use crate::generate::Failure;
use crate::scheduler::protocol::Refusal;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Who is at fault. Only a worker's fault counts against it when the next one is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Fault {
    /// What was asked for: every worker would say the same.
    Request,
    /// The worker: it broke its engine, its word or its promise.
    Worker,
    /// The way between the client's node and the worker, as far as can be seen from here.
    Link,
    /// The client, its node or its member.
    Client,
    /// The troop: nobody is free, a door is just open, a machine is wanted by its owner, a key is not known yet.
    Pool,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Request => "request",
            Fault::Worker => "worker",
            Fault::Link => "link",
            Fault::Client => "client",
            Fault::Pool => "pool",
        })
    }
}

/// Why an attempt was given up, as its session saw it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// Nothing came for longer than its steps explain.
    #[error("the worker fell silent")]
    Silent,
    /// It spoke, and got no further.
    #[error("the worker made no progress")]
    Stuck,
    /// A token came before the one before it.
    #[error("a part of the stream was lost")]
    Gap,
    /// It said two things of one position.
    #[error("the worker contradicts itself")]
    Contradiction,
    /// It ended what nobody had cancelled.
    #[error("the worker stopped before the end")]
    Stopped,
    /// It signed for something else.
    #[error("the worker's receipt differs from what it delivered")]
    Receipt,
    /// Its engine died, as it says itself.
    #[error("the engine died")]
    Engine,
    /// The stream ended without a last word.
    #[error("the stream to the worker broke")]
    Broken,
    /// Its door stayed shut.
    #[error("{0}")]
    Turned(Turnaway),
}

impl Loss {
    /// Whose fault it was.
    pub fn fault(&self) -> Fault {
        match self {
            Loss::Silent | Loss::Gap | Loss::Broken => Fault::Link,
            Loss::Stuck | Loss::Contradiction | Loss::Stopped | Loss::Receipt | Loss::Engine => {
                Fault::Worker
            }
            Loss::Turned(turnaway) => of_turnaway(turnaway),
        }
    }
}

fn of_turnaway(turnaway: &Turnaway) -> Fault {
    match turnaway {
        Turnaway::Beyond { .. } => Fault::Request,
        Turnaway::Full { .. } | Turnaway::ClockUnsafe { .. } => Fault::Worker,
        Turnaway::Revoked => Fault::Client,
        Turnaway::Ticket(_)
        | Turnaway::Window
        | Turnaway::Used
        | Turnaway::Draining
        | Turnaway::OtherClass { .. }
        | Turnaway::New => Fault::Pool,
    }
}

impl Failure {
    /// Whose fault it is that the request failed.
    pub fn fault(&self) -> Fault {
        match self {
            Failure::ContextLength { .. }
            | Failure::EmptyPrompt
            | Failure::NoTemplate
            | Failure::Template { .. }
            | Failure::Invalid { .. }
            | Failure::Overtime { .. } => Fault::Request,
            // The arithmetic is the same everywhere: so is what comes of it.
            Failure::NonFinite { .. } => Fault::Pool,
            Failure::Cancelled => Fault::Client,
        }
    }
}

impl Trouble {
    /// Whose fault it is that the request failed; `last` is that of the attempt that was lost last.
    pub fn fault(&self, last: Option<Fault>) -> Fault {
        match self {
            Trouble::Refused(refusal) => refusal.fault(),
            Trouble::Failed(failure) => failure.fault(),
            Trouble::QueueTimeout { .. } => Fault::Pool,
            Trouble::Lost { .. } => last.unwrap_or(Fault::Pool),
            Trouble::Interrupted => Fault::Client,
        }
    }
}

impl Refusal {
    /// Whose fault it is that the request was refused.
    pub fn fault(&self) -> Fault {
        match self {
            Refusal::Invalid { .. } | Refusal::Over => Fault::Request,
            Refusal::Credits { .. } => Fault::Client,
            Refusal::Busy { .. } | Refusal::NoWorker | Refusal::LedgerUnavailable => Fault::Pool,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ticket::TicketError;

    #[test]
    fn nobody_but_a_worker_is_blamed_for_a_workers_fault() {
        let field = || "messages".to_owned();
        let beyond = Turnaway::Beyond {
            field: field(),
            allowed: String::new(),
            found: String::new(),
        };
        let turned = [
            (beyond, Fault::Request),
            (Turnaway::Full { limit: 1 }, Fault::Worker),
            (Turnaway::ClockUnsafe { offset_ms: 1 }, Fault::Worker),
            (Turnaway::Revoked, Fault::Client),
            (Turnaway::Ticket(TicketError::UnknownKey), Fault::Pool),
            (Turnaway::Window, Fault::Pool),
            (Turnaway::Draining, Fault::Pool),
        ];
        let losses = [
            (Loss::Silent, Fault::Link),
            (Loss::Broken, Fault::Link),
            (Loss::Engine, Fault::Worker),
            (Loss::Contradiction, Fault::Worker),
            (Loss::Receipt, Fault::Worker),
        ];
        let turned = turned.map(|(turnaway, fault)| (Loss::Turned(turnaway), fault));
        for (loss, fault) in losses.into_iter().chain(turned) {
            assert_eq!(loss.fault(), fault, "{loss}");
        }
        // Whatever is wrong with a request is answered with a 4xx, and held against nobody.
        let message = String::new;
        let failures = [
            Failure::EmptyPrompt,
            Failure::NoTemplate,
            Failure::Template { message: message() },
            Failure::Invalid {
                field: field(),
                message: message(),
            },
            Failure::ContextLength {
                prompt: 2,
                context: 1,
            },
        ];
        for failure in failures {
            let trouble = Trouble::Failed(failure);
            assert_eq!(trouble.fault(Some(Fault::Worker)), Fault::Request);
        }
        let attempts = 4;
        let lost = Trouble::Lost {
            attempts,
            reason: String::new(),
        };
        assert_eq!(lost.fault(Some(Fault::Link)), Fault::Link);
    }
}
