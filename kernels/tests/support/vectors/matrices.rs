//! Rules 2, 3, 6 and 8: products of matrices in every format, what becomes of them, and rows unpacked.

#![allow(dead_code, unreachable_pub, reason = "a module of test binaries")]

use half::f16;
use troop_kernels::gate::Gate;
use troop_kernels::gguf::Format;
use troop_kernels::isa::Isa;
use troop_kernels::matmul::{Matrix, Rows, Source};

use super::file::{Array, Case};
use super::values::{Dice, FIRST, LATER, numbers, weights};

fn case(name: &str, format: Format, rows: usize, columns: usize) -> Case {
    let name = format!("{} {name}", format.name());
    let case = Case::new(name).with("format", &[format.id()]);
    case.with("rows", &[rows as u32])
        .with("columns", &[columns as u32])
}

fn source<'a>(case: &Case, name: &'a str, bytes: &'a [u8]) -> Source<'a> {
    let format = Format::from_id(case.one("format")).expect("a known format");
    Source {
        name,
        format,
        rows: case.count("rows"),
        columns: case.count("columns"),
        bytes,
    }
}

/// The dice of a format that came after the first ones.
fn dice(file: u64, format: Format) -> Dice {
    Dice(file << 8 | u64::from(format.id()))
}

pub fn embed_cases() -> Vec<Case> {
    let rows = |dice: &mut Dice, format: Format| {
        let columns = 2 * format.block_elements().max(32);
        let bytes = weights(dice, format, 2, columns);
        case("rows", format, 2, columns).with("weights", &bytes)
    };
    let first = &mut Dice(10);
    let mut cases: Vec<Case> = FIRST.map(|format| rows(first, format)).into();
    cases.extend([Format::Q4_1, Format::Q8_0].map(|format| embed_edges(first, format)));
    for format in LATER {
        let mut dice = dice(10, format);
        cases.extend([rows(&mut dice, format), embed_edges(&mut dice, format)]);
    }
    cases
}

/// Scales and offsets at the edges of f16: largest, smallest, zero with a sign.
fn embed_edges(dice: &mut Dice, format: Format) -> Case {
    let halves = [0x7bff, 0x0001, 0x8000, 0xfbff, 0x03ff, 0x8001];
    let mut bytes = dice.bytes(6 * format.block_bytes());
    for (index, block) in bytes.chunks_exact_mut(format.block_bytes()).enumerate() {
        for (at, half) in numbers(format)
            .iter()
            .zip([halves[index], halves[5 - index]])
        {
            block[*at..at + 2].copy_from_slice(&f16::from_bits(half).to_le_bytes());
        }
    }
    let columns = 2 * format.block_elements();
    case("scales at the edges", format, 3, columns).with("weights", &bytes)
}

pub fn embed(isa: Isa, case: &Case) -> Vec<Array> {
    let bytes: Vec<u8> = case.all("weights");
    let matrix =
        Matrix::new(isa, Rows::Joined, &[source(case, "embedding", &bytes)]).expect("finite");
    let mut out = vec![0.0f32; case.count("rows") * case.count("columns")];
    for (row, out) in out.chunks_exact_mut(case.count("columns")).enumerate() {
        matrix.row(row, out);
    }
    vec![Array::of("rows_unpacked", &out)]
}

pub fn matmul_cases() -> Vec<Case> {
    let first = &mut Dice(11);
    let mut cases: Vec<Case> = FIRST
        .into_iter()
        .flat_map(|format| of_sizes(first, format))
        .collect();
    for format in [Format::Q4_1, Format::Q8_0] {
        cases.extend(quantized_edges(first, format));
    }
    let bytes = weights(first, Format::Q4_1, 5, 64);
    let (x, onto) = (first.usual(192), first.usual(15));
    let added = case("added to a residual", Format::Q4_1, 5, 64).with("weights", &bytes);
    cases.push(
        added
            .with("tokens", &[3u32])
            .with("x", &x)
            .with("onto", &onto),
    );
    for format in LATER {
        let mut dice = dice(11, format);
        cases.extend(of_sizes(&mut dice, format));
        cases.extend(quantized_edges(&mut dice, format));
    }
    cases
}

