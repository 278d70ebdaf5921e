//! Numbers for the vectors' inputs, from seeds: integers make them, so that they are the same everywhere.

#![allow(dead_code, unreachable_pub, reason = "a module of test binaries")]

use half::{bf16, f16};
use troop_kernels::gguf::Format;

/// SplitMix64.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.roll() as u8).collect()
    }

    /// Evenly from -1 to 1, in steps of 2^-23.
    pub fn unit(&mut self) -> f32 {
        ((self.roll() >> 40) as i64 - (1 << 23)) as f32 / (1u32 << 23) as f32
    }

    /// As activations are: most within 4, all bits of the fraction used.
    pub fn usual(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.power(-6, 2)).collect()
    }

    /// Over so many powers of two that the order of a sum shows in every bit.
    pub fn spread(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.power(-20, 20)).collect()
    }

    fn power(&mut self, low: i32, high: i32) -> f32 {
        let word = self.roll();
        let exponent = low + (word >> 32) as i32 % (high - low + 1);
        let bits = (word as u32 & 0x807f_ffff) | (((127 + exponent) as u32) << 23);
        f32::from_bits(bits)
    }
}

/// Values at the edges of f32 and of f16, all finite.
pub const EDGES: [f32; 24] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    f32::from_bits(1),
    f32::from_bits(0x8000_0001),
    f32::from_bits(0x007f_ffff),
    f32::MIN_POSITIVE,
    5.960_464_5e-8,
    2.980_232_2e-8,
    2.980_232_6e-8,
    6.097_555e-5,
    6.103_515_6e-5,
    0.333_333_34,
    2_049.0,
    2_051.0,
    65_504.0,
    -65_504.0,
    65_519.996,
    1e-30,
    -1e30,
    3e38,
    f32::MAX,
    f32::MIN,
];

/// Rows of weights in a format, with the bytes of a file. Scales are small numbers of both signs.
pub fn weights(dice: &mut Dice, format: Format, rows: usize, columns: usize) -> Vec<u8> {
    let count = rows * columns;
    match format {
        Format::F32 => dice
            .usual(count)
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect(),
        Format::F16 => {
            let values = dice.usual(count);
            values
                .iter()
                .flat_map(|x| f16::from_f32(*x).to_le_bytes())
                .collect()
        }
        Format::BF16 => {
            let values = dice.usual(count);
            values
                .iter()
                .flat_map(|x| bf16::from_f32(*x).to_le_bytes())
                .collect()
        }
        _ => {
            let mut bytes = dice.bytes(count / format.block_elements() * format.block_bytes());
            for block in bytes.chunks_exact_mut(format.block_bytes()) {
                for at in numbers(format) {
                    let number = f16::from_f32(dice.unit() / 16.0);
                    block[*at..at + 2].copy_from_slice(&number.to_le_bytes());
                }
            }
            bytes
        }
    }
}

/// Where a block of a quantized format has its f16 numbers.
pub fn numbers(format: Format) -> &'static [usize] {
    match format {
        Format::Q4_0 | Format::Q5_0 | Format::Q8_0 => &[0],
        Format::Q4_1 | Format::Q5_1 | Format::Q4_K | Format::Q5_K => &[0, 2],
        Format::Q6_K => &[208],
        other => panic!("{} is not quantized", other.name()),
    }
}

/// Every format that matrices may be stored in.
pub const FORMATS: [Format; 11] = troop_kernels::block::SUPPORTED;
/// Those that the vectors began with: their cases share one seed per file.
pub const FIRST: [Format; 5] = {
    let [a, b, c, d, e, ..] = FORMATS;
    [a, b, c, d, e]
};
/// Those that came after: each has a seed of its own, so that the next one changes no case.
pub const LATER: [Format; 6] = {
    let [_, _, _, _, _, rest @ ..] = FORMATS;
    rest
};
