//! Workers, sessions, ledgers and schedulers that are not there, and what becomes of their requests.

use super::*;
use crate::engine_process::protocol::Rest;
use crate::ids::Class;

#[test]
fn a_model_that_nobody_serves_is_refused_unless_it_was_served_a_moment_ago() {
    // Given a worker whose engine has just died,
    let mut desk = Desk::new(&[1]);
    desk.say(Input::Report(report(0, 1, &[])));
    let mut dead = report(0, 1, &[]);
    let alive = dead.clone();
    dead.models.clear();
    desk.say(Input::Report(dead));
    // then another model is refused at once, and that one waits for the engine to come back.
    let other = Admit {
        model: Passport([9; 32]),
        ..admit(1)
    };
    assert_eq!(
        refusals(&desk.admit(other)),
        [(request(1), Refusal::NoWorker)]
    );
    assert_eq!(refusals(&desk.admit(admit(2))), []);
    assert_eq!(
        holds(&desk.say(Input::Report(alive.clone()))),
        [(request(2), worker(0))]
    );
    // It does not wait for ever.
    desk.finished(2);
    desk.held(2);
    desk.finished(2);
    let mut dead = alive;
    dead.models.clear();
    desk.say(Input::Report(dead));
    let mut refused = Vec::new();
    for _ in 0..20 {
        refused.extend(refusals(&desk.admit(admit(3))));
        refused.extend(refusals(&desk.pass(2_000)));
    }
    assert_eq!(refused.first(), Some(&(request(3), Refusal::NoWorker)));
}

#[test]
fn a_young_scheduler_waits_for_reports_before_it_says_there_is_no_worker() {
    let mut desk = Desk {
        queue: Queue::new(ME),
        now: Time(5_000),
    };
    assert_eq!(refusals(&desk.admit(admit(1))), []);
    assert_eq!(
        holds(&desk.say(Input::Report(report(0, 1, &[])))),
        [(request(1), worker(0))]
    );

    let mut desk = Desk {
        queue: Queue::new(ME),
        now: Time(5_000),
    };
    let mut refused = Vec::new();
    for _ in 0..8 {
        refused.extend(refusals(&desk.admit(admit(1))));
        refused.extend(refusals(&desk.pass(2_000)));
    }
    assert_eq!(refused, [(request(1), Refusal::NoWorker)]);
}

#[test]
fn what_an_earlier_scheduler_placed_is_counted_until_it_ends() {
    // Given a scheduler without memory and a worker that runs two requests it never heard of,
    let mut desk = Desk {
        queue: Queue::new(ME),
        now: Time(5_000),
    };
    desk.say(Input::Report(report(0, 3, &[8, 9])));
    // then there is room for one,
    assert_eq!(holds(&desk.admit(admit(1))), [(request(1), worker(0))]);
    assert_eq!(holds(&desk.admit(admit(2))), []);
    // and for another when one of them ends, though the worker has not said so yet.
    assert_eq!(holds(&desk.finished(8)), [(request(2), worker(0))]);
    assert_eq!(
        holds(&desk.say(Input::Report(report(0, 3, &[8, 9, 1, 2])))),
        []
    );
    assert_eq!(holds(&desk.admit(admit(3))), []);
}

#[test]
fn a_place_nobody_is_seen_to_use_is_free_again() {
    let mut desk = Desk::new(&[1]);
    desk.admit(admit(1));
    desk.held(1);
    // As long as the worker reports it, the place is taken;
    for _ in 0..12 {
        desk.say(Input::Report(report(0, 1, &[1])));
        desk.pass(10_000);
    }
    assert_eq!(desk.queue.stats().running, 1);
    // when it no longer does and the session said nothing, it is free.
    for _ in 0..5 {
        desk.say(Input::Report(report(0, 1, &[])));
        desk.pass(10_000);
    }
    assert_eq!(
        (
            desk.queue.stats().running,
            desk.queue.stats().counts.reclaimed
        ),
        (0, 1)
    );
}

#[test]
fn a_session_that_no_longer_asks_loses_its_turn() {
    let mut desk = Desk::new(&[1]);
    desk.admit(admit(1));
    desk.held(1);
    desk.admit(admit(2));
    desk.say(Input::Report(report(0, 1, &[1])));
    desk.pass(11_000);
    assert_eq!(desk.queue.stats().waiting, 0);
    assert_eq!(holds(&desk.finished(1)), []);
}

