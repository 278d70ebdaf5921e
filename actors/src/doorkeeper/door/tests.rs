//! The door against good tickets, used ones, old ones and those of others.

use super::*;
use crate::generate::{Generate, Prompt, Resume};
use crate::ids::{Class, HoldId, MemberId, NodeKey, Passport};
use crate::price::Prices;
use crate::ticket::{Rotation, TicketError};

const NOW: Time = Time(1_800_000_000_000);

fn coordinator() -> NodeKey {
    NodeKey::from_secret([1; 32])
}

/// The coordinator's first key is in use since two minutes ago.
fn rotation() -> Rotation {
    Rotation::default().turned(Time(NOW.0 - 120_000), false)
}

/// A ticket that the coordinator signed.
fn signed(claims: &Claims) -> String {
    ticket::sign(claims, &rotation().signer(&coordinator()))
}

/// What the coordinator says of its keys, asked or not.
fn keys(rotation: Rotation) -> Input {
    answered(Time(0), NOW, rotation)
}

/// What it says of them to who asked at `sent`.
fn answered(sent: Time, there: Time, rotation: Rotation) -> Input {
    Input::Told {
        sent,
        there,
        revocations: None,
        keys: Some(Box::new(rotation.keys(&coordinator()))),
    }
}

fn door() -> Door {
    opened(NodeId([2; 32]), Time(NOW.0 - 60_000))
}

/// The door of `me`, which opened then and was answered at once.
fn opened(me: NodeId, at: Time) -> Door {
    let coordinator = coordinator().node();
    let mut door = Door::new(Wiring { me, coordinator }, at);
    let mut out = Vec::new();
    let asked = door.deadline().expect("it asks");
    door.wake(asked, &mut out);
    assert!(matches!(out[..], [Effect::Consult { sent, .. }] if sent == asked));
    out.clear();
    door.step(asked, answered(asked, asked, rotation()), &mut out);
    assert_eq!(out, []);
    door
}

fn claims(number: u32) -> Claims {
    let request = RequestId([3; 16]);
    let hold = HoldId::of(request);
    Claims {
        issuer: coordinator().node(),
        payer: MemberId([4; 16]),
        worker: NodeId([2; 32]),
        client: NodeId([5; 32]),
        issued_at: NOW.seconds(),
        issued_ms: 0,
        expires_at: NOW.seconds() + 120,
        attempt: AttemptId::of(hold, number),
        hold,
        request,
        number,
        model: Passport([6; 32]),
        class: Class::of("class"),
        prompt_bytes_max: 5,
        completion_tokens_max: 20,
        prices: Prices::REFERENCE.version(),
        cost_max: 1,
        stream_seconds_max: 60,
        epoch: 0,
    }
}

fn work() -> Work {
    Work {
        generate: Generate {
            choices: 2,
            tokens_max: 10,
            ..Generate::new(Passport([6; 32]), Prompt::Text("hello".into()))
        },
        resume: None,
    }
}

/// What the door says to the client of `claims` with a ticket of `claims` and this work.
fn knock(door: &mut Door, now: Time, claims: &Claims, work: Work) -> Result<Claims, Turnaway> {
    let input = Input::Knock {
        peer: NodeId([5; 32]),
        request: RequestId([3; 16]),
        attempt: claims.attempt,
        ticket: signed(claims),
        work: Box::new(work.clone()),
    };
    let mut out = Vec::new();
    door.step(now, input, &mut out);
    door.check();
    assert_eq!(out.len(), 1, "every knock has one answer");
    match out.remove(0) {
        Effect::Admit {
            claims,
            work: admitted,
        } => {
            assert_eq!(*admitted, work);
            Ok(*claims)
        }
        Effect::Turn {
            peer,
            request,
            attempt,
            reason,
        } => {
            assert_eq!(
                (peer, request, attempt),
                (NodeId([5; 32]), RequestId([3; 16]), claims.attempt)
            );
            Err(reason)
        }
        other => panic!("a knock is answered: {other:?}"),
    }
}

