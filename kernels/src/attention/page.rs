//! What a page holds of one layer and one kv head, and how a key and a value get there. docs/arithmetic.md, rules 7
//! and 7b.
//!
//! ```text
//! f16     keys [64 / 16][head width][16] f16              │ values [64][head width] f16
//! int8    keys [64 / 16][head width][16] i8, 64 scales    │ values [64][head width] i8, 64 scales     scales are f32
//! ```
//!
//! Keys are the first half of a part and values the second. Storing is the same code for all instruction sets: what
//! is stored once is read by every token that follows.

use std::ops::Range;

use half::f16;

use super::{KEYS, PAGE_TOKENS};
use crate::memory::Shared;
use crate::quantize::AMAX_MIN;

/// How keys and values are kept. Each kind makes other bits: what was begun over one is never gone on with over
/// another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PageKind {
    /// Rounded to f16: rule 7, version 1 of the arithmetic.
    #[default]
    F16,
    /// Integers with a scale for each key and each value: rule 7b, a class of its own, in about half the memory.
    Int8,
}

impl PageKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::F16, Self::Int8];

    /// Its name, as configuration and logs write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }

    /// Bytes of a page for one layer and one kv head.
    pub fn part_bytes(self, head_width: usize) -> usize {
        2 * self.half_bytes(head_width)
    }

    /// Bytes of the keys of a part, which are as many as those of its values.
    pub(super) fn half_bytes(self, head_width: usize) -> usize {
        match self {
            Self::F16 => PAGE_TOKENS * head_width * size_of::<f16>(),
            Self::Int8 => PAGE_TOKENS * (head_width + size_of::<f32>()),
        }
    }
}

/// A part of a page, as the definition reads it.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    kind: PageKind,
    head_width: usize,
    keys: &'a [u8],
    values: &'a [u8],
}

impl<'a> Part<'a> {
    pub(super) fn new(kind: PageKind, head_width: usize, bytes: &'a [u8]) -> Self {
        let (keys, values) = bytes.split_at(kind.half_bytes(head_width));
        Self {
            kind,
            head_width,
            keys,
            values,
        }
    }

    /// One dimension of a key, before its scale.
    pub(super) fn key(&self, slot: usize, dimension: usize) -> f32 {
        let group = slot / KEYS * KEYS * self.head_width;
        self.number(self.keys, group + dimension * KEYS + slot % KEYS)
    }

    /// One dimension of a value, before its scale.
    pub(super) fn value(&self, slot: usize, dimension: usize) -> f32 {
        self.number(self.values, slot * self.head_width + dimension)
    }

    /// What a dot product with a key is multiplied by.
    pub(super) fn key_scale(&self, slot: usize) -> f32 {
        self.scale(self.keys, slot)
    }

    /// What the weight of a value is multiplied by.
    pub(super) fn value_scale(&self, slot: usize) -> f32 {
        self.scale(self.values, slot)
    }

    fn number(&self, half: &[u8], at: usize) -> f32 {
        match self.kind {
            PageKind::F16 => f16::from_ne_bytes([half[2 * at], half[2 * at + 1]]).to_f32(),
            PageKind::Int8 => f32::from(half[at] as i8),
        }
    }

    /// Halves are what they stand for: multiplying by 1 changes nothing.
    fn scale(&self, half: &[u8], slot: usize) -> f32 {
        match self.kind {
            PageKind::F16 => 1.0,
            PageKind::Int8 => {
                let at = scale_at(self.head_width, slot);
                let [a, b, c, d] = [0, 1, 2, 3].map(|byte| half[at + byte]);
                f32::from_ne_bytes([a, b, c, d])
            }
        }
    }
}

/// Where the scale of a slot is in a half of integers.
fn scale_at(head_width: usize, slot: usize) -> usize {
    PAGE_TOKENS * head_width + slot * size_of::<f32>()
}

/// Stores one key and one value at a position's place in its page. False if one is not finite, or overflows f16
/// where it is kept as such.
///
/// Several positions of one page may be stored at the same time, so this writes byte by byte.
///
/// # Safety
/// No other thread touches this slot of the part until the next barrier, and nobody reads the part.
#[must_use]
pub(crate) unsafe fn store(
    kind: PageKind,
    pages: &Shared<'_, u8>,
    part: Range<usize>,
    slot: usize,
    key: &[f32],
    value: &[f32],
) -> bool {
    let width = key.len();
    assert!(part.len() == kind.part_bytes(width) && slot < PAGE_TOKENS && value.len() == width);
    let group = slot / KEYS * KEYS * width;
    let keys = part.start;
    let values = keys + kind.half_bytes(width);
    // SAFETY: these numbers and their scales belong to the slot, which is the caller's.
    unsafe {
        let key = store_row(kind, pages, keys, slot, (group + slot % KEYS, KEYS), key);
        let value = store_row(kind, pages, values, slot, (slot * width, 1), value);
        key && value
    }
}

/// Stores a key or a value in a half that begins at `half`, its numbers from `first` on, each `stride` after the one
/// before. False if one is not finite.
///
/// # Safety
/// As for `store`.
unsafe fn store_row(
    kind: PageKind,
    pages: &Shared<'_, u8>,
    half: usize,
    slot: usize,
    (first, stride): (usize, usize),
    row: &[f32],
) -> bool {
    let mut finite = true;
    let place = |dimension: usize| first + dimension * stride;
    let write = |at: usize, bytes: &[u8]| {
        for (byte, value) in bytes.iter().enumerate() {
            // SAFETY: promised by the caller.
            unsafe { pages.write(half + at + byte, *value) };
        }
    };
    match kind {
        PageKind::F16 => {
            for (dimension, x) in row.iter().enumerate() {
                let rounded = f16::from_f32(*x);
                finite &= rounded.is_finite();
                write(2 * place(dimension), &rounded.to_ne_bytes());
            }
        }
        PageKind::Int8 => {
            let amax = row.iter().fold(0.0f32, |amax, x| amax.max(x.abs()));
            finite = row.iter().all(|x| x.is_finite());
            let is_zero = !finite || amax < AMAX_MIN;
            let (scale, inverse) = match is_zero {
                true => (0.0, 0.0),
                false => (amax / 127.0, 127.0 / amax),
            };
            write(scale_at(row.len(), slot), &scale.to_ne_bytes());
            for (dimension, x) in row.iter().enumerate() {
                let q = match is_zero {
                    true => 0,
                    false => (x * inverse + TO_WHOLE - TO_WHOLE).clamp(-127.0, 127.0) as i8,
                };
                write(place(dimension), &q.to_ne_bytes());
            }
        }
    }
    finite
}

/// Added and taken away again, it rounds what is below 2^22 to whole numbers, ties to even: no number has a fraction
/// where this one is. `round_ties_even` says the same by a call for each number where SSE 4.1 is not taken for granted.
const TO_WHOLE: f32 = 1.5 * (1 << 23) as f32;

/// `store` on memory that nobody else has, for tests and benches.
#[must_use]
pub fn store_alone(
    kind: PageKind,
    part: &mut [u8],
    slot: usize,
    key: &[f32],
    value: &[f32],
) -> bool {
    let length = part.len();
    let pages = Shared::new(part);
    // SAFETY: the part is borrowed exclusively.
    unsafe { store(kind, &pages, 0..length, slot, key, value) }
}
