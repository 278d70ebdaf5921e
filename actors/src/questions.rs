//! What one node may ask another and wait for, and the ways in which no answer comes.
//!
//! A letter is said and perhaps said again; a question is asked once, has a deadline, and comes to exactly
//! one end. Add variants at the end: their numbers are on the wire.

use crate::admissions::JoinRefusal;
use crate::certificate::RoleSet;
use crate::contract::Time;
use crate::engine_process::protocol::Rest;
use crate::ids::{NodeId, RequestId};
use crate::invitation::Secret;
use crate::ledger::Account;
use crate::membership::{Card, Row};
use crate::scheduler::Story;
use crate::scheduler::protocol::ModelReport;
use core::net::SocketAddr;
use serde::{Deserialize, Serialize};

/// What may be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// Whether anybody is there.
    Ping,
    /// To be let into the troop; asked of a coordinator by somebody who is no member yet.
    Join {
        /// What it was invited with.
        secret: Secret,
        /// What it wants to be.
        roles: RoleSet,
        /// What it calls itself.
        name: String,
    },
    /// A member's next certificate; asked of a coordinator.
    Renew,
    /// Every model that workers serve; asked of a coordinator.
    Catalog,
    /// The asker's own account; asked of a coordinator.
    Account,
    /// Where a node can be reached; asked of a coordinator.
    Where {
        /// Which node.
        node: NodeId,
    },
    /// Where the asker is seen, and what time it is; asked of a coordinator.
    Seen,
    /// Whether somebody who has no connection to the asker yet can make one; asked of a coordinator.
    DialBack,
    /// What was decided about a request of the asker's, and why; asked of a coordinator.
    Explain {
        /// Which request.
        request: RequestId,
    },
    /// Who is there; asked of any member.
    Members {
        /// What the asker says of itself.
        card: Card,
        /// The digest of what it knows: whoever knows the same need not tell it.
        seen: u64,
    },
    /// Which workers take no work, and why; asked of a coordinator.
    Resting,
}

impl Question {
    /// Whether somebody who is no member may ask it.
    pub fn is_for_strangers(&self) -> bool {
        match self {
            Question::Join { .. } => true,
            Question::Ping
            | Question::Renew
            | Question::Catalog
            | Question::Account
            | Question::Where { .. }
            | Question::Seen
            | Question::DialBack
            | Question::Explain { .. }
            | Question::Members { .. }
            | Question::Resting => false,
        }
    }
}

/// What may be answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To `Ping`.
    Pong,
    /// To `Join` and `Renew`: the certificate, signed.
    Joined {
        /// Its bytes, at most [`crate::certificate::CERTIFICATE_BYTES_MAX`].
        certificate: Vec<u8>,
    },
    /// To `Join` and `Renew`: why not.
    JoinRefused {
        /// Why.
        refusal: JoinRefusal,
    },
    /// To `Catalog`: each model with the worker that serves it, at most [`CATALOG_MAX`] of them.
    Catalog(Vec<(NodeId, ModelReport)>),
    /// To `Account`.
    Account(Account),
    /// To `Where`: the likeliest first, none where the node is not known.
    Where(Vec<SocketAddr>),
    /// To `Seen`.
    Seen {
        /// The other end of the connection that it was asked on.
        at: SocketAddr,
        /// The time there.
        now: Time,
    },
    /// To `DialBack`.
    DialledBack {
        /// Why it failed, if it did.
        failure: Option<String>,
    },
    /// To `Explain`; nothing where it is not remembered, or not the asker's.
    Explained(Option<Box<Story>>),
    /// To `Members`.
    Members {
        /// What the asked one says of itself.
        card: Card,
        /// And of others, at most [`crate::membership::protocol::NODES_MAX`] of them.
        rows: Vec<Row>,
    },
    /// To `Resting`: at most [`CATALOG_MAX`] of them.
    Resting(Vec<(NodeId, Rest)>),
}

