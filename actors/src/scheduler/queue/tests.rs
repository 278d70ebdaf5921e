//! The queue against floods, lost letters, dead workers and its own restart.

use super::*;
use crate::ids::{HoldId, MemberId, Passport};
use crate::scheduler::protocol::Hint;
use crate::scheduler::{Decision, Finding};
use crate::session::Fault;

const ME: NodeId = NodeId([1; 32]);
const CLIENT: NodeId = NodeId([2; 32]);
const MODEL: Passport = Passport([3; 32]);
const PAYER: MemberId = MemberId([4; 16]);

/// A scheduler, the time, and a ledger that answers when asked to.
struct Desk {
    queue: Queue,
    now: Time,
}

fn worker(id: u8) -> NodeId {
    NodeId([100 + id; 32])
}

fn request(id: u8) -> RequestId {
    RequestId([id; 16])
}

fn admit(id: u8) -> Admit {
    Admit {
        request: request(id),
        number: 0,
        client: CLIENT,
        payer: PAYER,
        model: MODEL,
        prompt_bytes: 10,
        turns: 2,
        tokens_max: 100,
        choices: 1,
        avoid: Vec::new(),
        begun: None,
        hints: Box::default(),
        running: None,
    }
}

fn report(id: u8, sequences_max: u32, running: &[u8]) -> WorkerReport {
    WorkerReport {
        worker: worker(id),
        owner: MemberId([200 + id; 16]),
        models: vec![ModelReport {
            model: MODEL,
            name: "smollm2".into(),
            context: 2048,
            sequences_max,
            overhead_fixed_bytes: 7,
            overhead_turn_bytes: 5,
            created_seconds: 0,
            step_ms: 100,
            prefill_rate: 0,
            decode_rate: 0,
            kv_tokens_free: 1 << 20,
            sequences_used: 0,
            sequences_waiting: 0,
            class: "class".into(),
        }],
        running: running.iter().map(|id| request(*id)).collect(),
        rest: None,
    }
}

impl Desk {
    /// A grown-up scheduler with these workers, by their sequences.
    fn new(sequences: &[u32]) -> Desk {
        let mut desk = Desk {
            queue: Queue::new(ME),
            now: Time(1_000_000),
        };
        for (id, sequences) in sequences.iter().enumerate() {
            desk.say(Input::Report(report(id as u8, *sequences, &[])));
        }
        desk.now = desk.now.plus_ms(20_000);
        desk
    }

    fn say(&mut self, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        self.queue.step(self.now, input, &mut out);
        self.queue.check();
        out
    }

    fn admit(&mut self, admit: Admit) -> Vec<Effect> {
        self.say(Input::Admit(Box::new(admit)))
    }

    fn held(&mut self, id: u8) -> Vec<Effect> {
        let request = request(id);
        let Some(entry) = self.queue.entries.get(&request) else {
            return self.answered(id, 0, worker(0));
        };
        let number = entry.admit.number;
        let worker = match &entry.stage {
            Stage::Holding { place, .. } | Stage::Granted { place, .. } => place.worker,
            Stage::Waiting { .. } => worker(0),
        };
        self.answered(id, number, worker)
    }

    fn answered(&mut self, id: u8, number: u32, worker: NodeId) -> Vec<Effect> {
        let (request, hold) = (request(id), HoldId::of(request(id)));
        self.say(Input::Held {
            request,
            hold,
            number,
            worker,
            standby: None,
        })
    }

    fn finished(&mut self, id: u8) -> Vec<Effect> {
        self.say(Input::Finished {
            client: CLIENT,
            request: request(id),
        })
    }

    /// Lets so much time pass, ringing as the core wishes.
    fn pass(&mut self, ms: u64) -> Vec<Effect> {
        let end = self.now.plus_ms(ms);
        let mut out = Vec::new();
        while let Some(deadline) = self.queue.deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.queue.wake(self.now, &mut out);
            self.queue.check();
        }
        self.now = end;
        out
    }
}

