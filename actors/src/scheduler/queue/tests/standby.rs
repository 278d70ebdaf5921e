//! Whoever stands by: named beside the first, renewed, replaced, and no way around the line.

use super::*;
use crate::scheduler::protocol::HoldOrder;

impl Desk {
    /// The ledger's answer to `order`: the attempt has `worker`, and another one stands by.
    fn answered_beside(
        &mut self,
        order: &HoldOrder,
        standby: Option<(u32, NodeId)>,
    ) -> Vec<Effect> {
        let HoldOrder {
            request, number, ..
        } = *order;
        self.say(Input::Held {
            request,
            hold: HoldId::of(request),
            number,
            worker: order.worker,
            standby,
        })
    }
}

fn order(out: &[Effect]) -> HoldOrder {
    match out {
        [Effect::Hold(order)] => order.clone(),
        _ => panic!("one order: {out:?}"),
    }
}

fn running(id: u8, number: u32, at: NodeId) -> Admit {
    Admit {
        number,
        running: Some(at),
        ..admit(id)
    }
}

#[test]
fn the_next_best_of_the_same_class_stands_by_and_both_get_their_tickets() {
    let mut desk = Desk::new(&[4, 4, 4]);
    let mut other = report(1, 4, &[]);
    other.models[0].class = "another".to_owned();
    desk.say(Input::Report(other));
    let held = order(&desk.admit(admit(1)));
    assert_eq!(held.worker, worker(0));
    assert_eq!(
        held.standby,
        Some(Box::new((worker(2), MemberId([202; 16]))))
    );
    let out = desk.answered_beside(&held, Some((1, worker(2))));
    let both = [(request(1), 0, worker(0)), (request(1), 1, worker(2))];
    assert_eq!(issued(&out), both);
    // A session that lost them gets both again.
    assert_eq!(issued(&desk.admit(admit(1))), both);
    // One that is not covered does not stand by.
    let held = order(&desk.admit(admit(2)));
    let out = desk.answered_beside(&held, None);
    assert_eq!(issued(&out).len(), 1);
}

#[test]
fn a_standby_is_renewed_as_long_as_it_has_room_and_then_replaced() {
    let mut desk = Desk::new(&[4, 4, 4]);
    let held = order(&desk.admit(admit(1)));
    let second = held.standby.clone().expect("there are others").0;
    desk.answered_beside(&held, Some((1, second)));
    let renewed = order(&desk.admit(running(1, 0, worker(0))));
    assert!(renewed.is_begun);
    assert_eq!(
        (renewed.worker, renewed.standby.as_ref().map(|it| it.0)),
        (worker(0), Some(second))
    );
    let out = desk.answered_beside(&renewed, Some((1, second)));
    assert_eq!(issued(&out), [(request(1), 1, second)], "its ticket alone");
    // It leaves.
    let mut gone = report(1, 4, &[]);
    gone.models.clear();
    desk.say(Input::Report(gone));
    let replaced = order(&desk.admit(running(1, 0, worker(0))));
    assert_eq!(replaced.standby.as_ref().map(|it| it.0), Some(worker(2)));
    // With nobody left there is nothing to order, and the stream goes on.
    let mut failed = running(1, 0, worker(0));
    failed.avoid = vec![(worker(2), Fault::Worker)];
    assert_eq!(desk.admit(failed), []);
    assert_eq!(desk.queue.stats().running, 1);
}

#[test]
fn a_session_that_went_on_at_its_standby_is_counted_there() {
    let mut desk = Desk::new(&[1, 1]);
    let held = order(&desk.admit(admit(1)));
    let second = held.standby.clone().expect("there is another").0;
    desk.answered_beside(&held, Some((1, second)));
    let moved = Admit {
        avoid: vec![(worker(0), Fault::Worker)],
        ..running(1, 1, second)
    };
    assert_eq!(desk.admit(moved), [], "the first one has failed it");
    assert!(desk.queue.workers.has(second, request(1)));
    assert_eq!(holds(&desk.admit(admit(2))), [(request(2), worker(0))]);
    // What it said of the attempt before comes late.
    desk.admit(running(1, 0, worker(0)));
    assert!(desk.queue.workers.has(second, request(1)));
    let story = desk.queue.explain(desk.now, request(1)).expect("known");
    let ran: Vec<_> = (story.decisions.iter())
        .map(|decision| (decision.number, decision.outcome.clone()))
        .collect();
    assert_eq!(ran, [(0, Ok(worker(0))), (1, Ok(second))]);
}

#[test]
fn who_says_that_it_has_a_worker_does_not_overtake_the_line() {
    let mut desk = Desk::new(&[1, 1]);
    desk.admit(admit(1));
    desk.admit(admit(2));
    desk.admit(admit(3));
    assert_eq!(desk.queue.stats().waiting, 1);
    // One that waits, one that is nobody's yet, and one of another client's.
    let mut stolen = running(1, 0, worker(0));
    stolen.client = worker(9);
    for said in [running(3, 0, worker(0)), running(4, 0, worker(0)), stolen] {
        assert_eq!(desk.admit(said), []);
        assert_eq!(desk.queue.stats().waiting, 1);
    }
}

#[test]
fn a_scheduler_without_memory_takes_up_what_a_worker_says_it_runs() {
    let mut desk = Desk::new(&[2, 2]);
    desk.say(Input::Report(report(0, 2, &[1])));
    let named = order(&desk.admit(running(1, 2, worker(0))));
    assert!(named.is_begun);
    assert_eq!(
        (
            named.number,
            named.worker,
            named.standby.as_ref().map(|it| it.0)
        ),
        (2, worker(0), Some(worker(1)))
    );
    let out = desk.answered_beside(&named, Some((3, worker(1))));
    assert_eq!(issued(&out), [(request(1), 3, worker(1))]);
    assert_eq!(desk.queue.stats().running, 1);
}

#[test]
fn who_says_that_it_runs_somewhere_gets_no_ticket_for_there_by_that() {
    let mut desk = Desk::new(&[4, 4]);
    let held = order(&desk.admit(admit(1)));
    let second = held.standby.clone().expect("there is another").0;
    desk.answered_beside(&held, Some((1, second)));
    // It names an attempt that the books do not know, and asks for its ticket.
    desk.admit(running(1, 5, second));
    let again = Admit {
        number: 5,
        ..admit(1)
    };
    let out = desk.admit(again.clone());
    assert_eq!(issued(&out), []);
    let asked = order(&out);
    assert_eq!(
        (asked.number, asked.worker, asked.is_begun),
        (5, second, true)
    );
    // The books do not know it: it is refused.
    let request = request(1);
    let refused = desk.say(Input::NotHeld {
        request,
        number: 5,
        refusal: Refusal::Over,
    });
    assert!(matches!(refused[..], [Effect::Refuse { .. }]));
    // An attempt that they do know is given again once they have said so.
    let held = order(&desk.admit(admit(2)));
    let second = held.standby.clone().expect("there is another").0;
    desk.answered_beside(&held, Some((1, second)));
    desk.admit(running(2, 1, second));
    let again = Admit {
        number: 1,
        ..admit(2)
    };
    let asked = order(&desk.admit(again));
    let out = desk.answered_beside(&asked, None);
    assert_eq!(issued(&out), [(super::request(2), 1, second)]);
}
