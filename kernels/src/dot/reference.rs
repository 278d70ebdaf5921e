//! The definition of the dot product in code.

use super::{BLOCK, LANES};

/// The sum of `a[i] * b[i]`, in the order the module above draws.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut total = 0.0;
    for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
        let mut lanes = [0.0f32; LANES];
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            lanes[i % LANES] = a.mul_add(*b, lanes[i % LANES]);
        }
        total += tree_sum(lanes);
    }
    total
}

/// Joins lanes l and l + 8, then l and l + 4, l + 2, l + 1.
pub fn tree_sum(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
        half /= 2;
    }
    lanes[0]
}
