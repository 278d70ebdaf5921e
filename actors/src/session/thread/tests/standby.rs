//! The worker that stands by: taken without a word to anybody, kept fresh, and not for ever.

use super::*;

/// The key of the worker that stands by for the attempt `number`.
fn second(number: u32) -> NodeKey {
    NodeKey::from_secret([20 + number as u8; 32])
}

impl Desk {
    /// The ticket of the worker that stands by for the attempt `number`.
    fn beside(&self, number: u32) -> Input {
        let Input::Granted(grant) = self.grant(number) else {
            unreachable!("a grant is a grant")
        };
        let worker = second(number).node();
        Input::Granted(Box::new(Grant { worker, ..*grant }))
    }

    fn lose(&mut self, number: u32) -> Vec<Effect> {
        self.say(Input::Lost {
            attempt: Desk::attempt(number),
        })
    }
}

/// Who is knocked at, for which attempt.
fn knocks(out: &[Effect]) -> Vec<(NodeId, AttemptId)> {
    let knock = |effect: &Effect| match effect {
        Effect::Knock {
            worker, attempt, ..
        } => Some((*worker, *attempt)),
        _ => None,
    };
    out.iter().filter_map(knock).collect()
}

/// The attempt for which somebody is asked to stand by, and where it runs.
fn accompanied(out: &[Effect]) -> Option<(u32, NodeId)> {
    out.iter().find_map(|effect| match effect {
        Effect::Admit(admit) => Some((admit.number, admit.running?)),
        _ => None,
    })
}

#[test]
fn a_stream_goes_on_at_the_worker_that_stands_by_and_asks_nobody() {
    let mut desk = Desk::new(1);
    desk.begin();
    let worker = second(1).node();
    assert_eq!(desk.say(desk.beside(1)), [Effect::Greet { worker }]);
    desk.token(0, 0, "a");
    let out = desk.lose(0);
    assert_eq!(knocks(&out), [(worker, Desk::attempt(1))]);
    assert!(!asks(&out[..2], 1), "the coordinator may be away");
    assert_eq!(
        accompanied(&out),
        Some((1, worker)),
        "but is told where it is now"
    );
    desk.token(0, 1, "late words of the dead");
    let prompt = PROMPT.to_vec();
    desk.event(1, Event::Started { prompt });
    desk.token(1, 1, "b");
    desk.event(1, ended(2));
    desk.worker = second(1);
    desk.close(1, &[100, 101], None);
    assert_eq!(desk.text(), "ab");
    assert_eq!((desk.endings(), desk.posted.len()), (1, 1));
    let receipt = desk.posted[0].evidence.statement();
    assert_eq!(
        (receipt.attempt, receipt.worker),
        (Desk::attempt(1), worker)
    );
}

#[test]
fn a_ticket_that_stands_by_is_renewed_and_is_not_kept_beyond_its_time() {
    let mut desk = Desk::new(1);
    desk.begin();
    let first = desk.worker.node();
    assert_eq!(accompanied(&desk.wake_at(9_999)), None);
    assert_eq!(accompanied(&desk.wake_at(10_000)), Some((0, first)));
    desk.say(desk.beside(1));
    // The worker goes on all the while.
    for seconds in 11..70 {
        desk.now = Time(seconds * 1000);
        desk.token(0, 0, "a");
        assert_eq!(accompanied(&desk.wake_at(69_999.min(seconds * 1000))), None);
    }
    assert_eq!(accompanied(&desk.wake_at(70_000)), Some((0, first)));
    assert_eq!(accompanied(&desk.wake_at(79_999)), None);
    desk.token(0, 0, "a");
    assert_eq!(accompanied(&desk.wake_at(80_000)), Some((0, first)));
    // Nobody has answered; the ticket was good for 110 s.
    for (lost_at, is_good) in [(119_999, true), (120_000, false)] {
        let mut desk = Desk::new(1);
        desk.now = Time(10_000);
        desk.begin();
        desk.say(desk.beside(1));
        desk.now = Time(lost_at);
        let out = desk.lose(0);
        assert_eq!(knocks(&out).len(), usize::from(is_good), "at {lost_at}");
        assert!(asks(&out, 1));
    }
}

#[test]
fn only_a_later_attempt_at_a_worker_that_has_not_failed_stands_by() {
    let mut desk = Desk::new(1);
    desk.begin();
    assert_eq!(desk.say(desk.grant(1)), [], "it is the one that runs");
    assert_eq!(desk.say(desk.beside(0)), [], "no later attempt");
    desk.say(desk.beside(2));
    assert_eq!(desk.say(desk.beside(1)), [], "an older ticket");
    let out = desk.lose(0);
    assert_eq!(knocks(&out), [(second(2).node(), Desk::attempt(2))]);
    // The first worker comes back, and offers itself.
    assert_eq!(desk.say(desk.grant(3)), []);
    let out = desk.lose(2);
    assert_eq!(knocks(&out), []);
    assert!(asks(&out, 3));
    // A ticket of a later attempt than was asked for is as good: the coordinator knows why.
    let out = desk.say(desk.beside(5));
    assert_eq!(knocks(&out), [(second(5).node(), Desk::attempt(5))]);
}

