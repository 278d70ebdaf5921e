//! The one wiring: whose input an effect becomes.
//!
//! A core's effect is either a letter to another actor, here or on another node, or a call of a port. This
//! file says which, purely; the shells and the simulator both ask it. An effect that is new does not compile
//! until it is routed here and its port is handled in both.

mod machine;
mod ports;

pub use machine::LookPort;
pub use ports::{
    DoorkeeperPort, EnginePort, KeyringPort, LedgerPort, NoPort, OutboxPort, SessionPort,
    TicketIssuerPort,
};

use crate::ids::{NodeId, RequestId};
use crate::outbox::protocol::Parcel;
use crate::receipt::Evidence;
use crate::session::protocol::Input as Session;
use crate::{
    admissions, doorkeeper, engine_process, keyring, ledger, outbox, scheduler, session,
    ticket_issuer,
};

mod gossip;

/// What a node knows of its place among others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wiring {
    /// This node.
    pub me: NodeId,
    /// The coordinator it belongs to; itself if it is one.
    pub coordinator: NodeId,
}

/// An input, addressed to one actor of a node. Who sent it comes from the connection that carried it.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// To the session of a request.
    Session(RequestId, session::protocol::Input),
    /// To the scheduler.
    Scheduler(scheduler::protocol::Input),
    /// To the ledger.
    Ledger(ledger::protocol::Input),
    /// To the ticket issuer.
    TicketIssuer(ticket_issuer::protocol::Input),
    /// To the doorkeeper.
    Doorkeeper(doorkeeper::protocol::Input),
    /// To the keeper of engines.
    EngineProcess(engine_process::protocol::Input),
    /// To the outbox.
    Outbox(outbox::protocol::Input),
}

/// What becomes of an effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Out<P> {
    /// A message for an actor of node `to`, which may be this one.
    Letter {
        /// The node.
        to: NodeId,
        /// What its actor gets.
        message: Message,
    },
    /// A call of a leaf port.
    Port(P),
}

/// An effect that this file knows the way of.
pub trait Routed {
    /// The leaf calls its actor makes.
    type Port;

    /// Where it goes.
    fn route(self, wiring: &Wiring) -> Out<Self::Port>;
}

fn letter<P>(to: NodeId, message: Message) -> Out<P> {
    Out::Letter { to, message }
}

fn to_session<P>(client: NodeId, request: RequestId, input: Session) -> Out<P> {
    letter(client, Message::Session(request, input))
}

fn post<P>(parcel: Box<Parcel>, wiring: &Wiring) -> Out<P> {
    letter(
        wiring.me,
        Message::Outbox(outbox::protocol::Input::Post(parcel)),
    )
}

impl Routed for session::protocol::Effect {
    type Port = SessionPort;

    fn route(self, wiring: &Wiring) -> Out<SessionPort> {
        use session::protocol::Effect;
        match self {
            Effect::Admit(admit) => letter(
                wiring.coordinator,
                Message::Scheduler(scheduler::protocol::Input::Admit(Box::new(admit))),
            ),
            Effect::Finished { request } => {
                let client = wiring.me;
                letter(
                    wiring.coordinator,
                    Message::Scheduler(scheduler::protocol::Input::Finished { client, request }),
                )
            }
            Effect::Knock {
                worker,
                request,
                attempt,
                ticket,
                work,
            } => {
                let peer = wiring.me;
                letter(
                    worker,
                    Message::Doorkeeper(doorkeeper::protocol::Input::Knock {
                        peer,
                        request,
                        attempt,
                        ticket,
                        work,
                    }),
                )
            }
            Effect::Cancel { worker, attempt } => {
                let peer = wiring.me;
                letter(
                    worker,
                    Message::EngineProcess(engine_process::protocol::Input::Cancel {
                        peer,
                        attempt,
                    }),
                )
            }
            Effect::Vouch {
                worker,
                attempt,
                tally,
                signature,
            } => {
                let peer = wiring.me;
                letter(
                    worker,
                    Message::EngineProcess(engine_process::protocol::Input::Vouch {
                        peer,
                        attempt,
                        tally,
                        signature,
                    }),
                )
            }
            Effect::Post(parcel) => post(parcel, wiring),
            Effect::Greet { worker } => Out::Port(SessionPort::Greet(worker)),
            Effect::Deliver(delivery) => Out::Port(SessionPort::Deliver(delivery)),
            Effect::Close => Out::Port(SessionPort::Close),
        }
    }
}

