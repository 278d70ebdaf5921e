//! Anything may happen in any order: the client sees one ending, and of each choice a beginning of the one
//! text that an undisturbed worker gives.

use super::*;
use crate::text::StopScan;
use proptest::prelude::*;

const CHOICES: u32 = 2;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Act {
    /// The scheduler grants the attempt that is asked for, or an earlier one again.
    Grant {
        late: bool,
    },
    Refuse {
        busy: bool,
    },
    Queue,
    /// The worker says its next honest thing, for so many times.
    Honest {
        times: u8,
    },
    /// It says an earlier thing again.
    Repeat {
        back: u8,
    },
    /// A thing is lost on the way.
    Skip,
    /// It says another token than it should.
    Lie,
    /// It closes honestly, or with a tally of its own.
    Close {
        honest: bool,
        failed: bool,
    },
    Lose,
    Turn {
        used: bool,
    },
    /// The outbox has the receipt.
    Post,
    HangUp,
    Wait {
        ms: u64,
    },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => any::<bool>().prop_map(|late| Act::Grant { late }),
        1 => any::<bool>().prop_map(|busy| Act::Refuse { busy }),
        1 => Just(Act::Queue),
        12 => (1u8..8).prop_map(|times| Act::Honest { times }),
        2 => (1u8..6).prop_map(|back| Act::Repeat { back }),
        1 => Just(Act::Skip),
        1 => Just(Act::Lie),
        3 => (any::<bool>(), any::<bool>()).prop_map(|(honest, rare)| Act::Close { honest, failed: rare && !honest }),
        1 => Just(Act::Lose),
        1 => any::<bool>().prop_map(|used| Act::Turn { used }),
        1 => Just(Act::Post),
        1 => Just(Act::HangUp),
        3 => (1u64..20_000).prop_map(|ms| Act::Wait { ms }),
    ]
}

/// The one answer of both choices: what every worker says, attempt after attempt.
struct Truth {
    events: Vec<Event>,
    texts: [String; CHOICES as usize],
    ids: [Vec<u32>; CHOICES as usize],
}

impl Truth {
    fn new() -> Truth {
        let pieces: [&[&[u8]]; 2] = [
            &[
                b"a",
                &[0xC3],
                &[0xA9],
                b" E",
                b"N",
                b"x",
                b"y",
                b"E",
                b"ND",
                b"never",
            ],
            &[
                b"one",
                b" two",
                &[0xF0, 0x9F],
                &[0x90, 0x8E],
                b"E",
                b" th",
                b"r",
                b"e",
                b"e",
                b"!",
            ],
        ];
        let stops = ["END".to_owned()];
        let mut events = vec![Event::Started {
            prompt: PROMPT.to_vec(),
        }];
        let (mut texts, mut ids) = ([String::new(), String::new()], [Vec::new(), Vec::new()]);
        for choice in 0..CHOICES {
            let (mut scan, mut bytes) = (StopScan::new(&stops), Vec::new());
            let index = choice as usize;
            for piece in pieces[index] {
                let position = ids[index].len() as u32;
                let id = 100 * choice + position;
                ids[index].push(id);
                bytes.extend_from_slice(piece);
                events.push(Event::Token {
                    choice,
                    position,
                    id,
                    bytes: piece.to_vec(),
                    odds: Vec::new(),
                });
                if scan.push(piece).is_some() {
                    break;
                }
            }
            let finish = match scan.stop() {
                Some(_) => Finish::Stop,
                None => Finish::Length,
            };
            events.push(Event::Ended {
                choice,
                tokens: ids[index].len() as u32,
                finish,
            });
            texts[index] = crate::text::text_of(&bytes, &stops);
        }
        Truth { events, texts, ids }
    }

