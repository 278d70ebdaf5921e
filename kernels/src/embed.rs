//! From a token id to its row of the embedding.
//!
//! A quantized row is unpacked by `fma(q, scale, offset)`: the product is exact for every format so far. The
//! ids come from a tokenizer of the same file, or from a peer: the caller checks them against the
//! vocabulary before they come here.

use crate::matmul::Matrix;

/// Writes the embedding of `id` to `out`.
pub fn embed(table: &Matrix, id: u32, out: &mut [f32]) {
    table.row(id as usize, out);
}
