//! A leaf: the frames that were read and not yet heard, between the thread that reads and the one that steps.
//!
//! Between two steps the desk takes everything that is here, so a cancel that is here when a step begins is
//! heard before it, and one that comes during a step is heard before the next. What bounds the inbox is
//! bytes: a `Start` waits in the pipe while there is no room for it, and what is behind it waits too. Small
//! frames have room of their own, so a cancel that was read is never held up by prompts.

use super::frames::ToEngine;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};

/// A frame, and how many steps had ended when it came to lie here.
pub(super) type Arrived = (ToEngine, u64);

/// See the file's page.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    content: Mutex<Content>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Content {
    frames: VecDeque<Arrived>,
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
        content.frames.push_back((frame, steps));
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

    /// Takes everything out; waits for something if `idle`. Says besides whether more may come.
    pub(super) fn take(&self, idle: bool) -> (VecDeque<Arrived>, bool) {
        let nothing = |content: &mut Content| idle && content.frames.is_empty() && !content.ended;
        let waited = self.changed.wait_while(self.content(), nothing);
        let mut content = waited.unwrap_or_else(|dead| dead.into_inner());
        content.bytes = 0;
        let frames = std::mem::take(&mut content.frames);
        self.changed.notify_all();
        (frames, !content.ended)
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

/// Bytes of frames, as they were on the pipe: hundreds of usual prompts, or one of any size. All of them are
/// made into tokens between two steps, so this bounds how long streams stand still for it.
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
            let (frames, more) = inbox.take(true);
            assert!(more);
            assert_eq!(frames, [(start(1), 0), (cancel(1), 0)]);
            assert!(second.join().expect("it found room"));
        });
        assert_eq!(inbox.take(false).0.len(), 2);
        inbox.stepped(3);
        assert!(inbox.put(start(3), 2 * BYTES_MAX), "alone it is taken");
        inbox.end();
        let (frames, more) = inbox.take(true);
        assert!(!more);
        assert_eq!(frames, [(start(3), 3)]);
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