impl Routed for scheduler::protocol::Effect {
    type Port = NoPort;

    fn route(self, wiring: &Wiring) -> Out<NoPort> {
        use scheduler::protocol::Effect;
        match self {
            Effect::Hold(order) => letter(
                wiring.me,
                Message::Ledger(ledger::protocol::Input::Hold(order)),
            ),
            Effect::Issue(issue) => letter(
                wiring.me,
                Message::TicketIssuer(ticket_issuer::protocol::Input::Issue(issue)),
            ),
            Effect::Queued {
                client,
                request,
                ahead,
            } => to_session(client, request, Session::Queued { ahead }),
            Effect::Refuse {
                client,
                request,
                number,
                refusal,
            } => to_session(client, request, Session::Refused { number, refusal }),
        }
    }
}

impl Routed for ledger::protocol::Effect {
    type Port = LedgerPort;

    fn route(self, wiring: &Wiring) -> Out<LedgerPort> {
        use ledger::protocol::Effect;
        match self {
            Effect::Persist(batch) => Out::Port(LedgerPort::Persist(batch)),
            Effect::Granted { id, outcome } => Out::Port(LedgerPort::Granted { id, outcome }),
            Effect::Held {
                request,
                hold,
                number,
                worker,
                standby,
            } => letter(
                wiring.me,
                Message::Scheduler(scheduler::protocol::Input::Held {
                    request,
                    hold,
                    number,
                    worker,
                    standby,
                }),
            ),
            Effect::NotHeld {
                request,
                number,
                refusal,
            } => letter(
                wiring.me,
                Message::Scheduler(scheduler::protocol::Input::NotHeld {
                    request,
                    number,
                    refusal,
                }),
            ),
            Effect::Answer {
                to,
                parcel,
                outcome,
            } => letter(
                to,
                Message::Outbox(outbox::protocol::Input::Answered { parcel, outcome }),
            ),
            Effect::Paid { worker, attempt } => letter(
                worker,
                Message::EngineProcess(engine_process::protocol::Input::Paid { attempt }),
            ),
        }
    }
}

impl Routed for ticket_issuer::protocol::Effect {
    type Port = TicketIssuerPort;

    fn route(self, _wiring: &Wiring) -> Out<TicketIssuerPort> {
        use ticket_issuer::protocol::Effect;
        match self {
            Effect::Granted {
                client,
                request,
                grant,
            } => to_session(client, request, Session::Granted(grant)),
            Effect::Told {
                door,
                sent,
                there,
                revocations,
                keys,
            } => letter(
                door,
                Message::Doorkeeper(doorkeeper::protocol::Input::Told {
                    sent,
                    there,
                    revocations,
                    keys,
                }),
            ),
            Effect::Persist { write, rotation } => {
                Out::Port(TicketIssuerPort::Persist { write, rotation })
            }
            Effect::Answer { call, outcome } => {
                Out::Port(TicketIssuerPort::Answer { call, outcome })
            }
        }
    }
}

impl Routed for doorkeeper::protocol::Effect {
    type Port = DoorkeeperPort;

