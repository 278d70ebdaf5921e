//! A tensor that was found where the architecture has it, and the ways to read it.

use super::super::LoadError;
use super::super::load_error::number;
use crate::block;
use crate::gguf::{Format, TensorInfo};
use crate::matmul::Source;

/// Some rows of a tensor: all of a matrix, a vector as its one row, or a matrix among those that share a tensor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored<'a> {
    pub(crate) tensor: &'a TensorInfo,
    pub(crate) first: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl<'a> Stored<'a> {
    pub(crate) fn format(&self) -> Format {
        self.tensor.format
    }

    /// So many of its rows, from the `first` on.
    pub(crate) fn part(&self, first: usize, rows: usize) -> Self {
        assert!(first + rows <= self.rows, "a part of it");
        Self {
            first: self.first + first,
            rows,
            ..*self
        }
    }

    /// It, with its bytes.
    pub(crate) fn source(&self, file: &'a [u8]) -> Source<'a> {
        Source {
            name: &self.tensor.name,
            format: self.tensor.format,
            rows: self.rows,
            columns: self.columns,
            bytes: self.bytes(file),
        }
    }

    /// Its numbers, row after row, of a tensor of floats. Each is finite.
    pub(crate) fn floats(&self, file: &[u8]) -> Result<Vec<f32>, LoadError> {
        let values = self.unpacked(file);
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(at) => Err(self.number(at, values[at], "a finite number")),
        }
    }

    /// The same of numbers that something is divided by.
    pub(crate) fn divisors(&self, file: &[u8]) -> Result<Vec<f32>, LoadError> {
        let values = self.floats(file)?;
        match values.iter().position(|value| *value <= 0.0) {
            None => Ok(values),
            Some(at) => Err(self.number(at, values[at], "above 0")),
        }
    }

    /// Its numbers as they are.
    pub(crate) fn unpacked(&self, file: &[u8]) -> Vec<f32> {
        let mut values = vec![0.0; self.rows * self.columns];
        block::unpack_row(self.format(), self.bytes(file), &mut values);
        values
    }

    fn bytes<'b>(&self, file: &'b [u8]) -> &'b [u8] {
        let row_bytes = self.format().row_bytes(self.columns);
        let row_bytes =
            row_bytes.expect("rows are whole blocks, which was checked when it was found");
        let start = self.tensor.range.start + self.first * row_bytes;
        &file[start..start + self.rows * row_bytes]
    }

    fn number(&self, at: usize, value: f32, expected: &'static str) -> LoadError {
        number(&self.tensor.name, at, value, expected)
    }
}
