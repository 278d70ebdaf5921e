//! Which workers have read the beginnings of which prompts lately.
//!
//! A worker that remembers the beginning of a prompt need not read it again, so the next turn of a conversation is
//! best sent where the last one was. The node where the session is remembers that by hashes of beginnings, and
//! hints at those workers when it asks for one. The coordinator hears names and byte counts, never text or hashes of
//! it.
//!
//! ```text
//! conversation   turn │ turn │ turn        a beginning ends after each turn
//! text, ids      1 KiB │ 1 KiB │ …         or after each block
//! ```
//!
//! A beginning is hashed with its model, its payer (a worker keeps members' texts apart) and the shape of the answer
//! (tools are told at the beginning).

use super::protocol::Order;
use crate::contract::Time;
use crate::generate::Prompt;
use crate::ids::{Digest, NodeId, digest};
use crate::scheduler::protocol::{HINTS_MAX, Hint};
use crate::shelf::Shelf;
use crate::wire;

/// The beginnings of one prompt, the shortest first: what each is called, and how many bytes it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beginnings(Vec<(Digest, u64)>);

impl Beginnings {
    /// Those of `order`.
    pub fn of(order: &Order) -> Beginnings {
        let generate = &order.generate;
        let shape = wire::encode(1, &generate.shape);
        let start = [&order.payer.0[..], &generate.model.0, &shape];
        let mut chain = Chain {
            last: digest("troop/prefix/v1", &start),
            bytes: 0,
            beginnings: Vec::new(),
        };
        match &generate.prompt {
            Prompt::Chat(turns) => turns.iter().all(|turn| {
                let parts = [&turn.role, &turn.content, &turn.calls];
                chain.add(parts.map(|part| part.as_bytes()), None)
            }),
            Prompt::Text(text) | Prompt::Marked { text, .. } => {
                let mut blocks = text.as_bytes().chunks_exact(BLOCK_BYTES);
                blocks.all(|block| chain.add([block, &[], &[]], None))
            }
            Prompt::Tokens(ids) => ids.chunks_exact(BLOCK_IDS).all(|block| {
                let bytes: Vec<u8> = block.iter().flat_map(|id| id.to_le_bytes()).collect();
                chain.add([&bytes, &[], &[]], Some(block.len()))
            }),
        };
        Beginnings(chain.beginnings)
    }
}

struct Chain {
    last: Digest,
    bytes: u64,
    beginnings: Vec<(Digest, u64)>,
}

impl Chain {
    /// The beginning that ends with `parts`, which count as so many bytes. False once there are enough.
    fn add(&mut self, parts: [&[u8]; 3], count: Option<usize>) -> bool {
        let length = count.unwrap_or(parts.iter().map(|part| part.len()).sum());
        self.bytes += length as u64;
        if self.beginnings.len() >= BEGINNINGS_MAX || self.bytes > BYTES_MAX {
            return false;
        }
        let [one, two, three] = parts;
        self.last = digest("troop/prefix/part/v1", &[&self.last.0, one, two, three]);
        self.beginnings.push((self.last, self.bytes));
        true
    }
}

/// The workers that read beginnings lately, by what those are called.
#[derive(Clone, Debug)]
pub struct Prefixes(Shelf<Digest, (NodeId, Time)>);

impl Default for Prefixes {
    fn default() -> Prefixes {
        Prefixes(Shelf::new(PREFIXES_MAX))
    }
}

impl Prefixes {
    /// `worker` has read the prompt with these beginnings.
    pub fn remember(&mut self, now: Time, beginnings: &Beginnings, worker: NodeId) {
        let count = beginnings.0.len();
        for (index, (name, _)) in beginnings.0.iter().enumerate() {
            // All of it, for what goes on from there; and some depths, for what shares only a part.
            if index + 1 == count || (index + 1).is_power_of_two() {
                self.0.put(*name, (worker, now));
            }
        }
    }

    /// `worker` has failed: nothing is sent there for what it remembers.
    pub fn forget(&mut self, worker: NodeId) {
        self.0.retain(|(reader, _)| *reader != worker);
    }

    /// The workers that have read some of it, the most of it first, with how many bytes.
    fn readers(&self, now: Time, beginnings: &Beginnings) -> Vec<(NodeId, u64)> {
        let mut readers: Vec<(NodeId, u64)> = Vec::new();
        for (name, bytes) in beginnings.0.iter().rev() {
            let known = self.0.get(name);
            let fresh = known.filter(|(_, at)| now.since_ms(*at) <= REMEMBERED_MS);
            if let Some((worker, _)) = fresh
                && !readers.iter().any(|(reader, _)| reader == worker)
            {
                readers.push((*worker, *bytes));
            }
        }
        readers
    }

