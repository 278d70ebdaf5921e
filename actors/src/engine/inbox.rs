//! A leaf: the frames that were read and not yet heard, between the thread that reads and the one that steps.
//!
//! Between two steps the desk takes all cancels that are here, so one that is here when a step begins is heard
//! before it, and one that comes during a step is heard before the next. A `Start` is work, so they are taken one
//! by one, and may stay for another time with the cancels that mean them. What bounds the inbox is bytes: a
//! `Start` waits in the pipe while there is no room for it, and what is behind it waits too. Small frames have
//! room of their own, so a cancel that was read is never held up by prompts.

use super::frames::ToEngine;
use crate::ids::AttemptId;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard};

/// A frame, and how many steps had ended when it came to lie here.
pub(super) type Arrived = (ToEngine, u64);

/// A frame in its place, and the bytes it takes there.
#[derive(Debug)]
struct Lying {
    frame: ToEngine,
    steps: u64,
    charge: usize,
}

/// See the file's page.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    content: Mutex<Content>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Content {
    frames: VecDeque<Lying>,
    bytes: usize,
    steps: u64,
    /// Nothing more comes in.
    ended: bool,
    /// Nobody takes anything out any more.
    left: bool,
}

impl Inbox {
    /// Puts in a frame that had so many bytes, once there is room for it. False if nobody will hear it.
    pub(super) fn put(&self, frame: ToEngine, bytes: usize) -> bool {
        let limit = match frame {
            ToEngine::Start { .. } => BYTES_MAX,
            ToEngine::Cancel { .. } | ToEngine::Probe { .. } => BYTES_MAX + SMALL_BYTES_MAX,
        };
        let charge = bytes.max(FRAME_BYTES_MIN);
        // A frame that is larger than the limit is taken when it is alone.
        let full = |content: &mut Content| {
            !content.left && content.bytes > 0 && content.bytes + charge > limit
        };
        let waited = self.changed.wait_while(self.content(), full);
        let mut content = waited.unwrap_or_else(|dead| dead.into_inner());
        if content.left {
            return false;
        }
        let steps = content.steps;
        content.frames.push_back(Lying {
            frame,
            steps,
            charge,
        });
        content.bytes += charge;
        self.changed.notify_all();
        true
    }

    /// Nothing more will be put in.
    pub(super) fn end(&self) {
        self.content().ended = true;
        self.changed.notify_all();
    }

    /// So many steps have ended.
    pub(super) fn stepped(&self, steps: u64) {
        self.content().steps = steps;
    }

    /// Takes out what is here, but of every `Start` none but the first, and that only with `start`; what lies
    /// behind it stays with it then. Waits for something if `idle`. Says besides whether more may come.
    pub(super) fn take(&self, idle: bool, start: bool) -> (Vec<Arrived>, bool) {
        let nothing = |content: &mut Content| idle && content.frames.is_empty() && !content.ended;
        let waited = self.changed.wait_while(self.content(), nothing);
        let mut content = waited.unwrap_or_else(|dead| dead.into_inner());
        let taken: Vec<Lying> = match start {
            true => {
                let first = content
                    .frames
                    .iter()
                    .position(|lying| is_start(&lying.frame));
                let count = first.map_or(content.frames.len(), |at| at + 1);
                content.frames.drain(..count).collect()
            }
            false => content.take_small(),
        };
        content.bytes -= taken.iter().map(|lying| lying.charge).sum::<usize>();
        self.changed.notify_all();
        let taken = taken.into_iter().map(|lying| (lying.frame, lying.steps));
        (taken.collect(), !content.ended)
    }

    /// Nothing will be taken out any more.
    pub(super) fn leave(&self) {
        self.content().left = true;
        self.changed.notify_all();
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(|dead| dead.into_inner())
    }
}

