//! How one file comes over the web, decided: what is asked, what an answer means, when to ask again.
//!
//! ```text
//! ask ─> answered ─┬─> Body ─> arrived, arrived, … ─> ended ─┬─> Whole
//!        ^         ├─> Ask (a redirect, or from the start)    │
//!        └─────────┴── Pause <── broke <─────────────────────┘      Stop, from anywhere
//! ```
//!
//! Bytes come in order, so what is here is always the first `have` of them. They are asked for from there on,
//! and only if the server's file is still the same (`If-Range`) or its hash is known. Nothing here is without
//! end: redirects, failures without progress and attempts in all are counted.

use super::address::Address;
use super::means::Patience;

/// What is to come.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) address: Address,
    /// Bytes, if somebody we believe has said so.
    pub(super) size: Option<u64>,
    /// Whether its hash is known, so that whatever comes can be told from it.
    pub(super) known: bool,
    /// The mark of the file that is here; the server may say that it still has the same.
    pub(super) here: Option<String>,
    /// Whether addresses without TLS are good elsewhere than on this machine.
    pub(super) insecure: bool,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) address: Address,
    /// Whether the address is of the origin that the token is for.
    pub(super) token: bool,
    /// From which byte on.
    pub(super) from: Option<u64>,
    pub(super) if_range: Option<String>,
    pub(super) if_none_match: Option<String>,
}

/// What matters of an answer's head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) location: Option<String>,
    pub(super) etag: Option<String>,
    pub(super) modified: Option<String>,
    pub(super) length: Option<u64>,
    /// First byte and bytes in all, of `Content-Range`.
    pub(super) range: Option<(Option<u64>, Option<u64>)>,
    pub(super) retry_after_seconds: Option<u64>,
    /// It is packed in some way, though nobody asked for that.
    pub(super) encoded: bool,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask, as [`Transfer::ask`] says.
    Ask,
    /// Take the body. What came before is void if it is from the start.
    Body { from_start: bool },
    /// Wait, then ask.
    Pause { ms: u64 },
    /// All of it is here.
    Whole,
    /// The server still has what is here already.
    Same,
    /// No more.
    Stop(Stop),
}

/// Why it does not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Absent { status: u16 },
    Denied { status: u16 },
    Refused { message: String },
    Length { expected: u64, found: u64 },
    GivenUp { attempts: u32, message: String },
}

/// What happened to an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// Nobody answers there.
    Unreached(String),
    /// It broke off.
    Cut(String),
    /// Nothing came for too long.
    Silent,
    /// Hardly anything came for too long.
    Slow,
}

/// What an earlier pull has left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) have: u64,
    pub(super) size: Option<u64>,
    pub(super) mark: Option<String>,
}

/// One file on its way.
#[derive(Debug)]
pub(super) struct Transfer {
    wanted: Wanted,
    patience: Patience,
    chance: u64,
    at: Address,
    hops: u32,
    have: u64,
    /// The most that was ever here: only what goes beyond it is progress.
    best: u64,
    size: Option<u64>,
    mark: Option<String>,
    attempts: u32,
    failures: u32,
    reached: bool,
    /// How many of those failures were bodies that ended without a byte, though some were promised.
    empty: u32,
    window_ms: u64,
    window_bytes: u64,
}

impl Transfer {
    /// Begins, or goes on after the first `have` bytes of the file with that mark.
    pub(super) fn new(wanted: Wanted, patience: Patience, seed: u64, from: Begun) -> Transfer {
        let Begun { have, size, mark } = from;
        Transfer {
            at: wanted.address.clone(),
            size: wanted.size.or(size),
            wanted,
            patience,
            chance: seed,
            hops: 0,
            have,
            best: have,
            mark,
            attempts: 0,
            failures: 0,
            reached: false,
            empty: 0,
            window_ms: 0,
            window_bytes: 0,
        }
    }

    /// Bytes that are here.
    pub(super) fn have(&self) -> u64 {
        self.have
    }

    /// Bytes in all, if known.
    pub(super) fn size(&self) -> Option<u64> {
        self.size
    }

    /// What tells the server's file from another one at the same address.
    pub(super) fn mark(&self) -> Option<&str> {
        self.mark.as_deref()
    }

    /// Where to begin.
    pub(super) fn begin(&self) -> Next {
        match self.have > 0 && self.size == Some(self.have) {
            true => Next::Whole,
            false => Next::Ask,
        }
    }

