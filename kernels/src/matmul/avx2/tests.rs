//! Every way to make products, against the reference.

use super::products::{ByFours, ByFoursOfAvx512, ByPairs, Products};
use super::strip;
use crate::block::{Form, SUPPORTED};
use crate::gate::Gate;
use crate::gguf::Format;
use crate::isa::Isa;
use crate::matmul::{Finish, Input, Matrix, Output, Rows, Source};
use crate::memory::Shared;
use crate::quantize::Quantized;

const ROWS: usize = 40;
const COLUMNS: usize = 768;

/// Codes of every value, between numbers that are finite.
fn stored(format: Format, form: Form) -> Vec<u8> {
    let count = ROWS * format.row_bytes(COLUMNS).expect("whole blocks");
    let mut bytes: Vec<u8> = (0..count as u32)
        .map(|i| (i.wrapping_mul(0x9e37_79b1) >> 24) as u8)
        .collect();
    let halves = match format {
        Format::Q6_K => 208..210,
        _ => 0..2 * form.halves(),
    };
    for (index, block) in bytes.chunks_exact_mut(format.block_bytes()).enumerate() {
        for (number, half) in block[halves.clone()].chunks_exact_mut(2).enumerate() {
            let value = (index % 17 + 3 * number) as f32 / 64.0 - 0.11;
            half.copy_from_slice(&half::f16::from_f32(value).to_le_bytes());
        }
        if format == Format::Q8_0 && index % 3 == 0 {
            block[2..].fill(0x80);
        }
    }
    bytes
}

/// Activations: for the first tokens all as large as they can be, then some of every size.
fn activations(tokens: usize) -> Vec<f32> {
    let number = |i: usize| match i / COLUMNS {
        0 => 1.0,
        1 => -1.0,
        _ => (i * 7919 % 1013) as f32 / 37.0 - 13.0,
    };
    (0..tokens * COLUMNS).map(number).collect()
}

/// What `multiply` returns, with this way to make products whatever the matrix was packed for.
fn multiply<P: Products>(matrix: &Matrix, input: Input<'_>, finish: Finish) -> Vec<f32> {
    let stride = matrix.output_columns();
    let mut out = vec![0.5; input.tokens * stride];
    let values = Shared::new(&mut out);
    let output = Output {
        values: &values,
        first: 0,
        stride,
        finish,
    };
    for section in &matrix.sections {
        for index in section.strips.clone() {
            let bytes = matrix.strip_bytes(section, index);
            // SAFETY: the machine has what `P` needs, as the test has asked; this thread alone has the output.
            unsafe { strip::<P>(section.format, bytes, index, input, output) };
        }
    }
    out
}

type Multiply = fn(&Matrix, Input<'_>, Finish) -> Vec<f32>;

/// The ways to make products that this machine has.
fn ways() -> Vec<(&'static str, Multiply)> {
    let mut ways: Vec<(&str, Multiply)> = Vec::new();
    if Isa::Avx2.is_available() {
        ways.push(("pairs", multiply::<ByPairs>));
    }
    if Isa::AvxVnni.is_available() {
        ways.push(("fours", multiply::<ByFours>));
    }
    if Isa::Avx512.is_available() {
        ways.push(("fours of AVX-512", multiply::<ByFoursOfAvx512>));
    }
    ways
}

#[test]
fn every_way_to_multiply_gives_the_bits_of_the_reference_in_every_form() {
    for (name, multiply) in ways() {
        println!("products by {name}");
        for format in SUPPORTED {
            let Some(form) = Form::of(format) else {
                continue;
            };
            let bytes = stored(format, form);
            let source = Source {
                name: "rows",
                format,
                rows: ROWS,
                columns: COLUMNS,
                bytes: &bytes,
            };
            let finishes = [
                (Rows::Joined, Finish::Store),
                (Rows::Joined, Finish::Add),
                (Rows::Gated, Finish::Gate(Gate::Silu)),
            ];
            for (rows, finish) in finishes {
                let sources = match rows {
                    Rows::Joined => vec![source],
                    Rows::Gated => vec![source, source],
                };
                let matrix = |isa| Matrix::new(isa, rows, &sources).expect("finite weights");
                let (by_definition, packed) = (matrix(Isa::Reference), matrix(Isa::Avx2));
                for tokens in 1..=9 {
                    let x = activations(tokens);
                    let quantized =
                        Quantized::new(Isa::Reference, COLUMNS, &x).expect("finite numbers");
                    let input = Input {
                        tokens,
                        floats: &x,
                        quantized: quantized.view(),
                    };
                    let mut expected = vec![0.5; tokens * by_definition.output_columns()];
                    by_definition.multiply_alone(tokens, &x, finish, &mut expected);
                    let found = multiply(&packed, input, finish);
                    assert_eq!(found.len(), expected.len());
                    for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
                        let (token, row) =
                            (at / packed.output_columns(), at % packed.output_columns());
                        assert_eq!(
                            found.to_bits(),
                            expected.to_bits(),
                            "{} by {name}, {finish:?}: row {row}, token {token} of {tokens}: {found} for {expected}",
                            format.name()
                        );
                    }
                }
            }
        }
    }
}
