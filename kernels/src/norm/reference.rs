//! The definition of RMSNorm in code.

use crate::dot::reference::dot;

/// Normalizes one row. False if the sum of squares is not finite.
pub fn rms(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) -> bool {
    let sum = dot(x, x);
    let r = factor(sum, x.len(), epsilon);
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = (x * r) * weight;
    }
    sum.is_finite()
}

/// What a row of so many values with this sum of squares is multiplied by.
#[inline(always)]
pub(super) fn factor(sum: f32, count: usize, epsilon: f32) -> f32 {
    1.0 / (sum / count as f32 + epsilon).sqrt()
}
