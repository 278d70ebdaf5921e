//! Numbers in the formats that store 256 together, as near as a simple search comes.

use half::f16;

/// Q4_K or Q5_K: eight blocks of 32, each with a scale and an offset of 6 bits.
pub fn with_offset(values: &[f32], bits: u32) -> Vec<u8> {
    values
        .chunks_exact(256)
        .flat_map(|values| offset_block(values, bits))
        .collect()
}

fn offset_block(values: &[f32], bits: u32) -> Vec<u8> {
    let steps = (1 << bits) as f32 - 1.0;
    let blocks: Vec<&[f32]> = values.chunks_exact(32).collect();
    let least = |block: &[f32]| block.iter().copied().fold(0.0, f32::min);
    let most = |block: &[f32]| block.iter().copied().fold(0.0, f32::max);
    let scale = |block: &[f32]| (most(block) - least(block)) / steps;
    let of_all = |number: &dyn Fn(&[f32]) -> f32| {
        let largest = blocks.iter().map(|block| number(block)).fold(0.0, f32::max);
        f16::from_f32(largest / 63.0)
    };
    let (d, m) = (of_all(&scale), of_all(&|block| -least(block)));
    let scales: Vec<u8> = blocks
        .iter()
        .map(|block| near(scale(block), d, 0.0, 63.0) as u8)
        .collect();
    let offsets: Vec<u8> = blocks
        .iter()
        .map(|block| near(-least(block), m, 0.0, 63.0) as u8)
        .collect();
    let codes: Vec<u8> = values
        .iter()
        .enumerate()
        .map(|(at, x)| {
            let unit = d.to_f32() * f32::from(scales[at / 32]);
            let offset = m.to_f32() * f32::from(offsets[at / 32]);
            match unit {
                0.0 => 0,
                unit => ((x + offset) / unit).round_ties_even().clamp(0.0, steps) as u8,
            }
        })
        .collect();

    let mut bytes = [d.to_le_bytes(), m.to_le_bytes()].concat();
    bytes.extend((0..4).map(|s| scales[s] | scales[s + 4] >> 4 << 6));
    bytes.extend((0..4).map(|s| offsets[s] | offsets[s + 4] >> 4 << 6));
    bytes.extend((4..8).map(|s| scales[s] & 15 | (offsets[s] & 15) << 4));
    if bits == 5 {
        let fifths = |j: usize| (0..8).map(|s| codes[32 * s + j] >> 4 << s).sum::<u8>();
        bytes.extend((0..32).map(fifths));
    }
    for pair in codes.chunks_exact(64) {
        bytes.extend((0..32).map(|j| pair[j] & 15 | (pair[j + 32] & 15) << 4));
    }
    bytes
}

/// Q6_K: sixteen times 16 values, each with a signed scale of 8 bits.
pub fn without_offset(values: &[f32]) -> Vec<u8> {
    values.chunks_exact(256).flat_map(centred_block).collect()
}

fn centred_block(values: &[f32]) -> Vec<u8> {
    let scale = |group: &[f32]| group.iter().fold(0.0f32, |most, x| most.max(x.abs())) / 31.0;
    let scales: Vec<f32> = values.chunks_exact(16).map(scale).collect();
    let d = f16::from_f32(scales.iter().copied().fold(0.0, f32::max) / 127.0);
    let scales: Vec<i8> = scales
        .iter()
        .map(|scale| near(*scale, d, 0.0, 127.0) as i8)
        .collect();
    let codes: Vec<u8> = values
        .iter()
        .enumerate()
        .map(|(at, x)| match d.to_f32() * f32::from(scales[at / 16]) {
            0.0 => 32,
            unit => ((x / unit).round_ties_even().clamp(-32.0, 31.0) + 32.0) as u8,
        })
        .collect();

    let mut bytes = Vec::new();
    for codes in codes.chunks_exact(128) {
        bytes.extend((0..64).map(|j| codes[j] & 15 | (codes[j + 64] & 15) << 4));
    }
    for codes in codes.chunks_exact(128) {
        let pair = |j: usize| {
            (0..4)
                .map(|s| codes[32 * s + j] >> 4 << (2 * s))
                .sum::<u8>()
        };
        bytes.extend((0..32).map(pair));
    }
    bytes.extend(scales.iter().map(|scale| *scale as u8));
    bytes.extend(d.to_le_bytes());
    bytes
}

/// How many units a number is, within bounds.
fn near(number: f32, unit: f16, least: f32, most: f32) -> f32 {
    match unit.to_f32() {
        0.0 => 0.0,
        unit => (number / unit).round_ties_even().clamp(least, most),
    }
}