/// Models of a catalog, or workers that rest, that are told to another node, at most.
pub const CATALOG_MAX: usize = 1024;

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RemoteError {
    /// The other node will not answer it.
    #[error("{node} refuses: {reason}")]
    Refused {
        /// Who.
        node: NodeId,
        /// Why.
        reason: String,
    },
    /// There is no way to it now. It was not asked.
    #[error("{node} cannot be reached: {reason}")]
    Unreachable {
        /// Who.
        node: NodeId,
        /// What was tried.
        reason: String,
    },
    /// No answer came in time. It may have been carried out.
    #[error("{node} did not answer in time")]
    TimedOut {
        /// Who.
        node: NodeId,
    },
    /// The connection broke after it was asked. It may have been carried out.
    #[error("{node} went away before it answered")]
    Gone {
        /// Who.
        node: NodeId,
    },
    /// The two nodes do not speak versions of the protocol that go together.
    #[error("{node} speaks version {theirs} of the protocol, this node speaks {ours}")]
    Incompatible {
        /// Who.
        node: NodeId,
        /// Its version.
        theirs: u16,
        /// Ours.
        ours: u16,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::State;
    use crate::wire;

    #[test]
    fn what_a_joiner_asks_and_hears_is_pinned() {
        let join = Question::Join {
            secret: Secret([5; 16]),
            roles: RoleSet::CLIENT.and(RoleSet::WORKER),
            name: "box".to_owned(),
        };
        assert!(join.is_for_strangers());
        assert!(!Question::Renew.is_for_strangers());
        let joined = [&[1, 1][..], &[5; 16], &[3, 3], b"box"].concat();
        assert_eq!(wire::encode(1, &join), joined);
        assert_eq!(wire::encode(1, &Question::Renew), [1, 2]);
        assert_eq!(wire::encode(1, &Question::Catalog), [1, 3]);
        assert_eq!(wire::encode(1, &Question::Account), [1, 4]);
        let node = NodeId([6; 32]);
        let asked = [&[1, 5][..], &[6; 32]].concat();
        assert_eq!(wire::encode(1, &Question::Where { node }), asked);
        assert_eq!(wire::encode(1, &Answer::Catalog(Vec::new())), [1, 3, 0]);
        let account = wire::encode(1, &Answer::Account(Account::default()));
        assert_eq!(account, [1, 4, 0, 0, 0, 0, 0]);
        assert_eq!(wire::encode(1, &Answer::Where(Vec::new())), [1, 5, 0]);
        assert_eq!(wire::encode(1, &Question::Seen), [1, 6]);
        assert_eq!(wire::encode(1, &Question::DialBack), [1, 7]);
        let (at, now) = ("1.2.3.4:5".parse().unwrap(), Time(6));
        let seen = wire::encode(1, &Answer::Seen { at, now });
        assert_eq!(seen, [1, 6, 0, 1, 2, 3, 4, 5, 6]);
        let failure = Some("no".to_owned());
        let dialled = wire::encode(1, &Answer::DialledBack { failure });
        assert_eq!(dialled, [1, 7, 1, 2, b'n', b'o']);
        let request = RequestId([7; 16]);
        let asked = [&[1, 8][..], &[7; 16]].concat();
        assert_eq!(wire::encode(1, &Question::Explain { request }), asked);
        assert_eq!(wire::encode(1, &Answer::Explained(None)), [1, 8, 0]);
        let card = Card {
            incarnation: 7,
            roles: RoleSet::WORKER,
            name: "box".to_owned(),
            addresses: vec![([10, 0, 0, 1], 80).into()],
        };
        let told = [&[7, 2, 3][..], b"box", &[1, 0, 10, 0, 0, 1, 80]].concat();
        let asked = Question::Members {
            card: card.clone(),
            seen: 9,
        };
        let expected = [&[1, 9][..], &told, &[9]].concat();
        assert_eq!(wire::encode(1, &asked), expected);
        let rows = [
            State::Alive,
            State::Suspect,
            State::Dead,
            State::Left,
            State::PutOut,
        ];
        for (number, state) in rows.into_iter().enumerate() {
            let row = Row {
                node,
                card: card.clone(),
                refutations: 4,
                state,
            };
            let answer = Answer::Members {
                card: card.clone(),
                rows: vec![row],
            };
            let row = [&[6; 32][..], &told, &[4, number as u8]].concat();
            let expected = [&[1, 9][..], &told, &[1], &row].concat();
            assert_eq!(wire::encode(1, &answer), expected);
        }
        assert_eq!(wire::encode(1, &Question::Resting), [1, 10]);
        let resting = Answer::Resting(vec![(node, Rest::Paused)]);
        let expected = [&[1, 10, 1][..], &[6; 32], &[1]].concat();
        assert_eq!(wire::encode(1, &resting), expected);
        let certificate = vec![7, 8];
        let answer = wire::encode(1, &Answer::Joined { certificate });
        assert_eq!(answer, [1, 1, 2, 7, 8]);
        let refusals = [
            JoinRefusal::Unknown,
            JoinRefusal::UsedUp { uses: 1 },
            JoinRefusal::Expired { seconds: 2 },
            JoinRefusal::Revoked,
            JoinRefusal::Role {
                allowed: RoleSet::CLIENT,
            },
            JoinRefusal::Full { limit: 3 },
            JoinRefusal::Removed,
            JoinRefusal::Stranger,
            JoinRefusal::Lapsed { seconds: 4 },
            JoinRefusal::Name,
            JoinRefusal::Busy,
        ];
        for (number, refusal) in refusals.into_iter().enumerate() {
            let bytes = wire::encode(1, &Answer::JoinRefused { refusal });
            assert_eq!(bytes[..3], [1, 2, number as u8]);
        }
    }
}
