//! The keeper against engines that come up, work, fall, fall silent, and are no use.

mod classes;
mod evidence;
mod reports;
mod rest;

use super::*;
use crate::doorkeeper::protocol::Turnaway;
use crate::generate::{Event, Failure, Finish, Generate, Prompt, Tally, Work};
use crate::ids::{Class, Digest, HoldId, NodeId, RequestId};
use crate::ticket::Claims;

const MODEL: Passport = Passport([1; 32]);
const CLIENT: NodeId = NodeId([2; 32]);
const STREAM_SECONDS_MAX: u64 = 20;

fn facts() -> EngineFacts {
    EngineFacts {
        context: 100,
        sequences_max: 4,
        overhead_fixed_bytes: 10,
        overhead_turn_bytes: 5,
        weight_bytes: 1,
        pages: 8,
        page_bytes: 64,
        window: 0,
        window_pages: 0,
        window_page_bytes: 0,
        class: "test".to_owned(),
    }
}

struct Desk {
    keeper: Keeper,
    now: Time,
}

impl Desk {
    fn new() -> Desk {
        let key = NodeKey::from_secret([3; 32]);
        Desk {
            keeper: Keeper::new(key, MemberId([4; 16])),
            now: Time(0),
        }
    }

    fn ready() -> Desk {
        let mut desk = Desk::new();
        desk.say(Input::Serve {
            model: MODEL,
            name: "m".to_owned(),
            created_seconds: 0,
        });
        desk.frame(1, FromEngine::Ready(facts()));
        desk
    }

    fn say(&mut self, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        self.keeper.step(self.now, input, &mut out);
        self.keeper.check();
        out
    }

    fn frame(&mut self, life: u64, frame: FromEngine) -> Vec<Effect> {
        self.say(Input::Frame {
            model: MODEL,
            life,
            frame,
        })
    }

    fn wake_at(&mut self, ms: u64) -> Vec<Effect> {
        self.now = Time(ms);
        let mut out = Vec::new();
        self.keeper.wake(self.now, &mut out);
        self.keeper.check();
        out
    }

    fn start(&mut self, n: u8) -> Vec<Effect> {
        self.start_for(n, CLIENT)
    }

    fn start_for(&mut self, n: u8, client: NodeId) -> Vec<Effect> {
        let hold = HoldId([n; 16]);
        let claims = Claims {
            issuer: NodeId([9; 32]),
            payer: MemberId([5; 16]),
            worker: NodeKey::from_secret([3; 32]).node(),
            client,
            issued_at: 0,
            issued_ms: 0,
            expires_at: 0,
            attempt: AttemptId([n; 16]),
            hold,
            request: RequestId([n; 16]),
            number: 0,
            model: MODEL,
            class: Class::of("test"),
            prompt_bytes_max: 10,
            completion_tokens_max: 10,
            prices: Digest([6; 32]),
            cost_max: 1,
            stream_seconds_max: STREAM_SECONDS_MAX,
            epoch: 0,
        };
        let generate = Generate {
            tokens_max: 10,
            ..Generate::new(MODEL, Prompt::Text("x".to_owned()))
        };
        let work = Box::new(Work {
            generate,
            resume: None,
        });
        self.say(Input::Start {
            claims: Box::new(claims),
            work,
        })
    }
}

fn reported(out: &[Effect]) -> Option<usize> {
    out.iter().find_map(|effect| match effect {
        Effect::Report(report) => Some(report.models.len()),
        _ => None,
    })
}

fn lost(out: &[Effect]) -> usize {
    out.iter()
        .filter(|effect| matches!(effect, Effect::Lost { .. }))
        .count()
}

