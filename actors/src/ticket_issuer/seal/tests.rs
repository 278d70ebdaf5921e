//! Tickets that are signed once and again, what was taken back, and keys that turn.

use super::*;
use crate::ids::{Class, Digest, HoldId, MemberId, NodeId, Passport, RequestId};
use crate::session::protocol::Patience;
use crate::ticket::Expected;

fn granted(seal: &mut Seal, now: Time, claims: &Claims) -> Grant {
    let mut out = Vec::new();
    let issue = Issue {
        client: claims.client,
        patience: PATIENCE,
        claims: claims.clone(),
    };
    seal.step(now, Input::Issue(Box::new(issue)), &mut out);
    let Some(Effect::Granted { grant, .. }) = out.pop() else {
        panic!("an order gives a grant");
    };
    *grant
}

const PATIENCE: Patience = Patience {
    silence_ms: 5_000,
    progress_ms: 20_000,
};

/// An order for the third attempt of a request.
fn ordered() -> Claims {
    Claims {
        issuer: NodeId([0; 32]),
        payer: MemberId([3; 16]),
        worker: NodeId([4; 32]),
        client: NodeId([5; 32]),
        issued_at: 0,
        issued_ms: 0,
        expires_at: 0,
        attempt: AttemptId([0; 16]),
        hold: HoldId::of(RequestId([2; 16])),
        request: RequestId([2; 16]),
        number: 2,
        model: Passport([6; 32]),
        class: Class::of("class"),
        prompt_bytes_max: 10,
        completion_tokens_max: 20,
        prices: Digest([7; 32]),
        cost_max: 30,
        stream_seconds_max: 40,
        epoch: 0,
    }
}

#[test]
fn the_same_order_twice_is_a_fresh_ticket_for_the_same_attempt() {
    // Given an order for the third attempt of a request,
    let key = NodeKey::from_secret([1; 32]);
    let claims = ordered();
    let hold = claims.hold;
    // when it is given twice, a minute apart,
    let mut seal = Seal::new(key.clone(), Rotation::default());
    let keys = seal.keys.clone();
    let first = granted(&mut seal, Time(1_000_500), &claims);
    let second = granted(&mut seal, Time(1_060_500), &claims);
    // then both tickets are good for that attempt, each for its own two minutes.
    assert_eq!(first.attempt, AttemptId::of(hold, 2));
    assert_eq!(first.attempt, second.attempt);
    for (grant, issued_at) in [(first, 1000), (second, 1060)] {
        let expected = Expected {
            issuer: key.node(),
            keys: &keys,
            epoch: 0,
            worker: claims.worker,
            client: claims.client,
            now_seconds: issued_at,
        };
        let said = ticket::verify(&grant.ticket, &expected).expect("it was just signed");
        assert_eq!(
            (said.issued_at, said.expires_at),
            (issued_at, issued_at + 120)
        );
        assert_eq!(said.attempt, grant.attempt);
    }
}

#[test]
fn what_was_taken_back_is_told_to_every_door_and_not_signed_again() {
    let key = NodeKey::from_secret([1; 32]);
    let (door, client) = (NodeId([4; 32]), NodeId([5; 32]));
    let mut seal = Seal::new(key.clone(), Rotation::default());
    let tell = |seal: &mut Seal, now, list| {
        let mut out = Vec::new();
        let tell = Input::Tell {
            door,
            sent: Time(7),
            list,
            keys: Time(0),
        };
        seal.step(now, tell, &mut out);
        seal.check();
        match out.pop() {
            Some(Effect::Told {
                there, revocations, ..
            }) => {
                assert_eq!(there, now);
                revocations
            }
            other => panic!("a door is answered: {other:?}"),
        }
    };
    assert_eq!(tell(&mut seal, Time(50), 0), None);
    let mut out = Vec::new();
    for _ in 0..2 {
        let revoked = vec![Revoked::Client(client)];
        seal.step(Time(100), Input::Revoke(revoked), &mut out);
    }
    let list = tell(&mut seal, Time(150), 0).expect("it is news");
    assert!(list.verifies(key.node()));
    assert_eq!(list.revoked, [Revoked::Client(client)]);
    assert_eq!(tell(&mut seal, Time(160), list.number), None);
    // The next list is a later one, in this life of the coordinator and in the next.
    let member = vec![Revoked::Member(MemberId([3; 16]))];
    seal.step(Time(90), Input::Revoke(member), &mut out);
    let later = tell(&mut seal, Time(170), list.number).expect("it is news");
    assert!(later.number > list.number);
    let issue = Issue {
        client,
        patience: PATIENCE,
        claims: ordered(),
    };
    seal.step(Time(200), Input::Issue(Box::new(issue)), &mut out);
    assert_eq!(out, [], "it is not signed for whoever is out");
}

/// The rotation that is written, and its write.
fn persisted(out: &[Effect]) -> Option<(u64, Rotation)> {
    out.iter().find_map(|effect| match effect {
        Effect::Persist { write, rotation } => Some((*write, *rotation)),
        _ => None,
    })
}

fn answer(out: &[Effect]) -> Option<&Result<Keys, RotateError>> {
    out.iter().find_map(|effect| match effect {
        Effect::Answer { outcome, .. } => Some(outcome),
        _ => None,
    })
}

fn said(seal: &mut Seal, now: Time, input: Input) -> Vec<Effect> {
    let mut out = Vec::new();
    seal.step(now, input, &mut out);
    seal.check();
    out
}