    /// What to ask now.
    pub(super) fn ask(&self) -> Ask {
        // Without a mark nobody could say whether what is here and what comes belong together, but the hash.
        let from =
            (self.have > 0 && (self.mark.is_some() || self.wanted.known)).then_some(self.have);
        Ask {
            token: self.at.same_origin(&self.wanted.address),
            address: self.at.clone(),
            if_range: from.and(self.mark.clone()),
            if_none_match: self.wanted.here.clone().filter(|_| from.is_none()),
            from,
        }
    }

    /// An answer's head has come.
    pub(super) fn answered(&mut self, head: &Head) -> Next {
        self.reached = true;
        match head.status {
            200 => self.whole_body(head),
            206 => self.rest_of_body(head),
            301 | 302 | 303 | 307 | 308 => self.redirected(head),
            304 if self.wanted.here.is_some() => Next::Same,
            401 | 403 => Next::Stop(Stop::Denied {
                status: head.status,
            }),
            404 | 410 => Next::Stop(Stop::Absent {
                status: head.status,
            }),
            416 if self.have > 0 => match (head.range.and_then(|(_, total)| total), self.size) {
                (Some(total), Some(expected)) if total != expected => Next::Stop(Stop::Length {
                    expected,
                    found: total,
                }),
                (Some(total), _) if total == self.have => Next::Whole,
                _ => {
                    self.start_over();
                    self.failed("it has no such range".to_owned(), None)
                }
            },
            408 | 425 | 429 | 500 | 502 | 503 | 504 => {
                let message = format!("the server answers {}", head.status);
                self.failed(message, head.retry_after_seconds)
            }
            status => Next::Stop(Stop::Refused {
                message: format!("the server answers {status}"),
            }),
        }
    }

    /// Bytes have come, after that many milliseconds.
    pub(super) fn arrived(&mut self, bytes: u64, after_ms: u64) -> Result<(), Next> {
        self.have = self.have.saturating_add(bytes);
        if let Some(size) = self.size.filter(|size| self.have > *size) {
            return Err(Next::Stop(Stop::Length {
                expected: size,
                found: self.have,
            }));
        }
        if self.have > self.best {
            (self.best, self.failures, self.empty) = (self.have, 0, 0);
        }
        self.window_ms = self.window_ms.saturating_add(after_ms);
        self.window_bytes = self.window_bytes.saturating_add(bytes);
        if self.window_ms >= WINDOW_MS {
            let slow = self.window_bytes < WINDOW_BYTES_MIN;
            (self.window_ms, self.window_bytes) = (0, 0);
            if slow {
                return Err(self.broke(Broken::Slow));
            }
        }
        Ok(())
    }

    /// The body has ended, as far as the connection can tell.
    pub(super) fn ended(&mut self) -> Next {
        match self.size.is_some_and(|size| self.have < size) {
            true => self.broke(Broken::Cut("it broke off".to_owned())),
            false => Next::Whole,
        }
    }

    /// The attempt has failed.
    pub(super) fn broke(&mut self, how: Broken) -> Next {
        match how {
            Broken::Cut(message) => {
                self.empty += u32::from(self.failures == self.empty);
                self.failed(message, None)
            }
            Broken::Unreached(message) if !self.reached => {
                let failures_max = self.patience.unreached_max;
                self.failed_of(failures_max, message, None)
            }
            Broken::Unreached(message) => self.failed(message, None),
            Broken::Silent => self.failed("nothing has come for too long".to_owned(), None),
            Broken::Slow => self.failed("it comes too slowly to ever arrive".to_owned(), None),
        }
    }

    /// All of the file, from its first byte.
    fn whole_body(&mut self, head: &Head) -> Next {
        if head.encoded {
            return refused("it is packed, though nobody asked for that");
        }
        let (expected, found) = (self.wanted.size, head.length);
        if let (Some(expected), Some(found)) = (expected, found)
            && expected != found
        {
            return Next::Stop(Stop::Length { expected, found });
        }
        self.start_over();
        self.size = self.wanted.size.or(head.length);
        self.mark = mark(head);
        Next::Body { from_start: true }
    }

    /// The rest of the file, from where we are.
    fn rest_of_body(&mut self, head: &Head) -> Next {
        let Some(from) = self.ask().from else {
            return refused("it answers with a part, though all was asked for");
        };
        if head.encoded {
            return refused("it is packed, though nobody asked for that");
        }
        let (first, total) = head.range.unwrap_or_default();
        // A server that passes over If-Range is caught by the mark of what it sends.
        let moved = self.mark.is_some() && mark(head).is_some_and(|new| Some(new) != self.mark);
        let resized = total.is_some_and(|total| self.size.is_some_and(|size| size != total));
        if moved || resized || first != Some(from) {
            if let (Some(expected), Some(found)) = (self.wanted.size, total)
                && expected != found
            {
                return Next::Stop(Stop::Length { expected, found });
            }
            self.start_over();
            return self.failed("its file has changed on the way".to_owned(), None);
        }
        self.size = self.size.or(total);
        Next::Body { from_start: false }
    }

