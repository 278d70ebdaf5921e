//! Where the first stop string ends.

/// A stop string was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Bytes before it: what the client sees.
    pub begins: u64,
    /// Bytes up to and including its last one.
    pub ends: u64,
    /// Which of the stop strings it is, from 0.
    pub index: usize,
}

/// Looks for stop strings in bytes that come in pieces; work per byte is constant in the long run.
///
/// The first one that is *complete* wins; of several complete at the same byte, the longest. So the answer
/// depends on the bytes alone, never waits for bytes that may not come, and no complete stop string is ever
/// left in what is shown. An empty stop string is never met.
#[derive(Clone, Debug)]
pub struct StopScan {
    needles: Vec<Needle>,
    seen: u64,
    stop: Option<Stop>,
}

/// One stop string, as the automaton of Knuth, Morris and Pratt.
#[derive(Clone, Debug)]
struct Needle {
    bytes: Vec<u8>,
    /// For each length matched, the next shorter length that also matches the end of what was seen.
    fallback: Vec<usize>,
    /// Bytes of the needle that match the end of what was seen; less than all of them.
    matched: usize,
}

impl StopScan {
    /// Looks for `stops`.
    pub fn new(stops: &[String]) -> StopScan {
        StopScan {
            needles: stops.iter().map(|stop| Needle::new(stop)).collect(),
            seen: 0,
            stop: None,
        }
    }

    /// Takes more bytes; returns the stop that has been met by now, if any. After it nothing changes.
    pub fn push(&mut self, bytes: &[u8]) -> Option<Stop> {
        for &byte in bytes {
            if self.stop.is_some() {
                break;
            }
            self.seen += 1;
            let mut longest: Option<(usize, usize)> = None;
            for (index, needle) in self.needles.iter_mut().enumerate() {
                let complete = needle.push(byte);
                if complete && longest.is_none_or(|(_, length)| needle.bytes.len() > length) {
                    longest = Some((index, needle.bytes.len()));
                }
            }
            self.stop = longest.map(|(index, length)| Stop {
                begins: self.seen - length as u64,
                ends: self.seen,
                index,
            });
        }
        self.stop
    }

    /// The stop that has been met, if any.
    pub fn stop(&self) -> Option<Stop> {
        self.stop
    }

    /// How many of the bytes so far are certainly not of a stop string. Never shrinks.
    pub fn shown(&self) -> u64 {
        match self.stop {
            Some(stop) => stop.begins,
            None => self.seen - self.held() as u64,
        }
    }

    /// How many of the bytes so far may be the beginning of a stop string.
    pub fn held(&self) -> usize {
        if self.stop.is_some() {
            return 0;
        }
        let lengths = self.needles.iter().map(|needle| needle.matched);
        lengths.max().unwrap_or(0)
    }
}

impl Needle {
    fn new(stop: &str) -> Needle {
        let bytes = stop.as_bytes().to_vec();
        let mut fallback = vec![0; bytes.len() + 1];
        let mut length = 0;
        for at in 1..bytes.len() {
            while length > 0 && bytes[at] != bytes[length] {
                length = fallback[length];
            }
            if bytes[at] == bytes[length] {
                length += 1;
            }
            fallback[at + 1] = length;
        }
        Needle {
            bytes,
            fallback,
            matched: 0,
        }
    }

    /// Whether `byte` completes the needle.
    fn push(&mut self, byte: u8) -> bool {
        if self.bytes.is_empty() {
            return false;
        }
        while self.matched > 0 && self.bytes[self.matched] != byte {
            self.matched = self.fallback[self.matched];
        }
        if self.bytes[self.matched] == byte {
            self.matched += 1;
        }
        if self.matched < self.bytes.len() {
            return false;
        }
        // The scan ends here, so where a next match could begin does not matter; what must hold is that
        // `matched` stays less than the length.
        self.matched = self.fallback[self.matched];
        true
    }
}
