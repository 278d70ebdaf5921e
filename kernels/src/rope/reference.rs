//! The definition of rope in code.

use super::Pairing;

/// Turns the pairs of some heads in place.
#[inline(always)]
pub fn turn(pairing: Pairing, heads: &mut [f32], head_width: usize, turns: &[[f32; 2]]) {
    for head in heads.chunks_exact_mut(head_width) {
        let turned = &mut head[..turns.len() * 2];
        match pairing {
            Pairing::Neighbours => {
                for (pair, turn) in turned.chunks_exact_mut(2).zip(turns) {
                    [pair[0], pair[1]] = turned_pair(pair[0], pair[1], *turn);
                }
            }
            Pairing::Halves => {
                let (low, high) = turned.split_at_mut(turns.len());
                for ((low, high), turn) in low.iter_mut().zip(high).zip(turns) {
                    [*low, *high] = turned_pair(*low, *high, *turn);
                }
            }
        }
    }
}

#[inline(always)]
fn turned_pair(x0: f32, x1: f32, [c, s]: [f32; 2]) -> [f32; 2] {
    [x0.mul_add(c, -(x1 * s)), x0.mul_add(s, x1 * c)]
}
