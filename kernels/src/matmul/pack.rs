//! How weights lie in memory once they are loaded.
//!
//! Rows are grouped in strips of 32, the last one of each source padded with rows of zeros. For the
//! reference a strip is its rows as the file has them. For SIMD a quantized strip is interleaved block by
//! block, as `matmul/layout.rs` says.
//!
//! Blocks of a strip follow each other, so a thread streams its strips from first byte to last. Float
//! formats keep their rows. In a gated matrix each strip has 16 rows of gates and then 16 of ups.

use std::sync::Arc;
use std::thread::ScopedJoinHandle;

use thiserror::Error;

use super::{Layout, Matrix, Section, by_form};
use crate::block::{self, BLOCK, Form};
use crate::gguf::Format;
use crate::isa::Isa;
use crate::memory::{OutOfMemory, Region};

/// Rows in a strip.
pub const STRIP: usize = 32;
/// Rows in a tile, half a strip.
pub(crate) const TILE: usize = STRIP / 2;

/// A matrix as the file has it.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// What errors call it.
    pub name: &'a str,
    /// How its elements are stored.
    pub format: Format,
    /// Count of rows, which is the length of an output.
    pub rows: usize,
    /// Length of a row, which is the length of an input.
    pub columns: usize,
    /// Row after row.
    pub bytes: &'a [u8],
}

/// How the rows of several sources become one matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// One source after the other, each padded to whole strips.
    Joined,
    /// Two sources: 16 rows of the first (gates), then 16 rows of the second (ups), and so on.
    Gated,
}

/// Why matrices cannot be packed. Nothing has been kept.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PackError {
    /// The machine has not enough memory.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
    /// A weight, or the scale or offset of a block of weights, is infinite or NaN.
    #[error("{source_name}: row {row} has a weight at {column} that is not a finite number")]
    NotFinite {
        /// The source's name.
        source_name: String,
        /// The row, from 0.
        row: usize,
        /// The element of the row, from 0; the first of the block if its scale or offset is at fault.
        column: usize,
    },
}

/// Matrices that will share one piece of memory.
pub(crate) struct Plan<'a> {
    space: Space,
    matrices: Vec<(Rows, Vec<Source<'a>>, Vec<Section>)>,
}

/// Where matrices go in a piece of memory, which is also how large it has to be.
pub(crate) struct Space {
    isa: Isa,
    bytes: usize,
}

/// One strip to pack: where its rows come from.
struct Job<'a> {
    format: Format,
    /// The rows of the strip, in order; None is padding.
    rows: [Option<Row<'a>>; STRIP],
    out: &'a mut [u8],
}

/// One stored row of a source.
#[derive(Clone, Copy)]
struct Row<'a> {
    source_name: &'a str,
    index: usize,
    bytes: &'a [u8],
}

impl Space {
    pub(crate) fn new(isa: Isa) -> Self {
        Self { isa, bytes: 0 }
    }

    /// Bytes of all matrices so far.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the place for a matrix whose sources have these formats and counts of rows.
    pub(crate) fn add(
        &mut self,
        rows: Rows,
        columns: usize,
        sources: &[(Format, usize)],
    ) -> Vec<Section> {
        let joined = |(format, rows): &(Format, usize)| (*format, rows.div_ceil(STRIP));
        let counts: Vec<(Format, usize)> = match (rows, sources) {
            (Rows::Joined, _) => sources.iter().map(joined).collect(),
            (Rows::Gated, [gate, up]) => {
                assert_eq!(gate, up, "gates and ups are alike");
                vec![(gate.0, gate.1.div_ceil(TILE))]
            }
            (Rows::Gated, _) => panic!("a gated matrix has two sources"),
        };
        let mut sections: Vec<Section> = Vec::new();
        for (format, strips) in counts {
            let strip_bytes = match interleaved(self.isa, format) {
                Some(form) => columns / format.block_elements() * Layout::of(form).bytes,
                None => format.row_bytes(columns).expect("a row is whole blocks") * STRIP,
            };
            let first = sections.last().map_or(0, |section| section.strips.end);
            let same = sections
                .last_mut()
                .filter(|section| section.format == format);
            if let Some(section) = same {
                section.strips.end += strips;
            } else {
                let strips = first..first + strips;
                sections.push(Section {
                    format,
                    strips,
                    offset: self.bytes,
                    strip_bytes,
                });
            }
            // Strips of every quantized format are whole cache lines; float rows may need padding.
            self.bytes += (strips * strip_bytes).next_multiple_of(64);
        }
        sections
    }
}

