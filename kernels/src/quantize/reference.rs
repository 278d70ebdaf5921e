//! The definition of quantizing in code.

use super::{AMAX_MIN, GROUP, ViewMut};

/// Quantizes a run of whole blocks. False if a value is not finite.
pub fn quantize(x: &[f32], out: ViewMut<'_>) -> bool {
    let mut finite = true;
    for (group, x) in x.chunks_exact(GROUP).enumerate() {
        let q = &mut out.q[group * GROUP..][..GROUP];
        let amax = x.iter().fold(0.0f32, |amax, x| amax.max(x.abs()));
        let group_finite = x.iter().all(|x| x.is_finite());
        finite &= group_finite;
        if !group_finite || amax < AMAX_MIN {
            q.fill(0);
            out.scale[group] = 0.0;
            out.sum[group] = 0;
            continue;
        }
        let inverse = 127.0 / amax;
        for (q, x) in q.iter_mut().zip(x) {
            *q = (x * inverse).round_ties_even().clamp(-127.0, 127.0) as i8;
        }
        out.scale[group] = amax / 127.0;
        out.sum[group] = q.iter().map(|q| i32::from(*q)).sum();
    }
    for (block, mass) in out.mass.iter_mut().enumerate() {
        let (sum, scale) = (&out.sum[2 * block..][..2], &out.scale[2 * block..][..2]);
        *mass = (sum[1] as f32).mul_add(scale[1], sum[0] as f32 * scale[0]);
    }
    finite
}
