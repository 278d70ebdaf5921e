//! Whom a node of a troop talks to: the coordinator, and whoever shows its certificate.
//!
//! ```text
//! peer is              | a coordinator says | other nodes say
//! the coordinator      | member             | member: its key is the troop
//! certified            | member             | member
//! certified, run out   | stranger           | refused
//! without certificate  | stranger           | refused
//! put out              | refused            | workers: refused within seconds; clients: member until it runs out
//! ```
//!
//! A stranger may ask to be let in and nothing else. Everything that costs anything needs a ticket of the
//! coordinator besides, and who was put out gets none.

use std::sync::Arc;
use troop_actors::admissions::{JoinRefusal, Outcasts};
use troop_actors::border::Badge;
use troop_actors::certificate::{Certificate, CertificateError, RoleSet};
use troop_actors::contract::Time;
use troop_actors::ids::{MemberId, NodeId};
use troop_actors::ports::Clock;
use troop_actors::routing::Wiring;

/// What a node knows of its troop's people.
#[derive(Clone)]
pub struct Gatekeeper {
    /// Its place among others.
    pub wiring: Wiring,
    /// When it is.
    pub clock: Arc<dyn Clock>,
    /// Who was put out, as the admissions say on a coordinator, and as the doorkeeper has heard on a worker.
    pub outcasts: Outcasts,
}

impl Gatekeeper {
    /// Whose node `peer` is, which shows `certificate`; nobody's if it is a stranger. Or why it is not
    /// talked to.
    pub fn judge(&self, peer: NodeId, certificate: &[u8]) -> Result<Option<Badge>, String> {
        let troop = self.wiring.coordinator;
        if peer == troop {
            return Ok(Some(Badge {
                member: MemberId::of_owner(troop),
                roles: RoleSet::CLIENT
                    .and(RoleSet::WORKER)
                    .and(RoleSet::COORDINATOR),
                until: Time(u64::MAX),
            }));
        }
        self.stays(peer)?;
        let here = self.wiring.me == troop;
        match certificate {
            [] if here => Ok(None),
            [] => Err("only members of the troop are talked to".to_owned()),
            shown => match Certificate::verify(shown, troop, peer, self.clock.now()) {
                Ok(certificate) => Ok(Some(Badge {
                    member: certificate.member,
                    roles: certificate.roles,
                    until: certificate.expires,
                })),
                // An invitation may let it in again.
                Err(CertificateError::Expired { .. }) if here => Ok(None),
                Err(error) => Err(error.to_string()),
            },
        }
    }

    /// Whether `peer`, which was let in, may stay: it was not put out since.
    pub fn stays(&self, peer: NodeId) -> Result<(), String> {
        match self.outcasts.has(peer) {
            true => Err(JoinRefusal::Removed.to_string()),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use troop_actors::ids::NodeKey;

    struct Noon;

    impl Clock for Noon {
        fn now(&self) -> Time {
            Time(1_000_000)
        }
    }

    const PEER: NodeId = NodeId([2; 32]);
    const MEMBER: MemberId = MemberId([3; 16]);

    fn keeper(me: NodeId) -> Gatekeeper {
        let coordinator = NodeKey::from_secret([1; 32]).node();
        Gatekeeper {
            wiring: Wiring { me, coordinator },
            clock: Arc::new(Noon),
            outcasts: Outcasts::default(),
        }
    }

    fn shown(signer: u8, expires: u64) -> Vec<u8> {
        let key = NodeKey::from_secret([signer; 32]);
        let certificate = Certificate {
            troop: key.node(),
            node: PEER,
            member: MEMBER,
            roles: RoleSet::CLIENT,
            name: "box".to_owned(),
            inviter: MEMBER,
            serial: 1,
            issued: Time(1_000),
            expires: Time(expires),
        };
        certificate.sign(&key)
    }

    fn member(judged: Result<Option<Badge>, String>) -> Option<MemberId> {
        judged.unwrap().map(|badge| badge.member)
    }

    #[test]
    fn members_are_let_in_everywhere_and_strangers_only_where_they_may_ask_to_be() {
        let troop = NodeKey::from_secret([1; 32]).node();
        let (office, elsewhere) = (keeper(troop), keeper(NodeId([9; 32])));
        let (good, over, forged) = (shown(1, 2_000_000), shown(1, 2_000), shown(7, 2_000_000));
        assert_eq!(
            member(elsewhere.judge(troop, &[])),
            Some(MemberId::of_owner(troop))
        );
        for keeper in [&office, &elsewhere] {
            let badge = keeper.judge(PEER, &good).unwrap().unwrap();
            assert_eq!(badge.member, MEMBER);
            assert_eq!(badge.roles, RoleSet::CLIENT);
            assert_eq!(badge.until, Time(2_000_000));
            assert_eq!(keeper.stays(PEER), Ok(()));
            assert!(keeper.judge(PEER, &forged).is_err());
            assert!(keeper.judge(NodeId([5; 32]), &good).is_err());
            assert!(keeper.judge(PEER, &[0; 5000]).is_err());
        }
        assert_eq!(office.judge(PEER, &over), Ok(None));
        assert!(elsewhere.judge(PEER, &over).is_err());
        assert_eq!(office.judge(PEER, &[]), Ok(None));
        assert!(elsewhere.judge(PEER, &[]).is_err());

        office.outcasts.add([PEER]);
        for certificate in [&good[..], &[]] {
            let refused = office.judge(PEER, certificate).unwrap_err();
            assert!(refused.contains("was removed"), "{refused}");
        }
        assert!(office.stays(PEER).is_err());
    }
}
