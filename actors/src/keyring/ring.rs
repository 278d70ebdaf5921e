//! The keyring's core: a set of keys, where a change is told only after it is durable.

use super::protocol::{Effect, Input, KeyError, KeyRecord};
use crate::contract::{Core, Time};
use crate::ids::Digest;
use std::collections::BTreeMap;

/// The keys, and the calls whose answers wait for the disk.
#[derive(Debug)]
pub struct Ring {
    keys: BTreeMap<Digest, KeyRecord>,
    written: u64,
    waiting: BTreeMap<u64, u64>,
}

impl Ring {
    /// The ring that the disk holds.
    pub fn new(keys: Vec<KeyRecord>) -> Ring {
        let keys = keys.into_iter().map(|key| (key.hash, key)).collect();
        Ring {
            keys,
            written: 0,
            waiting: BTreeMap::new(),
        }
    }

    /// All keys, in order of their making.
    pub fn list(&self) -> Vec<KeyRecord> {
        let mut keys: Vec<_> = self.keys.values().cloned().collect();
        keys.sort_by_key(|key| (key.created, key.hash));
        keys
    }

    /// The key with this hash.
    pub fn who(&self, hash: Digest) -> Option<&KeyRecord> {
        self.keys.get(&hash)
    }

    fn write(&mut self, call: u64, keep: Vec<KeyRecord>, forget: Vec<Digest>) -> Effect {
        self.written += 1;
        self.waiting.insert(self.written, call);
        Effect::Persist {
            write: self.written,
            keep,
            forget,
        }
    }

    fn beginning(&self, prefix: &str) -> Result<Digest, KeyError> {
        let mut found = self
            .keys
            .values()
            .filter(|key| key.prefix.starts_with(prefix));
        match (found.next(), found.count()) {
            (Some(key), 0) => Ok(key.hash),
            (Some(_), more) => Err(KeyError::Ambiguous {
                prefix: prefix.to_owned(),
                count: more + 1,
            }),
            (None, _) => Err(KeyError::Unknown {
                prefix: prefix.to_owned(),
            }),
        }
    }
}

impl Core for Ring {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, _now: Time, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Add { call, .. } | Input::Remove { call, .. }
                if self.waiting.len() >= WRITES_MAX =>
            {
                let outcome = Err(KeyError::Busy);
                out.push(Effect::Answer { call, outcome });
            }
            Input::Add { call, record } => {
                let full = KeyError::Full { limit: KEYS_MAX };
                let room = (self.keys.len() < KEYS_MAX).then_some(()).ok_or(full);
                if let Err(refusal) = check_name(&record.name).and(room) {
                    let outcome = Err(refusal);
                    return out.push(Effect::Answer { call, outcome });
                }
                self.keys.insert(record.hash, record.clone());
                let effect = self.write(call, vec![record], Vec::new());
                out.push(effect);
            }
            Input::Remove { call, prefix } => match self.beginning(&prefix) {
                Ok(hash) => {
                    // Refused from now on, even before the disk knows: the safe side of a crash.
                    self.keys.remove(&hash);
                    let effect = self.write(call, Vec::new(), vec![hash]);
                    out.push(effect);
                }
                Err(error) => out.push(Effect::Answer {
                    call,
                    outcome: Err(error),
                }),
            },
            Input::Persisted { write } => {
                let later = self.waiting.split_off(&(write + 1));
                for (_, call) in std::mem::replace(&mut self.waiting, later) {
                    out.push(Effect::Answer {
                        call,
                        outcome: Ok(()),
                    });
                }
            }
            Input::PersistFailed { message } => {
                for (_, call) in std::mem::take(&mut self.waiting) {
                    let message = message.clone();
                    out.push(Effect::Answer {
                        call,
                        outcome: Err(KeyError::Unwritten { message }),
                    });
                }
            }
        }
    }

    fn deadline(&self) -> Option<Time> {
        None
    }

    fn wake(&mut self, _now: Time, _out: &mut Vec<Effect>) {}

    fn check(&self) {
        assert!(self.keys.len() <= KEYS_MAX, "keys are bounded");
        assert!(
            self.waiting.len() <= WRITES_MAX,
            "waiting calls are bounded"
        );
        assert!(
            self.keys.iter().all(|(hash, key)| *hash == key.hash),
            "keys stand at their hash"
        );
    }
}

