//! A matrix of weights times rows of activations. docs/arithmetic.md, rules 2 and 3.
//!
//! ```text
//! quantized:  for each block in order   t   = fma(f32(isum 1), dx 1, f32(isum 0) * dx 0)
//!                                       acc = fma(t, dw, acc)
//!             a scale for each half     acc = fma(f32(isum h) * dx h, dw h, acc), h = 0, then 1
//!             with an offset also       acc = fma(mass, mw, acc)
//! float:      the dot product of rule 3, over the activations as they are
//! ```
//!
//! `isum 0` and `isum 1` are the sums of integers of the block's two groups of activations, exact in any
//! order, and `mass` is the sum of the activations themselves; the one float chain per output goes in
//! block order. So rows may lie in SIMD lanes, tokens in registers, and rows on threads, and the result
//! is the same. `matmul/pack.rs` says how weights lie in memory.
//!
//! What happens to an output is part of the operation, because it is still in a register then: it is
//! stored, added to a residual, or multiplied into the gated activation.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod finish;
mod floats;
mod layout;
pub(crate) mod pack;
pub mod reference;

use std::ops::Range;
use std::sync::Arc;

use crate::block;
use crate::gate::Gate;
use crate::gguf::Format;
use crate::isa::Isa;
use crate::memory::{Region, Shared};
use crate::quantize::{GROUP, Quantized, View};

#[cfg(target_arch = "x86_64")]
use avx2::{ByFours, ByPairs};
use layout::Layout;
pub use pack::{PackError, Rows, STRIP, Source};

/// Calls a function that is compiled for every form of blocks.
macro_rules! by_form {
    ($format:expr, $(<$kind:ident>::)? $function:ident $(::<$tokens:ident>)? ($($argument:expr),*)) => {
        match $format {
            Format::Q4_0 => $(<$kind>::)? $function::<$($tokens,)? 4, false, false>($($argument),*),
            Format::Q4_1 => $(<$kind>::)? $function::<$($tokens,)? 4, true, false>($($argument),*),
            Format::Q5_0 => $(<$kind>::)? $function::<$($tokens,)? 5, false, false>($($argument),*),
            Format::Q5_1 => $(<$kind>::)? $function::<$($tokens,)? 5, true, false>($($argument),*),
            Format::Q8_0 => $(<$kind>::)? $function::<$($tokens,)? 8, false, false>($($argument),*),
            Format::Q4_K => $(<$kind>::)? $function::<$($tokens,)? 4, true, true>($($argument),*),
            Format::Q5_K => $(<$kind>::)? $function::<$($tokens,)? 5, true, true>($($argument),*),
            Format::Q6_K => $(<$kind>::)? $function::<$($tokens,)? 6, false, true>($($argument),*),
            other => unreachable!("{} is not interleaved", other.name()),
        }
    };
}
use by_form;

/// How far ahead of its use a weight is fetched to the second-level cache, in bytes, where so many tokens are
/// multiplied at once. The strips of a thread follow each other, so this runs into the next one.
///
/// The more there is to compute on each byte, the earlier the processor stops looking ahead by itself. For one
/// token it hardly matters (Q8_0 on two threads: 25 to 29 GB/s); for 8 tokens times 96 MiB of weights, Q8_0 takes
/// 5.9 ms instead of 14.5 and Q4_1 9.3 instead of 14.2, with AVX-512.
#[cfg(target_arch = "x86_64")]
const fn ahead(tokens: usize) -> usize {
    match tokens {
        1 => 1536,
        _ => 12 * 1024,
    }
}

/// Weights ready to multiply: one or more stored matrices over the same input, in strips of 32 rows.
#[derive(Clone, Debug)]
pub struct Matrix {
    pub(crate) isa: Isa,
    pub(crate) columns: usize,
    pub(crate) sections: Vec<Section>,
    pub(crate) memory: Arc<Region>,
    /// Rows that belong to each source, without padding.
    pub(crate) source_rows: Vec<usize>,
    pub(crate) rows: Rows,
}

