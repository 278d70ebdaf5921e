//! exp, tanh, sigmoid, silu and gelu, each with one result for one input on every machine.
//!
//! The platform's own functions differ in the last bits from one C library to the next. These are a range
//! reduction, a fixed polynomial in fused multiply-adds, and a multiplication by a power of two that is
//! always exact. docs/arithmetic.md, rule 6, has the same in words; the constants are part of it.
//!
//! The polynomial is within 2 units in the last place of the true value, which is far below what
//! quantizing costs. This file refuses to be more exact than that.

/// `e` to the power `x`. Above `EXP_MAX` infinity, below `EXP_MIN` zero, so the result is never
/// subnormal and scaling by 2^n never rounds.
pub fn exp(x: f32) -> f32 {
    if x > EXP_MAX {
        return f32::INFINITY;
    }
    if x < EXP_MIN {
        return 0.0;
    }
    let n = (x * LOG2_E).round_ties_even();
    let r = n.mul_add(-LN2_HIGH, x);
    let r = n.mul_add(-LN2_LOW, r);
    let mut p = EXP_COEFFICIENTS[0];
    for coefficient in &EXP_COEFFICIENTS[1..] {
        p = p.mul_add(r, *coefficient);
    }
    let y = p.mul_add(r * r, r) + 1.0;
    y * f32::from_bits((((n as i32) + 127) as u32) << 23)
}

/// `(1 - t) / (1 + t)` with `t = exp(-2 |x|)`, and the sign of `x`.
pub fn tanh(x: f32) -> f32 {
    let t = exp(-2.0 * x.abs());
    ((1.0 - t) / (1.0 + t)).copysign(x)
}

/// `1 / (1 + exp(-x))`.
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `x / (1 + exp(-x))`.
pub fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// GELU in its tanh form, `0.5 x (1 + tanh(w / 2))`, with one exponential: `x / (1 + exp(-w))`.
pub fn gelu(x: f32) -> f32 {
    let w = (x * GELU_SLOPE) * (x * x).mul_add(GELU_CUBE, 1.0);
    x / (1.0 + exp(-w))
}

/// Above this, exp is infinity: the next power of two would not fit.
pub const EXP_MAX: f32 = 88.37;
/// Below this, exp is zero: the result would be subnormal.
pub const EXP_MIN: f32 = -87.3;
pub(crate) const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// The first bits of ln 2: few enough that n * LN2_HIGH is exact.
pub(crate) const LN2_HIGH: f32 = 0.693_359_4;
/// ln 2 - LN2_HIGH.
pub(crate) const LN2_LOW: f32 = -2.121_944_4e-4;
/// Twice the root of 2 / pi.
pub(crate) const GELU_SLOPE: f32 = 1.595_769_2;
pub(crate) const GELU_CUBE: f32 = 0.044_715;
/// Highest power first: (exp(r) - 1 - r) / r^2 for |r| <= ln 2 / 2, as Cephes fits it.
pub(crate) const EXP_COEFFICIENTS: [f32; 6] = [
    1.987_569_1e-4,
    1.398_199_9e-3,
    8.333_452e-3,
    4.166_579_6e-2,
    1.666_666_5e-1,
    0.5,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constants_have_exactly_these_bits() {
        let bits: Vec<u32> = EXP_COEFFICIENTS.iter().map(|c| c.to_bits()).collect();
        assert_eq!(
            bits,
            [
                0x3950_6967,
                0x3ab7_43ce,
                0x3c08_8908,
                0x3d2a_a9c1,
                0x3e2a_aaaa,
                0x3f00_0000
            ]
        );
        assert_eq!(LN2_HIGH.to_bits(), 0x3f31_8000);
        assert_eq!(LN2_LOW.to_bits(), 0xb95e_8083);
        assert_eq!(LOG2_E.to_bits(), 0x3fb8_aa3b);
        assert_eq!(GELU_SLOPE.to_bits(), 0x3fcc_422a);
        assert_eq!(GELU_CUBE.to_bits(), 0x3d37_2713);
    }

    #[test]
    fn exp_is_close_to_the_true_value_everywhere() {
        let mut x = EXP_MIN;
        while x < EXP_MAX {
            let true_value = libm::exp(f64::from(x));
            let error = (f64::from(exp(x)) / true_value - 1.0).abs();
            assert!(
                error < 2.0 * f64::from(f32::EPSILON),
                "exp({x}): relative error {error}"
            );
            x += 0.0137;
        }
    }

    #[test]
    fn gelu_is_close_to_its_tanh_form() {
        for step in -800..800 {
            let x = f64::from(step) / 100.0;
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            let true_value = 0.5 * x * (1.0 + libm::tanh(inner));
            let error = (f64::from(gelu(x as f32)) - true_value).abs();
            assert!(error < 1e-6, "gelu({x}): error {error}");
        }
    }

    #[test]
    fn the_edges_are_as_defined() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(88.38), f32::INFINITY);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(EXP_MIN).is_normal() && exp(EXP_MAX).is_normal());
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(silu(-1000.0), 0.0);
        assert_eq!([gelu(0.0), gelu(-1e30), gelu(1e30)], [0.0, 0.0, 1e30]);
        assert_eq!(tanh(-100.0), -1.0);
        assert_eq!(sigmoid(0.0), 0.5);
    }
}
