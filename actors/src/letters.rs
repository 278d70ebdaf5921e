//! What crosses between nodes, as its own types.
//!
//! A [`Message`] names its sender where a core wants to know it. A letter does not: who sent it is known
//! from the connection, so the field is left out here and filled in where it arrives. What has no form here
//! cannot leave a node.

use crate::contract::Time;
use crate::doorkeeper::protocol::Turnaway;
use crate::generate::{Event, Failure, Tally, Work};
use crate::ids::{AttemptId, NodeId, RequestId, Signature};
use crate::ledger::protocol::Outcome;
use crate::outbox::protocol::ParcelId;
use crate::receipt::{Claim, Half, Signed};
use crate::routing::Message;
use crate::scheduler::protocol::{Admit, Refusal, WorkerReport};
use crate::session::protocol::Grant;
use crate::ticket::{KeySet, Revocations};
use crate::{doorkeeper, engine_process, ledger, outbox, scheduler, session, ticket_issuer};
use serde::{Deserialize, Serialize};

/// A message on its way to another node, by the road it takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Mail {
    /// By the ordered channel of small letters.
    Letter(Letter),
    /// It opens a stream for its attempt.
    Knock(Box<Knock>),
    /// By the stream of its attempt, against the direction of the knock.
    Said(AttemptId, Said),
    /// By the stream of its attempt if there is one, by the channel if not.
    Cancel(AttemptId),
}

/// A small letter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Letter {
    /// A session wants a worker.
    Admit(Admit),
    /// A session is over.
    Finished {
        /// Its request.
        request: RequestId,
    },
    /// A worker's account of itself.
    Report(WorkerReport),
    /// A receipt to be paid.
    Settle {
        /// The parcel it came in.
        parcel: ParcelId,
        /// The receipt.
        receipt: Box<Signed>,
    },
    /// An attempt is to be stopped and signed for.
    Cancel {
        /// The attempt.
        attempt: AttemptId,
    },
    /// A session's request waits.
    Queued {
        /// The request.
        request: RequestId,
        /// How many are before it.
        ahead: u32,
    },
    /// A session's ticket.
    Granted {
        /// The request.
        request: RequestId,
        /// The ticket.
        grant: Box<Grant>,
    },
    /// A session is refused.
    Refused {
        /// The request.
        request: RequestId,
        /// The attempt that was asked for.
        number: u32,
        /// Why.
        refusal: Refusal,
    },
    /// An outbox's parcel is answered for good.
    Answered {
        /// Which parcel.
        parcel: ParcelId,
        /// What came of it.
        outcome: Outcome,
    },
    /// A door wants to know the time, what was taken back, and what tickets are signed with.
    Consult {
        /// What time it is there.
        sent: Time,
        /// The number of the list that it knows.
        list: u64,
        /// Since when the keys are in use that it knows.
        keys: Time,
    },
    /// The coordinator's answer.
    Told {
        /// What time it was at the door.
        sent: Time,
        /// What time it is here.
        there: Time,
        /// The list, if it is news.
        revocations: Option<Box<Revocations>>,
        /// The keys, if they are news.
        keys: Option<Box<KeySet>>,
    },
    /// A client vouches for what an attempt has delivered.
    Vouch {
        /// The attempt.
        attempt: AttemptId,
        /// What it has delivered.
        tally: Tally,
        /// The client's.
        signature: Signature,
    },
    /// A worker's claim.
    Claim {
        /// The parcel it came in.
        parcel: ParcelId,
        /// The claim.
        claim: Box<Claim>,
    },
    /// A worker's attempt is paid.
    Paid {
        /// The attempt.
        attempt: AttemptId,
    },
}