#[test]
fn the_next_key_signs_once_the_disk_knows_and_never_before_every_door_does() {
    let key = NodeKey::from_secret([1; 32]);
    let mut seal = Seal::new(key.clone(), Rotation::default());
    let day = 24 * 3_600_000;
    let begun = Time(40 * day);
    // A coordinator's first key is long due.
    let mut out = Vec::new();
    seal.wake(begun, &mut out);
    seal.check();
    let (write, first) = persisted(&out).expect("it turns");
    assert_eq!(seal.deadline(), None);
    assert_eq!(said(&mut seal, begun, Input::Persisted { write }), []);
    assert_eq!(seal.rotation, first);
    assert_eq!(seal.deadline(), Some(begun.plus_ms(30 * day)));
    let rotate = |revokes| Input::Rotate { call: 7, revokes };
    for (after_ms, seconds) in [(0, 60), (1, 60), (59_999, 1)] {
        let out = said(&mut seal, begun.plus_ms(after_ms), rotate(false));
        let soon = Err(RotateError::Soon { seconds });
        assert_eq!((answer(&out), out.len()), (Some(&soon), 1));
    }
    // It is asked for in time, and the disk takes its time.
    let now = begun.plus_ms(60_000);
    let out = said(&mut seal, now, rotate(false));
    let (write, second) = persisted(&out).expect("it turns");
    assert_eq!(answer(&out), None, "nothing is said before the disk knows");
    let before = seal.keys.clone();
    let busy = said(&mut seal, now, rotate(true));
    assert_eq!(answer(&busy), Some(&Err(RotateError::Busy)));
    granted(&mut seal, now, &ordered());
    assert_eq!(seal.keys, before, "the old one signs until then");
    let out = said(&mut seal, now.plus_ms(9), Input::Persisted { write });
    let told = answer(&out).and_then(|outcome| outcome.clone().ok());
    let told = told.expect("it is done");
    assert_eq!((told.keys.current, told.epoch), (before.next, 0));
    assert_eq!(told.keys.previous, Some(before.current));
    // Its next life goes on with the same keys.
    assert_eq!(Seal::new(key, second).keys, told.keys);
}

#[test]
fn a_revoking_rotation_takes_back_every_ticket_of_before_in_this_life_and_the_next() {
    let key = NodeKey::from_secret([1; 32]);
    let start = Rotation::default().turned(Time(1_000_000), false);
    let mut seal = Seal::new(key.clone(), start);
    let old = granted(&mut seal, Time(1_000_500), &ordered());
    let rotate = Input::Rotate {
        call: 1,
        revokes: true,
    };
    let out = said(&mut seal, Time(1_001_000), rotate);
    let (write, rotation) = persisted(&out).expect("at once");
    said(&mut seal, Time(1_001_000), Input::Persisted { write });
    let new = granted(&mut seal, Time(1_001_500), &ordered());
    for seal in [seal, Seal::new(key.clone(), rotation)] {
        seal.check();
        let list = seal.list.clone().expect("it is listed");
        assert!(list.verifies(key.node()));
        assert_eq!((list.epoch, list.revoked.len()), (1, 0));
        let claims = ordered();
        let verify = |ticket: &str, keys: &KeySet| {
            let expected = Expected {
                issuer: key.node(),
                keys,
                epoch: list.epoch,
                worker: claims.worker,
                client: claims.client,
                now_seconds: 1_002,
            };
            ticket::verify(ticket, &expected).map(|claims| claims.epoch)
        };
        assert_eq!(verify(&new.ticket, &seal.keys), Ok(1));
        let unknown = Err(ticket::TicketError::UnknownKey);
        assert_eq!(verify(&old.ticket, &seal.keys), unknown);
        // A door that has heard of the list and not of the keys refuses it as well.
        let over = ticket::TicketError::Epoch {
            epoch: 0,
            wanted: 1,
        };
        assert_eq!(verify(&old.ticket, &start.keys(&key)), Err(over));
    }
}

#[test]
fn a_door_with_a_list_of_a_life_that_nobody_remembers_gets_the_list_of_this_one() {
    let key = NodeKey::from_secret([1; 32]);
    let mut seal = Seal::new(key.clone(), Rotation::default());
    let told = |seal: &mut Seal, list| {
        let tell = Input::Tell {
            door: NodeId([4; 32]),
            sent: Time(7),
            list,
            keys: Time(0),
        };
        match said(seal, Time(2_000_000), tell).into_iter().next() {
            Some(Effect::Told { revocations, .. }) => revocations,
            other => panic!("a door is answered: {other:?}"),
        }
    };
    assert_eq!(told(&mut seal, 0), None, "nobody has a list");
    let list = told(&mut seal, 1_000_000).expect("it knows of an epoch");
    assert!(list.verifies(key.node()) && list.number > 1_000_000);
    assert_eq!((list.epoch, list.revoked.len()), (0, 0));
    assert_eq!(told(&mut seal, list.number), None);
}

#[test]
fn a_rotation_that_the_disk_does_not_take_changes_nothing() {
    let mut seal = Seal::new(NodeKey::from_secret([1; 32]), Rotation::default());
    let before = seal.keys.clone();
    let rotate = Input::Rotate {
        call: 3,
        revokes: true,
    };
    said(&mut seal, Time(100_000), rotate);
    let message = "full".to_owned();
    let failed = Input::PersistFailed { message };
    let out = said(&mut seal, Time(100_001), failed);
    assert!(matches!(
        answer(&out),
        Some(Err(RotateError::Unwritten { .. }))
    ));
    assert_eq!(seal.keys, before);
}
