//! RMSNorm. docs/arithmetic.md, rule 4.
//!
//! ```text
//! r = 1 / sqrt(sum(x * x) / n + epsilon)        y = (x * r) * w
//! ```
//!
//! The sum is the dot product of rule 3. Everything else is one rounded operation at a time.

pub mod reference;
#[cfg(target_arch = "x86_64")]
mod simd;

use crate::dot::dot;
use crate::isa::Isa;
use crate::lanes::by_isa;

/// Normalizes one row where it is. False if the sum of squares is not finite.
#[must_use]
pub fn rms_in_place(isa: Isa, x: &mut [f32], weight: &[f32], epsilon: f32) -> bool {
    assert_eq!(x.len(), weight.len());
    let sum = dot(isa, x, x);
    let r = reference::factor(sum, x.len(), epsilon);
    for (x, weight) in x.iter_mut().zip(weight) {
        *x = (*x * r) * weight;
    }
    sum.is_finite()
}

/// Normalizes one row. False if the sum of squares is not finite.
#[must_use]
pub fn rms(isa: Isa, x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) -> bool {
    assert!(x.len() == weight.len() && x.len() == out.len());
    by_isa!(
        isa,
        rms(x, weight, epsilon, out),
        reference::rms(x, weight, epsilon, out)
    )
}