/// The request and worker of every hold that is ordered.
fn holds(out: &[Effect]) -> Vec<(RequestId, NodeId)> {
    let hold = |effect: &Effect| match effect {
        Effect::Hold(order) => Some((order.request, order.worker)),
        _ => None,
    };
    out.iter().filter_map(hold).collect()
}

/// The attempts for which tickets are ordered.
fn issued(out: &[Effect]) -> Vec<(RequestId, u32, NodeId)> {
    let issue = |effect: &Effect| match effect {
        Effect::Issue(issue) => Some((
            issue.claims.request,
            issue.claims.number,
            issue.claims.worker,
        )),
        _ => None,
    };
    out.iter().filter_map(issue).collect()
}

fn refusals(out: &[Effect]) -> Vec<(RequestId, Refusal)> {
    let refuse = |effect: &Effect| match effect {
        Effect::Refuse {
            request, refusal, ..
        } => Some((*request, refusal.clone())),
        _ => None,
    };
    out.iter().filter_map(refuse).collect()
}

#[test]
fn a_request_gets_its_hold_and_then_its_ticket() {
    let mut desk = Desk::new(&[4]);
    let out = desk.admit(admit(1));
    let [Effect::Hold(order)] = &out[..] else {
        panic!("{out:?}");
    };
    // The bound: 10 bytes, 7 around them, 5 for each of two turns; the owner of the worker is paid.
    assert_eq!(
        (order.prompt_tokens_max, order.completion_tokens_max),
        (27, 100)
    );
    assert_eq!((order.payer, order.payee), (PAYER, MemberId([200; 16])));
    let out = desk.held(1);
    let [Effect::Issue(issue)] = &out[..] else {
        panic!("{out:?}");
    };
    let claims = &issue.claims;
    assert_eq!(
        (issue.client, claims.client, claims.issuer),
        (CLIENT, CLIENT, ME)
    );
    assert_eq!(
        (claims.worker, claims.number, claims.model),
        (worker(0), 0, MODEL)
    );
    assert_eq!(
        (claims.prompt_bytes_max, claims.completion_tokens_max),
        (10, 100)
    );
    assert_eq!(desk.queue.stats().running, 1);
    assert_eq!(desk.finished(1), Vec::new());
    assert_eq!(desk.queue.stats().running, 0);
}

#[test]
fn saying_a_thing_twice_or_late_changes_nothing() {
    let mut desk = Desk::new(&[4]);
    desk.admit(admit(1));
    assert_eq!(desk.admit(admit(1)), Vec::new(), "the ledger was asked");
    let first = desk.held(1);
    assert_eq!(desk.held(1), Vec::new(), "the ticket was ordered");
    assert_eq!(desk.admit(admit(1)), first, "the same ticket again");
    let stolen = Admit {
        client: NodeId([9; 32]),
        ..admit(1)
    };
    assert_eq!(desk.admit(stolen), Vec::new(), "another node's request");
    desk.finished(1);
    assert_eq!(desk.finished(1), Vec::new());
    assert_eq!(desk.admit(admit(1)), Vec::new(), "it is over");
    assert_eq!(desk.held(1), Vec::new());
    assert_eq!(desk.queue.stats().running + desk.queue.stats().waiting, 0);
}

#[test]
fn the_least_loaded_worker_is_taken_and_one_that_failed_only_if_there_is_no_other() {
    let mut desk = Desk::new(&[4, 8]);
    let workers: Vec<NodeId> = (0..12)
        .flat_map(|id| holds(&desk.admit(admit(id))))
        .map(|hold| hold.1)
        .collect();
    assert_eq!(
        workers.iter().filter(|taken| **taken == worker(0)).count(),
        4
    );
    assert_eq!(
        workers.iter().filter(|taken| **taken == worker(1)).count(),
        8
    );
    // The lower id wins a tie, then loads stay level.
    assert_eq!(workers[..3], [worker(0), worker(1), worker(1)]);

    let mut desk = Desk::new(&[4, 4]);
    desk.admit(admit(1));
    desk.held(1);
    let again = Admit {
        number: 1,
        avoid: vec![(worker(0), Fault::Worker)],
        ..admit(1)
    };
    assert_eq!(holds(&desk.admit(again)), [(request(1), worker(1))]);
    assert_eq!(issued(&desk.held(1)), [(request(1), 1, worker(1))]);
    let mut desk = Desk::new(&[4]);
    desk.admit(admit(1));
    desk.held(1);
    let again = Admit {
        number: 1,
        avoid: vec![(worker(0), Fault::Worker)],
        ..admit(1)
    };
    assert_eq!(holds(&desk.admit(again)), [(request(1), worker(0))]);
    let decisions: Vec<Decision> = desk
        .queue
        .explain(desk.now, request(1))
        .expect("it is known")
        .decisions;
    assert_eq!(decisions.len(), 2);
    assert_eq!(decisions[1].candidates[0].finding, Finding::Chosen);
}

