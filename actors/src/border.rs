//! What another node may say to this one.
//!
//! A connection proves who speaks; what the letter says about its sender is only a claim. Here the two are
//! compared, before any core sees the letter: a node speaks for itself, the coordinator alone grants and
//! answers, the worker that holds an attempt's ticket alone tells of it, and what actors of one node say to
//! each other is nobody else's to say. The matches have no wildcard: a new message is refused or allowed by
//! a decision, or does not compile. The network and the simulator both ask here.

use crate::certificate::RoleSet;
use crate::contract::Time;
use crate::ids::{AttemptId, MemberId, NodeId, RequestId};
use crate::routing::{Message, Wiring};
use crate::{doorkeeper, engine_process, ledger, outbox, scheduler, session, ticket_issuer};

/// A letter that its sender had no right to. It was dropped, and nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forged {
    /// Only actors of this node say this to each other.
    #[error("{what} comes from inside a node, never from another")]
    Internal {
        /// What was said.
        what: &'static str,
    },
    /// The letter names another node as the one who speaks.
    #[error("{field}: names {said}, and {from} speaks")]
    Speaker {
        /// The field of the letter.
        field: &'static str,
        /// What it names.
        said: NodeId,
        /// Whose connection it came by.
        from: NodeId,
    },
    /// Only the coordinator says this.
    #[error("{what} comes from the coordinator, and {from} speaks")]
    NotCoordinator {
        /// What was said.
        what: &'static str,
        /// Whose connection it came by.
        from: NodeId,
    },
    /// Only the worker that an attempt was given to tells of it.
    #[error("{from} tells of attempt {attempt}, which it was not given")]
    NotHolder {
        /// The attempt.
        attempt: AttemptId,
        /// Whose connection it came by.
        from: NodeId,
    },
    /// The letter spends or earns for a member whose node the speaker is not.
    #[error("{field}: names member {said}, and the node is {member}'s")]
    Member {
        /// The field of the letter.
        field: &'static str,
        /// What it names.
        said: MemberId,
        /// Whose node it is.
        member: MemberId,
    },
    /// The speaker's certificate is not for this.
    #[error("this takes a {wanted}, and the node's certificate is for {roles}")]
    Role {
        /// What it would have to be.
        wanted: RoleSet,
        /// What it is.
        roles: RoleSet,
    },
}

