//! What is owed and not yet acknowledged, kept on disk until it is.
//!
//! Lives on every node. `Session`s hand in receipts, an `EngineProcess` what its clients left unpaid; it delivers
//! them to the coordinator's `Ledger` again and again until that has answered for good. When it dies it reopens its
//! file and delivers what it finds there.

pub mod protocol;
mod store;
mod tray;

pub use store::OutboxStore;
pub use tray::{RETRY_MS_MAX, Tray};

use crate::ledger::protocol::Outcome;
use crate::names;
use crate::routing::OutboxPort;
use crate::shell::{Node, Seat};
use crate::store::{StoreError, Writer, reopen};
use protocol::Input;
use ractor::{ActorProcessingErr, ActorRef};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::Write;

/// The way in for whoever wants to know what is still owed.
#[derive(Clone)]
pub struct OutboxHandle(Arc<Node>);

impl OutboxHandle {
    /// The handle to the outbox of `node`.
    pub fn new(node: Arc<Node>) -> OutboxHandle {
        OutboxHandle(node)
    }

    /// How many parcels are not acknowledged; `None` if the outbox does not answer.
    pub async fn pending(&self) -> Option<u64> {
        let actor = self.0.directory.find(|entries| entries.outbox.clone())?;
        match actor
            .call(OutboxMessage::Pending, Some(CALL_DEADLINE))
            .await
        {
            Ok(ractor::rpc::CallResult::Success(count)) => Some(count),
            _ => None,
        }
    }
}

/// All an outbox needs from outside.
pub struct OutboxArgs {
    /// The node it works for.
    pub node: Arc<Node>,
    /// Its file.
    pub path: PathBuf,
}

/// The actor.
pub struct Outbox;

/// The core in its seat, and its writer.
pub struct OutboxState {
    seat: Seat<Tray>,
    writer: Writer<Write>,
}

impl OutboxState {
    fn perform(
        &mut self,
        ports: Vec<OutboxPort>,
        myself: &ActorRef<OutboxMessage>,
    ) -> Result<(), StoreError> {
        for port in ports {
            let OutboxPort::Persist {
                write,
                keep,
                forget,
            } = port;
            self.writer.put(Write {
                write,
                keep,
                forget,
            })?;
        }
        self.seat.arm(myself, || OutboxMessage::Wake);
        Ok(())
    }
}

#[ractor::actor(
    message = pub enum OutboxMessage,
    state = OutboxState,
    arguments = OutboxArgs,
)]
impl Outbox {
    async fn pre_start(
        &self,
        myself: ActorRef<OutboxMessage>,
        args: OutboxArgs,
    ) -> Result<OutboxState, ActorProcessingErr> {
        let (store, parcels) = reopen(&args.path, |database| {
            let store = OutboxStore::open(database)?;
            let parcels = store.load()?;
            Ok((store, parcels))
        })
        .await?;
        let tray = Tray::new(parcels, args.node.clock.now());
        let me = myself.clone();
        let writer = Writer::start(
            names::OUTBOX,
            move |write: Write| store.write(write.write, &write.keep, &write.forget),
            move |result| {
                let input = match result {
                    Ok(write) => Input::Persisted { write },
                    Err(error) => Input::PersistFailed {
                        message: error.message,
                    },
                };
                let _ = me.cast(OutboxMessage::Input(input));
            },
        )?;
        args.node
            .directory
            .enter(|entries| entries.outbox = Some(myself.clone()));
        let mut seat = Seat::new(names::OUTBOX, tray, args.node);
        seat.arm(&myself, || OutboxMessage::Wake);
        Ok(OutboxState { seat, writer })
    }

    /// Something happened.
    #[ractor::message(Input(input))]
    fn input(
        &self,
        myself: ActorRef<OutboxMessage>,
        input: Input,
        state: &mut OutboxState,
    ) -> Result<(), ActorProcessingErr> {
        let failed = matches!(input, Input::PersistFailed { .. });
        if let Input::Answered {
            parcel,
            outcome: Outcome::Rejected { reason },
        } = &input
        {
            tracing::warn!(%parcel, reason, "the ledger will not pay a receipt or a claim");
        }
        let ports = state.seat.step(input);
        state.perform(ports, &myself)?;
        if failed {
            Err("the outbox's file could not be written".into())
        } else {
            Ok(())
        }
    }

    /// The timer rang.
    #[ractor::message(Wake)]
    fn wake(
        &self,
        myself: ActorRef<OutboxMessage>,
        state: &mut OutboxState,
    ) -> Result<(), ActorProcessingErr> {
        let ports = state.seat.wake();
        Ok(state.perform(ports, &myself)?)
    }

    /// How many parcels are not acknowledged.
    #[ractor::rpc(Pending(reply))]
    fn pending(&self, state: &mut OutboxState) -> u64 {
        state.seat.asked("Pending").pending() as u64
    }
}

/// How long a call may take.
const CALL_DEADLINE: Duration = Duration::from_secs(5);
