//! Philox4x32-10: random bits as a function of a key and a counter, so that position n needs no position
//! before it.

/// The first word for one output index of one choice of one request.
pub fn first_word(seed: u64, choice: u32, index: u64) -> u32 {
    let counter = [index as u32, (index >> 32) as u32, choice, 0];
    philox4x32_10(counter, [seed as u32, (seed >> 32) as u32])[0]
}

fn philox4x32_10(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key = [
                key[0].wrapping_add(0x9e37_79b9),
                key[1].wrapping_add(0xbb67_ae85),
            ];
        }
        let first = u64::from(counter[0]) * 0xd251_1f53;
        let second = u64::from(counter[2]) * 0xcd9e_8d57;
        counter = [
            (second >> 32) as u32 ^ counter[1] ^ key[0],
            second as u32,
            (first >> 32) as u32 ^ counter[3] ^ key[1],
            first as u32,
        ];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vectors_hold() {
        // From the known-answer file of Random123, the paper's own implementation.
        let cases = [
            (
                [0; 4],
                [0; 2],
                [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
            ),
            (
                [u32::MAX; 4],
                [u32::MAX; 2],
                [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
            ),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expected) in cases {
            assert_eq!(philox4x32_10(counter, key), expected);
        }
    }

    #[test]
    fn seed_choice_and_index_each_matter() {
        let base = first_word(1, 0, 0);
        for other in [
            first_word(2, 0, 0),
            first_word(1 | 1 << 32, 0, 0),
            first_word(1, 1, 0),
            first_word(1, 0, 1),
            first_word(1, 0, 1 << 32),
        ] {
            assert_ne!(base, other);
        }
    }
}
