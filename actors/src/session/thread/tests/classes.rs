//! What has begun in one class of generation is never gone on with in another.

use super::*;
use crate::session::limits::COME_BACK_MS;

/// The ticket for attempt `number` at a worker of its own, of the class of that name.
fn ticket(desk: &Desk, number: u32, class: &str) -> Input {
    let Input::Granted(grant) = desk.grant(number) else {
        unreachable!("a grant is a grant")
    };
    let worker = NodeKey::from_secret([20 + number as u8; 32]).node();
    Input::Granted(Box::new(Grant {
        worker,
        class: Class::of(class),
        ..*grant
    }))
}

/// The attempts that are knocked for.
fn knocks(out: &[Effect]) -> Vec<AttemptId> {
    let knock = |effect: &Effect| match effect {
        Effect::Knock { attempt, .. } => Some(*attempt),
        _ => None,
    };
    out.iter().filter_map(knock).collect()
}

/// The attempt that is asked for, and in which class.
fn asked(out: &[Effect]) -> Option<(u32, Option<Class>)> {
    out.iter().find_map(|effect| match effect {
        Effect::Admit(admit) => Some((admit.number, admit.begun)),
        _ => None,
    })
}

fn lost(number: u32) -> Input {
    Input::Lost {
        attempt: Desk::attempt(number),
    }
}

#[test]
fn a_stream_is_not_taken_up_by_a_worker_of_another_class_that_stands_by() {
    // Given a stream of one class, beside which a worker of another is named, before it begins or after,
    for is_before in [true, false] {
        let mut desk = Desk::new(1);
        let other = ticket(&desk, 1, "class-int8");
        desk.say(Input::Begin);
        desk.say(desk.grant(0));
        if is_before {
            desk.say(other.clone());
        }
        let prompt = PROMPT.to_vec();
        desk.event(0, Event::Started { prompt });
        if !is_before {
            desk.say(other);
        }
        desk.token(0, 0, "a");
        // when its worker is lost,
        let out = desk.say(lost(0));
        // then nobody is knocked at: a worker of the class that it has begun in is asked for,
        assert_eq!(knocks(&out), []);
        // and as another attempt than the one that is that other worker's for ever.
        let class = Class::of("class");
        let number = if is_before { 2 } else { 1 };
        assert_eq!(asked(&out), Some((number, Some(class))));
        // Another one's ticket is not used: the next attempt is asked for in a while,
        let out = desk.say(ticket(&desk, number, "class-int8"));
        assert!(out.is_empty(), "{out:?}");
        let out = desk.wake_at(COME_BACK_MS);
        assert_eq!(asked(&out), Some((number + 1, Some(class))));
        // and whoever is of its class goes on with it.
        let out = desk.say(ticket(&desk, number + 1, "class"));
        assert_eq!(knocks(&out), [Desk::attempt(number + 1)]);
    }
}

#[test]
fn what_has_not_begun_may_begin_in_any_class_and_then_stays_in_it() {
    let mut desk = Desk::new(1);
    desk.say(Input::Begin);
    desk.say(desk.grant(0));
    assert_eq!(asked(&desk.say(lost(0))), Some((1, None)));
    desk.say(ticket(&desk, 1, "class-int8"));
    let prompt = PROMPT.to_vec();
    desk.event(1, Event::Started { prompt });
    let class = Class::of("class-int8");
    assert_eq!(asked(&desk.say(lost(1))), Some((2, Some(class))));
}