impl Letter {
    /// The message it is, coming from the node `from`.
    pub fn message(self, from: NodeId) -> Message {
        use session::protocol::Input as Session;
        match self {
            Letter::Admit(admit) => {
                Message::Scheduler(scheduler::protocol::Input::Admit(admit.into()))
            }
            Letter::Finished { request } => {
                let client = from;
                Message::Scheduler(scheduler::protocol::Input::Finished { client, request })
            }
            Letter::Report(report) => {
                Message::Scheduler(scheduler::protocol::Input::Report(report))
            }
            Letter::Settle { parcel, receipt } => {
                Message::Ledger(ledger::protocol::Input::Settle {
                    from,
                    parcel,
                    receipt,
                })
            }
            Letter::Cancel { attempt } => cancel(from, attempt),
            Letter::Queued { request, ahead } => {
                Message::Session(request, Session::Queued { ahead })
            }
            Letter::Granted { request, grant } => {
                Message::Session(request, Session::Granted(grant))
            }
            Letter::Refused {
                request,
                number,
                refusal,
            } => Message::Session(request, Session::Refused { number, refusal }),
            Letter::Answered { parcel, outcome } => {
                Message::Outbox(outbox::protocol::Input::Answered { parcel, outcome })
            }
            Letter::Consult { sent, list, keys } => {
                let door = from;
                Message::TicketIssuer(ticket_issuer::protocol::Input::Tell {
                    door,
                    sent,
                    list,
                    keys,
                })
            }
            Letter::Told {
                sent,
                there,
                revocations,
                keys,
            } => Message::Doorkeeper(doorkeeper::protocol::Input::Told {
                sent,
                there,
                revocations,
                keys,
            }),
            Letter::Vouch {
                attempt,
                tally,
                signature,
            } => Message::EngineProcess(engine_process::protocol::Input::Vouch {
                peer: from,
                attempt,
                tally,
                signature,
            }),
            Letter::Claim { parcel, claim } => Message::Ledger(ledger::protocol::Input::Claim {
                from,
                parcel,
                claim,
            }),
            Letter::Paid { attempt } => {
                Message::EngineProcess(engine_process::protocol::Input::Paid { attempt })
            }
        }
    }
}

/// The cancelling of `attempt` by the node `peer`.
pub fn cancel(peer: NodeId, attempt: AttemptId) -> Message {
    Message::EngineProcess(engine_process::protocol::Input::Cancel { peer, attempt })
}

/// The first thing on an attempt's stream: the ticket, and what is to be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Knock {
    /// The request.
    pub request: RequestId,
    /// The attempt.
    pub attempt: AttemptId,
    /// The ticket.
    pub ticket: String,
    /// What is to be done.
    pub work: Box<Work>,
}

impl Knock {
    /// The message it is, coming from the node `peer`.
    pub fn message(self, peer: NodeId) -> Message {
        let Knock {
            request,
            attempt,
            ticket,
            work,
        } = self;
        Message::Doorkeeper(doorkeeper::protocol::Input::Knock {
            peer,
            request,
            attempt,
            ticket,
            work,
        })
    }
}

/// What a worker says on an attempt's stream. Which attempt of which request it is, the stream says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Said {
    /// How it goes.
    Event(Event),
    /// The door stays shut. The last thing.
    Turned(Turnaway),
    /// The attempt is closed and signed for. The last thing.
    Closed {
        /// The worker's half of the receipt.
        half: Box<Half>,
        /// Why it failed, if it did.
        failure: Option<Failure>,
    },
    /// The attempt is lost. The last thing.
    Lost,
}

impl Said {
    /// Whether nothing follows it.
    pub fn is_last(&self) -> bool {
        match self {
            Said::Event(_) => false,
            Said::Turned(_) | Said::Closed { .. } | Said::Lost => true,
        }
    }

    /// The message it is, about `attempt` of `request`.
    pub fn message(self, request: RequestId, attempt: AttemptId) -> Message {
        use session::protocol::Input;
        let input = match self {
            Said::Event(event) => Input::Event { attempt, event },
            Said::Turned(reason) => Input::Turned { attempt, reason },
            Said::Closed { half, failure } => Input::Closed {
                attempt,
                half,
                failure,
            },
            Said::Lost => Input::Lost { attempt },
        };
        Message::Session(request, input)
    }
}

