//! Late tickets, workers that end wrongly, and receipts that must not be lost.

use super::*;

#[test]
fn a_receipt_is_handed_in_again_until_the_outbox_has_it_on_its_disk() {
    let mut desk = Desk::new(1);
    desk.begin();
    desk.token(0, 0, "a");
    desk.event(0, ended(1));
    desk.close(0, &[100], None);
    assert_eq!(desk.say(Input::HangUp), Vec::new());
    assert_eq!(desk.wake_at(1_000), Vec::new());
    assert_eq!(desk.posted.len(), 2);
    assert_eq!(desk.posted[0], desk.posted[1]);
    assert_eq!(desk.posted(1), Vec::new(), "of another attempt");
    assert_eq!(desk.posted(0), [Effect::Close]);
    assert_eq!(desk.endings(), 1);
}

#[test]
fn a_ticket_that_comes_after_the_patience_is_used_to_release_its_hold() {
    let mut desk = Desk::new(1);
    desk.say(Input::Begin);
    desk.wake_at(120_000);
    assert_eq!(desk.endings(), 1);
    let out = desk.say(desk.grant(0));
    assert!(matches!(
        &out[..],
        [Effect::Knock { .. }, Effect::Cancel { .. }]
    ));
    assert_eq!(desk.endings(), 1);
}

#[test]
fn a_worker_that_goes_on_after_a_stop_string_or_stops_unasked_is_not_believed() {
    let finish = |finish| Event::Ended {
        choice: 0,
        tokens: 1,
        finish,
    };
    let mut desk = Desk::new(1);
    desk.begin();
    desk.token(0, 0, "one END");
    assert!(asks(&desk.token(0, 1, "more"), 1));
    let mut desk = Desk::new(1);
    desk.begin();
    desk.token(0, 0, "one END");
    assert!(asks(&desk.event(0, finish(Finish::Length)), 1));
    let mut desk = Desk::new(1);
    desk.begin();
    desk.token(0, 0, "one");
    assert!(asks(&desk.event(0, finish(Finish::Cancelled)), 1));
    assert_eq!(desk.endings(), 0);
}

#[test]
fn a_worker_that_says_how_it_goes_too_often_is_passed_on_twice_a_second() {
    let mut desk = Desk::new(1);
    desk.begin();
    let before = desk.seen.len();
    for ms in 0..2_000 {
        desk.now = Time(ms);
        desk.event(0, Event::Progress { done: 1, total: 2 });
    }
    assert_eq!(desk.seen.len() - before, 4);
}
