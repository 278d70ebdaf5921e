//! What the checkers want to see before it is carried out.

use super::World;
use super::forgery::STRANGER;
use crate::checker::{Verdict, require};
use troop_actors::ids::NodeId;
use troop_actors::ledger::protocol::Outcome;
use troop_actors::routing::Routed;
use troop_actors::{
    doorkeeper, engine_process, gpu_monitor, ledger, outbox, scheduler, session, ticket_issuer,
};

/// An effect that the checkers want to see before it is carried out.
pub(super) trait Watched: Routed {
    fn watch(&self, _world: &mut World, _node: usize, _peer: Option<NodeId>) -> Verdict {
        Ok(())
    }
}

impl Watched for session::protocol::Effect {
    fn watch(&self, world: &mut World, node: usize, _peer: Option<NodeId>) -> Verdict {
        let Self::Post(parcel) = self else {
            return Ok(());
        };
        let receipt = parcel.evidence.statement();
        let me = world.nodes[node].wiring.me;
        require(
            parcel.evidence.verifies() && receipt.client == me,
            "L14 two-signatures",
            || format!("n{node} posts a receipt that is not signed by both sides"),
        )?;
        world.streams.signed(receipt)
    }
}

impl Watched for scheduler::protocol::Effect {}
impl Watched for ticket_issuer::protocol::Effect {
    fn watch(&self, world: &mut World, _node: usize, _peer: Option<NodeId>) -> Verdict {
        match self {
            Self::Told {
                keys: Some(keys), ..
            } => world.keys.told(keys.since),
            _ => Ok(()),
        }
    }
}

impl Watched for engine_process::protocol::Effect {
    fn watch(&self, world: &mut World, node: usize, _peer: Option<NodeId>) -> Verdict {
        let Self::Post(parcel) = self else {
            return Ok(());
        };
        let statement = parcel.evidence.statement();
        let me = world.nodes[node].wiring.me;
        require(
            parcel.evidence.verifies() && statement.worker == me,
            "L14 two-signatures",
            || format!("n{node} has evidence that is not signed by both sides"),
        )?;
        world.streams.counted(statement)
    }
}

impl Watched for gpu_monitor::protocol::Effect {}
impl Watched for outbox::protocol::Effect {}

impl Watched for ledger::protocol::Effect {
    fn watch(&self, world: &mut World, _node: usize, _peer: Option<NodeId>) -> Verdict {
        const NAME: &str = "L21 ack-durable";
        match self {
            Self::Held {
                hold,
                number,
                worker,
                standby,
                ..
            } => {
                let mut named = [Some((*number, *worker)), *standby].into_iter().flatten();
                let lacking = named.find(|(n, w)| !world.books.is_directed(*hold, *n, *w));
                require(lacking.is_none(), NAME, || {
                    format!("{hold:?} for {lacking:?} is acknowledged and on no disk")
                })
            }
            Self::Answer {
                parcel,
                outcome: Outcome::Settled { .. },
                ..
            } => require(world.books.is_paid(*parcel), NAME, || {
                format!("parcel {parcel:?} is acknowledged and its payment on no disk")
            }),
            Self::Answer {
                parcel,
                to,
                outcome: Outcome::Rejected { reason },
            } if *to != STRANGER => {
                world.owed.remove(parcel);
                match world.claims.get(parcel) {
                    Some(claim) => world.books.is_seen_to(claim),
                    None => world.books.rejected(*parcel, reason),
                }
            }
            Self::Answer {
                parcel,
                to,
                outcome: Outcome::Noted { amount },
            } if *to != STRANGER => match world.claims.get(parcel) {
                Some(claim) => world.books.is_noted(claim, *amount),
                None => require(false, NAME, || format!("{parcel:?} is noted and no claim")),
            },
            Self::Answer { .. }
            | Self::Paid { .. }
            | Self::Persist(_)
            | Self::NotHeld { .. }
            | Self::Granted { .. } => Ok(()),
        }
    }
}

impl Watched for doorkeeper::protocol::Effect {
    fn watch(&self, world: &mut World, node: usize, peer: Option<NodeId>) -> Verdict {
        let door = world.nodes[node].wiring.me;
        let claims = match self {
            Self::Admit { claims, .. } => claims,
            Self::Turn { reason, .. } if world.is_calm() => {
                return world.keys.turned(door, reason);
            }
            _ => return Ok(()),
        };
        let peer = peer.expect("only a knock lets anybody in");
        let named = world.books.is_directed(claims.hold, claims.number, door);
        require(named, "no stream that cannot be paid", || {
            format!(
                "{:?} was let in at {door:?}, and the books say otherwise",
                claims.attempt
            )
        })?;
        world.tickets.admitted(door, peer, claims)
    }
}
