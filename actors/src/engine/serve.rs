//! A leaf: the child's loop. Frames from its input, steps while there is work, frames to its output.
//!
//! One thread reads the pipe into an [`Inbox`], the other does everything else. Without work the loop waits
//! there and costs nothing. It ends when the pipe does. Whoever starts many attempts at once, or such as are
//! much work to begin, holds up those that run for one of them and not for all.

use super::desk::{Desk, Forward, Words};
use super::frames::FromEngine;
use super::inbox::Inbox;
use super::pace::DRAWING_MS;
use super::pipe::{self, Kind};
use crate::contract::Time;
use std::io::{self, Read, Write};
use std::sync::Arc;

/// Says `Ready` and serves until the input ends. An error means that the pipe failed, or that the node does
/// not speak our language.
pub fn serve<F: Forward, W: Words>(
    desk: &mut Desk<F, W>,
    input: impl Read + Send + 'static,
    output: impl Write,
    now: impl Fn() -> Time,
) -> io::Result<()> {
    let inbox = Arc::new(Inbox::default());
    let reader = {
        let inbox = inbox.clone();
        std::thread::Builder::new()
            .name("engine-input".into())
            .spawn(move || {
                let result = listen(input, &inbox);
                inbox.end();
                result
            })?
    };
    let spoken = converse(desk, &inbox, output, now);
    inbox.leave();
    // Whoever cannot speak does not wait for more to hear.
    spoken?;
    reader.join().unwrap_or(Ok(()))
}

fn converse<F: Forward, W: Words>(
    desk: &mut Desk<F, W>,
    inbox: &Inbox,
    output: impl Write,
    now: impl Fn() -> Time,
) -> io::Result<()> {
    let mut mouth = Mouth {
        output,
        bytes: Vec::new(),
    };
    mouth.say(&mut vec![FromEngine::Ready(desk.facts().clone())])?;
    let mut out = Vec::new();
    let mut step_ms = 0;
    loop {
        let (mut frames, mut more) = inbox.take(desk.is_idle(), true);
        let since = now();
        while !frames.is_empty() {
            for (frame, steps) in frames {
                desk.hear(now(), frame, steps, &mut out);
            }
            let start = now().since_ms(since) < DRAWING_MS.max(step_ms);
            (frames, more) = inbox.take(false, start);
            if !start {
                for (frame, steps) in frames {
                    desk.hear(now(), frame, steps, &mut out);
                }
                break;
            }
        }
        if !more {
            return Ok(());
        }
        let began = now();
        let stepped = desk.step(began, &mut out);
        inbox.stepped(desk.stats().steps);
        let ended = now();
        step_ms = ended.since_ms(began);
        if stepped {
            desk.took(step_ms);
        }
        desk.tick(ended, &mut out);
        mouth.say(&mut out)?;
    }
}

fn listen(mut input: impl Read, inbox: &Inbox) -> io::Result<()> {
    while let Some((frame, bytes)) = pipe::read_counted(&mut input, Kind::ToEngine)? {
        if !inbox.put(frame, bytes) {
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

#[cfg(test)]
mod tests;
