//! The definition of the matmul in code. It reads weights as they lie in the file.

use super::{Finish, Input, Matrix, Output, STRIP};
use crate::block::{self, BLOCK, Block, Form, Scale};
use crate::dot::dot;
use crate::gate::gated;
use crate::gguf::Format;
use crate::quantize::{GROUP, View};

/// One output of a quantized matmul: a row's blocks times token `token`'s quantized activations.
pub fn output(form: Form, row: &[Block], x: View<'_>, token: usize) -> f32 {
    let mut acc = 0.0f32;
    for (index, weights) in row.iter().enumerate() {
        let at = token * row.len() + index;
        let q = &x.q[at * BLOCK..][..BLOCK];
        let isum = |group: usize| -> i32 {
            let range = group * GROUP..(group + 1) * GROUP;
            let products = weights.q[range.clone()].iter().zip(&q[range]);
            products.map(|(w, q)| i32::from(*w) * i32::from(*q)).sum()
        };
        let (dots, x_scale) = ([isum(0) as f32, isum(1) as f32], &x.scale[2 * at..][..2]);
        match weights.scale {
            Scale::Whole(scale) => {
                let t = dots[1].mul_add(x_scale[1], dots[0] * x_scale[0]);
                acc = t.mul_add(scale, acc);
            }
            Scale::Halves(scales) => {
                acc = (dots[0] * x_scale[0]).mul_add(scales[0], acc);
                acc = (dots[1] * x_scale[1]).mul_add(scales[1], acc);
            }
        }
        if form.offset {
            acc = x.mass[at].mul_add(weights.offset, acc);
        }
    }
    acc
}

/// All outputs of one strip of rows stored as in the file. A row is taken apart once for all tokens.
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
    let mut results = vec![[0.0f32; STRIP]; input.tokens];
    for (row, bytes) in bytes.chunks_exact(bytes.len() / STRIP).enumerate() {
        if let Some(form) = Form::of(format) {
            let blocks: Vec<Block> = block::blocks(format, bytes).collect();
            for (token, result) in results.iter_mut().enumerate() {
                result[row] = self::output(form, &blocks, input.quantized, token);
            }
        } else {
            let mut weights = vec![0.0; columns];
            block::unpack_row(format, bytes, &mut weights);
            let rows = input.floats.chunks_exact(columns);
            for (result, x) in results.iter_mut().zip(rows) {
                result[row] = dot(matrix.isa, &weights, x);
            }
        }
    }
    for (token, result) in results.iter().enumerate() {
        // SAFETY: passed on from the caller.
        let out = unsafe { output.values.slice_mut(output.at(token, strip)) };
        for (row, out) in out.iter_mut().enumerate() {
            *out = match output.finish {
                Finish::Store => result[row],
                Finish::Add => *out + result[row],
                Finish::Gate(kind) => gated(kind, result[row], result[row + STRIP / 2]),
            };
        }
    }
}
