//! One session against a worker that behaves, dies, lies and repeats itself.

use super::*;
use crate::doorkeeper::protocol::Turnaway;
use crate::generate::{Failure, Finish, Generate, Prompt, Tally};
use crate::ids::{Class, Digest, HoldId, MemberId, Passport, RequestId, Signature};
use crate::receipt::{Half, Receipt, transcript};
use crate::session::limits::WINDOW_MS;
use crate::session::protocol::Patience;

const PROMPT: [u32; 2] = [5, 6];

struct Desk {
    thread: Thread,
    worker: NodeKey,
    now: Time,
    seen: Vec<Delivery>,
    posted: Vec<Parcel>,
    vouched: Vec<(AttemptId, Tally, Signature)>,
}

impl Desk {
    fn new(choices: u32) -> Desk {
        let [client, worker] = [1, 2].map(|n| NodeKey::from_secret([n; 32]));
        let generate = Generate {
            choices,
            tokens_max: 10,
            stop: vec!["END".to_owned()],
            ..Generate::new(Passport([3; 32]), Prompt::Text("hi".to_owned()))
        };
        let order = Order {
            request: RequestId([4; 16]),
            payer: MemberId([5; 16]),
            generate,
        };
        let thread = Thread::new(order, client, NodeId([9; 32]));
        Desk {
            thread,
            worker,
            now: Time(0),
            seen: Vec::new(),
            posted: Vec::new(),
            vouched: Vec::new(),
        }
    }

    /// Steps, keeps what the client, the outbox and the worker are given, returns the rest.
    fn say(&mut self, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        self.thread.step(self.now, input, &mut out);
        self.sort(out)
    }

    fn wake_at(&mut self, ms: u64) -> Vec<Effect> {
        self.now = Time(ms);
        let mut out = Vec::new();
        self.thread.wake(self.now, &mut out);
        self.sort(out)
    }

    fn sort(&mut self, out: Vec<Effect>) -> Vec<Effect> {
        self.thread.check();
        let mut rest = Vec::new();
        for effect in out {
            match effect {
                Effect::Deliver(delivery) => self.seen.push(delivery),
                Effect::Post(parcel) => self.posted.push(*parcel),
                Effect::Vouch {
                    worker,
                    attempt,
                    tally,
                    signature,
                } => {
                    assert_eq!(self.thread.worker(attempt).unwrap_or(worker), worker);
                    self.vouched.push((attempt, tally, signature));
                }
                other => rest.push(other),
            }
        }
        rest
    }

    fn attempt(number: u32) -> AttemptId {
        AttemptId::of(HoldId::of(RequestId([4; 16])), number)
    }

    fn grant(&self, number: u32) -> Input {
        Input::Granted(Box::new(Grant {
            number,
            attempt: Desk::attempt(number),
            hold: HoldId::of(RequestId([4; 16])),
            worker: self.worker.node(),
            class: Class::of("class"),
            prices: Digest([6; 32]),
            patience: Patience {
                silence_ms: 15_000,
                progress_ms: 40_000,
            },
            ticket: "ticket".to_owned(),
        }))
    }

    fn event(&mut self, number: u32, event: Event) -> Vec<Effect> {
        self.say(Input::Event {
            attempt: Desk::attempt(number),
            event,
        })
    }

    fn token(&mut self, number: u32, position: u32, text: &str) -> Vec<Effect> {
        let bytes = text.as_bytes().to_vec();
        self.event(
            number,
            Event::Token {
                choice: 0,
                position,
                id: 100 + position,
                bytes,
                odds: Vec::new(),
            },
        )
    }

    fn begin(&mut self) {
        self.say(Input::Begin);
        self.say(self.grant(0));
        self.event(
            0,
            Event::Started {
                prompt: PROMPT.to_vec(),
            },
        );
    }

    fn close(&mut self, number: u32, ids: &[u32], failure: Option<Failure>) -> Vec<Effect> {
        let receipt = Receipt {
            request: RequestId([4; 16]),
            hold: HoldId::of(RequestId([4; 16])),
            attempt: Desk::attempt(number),
            client: NodeKey::from_secret([1; 32]).node(),
            worker: self.worker.node(),
            model: Passport([3; 32]),
            prices: Digest([6; 32]),
            tally: Tally {
                prompt_tokens: PROMPT.len() as u32,
                completion_tokens: ids.len() as u32,
                transcript: transcript(&PROMPT, [ids]),
            },
        };
        let half = Box::new(Half::sign(receipt, &self.worker));
        self.say(Input::Closed {
            attempt: Desk::attempt(number),
            half,
            failure,
        })
    }

    fn posted(&mut self, number: u32) -> Vec<Effect> {
        let attempt = Desk::attempt(number);
        self.say(Input::Posted { attempt })
    }

