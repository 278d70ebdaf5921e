//! The definition of rope in code.

/// Turns the pairs of neighbours of some heads in place.
pub fn turn(heads: &mut [f32], turns: &[[f32; 2]]) {
    for head in heads.chunks_exact_mut(turns.len() * 2) {
        for (pair, [c, s]) in head.chunks_exact_mut(2).zip(turns) {
            let (x0, x1) = (pair[0], pair[1]);
            pair[0] = x0.mul_add(*c, -(x1 * s));
            pair[1] = x0.mul_add(*s, x1 * c);
        }
    }
}
