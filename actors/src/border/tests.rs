//! The table of what may be said by whom.

use super::*;
use crate::engine::frames::FromEngine;
use crate::gpu_monitor::protocol::Use;
use crate::ids::{Class, HoldId, Passport};
use crate::letters::mail;
use crate::letters::tests::{
    ATTEMPT, MEMBER, REQUEST, client, coordinator, crossing, signed, work, worker,
};
use crate::outbox::protocol::Parcel;
use crate::receipt::Evidence;
use crate::scheduler::protocol::{HoldOrder, Issue, Refusal};
use crate::session::protocol::Patience;
use crate::ticket::Claims;

const STRANGER: NodeId = NodeId([0xee; 32]);

fn wiring() -> Wiring {
    Wiring {
        me: NodeId([1; 32]),
        coordinator: coordinator(),
    }
}

/// The worker of the samples was given the attempt of the samples.
fn holder(request: RequestId, attempt: AttemptId) -> Option<NodeId> {
    (request == REQUEST && attempt == ATTEMPT).then(worker)
}

fn judged(from: NodeId, message: &Message) -> Result<Message, Forged> {
    admit(from, &wiring(), holder, message.clone())
}

#[test]
fn everybody_may_say_what_is_theirs_and_nobody_else_may() {
    for (name, right, message) in crossing() {
        for from in [client(), worker(), coordinator(), STRANGER] {
            let judged = judged(from, &message);
            if from == right {
                assert_eq!(judged, Ok(message.clone()), "{name}");
            } else {
                assert!(judged.is_err(), "{name} was believed of {from:?}");
            }
        }
    }
}

#[test]
fn a_worker_tells_of_the_attempt_it_was_given_and_of_no_other() {
    let other = AttemptId([0x77; 16]);
    let input = session::protocol::Input::Lost { attempt: other };
    let refused = Err(Forged::NotHolder {
        attempt: other,
        from: worker(),
    });
    assert_eq!(judged(worker(), &Message::Session(REQUEST, input)), refused);
    let input = session::protocol::Input::Lost { attempt: ATTEMPT };
    let message = Message::Session(RequestId([0x77; 16]), input);
    assert!(judged(worker(), &message).is_err());
}

/// What actors of one node say to each other.
fn internal_ones() -> Vec<Message> {
    use engine_process::protocol::Input as Keeper;
    use ledger::protocol::Input as Ledger;
    use outbox::protocol::Input as Outbox;
    use scheduler::protocol::Input as Scheduler;
    use session::protocol::Input as Session;
    let session = |input| Message::Session(REQUEST, input);
    let (model, hold) = (Passport([4; 32]), HoldId([5; 16]));
    let claims = Claims {
        issuer: coordinator(),
        payer: MEMBER,
        worker: worker(),
        client: client(),
        issued_at: 0,
        issued_ms: 0,
        expires_at: 0,
        attempt: ATTEMPT,
        hold,
        request: REQUEST,
        number: 0,
        model,
        class: Class::of("class"),
        prompt_bytes_max: 0,
        completion_tokens_max: 0,
        prices: crate::ids::Digest([0; 32]),
        cost_max: 0,
        stream_seconds_max: 0,
        epoch: 0,
    };
    let order = HoldOrder {
        request: REQUEST,
        number: 0,
        payer: MEMBER,
        payee: MEMBER,
        client: client(),
        worker: worker(),
        prompt_tokens_max: 1,
        completion_tokens_max: 1,
        term_ms: 1,
        standby: None,
        is_begun: false,
    };
    let issue = Issue {
        client: client(),
        claims: claims.clone(),
        patience: Patience {
            silence_ms: 0,
            progress_ms: 0,
        },
    };
    let parcel = Parcel {
        id: ATTEMPT,
        to: coordinator(),
        evidence: Evidence::Receipt(signed()),
    };
    let message = "disk".to_owned();
    vec![
        session(Session::Begin),
        session(Session::Posted { attempt: ATTEMPT }),
        session(Session::HangUp),
        Message::Scheduler(Scheduler::Held {
            request: REQUEST,
            hold,
            number: 0,
            worker: worker(),
            standby: None,
        }),
        Message::Scheduler(Scheduler::NotHeld {
            request: REQUEST,
            number: 0,
            refusal: Refusal::NoWorker,
        }),
        Message::Ledger(Ledger::Grant {
            id: [0; 16],
            member: MEMBER,
            name: String::new(),
            amount: 1,
        }),
        Message::Ledger(Ledger::Hold(order)),
        Message::Ledger(Ledger::Persisted { batch: 1 }),
        Message::Ledger(Ledger::PersistFailed {
            message: message.clone(),
        }),
        Message::TicketIssuer(ticket_issuer::protocol::Input::Issue(Box::new(issue))),
        Message::TicketIssuer(ticket_issuer::protocol::Input::Revoke(Vec::new())),
        Message::EngineProcess(Keeper::Revoke(Vec::new())),
        Message::EngineProcess(Keeper::Kept { attempt: ATTEMPT }),
        Message::EngineProcess(Keeper::Serve {
            model,
            name: String::new(),
            created_seconds: 0,
        }),
        Message::EngineProcess(Keeper::Start {
            claims: Box::new(claims),
            work: work(),
        }),
        Message::EngineProcess(Keeper::Frame {
            model,
            life: 1,
            frame: FromEngine::Unfit {
                message: message.clone(),
            },
        }),
        Message::EngineProcess(Keeper::Exited {
            model,
            life: 1,
            reason: String::new(),
        }),
        Message::EngineProcess(Keeper::Drain { grace_ms: 0 }),
        Message::EngineProcess(Keeper::Pause { grace_ms: 0 }),
        Message::EngineProcess(Keeper::Machine { now_for: Use::Idle }),
        Message::EngineProcess(Keeper::Resume),
        Message::Outbox(Outbox::Post(Box::new(parcel))),
        Message::Outbox(Outbox::Persisted { write: 1 }),
        Message::Outbox(Outbox::PersistFailed { message }),
    ]
}

#[test]
fn what_actors_of_one_node_say_to_each_other_never_crosses() {
    for message in internal_ones() {
        for from in [client(), worker(), coordinator(), STRANGER] {
            let refused = matches!(judged(from, &message), Err(Forged::Internal { .. }));
            assert!(refused, "{message:?} was believed of {from:?}");
        }
        assert_eq!(mail(message.clone()), None, "{message:?} was sent");
    }
}

#[test]
fn a_node_spends_and_earns_for_its_own_member_only() {
    let other = MemberId([0x55; 16]);
    let mut compared = 0;
    for (name, _, message) in crossing() {
        assert_eq!(belongs(&badge(MEMBER), &message), Ok(()), "{name}");
        compared += usize::from(belongs(&badge(other), &message).is_err());
    }
    assert_eq!(compared, 2, "what is asked for, and what is served");
}

#[test]
fn who_was_let_in_to_ask_offers_no_work() {
    let client = Badge {
        roles: RoleSet::CLIENT,
        ..badge(MEMBER)
    };
    let refused = crossing().into_iter().filter(|(_, _, message)| {
        let outcome = belongs(&client, message);
        matches!(outcome, Err(Forged::Role { .. }))
    });
    let refused: Vec<_> = refused.map(|(name, ..)| name).collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
}

fn badge(member: MemberId) -> Badge {
    Badge {
        member,
        roles: RoleSet::CLIENT.and(RoleSet::WORKER),
        until: Time(u64::MAX),
    }
}