    fn text(&self) -> String {
        let text = |delivery: &Delivery| match delivery {
            Delivery::Text { text, .. } => text.clone(),
            _ => String::new(),
        };
        self.seen.iter().map(text).collect()
    }

    fn endings(&self) -> usize {
        let ending = |d: &&Delivery| matches!(d, Delivery::Done { .. } | Delivery::Failed(_));
        self.seen.iter().filter(ending).count()
    }
}

fn ended(tokens: u32) -> Event {
    Event::Ended {
        choice: 0,
        tokens,
        finish: Finish::Stop,
    }
}

fn asks(out: &[Effect], number: u32) -> bool {
    out.iter()
        .any(|effect| matches!(effect, Effect::Admit(admit) if admit.number == number))
}

#[test]
fn an_undisturbed_request_is_delivered_signed_and_over() {
    let mut desk = Desk::new(1);
    assert!(asks(&desk.say(Input::Begin), 0));
    let out = desk.say(desk.grant(0));
    assert!(matches!(&out[..], [Effect::Knock { .. }]));
    assert!(desk.say(desk.grant(0)).is_empty(), "a ticket is used once");
    desk.event(
        0,
        Event::Started {
            prompt: PROMPT.to_vec(),
        },
    );
    desk.token(0, 0, "Hel");
    desk.token(0, 1, "lo EN");
    desk.event(0, ended(2));
    let out = desk.close(0, &[100, 101], None);
    assert!(matches!(&out[..], [Effect::Finished { .. }]));
    assert_eq!(desk.text(), "Hello EN");
    assert!(desk.posted[0].evidence.verifies());
    assert!(matches!(
        desk.seen.last(),
        Some(Delivery::Done {
            completion_tokens: 2,
            ..
        })
    ));
    assert!(desk.close(0, &[100, 101], None).is_empty());
    assert_eq!((desk.endings(), desk.posted.len()), (1, 1));
    assert_eq!(desk.posted(0), [Effect::Close]);
}

#[test]
fn a_stream_goes_on_at_the_next_position_after_its_engine_died() {
    let mut desk = Desk::new(1);
    desk.begin();
    desk.token(0, 0, "a");
    desk.token(0, 1, "b");
    let out = desk.say(Input::Lost {
        attempt: Desk::attempt(0),
    });
    assert!(asks(&out, 1));
    let again = desk.say(Input::Refused {
        number: 1,
        refusal: Refusal::NoWorker,
    });
    assert!(again.is_empty(), "an engine that restarts is waited for");
    assert!(asks(&desk.wake_at(250), 1));
    let out = desk.say(desk.grant(1));
    let [Effect::Knock { work, .. }] = &out[..] else {
        panic!("{out:?}")
    };
    let resume = work.resume.as_ref().unwrap();
    assert_eq!(
        (&resume.prompt[..], &resume.choices[0].ids[..]),
        (&PROMPT[..], &[100, 101][..])
    );
    desk.token(0, 2, "late words of the dead");
    desk.event(
        1,
        Event::Started {
            prompt: PROMPT.to_vec(),
        },
    );
    desk.token(1, 1, "b");
    desk.token(1, 2, "c");
    desk.event(1, ended(3));
    desk.close(1, &[100, 101, 102], None);
    assert_eq!(desk.text(), "abc");
    assert_eq!((desk.endings(), desk.posted.len()), (1, 1));
}

#[test]
fn what_cannot_be_of_an_honest_whole_stream_ends_the_attempt() {
    let lies: Vec<(&str, Event)> = vec![
        (
            "a gap",
            Event::Token {
                choice: 0,
                position: 2,
                id: 1,
                bytes: vec![],
                odds: Vec::new(),
            },
        ),
        (
            "another token",
            Event::Token {
                choice: 0,
                position: 0,
                id: 7,
                bytes: vec![],
                odds: Vec::new(),
            },
        ),
        ("another prompt", Event::Started { prompt: vec![1] }),
        (
            "a choice too many",
            Event::Token {
                choice: 1,
                position: 0,
                id: 1,
                bytes: vec![],
                odds: Vec::new(),
            },
        ),
        ("more tokens than came", ended(2)),
        ("fewer tokens than came", ended(0)),
    ];
    for (lie, event) in lies {
        let mut desk = Desk::new(1);
        desk.begin();
        desk.token(0, 0, "a");
        let out = desk.event(0, event);
        assert!(asks(&out, 1), "{lie} was believed");
        assert!(matches!(out[0], Effect::Cancel { .. }), "{lie}");
    }
}

#[test]
fn a_receipt_that_differs_is_not_signed() {
    let mut desk = Desk::new(1);
    desk.begin();
    desk.token(0, 0, "a");
    desk.event(0, ended(1));
    assert!(asks(&desk.close(0, &[100, 101], None), 1));
    assert!(desk.posted.is_empty());
}

