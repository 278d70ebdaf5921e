//! The matmul of rows of floats: F32, F16 and BF16, as they lie in the file. docs/arithmetic.md, rule 3.
//!
//! ```text
//! tile:   4 rows x up to 4 tokens (3 with AVX2); a register or two of running sums for each
//! step:   16 elements: 4 loads of weights, widened once for all tokens; a load for each token; 4 x 4 multiply-adds
//! block:  after 16 steps the lanes of all sums are joined at once: what one sum would leave empty holds another
//! order:  one tile of tokens: row after row, as memory has them
//!         more tokens: block after block, so that a block of weights and of activations stays near while all
//!         tiles of a strip need them
//! ```
//!
//! The limit is two multiply-adds of 256 bits a cycle, or one of 512; a tile's loads take half of that time, and
//! joining lanes 45 instructions beside 256 multiply-adds.

#[cfg(target_arch = "x86_64")]
mod part;
#[cfg(target_arch = "x86_64")]
mod simd;

use super::{Input, Matrix, Output, reference};
use crate::gguf::Format;
use crate::lanes::by_isa;

/// All outputs of one strip of rows of floats.
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
    by_isa!(
        matrix.isa,
        strip(matrix, format, bytes, strip, input, output),
        // SAFETY: passed on from the caller.
        unsafe { reference::strip(matrix, format, bytes, strip, input, output) }
    );
}

#[cfg(test)]
mod tests {
    use crate::block;
    use crate::dot::reference::dot;
    use crate::gate::{Gate, gated};
    use crate::gguf::Format;
    use crate::isa::Isa;
    use crate::matmul::{Matrix, Rows, Source};

    /// Numbers whose sums depend on their order.
    fn numbers(count: usize) -> Vec<f32> {
        let number = |i: usize| (i * 7919 % 1013) as f32 / 37.0 - 13.0;
        (0..count).map(number).collect()
    }

    fn stored(format: Format, numbers: &[f32]) -> Vec<u8> {
        let bytes = |number: &f32| match format {
            Format::F32 => number.to_le_bytes().to_vec(),
            Format::F16 => half::f16::from_f32(*number).to_le_bytes().to_vec(),
            _ => half::bf16::from_f32(*number).to_le_bytes().to_vec(),
        };
        numbers.iter().flat_map(bytes).collect()
    }

    #[test]
    fn every_length_of_row_and_count_of_tokens_gives_the_bits_of_the_reference() {
        let rows = 33;
        for format in [Format::F32, Format::F16, Format::BF16] {
            for columns in [1, 15, 16, 40, 255, 256, 257, 768, 777] {
                let bytes = stored(format, &numbers(rows * columns));
                let mut weights = vec![0.0; rows * columns];
                block::unpack_row(format, &bytes, &mut weights);
                let source = Source {
                    name: "rows",
                    format,
                    rows,
                    columns,
                    bytes: &bytes,
                };
                for isa in Isa::available() {
                    let joined = Matrix::new(isa, Rows::Joined, &[source]).expect("finite");
                    let both = [source, source];
                    let pairs = Matrix::new(isa, Rows::Gated, &both).expect("finite");
                    for tokens in [1, 2, 3, 4, 5, 7, 8, 64, 65, 70] {
                        let x = numbers(tokens * columns);
                        let products = joined.multiply(tokens, &x);
                        let mut onto = vec![0.5; products.len()];
                        joined.multiply_onto(tokens, &x, &mut onto);
                        let products_gated = pairs.multiply_gated(tokens, &x, Gate::Gelu);
                        for (token, x) in x.chunks_exact(columns).enumerate() {
                            for (row, weights) in weights.chunks_exact(columns).enumerate() {
                                let at = token * joined.output_columns() + row;
                                let expected = dot(weights, x);
                                let which = || {
                                    format!(
                                        "{} {isa:?}: row {row} of {columns}, token {token} of {tokens}",
                                        format.name()
                                    )
                                };
                                let same = |found: f32, expected: f32, what: &str| {
                                    assert_eq!(
                                        found.to_bits(),
                                        expected.to_bits(),
                                        "{}{what}",
                                        which()
                                    );
                                };
                                same(products[at], expected, "");
                                same(onto[at], 0.5 + expected, ", added");
                                let at = token * pairs.output_columns() + row;
                                let expected = gated(Gate::Gelu, expected, expected);
                                same(products_gated[at], expected, ", gated");
                            }
                        }
                    }
                }
            }
        }
    }
}
