//! RMSNorm. docs/arithmetic.md, rule 4.
//!
//! ```text
//! r = 1 / sqrt(sum(x * x) / n + epsilon)        y = (x * r) * w
//! ```
//!
//! The sum is the dot product of rule 3. Everything else is one rounded operation at a time.

use crate::dot::dot;
use crate::isa::Isa;

/// Normalizes one row. False if the sum of squares is not finite.
#[must_use]
pub fn rms(isa: Isa, x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) -> bool {
    assert!(x.len() == weight.len() && x.len() == out.len());
    let sum = dot(isa, x, x);
    let r = 1.0 / (sum / x.len() as f32 + epsilon).sqrt();
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = (x * r) * weight;
    }
    sum.is_finite()
}
