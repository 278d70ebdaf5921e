//! What tickets may no longer be of: a list that the coordinator signs, small enough to be told whole.
//!
//! Tickets live for two minutes, so the list is for what cannot wait for that, and for streams that run: whoever is
//! on it comes in at no door that has heard of it, and what it has begun there is ended.

use super::Claims;
use crate::ids::{AttemptId, Digest, MemberId, NodeId, NodeKey, Signature, digest};
use crate::wire;
use serde::{Deserialize, Serialize};

/// Whose tickets are not good, or which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Revoked {
    /// Every ticket for this client.
    Client(NodeId),
    /// Every ticket that this member pays for.
    Member(MemberId),
    /// The ticket of this attempt.
    Attempt(AttemptId),
}

impl Revoked {
    /// Whether a ticket that says `claims` is meant.
    pub fn names(&self, claims: &Claims) -> bool {
        match self {
            Revoked::Client(client) => *client == claims.client,
            Revoked::Member(payer) => *payer == claims.payer,
            Revoked::Attempt(attempt) => *attempt == claims.attempt,
        }
    }
}

/// The list, signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocations {
    /// Later lists have higher numbers, over restarts of their issuer too.
    pub number: u64,
    /// Every ticket of an earlier epoch of its issuer is revoked.
    pub epoch: u64,
    /// What is revoked, in order.
    pub revoked: Vec<Revoked>,
    /// By the issuer.
    pub signature: Signature,
}

impl Revocations {
    /// The list of `issuer`: every ticket before `epoch`, and the last [`REVOKED_MAX`] of `revoked`.
    pub fn sign(
        number: u64,
        epoch: u64,
        mut revoked: Vec<Revoked>,
        issuer: &NodeKey,
    ) -> Revocations {
        let beyond = revoked.len().saturating_sub(REVOKED_MAX);
        revoked.drain(..beyond);
        let signature = issuer.sign(statement(issuer.node(), number, epoch, &revoked));
        Revocations {
            number,
            epoch,
            revoked,
            signature,
        }
    }

    /// Whether `issuer` signed it, and it is no longer than any.
    pub fn verifies(&self, issuer: NodeId) -> bool {
        self.revoked.len() <= REVOKED_MAX
            && (self.signature).verifies(
                issuer,
                statement(issuer, self.number, self.epoch, &self.revoked),
            )
    }

    /// Whether a ticket that says `claims` is on it.
    pub fn names(&self, claims: &Claims) -> bool {
        self.revoked.iter().any(|revoked| revoked.names(claims))
    }
}

fn statement(issuer: NodeId, number: u64, epoch: u64, revoked: &Vec<Revoked>) -> Digest {
    let list = wire::encode(1, revoked);
    let (number, epoch) = (number.to_le_bytes(), epoch.to_le_bytes());
    digest("troop/revocations/v2", &[&issuer.0, &number, &epoch, &list])
}

/// What one list names, at most: in about 34 KiB.
pub const REVOKED_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_believed_only_as_its_issuer_signed_it() {
        let [issuer, other] = [1, 2].map(|n| NodeKey::from_secret([n; 32]));
        let revoked = vec![
            Revoked::Client(NodeId([3; 32])),
            Revoked::Member(MemberId([4; 16])),
            Revoked::Attempt(AttemptId([5; 16])),
        ];
        let good = Revocations::sign(7, 2, revoked, &issuer);
        assert!(good.verifies(issuer.node()));
        assert!(!good.verifies(other.node()));
        let mut later = good.clone();
        later.number += 1;
        let mut earlier = good.clone();
        earlier.epoch -= 1;
        let mut shorter = good.clone();
        shorter.revoked.pop();
        let mut unsigned = good.clone();
        unsigned.signature.0[0] ^= 1;
        let mut long = good;
        long.revoked = vec![Revoked::Attempt(AttemptId([0; 16])); REVOKED_MAX + 1];
        for bad in [later, earlier, shorter, unsigned, long] {
            assert!(!bad.verifies(issuer.node()));
        }
    }

    #[test]
    fn a_list_keeps_the_latest_and_stays_within_its_bound() {
        let issuer = NodeKey::from_secret([1; 32]);
        let node = |n: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_le_bytes());
            Revoked::Client(NodeId(id))
        };
        let all: Vec<Revoked> = (0..REVOKED_MAX + 3).map(node).collect();
        let list = Revocations::sign(1, 0, all, &issuer);
        assert_eq!(list.revoked.len(), REVOKED_MAX);
        assert_eq!(list.revoked.first(), Some(&node(3)));
        assert!(list.verifies(issuer.node()));
    }
}