#[test]
fn attempts_come_to_an_end_and_so_does_waiting() {
    let mut desk = Desk::new(1);
    desk.begin();
    for number in 0..4 {
        desk.say(Input::Turned {
            attempt: Desk::attempt(number),
            reason: Turnaway::Full { limit: 1 },
        });
        desk.say(desk.grant(number + 1));
    }
    assert!(matches!(
        desk.seen.last(),
        Some(Delivery::Failed(Trouble::Lost { attempts: 4, .. }))
    ));

    let mut desk = Desk::new(1);
    desk.say(Input::Begin);
    assert!(asks(&desk.wake_at(2_000), 0));
    desk.wake_at(120_000);
    assert!(matches!(
        desk.seen[..],
        [Delivery::Failed(Trouble::QueueTimeout { .. })]
    ));

    let mut desk = Desk::new(1);
    desk.begin();
    assert!(asks(&desk.wake_at(15_000), 1), "silence is loss");
    // Nobody else was there, so it may be slow and not gone.
    desk.say(desk.grant(1));
    assert!(!asks(&desk.wake_at(74_999), 2));
    assert!(asks(&desk.wake_at(75_000), 2));
}

#[test]
fn attempts_are_not_all_spent_at_doors_that_have_just_opened() {
    let mut desk = Desk::new(1);
    desk.begin();
    let turned = |number| Input::Turned {
        attempt: Desk::attempt(number),
        reason: Turnaway::Window,
    };
    assert!(asks(&desk.say(turned(0)), 1), "another door may be open");
    desk.say(desk.grant(1));
    assert!(!asks(&desk.say(turned(1)), 2), "none is: there is time");
    assert!(!asks(&desk.wake_at(WINDOW_MS - 1), 2));
    assert!(asks(&desk.wake_at(WINDOW_MS), 2));
    desk.say(desk.grant(2));
    desk.say(turned(2));
    assert!(
        asks(&desk.wake_at(2 * WINDOW_MS), 3),
        "the window is over by now"
    );
}

#[test]
fn a_client_that_hangs_up_is_billed_to_there_and_told_nothing_more() {
    let mut desk = Desk::new(1);
    desk.begin();
    desk.token(0, 0, "a");
    let out = desk.say(Input::HangUp);
    assert!(matches!(&out[..], [Effect::Cancel { .. }]));
    let seen = desk.seen.len();
    desk.token(0, 1, "b");
    assert!(matches!(&desk.wake_at(1_000)[..], [Effect::Cancel { .. }]));
    desk.close(0, &[100, 101], Some(Failure::Cancelled));
    assert_eq!(desk.seen.len(), seen);
    let paid = desk.posted[0].evidence.statement();
    assert_eq!(paid.tally.completion_tokens, 2);
}

#[test]
fn a_ticket_under_way_when_the_client_left_is_used_to_release_its_hold() {
    let mut desk = Desk::new(1);
    desk.say(Input::Begin);
    let out = desk.say(Input::HangUp);
    assert!(matches!(&out[..], [Effect::Finished { .. }]));
    let out = desk.say(desk.grant(0));
    assert!(matches!(
        &out[..],
        [Effect::Knock { .. }, Effect::Cancel { .. }]
    ));
    let out = desk.wake_at(30_000);
    assert!(matches!(out.last(), Some(Effect::Close)));
}

#[test]
fn a_request_that_cannot_be_served_fails_once_and_is_not_tried_elsewhere() {
    let mut desk = Desk::new(1);
    desk.say(Input::Begin);
    desk.say(desk.grant(0));
    let failure = Failure::ContextLength {
        prompt: 9000,
        context: 8192,
    };
    let out = desk.close(0, &[], Some(failure.clone()));
    assert!(matches!(&out[..], [Effect::Finished { .. }, Effect::Close]));
    assert_eq!(desk.seen, [Delivery::Failed(Trouble::Failed(failure))]);
}

#[test]
fn a_knock_that_arrived_twice_is_no_loss_and_work_beyond_the_ticket_is_hopeless() {
    let mut desk = Desk::new(1);
    desk.begin();
    let turned = |reason| Input::Turned {
        attempt: Desk::attempt(0),
        reason,
    };
    assert_eq!(desk.say(turned(Turnaway::Used)), Vec::new());
    desk.say(turned(Turnaway::Beyond {
        field: "prompt bytes".to_owned(),
        allowed: "1".to_owned(),
        found: "2".to_owned(),
    }));
    assert!(matches!(
        desk.seen.last(),
        Some(Delivery::Failed(Trouble::Failed(Failure::Invalid { .. })))
    ));
}

mod chaos;
mod classes;
mod endings;
mod standby;
mod vouching;
