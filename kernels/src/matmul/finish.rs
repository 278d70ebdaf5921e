//! What becomes of the results of a strip: stored, added to a residual, or gated, sixteen at once.

use super::pack::TILE;
use super::{Finish, Output, STRIP};
use crate::lanes::{Lanes, gated};

/// Puts the results of some tokens where they go.
///
/// # Safety
/// The instruction set of `L` is enabled; no other thread touches the outputs of this strip until the next
/// barrier.
#[inline(always)]
pub(super) unsafe fn finish<L: Lanes>(
    totals: &[[f32; STRIP]],
    first: usize,
    strip: usize,
    output: Output<'_>,
) {
    for (token, totals) in totals.iter().enumerate() {
        // SAFETY: the outputs of this strip are this thread's, and a tile's or two tiles' wide.
        unsafe {
            let out = output.values.slice_mut(output.at(first + token, strip));
            let out = out.as_mut_ptr();
            let tile = [L::load(totals.as_ptr()), L::load(totals.as_ptr().add(TILE))];
            match output.finish {
                Finish::Store => {
                    tile[0].store(out);
                    tile[1].store(out.add(TILE));
                }
                Finish::Add => {
                    L::load(out).add(tile[0]).store(out);
                    L::load(out.add(TILE)).add(tile[1]).store(out.add(TILE));
                }
                Finish::Gate(kind) => gated(kind, tile[0], tile[1]).store(out),
            }
        }
    }
}
