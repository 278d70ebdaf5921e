//! Keys that change while tickets are on their way.

use super::*;
use crate::ticket::Revocations;

/// A ticket of `rotation`'s time, issued so many seconds after [`NOW`].
fn of(rotation: &Rotation, number: u32, seconds: u64) -> (Claims, String) {
    let claims = Claims {
        issued_at: NOW.seconds() + seconds,
        expires_at: NOW.seconds() + seconds + 120,
        epoch: rotation.epoch,
        ..claims(number)
    };
    let ticket = ticket::sign(&claims, &rotation.signer(&coordinator()));
    (claims, ticket)
}

/// What the door says of that ticket, so many seconds after [`NOW`].
fn shown(
    door: &mut Door,
    (claims, ticket): &(Claims, String),
    seconds: u64,
) -> Result<(), Turnaway> {
    let input = Input::Knock {
        peer: claims.client,
        request: claims.request,
        attempt: claims.attempt,
        ticket: ticket.clone(),
        work: Box::new(work()),
    };
    let mut out = Vec::new();
    door.step(NOW.plus_ms(seconds * 1_000), input, &mut out);
    door.check();
    match out.pop() {
        Some(Effect::Admit { .. }) => Ok(()),
        Some(Effect::Turn { reason, .. }) => Err(reason),
        other => panic!("a knock is answered: {other:?}"),
    }
}

fn tell(door: &mut Door, rotation: Rotation) {
    let mut out = Vec::new();
    door.step(NOW, keys(rotation), &mut out);
    assert_eq!(out, []);
}

fn refused<T>(error: TicketError) -> Result<T, Turnaway> {
    Err(Turnaway::Ticket(error))
}

#[test]
fn nobody_notices_a_rotation_whoever_hears_of_it_first() {
    let first = rotation();
    let second = first.turned(NOW.plus_ms(10_000), false);
    let third = second.turned(NOW.plus_ms(100_000), false);
    let mut door = door();
    // The first ticket of the next key is here before the door has heard of it.
    let early = of(&second, 0, 10);
    assert_eq!(shown(&mut door, &early, 10), Ok(()));
    tell(&mut door, second);
    // The last ticket of the key before stood by, and is shown when its own time is nearly over.
    let late = of(&first, 1, 10);
    assert_eq!(shown(&mut door, &late, 129), Ok(()));
    // Two rotations on it is over by its key's name; and nobody knows the key after the next.
    let after = of(&third.turned(NOW.plus_ms(200_000), false), 2, 130);
    assert_eq!(
        shown(&mut door, &after, 130),
        refused(TicketError::UnknownKey)
    );
    tell(&mut door, third);
    let again = of(&first, 3, 120);
    assert_eq!(
        shown(&mut door, &again, 121),
        refused(TicketError::UnknownKey)
    );
    // It is known ahead of its first use.
    assert_eq!(shown(&mut door, &after, 131), Ok(()));
}

#[test]
fn a_key_that_was_replaced_signs_nothing_any_more_once_its_tickets_have_ended() {
    let first = rotation();
    let second = first.turned(NOW, false);
    for (seconds, expected) in [
        (0, Ok(())),
        (120, Ok(())),
        (140, Ok(())),
        (141, refused(TicketError::RetiredKey)),
        (9_999, refused(TicketError::RetiredKey)),
    ] {
        let mut door = door();
        tell(&mut door, second);
        let ticket = of(&first, 0, seconds);
        assert_eq!(shown(&mut door, &ticket, seconds), expected, "{seconds} s");
    }
}

#[test]
fn keys_that_go_backwards_or_are_not_the_coordinators_are_not_taken() {
    let first = rotation();
    let second = first.turned(NOW, false);
    let mut door = door();
    tell(&mut door, second);
    let stranger = NodeKey::from_secret([9; 32]);
    let later = second.turned(NOW.plus_ms(1), false);
    let mut unsigned = later.keys(&coordinator());
    unsigned.signature.0[7] ^= 1;
    let mut altered = later.keys(&coordinator());
    altered.current = later.turned(NOW.plus_ms(2), false).keys(&stranger).current;
    // A ticket key of the coordinator's signs no sets.
    let signer = second.signer(&coordinator());
    let bad = [
        first.keys(&coordinator()),
        later.keys(&stranger),
        later.keys(&signer),
        unsigned,
        altered,
    ];
    let known = door.times.keys().cloned();
    for set in bad {
        let told = Input::Told {
            sent: Time(0),
            there: NOW,
            revocations: None,
            keys: Some(Box::new(set)),
        };
        door.step(NOW, told, &mut Vec::new());
        assert_eq!(door.times.keys().cloned(), known);
    }
    tell(&mut door, later);
    assert!(
        door.times.keys().cloned() != known,
        "it is later, and signed"
    );
}

#[test]
fn a_ticket_of_an_epoch_that_was_taken_back_is_refused_by_name() {
    let first = rotation();
    let second = first.turned(NOW, true);
    let list = Revocations::sign(NOW.0, second.epoch, Vec::new(), &coordinator());
    let mut door = door();
    let told = |keys: Option<Rotation>| Input::Told {
        sent: Time(0),
        there: NOW,
        revocations: Some(Box::new(list.clone())),
        keys: keys.map(|rotation| Box::new(rotation.keys(&coordinator()))),
    };
    // The list alone is enough, and a new ticket is good by the key that was published ahead.
    let mut out = Vec::new();
    door.step(NOW, told(None), &mut out);
    assert_eq!(out, [], "nobody is out, and what runs goes on");
    let (epoch, wanted) = (0, 1);
    let over = refused(TicketError::Epoch { epoch, wanted });
    assert_eq!(shown(&mut door, &of(&first, 0, 1), 1), over);
    assert_eq!(shown(&mut door, &of(&second, 1, 1), 1), Ok(()));
    // Once the keys are known, whoever has the old one cannot say another epoch.
    door.step(NOW, told(Some(second)), &mut Vec::new());
    let claims = of(&second, 2, 1).0;
    let forged = ticket::sign(&claims, &first.signer(&coordinator()));
    let found = shown(&mut door, &(claims, forged), 1);
    assert_eq!(found, refused(TicketError::UnknownKey));
}

#[test]
fn a_door_that_was_told_no_keys_asks_often_and_says_so() {
    let wiring = door().wiring;
    let mut door = Door::new(wiring, Time(NOW.0 - 60_000));
    let asks = |door: &mut Door| {
        let mut out = Vec::new();
        door.wake(NOW, &mut out);
        let [Effect::Consult { sent, keys, .. }] = out[..] else {
            panic!("it asks: {out:?}")
        };
        (sent, keys, door.deadline().map(|next| next.since_ms(NOW)))
    };
    assert_eq!(asks(&mut door), (NOW, Time(0), Some(500)));
    let found = knock(&mut door, NOW, &claims(0), work());
    assert_eq!(found, Err(Turnaway::New));
    let there = Time(NOW.0 - 1);
    door.step(NOW, answered(NOW, there, rotation()), &mut Vec::new());
    door.times.ask = NOW;
    assert_eq!(asks(&mut door), (NOW, rotation().since, Some(5_000)));
    assert!(knock(&mut door, NOW, &claims(0), work()).is_ok());
}