#[test]
fn a_silent_worker_gets_no_more_work() {
    let mut desk = Desk::new(&[4, 4]);
    for _ in 0..4 {
        desk.say(Input::Report(report(1, 4, &[])));
        desk.pass(10_000);
    }
    assert_eq!(desk.queue.stats().workers, 1);
    assert_eq!(holds(&desk.admit(admit(1))), [(request(1), worker(1))]);
}

#[test]
fn a_ledger_that_says_no_or_nothing_is_passed_on_and_the_place_is_free() {
    let mut desk = Desk::new(&[1]);
    desk.admit(admit(1));
    let refusal = Refusal::Credits {
        needed: 2,
        available: 1,
    };
    let out = desk.say(Input::NotHeld {
        request: request(1),
        number: 0,
        refusal: refusal.clone(),
    });
    assert_eq!(refusals(&out), [(request(1), refusal)]);
    // It may be tried again, as when credits have come in the meantime.
    assert_eq!(holds(&desk.admit(admit(1))), [(request(1), worker(0))]);
    // An order without an answer is repeated, and given up in the end.
    desk.say(Input::Report(report(0, 1, &[])));
    let out = desk.pass(25_000);
    assert!(holds(&out).len() >= 5, "{out:?}");
    assert_eq!(refusals(&out), [(request(1), Refusal::LedgerUnavailable)]);
    assert_eq!(desk.queue.stats().running, 0);
}

#[test]
fn a_session_that_leaves_while_its_hold_is_made_gets_the_ticket_to_release_it() {
    let mut desk = Desk::new(&[1]);
    desk.admit(admit(1));
    assert_eq!(desk.finished(1), Vec::new());
    assert_eq!(issued(&desk.held(1)), [(request(1), 0, worker(0))]);
    desk.finished(1);
    assert_eq!(desk.queue.stats().running, 0);
}

#[test]
fn a_retry_comes_before_those_who_came_after_it() {
    let mut desk = Desk::new(&[1]);
    desk.admit(admit(1));
    desk.held(1);
    for id in 2..6 {
        desk.admit(admit(id));
    }
    let again = Admit {
        number: 1,
        avoid: vec![(worker(0), Fault::Worker)],
        ..admit(1)
    };
    assert_eq!(holds(&desk.admit(again)), [(request(1), worker(0))]);
    // What it may use does not grow from one attempt to the next.
    let more = Admit {
        number: 2,
        tokens_max: 2048,
        ..admit(1)
    };
    let out = desk.admit(more);
    assert!(
        matches!(&out[..], [Effect::Hold(order)] if order.completion_tokens_max == 100),
        "{out:?}"
    );
}

#[test]
fn reports_beyond_their_limits_are_ignored() {
    let mut desk = Desk::new(&[]);
    let mut long = report(0, 1, &[]);
    long.models[0].name = "x".repeat(257);
    let mut many = report(0, 1, &[]);
    many.models = vec![many.models[0].clone(); 65];
    let mut busy = report(0, 1, &[]);
    busy.running = vec![request(1); 4097];
    let mut classy = report(0, 1, &[]);
    classy.models[0].class = "x".repeat(129);
    let mut greedy = report(0, 1, &[]);
    greedy.models[0].overhead_fixed_bytes = (16 << 10) + 1;
    let mut chatty = report(0, 1, &[]);
    chatty.models[0].overhead_turn_bytes = (2 << 10) + 1;
    let mut endless = report(0, 1, &[]);
    endless.models[0].sequences_max = u32::MAX;
    for report in [long, many, busy, classy, greedy, chatty, endless] {
        desk.say(Input::Report(report));
        assert_eq!(desk.queue.stats().workers, 0);
    }
    let mut odd = report(0, 0, &[]);
    odd.models[0].context = 0;
    desk.say(Input::Report(odd));
    assert!(matches!(
        &refusals(&desk.admit(admit(1)))[..],
        [(_, Refusal::Invalid { .. })]
    ));
}

