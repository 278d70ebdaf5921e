//! Stored blocks against the numbers of another reader, and what is not finite.

use half::f16;

use super::*;

/// Bytes that anybody can make again.
fn bytes(count: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(|_| byte()).collect()
}

/// Where a quantized format has its f16 numbers.
fn halves(format: Format) -> &'static [usize] {
    match (format, form(format).offset) {
        (Format::Q6_K, _) => &[208],
        (_, true) => &[0, 2],
        (_, false) => &[0],
    }
}

/// What ggml's own reader (the Python package gguf 0.19.0, `quants.dequantize`) makes of these bytes with a
/// scale of 0.15625 and an offset of -1.375: some weights by their index, the sum of all, and the sum of
/// all times their indices. Every number here is exact in f32.
#[test]
fn weights_are_those_that_ggml_reads() {
    let table = [
        (
            Format::Q4_0,
            [
                (0, -1.09375),
                (1, -0.625),
                (15, -0.78125),
                (16, 0.0),
                (21, 0.0),
                (31, -0.46875),
            ],
            -2.03125,
            -11.25,
        ),
        (
            Format::Q4_1,
            [
                (0, 0.5),
                (1, 0.8125),
                (15, -0.125),
                (16, -1.375),
                (21, 0.1875),
                (31, -0.125),
            ],
            -3.53125,
            -56.53125,
        ),
        (
            Format::Q5_0,
            [
                (0, 0.9375),
                (1, -0.3125),
                (15, 1.5625),
                (16, -0.625),
                (21, -1.5625),
                (31, -2.34375),
            ],
            -8.59375,
            -68.59375,
        ),
        (
            Format::Q5_1,
            [
                (0, -0.75),
                (1, -0.90625),
                (15, -1.21875),
                (16, -1.375),
                (21, 0.65625),
                (31, 1.90625),
            ],
            27.5625,
            456.28125,
        ),
        (
            Format::Q8_0,
            [
                (0, -19.84375),
                (1, -11.875),
                (15, 12.96875),
                (16, -12.8125),
                (21, 12.65625),
                (31, -0.78125),
            ],
            -30.46875,
            379.6875,
        ),
        (
            Format::Q4_K,
            [
                (0, 28.0),
                (1, 11.125),
                (127, 84.5625),
                (128, 14.5625),
                (133, 12.375),
                (255, 103.09375),
            ],
            15585.34375,
            2386350.0625,
        ),
        (
            Format::Q5_K,
            [
                (0, 18.625),
                (1, 63.625),
                (127, 115.1875),
                (128, 33.15625),
                (133, 38.625),
                (255, 76.21875),
            ],
            23415.96875,
            3620228.03125,
        ),
        (
            Format::Q6_K,
            [
                (0, -179.375),
                (1, 12.8125),
                (127, -291.09375),
                (128, -95.3125),
                (133, 552.8125),
                (255, -0.0),
            ],
            -8087.65625,
            -907115.9375,
        ),
    ];
    for (format, some, sum, moment) in table {
        let mut stored = bytes(format.block_bytes());
        for (at, number) in halves(format).iter().zip([0.15625, -1.375]) {
            stored[*at..at + 2].copy_from_slice(&f16::from_f32(number).to_le_bytes());
        }
        let mut row = vec![0.0; format.block_elements()];
        unpack_row(format, &stored, &mut row);
        let name = format.name();
        for (index, weight) in some {
            assert_eq!(row[index], weight, "{name} {index}");
        }
        let weights = || (0u32..).zip(row.iter().copied().map(f64::from));
        assert_eq!(
            weights().map(|(_, weight)| weight).sum::<f64>(),
            sum,
            "{name}"
        );
        let found: f64 = weights()
            .map(|(index, weight)| weight * f64::from(index))
            .sum();
        assert_eq!(found, moment, "{name}");
    }
    assert_eq!(SUPPORTED.len(), 3 + table.len());
}

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
fn a_q8_0_block_is_signed() {
    let mut bytes = [0u8; 34];
    bytes[..2].copy_from_slice(&f16::from_f32(2.0).to_le_bytes());
    bytes[2] = 0x80;
    bytes[33] = 0x7f;
    let mut row = [0.0; 32];
    unpack_row(Format::Q8_0, &bytes, &mut row);
    assert_eq!((row[0], row[31], row[1]), (-256.0, 254.0, 0.0));
}

#[test]
fn the_first_number_that_is_not_finite_is_found() {
    let floats = [
        (Format::F32, 12, vec![0, 0, 0x80, 0x7f], 3),
        (Format::F16, 10, vec![0, 0xfc], 5),
        (Format::BF16, 10, vec![0xc0, 0x7f], 5),
    ];
    let mut cases = floats.to_vec();
    // Each number of the second block, infinite or undefined.
    for format in SUPPORTED.into_iter().filter(|format| is_quantized(*format)) {
        for (at, bad) in halves(format).iter().zip([vec![0, 0x7c], vec![0xff, 0xff]]) {
            let elements = format.block_elements();
            cases.push((format, format.block_bytes() + at, bad, elements));
        }
    }
    for (format, place, bad, expected) in cases {
        let name = format.name();
        let elements = 3 * format.block_elements().max(32);
        let mut row = vec![0; format.row_bytes(elements).expect("whole blocks")];
        assert_eq!(not_finite(format, &row), None, "{name}");
        // The largest finite numbers are still numbers.
        let largest = match format {
            Format::F32 => vec![0xff, 0xff, 0x7f, 0x7f],
            _ => vec![0xff, 0x7b],
        };
        row[place..][..bad.len()].copy_from_slice(&largest);
        assert_eq!(not_finite(format, &row), None, "{name}");
        row[place..][..bad.len()].copy_from_slice(&bad);
        assert_eq!(not_finite(format, &row), Some(expected), "{name} {place}");
    }
}