#[test]
fn a_ticket_is_let_in_once() {
    let mut door = door();
    assert_eq!(knock(&mut door, NOW, &claims(0), work()), Ok(claims(0)));
    assert_eq!(
        knock(&mut door, NOW, &claims(0), work()),
        Err(Turnaway::Used)
    );
    // A fresh ticket for the same attempt is the same ticket.
    let again = Claims {
        issued_at: NOW.seconds() + 1,
        ..claims(0)
    };
    assert_eq!(
        knock(&mut door, NOW.plus_ms(2000), &again, work()),
        Err(Turnaway::Used)
    );
    assert_eq!(knock(&mut door, NOW, &claims(1), work()), Ok(claims(1)));
}

#[test]
fn a_ticket_for_another_worker_or_client_or_from_another_coordinator_is_turned_away() {
    let other = NodeId([9; 32]);
    let cases = [
        (
            Claims {
                worker: other,
                ..claims(0)
            },
            TicketError::Audience,
        ),
        (
            Claims {
                client: other,
                ..claims(0)
            },
            TicketError::Client,
        ),
    ];
    for (claims, error) in cases {
        assert_eq!(
            knock(&mut door(), NOW, &claims, work()),
            Err(Turnaway::Ticket(error))
        );
    }
    // The door of another troop does not believe these keys, and has heard of no others.
    let wiring = Wiring {
        me: NodeId([2; 32]),
        coordinator: other,
    };
    let mut door = Door::new(wiring, Time(0));
    door.step(NOW, keys(rotation()), &mut Vec::new());
    assert_eq!(
        knock(&mut door, NOW, &claims(0), work()),
        Err(Turnaway::New)
    );
}

#[test]
fn a_ticket_older_than_the_door_may_have_been_used_and_is_not_let_in() {
    // Given a door that opened after another that nobody remembers, and whose coordinator has another clock,
    for ahead_ms in [0, 20_000, -20_000] {
        let there = Time(NOW.0.saturating_add_signed(ahead_ms));
        let wiring = door().wiring;
        let mut door = Door::new(wiring, NOW);
        let asked = NOW.plus_ms(1);
        door.wake(asked, &mut Vec::new());
        let issued = |ms: i64| {
            let issued = Time(there.0.saturating_add_signed(ms));
            Claims {
                issued_at: issued.seconds(),
                issued_ms: issued.0 % 1000,
                expires_at: issued.seconds() + 120,
                ..claims((ms + 60_000) as u32)
            }
        };
        // then it takes none at all before it has an answer, however late that comes,
        let early = knock(&mut door, NOW, &issued(1), work());
        assert_eq!(early, Err(Turnaway::New));
        door.step(
            NOW.plus_ms(900),
            answered(asked, there, rotation()),
            &mut Vec::new(),
        );
        // and from then on those that were issued after it was answered, and no others.
        for (ms, is_new) in [
            (-60_000, false),
            (-1, false),
            (0, false),
            (1, true),
            (500, true),
        ] {
            let ticket = issued(ms);
            let expected = match is_new {
                true => Ok(ticket.clone()),
                false => Err(Turnaway::Window),
            };
            let found = knock(&mut door, NOW.plus_ms(1_000), &ticket, work());
            assert_eq!(found, expected, "{ms} ms, {ahead_ms} ms ahead");
        }
    }
}

#[test]
fn only_the_answer_to_its_own_question_opens_a_door() {
    let wiring = door().wiring;
    let mut door = Door::new(wiring, NOW);
    let asked = NOW.plus_ms(1);
    door.wake(asked, &mut Vec::new());
    // What a door before this one asked, also if it died in this very millisecond, says nothing of this one's time.
    for sent in [Time(0), NOW] {
        door.step(
            asked,
            answered(sent, Time(NOW.0 - 1_000), rotation()),
            &mut Vec::new(),
        );
        let found = knock(&mut door, NOW, &claims(0), work());
        assert_eq!(found, Err(Turnaway::New));
    }
    door.step(
        asked,
        answered(asked, Time(NOW.0 - 1_000), rotation()),
        &mut Vec::new(),
    );
    assert!(knock(&mut door, NOW, &claims(0), work()).is_ok());
}