    fn redirected(&mut self, head: &Head) -> Next {
        self.hops += 1;
        if self.hops > REDIRECTS_MAX {
            return refused(&format!("more than {REDIRECTS_MAX} redirects"));
        }
        let Some(location) = &head.location else {
            return refused("a redirect to nowhere");
        };
        let there = match self.at.join(location) {
            Ok(there) => there,
            Err(message) => return refused(&format!("a redirect: {message}")),
        };
        if let Err(message) = self.may_go(&there) {
            return refused(&message);
        }
        self.at = there;
        Next::Ask
    }

    fn may_go(&self, there: &Address) -> Result<(), String> {
        if self.at.secure() && !there.secure() {
            return Err("a redirect from https to http".to_owned());
        }
        check(there, self.wanted.insecure)
    }

    /// What is here is worth nothing.
    pub(super) fn start_over(&mut self) {
        self.have = 0;
        self.size = self.wanted.size;
        self.mark = None;
    }

    fn failed(&mut self, message: String, asked_seconds: Option<u64>) -> Next {
        self.failed_of(self.patience.failures_max, message, asked_seconds)
    }

    fn failed_of(
        &mut self,
        failures_max: u32,
        message: String,
        asked_seconds: Option<u64>,
    ) -> Next {
        self.failures += 1;
        self.attempts += 1;
        if self.failures >= failures_max {
            return match self.size {
                // It opens the rest again and again, and there is none: not the network's fault.
                Some(expected) if self.empty == self.failures && self.have > 0 => {
                    Next::Stop(Stop::Length {
                        expected,
                        found: self.have,
                    })
                }
                _ => self.give_up(message),
            };
        }
        if self.attempts >= self.patience.attempts_max {
            return self.give_up(message);
        }
        let asked_ms = asked_seconds.map(|seconds| seconds.saturating_mul(1000));
        if asked_ms.is_some_and(|ms| ms > self.patience.asked_pause_ms_max) {
            let seconds = asked_seconds.unwrap_or_default();
            return self.give_up(format!("{message} and asks for {seconds} s of patience"));
        }
        self.pause(asked_ms)
    }

    /// Half of the pause is fixed and half is chance: many who failed together do not come back together.
    fn pause(&mut self, asked_ms: Option<u64>) -> Next {
        // Whoever was sent elsewhere asks the first address again: what it points to may have expired.
        (self.at, self.hops) = (self.wanted.address.clone(), 0);
        (self.window_ms, self.window_bytes) = (0, 0);
        let doublings = self.failures.saturating_sub(1).min(16);
        let pause = self.patience.pause_ms << doublings;
        let pause = pause.min(self.patience.pause_ms_max);
        let ms = pause / 2 + self.chance() % (pause / 2 + 1);
        Next::Pause {
            ms: ms.max(asked_ms.unwrap_or(0)),
        }
    }

    fn give_up(&self, message: String) -> Next {
        Next::Stop(Stop::GivenUp {
            attempts: self.attempts,
            message,
        })
    }

    /// SplitMix64: a seed from outside in, evenly spread numbers out.
    fn chance(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.chance ^ (self.chance >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// Whether an address may be asked at all: without TLS only on this machine, or where that is wished.
pub(super) fn check(address: &Address, insecure: bool) -> Result<(), String> {
    match address.secure() || address.loopback() || insecure {
        true => Ok(()),
        false => Err("an address without TLS; only https:// is asked elsewhere".to_owned()),
    }
}

/// What tells this file from another one later: a strong etag, or else its date.
fn mark(head: &Head) -> Option<String> {
    let strong = |etag: &&String| etag.starts_with('"') && etag.ends_with('"');
    let etag = head.etag.as_ref().filter(strong);
    etag.or(head.modified.as_ref()).cloned()
}

fn refused(message: &str) -> Next {
    Next::Stop(Stop::Refused {
        message: message.to_owned(),
    })
}

/// Redirects of one attempt, at most; a hub needs two.
const REDIRECTS_MAX: u32 = 10;
/// How long is looked at before a transfer is called too slow.
const WINDOW_MS: u64 = 60_000;
/// Bytes that come in a window, at least: at a kilobyte a second no model ever arrives.
const WINDOW_BYTES_MIN: u64 = 60 * 1024;

#[cfg(test)]
mod tests;