/// One row; rows beyond a strip; more tokens than a path takes at once; rows beyond a block of 256.
fn of_sizes(dice: &mut Dice, format: Format) -> Vec<Case> {
    let sizes: &[(usize, usize, usize)] = match format.block_elements() {
        1 => &[(1, 32, 1), (33, 17, 2), (2, 300, 1), (2, 1, 7)],
        256 => &[(1, 256, 1), (33, 256, 2), (2, 512, 7)],
        _ => &[(1, 32, 1), (33, 32, 2), (15, 32, 13), (2, 320, 2)],
    };
    let mut case = |(rows, columns, tokens): (usize, usize, usize)| {
        let name = format!("{rows} x {columns}, {tokens} tokens");
        let bytes = weights(dice, format, rows, columns);
        let x = dice.usual(tokens * columns);
        let case = case(&name, format, rows, columns).with("weights", &bytes);
        case.with("tokens", &[tokens as u32]).with("x", &x)
    };
    sizes.iter().map(|size| case(*size)).collect()
}

/// Integers, scales and activations at their ends.
fn quantized_edges(dice: &mut Dice, format: Format) -> Vec<Case> {
    let row = |d: u16, m: u16, integers: u8| {
        let mut block = vec![integers; format.block_bytes()];
        for (at, half) in numbers(format).iter().zip([d, m]) {
            block[*at..at + 2].copy_from_slice(&half.to_le_bytes());
        }
        // Fine numbers as large as they come, of the integers' sign where they have one.
        match format {
            Format::Q4_K | Format::Q5_K => block[4..16].fill(0xff),
            Format::Q6_K => block[192..208].fill(if integers == 0 { 0x80 } else { 0x7f }),
            _ => {}
        }
        block
    };
    // The integers nearest to either end of their range, and some above zero.
    let (lowest, highest, above) = match format {
        Format::Q8_0 => (0x80, 0x7f, 0x11),
        Format::Q4_1 => (0x00, 0xff, 0x11),
        _ => (0x00, 0xff, 0xff),
    };
    let edges = [
        row(0x7bff, 0xfbff, highest),
        row(0x7bff, 0x7bff, lowest),
        row(0x0001, 0x8001, highest),
        row(0x8000, 0x0000, lowest),
        row(0xbc00, 0x3c00, 0x19),
    ];
    let inputs: Vec<(&str, Vec<f32>)> = vec![
        ("all equal activations", vec![0.7; 32]),
        (
            "activations of zero",
            [vec![0.0; 16], vec![-0.0; 16]].concat(),
        ),
        ("small activations", vec![1e-25; 32]),
        (
            "large activations",
            (0..32)
                .map(|i| if i % 2 == 0 { 1e30 } else { -9e29 })
                .collect(),
        ),
        (
            "one group of zeros",
            [vec![0.0; 16], dice.usual(16)].concat(),
        ),
    ];
    let with = |name: &str, rows: &[Vec<u8>], x: &[f32]| {
        let name = format!("ends of the integers, {name}");
        let columns = format.block_elements();
        let case = case(&name, format, rows.len(), columns).with("weights", &rows.concat());
        case.with("tokens", &[1u32])
            .with("x", &x.repeat(columns / x.len()))
    };
    let mut cases: Vec<Case> = inputs
        .iter()
        .map(|(name, x)| with(name, &edges, x))
        .collect();
    // Nothing of the other sign, for infinity less infinity has no defined bits.
    let offset = match format {
        Format::Q4_K | Format::Q5_K => 0xfbff,
        _ => 0x7bff,
    };
    let positive = [row(0x7bff, offset, above)];
    cases.push(with("a product beyond the largest", &positive, &[3e38; 32]));
    cases
}