#[test]
fn a_door_opens_anew_when_its_coordinators_clock_is_set_back() {
    // Its coordinator was 20 s ahead when it answered first, and is right the next time.
    let wiring = door().wiring;
    let mut door = Door::new(wiring, Time(NOW.0 - 10_000));
    for (ahead_ms, expected) in [(20_000, Err(Turnaway::Window)), (0, Ok(()))] {
        let asked = door.deadline().expect("it asks");
        door.wake(asked, &mut Vec::new());
        let there = asked.plus_ms(ahead_ms);
        door.step(asked, answered(asked, there, rotation()), &mut Vec::new());
        let seconds = (NOW.0 + ahead_ms / 2) / 1000;
        let ticket = Claims {
            issued_at: seconds,
            expires_at: seconds + 120,
            ..claims(0)
        };
        let found = knock(&mut door, NOW, &ticket, work()).map(|_| ());
        assert_eq!(found, expected, "{ahead_ms} ms ahead");
    }
}

#[test]
fn a_prompt_that_is_taken_up_again_has_no_more_tokens_than_were_paid_for() {
    let cost_max = Prices::REFERENCE.cost(7, 20).expect("a small number");
    let taken_up = |tokens: usize| Work {
        resume: Some(Resume {
            prompt: vec![1; tokens],
            choices: Vec::new(),
        }),
        ..work()
    };
    let claims = |number| Claims {
        cost_max,
        ..claims(number)
    };
    // The first attempt has nothing to take up.
    for (number, tokens) in [(0, 1), (1, 7 + CONTROL_TOKENS_MAX as usize + 1)] {
        let refused = knock(&mut door(), NOW, &claims(number), taken_up(tokens));
        assert!(
            matches!(refused, Err(Turnaway::Beyond { field, .. }) if field == "resumed tokens")
        );
    }
    assert!(knock(&mut door(), NOW, &claims(1), taken_up(7)).is_ok());
}

#[test]
fn work_beyond_the_ticket_is_turned_away_for_good_and_does_not_use_it_up() {
    let mut door = door();
    let mut longer = work();
    longer.generate.prompt = Prompt::Text("hello!".into());
    let mut more = work();
    more.generate.tokens_max = 11;
    let mut many = work();
    (many.generate.tokens_max, many.generate.choices) = (u32::MAX, u32::MAX);
    let mut other = work();
    other.generate.model = Passport([7; 32]);
    for (work, expected) in [
        (longer, "prompt bytes"),
        (more, "completion tokens"),
        (many, "completion tokens"),
        (other, "model"),
    ] {
        let Err(reason) = knock(&mut door, NOW, &claims(0), work) else {
            panic!("{expected} was let in");
        };
        assert!(reason.is_permanent());
        assert!(
            matches!(&reason, Turnaway::Beyond { field, .. } if field == expected),
            "{reason}"
        );
    }
    assert!(knock(&mut door, NOW, &claims(0), work()).is_ok());
}

#[test]
fn an_answer_goes_only_to_the_attempt_the_ticket_names() {
    let mut out = Vec::new();
    let input = Input::Knock {
        peer: NodeId([5; 32]),
        request: RequestId([3; 16]),
        attempt: AttemptId([0; 16]),
        ticket: signed(&claims(0)),
        work: Box::new(work()),
    };
    door().step(NOW, input, &mut out);
    assert!(
        matches!(
            &out[..],
            [Effect::Turn {
                reason: Turnaway::Beyond { .. },
                ..
            }]
        ),
        "{out:?}"
    );
}

#[test]
fn a_full_door_says_so_and_has_room_again_when_tickets_expire() {
    // Given a door that remembers all it can,
    let mut door = door();
    let expires = NOW.seconds() + 100;
    for number in 0..TICKETS_MAX as u32 {
        let attempt = AttemptId::of(HoldId([8; 16]), number);
        door.used.insert(attempt, expires);
        door.forget.insert((expires, attempt));
    }
    // then no ticket is let in until one can be forgotten.
    let limit = TICKETS_MAX as u32;
    assert_eq!(
        knock(&mut door, NOW, &claims(0), work()),
        Err(Turnaway::Full { limit })
    );
    let late = Claims {
        issued_at: expires,
        expires_at: expires + 120,
        ..claims(0)
    };
    assert!(knock(&mut door, Time(expires * 1000), &late, work()).is_ok());
    assert_eq!(door.remembered(), 1);
}

mod rotations;
mod times;
