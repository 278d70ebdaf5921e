//! Which worker is taken, and what is told about it.

use super::*;
use crate::ids::Class;

/// What a worker with four sequences says that differs from others in this.
fn reports(desk: &mut Desk, id: u8, change: impl FnOnce(&mut ModelReport)) -> Vec<Effect> {
    let mut said = report(id, 4, &[]);
    change(&mut said.models[0]);
    desk.say(Input::Report(said))
}

fn hinted(id: u8, worker: NodeId, prefix_bytes: u64, rtt_ms: Option<u32>) -> Admit {
    Admit {
        prompt_bytes: 40_000,
        hints: vec![Hint {
            worker,
            prefix_bytes,
            rtt_ms,
        }]
        .into(),
        ..admit(id)
    }
}

fn taken(out: &[Effect]) -> NodeId {
    match holds(out)[..] {
        [(_, worker)] => worker,
        _ => panic!("{out:?}"),
    }
}

fn findings(desk: &Desk, id: u8) -> Vec<(NodeId, Finding)> {
    let story = desk.queue.explain(desk.now, request(id)).expect("known");
    let last = story.decisions.last().expect("decided");
    let found = last.candidates.iter();
    found.map(|one| (one.worker, one.finding)).collect()
}

#[test]
fn a_fast_worker_is_taken_until_it_is_full() {
    let mut desk = Desk::new(&[4, 4]);
    reports(&mut desk, 0, |model| model.decode_rate = 10_000);
    reports(&mut desk, 1, |model| model.decode_rate = 100_000);
    let order: Vec<NodeId> = (0..5).map(|id| taken(&desk.admit(admit(id)))).collect();
    assert_eq!(order, [1, 1, 1, 1, 0].map(worker));
    let (slow, fast) = (worker(0), worker(1));
    assert_eq!(
        findings(&desk, 0),
        [(fast, Finding::Chosen), (slow, Finding::Standby)]
    );
    assert_eq!(
        findings(&desk, 4),
        [(slow, Finding::Chosen), (fast, Finding::Full)]
    );
    let story = desk.queue.explain(desk.now, request(0)).expect("known");
    assert_eq!(story.decisions[0].standby, Some(slow));
}

#[test]
fn whoever_remembers_the_prompt_is_taken_while_that_saves_more_than_its_load_costs() {
    let mut desk = Desk::new(&[4, 4]);
    for id in 0..3 {
        let hint = hinted(id, worker(1), 39_000, None);
        assert_eq!(taken(&desk.admit(hint)), worker(1));
    }
    // A little of the prompt is not worth the wait beside three others.
    let little = hinted(3, worker(1), 400, None);
    assert_eq!(taken(&desk.admit(little)), worker(0));
    assert_eq!(
        taken(&desk.admit(hinted(4, worker(1), 39_000, None))),
        worker(1)
    );
    // Nobody waits for a worker that is full.
    assert_eq!(
        taken(&desk.admit(hinted(5, worker(1), 39_000, None))),
        worker(0)
    );
}

#[test]
fn of_two_alike_the_nearer_one_is_taken_and_the_own_one_is_the_nearest() {
    let mut desk = Desk::new(&[4, 4]);
    let far = Some(400);
    assert_eq!(taken(&desk.admit(hinted(0, worker(0), 0, far))), worker(1));
    let own = Admit {
        client: worker(1),
        ..admit(1)
    };
    let mut desk = Desk::new(&[4, 4]);
    assert_eq!(taken(&desk.admit(own)), worker(1));
}

#[test]
fn a_worker_without_memory_for_the_prompt_is_full_unless_nothing_runs_there() {
    let mut desk = Desk::new(&[4]);
    // What it said before it became idle does not matter.
    reports(&mut desk, 0, |model| model.kv_tokens_free = 0);
    assert_eq!(holds(&desk.admit(admit(1))).len(), 1);
    assert_eq!(holds(&desk.admit(admit(2))), []);
    let waits = desk
        .queue
        .explain(desk.now, request(2))
        .expect("known")
        .waits;
    let waits = waits.expect("it waits");
    assert_eq!(
        (waits.ahead, waits.candidates[0].finding),
        (0, Finding::NoMemory)
    );
    // 7 tokens of a prompt and a page; what is under way there and not reported takes as much.
    assert_eq!(
        holds(&reports(&mut desk, 0, |model| model.kv_tokens_free = 77)),
        []
    );
    let room = reports(&mut desk, 0, |model| model.kv_tokens_free = 78);
    assert_eq!(holds(&room), [(request(2), worker(0))]);
}

