//! A model file: its header, linted before anything is allocated, and its tensors.
//!
//! A GGUF file comes from strangers. Its header is a run of counted strings, arrays and tensor
//! descriptions, and nearly every reader of it has had a hole where a count was believed. So this one
//! believes nothing: each count is compared with a fixed limit and with the bytes that are left before
//! it is used, all sums are checked, and what is kept are borrowed slices of the file, never copies of
//! its arrays. A `Gguf` in hand therefore means: every tensor lies inside the file, no two overlap, every
//! string is UTF-8, and the keys an engine relies on have the type and range it expects.
//!
//! ```text
//! magic "GGUF" | version | tensor count | metadata count | metadata … | tensors … | padding | data
//! ```
//!
//! This file refuses to read GGUF 1 and big-endian files, nested arrays, and headers above 20 MiB. It
//! does not know what a tensor means; `model` does.

mod cursor;
mod format;
mod known;
mod read;
mod value;

use std::ops::Range;

use thiserror::Error;

pub use format::Format;
pub use value::{Array, Numbers, Strings, Value, ValueKind};

/// A linted model file. It borrows the file's bytes and holds no copy of them.
#[derive(Debug)]
pub struct Gguf<'a> {
    version: u32,
    alignment: usize,
    data_offset: usize,
    /// Sorted by key, without duplicates.
    metadata: Vec<(&'a str, Value<'a>)>,
    tensors: Vec<TensorInfo>,
    /// Indices into `tensors`, sorted by name.
    by_name: Vec<u32>,
}

/// One tensor: where its bytes are and how they are to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name in the file, e.g. `blk.0.attn_q.weight`.
    pub name: String,
    /// How its elements are stored.
    pub format: Format,
    /// Elements per dimension, fastest-changing first: `shape[0]` is the length of a row.
    pub shape: Vec<u64>,
    /// Its bytes, as a range of the whole file; always inside it.
    pub range: Range<usize>,
}

/// Why a file is not a model file this program will use. The file is never changed; whoever made the
/// file can mend it. Names taken from the file are escaped and cut short, so the text is safe to print.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GgufError {
    /// The file ends inside the named field.
    #[error("{field}: needs {needed} bytes, but the file has {left} left")]
    Truncated {
        /// The field that is cut off.
        field: String,
        /// Bytes it needs.
        needed: u64,
        /// Bytes that are left.
        left: u64,
    },
    /// A number is outside its limits.
    #[error("{field}: {value} is outside the limit of {limit}")]
    Limit {
        /// The field.
        field: String,
        /// Its value.
        value: String,
        /// What is allowed.
        limit: String,
    },
    /// A value has another type than the field must have.
    #[error("{field}: has type {found}, must be {expected}")]
    Type {
        /// The field.
        field: String,
        /// The type in the file.
        found: String,
        /// The types allowed.
        expected: &'static str,
    },
    /// Something that must be unique is there twice.
    #[error("{field}: appears more than once, the limit is 1")]
    Duplicate {
        /// The key or the tensor.
        field: String,
    },
    /// Text is not UTF-8.
    #[error("{field}: is not UTF-8 at byte {at}")]
    NotUtf8 {
        /// The field.
        field: String,
        /// Offset of the first wrong byte within the string.
        at: usize,
    },
    /// A key the caller cannot do without is not there.
    #[error("{field}: is missing")]
    Missing {
        /// The key or tensor.
        field: String,
    },
}

impl GgufError {
    /// The field at fault, as the message names it.
    pub fn field(&self) -> &str {
        match self {
            Self::Truncated { field, .. }
            | Self::Limit { field, .. }
            | Self::Type { field, .. }
            | Self::Duplicate { field }
            | Self::NotUtf8 { field, .. }
            | Self::Missing { field } => field,
        }
    }

    pub(crate) fn limit(
        field: impl Into<String>,
        value: impl ToString,
        limit: impl ToString,
    ) -> Self {
        let field = field.into();
        Self::Limit {
            field,
            value: value.to_string(),
            limit: limit.to_string(),
        }
    }
}

impl<'a> Gguf<'a> {
    /// Reads and lints the header of a whole model file. Takes at most a few dozen milliseconds and a
    /// few megabytes of memory, whatever the bytes are.
    pub fn parse(bytes: &'a [u8]) -> Result<Gguf<'a>, GgufError> {
        let gguf = read::header(bytes)?;
        known::check(&gguf)?;
        Ok(gguf)
    }

    /// The version of the container: 2 or 3, which differ in nothing this reader sees.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The alignment of every tensor's offset.
    pub fn alignment(&self) -> usize {
        self.alignment
    }

    /// Where the header ends and the tensors' data begins.
    pub fn data_offset(&self) -> usize {
        self.data_offset
    }

    /// `general.architecture`, e.g. `llama`.
    pub fn architecture(&self) -> Result<&'a str, GgufError> {
        self.str("general.architecture")
    }

    /// All metadata, sorted by key.
    pub fn metadata(&self) -> &[(&'a str, Value<'a>)] {
        &self.metadata
    }

