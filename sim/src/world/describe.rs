//! A message in a line of the trace: what matters of it, and ids short enough to follow by eye.

use troop_actors::routing::Message;
use troop_actors::{doorkeeper, engine_process, ledger, outbox, session};

/// One line about a message.
pub(super) fn message(message: &Message) -> String {
    match message {
        Message::Session(request, input) => format!("session {request:?}: {}", of_session(input)),
        Message::Scheduler(input) => format!("scheduler: {input:?}"),
        Message::Ledger(input) => match input {
            ledger::protocol::Input::Settle {
                parcel, receipt, ..
            } => format!("ledger: Settle {parcel:?} {:?}", receipt.receipt.tally),
            ledger::protocol::Input::Claim { parcel, claim, .. } => {
                format!("ledger: Claim {parcel:?} {:?}", claim.receipt.tally)
            }
            other => format!("ledger: {other:?}"),
        },
        Message::TicketIssuer(input) => format!("ticket issuer: {input:?}"),
        Message::Doorkeeper(input) => match input {
            doorkeeper::protocol::Input::Knock {
                peer,
                request,
                attempt,
                work,
                ..
            } => {
                let resumes = work.resume.as_ref().map(|resume| {
                    let ids = resume.choices.iter().map(|choice| choice.ids.len());
                    ids.collect::<Vec<_>>()
                });
                format!("doorkeeper: Knock {peer:?} {request:?} {attempt:?} resumes {resumes:?}")
            }
            other => format!("doorkeeper: {other:?}"),
        },
        Message::EngineProcess(input) => match input {
            engine_process::protocol::Input::Start { claims, .. } => {
                format!(
                    "engine process: Start {:?} {:?}",
                    claims.request, claims.attempt
                )
            }
            other => format!("engine process: {other:?}"),
        },
        Message::Outbox(input) => match input {
            outbox::protocol::Input::Post(parcel) => {
                format!(
                    "outbox: Post {:?} {:?}",
                    parcel.id,
                    parcel.evidence.statement().tally
                )
            }
            other => format!("outbox: {other:?}"),
        },
    }
}

fn of_session(input: &session::protocol::Input) -> String {
    match input {
        session::protocol::Input::Granted(grant) => format!(
            "Granted {} {:?} at {:?}",
            grant.number, grant.attempt, grant.worker
        ),
        session::protocol::Input::Closed {
            attempt,
            half,
            failure,
        } => format!("Closed {attempt:?} {:?} {failure:?}", half.receipt.tally),
        other => format!("{other:?}"),
    }
}
