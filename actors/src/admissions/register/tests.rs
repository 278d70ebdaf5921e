//! Stories of an admissions office.

use super::*;
use crate::admissions::protocol::JoinRefusal;
use crate::certificate::{Certificate, LIFETIME_MS};
use crate::ids::MemberId;
use crate::invitation::Secret;

const START: Time = Time(1_000_000_000);
const HOUR_MS: u64 = 3_600_000;

/// A register with a disk that keeps up.
struct Office {
    register: Register,
    now: Time,
    disk: Change,
    put_out: Vec<NodeId>,
}

impl Office {
    fn new() -> Office {
        Office {
            register: Register::new(NodeKey::from_secret([1; 32]), Change::default()),
            now: START,
            disk: Change::default(),
            put_out: Vec::new(),
        }
    }

    fn input(&mut self, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        self.register.step(self.now, input, &mut out);
        self.register.check();
        out
    }

    /// Whoever orders is answered after the disk, and not before.
    fn order(&mut self, order: Order) -> Result<Done, AdmissionError> {
        let mut out = self.input(Input::Order { call: 7, order });
        out.retain(|effect| match effect {
            Effect::PutOut { node } => {
                self.put_out.push(*node);
                false
            }
            _ => true,
        });
        if let Some(Effect::Persist { write, change }) =
            out.pop_if(|effect| matches!(effect, Effect::Persist { .. }))
        {
            assert!(out.is_empty(), "nothing is said before the disk has it");
            self.keep(*change);
            out = self.input(Input::Persisted { write });
        }
        match out.pop() {
            Some(Effect::Answer { call: 7, outcome }) => outcome,
            other => panic!("{other:?}"),
        }
    }

    fn keep(&mut self, change: Change) {
        let disk = &mut self.disk;
        disk.serial = change.serial;
        let kept = |hash: &Digest| {
            change.forget_invites.contains(hash)
                || change.invites.iter().any(|invite| invite.hash == *hash)
        };
        disk.invites.retain(|invite| !kept(&invite.hash));
        disk.invites.extend(change.invites.clone());
        let kept = |node: &NodeId| {
            let same = |member: &MemberRecord| member.certificate.node == *node;
            change.forget_members.contains(node) || change.members.iter().any(same)
        };
        disk.members
            .retain(|member| !kept(&member.certificate.node));
        disk.members.extend(change.members);
    }

    fn restart(&mut self) {
        self.register = Register::new(NodeKey::from_secret([1; 32]), self.disk.clone());
    }

    fn invite(&mut self, secret: u8, change: fn(&mut Terms)) -> Result<Done, AdmissionError> {
        let mut terms = terms();
        change(&mut terms);
        let hash = Secret([secret; 16]).hash();
        self.order(Order::Invite { hash, terms })
    }

    fn redeem(&mut self, node: u8, secret: u8) -> Result<(Certificate, Vec<u8>), JoinRefusal> {
        self.redeem_as(node, secret, RoleSet::WORKER, "box")
    }

    fn redeem_as(
        &mut self,
        node: u8,
        secret: u8,
        roles: RoleSet,
        name: &str,
    ) -> Result<(Certificate, Vec<u8>), JoinRefusal> {
        let outcome = self.order(Order::Redeem {
            node: NodeId([node; 32]),
            secret: Secret([secret; 16]),
            roles,
            name: name.to_owned(),
        });
        self.read(node, outcome)
    }

    fn renew(&mut self, node: u8) -> Result<(Certificate, Vec<u8>), JoinRefusal> {
        let outcome = self.order(Order::Renew {
            node: NodeId([node; 32]),
        });
        self.read(node, outcome)
    }