    /// The value of a key.
    pub fn value(&self, key: &str) -> Option<&Value<'a>> {
        let found = self
            .metadata
            .binary_search_by(|(name, _)| (*name).cmp(key))
            .ok()?;
        Some(&self.metadata[found].1)
    }

    /// Whether a key is there.
    pub fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// An integer of any stored width that fits 32 bits.
    pub fn u32(&self, key: &str) -> Result<u32, GgufError> {
        let value = self.need(key)?;
        let Some(wide) = value.integer() else {
            return Err(self.wrong(key, value, "an integer"));
        };
        u32::try_from(wide)
            .map_err(|_| GgufError::limit(escaped(key), wide, format!("0..={}", u32::MAX)))
    }

    /// Like `u32`, with a value for a key that is absent.
    pub fn u32_or(&self, key: &str, absent: u32) -> Result<u32, GgufError> {
        if self.has(key) {
            self.u32(key)
        } else {
            Ok(absent)
        }
    }

    /// A floating-point number.
    pub fn f32(&self, key: &str) -> Result<f32, GgufError> {
        match self.need(key)? {
            Value::F32(value) => Ok(*value),
            Value::F64(value) => Ok(*value as f32),
            other => Err(self.wrong(key, other, "a float")),
        }
    }

    /// Like `f32`, with a value for a key that is absent.
    pub fn f32_or(&self, key: &str, absent: f32) -> Result<f32, GgufError> {
        if self.has(key) {
            self.f32(key)
        } else {
            Ok(absent)
        }
    }

    /// A truth value.
    pub fn bool(&self, key: &str) -> Result<bool, GgufError> {
        match self.need(key)? {
            Value::Bool(value) => Ok(*value),
            other => Err(self.wrong(key, other, "a bool")),
        }
    }

    /// Like `bool`, with a value for a key that is absent.
    pub fn bool_or(&self, key: &str, absent: bool) -> Result<bool, GgufError> {
        if self.has(key) {
            self.bool(key)
        } else {
            Ok(absent)
        }
    }

    /// A string.
    pub fn str(&self, key: &str) -> Result<&'a str, GgufError> {
        match self.need(key)? {
            Value::Str(value) => Ok(value),
            other => Err(self.wrong(key, other, "a string")),
        }
    }

    /// An array of any type.
    pub fn array(&self, key: &str) -> Result<Array<'a>, GgufError> {
        match self.need(key)? {
            Value::Array(array) => Ok(*array),
            other => Err(self.wrong(key, other, "an array")),
        }
    }

    /// An array of strings, read as it is walked.
    pub fn strings(&self, key: &str) -> Result<Strings<'a>, GgufError> {
        let array = self.array(key)?;
        array.strings().ok_or_else(|| GgufError::Type {
            field: escaped(key),
            found: format!("array of {}", array.kind().name()),
            expected: "an array of strings",
        })
    }

    /// An array of f32, read as it is walked.
    pub fn f32s(&self, key: &str) -> Result<Numbers<'a, f32>, GgufError> {
        let array = self.array(key)?;
        array.f32s().ok_or_else(|| GgufError::Type {
            field: escaped(key),
            found: format!("array of {}", array.kind().name()),
            expected: "an array of f32",
        })
    }

    /// An array of i32, read as it is walked.
    pub fn i32s(&self, key: &str) -> Result<Numbers<'a, i32>, GgufError> {
        let array = self.array(key)?;
        array.i32s().ok_or_else(|| GgufError::Type {
            field: escaped(key),
            found: format!("array of {}", array.kind().name()),
            expected: "an array of i32",
        })
    }

    /// All tensors, in the order of their bytes in the file.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        let tensor = |index: &u32| &self.tensors[*index as usize];
        let found = self
            .by_name
            .binary_search_by(|index| tensor(index).name.as_str().cmp(name))
            .ok()?;
        Some(tensor(&self.by_name[found]))
    }

    fn need(&self, key: &str) -> Result<&Value<'a>, GgufError> {
        self.value(key).ok_or_else(|| GgufError::Missing {
            field: escaped(key),
        })
    }

    fn wrong(&self, key: &str, value: &Value<'a>, expected: &'static str) -> GgufError {
        GgufError::Type {
            field: escaped(key),
            found: value.type_name(),
            expected,
        }
    }
}

impl TensorInfo {
    /// Number of elements. It cannot overflow: the linter has multiplied it already.
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }
}

/// A name from the file, made safe to print: control characters escaped, at most 80 characters.
pub(crate) fn escaped(name: &str) -> String {
    let safe = |c: char| c.is_ascii_graphic() || c == ' ' || (c.is_alphanumeric() && !c.is_ascii());
    let mut text = String::new();
    for c in name.chars() {
        if text.len() > 80 {
            text.push('…');
            break;
        }
        if safe(c) {
            text.push(c);
        } else {
            text.extend(c.escape_unicode());
        }
    }
    text
}

#[cfg(test)]
mod tests;
