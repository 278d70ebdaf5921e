//! How a stored row of weights is taken apart: once for every format, here.
//!
//! A row is a run of blocks. A float format has blocks of one element. A quantized one has blocks of 32:
//! integers, and the f16 numbers that turn them back into weights.
//!
//! ```text
//! Q4_1   | d f16 | m f16 | 16 bytes: element j in the low half of byte j, element 16 + j in the high |
//!        weight = d * q + m,  q in 0..=15
//! Q8_0   | d f16 | 32 bytes, signed |
//!        weight = d * q,      q in -128..=127
//! ```
//!
//! Other formats are refused here, by name, so that no operation has to ask again.

use half::{bf16, f16};

use crate::gguf::Format;

/// Elements in a block of a quantized format.
pub const BLOCK: usize = 32;

/// The formats that operations are defined for, in the order they were added.
pub const SUPPORTED: [Format; 5] = [
    Format::F32,
    Format::F16,
    Format::BF16,
    Format::Q4_1,
    Format::Q8_0,
];

/// One block of 32 weights with its integers unpacked: `weight = scale * q + offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block {
    /// The integers as stored, sign and all.
    pub q: [i8; BLOCK],
    /// What one unit of the integers is worth.
    pub scale: f32,
    /// What is added to every weight; zero for formats without an offset.
    pub offset: f32,
}

/// Whether weights of this format are multiplied as integers, with quantized activations.
pub fn is_quantized(format: Format) -> bool {
    matches!(format, Format::Q4_1 | Format::Q8_0)
}

/// Whether the format has an offset per block.
pub fn has_offset(format: Format) -> bool {
    format == Format::Q4_1
}

/// Takes one block of a quantized format apart.
pub fn unpack_block(format: Format, bytes: &[u8]) -> Block {
    assert_eq!(bytes.len(), format.block_bytes());
    let mut q = [0; BLOCK];
    match format {
        Format::Q4_1 => {
            for (j, byte) in bytes[4..].iter().enumerate() {
                q[j] = (byte & 15) as i8;
                q[j + 16] = (byte >> 4) as i8;
            }
            Block {
                q,
                scale: half_at(bytes, 0),
                offset: half_at(bytes, 2),
            }
        }
        Format::Q8_0 => {
            for (q, byte) in q.iter_mut().zip(&bytes[2..]) {
                *q = *byte as i8;
            }
            Block {
                q,
                scale: half_at(bytes, 0),
                offset: 0.0,
            }
        }
        other => panic!("{} has no blocks of integers", other.name()),
    }
}

/// Turns a stored row back into floats. Weights of quantized formats are `fma(q, scale, offset)`.
pub fn unpack_row(format: Format, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(Some(bytes.len()), format.row_bytes(out.len()));
    match format {
        Format::F32 => {
            for (out, bytes) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                *out = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            }
        }
        Format::F16 => {
            for (out, bytes) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                *out = half_at(bytes, 0);
            }
        }
        Format::BF16 => {
            for (out, bytes) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                *out = bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32();
            }
        }
        _ => {
            let blocks = bytes.chunks_exact(format.block_bytes());
            for (out, bytes) in out.chunks_exact_mut(BLOCK).zip(blocks) {
                let block = unpack_block(format, bytes);
                for (out, q) in out.iter_mut().zip(block.q) {
                    *out = f32::from(q).mul_add(block.scale, block.offset);
                }
            }
        }
    }
}

/// The first element of a stored row that does not stand for a finite number; of a block with such a scale
/// or offset, its first element.
pub fn not_finite(format: Format, bytes: &[u8]) -> Option<usize> {
    let half = |bytes: &[u8], at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    match format {
        Format::F32 => first(bytes, 4, |one| {
            u32::from_le_bytes([one[0], one[1], one[2], one[3]]) & 0x7f80_0000 == 0x7f80_0000
        }),
        Format::F16 => first(bytes, 2, |one| half(one, 0) & 0x7c00 == 0x7c00),
        Format::BF16 => first(bytes, 2, |one| half(one, 0) & 0x7f80 == 0x7f80),
        Format::Q4_1 => first(bytes, format.block_bytes(), |block| {
            half(block, 0) & 0x7c00 == 0x7c00 || half(block, 2) & 0x7c00 == 0x7c00
        })
        .map(|block| block * BLOCK),
        Format::Q8_0 => first(bytes, format.block_bytes(), |block| {
            half(block, 0) & 0x7c00 == 0x7c00
        })
        .map(|block| block * BLOCK),
        other => panic!("{} is not among the supported formats", other.name()),
    }
}

/// The first of the pieces that is bad. Nearly always none is, and a fold that asks them all becomes
/// vectors.
fn first(bytes: &[u8], piece: usize, bad: impl Fn(&[u8]) -> bool) -> Option<usize> {
    let mut pieces = bytes.chunks_exact(piece);
    let any = pieces.clone().fold(false, |any, one| any | bad(one));
    any.then(|| pieces.position(bad)).flatten()
}

/// The f16 at that offset, widened.
pub(crate) fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_q4_1_block_has_its_low_halves_first() {
        let mut bytes = [0u8; 20];
        bytes[..2].copy_from_slice(&f16::from_f32(0.5).to_le_bytes());
        bytes[2..4].copy_from_slice(&f16::from_f32(-1.0).to_le_bytes());
        bytes[4] = 0xf3;
        let mut row = [0.0; 32];
        unpack_row(Format::Q4_1, &bytes, &mut row);
        assert_eq!((row[0], row[16], row[1]), (0.5, 6.5, -1.0));
    }

    #[test]
    fn the_first_number_that_is_not_finite_is_found() {
        let cases = [
            (Format::F32, 3, vec![0, 0, 0x80, 0x7f], 4, 3),
            (Format::F16, 5, vec![0, 0xfc], 2, 5),
            (Format::BF16, 5, vec![0xc0, 0x7f], 2, 5),
            // The scale of the second block, and the offset of the third.
            (Format::Q4_1, 10, vec![0, 0x7c], 2, 32),
            (Format::Q4_1, 21, vec![1, 0x7c], 2, 64),
            (Format::Q8_0, 17, vec![0xff, 0xff], 2, 32),
        ];
        for (format, place, bad, bytes, expected) in cases {
            let mut row = vec![0; format.row_bytes(96).expect("whole blocks")];
            assert_eq!(not_finite(format, &row), None);
            // The largest finite numbers are still numbers.
            let largest = if format == Format::F32 {
                vec![0xff, 0xff, 0x7f, 0x7f]
            } else {
                vec![0xff, 0x7b]
            };
            row[place * bytes..][..bytes].copy_from_slice(&largest);
            assert_eq!(not_finite(format, &row), None, "{}", format.name());
            row[place * bytes..][..bytes].copy_from_slice(&bad);
            assert_eq!(
                not_finite(format, &row),
                Some(expected),
                "{}",
                format.name()
            );
        }
    }

    #[test]
    fn a_q8_0_block_is_signed() {
        let mut bytes = [0u8; 34];
        bytes[..2].copy_from_slice(&f16::from_f32(2.0).to_le_bytes());
        bytes[2] = 0x80;
        bytes[33] = 0x7f;
        let mut row = [0.0; 32];
        unpack_row(Format::Q8_0, &bytes, &mut row);
        assert_eq!((row[0], row[31], row[1]), (-256.0, 254.0, 0.0));
    }
}
