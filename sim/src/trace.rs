//! What happened, a line per event: printed while it happens, hashed always, and the last of it kept for
//! the report of a failure.
//!
//! The hash is how two runs of one seed are compared: if any event differs in kind, place, time or content,
//! so does the hash.

use std::collections::VecDeque;

/// The story of a run.
#[derive(Debug)]
pub struct Trace {
    prints: bool,
    last: VecDeque<String>,
    hash: u64,
    lines: u64,
}

impl Trace {
    /// A story that is told on standard output if `prints`.
    pub fn new(prints: bool) -> Trace {
        Trace {
            prints,
            last: VecDeque::with_capacity(KEPT),
            hash: 0xcbf2_9ce4_8422_2325,
            lines: 0,
        }
    }

    /// One more line, at `at` microseconds of simulated time.
    pub fn tell(&mut self, at: u64, line: &str) {
        let line = format!("{:>5}.{:06}  {line}", at / 1_000_000, at % 1_000_000);
        for chunk in line.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.hash = crate::dice::mix(self.hash ^ u64::from_le_bytes(word));
        }
        self.lines += 1;
        if self.prints {
            println!("{line}");
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// A hash over every line so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many lines there were.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The last [`KEPT`] lines, oldest first.
    pub fn last(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}

/// Lines kept for the report of a failure.
pub const KEPT: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_that_differs_in_one_letter_or_one_microsecond_has_another_hash() {
        let tell = |at, line| {
            let mut trace = Trace::new(false);
            trace.tell(at, line);
            trace.hash()
        };
        assert_eq!(tell(5, "a letter"), tell(5, "a letter"));
        assert_ne!(tell(5, "a letter"), tell(5, "a lettes"));
        assert_ne!(tell(5, "a letter"), tell(6, "a letter"));
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let mut trace = Trace::new(false);
        (0..500).for_each(|line| trace.tell(line, "line"));
        assert_eq!(trace.last().len(), KEPT);
        assert!(trace.last()[0].contains("0.000300"));
        assert_eq!(trace.lines(), 500);
    }
}
