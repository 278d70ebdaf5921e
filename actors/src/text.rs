//! From bytes to what a client sees: whole characters, and nothing of a stop string.
//!
//! A token may end inside a character, and a stop string may begin in one token and end three tokens later.
//! Both are undone here by holding back what is not certain yet. Everything is a pure function of the bytes
//! so far, however they were cut into tokens: the engine ends a choice by [`StopScan`], the session cuts the
//! text by the same [`StopScan`], and a session that takes up a stream elsewhere comes to the same text.
//!
//! ```text
//! bytes of tokens ──> StopScan: shown | perhaps a stop string ──> Characters: whole | begun ──> text
//! ```
//!
//! This file does not know tokens, positions or why a choice ends.

mod calls;
mod characters;
mod stop;

pub use calls::{CallStream, Part};
pub use characters::Characters;
pub use stop::{Stop, StopScan};

/// One choice's text as it grows. What [`TextStream::push`] and [`TextStream::finish`] return, joined, is
/// [`text_of`] of all the bytes, whatever pieces they came in.
#[derive(Clone, Debug)]
pub struct TextStream {
    scan: StopScan,
    characters: Characters,
    /// Bytes seen that may still turn out to be of a stop string: fewer than the longest of them has.
    held: Vec<u8>,
}

impl TextStream {
    /// An empty text that ends before the first of `stops`.
    pub fn new(stops: &[String]) -> TextStream {
        TextStream {
            scan: StopScan::new(stops),
            characters: Characters::default(),
            held: Vec::new(),
        }
    }

    /// Takes more bytes and returns the text that is certain now.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        let from = self.scan.shown();
        self.scan.push(bytes);
        self.held.extend_from_slice(bytes);
        // What is shown never shrinks, and never passes what was pushed.
        let shown = ((self.scan.shown() - from) as usize).min(self.held.len());
        let text = self.characters.push(&self.held[..shown]);
        self.held.drain(..shown);
        if self.scan.stop().is_some() {
            self.held.clear();
        }
        text
    }

    /// How many of the bytes so far have become text; what is held back, or was dropped, comes after them.
    pub fn told(&self) -> u64 {
        self.scan.shown() - self.characters.begun() as u64
    }

    /// The stop string that ended the text, if one did.
    pub fn stop(&self) -> Option<Stop> {
        self.scan.stop()
    }

    /// No more bytes will come: returns what was held back and is text after all. A character that was
    /// begun and never completed is dropped, because nobody meant it.
    pub fn finish(&mut self) -> String {
        if self.scan.stop().is_some() {
            return String::new();
        }
        let held = std::mem::take(&mut self.held);
        self.characters.push(&held)
    }
}

/// What a client sees of `bytes`: everything before the first stop string, each run of bytes that is no
/// character replaced by U+FFFD, and without the beginning of a last character that never came.
pub fn text_of(bytes: &[u8], stops: &[String]) -> String {
    let mut scan = StopScan::new(stops);
    scan.push(bytes);
    let end = scan
        .stop()
        .map_or(bytes.len(), |stop| stop.begins as usize)
        .min(bytes.len());
    Characters::default().push(&bytes[..end])
}

#[cfg(test)]
mod tests;