    fn route(self, wiring: &Wiring) -> Out<DoorkeeperPort> {
        use doorkeeper::protocol::Effect;
        match self {
            Effect::Admit { claims, work } => letter(
                wiring.me,
                Message::EngineProcess(engine_process::protocol::Input::Start { claims, work }),
            ),
            Effect::Turn {
                peer,
                request,
                attempt,
                reason,
            } => to_session(peer, request, Session::Turned { attempt, reason }),
            Effect::Consult { sent, list, keys } => {
                let door = wiring.me;
                letter(
                    wiring.coordinator,
                    Message::TicketIssuer(ticket_issuer::protocol::Input::Tell {
                        door,
                        sent,
                        list,
                        keys,
                    }),
                )
            }
            Effect::PutOut(nodes) => Out::Port(DoorkeeperPort::PutOut(nodes)),
            Effect::Revoke(revoked) => letter(
                wiring.me,
                Message::EngineProcess(engine_process::protocol::Input::Revoke(revoked)),
            ),
        }
    }
}

impl Routed for engine_process::protocol::Effect {
    type Port = EnginePort;

    fn route(self, wiring: &Wiring) -> Out<EnginePort> {
        use engine_process::protocol::Effect;
        match self {
            Effect::Spawn { model, life } => Out::Port(EnginePort::Spawn { model, life }),
            Effect::Kill { model, life } => Out::Port(EnginePort::Kill { model, life }),
            Effect::Write { model, life, frame } => {
                Out::Port(EnginePort::Write { model, life, frame })
            }
            Effect::Event {
                client,
                request,
                attempt,
                event,
            } => to_session(client, request, Session::Event { attempt, event }),
            Effect::Closed {
                client,
                request,
                attempt,
                half,
                failure,
            } => to_session(
                client,
                request,
                Session::Closed {
                    attempt,
                    half,
                    failure,
                },
            ),
            Effect::Lost {
                client,
                request,
                attempt,
            } => to_session(client, request, Session::Lost { attempt }),
            Effect::Turn {
                client,
                request,
                attempt,
                reason,
            } => to_session(client, request, Session::Turned { attempt, reason }),
            Effect::Post(parcel) => post(parcel, wiring),
            Effect::Report(report) => letter(
                wiring.coordinator,
                Message::Scheduler(scheduler::protocol::Input::Report(report)),
            ),
        }
    }
}

impl Routed for outbox::protocol::Effect {
    type Port = OutboxPort;

    fn route(self, wiring: &Wiring) -> Out<OutboxPort> {
        use outbox::protocol::Effect;
        match self {
            Effect::Persist {
                write,
                keep,
                forget,
            } => Out::Port(OutboxPort::Persist {
                write,
                keep,
                forget,
            }),
            Effect::Posted { request, parcel } => {
                to_session(wiring.me, request, Session::Posted { attempt: parcel })
            }
            Effect::Kept { attempt } => letter(
                wiring.me,
                Message::EngineProcess(engine_process::protocol::Input::Kept { attempt }),
            ),
            Effect::Deliver(parcel) => {
                let Parcel { id, to, evidence } = *parcel;
                let (from, parcel) = (wiring.me, id);
                let input = match evidence {
                    Evidence::Receipt(receipt) => ledger::protocol::Input::Settle {
                        from,
                        parcel,
                        receipt: Box::new(receipt),
                    },
                    Evidence::Claim(claim) => ledger::protocol::Input::Claim {
                        from,
                        parcel,
                        claim: Box::new(claim),
                    },
                };
                letter(to, Message::Ledger(input))
            }
        }
    }
}

impl Routed for keyring::protocol::Effect {
    type Port = KeyringPort;

    fn route(self, _wiring: &Wiring) -> Out<KeyringPort> {
        use keyring::protocol::Effect;
        match self {
            Effect::Persist {
                write,
                keep,
                forget,
            } => Out::Port(KeyringPort::Persist {
                write,
                keep,
                forget,
            }),
            Effect::Answer { call, outcome } => Out::Port(KeyringPort::Answer { call, outcome }),
        }
    }
}

/// It writes no letters.
impl Routed for admissions::protocol::Effect {
    type Port = Self;

    fn route(self, _wiring: &Wiring) -> Out<Self> {
        Out::Port(self)
    }
}
