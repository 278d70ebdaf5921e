//! The yardstick's matmul: weights turned back into f64, eight rows side by side, many tokens at once.

use crate::block;
use crate::matmul::Source;

/// Rows whose sums are in one vector.
const ROWS: usize = 8;
/// Tokens whose sums are in registers at once.
const TOKENS: usize = 12;

/// `y[t][r]`, the sum over k of `x[t][k] * w[r][k]`, in f64.
pub(super) fn multiply(threads: usize, weights: Source<'_>, x: &[f64]) -> Vec<f64> {
    let tokens = x.len() / weights.columns;
    let panels = weights.rows.div_ceil(ROWS);
    let share = panels.div_ceil(threads).max(1);
    let tiles = &side_by_side(x, weights.columns);
    let mut out = vec![0.0; tokens * weights.rows];
    let parts: Vec<Vec<f64>> = std::thread::scope(|scope| {
        let work =
            |start: usize| move || rows(weights, tiles, tokens, start, (start + share).min(panels));
        let starts = (0..panels).step_by(share);
        let threads: Vec<_> = starts.map(|start| scope.spawn(work(start))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Vec<f64>>| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    });
    // Each part is panel after panel, each panel token after token.
    for (panel, values) in parts
        .iter()
        .flat_map(|part| part.chunks_exact(tokens * ROWS))
        .enumerate()
    {
        let count = ROWS.min(weights.rows - panel * ROWS);
        for (token, values) in values.chunks_exact(ROWS).enumerate() {
            let at = token * weights.rows + panel * ROWS;
            out[at..at + count].copy_from_slice(&values[..count]);
        }
    }
    out
}

/// Tokens in groups, each group's values for one column side by side; zeros beyond the last token.
fn side_by_side(x: &[f64], columns: usize) -> Vec<Vec<[f64; TOKENS]>> {
    let tile = |x: &[f64]| {
        let mut tile = vec![[0.0; TOKENS]; columns];
        for (token, x) in x.chunks_exact(columns).enumerate() {
            tile.iter_mut()
                .zip(x)
                .for_each(|(tile, x)| tile[token] = *x);
        }
        tile
    };
    x.chunks(TOKENS * columns).map(tile).collect()
}

fn rows(
    weights: Source<'_>,
    tiles: &[Vec<[f64; TOKENS]>],
    tokens: usize,
    start: usize,
    end: usize,
) -> Vec<f64> {
    let columns = weights.columns;
    let row_bytes = weights.bytes.len() / weights.rows;
    let mut out = Vec::with_capacity((end - start) * tokens * ROWS);
    let mut row = vec![0.0f32; columns];
    let mut panel = vec![[0.0f64; ROWS]; columns];
    for first in (start..end).map(|panel| panel * ROWS) {
        for lane in 0..ROWS.min(weights.rows - first) {
            let bytes = &weights.bytes[(first + lane) * row_bytes..][..row_bytes];
            block::unpack_row(weights.format, bytes, &mut row);
            panel
                .iter_mut()
                .zip(&row)
                .for_each(|(panel, weight)| panel[lane] = f64::from(*weight));
        }
        for (index, x) in tiles.iter().enumerate() {
            let count = TOKENS.min(tokens - index * TOKENS);
            out.extend(tile(&panel, x)[..count].as_flattened());
        }
    }
    out
}

fn tile(panel: &[[f64; ROWS]], x: &[[f64; TOKENS]]) -> [[f64; ROWS]; TOKENS] {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the machine has it.
            return unsafe { tile_avx512(panel, x) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the machine has both.
            return unsafe { tile_avx2(panel, x) };
        }
    }
    tile_of::<false>(panel, x)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
fn tile_avx512(panel: &[[f64; ROWS]], x: &[[f64; TOKENS]]) -> [[f64; ROWS]; TOKENS] {
    tile_of::<true>(panel, x)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn tile_avx2(panel: &[[f64; ROWS]], x: &[[f64; TOKENS]]) -> [[f64; ROWS]; TOKENS] {
    tile_of::<true>(panel, x)
}

/// The sums of twelve tokens and eight rows. `FUSED` where the machine fuses quickly; the yardstick does
/// not promise bits.
#[inline(always)]
fn tile_of<const FUSED: bool>(panel: &[[f64; ROWS]], x: &[[f64; TOKENS]]) -> [[f64; ROWS]; TOKENS] {
    let mut sums = [[0.0; ROWS]; TOKENS];
    for (weights, x) in panel.iter().zip(x) {
        for (sums, x) in sums.iter_mut().zip(x) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum = if FUSED {
                    x.mul_add(*weight, *sum)
                } else {
                    *sum + x * weight
                };
            }
        }
    }
    sums
}