#[test]
fn the_answer_to_an_earlier_order_says_nothing_about_this_one() {
    let mut desk = Desk::new(&[1, 1]);
    desk.admit(admit(1));
    let mut again = admit(1);
    (again.number, again.avoid) = (1, vec![(worker(0), Fault::Worker)]);
    desk.admit(again);
    assert_eq!(
        desk.answered(1, 0, worker(0)),
        Vec::new(),
        "the books may not know of the second worker yet"
    );
    assert_eq!(
        issued(&desk.answered(1, 1, worker(1))),
        [(request(1), 1, worker(1))]
    );
}

#[test]
fn an_attempt_stays_with_the_worker_of_its_first_order() {
    let mut desk = Desk::new(&[1, 1]);
    assert_eq!(holds(&desk.admit(admit(1))), [(request(1), worker(0))]);
    // A scheduler before this one chose the other worker, whose ticket may be out.
    assert_eq!(
        issued(&desk.answered(1, 0, worker(1))),
        [(request(1), 0, worker(1))]
    );

    let mut desk = Desk::new(&[1]);
    desk.admit(admit(1));
    let out = desk.answered(1, 0, worker(9));
    assert_eq!(
        holds(&out),
        [(request(1), worker(0))],
        "that one is gone: the next attempt is somebody else's"
    );
    let out = desk.answered(1, 1, worker(0));
    assert_eq!(issued(&out), [(request(1), 1, worker(0))]);
}

#[test]
fn an_attempt_of_a_worker_that_is_of_another_class_by_now_is_passed_over() {
    // Given a stream that runs at one worker, while the books have named the other one for the next attempt,
    let mut desk = Desk::new(&[1, 1]);
    let mut other = report(1, 1, &[]);
    other.models[0].class = "other".to_owned();
    desk.say(Input::Report(other));
    let again = Admit {
        number: 1,
        begun: Some(Class::of("class")),
        ..admit(1)
    };
    assert_eq!(holds(&desk.admit(again)), [(request(1), worker(0))]);
    // when they say so, and that one has been started anew in another class meanwhile,
    let out = desk.answered(1, 1, worker(1));
    // then no ticket goes out for it, and the attempt after that one has a worker of the stream's class.
    assert_eq!(issued(&out), []);
    assert_eq!(holds(&out), [(request(1), worker(0))]);
    let out = desk.answered(1, 2, worker(0));
    assert_eq!(issued(&out), [(request(1), 2, worker(0))]);
}

#[test]
fn a_model_whose_only_worker_leaves_is_not_waited_for() {
    let mut desk = Desk::new(&[1]);
    desk.say(Input::Report(report(0, 1, &[])));
    desk.admit(admit(1));
    desk.held(1);
    assert_eq!(refusals(&desk.admit(admit(2))), [], "it waits for its turn");
    let mut leaving = report(0, 1, &[1]);
    leaving.models.clear();
    leaving.rest = Some(Rest::Stopping);
    assert_eq!(
        refusals(&desk.say(Input::Report(leaving))),
        [(request(2), Refusal::NoWorker)]
    );
}

#[test]
fn who_is_held_dead_gets_no_new_request_until_it_is_back() {
    let absent = |id, absent| Input::Absent {
        worker: worker(id),
        absent,
    };
    let mut desk = Desk::new(&[4, 4]);
    desk.say(absent(0, true));
    for id in [1, 2] {
        assert_eq!(holds(&desk.admit(admit(id))), [(request(id), worker(1))]);
    }
    let story = desk.queue.explain(desk.now, request(1)).expect("known");
    assert_eq!(story.decisions[0].candidates[1].finding, Finding::Absent);
    // Where nobody else is, the request waits; what the dead one had stays its own.
    desk.say(absent(1, true));
    assert_eq!(holds(&desk.admit(admit(3))), []);
    assert_eq!(refusals(&desk.pass(2_000)), []);
    assert_eq!(desk.queue.stats().running, 2);
    // It is placed at once when one is back, or reports.
    assert_eq!(
        holds(&desk.say(absent(0, false))),
        [(request(3), worker(0))]
    );
    desk.say(absent(0, true));
    desk.admit(admit(4));
    let reported = desk.say(Input::Report(report(1, 4, &[1, 2])));
    assert_eq!(holds(&reported), [(request(4), worker(1))]);
}
