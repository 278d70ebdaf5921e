//! Signs tickets, the only thing a worker believes.
//!
//! Lives on coordinators. The `Scheduler` orders a ticket, the session of the request gets it. `Doorkeeper`s
//! ask it for the time, for what was taken back and for the keys it signs with; the `Admissions` say what was taken
//! back, the command line rotates keys. When it dies it reopens its file, which knows the rotation and no secret;
//! sessions ask the scheduler again, the scheduler orders again, and the same order gives a ticket for the same attempt.

pub mod protocol;
mod seal;
mod store;

pub use protocol::{Keys, RotateError};
pub use seal::Seal;
pub use store::RotationStore;

use crate::admissions::Outcasts;
use crate::ids::NodeKey;
use crate::names;
use crate::routing::TicketIssuerPort;
use crate::shell::{Node, Seat};
use crate::store::{StoreError, Writer, reopen};
use crate::ticket::{Revoked, Rotation};
use protocol::Input;
use ractor::{ActorProcessingErr, ActorRef, RpcReplyPort};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The way in for everybody else: finds the actor, asks it, and does not wait longer than a deadline.
#[derive(Clone)]
pub struct TicketIssuerHandle(Arc<Node>);

impl TicketIssuerHandle {
    /// The handle to the ticket issuer of `node`.
    pub fn new(node: Arc<Node>) -> TicketIssuerHandle {
        TicketIssuerHandle(node)
    }

    /// Signs with the next key from now on; if it `revokes`, no ticket of before is good any more.
    pub async fn rotate(&self, revokes: bool) -> Result<Keys, RotateError> {
        let find = |entries: &crate::shell::Entries| entries.ticket_issuer.clone();
        let actor = self.0.directory.find(find).ok_or(RotateError::Away)?;
        let message = |reply| TicketIssuerMessage::Rotate(revokes, reply);
        match actor.call(message, Some(CALL_DEADLINE)).await {
            Ok(ractor::rpc::CallResult::Success(outcome)) => outcome,
            _ => Err(RotateError::Away),
        }
    }
}

/// All a ticket issuer needs from outside.
pub struct TicketIssuerArgs {
    /// The node it works for.
    pub node: Arc<Node>,
    /// The node's key, which members pin and from which those of tickets follow.
    pub key: NodeKey,
    /// Its file.
    pub path: PathBuf,
    /// Who was put out before.
    pub outcasts: Outcasts,
}

/// The actor.
pub struct TicketIssuer;

type Reply = RpcReplyPort<Result<Keys, RotateError>>;

/// The core in its seat, its writer, and who waits for an answer.
pub struct TicketIssuerState {
    seat: Seat<Seal>,
    writer: Writer<(u64, Rotation)>,
    waiting: BTreeMap<u64, Reply>,
    calls: u64,
}

impl TicketIssuerState {
    fn perform(
        &mut self,
        ports: Vec<TicketIssuerPort>,
        myself: &ActorRef<TicketIssuerMessage>,
    ) -> Result<(), StoreError> {
        for port in ports {
            match port {
                TicketIssuerPort::Persist { write, rotation } => {
                    self.writer.put((write, rotation))?;
                }
                TicketIssuerPort::Answer { call, outcome } => {
                    if let Some(reply) = self.waiting.remove(&call) {
                        // Whoever asked may have gone; the deed stands.
                        let _ = reply.send(outcome);
                    }
                }
            }
        }
        self.seat.arm(myself, || TicketIssuerMessage::Wake);
        Ok(())
    }
}

#[ractor::actor(
    message = pub enum TicketIssuerMessage,
    state = TicketIssuerState,
    arguments = TicketIssuerArgs,
)]
impl TicketIssuer {
    async fn pre_start(
        &self,
        myself: ActorRef<TicketIssuerMessage>,
        args: TicketIssuerArgs,
    ) -> Result<TicketIssuerState, ActorProcessingErr> {
        let TicketIssuerArgs {
            node,
            key,
            path,
            outcasts,
        } = args;
        let (store, rotation) = reopen(&path, |database| {
            let store = RotationStore::open(database)?;
            let rotation = store.load()?;
            Ok((store, rotation))
        })
        .await?;
        let me = myself.clone();
        let writer = Writer::start(
            names::TICKET_ISSUER,
            move |(write, rotation): (u64, Rotation)| store.write(write, &rotation),
            move |result| {
                let input = match result {
                    Ok(write) => Input::Persisted { write },
                    Err(error) => Input::PersistFailed {
                        message: error.message,
                    },
                };
                let _ = me.cast(TicketIssuerMessage::Input(input));
            },
        )?;
        node.directory
            .enter(|entries| entries.ticket_issuer = Some(myself.clone()));
        let seal = Seal::new(key, rotation);
        let mut state = TicketIssuerState {
            seat: Seat::new(names::TICKET_ISSUER, seal, node),
            writer,
            waiting: BTreeMap::new(),
            calls: 0,
        };
        let revoked = outcasts.all().into_iter().map(Revoked::Client);
        let ports = state.seat.step(Input::Revoke(revoked.collect()));
        state.perform(ports, &myself)?;
        Ok(state)
    }

    /// Something happened.
    #[ractor::message(Input(input))]
    fn input(
        &self,
        myself: ActorRef<TicketIssuerMessage>,
        input: Input,
        state: &mut TicketIssuerState,
    ) -> Result<(), ActorProcessingErr> {
        let failed = matches!(input, Input::PersistFailed { .. });
        let ports = state.seat.step(input);
        state.perform(ports, &myself)?;
        if failed {
            Err("the keys' file could not be written".into())
        } else {
            Ok(())
        }
    }

    /// The timer rang.
    #[ractor::message(Wake)]
    fn wake(
        &self,
        myself: ActorRef<TicketIssuerMessage>,
        state: &mut TicketIssuerState,
    ) -> Result<(), ActorProcessingErr> {
        let ports = state.seat.wake();
        Ok(state.perform(ports, &myself)?)
    }

    /// The next key is to be used.
    #[ractor::message(Rotate(revokes, reply))]
    fn rotate(
        &self,
        myself: ActorRef<TicketIssuerMessage>,
        revokes: bool,
        reply: RpcReplyPort<Result<Keys, RotateError>>,
        state: &mut TicketIssuerState,
    ) -> Result<(), ActorProcessingErr> {
        state.calls += 1;
        let call = state.calls;
        state.waiting.insert(call, reply);
        let ports = state.seat.step(Input::Rotate { call, revokes });
        Ok(state.perform(ports, &myself)?)
    }
}

/// How long a call may take; a commit takes milliseconds.
const CALL_DEADLINE: Duration = Duration::from_secs(5);
