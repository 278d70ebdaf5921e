//! What the coordinator tells a door: the time, and what it has taken back.

use super::*;
use crate::ticket::{Revocations, Revoked};

/// The door asks at `now` and is answered `way_ms` later by a clock that is `ahead_ms` ahead.
fn consult(door: &mut Door, now: Time, way_ms: u64, ahead_ms: i64) {
    let mut out = Vec::new();
    door.wake(now, &mut out);
    let Some(Effect::Consult { sent, .. }) = out.pop() else {
        panic!("it asks when it is time")
    };
    assert_eq!(sent, now);
    let half = now.plus_ms(way_ms / 2);
    let there = Time(half.0.saturating_add_signed(ahead_ms));
    let told = Input::Told {
        sent,
        there,
        revocations: None,
        keys: None,
    };
    door.step(now.plus_ms(way_ms), told, &mut out);
    door.check();
    assert_eq!(out, []);
}

#[test]
fn tickets_are_judged_by_the_time_of_their_coordinator() {
    // A ticket of the coordinator's now, shown at a door whose clock is off: how far, how long the answer took,
    // and what is said.
    let early = |seconds| Err(Turnaway::Ticket(TicketError::Early { seconds }));
    let off = |offset_ms| Err(Turnaway::ClockUnsafe { offset_ms });
    let cases = [
        (0, 100, Ok(())),
        (20_000, 100, Ok(())),
        (-20_000, 100, Ok(())),
        (30_000, 0, Ok(())),
        (30_001, 0, off(30_001)),
        (-30_001, 0, off(-30_001)),
        (3_600_000, 1_000, off(3_600_000)),
        // So long a way says nothing: it is judged by its own clock.
        (20_000, 2_001, early(15)),
    ];
    for (ahead_ms, way_ms, expected) in cases {
        let mut door = door();
        consult(&mut door, Time(NOW.0 - 10_000), way_ms, ahead_ms);
        let there = Time(NOW.0.saturating_add_signed(ahead_ms));
        let ticket = Claims {
            issued_at: there.seconds(),
            expires_at: there.seconds() + 120,
            issued_ms: there.0 % 1000,
            ..claims(0)
        };
        let found = knock(&mut door, NOW, &ticket, work()).map(|_| ());
        assert_eq!(found, expected, "{ahead_ms} ms, told within {way_ms} ms");
    }
}

#[test]
fn an_answer_that_was_not_asked_for_says_nothing_about_the_time() {
    let mut door = door();
    consult(&mut door, Time(NOW.0 - 10_000), 0, 0);
    let mut out = Vec::new();
    for sent in [Time(NOW.0 - 10_000), Time(0), Time(u64::MAX)] {
        let told = Input::Told {
            sent,
            there: Time(u64::MAX),
            revocations: None,
            keys: None,
        };
        door.step(NOW, told, &mut out);
    }
    assert!(knock(&mut door, NOW, &claims(0), work()).is_ok());
}

#[test]
fn a_used_ticket_stays_used_whatever_is_said_about_the_time() {
    let mut door = door();
    assert!(knock(&mut door, NOW, &claims(0), work()).is_ok());
    let end = NOW.plus_ms(100_000);
    // First it is said to be half a minute later, when the ticket has expired; then it is taken back.
    consult(&mut door, end, 0, 30_000);
    assert!(knock(&mut door, end.plus_ms(1), &claims(0), work()).is_err());
    let fresh = Claims {
        issued_at: end.seconds() + 30,
        expires_at: end.seconds() + 150,
        ..claims(1)
    };
    assert!(knock(&mut door, end.plus_ms(2), &fresh, work()).is_ok());
    consult(&mut door, end.plus_ms(6_000), 0, -30_000);
    let again = knock(&mut door, end.plus_ms(6_001), &claims(0), work());
    assert_eq!(again, Err(Turnaway::Used));
}

#[test]
fn what_was_taken_back_is_turned_away_by_name_and_ended() {
    let client = claims(0).client;
    let revoked = [
        Revoked::Client(client),
        Revoked::Member(claims(0).payer),
        Revoked::Attempt(claims(0).attempt),
    ];
    let told = |list: &Revocations| Input::Told {
        sent: Time(0),
        there: NOW,
        revocations: Some(Box::new(list.clone())),
        keys: None,
    };
    for revoked in revoked {
        let mut door = door();
        let list = Revocations::sign(5, 0, vec![revoked], &coordinator());
        let forged = Revocations::sign(6, 0, vec![revoked], &NodeKey::from_secret([9; 32]));
        let mut out = Vec::new();
        door.step(NOW, told(&forged), &mut out);
        assert_eq!(out, [], "whoever signed that is not the coordinator");
        door.step(NOW, told(&list), &mut out);
        let put_out = match revoked {
            Revoked::Client(node) => Some(Effect::PutOut(vec![node])),
            Revoked::Member(_) | Revoked::Attempt(_) => None,
        };
        let ends = Effect::Revoke(vec![revoked]);
        let expected: Vec<_> = put_out.into_iter().chain([ends]).collect();
        assert_eq!(out, expected, "what runs ends");
        out.clear();
        let older = Revocations::sign(4, 0, Vec::new(), &coordinator());
        for known in [&list, &older] {
            door.step(NOW, told(known), &mut out);
            assert_eq!(out, [], "that is no news");
        }
        let found = knock(&mut door, NOW, &claims(0), work());
        assert_eq!(found, Err(Turnaway::Revoked), "{revoked:?}");
        let other = knock(&mut door, NOW, &claims(1), work());
        let is_other = matches!(revoked, Revoked::Attempt(_));
        assert_eq!(other.is_ok(), is_other, "{revoked:?}");
    }
}
