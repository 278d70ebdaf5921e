//! Faults planted by tests of supervision; debug builds only.
//!
//! `TROOP_FAULT` names a file. Each of its lines is one fault, met once: then the line goes, and who wrote
//! the file can tell by that.
//!
//! ```text
//! ledger:Hold:2                               the ledger panics at the second Hold after the line was written
//! session:Granted:1:engine_process:Drain      the session waits at its next Granted until that Drain is heard
//! ```
//!
//! A message is called by its variant, a timer's ring is `Wake`, a write of a store is `Write` of
//! `ledger-store`, `outbox-store`, `keyring-store` or `admissions-store`.

use std::fmt::{self, Debug, Write};

#[cfg(not(debug_assertions))]
pub use absent::{meet, trip};
#[cfg(debug_assertions)]
pub use present::{meet, trip};

/// The name of a message's variant, and nothing of what it holds: that may be somebody's prompt.
pub fn variant(input: &impl Debug) -> String {
    /// Takes what is printed up to the first sign that is in no name.
    struct Name(String);

    impl fmt::Write for Name {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let end = text.find(|c: char| !c.is_alphanumeric());
            self.0.push_str(&text[..end.unwrap_or(text.len())]);
            end.map_or(Ok(()), |_| Err(fmt::Error))
        }
    }

    let mut name = Name(String::new());
    // An error is how printing is stopped.
    let _ = write!(name, "{input:?}");
    name.0
}

#[cfg(not(debug_assertions))]
mod absent {
    /// Nothing is planted in a release.
    #[inline]
    pub fn trip(_actor: &str, _input: &impl std::fmt::Debug) {}

    /// Nothing is planted in a release.
    #[inline]
    pub fn meet(_actor: &str, _message: &str) {}
}

#[cfg(debug_assertions)]
mod present {
    use std::collections::BTreeSet;
    use std::fmt::Debug;
    use std::path::{Path, PathBuf};
    use std::sync::{LazyLock, Mutex, MutexGuard};
    use std::time::Duration;

    /// An input came to `actor`; its variant is the message's name.
    pub fn trip(actor: &str, input: &impl Debug) {
        if FILE.is_none() {
            return;
        }
        meet(actor, &super::variant(input));
    }

    /// A message came to `actor`.
    pub fn meet(actor: &str, message: &str) {
        let Some(path) = &*FILE else { return };
        let name = format!("{actor}:{message}");
        let met = garden().pass(path, &name);
        match met {
            None => {}
            Some(Deed::Panic) => panic!("a fault was planted at {name}"),
            // The thread lets go of the runtime's clock and sockets, which somebody else may be waiting for.
            Some(Deed::Wait(other)) => tokio::task::block_in_place(|| {
                for _ in 0..WAITS_MAX {
                    if garden().heard.contains(&other) {
                        break;
                    }
                    std::thread::sleep(WAIT);
                }
            }),
        }
    }

    /// What is planted, and what has come by since.
    #[derive(Default)]
    struct Garden {
        text: String,
        faults: Vec<Fault>,
        heard: BTreeSet<String>,
    }

    struct Fault {
        line: String,
        name: String,
        left: u64,
        deed: Deed,
    }

    #[derive(Clone)]
    enum Deed {
        Panic,
        Wait(String),
    }

    impl Garden {
        /// Something comes by: what it meets is taken out and returned.
        fn pass(&mut self, path: &Path, name: &str) -> Option<Deed> {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            if text != self.text {
                self.faults = text.lines().filter_map(parse).collect();
                self.heard.clear();
                self.text = text;
            }
            if self.faults.is_empty() && self.heard.is_empty() {
                return None;
            }
            self.heard.insert(name.to_owned());
            let mut met = None;
            for (index, fault) in self.faults.iter_mut().enumerate() {
                if fault.name == name {
                    fault.left -= 1;
                    if fault.left == 0 {
                        met = Some(index);
                        break;
                    }
                }
            }
            let fault = self.faults.remove(met?);
            let rest = self.faults.iter().map(|fault| format!("{}\n", fault.line));
            self.text = rest.collect();
            // A test that cannot see the line go says so itself.
            let half = path.with_extension("half");
            let _ = std::fs::write(&half, &self.text).and_then(|()| std::fs::rename(&half, path));
            Some(fault.deed)
        }
    }

    fn parse(line: &str) -> Option<Fault> {
        let mut parts = line.split(':');
        let name = format!("{}:{}", parts.next()?, parts.next()?);
        let left = parts.next()?.parse().ok().filter(|left| *left > 0)?;
        let deed = match (parts.next(), parts.next()) {
            (Some(actor), Some(message)) => Deed::Wait(format!("{actor}:{message}")),
            _ => Deed::Panic,
        };
        Some(Fault {
            line: line.to_owned(),
            name,
            left,
            deed,
        })
    }

    fn garden() -> MutexGuard<'static, Garden> {
        static GARDEN: LazyLock<Mutex<Garden>> = LazyLock::new(Mutex::default);
        GARDEN.lock().unwrap_or_else(|dead| dead.into_inner())
    }

    static FILE: LazyLock<Option<PathBuf>> =
        LazyLock::new(|| std::env::var_os("TROOP_FAULT").map(PathBuf::from));
    /// How often somebody who waits looks whether it may go on, and for how long: 30 s in all.
    const WAIT: Duration = Duration::from_millis(5);
    const WAITS_MAX: u32 = 6_000;
}

#[cfg(test)]
mod tests {
    use super::variant;

    #[derive(Debug)]
    #[allow(dead_code)] // What they hold must not be read.
    enum Message {
        Serve { prompt: &'static str },
        Wake,
        Heard(&'static str),
    }

    #[test]
    fn a_message_is_called_by_its_variant_and_shows_nothing_of_what_it_holds() {
        assert_eq!(variant(&Message::Serve { prompt: "secret" }), "Serve");
        assert_eq!(variant(&Message::Wake), "Wake");
        assert_eq!(variant(&Message::Heard("secret")), "Heard");
    }
}
