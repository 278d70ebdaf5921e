//! Weights of candidates: e to the power of a non-positive number, and their sum over a vocabulary.
//!
//! A vocabulary is large and this runs for every token, so the polynomial is one every compiler turns
//! into vectors for any machine: multiplications and additions, each rounded, nothing fused. Relative
//! error is below 2.5e-7. The constants are part of the definition.

/// e^d for d <= 0, and exactly 0 below -87.
pub fn weight(d: f32) -> f32 {
    // Adding and taking off 1.5 * 2^23 rounds to the nearest integer, ties to even.
    let shifted = d * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (d - n * LN2_HIGH) - n * LN2_LOW;
    let mut p = 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    // The last bits of `shifted` are those of n, which is between -126 and 0 where the result is used.
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if d < LOWEST { 0.0 } else { p * scale }
}

/// The sum of the weights of all logits, in id order: in each block of 256, lane l of 16 takes elements
/// l, l + 16, …; lanes join (l, l+8), (l, l+4), (l, l+2), (l, l+1); blocks are added in order.
pub fn mass(logits: &[f32], temperature: f32, largest: f32) -> f32 {
    let mut sum = 0.0;
    for block in logits.chunks(256) {
        let mut lanes = [0.0_f32; 16];
        let mut rows = block.chunks_exact(16);
        for row in rows.by_ref() {
            for (lane, logit) in lanes.iter_mut().zip(row) {
                *lane += weight_or_none(logit / temperature - largest);
            }
        }
        for (lane, logit) in lanes.iter_mut().zip(rows.remainder()) {
            *lane += weight_or_none(logit / temperature - largest);
        }
        for width in [8, 4, 2, 1] {
            for lane in 0..width {
                lanes[lane] += lanes[lane + width];
            }
        }
        sum += lanes[0];
    }
    sum
}

/// The weight, also where the mask has made the logit minus infinity.
fn weight_or_none(d: f32) -> f32 {
    // Selections rather than branches, so that this too becomes vectors.
    let weight = weight(if d < LOWEST { LOWEST } else { d });
    if d < LOWEST { 0.0 } else { weight }
}

const ROUND: f32 = 12_582_912.0;
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;
const LOWEST: f32 = -87.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_e_to_the_power() {
        assert_eq!(weight(0.0), 1.0);
        assert_eq!(weight(-87.5), 0.0);
        assert_eq!(weight(f32::NEG_INFINITY), 0.0);
        for step in 0..870_000 {
            let d = -(step as f32) * 1e-4;
            let exact = libm::exp(f64::from(d));
            let error = (f64::from(weight(d)) - exact).abs() / exact;
            assert!(error < 2.5e-7, "{d}: {error:e}");
        }
    }

    #[test]
    fn weights_fall_with_the_logit() {
        let mut last = f32::INFINITY;
        for step in 0..200_000 {
            let now = weight(-(step as f32) * 1e-3);
            assert!(now <= last);
            last = now;
        }
    }

    #[test]
    fn bits_of_weights_and_sums_are_pinned() {
        let pins: Vec<u32> = [-0.1, -1.0, -10.0, -86.9]
            .map(weight)
            .map(f32::to_bits)
            .to_vec();
        let logits: Vec<f32> = (0..1000).map(|i| (i * 37 % 101) as f32 / 7.0).collect();
        let sum = mass(&logits, 0.7, 100.0 / 7.0 / 0.7).to_bits();
        assert_eq!((pins, sum), (PINNED_WEIGHTS.to_vec(), PINNED_SUM));
    }

    const PINNED_WEIGHTS: [u32; 4] = [1063756653, 1052531378, 943614926, 12980106];
    const PINNED_SUM: u32 = 1113059882;
}