/// The road of `message` to another node; none for what actors of one node say to each other.
pub fn mail(message: Message) -> Option<Mail> {
    Some(match message {
        Message::Session(request, input) => {
            use session::protocol::Input;
            match input {
                Input::Queued { ahead } => Mail::Letter(Letter::Queued { request, ahead }),
                Input::Granted(grant) => Mail::Letter(Letter::Granted { request, grant }),
                Input::Refused { number, refusal } => Mail::Letter(Letter::Refused {
                    request,
                    number,
                    refusal,
                }),
                Input::Turned { attempt, reason } => Mail::Said(attempt, Said::Turned(reason)),
                Input::Event { attempt, event } => Mail::Said(attempt, Said::Event(event)),
                Input::Closed {
                    attempt,
                    half,
                    failure,
                } => Mail::Said(attempt, Said::Closed { half, failure }),
                Input::Lost { attempt } => Mail::Said(attempt, Said::Lost),
                Input::Begin | Input::Broken { .. } | Input::Posted { .. } | Input::HangUp => {
                    return None;
                }
            }
        }
        Message::Scheduler(input) => {
            use scheduler::protocol::Input;
            match input {
                Input::Admit(admit) => Mail::Letter(Letter::Admit(*admit)),
                Input::Finished { client: _, request } => {
                    Mail::Letter(Letter::Finished { request })
                }
                Input::Report(report) => Mail::Letter(Letter::Report(report)),
                Input::Held { .. } | Input::NotHeld { .. } | Input::Absent { .. } => {
                    return None;
                }
            }
        }
        Message::Ledger(input) => {
            use ledger::protocol::Input;
            match input {
                Input::Settle {
                    from: _,
                    parcel,
                    receipt,
                } => Mail::Letter(Letter::Settle { parcel, receipt }),
                Input::Claim {
                    from: _,
                    parcel,
                    claim,
                } => Mail::Letter(Letter::Claim { parcel, claim }),
                Input::Grant { .. }
                | Input::Hold(_)
                | Input::Persisted { .. }
                | Input::PersistFailed { .. } => return None,
            }
        }
        Message::TicketIssuer(input) => {
            use ticket_issuer::protocol::Input;
            match input {
                Input::Tell {
                    door: _,
                    sent,
                    list,
                    keys,
                } => Mail::Letter(Letter::Consult { sent, list, keys }),
                Input::Issue(_)
                | Input::Revoke(_)
                | Input::Rotate { .. }
                | Input::Persisted { .. }
                | Input::PersistFailed { .. } => return None,
            }
        }
        Message::Doorkeeper(input) => {
            use doorkeeper::protocol::Input;
            match input {
                Input::Knock {
                    peer: _,
                    request,
                    attempt,
                    ticket,
                    work,
                } => Mail::Knock(Box::new(Knock {
                    request,
                    attempt,
                    ticket,
                    work,
                })),
                Input::Told {
                    sent,
                    there,
                    revocations,
                    keys,
                } => Mail::Letter(Letter::Told {
                    sent,
                    there,
                    revocations,
                    keys,
                }),
            }
        }
        Message::EngineProcess(input) => {
            use engine_process::protocol::Input;
            match input {
                Input::Cancel { peer: _, attempt } => Mail::Cancel(attempt),
                Input::Vouch {
                    peer: _,
                    attempt,
                    tally,
                    signature,
                } => Mail::Letter(Letter::Vouch {
                    attempt,
                    tally,
                    signature,
                }),
                Input::Paid { attempt } => Mail::Letter(Letter::Paid { attempt }),
                Input::Serve { .. }
                | Input::Start { .. }
                | Input::Kept { .. }
                | Input::Frame { .. }
                | Input::Exited { .. }
                | Input::Drain { .. }
                | Input::Pause { .. }
                | Input::Resume
                | Input::Machine { .. }
                | Input::Revoke(_) => return None,
            }
        }
        Message::Outbox(input) => {
            use outbox::protocol::Input;
            match input {
                Input::Answered { parcel, outcome } => {
                    Mail::Letter(Letter::Answered { parcel, outcome })
                }
                Input::Post(_) | Input::Persisted { .. } | Input::PersistFailed { .. } => {
                    return None;
                }
            }
        }
    })
}

#[cfg(test)]
pub(crate) mod tests;