    /// What an attempt says after what the session knows; `None` at its end.
    fn next(&self, thread: &Thread, said: &mut usize) -> Option<Event> {
        let (tally, started) = (thread.answer.tally(), thread.answer.resume().is_some());
        // A worker that takes up a stream says `Started` and goes on where the session stands.
        if *said == 0 || !started {
            *said = 1;
            return Some(self.events[0].clone());
        }
        let resume = thread.answer.resume()?;
        assert_eq!(tally.prompt_tokens as usize, PROMPT.len());
        self.events
            .iter()
            .skip(1)
            .find(|event| match event {
                Event::Token {
                    choice, position, ..
                } => *position as usize >= resume.choices[*choice as usize].ids.len(),
                Event::Ended { choice, .. } => resume.choices[*choice as usize].finish.is_none(),
                _ => false,
            })
            .cloned()
    }
}

/// The session, what became of it, and the truth it is measured by.
struct Chaos {
    desk: Desk,
    truth: Truth,
    said: usize,
    closed: bool,
    hung_up: bool,
}

impl Chaos {
    fn number(&self) -> u32 {
        match &self.desk.thread.stage {
            Stage::Working { grant, .. }
            | Stage::Leaving {
                grant: Some(grant), ..
            } => grant.number,
            _ => self.desk.thread.number,
        }
    }

    fn say(&mut self, input: Input) {
        let out = self.desk.say(input);
        self.seen(&out);
    }

    fn seen(&mut self, out: &[Effect]) {
        assert!(
            !self.closed || out.is_empty(),
            "after the end nothing more: {out:?}"
        );
        for effect in out {
            match effect {
                Effect::Close => self.closed = true,
                Effect::Knock { .. } => self.said = 0,
                _ => {}
            }
        }
        for choice in 0..CHOICES {
            let shown: String = self
                .desk
                .seen
                .iter()
                .map(|delivery| match delivery {
                    Delivery::Text {
                        choice: of, text, ..
                    } if *of == choice => text.as_str(),
                    _ => "",
                })
                .collect();
            let truth = &self.truth.texts[choice as usize];
            assert!(
                truth.starts_with(&shown),
                "{shown:?} is no beginning of {truth:?}"
            );
        }
        assert!(self.desk.endings() <= 1, "{:?}", self.desk.seen);
        let first = self.desk.posted.first();
        assert!(
            self.desk.posted.iter().all(|parcel| Some(parcel) == first),
            "one hold is settled by one receipt"
        );
        let waits = self.desk.thread.deadline().is_some();
        assert!(waits || self.closed || matches!(self.desk.thread.stage, Stage::New | Stage::Over));
    }

    fn close(&mut self, honest: bool, failure: Option<Failure>) {
        let number = self.number();
        let mut tally = self.desk.thread.answer.tally();
        if !honest {
            tally.completion_tokens += 1;
        }
        let receipt = Receipt {
            request: RequestId([4; 16]),
            hold: HoldId::of(RequestId([4; 16])),
            attempt: Desk::attempt(number),
            client: NodeKey::from_secret([1; 32]).node(),
            worker: self.desk.worker.node(),
            model: Passport([3; 32]),
            prices: Digest([6; 32]),
            tally,
        };
        let half = Box::new(Half::sign(receipt, &self.desk.worker));
        self.say(Input::Closed {
            attempt: Desk::attempt(number),
            half,
            failure,
        });
    }

    fn event(&mut self, event: Event) {
        let attempt = Desk::attempt(self.number());
        self.say(Input::Event { attempt, event });
    }