/// Whether `name` may be a guest's: it stands in listings, in addresses and on terminals, and the owner's is
/// taken.
pub fn check_name(name: &str) -> Result<(), KeyError> {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let lawful = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(harmless);
    if !lawful {
        return Err(KeyError::Name {
            limit: NAME_BYTES_MAX,
        });
    }
    match name.eq_ignore_ascii_case(OWNER) {
        true => Err(KeyError::Owner),
        false => Ok(()),
    }
}

/// What the books call the owner of the node that keeps them.
pub const OWNER: &str = "owner";
/// Keys, at most: a group of friends has dozens.
const KEYS_MAX: usize = 10_000;
/// Bytes of a member's name, at most.
const NAME_BYTES_MAX: usize = 64;
/// Writes in flight, at most; below the writer's own queue.
const WRITES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::MemberId;

    fn key(n: u8) -> KeyRecord {
        KeyRecord {
            hash: Digest([n; 32]),
            prefix: format!("troop-{n:02}"),
            member: MemberId([n; 16]),
            name: format!("member-{n}"),
            created: Time(n.into()),
        }
    }

    fn step(ring: &mut Ring, input: Input) -> Vec<Effect> {
        let mut out = Vec::new();
        ring.step(Time(0), input, &mut out);
        ring.check();
        out
    }

    #[test]
    fn whoever_adds_a_key_hears_of_it_only_after_the_disk() {
        let mut ring = Ring::new(vec![key(1)]);
        let out = step(
            &mut ring,
            Input::Add {
                call: 7,
                record: key(2),
            },
        );
        assert!(matches!(&out[..], [Effect::Persist { write: 1, .. }]));
        let out = step(&mut ring, Input::Persisted { write: 1 });
        assert_eq!(
            out,
            [Effect::Answer {
                call: 7,
                outcome: Ok(())
            }]
        );
        assert_eq!(ring.list(), [key(1), key(2)]);
    }

    #[test]
    fn a_key_is_removed_only_where_its_beginning_is_one_keys() {
        let mut ring = Ring::new(vec![key(11), key(12)]);
        for (prefix, count) in [("troop-1", 2), ("troop-9", 0)] {
            let out = step(
                &mut ring,
                Input::Remove {
                    call: 1,
                    prefix: prefix.to_owned(),
                },
            );
            assert!(
                matches!(
                    &out[..],
                    [Effect::Answer {
                        outcome: Err(_),
                        ..
                    }]
                ),
                "{count}"
            );
        }
        step(
            &mut ring,
            Input::Remove {
                call: 1,
                prefix: "troop-12".to_owned(),
            },
        );
        assert!(ring.who(key(12).hash).is_none());
        assert!(ring.who(key(11).hash).is_some());
    }

    #[test]
    fn a_name_that_is_the_owners_or_could_not_be_typed_back_is_refused() {
        let mut ring = Ring::new(Vec::new());
        let (long, longest) = ("n".repeat(65), "n".repeat(64));
        for (name, lawful) in [
            ("", false),
            ("a\nb", false),
            ("a b", false),
            ("é", false),
            (&long[..], false),
            ("owner", false),
            ("Owner", false),
            (&longest[..], true),
            ("Ann.E_1-2", true),
        ] {
            let mut record = key(1);
            record.name = name.to_owned();
            let out = step(&mut ring, Input::Add { call: 1, record });
            let written = matches!(&out[..], [Effect::Persist { .. }]);
            assert_eq!(written, lawful, "{name:?}");
        }
    }

    #[test]
    fn what_waits_for_a_stuck_disk_is_bounded() {
        let mut ring = Ring::new((1..50).map(key).collect());
        for n in 1..50 {
            let prefix = key(n).prefix;
            let out = step(
                &mut ring,
                Input::Remove {
                    call: n.into(),
                    prefix,
                },
            );
            let busy = matches!(
                &out[..],
                [Effect::Answer {
                    outcome: Err(KeyError::Busy),
                    ..
                }]
            );
            assert_eq!(busy, n > 8, "{n}");
        }
    }

    #[test]
    fn a_failed_write_is_told_as_one() {
        let mut ring = Ring::new(Vec::new());
        step(
            &mut ring,
            Input::Add {
                call: 7,
                record: key(2),
            },
        );
        let out = step(
            &mut ring,
            Input::PersistFailed {
                message: "full".to_owned(),
            },
        );
        assert!(matches!(
            &out[..],
            [Effect::Answer {
                call: 7,
                outcome: Err(_)
            }]
        ));
    }
}
