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
    let mut out = vec![0.0; tokens * weights.rows];
    let parts: Vec<Vec<f64>> = std::thread::scope(|scope| {
        let work = |start: usize| move || rows(weights, x, start, (start + share).min(panels));
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

fn rows(weights: Source<'_>, x: &[f64], start: usize, end: usize) -> Vec<f64> {
    let columns = weights.columns;
    let row_bytes = weights.bytes.len() / weights.rows;
    let mut out = Vec::with_capacity((end - start) * x.len() / columns * ROWS);
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
        for x in x.chunks(TOKENS * columns) {
            if x.len() == TOKENS * columns {
                out.extend(tile::<TOKENS>(&panel, x).as_flattened());
            } else {
                x.chunks_exact(columns)
                    .for_each(|x| out.extend(tile::<1>(&panel, x).as_flattened()));
            }
        }
    }
    out
}

fn tile<const T: usize>(panel: &[[f64; ROWS]], x: &[f64]) -> [[f64; ROWS]; T] {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the machine has it.
            return unsafe { tile_avx512::<T>(panel, x) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the machine has both.
            return unsafe { tile_avx2::<T>(panel, x) };
        }
    }
    tile_of::<T, false>(panel, x)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
fn tile_avx512<const T: usize>(panel: &[[f64; ROWS]], x: &[f64]) -> [[f64; ROWS]; T] {
    tile_of::<T, true>(panel, x)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn tile_avx2<const T: usize>(panel: &[[f64; ROWS]], x: &[f64]) -> [[f64; ROWS]; T] {
    tile_of::<T, true>(panel, x)
}

/// The sums of T tokens and eight rows. `FUSED` where the machine fuses quickly; the yardstick does
/// not promise bits.
#[inline(always)]
fn tile_of<const T: usize, const FUSED: bool>(
    panel: &[[f64; ROWS]],
    x: &[f64],
) -> [[f64; ROWS]; T] {
    let columns = panel.len();
    let rows: [&[f64]; T] = std::array::from_fn(|token| &x[token * columns..][..columns]);
    let mut sums = [[0.0; ROWS]; T];
    for (k, weights) in panel.iter().enumerate() {
        for (sums, row) in sums.iter_mut().zip(&rows) {
            let x = row[k];
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