    fn act(&mut self, act: Act) {
        let number = self.number();
        match act {
            Act::Grant { late } => {
                let number = if late {
                    number.saturating_sub(1)
                } else {
                    number
                };
                self.say(self.desk.grant(number));
            }
            Act::Refuse { busy } => {
                let refusal = match busy {
                    true => Refusal::Busy {
                        waiting: 1,
                        retry_after_ms: 1,
                    },
                    false => Refusal::Over,
                };
                self.say(Input::Refused { number, refusal });
            }
            Act::Queue => self.say(Input::Queued { ahead: 1 }),
            Act::Honest { times } => {
                for _ in 0..times {
                    let working = matches!(
                        self.desk.thread.stage,
                        Stage::Working { .. } | Stage::Leaving { .. }
                    );
                    match self.truth.next(&self.desk.thread, &mut self.said) {
                        Some(event) if working => self.event(event),
                        _ => break,
                    }
                }
            }
            Act::Repeat { back } => {
                let known = usize::from(back);
                if self.desk.thread.answer.tally().completion_tokens as usize > known {
                    self.event(self.truth.events[known].clone());
                }
            }
            Act::Skip => {
                let next = self.truth.next(&self.desk.thread, &mut self.said);
                if let Some(Event::Token {
                    choice,
                    position,
                    id,
                    bytes,
                    ..
                }) = next
                {
                    self.event(Event::Token {
                        choice,
                        position: position + 1,
                        id: id + 1,
                        bytes,
                        odds: Vec::new(),
                    });
                }
            }
            // What was said before in other words; a lie about what is new cannot be seen from here.
            Act::Lie => self.event(Event::Token {
                choice: 0,
                position: 0,
                id: 9_999,
                bytes: Vec::new(),
                odds: Vec::new(),
            }),
            Act::Close { honest, failed } => {
                let failure = failed.then_some(Failure::EmptyPrompt);
                self.close(honest, failure);
            }
            Act::Lose => self.say(Input::Lost {
                attempt: Desk::attempt(number),
            }),
            Act::Turn { used } => {
                let reason = if used {
                    Turnaway::Used
                } else {
                    Turnaway::Window
                };
                self.say(Input::Turned {
                    attempt: Desk::attempt(number),
                    reason,
                });
            }
            Act::Post => {
                let attempt = Desk::attempt(number);
                self.say(Input::Posted { attempt });
            }
            Act::HangUp => {
                self.hung_up = true;
                self.say(Input::HangUp);
            }
            Act::Wait { ms } => self.wait(ms),
        }
    }

    fn wait(&mut self, ms: u64) {
        let end = self.desk.now.plus_ms(ms);
        while let Some(deadline) = self
            .desk
            .thread
            .deadline()
            .filter(|deadline| *deadline <= end)
        {
            let out = self.desk.wake_at(deadline.max(self.desk.now).0);
            self.seen(&out);
        }
        self.desk.now = end;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn whatever_happens_the_client_sees_one_ending_and_a_beginning_of_the_one_text(
        acts in proptest::collection::vec(act(), 0..60),
    ) {
        // A lie about a token nobody has seen yet is found by audits and not by sessions: the first token
        // is honest before anybody lies.
        let mut desk = Desk::new(CHOICES);
        let out = desk.say(Input::Begin);
        prop_assert!(asks(&out, 0));
        let mut chaos = Chaos { desk, truth: Truth::new(), said: 0, closed: false, hung_up: false };
        for act in acts {
            let begun = chaos.desk.thread.answer.resume().is_some_and(|resume| !resume.choices[0].ids.is_empty());
            if begun || !matches!(act, Act::Lie) {
                chaos.act(act);
            }
        }
        // Then nobody says anything any more: it comes to its end by its own deadlines.
        chaos.wait(10 * 60 * 1000);
        prop_assert!(chaos.closed, "{:?}", chaos.desk.thread.stage);
        let done = chaos.desk.seen.iter().any(|delivery| matches!(delivery, Delivery::Done { .. }));
        prop_assert!(chaos.hung_up || chaos.desk.endings() == 1, "{:?}", chaos.desk.seen);
        if done {
            let texts: Vec<String> = (0..CHOICES).map(|choice| chaos.desk.seen.iter().map(|delivery| match delivery {
                Delivery::Text { choice: of, text, .. } if *of == choice => text.as_str(),
                _ => "",
            }).collect()).collect();
            prop_assert_eq!(&texts[..], &chaos.truth.texts[..]);
            let tally = &chaos.desk.posted[0].evidence.statement().tally;
            prop_assert_eq!(tally.transcript, transcript(&PROMPT, chaos.truth.ids.iter().map(|ids| &ids[..])));
        }
        prop_assert!(chaos.desk.posted.iter().all(|parcel| parcel.evidence.verifies()));
    }
}
