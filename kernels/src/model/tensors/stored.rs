//! A tensor that was found where the architecture has it, and the ways to read it.

use super::super::LoadError;
use super::super::load_error::number;
use crate::block;
use crate::gguf::{Format, TensorInfo};
use crate::matmul::Source;

/// A matrix, or a vector as its one row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored<'a> {
    pub(crate) tensor: &'a TensorInfo,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl<'a> Stored<'a> {
    pub(crate) fn format(&self) -> Format {
        self.tensor.format
    }

    /// It, with its bytes.
    pub(crate) fn source(&self, file: &'a [u8]) -> Source<'a> {
        Source {
            name: &self.tensor.name,
            format: self.tensor.format,
            rows: self.rows,
            columns: self.columns,
            bytes: &file[self.tensor.range.clone()],
        }
    }

    /// The numbers of an F32 vector, each of them finite.
    pub(crate) fn floats(&self, file: &[u8]) -> Result<Vec<f32>, LoadError> {
        let mut values = vec![0.0; self.columns];
        let bytes = &file[self.tensor.range.clone()];
        block::unpack_row(Format::F32, bytes, &mut values);
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

    fn number(&self, at: usize, value: f32, expected: &'static str) -> LoadError {
        number(&self.tensor.name, at, value, expected)
    }
}
