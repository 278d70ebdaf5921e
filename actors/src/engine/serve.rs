//! A leaf: the child's loop. Frames from its input, steps while there is work, frames to its output.
//!
//! One thread reads the pipe into a bounded queue, the other does everything else. Without work the loop
//! blocks on the queue and costs nothing. It ends when the pipe does.

use super::desk::{Desk, Forward, Words};
use super::frames::{FromEngine, ToEngine};
use super::pipe::{self, Kind};
use crate::contract::Time;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

/// A frame, and how many steps had ended when it was read.
type Heard = (ToEngine, u64);

/// Says `Ready` and serves until the input ends. An error means that the pipe failed, or that the node does
/// not speak our language.
pub fn serve<F: Forward, W: Words>(
    desk: &mut Desk<F, W>,
    input: impl Read + Send + 'static,
    output: impl Write,
    now: impl Fn() -> Time,
) -> io::Result<()> {
    let steps = Arc::new(AtomicU64::new(0));
    let (sender, receiver) = sync_channel(QUEUE_FRAMES);
    let reader = {
        let steps = steps.clone();
        std::thread::Builder::new()
            .name("engine-input".into())
            .spawn(move || listen(input, &sender, &steps))?
    };
    let mut mouth = Mouth {
        output,
        bytes: Vec::new(),
    };
    mouth.say(&mut vec![FromEngine::Ready(desk.facts().clone())])?;
    let mut out = Vec::new();
    while hear_all(desk, &receiver, &now, &mut out) {
        let began = now();
        let stepped = desk.step(began, &mut out);
        steps.store(desk.stats().steps, Ordering::Release);
        let ended = now();
        if let Some(tokens) = stepped {
            desk.took(tokens, ended.since_ms(began));
        }
        desk.tick(ended, &mut out);
        mouth.say(&mut out)?;
    }
    reader.join().unwrap_or(Ok(()))
}

/// Hears every frame that has come, and waits for one if there is nothing to do. False when none will come
/// any more.
fn hear_all<F: Forward, W: Words>(
    desk: &mut Desk<F, W>,
    receiver: &Receiver<Heard>,
    now: &impl Fn() -> Time,
    out: &mut Vec<FromEngine>,
) -> bool {
    if desk.is_idle() && out.is_empty() {
        match receiver.recv() {
            Ok((frame, steps)) => desk.hear(now(), frame, steps, out),
            Err(_) => return false,
        }
    }
    loop {
        match receiver.try_recv() {
            Ok((frame, steps)) => desk.hear(now(), frame, steps, out),
            Err(TryRecvError::Empty) => return true,
            Err(TryRecvError::Disconnected) => return false,
        }
    }
}

fn listen(mut input: impl Read, sender: &SyncSender<Heard>, steps: &AtomicU64) -> io::Result<()> {
    while let Some(frame) = pipe::read(&mut input, Kind::ToEngine)? {
        if sender.send((frame, steps.load(Ordering::Acquire))).is_err() {
            break;
        }
    }
    Ok(())
}

/// Where frames go: one write for each step.
struct Mouth<O> {
    output: O,
    bytes: Vec<u8>,
}

impl<O: Write> Mouth<O> {
    fn say(&mut self, frames: &mut Vec<FromEngine>) -> io::Result<()> {
        self.bytes.clear();
        for frame in frames.drain(..) {
            pipe::write(&mut self.bytes, Kind::FromEngine, &frame)?;
        }
        if self.bytes.is_empty() {
            return Ok(());
        }
        self.output.write_all(&self.bytes)?;
        self.output.flush()
    }
}

/// Says that the model cannot be served.
pub fn say_unfit(message: String, output: impl Write) -> io::Result<()> {
    let mut mouth = Mouth {
        output,
        bytes: Vec::new(),
    };
    mouth.say(&mut vec![FromEngine::Unfit { message }])
}

/// Frames read and not yet heard. A step is short, and what does not fit waits in the pipe.
const QUEUE_FRAMES: usize = 8;