/// `message` if the node `from` may say it to the node of `wiring`. `holder` knows which worker was given an
/// attempt of a request.
pub fn admit(
    from: NodeId,
    wiring: &Wiring,
    holder: impl Fn(RequestId, AttemptId) -> Option<NodeId>,
    message: Message,
) -> Result<Message, Forged> {
    match &message {
        Message::Session(request, input) => {
            use session::protocol::Input;
            match input {
                Input::Begin => internal("Session::Begin"),
                Input::Queued { .. } => coordinator("Session::Queued", from, wiring),
                Input::Granted(_) => coordinator("Session::Granted", from, wiring),
                Input::Refused { .. } => coordinator("Session::Refused", from, wiring),
                Input::Turned { attempt, .. }
                | Input::Event { attempt, .. }
                | Input::Closed { attempt, .. }
                | Input::Lost { attempt } => {
                    let attempt = *attempt;
                    if holder(*request, attempt) == Some(from) {
                        Ok(())
                    } else {
                        Err(Forged::NotHolder { attempt, from })
                    }
                }
                Input::Broken { .. } => internal("Session::Broken"),
                Input::Posted { .. } => internal("Session::Posted"),
                Input::HangUp => internal("Session::HangUp"),
            }
        }
        Message::Scheduler(input) => {
            use scheduler::protocol::Input;
            match input {
                Input::Admit(admit) => speaker("Admit.client", admit.client, from),
                Input::Held { .. } => internal("Scheduler::Held"),
                Input::NotHeld { .. } => internal("Scheduler::NotHeld"),
                Input::Finished { client, .. } => speaker("Finished.client", *client, from),
                Input::Report(report) => speaker("WorkerReport.worker", report.worker, from),
                Input::Absent { .. } => internal("Scheduler::Absent"),
            }
        }
        Message::Ledger(input) => {
            use ledger::protocol::Input;
            match input {
                Input::Grant { .. } => internal("Ledger::Grant"),
                Input::Hold(_) => internal("Ledger::Hold"),
                Input::Settle { from: said, .. } => speaker("Settle.from", *said, from),
                Input::Claim { from: said, .. } => speaker("Claim.from", *said, from),
                Input::Persisted { .. } => internal("Ledger::Persisted"),
                Input::PersistFailed { .. } => internal("Ledger::PersistFailed"),
            }
        }
        Message::TicketIssuer(input) => match input {
            ticket_issuer::protocol::Input::Issue(_) => internal("TicketIssuer::Issue"),
            ticket_issuer::protocol::Input::Tell { door, .. } => speaker("Tell.door", *door, from),
            ticket_issuer::protocol::Input::Revoke(_) => internal("TicketIssuer::Revoke"),
            ticket_issuer::protocol::Input::Rotate { .. } => internal("TicketIssuer::Rotate"),
            ticket_issuer::protocol::Input::Persisted { .. } => internal("TicketIssuer::Persisted"),
            ticket_issuer::protocol::Input::PersistFailed { .. } => {
                internal("TicketIssuer::PersistFailed")
            }
        },
        Message::Doorkeeper(input) => match input {
            doorkeeper::protocol::Input::Knock { peer, .. } => speaker("Knock.peer", *peer, from),
            doorkeeper::protocol::Input::Told { .. } => {
                coordinator("Doorkeeper::Told", from, wiring)
            }
        },
        Message::EngineProcess(input) => {
            use engine_process::protocol::Input;
            match input {
                Input::Serve { .. } => internal("EngineProcess::Serve"),
                Input::Start { .. } => internal("EngineProcess::Start"),
                Input::Cancel { peer, .. } => speaker("Cancel.peer", *peer, from),
                Input::Vouch { peer, .. } => speaker("Vouch.peer", *peer, from),
                Input::Paid { .. } => coordinator("EngineProcess::Paid", from, wiring),
                Input::Kept { .. } => internal("EngineProcess::Kept"),
                Input::Frame { .. } => internal("EngineProcess::Frame"),
                Input::Exited { .. } => internal("EngineProcess::Exited"),
                Input::Drain { .. } => internal("EngineProcess::Drain"),
                Input::Pause { .. } => internal("EngineProcess::Pause"),
                Input::Resume => internal("EngineProcess::Resume"),
                Input::Machine { .. } => internal("EngineProcess::Machine"),
                Input::Revoke(_) => internal("EngineProcess::Revoke"),
            }
        }
        Message::Outbox(input) => {
            use outbox::protocol::Input;
            match input {
                Input::Post(_) => internal("Outbox::Post"),
                Input::Persisted { .. } => internal("Outbox::Persisted"),
                Input::PersistFailed { .. } => internal("Outbox::PersistFailed"),
                Input::Answered { .. } => coordinator("Outbox::Answered", from, wiring),
            }
        }
    }?;
    Ok(message)
}

/// What a certificate says of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Badge {
    /// Whose node it is.
    pub member: MemberId,
    /// What it may be.
    pub roles: RoleSet,
    /// When that ends.
    pub until: Time,
}

/// Whether a node with `badge` may say `message`: it spends and earns for its own member only, and only workers
/// offer work. For messages that [`admit`] allows.
pub fn belongs(badge: &Badge, message: &Message) -> Result<(), Forged> {
    let (field, said, role) = match message {
        Message::Scheduler(scheduler::protocol::Input::Admit(admit)) => {
            ("Admit.payer", admit.payer, None)
        }
        Message::Scheduler(scheduler::protocol::Input::Report(report)) => {
            let worker = Some(RoleSet::WORKER);
            ("WorkerReport.owner", report.owner, worker)
        }
        _ => return Ok(()),
    };
    if let Some(wanted) = role.filter(|role| !role.within(badge.roles)) {
        let roles = badge.roles;
        return Err(Forged::Role { wanted, roles });
    }
    let member = badge.member;
    if said == member {
        Ok(())
    } else {
        Err(Forged::Member {
            field,
            said,
            member,
        })
    }
}

fn internal(what: &'static str) -> Result<(), Forged> {
    Err(Forged::Internal { what })
}

fn coordinator(what: &'static str, from: NodeId, wiring: &Wiring) -> Result<(), Forged> {
    if from == wiring.coordinator {
        Ok(())
    } else {
        Err(Forged::NotCoordinator { what, from })
    }
}

fn speaker(field: &'static str, said: NodeId, from: NodeId) -> Result<(), Forged> {
    if said == from {
        Ok(())
    } else {
        Err(Forged::Speaker { field, said, from })
    }
}

#[cfg(test)]
mod tests;