    /// What is to be hinted at for a prompt with these beginnings, on a node that knows how many milliseconds the
    /// way to some others takes.
    pub fn hints(&self, now: Time, beginnings: &Beginnings, ways: &[(NodeId, u32)]) -> Box<[Hint]> {
        let readers = self.readers(now, beginnings);
        let way = |worker: NodeId| ways.iter().find(|(node, _)| *node == worker);
        let read = readers.iter().map(|(worker, bytes)| Hint {
            worker: *worker,
            prefix_bytes: *bytes,
            rtt_ms: way(*worker).map(|(_, ms)| *ms),
        });
        let mut near: Vec<&(NodeId, u32)> = ways.iter().collect();
        near.sort_by_key(|(node, ms)| (*ms, *node));
        let others = near.into_iter();
        let others = others.filter(|(node, _)| !readers.iter().any(|(reader, _)| reader == node));
        let others = others.map(|(node, ms)| Hint {
            worker: *node,
            prefix_bytes: 0,
            rtt_ms: Some(*ms),
        });
        read.chain(others).take(HINTS_MAX).collect()
    }
}

/// Bytes of a block of text.
const BLOCK_BYTES: usize = 1024;
/// Ids of a block of them.
const BLOCK_IDS: usize = 256;
/// Beginnings of one prompt that are looked at.
const BEGINNINGS_MAX: usize = 256;
/// Bytes of one prompt that are looked at: hashing them takes a few milliseconds.
const BYTES_MAX: u64 = 1 << 20;
/// Beginnings that a node remembers.
const PREFIXES_MAX: usize = 4096;
/// How long: a worker that others use as well has forgotten it by then.
const REMEMBERED_MS: u64 = 10 * 60 * 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Generate, Turn};
    use crate::ids::{MemberId, Passport, RequestId};

    const NOW: Time = Time(1_000_000);
    const WORKER: NodeId = NodeId([7; 32]);

    fn order(payer: u8, prompt: Prompt) -> Beginnings {
        Beginnings::of(&Order {
            request: RequestId([0; 16]),
            payer: MemberId([payer; 16]),
            generate: Generate::new(Passport([1; 32]), prompt),
        })
    }

    fn chat(payer: u8, words: &[&str]) -> Beginnings {
        let turns = words.iter().map(|words| Turn::new("user", *words));
        order(payer, Prompt::Chat(turns.collect()))
    }

    fn hint(worker: NodeId, prefix_bytes: u64, rtt_ms: Option<u32>) -> Hint {
        Hint {
            worker,
            prefix_bytes,
            rtt_ms,
        }
    }

    #[test]
    fn the_next_turn_of_a_conversation_hints_at_the_worker_of_the_last_one() {
        let mut prefixes = Prefixes::default();
        prefixes.remember(NOW, &chat(1, &["aaaa", "bbbb"]), WORKER);
        let next = chat(1, &["aaaa", "bbbb", "cccc", "dddd"]);
        let hints = prefixes.hints(NOW, &next, &[]);
        // Two turns of four bytes, and their roles.
        assert_eq!(*hints, [hint(WORKER, 16, None)]);
        let others = [
            chat(2, &["aaaa", "bbbb", "cccc"]),
            chat(1, &["aaab", "bbbb", "cccc"]),
            chat(1, &[]),
        ];
        for other in &others {
            assert!(prefixes.hints(NOW, other, &[]).is_empty());
        }
        let later = NOW.plus_ms(REMEMBERED_MS + 1);
        assert!(prefixes.hints(later, &next, &[]).is_empty());
        // Nobody goes back to a worker that has failed.
        prefixes.forget(WORKER);
        assert!(prefixes.hints(NOW, &next, &[]).is_empty());
    }

    #[test]
    fn who_read_more_comes_first_and_then_who_is_near() {
        let (short, near, far) = (NodeId([1; 32]), NodeId([2; 32]), NodeId([3; 32]));
        let mut prefixes = Prefixes::default();
        let long = chat(1, &["aaaa", "bbbb", "cccc"]);
        prefixes.remember(NOW, &long, WORKER);
        prefixes.remember(NOW, &chat(1, &["aaaa"]), short);
        let ways = [(far, 90), (near, 3), (short, 40)];
        let expected = [
            hint(WORKER, 24, None),
            hint(short, 8, Some(40)),
            hint(near, 0, Some(3)),
            hint(far, 0, Some(90)),
        ];
        assert_eq!(*prefixes.hints(NOW, &long, &ways), expected);
        let many: Vec<_> = (10..30).map(|id| (NodeId([id; 32]), 5)).collect();
        assert_eq!(prefixes.hints(NOW, &long, &many).len(), HINTS_MAX);
    }

    #[test]
    fn long_texts_are_known_by_their_blocks_and_only_so_far() {
        let mut prefixes = Prefixes::default();
        let text = |length: usize, end: &str| {
            let text = "x".repeat(length) + end;
            order(1, Prompt::Text(text))
        };
        prefixes.remember(NOW, &text(5_000, "What?"), WORKER);
        let hints = prefixes.hints(NOW, &text(5_000, "Who?"), &[]);
        assert_eq!(*hints, [hint(WORKER, 4 * 1024, None)]);
        assert_eq!(text(8 << 20, "").0.len(), BEGINNINGS_MAX);
        let ids = order(1, Prompt::Tokens(vec![7; 1_000]));
        assert_eq!(ids.0.last().map(|(_, count)| *count), Some(768));
        let huge = chat(1, &["a", &"b".repeat(2 << 20), "c"]);
        assert_eq!(huge.0.len(), 1);
    }
}
