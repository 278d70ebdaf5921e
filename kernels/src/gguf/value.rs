//! The values of a header: what they are, and walking those that are arrays.

use std::marker::PhantomData;

/// A metadata value. Text and arrays are slices of the file.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Value<'a> {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    Str(&'a str),
    Array(Array<'a>),
}

/// The type of a metadata value, or of an array's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ValueKind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Str,
    Array,
    U64,
    I64,
    F64,
}

/// An array of the file: its elements' type, their number, and their bytes, which are linted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Array<'a> {
    pub(super) kind: ValueKind,
    pub(super) count: usize,
    pub(super) bytes: &'a [u8],
}

/// Walks an array of strings.
#[derive(Clone, Debug)]
pub struct Strings<'a> {
    left: usize,
    bytes: &'a [u8],
}

/// Walks an array of numbers.
#[derive(Clone, Debug)]
pub struct Numbers<'a, T> {
    bytes: &'a [u8],
    of: PhantomData<T>,
}

impl<'a> Value<'a> {
    /// The value, where it is an integer of any width.
    pub fn integer(&self) -> Option<i128> {
        Some(match *self {
            Self::U8(value) => value.into(),
            Self::I8(value) => value.into(),
            Self::U16(value) => value.into(),
            Self::I16(value) => value.into(),
            Self::U32(value) => value.into(),
            Self::I32(value) => value.into(),
            Self::U64(value) => value.into(),
            Self::I64(value) => value.into(),
            _ => return None,
        })
    }

    pub(crate) fn type_name(&self) -> String {
        let kind = match self {
            Self::U8(_) => ValueKind::U8,
            Self::I8(_) => ValueKind::I8,
            Self::U16(_) => ValueKind::U16,
            Self::I16(_) => ValueKind::I16,
            Self::U32(_) => ValueKind::U32,
            Self::I32(_) => ValueKind::I32,
            Self::U64(_) => ValueKind::U64,
            Self::I64(_) => ValueKind::I64,
            Self::F32(_) => ValueKind::F32,
            Self::F64(_) => ValueKind::F64,
            Self::Bool(_) => ValueKind::Bool,
            Self::Str(_) => ValueKind::Str,
            Self::Array(array) => return format!("array of {}", array.kind.name()),
        };
        kind.name().to_owned()
    }
}

impl ValueKind {
    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::Bool => "bool",
            Self::Str => "string",
            Self::Array => "array",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F64 => "f64",
        }
    }

    pub(super) fn from_id(id: u32) -> Option<Self> {
        use ValueKind::*;
        const KINDS: [ValueKind; 13] = [
            U8, I8, U16, I16, U32, I32, F32, Bool, Str, Array, U64, I64, F64,
        ];
        KINDS.get(usize::try_from(id).ok()?).copied()
    }

    /// Bytes of one element; of a string, the fewest it can have (its length field).
    pub(super) fn bytes_min(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 | Self::Str => 8,
            Self::Array => 12,
        }
    }
}

impl<'a> Array<'a> {
    /// The type of its elements.
    pub fn kind(&self) -> ValueKind {
        self.kind
    }

    /// Number of its elements.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Its elements, where they are strings.
    pub fn strings(&self) -> Option<Strings<'a>> {
        (self.kind == ValueKind::Str).then_some(Strings {
            left: self.count,
            bytes: self.bytes,
        })
    }

    /// Its elements, where they are f32.
    pub fn f32s(&self) -> Option<Numbers<'a, f32>> {
        (self.kind == ValueKind::F32).then_some(Numbers {
            bytes: self.bytes,
            of: PhantomData,
        })
    }

    /// Its elements, where they are i32.
    pub fn i32s(&self) -> Option<Numbers<'a, i32>> {
        (self.kind == ValueKind::I32).then_some(Numbers {
            bytes: self.bytes,
            of: PhantomData,
        })
    }

    /// Its elements, where they are integers of 32 bits, with or without sign.
    pub(crate) fn integers(&self) -> Option<impl Iterator<Item = i64> + 'a> {
        let signed = match self.kind {
            ValueKind::I32 => true,
            ValueKind::U32 => false,
            _ => return None,
        };
        let words = Numbers::<i32> {
            bytes: self.bytes,
            of: PhantomData,
        };
        Some(words.map(move |word| {
            if signed {
                word.into()
            } else {
                (word as u32).into()
            }
        }))
    }
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.left == 0 {
            return None;
        }
        // The linter has walked these very bytes, so neither of the two can fail; were that wrong, the
        // array would look shorter, and nothing would be read that is not there.
        let (length, rest) = self.bytes.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (text, rest) = rest.split_at_checked(length)?;
        self.left -= 1;
        self.bytes = rest;
        std::str::from_utf8(text).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Strings<'_> {}

macro_rules! numbers {
    ($type:ty) => {
        impl Iterator for Numbers<'_, $type> {
            type Item = $type;

            fn next(&mut self) -> Option<$type> {
                let (word, rest) = self.bytes.split_first_chunk()?;
                self.bytes = rest;
                Some(<$type>::from_le_bytes(*word))
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                let left = self.bytes.len() / size_of::<$type>();
                (left, Some(left))
            }
        }

        impl ExactSizeIterator for Numbers<'_, $type> {}
    };
}
numbers!(f32);
numbers!(i32);