#[test]
fn a_model_is_reported_once_its_engine_is_ready_and_work_is_signed_for() {
    let mut desk = Desk::new();
    let serve = Input::Serve {
        model: MODEL,
        name: "m".to_owned(),
        created_seconds: 0,
    };
    let out = desk.say(serve.clone());
    assert!(matches!(out[0], Effect::Spawn { life: 1, .. }));
    assert_eq!(
        lost(&desk.start(1)),
        1,
        "nothing is started on an engine that is not ready"
    );
    assert_eq!(
        reported(&desk.frame(1, FromEngine::Ready(facts()))),
        Some(1)
    );
    assert!(desk.say(serve).is_empty());
    let out = desk.start(2);
    assert!(matches!(
        out[0],
        Effect::Write {
            frame: ToEngine::Start { .. },
            ..
        }
    ));
    let tally = Tally {
        prompt_tokens: 1,
        completion_tokens: 2,
        transcript: Digest([7; 32]),
    };
    let attempt = AttemptId([2; 16]);
    let out = desk.frame(
        1,
        FromEngine::Closed {
            attempt,
            tally: tally.clone(),
            failure: None,
        },
    );
    let Effect::Closed {
        half,
        client: CLIENT,
        ..
    } = &out[0]
    else {
        panic!("{out:?}")
    };
    assert!(half.verifies() && half.receipt.tally == tally);
    assert!(
        desk.frame(
            1,
            FromEngine::Closed {
                attempt,
                tally,
                failure: None
            }
        )
        .is_empty()
    );
}

#[test]
fn a_fallen_engine_loses_its_attempts_at_once_and_comes_back_later_and_later() {
    let mut desk = Desk::ready();
    desk.start(1);
    desk.start(2);
    let out = desk.say(Input::Exited {
        model: MODEL,
        life: 1,
        reason: "killed".to_owned(),
    });
    assert_eq!((lost(&out), reported(&out)), (2, Some(0)));
    assert!(desk.wake_at(99).is_empty());
    assert!(matches!(
        desk.wake_at(100)[0],
        Effect::Spawn { life: 2, .. }
    ));
    desk.say(Input::Exited {
        model: MODEL,
        life: 2,
        reason: "killed".to_owned(),
    });
    assert!(desk.wake_at(299).is_empty());
    assert!(matches!(
        desk.wake_at(300)[0],
        Effect::Spawn { life: 3, .. }
    ));
    assert!(
        desk.frame(2, FromEngine::Ready(facts())).is_empty(),
        "the dead are not heard"
    );
}

#[test]
fn an_engine_that_falls_silent_is_ended_and_one_that_answers_is_not() {
    let mut desk = Desk::ready();
    let out = desk.wake_at(5_000);
    assert!(matches!(
        out[0],
        Effect::Write {
            frame: ToEngine::Probe { number: 1 },
            ..
        }
    ));
    desk.frame(
        1,
        FromEngine::Alive {
            number: 1,
            stats: EngineStats::default(),
        },
    );
    for at in [10_000, 15_000, 20_000, 25_000, 30_000, 34_999] {
        assert!(
            !desk
                .wake_at(at)
                .iter()
                .any(|effect| matches!(effect, Effect::Kill { .. }))
        );
    }
    assert!(matches!(
        desk.wake_at(35_000)[0],
        Effect::Kill { life: 1, .. }
    ));
}

#[test]
fn only_the_peer_that_started_an_attempt_can_cancel_it() {
    let mut desk = Desk::ready();
    desk.start(1);
    let attempt = AttemptId([1; 16]);
    assert!(
        desk.say(Input::Cancel {
            peer: NodeId([8; 32]),
            attempt
        })
        .is_empty()
    );
    let out = desk.say(Input::Cancel {
        peer: CLIENT,
        attempt,
    });
    assert!(matches!(
        out[0],
        Effect::Write {
            frame: ToEngine::Cancel { .. },
            ..
        }
    ));
}

#[test]
fn a_model_that_cannot_be_served_is_not_tried_again() {
    let mut desk = Desk::new();
    desk.say(Input::Serve {
        model: MODEL,
        name: "m".to_owned(),
        created_seconds: 0,
    });
    let out = desk.frame(
        1,
        FromEngine::Unfit {
            message: "n_kv: too many".to_owned(),
        },
    );
    assert!(matches!(out[0], Effect::Kill { .. }));
    desk.say(Input::Exited {
        model: MODEL,
        life: 1,
        reason: "it ended".to_owned(),
    });
    assert!(
        !desk
            .wake_at(1 << 40)
            .iter()
            .any(|effect| matches!(effect, Effect::Spawn { .. }))
    );
}