pub fn matmul(isa: Isa, case: &Case) -> Vec<Array> {
    let bytes: Vec<u8> = case.all("weights");
    let matrix =
        Matrix::new(isa, Rows::Joined, &[source(case, "weights", &bytes)]).expect("finite");
    let (rows, tokens) = (case.count("rows"), case.count("tokens"));
    let (x, stride) = (case.all::<f32>("x"), matrix.output_columns());
    let y = match case.inputs.iter().any(|array| array.name == "onto") {
        false => matrix.multiply(tokens, &x),
        true => {
            let mut y = vec![0.0; tokens * stride];
            let onto: Vec<f32> = case.all("onto");
            for (y, onto) in y.chunks_exact_mut(stride).zip(onto.chunks_exact(rows)) {
                y[..rows].copy_from_slice(onto);
            }
            matrix.multiply_onto(tokens, &x, &mut y);
            y
        }
    };
    vec![Array::of("y", &without_padding(&y, stride, rows))]
}

fn without_padding(y: &[f32], stride: usize, rows: usize) -> Vec<f32> {
    y.chunks_exact(stride)
        .flat_map(|y| &y[..rows])
        .copied()
        .collect()
}

pub fn gate_cases() -> Vec<Case> {
    let first = &mut Dice(12);
    let mut cases: Vec<Case> = FIRST.map(|format| gated(first, format)).into();
    // A weight of 1 in the first column makes each token's first activation its gate, so every path walks
    // its own exp from end to end.
    let one = |scale: f32| {
        let mut block = f16::from_f32(scale).to_le_bytes().to_vec();
        block.resize(Format::Q8_0.block_bytes(), 0);
        block[2] = 1;
        block
    };
    let ends = [
        -3e38, -1e4, -88.5, -88.37, -87.4, -87.3, -87.2, -20.0, -0.0, 1e-3, 17.0, 87.3, 88.4,
        100.0, 1e30,
    ];
    let x: Vec<f32> = ends
        .iter()
        .flat_map(|end| [vec![*end], vec![0.0; 31]].concat())
        .collect();
    let case = case("over the ends of exp", Format::Q8_0, 1, 32)
        .with("gate", &one(1.0))
        .with("up", &one(0.25));
    let case = case.with("tokens", &[ends.len() as u32]).with("x", &x);
    cases.push(case.clone());
    cases.extend(LATER.map(|format| gated(&mut dice(12, format), format)));
    let gelu = |case: Case, name: &str| Case {
        name: name.to_owned(),
        ..case.with("gelu", &[1u8])
    };
    cases.push(gelu(case, "GELU over the ends of exp"));
    let usual = gated(&mut Dice(13), Format::Q8_0);
    cases.push(gelu(usual, "GELU, 17 x 32, 3 tokens"));
    cases
}

fn gated(dice: &mut Dice, format: Format) -> Case {
    let (rows, columns, tokens) = (17, format.block_elements().max(32), 3);
    let (gate, up) = (
        weights(dice, format, rows, columns),
        weights(dice, format, rows, columns),
    );
    let case = case(&format!("17 x {columns}, 3 tokens"), format, rows, columns)
        .with("gate", &gate)
        .with("up", &up);
    case.with("tokens", &[tokens as u32])
        .with("x", &dice.usual(tokens * columns))
}

pub fn gate(isa: Isa, case: &Case) -> Vec<Array> {
    let (gate, up): (Vec<u8>, Vec<u8>) = (case.all("gate"), case.all("up"));
    let sources = [source(case, "gate", &gate), source(case, "up", &up)];
    let matrix = Matrix::new(isa, Rows::Gated, &sources).expect("finite");
    let gate = match case.inputs.iter().any(|array| array.name == "gelu") {
        true => Gate::Gelu,
        false => Gate::Silu,
    };
    let y = matrix.multiply_gated(case.count("tokens"), &case.all::<f32>("x"), gate);
    vec![Array::of(
        "gated",
        &without_padding(&y, matrix.output_columns(), case.count("rows")),
    )]
}
