//! A ticket is for a class of generation: a worker that makes other bytes turns it away, and says which it makes.

use super::*;

/// A worker whose engine is of `class`.
fn worker(class: &str) -> Desk {
    let mut desk = Desk::new();
    desk.say(Input::Serve {
        model: MODEL,
        name: "m".to_owned(),
        created_seconds: 0,
    });
    let facts = EngineFacts {
        class: class.to_owned(),
        ..facts()
    };
    desk.frame(1, FromEngine::Ready(facts));
    desk
}

#[test]
fn a_ticket_for_one_class_starts_nothing_in_another_and_hears_which_it_is() {
    // Given a worker whose keys and values are kept in another way than its ticket says,
    let mut desk = worker("test-int8/context-64");
    // when somebody comes to begin or go on there,
    let out = desk.start(1);
    // then it is turned away, and the engine hears nothing of it.
    let [Effect::Turn { reason, .. }] = &out[..] else {
        panic!("{out:?}")
    };
    let class = "test-int8".to_owned();
    assert_eq!(*reason, Turnaway::OtherClass { class });
    assert!(!reason.is_permanent(), "another worker may take it");
    assert_eq!(reason.to_string().split(':').next(), Some("other_class"));
}

#[test]
fn workers_of_one_class_may_differ_in_their_context() {
    for context in [64, 4_096] {
        let out = worker(&format!("test/context-{context}")).start(1);
        let starts = |effect: &Effect| matches!(effect, Effect::Write { .. });
        assert!(out.iter().any(starts), "{out:?}");
    }
}
