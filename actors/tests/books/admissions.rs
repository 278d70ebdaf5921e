//! Admissions with a real file and a real ledger: a node comes in once, however often actors die on the way.

use crate::desk::client;
use crate::shells::House;
use ractor::{Actor, ActorRef};
use troop_actors::admissions::protocol::Standing;
use troop_actors::admissions::{
    Admissions, AdmissionsArgs, AdmissionsHandle, AdmissionsMessage, JoinRefusal, Outcasts, Terms,
};
use troop_actors::certificate::{Certificate, RoleSet};
use troop_actors::ids::{MemberId, NodeId};
use troop_actors::invitation::Secret;
use troop_actors::ledger::LedgerHandle;
use troop_actors::price::CREDIT;
use troop_actors::questions::{Answer, Question};

const JOINER: NodeId = NodeId([2; 32]);

async fn admissions(house: &House, outcasts: &Outcasts) -> ActorRef<AdmissionsMessage> {
    let args = AdmissionsArgs {
        node: house.node.clone(),
        key: client(),
        path: house.folder.join("admissions.redb"),
        outcasts: outcasts.clone(),
    };
    Actor::spawn(None, Admissions, args).await.unwrap().0
}

fn terms() -> Terms {
    Terms {
        roles: RoleSet::CLIENT,
        uses_max: 1,
        ttl_ms: 3_600_000,
        name: String::new(),
        member: None,
        credits: 100 * CREDIT,
        inviter: MemberId([9; 16]),
    }
}

fn join(secret: Secret) -> Question {
    Question::Join {
        secret,
        roles: RoleSet::CLIENT,
        name: "box".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joiner_has_its_credits_before_its_certificate_and_both_once() {
    let house = House::new("joins");
    let outcasts = Outcasts::default();
    let mut actor = admissions(&house, &outcasts).await;
    let office = AdmissionsHandle::new(house.node.clone());
    let (secret, record) = office.invite(terms()).await.unwrap();
    assert_eq!(record.hash, secret.hash());

    // The books are away: the joiner hears that it may ask again, and has nothing yet.
    let refusal = JoinRefusal::Busy;
    assert_eq!(
        office.answer(JOINER, &join(secret)).await,
        Some(Answer::JoinRefused { refusal })
    );
    house.ledger().await;
    let ledger = LedgerHandle::new(house.node.clone());
    let mut certificates = Vec::new();
    for _ in 0..3 {
        actor.kill();
        actor = admissions(&house, &outcasts).await;
        match office.answer(JOINER, &join(secret)).await {
            Some(Answer::Joined { certificate }) => certificates.push(certificate),
            other => panic!("{other:?}"),
        }
    }
    certificates.dedup();
    assert_eq!(certificates.len(), 1);
    let now = house.node.clock.now();
    let troop = client().node();
    let read = Certificate::verify(&certificates[0], troop, JOINER, now).unwrap();
    let account = ledger.account(read.member).await.unwrap();
    assert_eq!((account.granted, &account.name[..]), (100 * CREDIT, "box"));
    assert_eq!(ledger.verify().await.unwrap().unwrap().entries, 1);
    assert_eq!(office.invites().await.unwrap()[0].used, 1);
    assert_eq!(
        office.answer(JOINER, &Question::Renew).await,
        Some(Answer::Joined {
            certificate: certificates.remove(0)
        })
    );
    assert_eq!(office.answer(JOINER, &Question::Ping).await, None);

    let refusal = JoinRefusal::UsedUp { uses: 1 };
    let other = NodeId([3; 32]);
    assert_eq!(
        office.answer(other, &join(secret)).await,
        Some(Answer::JoinRefused { refusal })
    );

    assert!(!outcasts.has(JOINER));
    office.remove("box").await.unwrap();
    assert!(outcasts.has(JOINER));
    let refusal = JoinRefusal::Removed;
    assert_eq!(
        office.answer(JOINER, &Question::Renew).await,
        Some(Answer::JoinRefused { refusal })
    );
    // A new life of the actor knows it too, and says so to those who cannot ask.
    actor.kill();
    let outcasts = Outcasts::default();
    admissions(&house, &outcasts).await;
    assert!(outcasts.has(JOINER));
    assert_eq!(office.standing(JOINER).await, Ok(Standing::Removed));
    assert_eq!(office.standing(other).await, Ok(Standing::Stranger));
}