impl<'a> Plan<'a> {
    pub(crate) fn new(isa: Isa) -> Self {
        assert!(isa.is_available(), "this machine has no {}", isa.name());
        Self {
            space: Space::new(isa),
            matrices: Vec::new(),
        }
    }

    /// Adds a matrix and returns its index among those that `pack` will return.
    pub(crate) fn add(&mut self, rows: Rows, sources: &[Source<'a>]) -> usize {
        let columns = sources[0].columns;
        for source in sources {
            let row_bytes = source.format.row_bytes(columns);
            let row_bytes = row_bytes.expect("a row is whole blocks");
            assert_eq!(source.columns, columns, "sources share their input");
            assert_eq!(source.bytes.len(), source.rows * row_bytes);
        }
        let shapes: Vec<_> = sources.iter().map(|one| (one.format, one.rows)).collect();
        let sections = self.space.add(rows, columns, &shapes);
        self.matrices.push((rows, sources.to_vec(), sections));
        self.matrices.len() - 1
    }

    /// Packs all matrices, on so many threads. Every weight is looked at on the way.
    pub(crate) fn pack(self, threads: usize) -> Result<Vec<Matrix>, PackError> {
        let mut region = Region::new(self.space.bytes, "weights")?;
        let mut jobs = Vec::new();
        let mut rest = region.bytes_mut();
        for (rows, sources, sections) in &self.matrices {
            let mut strip_rows = strips_of(*rows, sources).into_iter();
            for section in sections {
                let bytes = section.strips.len() * section.strip_bytes;
                let (mine, others) = rest.split_at_mut(bytes.next_multiple_of(64));
                rest = others;
                for out in mine[..bytes].chunks_exact_mut(section.strip_bytes) {
                    let rows = strip_rows.next().expect("as many strips as were counted");
                    let format = section.format;
                    jobs.push(Job { format, rows, out });
                }
            }
        }
        let isa = self.space.isa;
        let share = self.space.bytes.div_ceil(threads.max(1)).max(1);
        // The first fault in the order of the jobs, however many threads there are.
        std::thread::scope(|scope| {
            let work = |jobs: &mut [Job<'_>]| jobs.iter_mut().try_for_each(|job| job.run(isa));
            let threads: Vec<_> = shares(&mut jobs, share)
                .map(|jobs| scope.spawn(move || work(jobs)))
                .collect();
            let join = |thread: ScopedJoinHandle<'_, _>| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            let results: Vec<Result<(), PackError>> = threads.into_iter().map(join).collect();
            results.into_iter().collect::<Result<(), PackError>>()
        })?;
        let memory = Arc::new(region);
        let matrix = |(rows, sources, sections): (Rows, Vec<Source<'_>>, Vec<Section>)| Matrix {
            isa,
            columns: sources[0].columns,
            sections,
            memory: Arc::clone(&memory),
            source_rows: sources.iter().map(|source| source.rows).collect(),
            rows,
        };
        Ok(self.matrices.into_iter().map(matrix).collect())
    }
}

/// Neighbouring jobs of about so many bytes: cut by their count, one thread would pack a whole embedding, and that
/// is most of a small model.
fn shares<'j, 'a>(
    jobs: &'j mut [Job<'a>],
    bytes: usize,
) -> impl Iterator<Item = &'j mut [Job<'a>]> {
    let mut done = 0;
    jobs.chunk_by_mut(move |job, _| {
        let before = done;
        done += job.out.len();
        before / bytes == done / bytes
    })
}

