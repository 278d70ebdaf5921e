//! Breaks model files, and measures what reading them costs.

#![allow(unreachable_pub, reason = "a module of test binaries")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ops::Range;

use super::gguf_file::File;

/// A whole model of nothing: a vocabulary of five, a template, two tensors.
pub fn small() -> Vec<u8> {
    let types: Vec<u8> = [1_i32, 1, 1, 1, 3]
        .iter()
        .flat_map(|kind| kind.to_le_bytes())
        .collect();
    File::new()
        .text("general.architecture", "llama")
        .word("general.alignment", 32)
        .word("llama.block_count", 2)
        .word("llama.context_length", 128)
        .word("llama.embedding_length", 8)
        .word("llama.attention.head_count", 4)
        .word("llama.attention.head_count_kv", 2)
        .float("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", "smollm")
        .strings("tokenizer.ggml.tokens", &["a", "b", "c", "ab", "<|x|>"])
        .strings("tokenizer.ggml.merges", &["a b"])
        .raw_array("tokenizer.ggml.token_type", 5, 5, &types)
        .word("tokenizer.ggml.bos_token_id", 4)
        .word("tokenizer.ggml.eos_token_id", 4)
        .text(
            "tokenizer.chat_template",
            "{% for m in messages %}{{ m.role }}{{ m.content }}{% endfor %}",
        )
        .tensor("token_embd.weight", &[8, 5], 0, 0)
        .tensor("output_norm.weight", &[8], 0, 160)
        .done()
}

/// A generator of its own, so that a failure comes again.
pub struct Dice(pub u64);

impl Dice {
    /// SplitMix64.
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }

    /// A copy with something changed: overwritten, inserted, taken out, or cut off.
    pub fn mutate(&mut self, good: &[u8], range: Range<usize>) -> Vec<u8> {
        let mut file = good.to_vec();
        for _ in 0..=self.below(3) {
            let at = range.start + self.below(range.len());
            match self.below(6) {
                0 => file.truncate(at),
                1 => {
                    let end = (at + self.below(16)).min(file.len());
                    file.drain(at.min(end)..end);
                }
                2 => {
                    let at = at.min(file.len());
                    file.splice(at..at, self.roll().to_le_bytes());
                }
                _ => {
                    let end = range.end.min(file.len());
                    if range.start < end {
                        drop(self.overwrite(&mut file, range.start..end));
                    }
                }
            }
        }
        file
    }

    /// Overwrites a few bytes in place and gives back what undoes it.
    pub fn overwrite(
        &mut self,
        file: &mut [u8],
        range: Range<usize>,
    ) -> impl FnOnce(&mut [u8]) + use<> {
        let at = range.start + self.below(range.len());
        let powers = 1_u64 << self.below(64);
        let word = match self.below(6) {
            0 => powers,
            1 => powers.wrapping_sub(1),
            2 => u64::MAX - self.roll() % 64,
            3 => self.roll() % 16,
            _ => self.roll(),
        };
        let width = [1, 1, 4, 8][self.below(4)].min(file.len() - at);
        let before = file[at..at + width].to_vec();
        file[at..at + width].copy_from_slice(&word.to_le_bytes()[..width]);
        move |file| file[at..at + before.len()].copy_from_slice(&before)
    }
}

/// What a call took.
#[derive(Debug)]
pub struct Spent {
    pub microseconds: u128,
    /// The most memory its thread held at a time, above what it held before.
    pub bytes_peak: usize,
}

/// Calls and measures.
#[allow(clippy::disallowed_methods, reason = "the time is what is tested")]
pub fn measure<T>(call: impl FnOnce() -> T) -> (T, Spent) {
    let before = HELD.get();
    PEAK.set(before);
    let started = std::time::Instant::now();
    let result = call();
    let microseconds = started.elapsed().as_micros();
    (
        result,
        Spent {
            microseconds,
            bytes_peak: (PEAK.get() - before).max(0) as usize,
        },
    )
}

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn count(bytes: isize) {
    let held = HELD.get() + bytes;
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of the heap.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `dealloc`, and the pointer came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}
