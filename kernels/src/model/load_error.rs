//! Why a model cannot be loaded, in the words of its file.

use thiserror::Error;

use crate::gguf::GgufError;
use crate::matmul::PackError;
use crate::memory::OutOfMemory;

/// Why a file cannot be loaded. Nothing has been kept.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LoadError {
    /// The file's header lacks something or has it wrong.
    #[error(transparent)]
    Header(#[from] GgufError),
    /// A tensor is not there.
    #[error("{tensor}: is missing")]
    Missing {
        /// The tensor's name.
        tensor: String,
    },
    /// A tensor has another shape than the header's numbers say.
    #[error("{tensor}: has shape {found:?}, must be {expected:?}")]
    Shape {
        /// The tensor's name.
        tensor: String,
        /// Its shape in the file.
        found: Vec<u64>,
        /// The shape it must have.
        expected: Vec<u64>,
    },
    /// Something this engine cannot compute.
    #[error("{field}: {value} is not supported, only {supported}")]
    Unsupported {
        /// The key or tensor.
        field: String,
        /// What it is.
        value: String,
        /// What it may be.
        supported: String,
    },
    /// A weight, or a scale or an offset of weights, is infinite or NaN, or a divisor is not above zero.
    #[error("{tensor}: has {value} at {at}, must be {expected}")]
    Number {
        /// The tensor's name.
        tensor: String,
        /// Where in the tensor.
        at: String,
        /// What is there.
        value: String,
        /// What may be there.
        expected: &'static str,
    },
    /// The machine has not enough memory.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
}

impl LoadError {
    /// The key or the tensor at fault, as the message names it.
    pub fn field(&self) -> &str {
        match self {
            Self::Header(error) => error.field(),
            Self::Missing { tensor } | Self::Shape { tensor, .. } | Self::Number { tensor, .. } => {
                tensor
            }
            Self::Unsupported { field, .. } => field,
            Self::OutOfMemory(error) => error.what,
        }
    }
}

impl From<PackError> for LoadError {
    fn from(error: PackError) -> Self {
        match error {
            PackError::OutOfMemory(error) => Self::OutOfMemory(error),
            PackError::NotFinite {
                source_name,
                row,
                column,
            } => Self::Number {
                tensor: source_name,
                at: format!("row {row}, column {column}"),
                value: "infinity or NaN".to_owned(),
                expected: "a finite number",
            },
        }
    }
}

pub(super) fn unsupported(field: &str, value: &str, supported: &str) -> LoadError {
    LoadError::Unsupported {
        field: field.to_owned(),
        value: value.to_owned(),
        supported: supported.to_owned(),
    }
}

pub(super) fn number(tensor: &str, at: usize, value: f32, expected: &'static str) -> LoadError {
    LoadError::Number {
        tensor: tensor.to_owned(),
        at: at.to_string(),
        value: value.to_string(),
        expected,
    }
}