/// A run of strips of one format.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) format: Format,
    pub(crate) strips: Range<usize>,
    /// Where the first strip's bytes are.
    pub(crate) offset: usize,
    /// Bytes of one strip.
    pub(crate) strip_bytes: usize,
}

/// The rows to multiply: one per token.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) tokens: usize,
    pub(crate) floats: &'a [f32],
    pub(crate) quantized: View<'a>,
}

/// What becomes of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// Stored.
    Store,
    /// Added to what is there.
    Add,
    /// The first 16 rows of a strip are gates, the others ups; the 16 products are stored.
    Gate(Gate),
}

/// Where results go: token `t`'s row begins at `first + t * stride`.
#[derive(Clone, Copy)]
pub(crate) struct Output<'a> {
    pub(crate) values: &'a Shared<'a, f32>,
    pub(crate) first: usize,
    pub(crate) stride: usize,
    pub(crate) finish: Finish,
}

impl Output<'_> {
    /// Outputs of a strip.
    pub(crate) fn width(&self) -> usize {
        match self.finish {
            Finish::Gate(_) => pack::TILE,
            _ => STRIP,
        }
    }

    /// Where the outputs of a strip go, for one token.
    pub(crate) fn at(&self, token: usize, strip: usize) -> Range<usize> {
        let at = self.first + token * self.stride + strip * self.width();
        at..at + self.width()
    }
}

impl Matrix {
    /// Packs stored matrices for an instruction set. Sources must agree in length of row.
    pub fn new(isa: Isa, rows: Rows, sources: &[Source<'_>]) -> Result<Self, PackError> {
        let mut plan = pack::Plan::new(isa);
        let index = plan.add(rows, sources);
        Ok(plan.pack(1)?.swap_remove(index))
    }

    /// Length of a row of weights, and of an input.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Count of strips, the unit in which work is divided.
    pub fn strips(&self) -> usize {
        self.sections.last().map_or(0, |section| section.strips.end)
    }

    /// Length of an output, padding included.
    pub fn output_columns(&self) -> usize {
        match self.rows {
            Rows::Joined => self.strips() * STRIP,
            Rows::Gated => self.strips() * STRIP / 2,
        }
    }

    /// Where each source's outputs begin.
    pub fn output_offsets(&self) -> Vec<usize> {
        let mut offsets = Vec::new();
        let mut next = 0;
        for rows in &self.source_rows {
            offsets.push(next);
            next += rows.next_multiple_of(STRIP);
        }
        offsets
    }

    /// Whether any part of it wants its input quantized.
    pub fn is_quantized(&self) -> bool {
        self.sections
            .iter()
            .any(|section| block::is_quantized(section.format))
    }

    /// Bytes of weights that one multiplication reads.
    pub fn weight_bytes(&self) -> usize {
        self.sections
            .iter()
            .map(|section| section.strips.len() * section.strip_bytes)
            .sum()
    }

    /// Unpacks one row of a matrix that has a single source.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        assert!(self.rows == Rows::Joined && row < self.source_rows[0]);
        assert_eq!(out.len(), self.columns);
        let section = &self.sections[0];
        let strip = self.strip_bytes(section, row / STRIP);
        pack::unpack_row(self.isa, section.format, strip, row % STRIP, out);
    }

    /// All products of the matrix with rows of activations, for tests and benches.
    pub fn multiply(&self, tokens: usize, x: &[f32]) -> Vec<f32> {
        self.multiply_gated(tokens, x, Gate::Silu)
    }

    /// The same with gates of this kind, where the rows are gates and ups.
    pub fn multiply_gated(&self, tokens: usize, x: &[f32], gate: Gate) -> Vec<f32> {
        let mut out = vec![0.0; tokens * self.output_columns()];
        let finish = match self.rows {
            Rows::Joined => Finish::Store,
            Rows::Gated => Finish::Gate(gate),
        };
        self.multiply_alone(tokens, x, finish, &mut out);
        out
    }

    /// Adds all products to what is there, as to a residual; for tests and benches.
    pub fn multiply_onto(&self, tokens: usize, x: &[f32], out: &mut [f32]) {
        assert_eq!(self.rows, Rows::Joined, "gated products are stored");
        self.multiply_alone(tokens, x, Finish::Add, out);
    }

