//! The dot product of floats, in one fixed order. docs/arithmetic.md, rule 3.
//!
//! ```text
//! block of 256:   lane l of 16 takes elements l, l+16, l+32 … in order, each by one fused multiply-add
//! join:           (l, l+8)  (l, l+4)  (l, l+2)  (l, l+1)
//! blocks:         their sums are added in order, starting from zero
//! ```
//!
//! A last block that is not full is treated the same; elements that are not there take no part. The
//! order suits one AVX-512 register or two AVX2 ones, and a warp of a GPU by halves.

pub mod reference;
#[cfg(target_arch = "x86_64")]
pub(crate) mod simd;

use crate::isa::Isa;
use crate::lanes::by_isa;

/// Elements in a block whose sum is closed before the next one begins.
pub const BLOCK: usize = 256;
/// Running sums within a block.
pub const LANES: usize = 16;

/// The sum of `a[i] * b[i]`.
pub fn dot(isa: Isa, a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    by_isa!(isa, dot(a, b), reference::dot(a, b))
}