#[test]
fn a_stream_that_has_begun_goes_on_in_its_own_class_or_not_at_all() {
    let mut desk = Desk::new(&[4, 4]);
    reports(&mut desk, 1, |model| model.class = "other".into());
    assert_eq!(taken(&desk.admit(admit(1))), worker(0));
    desk.held(1);
    let mut gone = report(0, 4, &[]);
    gone.models.clear();
    desk.say(Input::Report(gone));
    let again = |begun| Admit {
        number: 1,
        avoid: vec![(worker(0), Fault::Worker)],
        begun,
        ..admit(1)
    };
    // It is told so at once, asks again, and nobody waits behind it.
    for _ in 0..3 {
        assert_eq!(
            refusals(&desk.admit(again(Some(Class::of("class"))))),
            [(request(1), Refusal::NoWorker)]
        );
    }
    assert_eq!(findings(&desk, 1), [(worker(1), Finding::OtherClass)]);
    assert_eq!(taken(&desk.admit(admit(2))), worker(1));
    desk.say(Input::Report(report(0, 4, &[])));
    assert_eq!(
        taken(&desk.admit(again(Some(Class::of("class"))))),
        worker(0)
    );
    // A scheduler that remembers nothing of it is told by its session.
    let mut desk = Desk::new(&[]);
    reports(&mut desk, 1, |model| model.class = "other".into());
    let out = desk.admit(again(Some(Class::of("class"))));
    assert_eq!(refusals(&out), [(request(1), Refusal::NoWorker)]);
    desk.say(Input::Report(report(2, 4, &[])));
    let out = desk.admit(again(Some(Class::of("class"))));
    assert_eq!(taken(&out), worker(2));
    // What has not begun may begin anywhere.
    let mut desk = Desk::new(&[4, 4]);
    reports(&mut desk, 1, |model| model.class = "other".into());
    desk.admit(admit(1));
    desk.held(1);
    assert_eq!(taken(&desk.admit(again(None))), worker(1));
}

#[test]
fn a_request_is_remembered_from_its_asking_to_its_end_and_a_flood_does_not_push_it_out() {
    let mut desk = Desk::new(&[1]);
    desk.admit(admit(1));
    desk.now = desk.now.plus_ms(5);
    desk.held(1);
    desk.admit(admit(2));
    desk.now = desk.now.plus_ms(40);
    desk.finished(1);
    let story = |desk: &Desk, id| desk.queue.explain(desk.now, request(id));
    let first = story(&desk, 1).expect("known");
    assert_eq!((first.client, first.payer), (CLIENT, PAYER));
    let took = |time: Option<Time>| time.map(|time| time.since_ms(first.asked));
    assert_eq!(
        (took(first.granted), took(first.finished)),
        (Some(5), Some(45))
    );
    assert_eq!(first.payee, Some(MemberId([200; 16])));
    assert!(first.held.is_some_and(|held| held > 0));
    let second = story(&desk, 2).expect("known");
    assert_eq!(second.decisions[0].waited_ms, 40);
    // Another node that calls its request so neither reads nor writes that.
    let stolen = Admit {
        client: NodeId([9; 32]),
        tokens_max: 0,
        ..admit(1)
    };
    desk.admit(stolen);
    assert_eq!(story(&desk, 1), Some(first.clone()));
    // Thousands that are told Busy push out each other.
    for number in 0..2_000u16 {
        let mut id = [200; 16];
        id[..2].copy_from_slice(&number.to_le_bytes());
        desk.admit(Admit {
            request: RequestId(id),
            ..admit(0)
        });
    }
    assert!(desk.queue.stats().counts.busy > 1_000);
    assert_eq!(story(&desk, 1), Some(first));
    assert_eq!(story(&desk, 77), None);
}

#[test]
fn only_a_fault_of_its_own_counts_against_a_worker() {
    // Three workers, of which the first is the best and the last the worst; each with why it was left.
    let cases = [
        (vec![], 0),
        (vec![(0, Fault::Link)], 1),
        (
            vec![(0, Fault::Link), (1, Fault::Pool), (2, Fault::Worker)],
            0,
        ),
        (
            vec![(0, Fault::Worker), (1, Fault::Pool), (2, Fault::Link)],
            1,
        ),
        (
            vec![(0, Fault::Worker), (1, Fault::Worker), (2, Fault::Pool)],
            2,
        ),
        (
            vec![(0, Fault::Worker), (1, Fault::Worker), (2, Fault::Worker)],
            0,
        ),
    ];
    for (left, expected) in cases {
        let mut desk = Desk::new(&[4, 4, 4]);
        let avoid: Vec<_> = (left.iter())
            .map(|(id, fault)| (worker(*id), *fault))
            .collect();
        let admit = Admit {
            avoid: avoid.clone(),
            ..admit(1)
        };
        assert_eq!(taken(&desk.admit(admit)), worker(expected), "{left:?}");
        let story = desk.queue.explain(desk.now, request(1)).expect("known");
        let failed: Vec<NodeId> = (avoid.iter())
            .filter(|(_, fault)| *fault == Fault::Worker)
            .map(|(worker, _)| *worker)
            .collect();
        assert_eq!(story.decisions[0].failed, failed);
        for candidate in &story.decisions[0].candidates {
            let fault = avoid.iter().find(|(left, _)| *left == candidate.worker);
            let finding = match fault {
                _ if candidate.worker == worker(expected) => Finding::Chosen,
                Some((_, Fault::Worker)) => Finding::Avoided,
                Some(_) => Finding::Left,
                None => candidate.finding,
            };
            assert_eq!(candidate.finding, finding, "{left:?}");
        }
    }
}