    fn multiply_alone(&self, tokens: usize, x: &[f32], finish: Finish, out: &mut [f32]) {
        let quantized = match self.is_quantized() {
            true => Quantized::new(self.isa, self.columns, x).expect("the activations are finite"),
            false => Quantized::default(),
        };
        self.multiply_prepared(tokens, x, &quantized, finish, out);
    }

    /// What `multiply` does, of rows that are quantized already where that is wanted: what a bench times.
    pub fn multiply_into(&self, tokens: usize, x: &[f32], quantized: &Quantized, out: &mut [f32]) {
        assert_eq!(self.rows, Rows::Joined, "gated products are not stored");
        self.multiply_prepared(tokens, x, quantized, Finish::Store, out);
    }

    fn multiply_prepared(
        &self,
        tokens: usize,
        x: &[f32],
        quantized: &Quantized,
        finish: Finish,
        out: &mut [f32],
    ) {
        assert_eq!(x.len(), tokens * self.columns);
        let input = Input {
            tokens,
            floats: x,
            quantized: quantized.view(),
        };
        let stride = self.output_columns();
        assert_eq!(out.len(), tokens * stride);
        let values = Shared::new(out);
        let output = Output {
            values: &values,
            first: 0,
            stride,
            finish,
        };
        // SAFETY: this thread alone has the output.
        unsafe { multiply(self, 0..self.strips(), input, output) };
    }

    pub(crate) fn strip_bytes(&self, section: &Section, strip: usize) -> &[u8] {
        let at = section.offset + (strip - section.strips.start) * section.strip_bytes;
        &self.memory.bytes()[at..at + section.strip_bytes]
    }
}

/// Multiplies the strips of a range with all rows of the input.
///
/// # Safety
/// No other thread touches the outputs of these strips until the next barrier.
pub(crate) unsafe fn multiply(
    matrix: &Matrix,
    strips: Range<usize>,
    input: Input<'_>,
    output: Output<'_>,
) {
    assert!(input.floats.len() >= input.tokens * matrix.columns);
    if matrix.is_quantized() {
        let view = input.quantized;
        assert_eq!(view.columns, matrix.columns);
        let groups = input.tokens * matrix.columns / GROUP;
        assert!(view.q.len() >= groups * GROUP);
        assert!(view.scale.len() >= groups && view.sum.len() >= groups);
        assert!(view.mass.len() >= groups / 2);
    }
    for section in &matrix.sections {
        let start = strips.start.max(section.strips.start);
        let end = strips.end.min(section.strips.end);
        for strip in start..end {
            let bytes = matrix.strip_bytes(section, strip);
            // SAFETY: passed on from the caller; packing has asserted the instruction set.
            unsafe {
                let format = section.format;
                if pack::is_interleaved(matrix.isa, format) {
                    interleaved(matrix.isa, format, bytes, strip, input, output);
                } else if block::is_quantized(format) {
                    reference::strip(matrix, format, bytes, strip, input, output);
                } else {
                    floats::strip(matrix, format, bytes, strip, input, output);
                }
            }
        }
    }
}

/// # Safety
/// As for `multiply`, and the machine has the instruction set.
#[cfg(target_arch = "x86_64")]
unsafe fn interleaved(
    isa: Isa,
    format: Format,
    bytes: &[u8],
    strip: usize,
    input: Input<'_>,
    output: Output<'_>,
) {
    // SAFETY: passed on from the caller.
    unsafe {
        match isa {
            Isa::Reference => unreachable!("the reference keeps rows"),
            Isa::Avx2 => avx2::strip::<ByPairs>(format, bytes, strip, input, output),
            Isa::AvxVnni => avx2::strip::<ByFours>(format, bytes, strip, input, output),
            Isa::Avx512 => avx512::strip(format, bytes, strip, input, output),
        }
    }
}

/// # Safety
/// Never called: only the reference is available, and it keeps rows.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn interleaved(_: Isa, _: Format, _: &[u8], _: usize, _: Input<'_>, _: Output<'_>) {
    unreachable!("the reference keeps rows")
}