#[test]
fn who_finds_no_room_waits_and_hears_where_it_stands() {
    let mut desk = Desk::new(&[1]);
    desk.admit(admit(1));
    desk.held(1);
    for (id, ahead) in [(2, 0), (3, 1), (4, 2)] {
        let queued = Effect::Queued {
            client: CLIENT,
            request: request(id),
            ahead,
        };
        assert_eq!(desk.admit(admit(id)), [queued]);
    }
    // Said again, it is told again; when it moves up, it hears that at the next tick.
    let queued = |id, ahead| Effect::Queued {
        client: CLIENT,
        request: request(id),
        ahead,
    };
    assert_eq!(desk.admit(admit(3)), [queued(3, 1)]);
    assert_eq!(holds(&desk.finished(1)), [(request(2), worker(0))]);
    assert_eq!(desk.pass(600), [queued(3, 0), queued(4, 1)]);
    // One that leaves is told that no ticket will come, and is not served.
    assert_eq!(refusals(&desk.finished(3)), [(request(3), Refusal::Over)]);
    desk.held(2);
    assert_eq!(holds(&desk.finished(2)), [(request(4), worker(0))]);
}

#[test]
fn choices_are_sequences_and_a_large_request_is_not_overtaken() {
    let mut desk = Desk::new(&[4]);
    desk.admit(Admit {
        choices: 3,
        ..admit(1)
    });
    desk.held(1);
    assert_eq!(
        holds(&desk.admit(Admit {
            choices: 2,
            ..admit(2)
        })),
        []
    );
    assert_eq!(
        holds(&desk.admit(admit(3))),
        [],
        "there is room for one, but another was first"
    );
    assert_eq!(
        holds(&desk.finished(1)),
        [(request(2), worker(0)), (request(3), worker(0))]
    );
}

#[test]
fn what_no_worker_can_ever_take_is_refused_by_field() {
    let mut desk = Desk::new(&[4]);
    let cases = [
        (
            Admit {
                choices: 0,
                ..admit(1)
            },
            "choices",
        ),
        (
            Admit {
                choices: 17,
                ..admit(1)
            },
            "choices",
        ),
        (
            Admit {
                choices: 5,
                ..admit(1)
            },
            "choices",
        ),
        (
            Admit {
                tokens_max: 0,
                ..admit(1)
            },
            "tokens_max",
        ),
        (
            Admit {
                tokens_max: 2049,
                ..admit(1)
            },
            "tokens_max",
        ),
        (
            Admit {
                prompt_bytes: u64::MAX,
                ..admit(1)
            },
            "tokens_max",
        ),
    ];
    let hint = Hint {
        worker: worker(0),
        prefix_bytes: 0,
        rtt_ms: None,
    };
    let hints = Admit {
        hints: vec![hint; 9].into(),
        ..admit(1)
    };
    for (admit, expected) in cases.into_iter().chain([(hints, "hints")]) {
        let out = desk.admit(admit.clone());
        let refused = refusals(&out);
        let named =
            matches!(&refused[..], [(_, Refusal::Invalid { field, .. })] if field == expected);
        assert!(named, "{admit:?}: {out:?}");
    }
    assert_eq!(desk.queue.stats().counts.refused, 7);
}

mod absence;
mod floods;
mod placement;
mod standby;