    /// The certificate of an answer, as its node would read it.
    fn read(
        &self,
        node: u8,
        outcome: Result<Done, AdmissionError>,
    ) -> Result<(Certificate, Vec<u8>), JoinRefusal> {
        match outcome {
            Ok(Done::Admitted(member, bytes)) => {
                let troop = NodeKey::from_secret([1; 32]).node();
                let node = NodeId([node; 32]);
                let read = Certificate::verify(&bytes, troop, node, self.now);
                assert_eq!(read, Ok(member.certificate.clone()));
                Ok((member.certificate, bytes))
            }
            Err(AdmissionError::Refused(refusal)) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    fn used(&self, secret: u8) -> u32 {
        let hash = Secret([secret; 16]).hash();
        let mut invites = self.register.invites().into_iter();
        invites.find(|invite| invite.hash == hash).unwrap().used
    }
}

fn terms() -> Terms {
    Terms {
        roles: RoleSet::CLIENT.and(RoleSet::WORKER),
        uses_max: 1,
        ttl_ms: 24 * HOUR_MS,
        name: String::new(),
        member: None,
        credits: 100,
        inviter: MemberId([9; 16]),
    }
}

#[test]
fn whoever_is_invited_comes_in_once_and_hears_the_same_when_the_answer_was_lost() {
    let mut office = Office::new();
    office.invite(1, |_| {}).unwrap();
    let (certificate, bytes) = office.redeem(2, 1).unwrap();
    assert_eq!(certificate.member, MemberId::of_owner(NodeId([2; 32])));
    assert_eq!(certificate.roles, RoleSet::WORKER);
    assert_eq!(certificate.inviter, MemberId([9; 16]));
    assert_eq!(certificate.expires, START.plus_ms(LIFETIME_MS));

    // The answer was lost, the node and even the coordinator started again, the invitation is over.
    office.restart();
    office.now = START.plus_ms(48 * HOUR_MS);
    assert_eq!(office.redeem(2, 1).unwrap(), (certificate, bytes));
    assert_eq!(office.used(1), 1);
    assert_eq!(office.disk.members[0].opening, Some((1, 100)));
}

#[test]
fn each_refusal_has_its_own_name_and_changes_nothing() {
    let mut office = Office::new();
    office.invite(1, |_| {}).unwrap();
    office
        .invite(2, |terms| terms.roles = RoleSet::CLIENT)
        .unwrap();
    office.invite(3, |terms| terms.ttl_ms = HOUR_MS).unwrap();
    office.invite(4, |_| {}).unwrap();
    let prefix = Secret([4; 16]).hash().to_string()[..8].to_owned();
    office.order(Order::Revoke { prefix }).unwrap();
    office.invite(5, |terms| terms.uses_max = 9).unwrap();
    office.redeem(20, 1).unwrap();
    office.redeem(21, 5).unwrap();
    let pick = NodeId([21; 32]).to_string()[..6].to_owned();
    office.order(Order::Remove { pick }).unwrap();
    office.now = START.plus_ms(2 * HOUR_MS);

    let before = office.disk.clone();
    let role = RoleSet::CLIENT;
    let cases = [
        (30, 9, "box", JoinRefusal::Unknown),
        (30, 1, "box", JoinRefusal::UsedUp { uses: 1 }),
        (30, 2, "box", JoinRefusal::Role { allowed: role }),
        (30, 3, "box", JoinRefusal::Expired { seconds: 3600 }),
        (30, 4, "box", JoinRefusal::Revoked),
        (21, 5, "box", JoinRefusal::Removed),
        (30, 5, "a b", JoinRefusal::Name),
        (30, 5, "owner", JoinRefusal::Name),
    ];
    for (node, secret, name, refusal) in cases {
        let refused = office.redeem_as(node, secret, RoleSet::WORKER, name);
        assert_eq!(refused, Err(refusal));
    }
    let nothing = office.redeem_as(30, 5, RoleSet::default(), "box");
    assert!(matches!(nothing, Err(JoinRefusal::Role { .. })));
    let boss = office.redeem_as(30, 5, RoleSet::COORDINATOR, "box");
    assert!(matches!(boss, Err(JoinRefusal::Role { .. })));
    assert_eq!(office.renew(30), Err(JoinRefusal::Stranger));
    assert_eq!(office.renew(21), Err(JoinRefusal::Removed));
    assert_eq!(office.disk, before);
}

#[test]
fn an_invitation_out_of_bounds_is_refused_by_the_name_of_the_field() {
    let mut office = Office::new();
    type Case = (fn(&mut Terms), &'static str);
    let cases: [Case; 8] = [
        (|terms| terms.uses_max = 0, "uses: 1 to 100"),
        (|terms| terms.uses_max = 101, "uses: 1 to 100"),
        (|terms| terms.ttl_ms = 0, "ttl: "),
        (|terms| terms.ttl_ms = TTL_MS_MAX + 1, "at most 30 days"),
        (|terms| terms.roles = RoleSet::COORDINATOR, "role: "),
        (|terms| terms.roles = RoleSet::default(), "role: "),
        (|terms| terms.name = "a b".to_owned(), "1 to 64 letters"),
        (
            |terms| (terms.name, terms.uses_max) = ("box".to_owned(), 2),
            "cannot name them",
        ),
    ];
    for (change, words) in cases {
        let error = office.invite(1, change).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    assert_eq!(office.disk, Change::default());
}

#[test]
fn a_member_renews_in_the_last_third_and_not_after_the_end() {
    let mut office = Office::new();
    office.invite(1, |_| {}).unwrap();
    let (first, _) = office.redeem(2, 1).unwrap();
    office.now = START.plus_ms(LIFETIME_MS / 2);
    assert_eq!(office.renew(2).unwrap().0, first);
    office.now = first.renew_at();
    let (second, _) = office.renew(2).unwrap();
    assert_eq!(second.expires, first.renew_at().plus_ms(LIFETIME_MS));
    assert!(second.serial > first.serial);
    assert_eq!((second.member, &second.name), (first.member, &first.name));
    // The answer was lost.
    office.now = office.now.plus_ms(1);
    assert_eq!(office.renew(2).unwrap().0, second);
    office.now = second.expires.plus_ms(5_000);
    assert_eq!(office.renew(2), Err(JoinRefusal::Lapsed { seconds: 5 }));
    // A new invitation lets it in again, as who it was and without credits for having been away.
    office.invite(3, |_| {}).unwrap();
    let (third, _) = office.redeem(2, 3).unwrap();
    assert_eq!(third.member, first.member);
    assert_eq!(office.disk.members[0].opening, Some((1, 100)));
}

#[test]
fn a_machine_of_a_member_who_is_there_brings_no_credits() {
    let mut office = Office::new();
    let named = |terms: &mut Terms| terms.member = Some(MemberId([8; 16]));
    office.invite(1, named).unwrap();
    let (certificate, _) = office.redeem(2, 1).unwrap();
    assert_eq!(certificate.member, MemberId([8; 16]));
    assert_eq!(office.disk.members[0].opening, None);
}

#[test]
fn a_name_means_one_node() {
    let mut office = Office::new();
    office.invite(1, |terms| terms.uses_max = 3).unwrap();
    let long = "n".repeat(64);
    let names: Vec<_> = (2..5)
        .map(|node| {
            let joined = office.redeem_as(node, 1, RoleSet::CLIENT, &long);
            joined.unwrap().0.name
        })
        .collect();
    let short = "n".repeat(62);
    assert_eq!(names, [long, format!("{short}-2"), format!("{short}-3")]);
    let pick = names[1].clone();
    office.order(Order::Remove { pick }).unwrap();
    assert_eq!(office.register.standing(NodeId([3; 32])), Standing::Removed);
    assert!(matches!(
        office.register.standing(NodeId([4; 32])),
        Standing::Member(_)
    ));
    office.restart();
    assert_eq!(office.register.standing(NodeId([3; 32])), Standing::Removed);
    assert_eq!(
        office.register.standing(NodeId([30; 32])),
        Standing::Stranger
    );
}

#[test]
fn a_node_is_put_out_only_where_one_is_meant() {
    let mut office = Office::new();
    office.invite(1, |terms| terms.uses_max = 3).unwrap();
    office.redeem(0x22, 1).unwrap();
    for pick in ["", "2", "222", "23232323", "nobody"] {
        let pick = pick.to_owned();
        let refused = office.order(Order::Remove { pick: pick.clone() });
        assert_eq!(refused, Err(AdmissionError::NoMember { pick }));
    }
    let pick = "2222".to_owned();
    office.order(Order::Remove { pick }).unwrap();
    assert!(office.register.members().is_empty());
    assert_eq!(office.put_out, [NodeId([0x22; 32])]);
    office.restart();
    assert_eq!(office.register.removed(), office.put_out);
}

#[test]
fn nobody_hears_of_a_certificate_that_the_disk_does_not_have() {
    let mut office = Office::new();
    office.invite(1, |_| {}).unwrap();
    let redeem = |call| Input::Order {
        call,
        order: Order::Redeem {
            node: NodeId([2; 32]),
            secret: Secret([1; 16]),
            roles: RoleSet::WORKER,
            name: "box".to_owned(),
        },
    };
    let out = office.input(redeem(1));
    assert!(matches!(&out[..], [Effect::Persist { write: 2, .. }]));
    // Asked again while the first commit is under way: no second use, and no answer yet either.
    assert_eq!(office.input(redeem(2)), []);
    let told = office.input(Input::PersistFailed {
        message: "full".to_owned(),
    });
    assert_eq!(told.len(), 2);
    for effect in told {
        let outcome = Err(AdmissionError::Unwritten {
            message: "full".to_owned(),
        });
        assert!(matches!(effect, Effect::Answer { outcome: said, .. } if said == outcome));
    }
    office.restart();
    assert_eq!(office.used(1), 0);
}

#[test]
fn what_waits_for_a_stuck_disk_is_bounded() {
    let mut office = Office::new();
    let mut busy = 0;
    for n in 0..200 {
        let order = Order::Invite {
            hash: Secret([n; 16]).hash(),
            terms: terms(),
        };
        let out = office.input(Input::Order {
            call: n.into(),
            order,
        });
        let outcome = Err(AdmissionError::Busy);
        busy += usize::from(
            out == [Effect::Answer {
                call: n.into(),
                outcome,
            }],
        );
    }
    assert_eq!(busy, 200 - WRITES_MAX as usize);
}

#[test]
fn invitations_and_members_are_bounded_and_the_spent_make_room() {
    let mut office = Office::new();
    let hash = |n: usize| Secret((n as u128).to_le_bytes()).hash();
    let invite = |n: usize| Order::Invite {
        hash: hash(n),
        terms: Terms {
            uses_max: USES_MAX,
            ..terms()
        },
    };
    for n in 0..INVITES_MAX {
        office.order(invite(n)).unwrap();
    }
    let full = Err(AdmissionError::Full { limit: INVITES_MAX });
    assert_eq!(office.order(invite(INVITES_MAX)), full);
    let redeem = |n: usize| Order::Redeem {
        node: NodeId(hash(n).0),
        secret: Secret(((n / USES_MAX as usize) as u128).to_le_bytes()),
        roles: RoleSet::CLIENT,
        name: "box".to_owned(),
    };
    for n in 0..MEMBERS_MAX {
        office.order(redeem(n)).unwrap();
    }
    let limit = MEMBERS_MAX as u64;
    let full = Err(JoinRefusal::Full { limit }.into());
    assert_eq!(office.order(redeem(MEMBERS_MAX)), full);
    let pick = "box-7".to_owned();
    office.order(Order::Remove { pick }).unwrap();
    office.order(redeem(MEMBERS_MAX)).unwrap();

    office.now = START.plus_ms(24 * HOUR_MS + REMEMBERED_MS);
    office.order(invite(INVITES_MAX)).unwrap();
    assert_eq!(office.register.invites().len(), 1);
    assert_eq!(office.disk.invites.len(), 1);
}