/// The stored rows that make up each strip.
fn strips_of<'a>(rows: Rows, sources: &[Source<'a>]) -> Vec<[Option<Row<'a>>; STRIP]> {
    let row = |source: &Source<'a>, index: usize| -> Option<Row<'a>> {
        let length = source.bytes.len() / source.rows.max(1);
        let bytes = source.bytes.get(index * length..(index + 1) * length);
        bytes.filter(|_| index < source.rows).map(|bytes| Row {
            source_name: source.name,
            index,
            bytes,
        })
    };
    match rows {
        Rows::Joined => sources
            .iter()
            .flat_map(|source| (0..source.rows.div_ceil(STRIP)).map(move |strip| (source, strip)))
            .map(|(source, strip)| std::array::from_fn(|i| row(source, strip * STRIP + i)))
            .collect(),
        Rows::Gated => (0..sources[0].rows.div_ceil(TILE))
            .map(|strip| std::array::from_fn(|i| row(&sources[i / TILE], strip * TILE + i % TILE)))
            .collect(),
    }
}

impl Job<'_> {
    fn run(&mut self, isa: Isa) -> Result<(), PackError> {
        for row in self.rows.iter().flatten() {
            if let Some(column) = block::not_finite(self.format, row.bytes) {
                return Err(PackError::NotFinite {
                    source_name: row.source_name.to_owned(),
                    row: row.index,
                    column,
                });
            }
        }
        if !is_interleaved(isa, self.format) {
            let row_bytes = self.out.len() / STRIP;
            for (out, row) in self.out.chunks_exact_mut(row_bytes).zip(&self.rows) {
                if let Some(row) = row {
                    out.copy_from_slice(row.bytes);
                }
            }
            return Ok(());
        }
        by_form!(self.format, interleave(self));
        Ok(())
    }
}

/// Writes the rows of a strip side by side.
fn interleave<const BITS: usize, const OFFSET: bool, const FINE: bool>(job: &mut Job<'_>) {
    let form = Form {
        bits: BITS,
        offset: OFFSET,
        fine: FINE,
    };
    let layout = Layout::of(form);
    for (row, stored) in job.rows.iter().enumerate() {
        // Codes of padding stay as the zeros they are: their scales are zero as well.
        let Some(Row { bytes, .. }) = stored else {
            continue;
        };
        let stored = bytes.chunks_exact(job.format.block_bytes());
        let blocks = job.out.chunks_exact_mut(layout.bytes);
        for (out, stored) in blocks.zip(stored) {
            for index in 0..form.together() {
                layout.write(out, index, row, &block::parts(form, stored, index));
            }
        }
    }
}

/// Whether rows of this format are interleaved for this instruction set.
pub(crate) fn is_interleaved(isa: Isa, format: Format) -> bool {
    interleaved(isa, format).is_some()
}

fn interleaved(isa: Isa, format: Format) -> Option<Form> {
    Form::of(format).filter(|_| isa != Isa::Reference)
}

/// Unpacks one row of a strip to floats.
pub(crate) fn unpack_row(isa: Isa, format: Format, strip: &[u8], row: usize, out: &mut [f32]) {
    let Some(form) = interleaved(isa, format) else {
        let row_bytes = strip.len() / STRIP;
        block::unpack_row(format, &strip[row * row_bytes..][..row_bytes], out);
        return;
    };
    let layout = Layout::of(form);
    let together = form.together();
    let all = strip.chunks_exact(layout.bytes);
    for (out, stored) in out.chunks_exact_mut(together * BLOCK).zip(all) {
        for (index, out) in out.chunks_exact_mut(BLOCK).enumerate() {
            layout.read(stored, index, row).block(form).unpack(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back_from_every_layout_as_it_was_stored() {
        for format in block::SUPPORTED {
            let (rows, columns) = (40, 2 * format.block_elements().max(BLOCK));
            let row_bytes = format.row_bytes(columns).expect("whole blocks");
            let bytes: Vec<u8> = (0..rows * row_bytes).map(|i| (i * 7 % 120) as u8).collect();
            let source = Source {
                name: "rows",
                format,
                rows,
                columns,
                bytes: &bytes,
            };
            for isa in Isa::available() {
                let matrix = Matrix::new(isa, Rows::Joined, &[source]).expect("finite weights");
                for row in 0..rows {
                    let (mut expected, mut found) = (vec![0.0; columns], vec![0.0; columns]);
                    let stored = &bytes[row * row_bytes..][..row_bytes];
                    block::unpack_row(format, stored, &mut expected);
                    matrix.row(row, &mut found);
                    assert_eq!(found, expected, "{} row {row} {isa:?}", format.name());
                }
            }
        }
    }
}