/// The attempts that engines are told to cancel.
fn cancelled(out: &[Effect]) -> Vec<AttemptId> {
    out.iter()
        .filter_map(|effect| match effect {
            Effect::Write {
                frame: ToEngine::Cancel { attempt },
                ..
            } => Some(*attempt),
            _ => None,
        })
        .collect()
}

fn tally() -> Tally {
    Tally {
        prompt_tokens: 1,
        completion_tokens: 2,
        transcript: Digest([7; 32]),
    }
}

/// What the session of an attempt hears when its engine has cancelled it.
fn cut(desk: &mut Desk, attempt: AttemptId) -> (bool, Option<Failure>) {
    let event = Event::Ended {
        choice: 0,
        tokens: 2,
        finish: Finish::Cancelled,
    };
    let ended = desk.frame(1, FromEngine::Event { attempt, event });
    let told = matches!(ended[..], [Effect::Event { .. }]);
    let closed = desk.frame(
        1,
        FromEngine::Closed {
            attempt,
            tally: tally(),
            failure: Some(Failure::Cancelled),
        },
    );
    let Effect::Closed { half, failure, .. } = &closed[0] else {
        panic!("{closed:?}")
    };
    assert!(half.verifies() && half.receipt.tally == tally());
    (told, failure.clone())
}

#[test]
fn a_stream_that_lasts_as_long_as_its_ticket_allows_is_cut_signed_for_and_told_the_limit() {
    let mut desk = Desk::ready();
    desk.now = Time(1_000);
    desk.start(1);
    desk.now = Time(1_001);
    desk.start(2);
    let until = Time(1_000 + STREAM_SECONDS_MAX * 1000);
    assert!(desk.keeper.deadline().is_some_and(|at| at <= until));
    assert_eq!(cancelled(&desk.wake_at(until.0 - 1)), []);
    assert_eq!(cancelled(&desk.wake_at(until.0)), [AttemptId([1; 16])]);
    assert_eq!(
        cancelled(&desk.wake_at(until.0)),
        [],
        "an engine is told once"
    );
    let overtime = Failure::Overtime {
        seconds: STREAM_SECONDS_MAX,
    };
    let (told, failure) = cut(&mut desk, AttemptId([1; 16]));
    assert!(!told, "a choice that was cut off has not ended");
    assert_eq!(failure, Some(overtime));

    // One that ends in the same moment has ended as it would have.
    assert_eq!(cancelled(&desk.wake_at(until.0 + 1)), [AttemptId([2; 16])]);
    let closed = desk.frame(
        1,
        FromEngine::Closed {
            attempt: AttemptId([2; 16]),
            tally: tally(),
            failure: None,
        },
    );
    assert!(matches!(closed[0], Effect::Closed { failure: None, .. }));
}

#[test]
fn a_drained_worker_turns_new_work_away_and_ends_what_runs_when_its_time_is_over() {
    let mut desk = Desk::ready();
    desk.start(1);
    let out = desk.say(Input::Drain { grace_ms: 5_000 });
    assert_eq!(reported(&out), Some(0));
    assert_eq!(cancelled(&out), [], "what runs may go on");
    let out = desk.start(2);
    assert!(
        matches!(
            out[..],
            [Effect::Turn {
                reason: Turnaway::Draining,
                ..
            }]
        ),
        "{out:?}"
    );
    desk.say(Input::Drain { grace_ms: 60_000 });
    assert!(
        desk.keeper.deadline().is_some_and(|at| at <= Time(5_000)),
        "a drain is never put off"
    );
    assert_eq!(cancelled(&desk.wake_at(4_999)), []);
    assert_eq!(cancelled(&desk.wake_at(5_000)), [AttemptId([1; 16])]);
    let (told, failure) = cut(&mut desk, AttemptId([1; 16]));
    assert!(told, "the session is to go on elsewhere");
    assert_eq!(failure, Some(Failure::Cancelled));
}
