//! The definition of the matmul in code. It reads weights as they lie in the file.

use super::{Finish, Input, Matrix, Output, STRIP};
use crate::block::{self, BLOCK};
use crate::dot::dot;
use crate::gate::gated;
use crate::gguf::Format;
use crate::isa::Isa;
use crate::quantize::{GROUP, View};

/// One output of a quantized matmul: a stored row times token `token`'s quantized activations.
pub fn output(format: Format, row: &[u8], x: View<'_>, token: usize) -> f32 {
    let blocks = x.columns / BLOCK;
    let mut acc = 0.0f32;
    for (index, bytes) in row.chunks_exact(format.block_bytes()).enumerate() {
        let at = token * blocks + index;
        let weights = block::unpack_block(format, bytes);
        let q = &x.q[at * BLOCK..][..BLOCK];
        let isum = |group: usize| -> i32 {
            let range = group * GROUP..(group + 1) * GROUP;
            let products = weights.q[range.clone()].iter().zip(&q[range]);
            products.map(|(w, q)| i32::from(*w) * i32::from(*q)).sum()
        };
        let t = (isum(1) as f32).mul_add(x.scale[2 * at + 1], isum(0) as f32 * x.scale[2 * at]);
        acc = t.mul_add(weights.scale, acc);
        if block::has_offset(format) {
            acc = x.mass[at].mul_add(weights.offset, acc);
        }
    }
    acc
}

/// One output of a float matmul.
pub fn float_output(isa: Isa, format: Format, row: &[u8], x: &[f32]) -> f32 {
    let mut weights = vec![0.0; x.len()];
    block::unpack_row(format, row, &mut weights);
    dot(isa, &weights, x)
}

/// All outputs of one strip of rows stored as in the file.
///
/// # Safety
/// No other thread touches the outputs of this strip until the next barrier.
pub(crate) unsafe fn strip(
    matrix: &Matrix,
    format: Format,
    bytes: &[u8],
    strip: usize,
    input: Input<'_>,
    output: Output<'_>,
) {
    let columns = matrix.columns;
    let rows: Vec<&[u8]> = bytes.chunks_exact(bytes.len() / STRIP).collect();
    for token in 0..input.tokens {
        let result: [f32; STRIP] = std::array::from_fn(|row| match block::is_quantized(format) {
            true => self::output(format, rows[row], input.quantized, token),
            false => float_output(
                matrix.isa,
                format,
                rows[row],
                &input.floats[token * columns..][..columns],
            ),
        });
        let width = if output.finish == Finish::Gate {
            STRIP / 2
        } else {
            STRIP
        };
        let at = token * output.stride + strip * width;
        // SAFETY: passed on from the caller.
        let out = unsafe { output.values.slice_mut(at..at + width) };
        for (row, out) in out.iter_mut().enumerate() {
            *out = match output.finish {
                Finish::Store => result[row],
                Finish::Add => *out + result[row],
                Finish::Gate => gated(result[row], result[row + STRIP / 2]),
            };
        }
    }
}
