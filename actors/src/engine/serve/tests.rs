//! The loop with a forward pass whose steps last as long as the test wants.

use super::super::batch::Plan;
use super::super::frames::ToEngine;
use super::super::pretend::{PretendForward, PretendWords, facts};
use super::*;
use crate::generate::{Failure, Generate, Prompt, Work};
use crate::ids::{AttemptId, Digest, Passport};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Says how many runs each step has, and takes it when told to.
struct Held {
    forward: PretendForward,
    begun: Sender<usize>,
    go: Receiver<()>,
}

impl Forward for Held {
    fn step(&mut self, plan: &Plan) -> Vec<Result<Option<Vec<f32>>, Failure>> {
        self.begun.send(plan.runs.len()).expect("the test listens");
        self.go.recv().expect("the test lets it go");
        self.forward.step(plan)
    }
}

/// A pipe that says when its reader comes back for more: what it got before is dealt with then.
struct Feed {
    chunks: Receiver<Vec<u8>>,
    rest: Vec<u8>,
    asked: Sender<()>,
}

impl Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            self.asked.send(()).expect("the test listens");
            self.rest = self.chunks.recv().unwrap_or_default();
        }
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Ok(count)
    }
}

/// A pipe whose frames are told to the test.
struct Told(Sender<FromEngine>);

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while let Some(frame) = pipe::read(&mut rest, Kind::FromEngine)? {
            self.0.send(frame).expect("the test listens");
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn start(number: u8) -> ToEngine {
    let prompt = Prompt::Text(format!("prompt {number}"));
    let generate = Generate {
        tokens_max: 50,
        ignore_end: true,
        ..Generate::new(Passport([0; 32]), prompt)
    };
    ToEngine::Start {
        attempt: AttemptId([number; 16]),
        tenant: Digest([0; 32]),
        work: Box::new(Work {
            generate,
            resume: None,
        }),
    }
}

fn cancel(number: u8) -> ToEngine {
    ToEngine::Cancel {
        attempt: AttemptId([number; 16]),
    }
}

fn next<T>(from: &Receiver<T>) -> T {
    from.recv_timeout(Duration::from_secs(60))
        .expect("it happens")
}

#[test]
fn however_many_cancels_come_during_a_step_it_is_the_last_of_their_attempts() {
    let (feed, chunks) = channel();
    let (asked, back) = channel();
    let (begun, steps) = channel();
    let (release, go) = channel();
    let (told, heard) = channel();
    let input = Feed {
        chunks,
        rest: Vec::new(),
        asked,
    };
    let engine = std::thread::spawn(move || {
        let forward = Held {
            forward: PretendForward::new(COUNT as u32 * 2),
            begun,
            go,
        };
        let facts = facts(COUNT as u32 * 2, COUNT.into(), 128);
        let mut desk = Desk::new(forward, PretendWords, facts);
        serve(&mut desk, input, Told(told), || Time(0))
    });
    let say = |frames: &[ToEngine]| {
        for frame in frames {
            let sent = feed.send(pipe::encode(Kind::ToEngine, frame));
            sent.expect("the engine runs");
            next(&back);
        }
    };
    assert!(matches!(next(&heard), FromEngine::Ready(_)));
    next(&back);

    // Every attempt is in the step that runs while the cancels come in, and one more has only just come.
    let starts: Vec<ToEngine> = (0..COUNT).map(start).collect();
    say(&starts);
    while next(&steps) < COUNT.into() {
        release.send(()).expect("the engine runs");
    }
    say(&[start(COUNT)]);
    let cancels: Vec<ToEngine> = (0..=COUNT).map(cancel).collect();
    say(&cancels);
    say(&[ToEngine::Probe { number: 1 }]);
    release.send(()).expect("the engine runs");

    let mut closed = 0;
    let stats = loop {
        match next(&heard) {
            FromEngine::Closed { .. } => closed += 1,
            FromEngine::Alive { stats, .. } => break stats,
            _ => {}
        }
    };
    assert_eq!(closed, u32::from(COUNT) + 1);
    assert_eq!(stats.cancelled, u64::from(COUNT) + 1);
    assert_eq!(stats.steps_after_cancel_max, 1, "the step that was running");
    assert_eq!((stats.running, stats.waiting), (0, 0));
    drop(feed);
    assert!(engine.join().expect("it ends well").is_ok());
    assert!(steps.try_recv().is_err(), "no step began after them");
}

#[test]
fn who_runs_goes_on_while_many_are_to_be_started() {
    // Every look at the clock is a second later, so one start is all there is time for.
    let ticks = std::sync::atomic::AtomicU64::new(0);
    let now = move || Time(ticks.fetch_add(1_000, std::sync::atomic::Ordering::Relaxed));
    let mut frames: Vec<ToEngine> = (0..5).map(start).collect();
    frames.extend([cancel(0), cancel(3), ToEngine::Probe { number: 7 }]);
    let inbox = Inbox::default();
    for frame in frames {
        assert!(inbox.put(frame, 20));
    }
    let (begun, steps) = channel();
    let (release, go) = channel();
    let (told, heard) = channel();
    let engine = std::thread::spawn(move || {
        let forward = Held {
            forward: PretendForward::new(10),
            begun,
            go,
        };
        let mut desk = Desk::new(forward, PretendWords, facts(10, 5, 128));
        converse(&mut desk, &inbox, Told(told), now)
    });
    // The first was cancelled as soon as it had started; of the others one more runs in each step.
    for running in [1, 2] {
        assert_eq!(next(&steps), running);
        release.send(()).expect("the engine runs");
    }
    assert_eq!(next(&steps), 2, "the fourth was cancelled");
    release.send(()).expect("the engine runs");
    assert_eq!(next(&steps), 3);
    let alive = |frame: &FromEngine| matches!(frame, FromEngine::Alive { number: 7, .. });
    let first: Vec<FromEngine> = heard.try_iter().take_while(|frame| !alive(frame)).collect();
    let started = |frame: &&FromEngine| {
        matches!(
            frame,
            FromEngine::Event {
                event: crate::generate::Event::Started { .. },
                ..
            }
        )
    };
    let count = first.iter().filter(started).count();
    assert_eq!(count, 1, "the probe did not wait for the others");
    drop(steps);
    drop(release);
    assert!(engine.join().is_err(), "nobody listens any more");
}

/// Attempts at once: more than any number of frames that a loop might read at a time.
const COUNT: u8 = 100;