impl Content {
    /// Takes out what is no `Start` and means none that is here.
    fn take_small(&mut self) -> Vec<Lying> {
        let mut here: BTreeSet<AttemptId> = BTreeSet::new();
        let (mut taken, mut left) = (Vec::new(), VecDeque::new());
        for lying in self.frames.drain(..) {
            let stays = match &lying.frame {
                ToEngine::Start { attempt, .. } => {
                    here.insert(*attempt);
                    true
                }
                ToEngine::Cancel { attempt } => here.contains(attempt),
                ToEngine::Probe { .. } => false,
            };
            match stays {
                true => left.push_back(lying),
                false => taken.push(lying),
            }
        }
        self.frames = left;
        taken
    }
}

fn is_start(frame: &ToEngine) -> bool {
    matches!(frame, ToEngine::Start { .. })
}

/// Bytes of frames, as they were on the pipe: hundreds of usual prompts, or one of any size.
const BYTES_MAX: usize = 1 << 20;
/// Bytes more for frames other than `Start`: 16,384 of them.
const SMALL_BYTES_MAX: usize = 1 << 20;
/// What a frame takes at least, however short it was on the pipe.
const FRAME_BYTES_MIN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Generate, Prompt, Work};
    use crate::ids::{AttemptId, Digest, Passport};

    fn attempt(number: u8) -> AttemptId {
        AttemptId([number; 16])
    }

    fn start(number: u8) -> ToEngine {
        let generate = Generate::new(Passport([0; 32]), Prompt::Text(String::new()));
        ToEngine::Start {
            attempt: attempt(number),
            tenant: Digest([0; 32]),
            work: Box::new(Work {
                generate,
                resume: None,
            }),
        }
    }

    fn cancel(number: u8) -> ToEngine {
        ToEngine::Cancel {
            attempt: attempt(number),
        }
    }

    #[test]
    fn a_start_waits_for_room_and_a_cancel_does_not() {
        let inbox = Inbox::default();
        std::thread::scope(|scope| {
            assert!(inbox.put(start(1), BYTES_MAX));
            assert!(inbox.put(cancel(1), 20));
            let second = scope.spawn(|| inbox.put(start(2), 20) && inbox.put(cancel(2), 20));
            assert_eq!(inbox.take(true, true), (vec![(start(1), 0)], true));
            assert!(second.join().expect("it found room"));
        });
        let rest = vec![(cancel(1), 0), (start(2), 0)];
        assert_eq!(inbox.take(false, true), (rest, true));
        assert_eq!(inbox.take(false, true), (vec![(cancel(2), 0)], true));
        inbox.stepped(3);
        assert!(inbox.put(start(3), 2 * BYTES_MAX), "alone it is taken");
        inbox.end();
        assert_eq!(inbox.take(true, true), (vec![(start(3), 3)], false));
    }

    #[test]
    fn without_a_start_what_means_one_that_is_here_stays_with_it() {
        let inbox = Inbox::default();
        let probe = ToEngine::Probe { number: 1 };
        for frame in [cancel(1), start(1), cancel(1), probe.clone(), cancel(2)] {
            assert!(inbox.put(frame, 20));
        }
        let small = vec![(cancel(1), 0), (probe, 0), (cancel(2), 0)];
        assert_eq!(inbox.take(false, false), (small, true));
        assert_eq!(inbox.take(false, false), (vec![], true));
        assert_eq!(inbox.take(false, true), (vec![(start(1), 0)], true));
        assert_eq!(inbox.take(false, true), (vec![(cancel(1), 0)], true));
        assert_eq!(inbox.content().bytes, 0);
    }

    #[test]
    fn whoever_waits_for_room_is_told_that_nobody_takes_any_more() {
        let inbox = Inbox::default();
        assert!(inbox.put(start(1), BYTES_MAX));
        std::thread::scope(|scope| {
            let second = scope.spawn(|| inbox.put(start(2), 20));
            inbox.leave();
            assert!(!second.join().expect("it is told"));
        });
        assert!(!inbox.put(cancel(1), 20));
    }
}