#[test]
fn so_many_workers_are_tried_and_no_more_whoever_stands_by() {
    let mut desk = Desk::new(1);
    desk.begin();
    for number in 0..3 {
        desk.say(desk.beside(number + 1));
        assert_eq!(knocks(&desk.lose(number)).len(), 1);
    }
    desk.say(desk.beside(4));
    assert_eq!(knocks(&desk.lose(3)), []);
    assert!(matches!(
        desk.seen.last(),
        Some(Delivery::Failed(Trouble::Lost { attempts: 4, .. }))
    ));
}

#[test]
fn a_worker_that_speaks_and_gets_no_further_is_left_for_one_that_stands_by() {
    let progress = |done| Event::Progress { done, total: 9 };
    for (is_beside, done_at_last) in [(true, 3), (true, 4), (false, 3)] {
        let mut desk = Desk::new(1);
        desk.say(Input::Begin);
        desk.say(desk.grant(0));
        desk.event(0, progress(3));
        let mut lost_at = None;
        for seconds in 1..=60 {
            desk.now = Time(seconds * 1_000);
            if is_beside && seconds == 2 {
                desk.say(desk.beside(1));
            }
            let done = if seconds < 30 { 3 } else { done_at_last };
            desk.event(0, progress(done));
            let out = desk.wake_at(seconds * 1_000);
            if !knocks(&out).is_empty() {
                lost_at = Some(seconds);
                break;
            }
        }
        // Nothing for 40 s; or a little more of the prompt after half of that time.
        let expected = match (is_beside, done_at_last) {
            (true, 3) => Some(40),
            _ => None,
        };
        assert_eq!(lost_at, expected, "{is_beside} {done_at_last}");
    }
}

#[test]
fn a_clock_that_leaps_over_a_tickets_end_leaves_nobody_waiting() {
    let mut desk = Desk::new(1);
    desk.begin();
    desk.say(desk.beside(1));
    desk.now = Time(200_000);
    desk.token(0, 0, "a");
    desk.thread.wake(desk.now, &mut Vec::new());
    let next = desk.thread.deadline().expect("it works");
    assert!(next > desk.now, "{next:?}");
}

impl Desk {
    /// A door is shut to a ticket that is older than it.
    fn shut(&mut self, number: u32) -> Vec<Effect> {
        self.say(Input::Turned {
            attempt: Desk::attempt(number),
            reason: Turnaway::Window,
        })
    }
}

#[test]
fn a_ticket_that_grew_old_while_it_stood_by_is_replaced_at_once_and_spends_no_try() {
    // Given a stream whose standby was started anew after its ticket came, for how long ago that was,
    for (age_ms, is_old) in [(500, false), (1_000, false), (1_001, true), (100_000, true)] {
        let mut desk = Desk::new(1);
        desk.begin();
        desk.say(desk.beside(1));
        desk.now = Time(age_ms);
        // when its worker is lost and the standby's door is shut,
        assert_eq!(knocks(&desk.lose(0)).len(), 1);
        let out = desk.shut(1);
        // then a fresh ticket is asked for at once, and the standby has not failed;
        let asked = out.iter().find_map(|effect| match effect {
            Effect::Admit(admit) => Some((admit.number, admit.avoid.clone())),
            _ => None,
        });
        let first = desk.worker.node();
        assert_eq!(
            asked,
            is_old.then(|| (2, vec![(first, Fault::Worker)])),
            "{age_ms} ms"
        );
        assert_eq!(desk.thread.tries, if is_old { 1 } else { 2 }, "{age_ms} ms");
        if is_old {
            // a fresh one that is turned away as well waits, as doors that open together are waited for.
            assert_eq!(knocks(&desk.say(desk.beside(2))).len(), 1);
            assert!(!asks(&desk.shut(2), 3));
            assert!(!asks(&desk.wake_at(age_ms + WINDOW_MS - 1), 3));
            assert!(asks(&desk.wake_at(age_ms + WINDOW_MS), 3));
            assert_eq!(desk.thread.tries, 2);
        }
    }
}

#[test]
fn doors_that_are_shut_for_ever_end_a_request_whatever_its_tickets_ages_are() {
    let mut desk = Desk::new(1);
    desk.begin();
    for number in 0..8 {
        // The worker is knocked at, another one is named, and time goes by before the door is found shut.
        desk.say(desk.beside(number + 1));
        desk.now = desk.now.plus_ms(2_000);
        desk.shut(number);
    }
    assert_eq!(desk.endings(), 1);
    let tries = desk.thread.tries;
    assert_eq!((tries, desk.thread.stale), (TRIES_MAX, TRIES_MAX - 1));
}
