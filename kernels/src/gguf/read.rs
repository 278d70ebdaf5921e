//! Walks the header from its first byte to its last, keeping slices and believing no count.

use std::marker::PhantomData;

use super::{Format, Gguf, GgufError, TensorInfo, escaped};

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
    kind: ValueKind,
    count: usize,
    bytes: &'a [u8],
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

    fn from_id(id: u32) -> Option<Self> {
        use ValueKind::*;
        const KINDS: [ValueKind; 13] = [
            U8, I8, U16, I16, U32, I32, F32, Bool, Str, Array, U64, I64, F64,
        ];
        KINDS.get(usize::try_from(id).ok()?).copied()
    }

    /// Bytes of one element; of a string, the fewest it can have (its length field).
    fn bytes_min(self) -> usize {
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

/// Reads the whole header. Everything structural is checked here; the meaning of keys is not.
pub(super) fn header(bytes: &[u8]) -> Result<Gguf<'_>, GgufError> {
    let mut cursor = Cursor {
        bytes: &bytes[..bytes.len().min(HEADER_BYTES_MAX)],
        at: 0,
    };
    let magic = cursor.take(4, || "magic".into())?;
    if magic != b"GGUF" {
        return Err(GgufError::limit(
            "magic",
            format!("{magic:02x?}"),
            "the four bytes GGUF",
        ));
    }
    let version = cursor.u32(|| "version".into())?;
    if !(2..=3).contains(&version) {
        return Err(GgufError::limit("version", version, "2..=3, little-endian"));
    }
    let tensor_count = cursor.count(
        "tensor count",
        TENSORS_MAX,
        TENSOR_BYTES_MIN,
        METADATA_COUNT_BYTES,
    )?;
    let metadata_count = cursor.count("metadata count", METADATA_MAX, METADATA_BYTES_MIN, 0)?;

    let mut metadata = Vec::with_capacity(metadata_count);
    for index in 0..metadata_count {
        let key = cursor.string(KEY_BYTES_MAX, || format!("metadata {index} key"))?;
        let value = value(&mut cursor, key)?;
        metadata.push((key, value));
    }
    metadata.sort_unstable_by(|left, right| left.0.cmp(right.0));
    if let Some(twice) = metadata.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(GgufError::Duplicate {
            field: escaped(twice[0].0),
        });
    }

    let mut gguf = Gguf {
        version,
        alignment: ALIGNMENT,
        data_offset: 0,
        metadata,
        tensors: Vec::with_capacity(tensor_count),
        by_name: Vec::with_capacity(tensor_count),
    };
    gguf.alignment = alignment(&gguf)?;
    let mut offsets = Vec::with_capacity(tensor_count);
    for index in 0..tensor_count {
        let (tensor, offset) = tensor(&mut cursor, index)?;
        gguf.tensors.push(tensor);
        offsets.push(offset);
    }
    // The header is at most HEADER_BYTES_MAX long and the alignment small: this cannot overflow.
    gguf.data_offset = cursor.at.next_multiple_of(gguf.alignment);
    place(&mut gguf, &offsets, bytes.len())?;
    names(&mut gguf)?;
    Ok(gguf)
}

fn alignment(gguf: &Gguf<'_>) -> Result<usize, GgufError> {
    match gguf.value("general.alignment") {
        None => Ok(ALIGNMENT),
        Some(Value::U32(value)) if value.is_power_of_two() && (8..=4096).contains(value) => {
            Ok(*value as usize)
        }
        Some(Value::U32(value)) => Err(GgufError::limit(
            "general.alignment",
            value,
            "a power of two in 8..=4096",
        )),
        Some(other) => Err(GgufError::Type {
            field: "general.alignment".into(),
            found: other.type_name(),
            expected: "u32",
        }),
    }
}

fn value<'a>(cursor: &mut Cursor<'a>, key: &str) -> Result<Value<'a>, GgufError> {
    let field = || escaped(key);
    let kind = cursor.kind(|| format!("{} type", escaped(key)))?;
    Ok(match kind {
        ValueKind::U8 => Value::U8(u8::from_le_bytes(cursor.word(field)?)),
        ValueKind::I8 => Value::I8(i8::from_le_bytes(cursor.word(field)?)),
        ValueKind::U16 => Value::U16(u16::from_le_bytes(cursor.word(field)?)),
        ValueKind::I16 => Value::I16(i16::from_le_bytes(cursor.word(field)?)),
        ValueKind::U32 => Value::U32(cursor.u32(field)?),
        ValueKind::I32 => Value::I32(i32::from_le_bytes(cursor.word(field)?)),
        ValueKind::U64 => Value::U64(u64::from_le_bytes(cursor.word(field)?)),
        ValueKind::I64 => Value::I64(i64::from_le_bytes(cursor.word(field)?)),
        ValueKind::F32 => Value::F32(f32::from_le_bytes(cursor.word(field)?)),
        ValueKind::F64 => Value::F64(f64::from_le_bytes(cursor.word(field)?)),
        ValueKind::Bool => match cursor.word::<1>(field)?[0] {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            other => return Err(GgufError::limit(escaped(key), other, "0..=1 for a bool")),
        },
        ValueKind::Str => Value::Str(cursor.string(STRING_BYTES_MAX, field)?),
        ValueKind::Array => Value::Array(array(cursor, key)?),
    })
}

fn array<'a>(cursor: &mut Cursor<'a>, key: &str) -> Result<Array<'a>, GgufError> {
    let kind = cursor.kind(|| format!("{} element type", escaped(key)))?;
    if kind == ValueKind::Array {
        return Err(GgufError::Type {
            field: format!("{} element type", escaped(key)),
            found: "array".into(),
            expected: "a plain type, for arrays may not be nested",
        });
    }
    let field = format!("{} length", escaped(key));
    let count = cursor.count(&field, ELEMENTS_MAX, kind.bytes_min(), 0)?;
    let from = cursor.at;
    match kind {
        ValueKind::Str => {
            // The quick way first; from the string it stops at, the one that can say what is wrong.
            let quick = cursor.skip_strings(count);
            for index in quick..count {
                cursor.string(ELEMENT_BYTES_MAX, || format!("{}[{index}]", escaped(key)))?;
            }
        }
        // `count` has compared the product with the bytes that are left.
        _ => drop(cursor.take(count * kind.bytes_min(), || escaped(key))?),
    }
    if kind == ValueKind::Bool {
        let wrong = cursor.bytes[from..cursor.at]
            .iter()
            .position(|byte| *byte > 1);
        if let Some(index) = wrong {
            let field = format!("{}[{index}]", escaped(key));
            return Err(GgufError::limit(
                field,
                cursor.bytes[from + index],
                "0..=1 for a bool",
            ));
        }
    }
    Ok(Array {
        kind,
        count,
        bytes: &cursor.bytes[from..cursor.at],
    })
}

/// Reads one tensor's description. Its range begins at 0 until `place` moves it.
fn tensor(cursor: &mut Cursor<'_>, index: usize) -> Result<(TensorInfo, u64), GgufError> {
    let name = cursor.string(NAME_BYTES_MAX, || format!("tensor {index} name"))?;
    let field = |what: &str| format!("tensor {} {what}", escaped(name));
    let dimensions = cursor.u32(|| field("dimension count"))?;
    if !(1..=DIMENSIONS_MAX).contains(&dimensions) {
        let limit = format!("1..={DIMENSIONS_MAX}");
        return Err(GgufError::limit(
            field("dimension count"),
            dimensions,
            limit,
        ));
    }
    let mut shape = Vec::with_capacity(dimensions as usize);
    let mut elements = 1_u64;
    for dimension in 0..dimensions {
        let length = cursor.u64(|| field(&format!("dimension {dimension}")))?;
        let product = elements
            .checked_mul(length)
            .filter(|n| (1..=ELEMENTS_PER_TENSOR_MAX).contains(n));
        let Some(product) = product else {
            let limit = format!("at least 1, and {ELEMENTS_PER_TENSOR_MAX} elements in all");
            return Err(GgufError::limit(
                field(&format!("dimension {dimension}")),
                length,
                limit,
            ));
        };
        elements = product;
        shape.push(length);
    }
    let id = cursor.u32(|| field("format"))?;
    let Some(format) = Format::from_id(id) else {
        return Err(GgufError::limit(
            field("format"),
            id,
            "the formats of ggml known here",
        ));
    };
    let offset = cursor.u64(|| field("offset"))?;
    let per_block = format.block_elements() as u64;
    if !shape[0].is_multiple_of(per_block) {
        let limit = format!("a multiple of {per_block} for {}", format.name());
        return Err(GgufError::limit(field("dimension 0"), shape[0], limit));
    }
    let bytes = (elements / per_block)
        .checked_mul(format.block_bytes() as u64)
        .and_then(|bytes| usize::try_from(bytes).ok());
    let Some(bytes) = bytes else {
        return Err(GgufError::limit(
            field("size"),
            elements,
            "what this machine can address",
        ));
    };
    Ok((
        TensorInfo {
            name: name.to_owned(),
            format,
            shape,
            range: 0..bytes,
        },
        offset,
    ))
}

/// Moves every tensor to its place and checks that it is inside the file, aligned, and behind its
/// predecessor, so that no two can overlap.
fn place(gguf: &mut Gguf<'_>, offsets: &[u64], file_bytes: usize) -> Result<(), GgufError> {
    let mut free_from = gguf.data_offset;
    for (tensor, offset) in gguf.tensors.iter_mut().zip(offsets) {
        let field = |what: &str| format!("tensor {} {what}", escaped(&tensor.name));
        if !offset.is_multiple_of(gguf.alignment as u64) {
            let limit = format!("a multiple of {}", gguf.alignment);
            return Err(GgufError::limit(field("offset"), offset, limit));
        }
        let start = usize::try_from(*offset)
            .ok()
            .and_then(|at| at.checked_add(gguf.data_offset));
        let end = start.and_then(|start| start.checked_add(tensor.range.end));
        let (Some(start), Some(end)) = (start, end) else {
            return Err(GgufError::limit(
                field("offset"),
                offset,
                "what does not overflow",
            ));
        };
        if end > file_bytes {
            return Err(GgufError::Truncated {
                field: field("data"),
                needed: (end - start) as u64,
                left: file_bytes.saturating_sub(start) as u64,
            });
        }
        if start < free_from {
            let limit = format!(
                "at least {}, the end of its predecessor",
                free_from - gguf.data_offset
            );
            return Err(GgufError::limit(field("offset"), offset, limit));
        }
        free_from = end;
        tensor.range = start..end;
    }
    Ok(())
}

fn names(gguf: &mut Gguf<'_>) -> Result<(), GgufError> {
    let tensors = &gguf.tensors;
    gguf.by_name.extend(0..tensors.len() as u32);
    let name = |index: &u32| tensors[*index as usize].name.as_str();
    gguf.by_name
        .sort_unstable_by(|left, right| name(left).cmp(name(right)));
    match gguf
        .by_name
        .windows(2)
        .find(|pair| name(&pair[0]) == name(&pair[1]))
    {
        Some(pair) => Err(GgufError::Duplicate {
            field: format!("tensor {}", escaped(name(&pair[0]))),
        }),
        None => Ok(()),
    }
}

struct Cursor<'a> {
    /// The file, cut off where a header must have ended.
    bytes: &'a [u8],
    at: usize,
}

// Fields are named by closures, for the names cost more than the reading and are needed only on failure.
impl<'a> Cursor<'a> {
    fn take(
        &mut self,
        length: usize,
        field: impl FnOnce() -> String,
    ) -> Result<&'a [u8], GgufError> {
        let left = &self.bytes[self.at..];
        let Some(taken) = left.get(..length) else {
            let (needed, left) = (length as u64, left.len() as u64);
            return Err(GgufError::Truncated {
                field: field(),
                needed,
                left,
            });
        };
        self.at += length;
        Ok(taken)
    }

    fn word<const N: usize>(
        &mut self,
        field: impl FnOnce() -> String,
    ) -> Result<[u8; N], GgufError> {
        let mut word = [0; N];
        word.copy_from_slice(self.take(N, field)?);
        Ok(word)
    }

    fn u32(&mut self, field: impl FnOnce() -> String) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.word(field)?))
    }

    fn u64(&mut self, field: impl FnOnce() -> String) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.word(field)?))
    }

    fn kind(&mut self, field: impl Fn() -> String) -> Result<ValueKind, GgufError> {
        let id = self.u32(&field)?;
        ValueKind::from_id(id).ok_or_else(|| GgufError::limit(field(), id, "0..=12"))
    }

    /// A count of things that each take at least `bytes_min`, after `before` bytes that come first.
    fn count(
        &mut self,
        field: &str,
        limit: usize,
        bytes_min: usize,
        before: usize,
    ) -> Result<usize, GgufError> {
        let count = self.u64(|| field.to_owned())?;
        let Some(fits) = usize::try_from(count).ok().filter(|count| *count <= limit) else {
            return Err(GgufError::limit(field, count, limit));
        };
        let left = (self.bytes.len() - self.at).saturating_sub(before);
        // At most `limit * bytes_min`, both of them constants of this file: no overflow.
        if fits * bytes_min > left {
            let (needed, left) = ((fits * bytes_min) as u64, left as u64);
            return Err(GgufError::Truncated {
                field: field.to_owned(),
                needed,
                left,
            });
        }
        Ok(fits)
    }

    /// Walks over good strings, at most so many; returns how many there were.
    fn skip_strings(&mut self, count: usize) -> usize {
        let mut rest = &self.bytes[self.at..];
        for index in 0..count {
            let next = rest.split_first_chunk::<8>().and_then(|(length, rest)| {
                let length = u64::from_le_bytes(*length);
                let short = length <= ELEMENT_BYTES_MAX as u64;
                let (text, rest) = short.then(|| rest.split_at_checked(length as usize))??;
                (text.is_ascii() || std::str::from_utf8(text).is_ok()).then_some(rest)
            });
            let Some(next) = next else { return index };
            self.at = self.bytes.len() - next.len();
            rest = next;
        }
        count
    }

    fn string(&mut self, limit: usize, field: impl Fn() -> String) -> Result<&'a str, GgufError> {
        let length = self.u64(|| format!("{} length", field()))?;
        let Some(length) = usize::try_from(length)
            .ok()
            .filter(|length| *length <= limit)
        else {
            return Err(GgufError::limit(
                format!("{} length", field()),
                length,
                limit,
            ));
        };
        let text = self.take(length, &field)?;
        std::str::from_utf8(text).map_err(|error| GgufError::NotUtf8 {
            field: field(),
            at: error.valid_up_to(),
        })
    }
}

/// The largest real headers are some 10 MB (vocabularies of 200,000 and more). The limit bounds the time to
/// read one: 20 MiB of the slowest kind of text take 50 ms.
const HEADER_BYTES_MAX: usize = 20 << 20;
/// Real files have 20 to 60 keys.
const METADATA_MAX: usize = 4096;
/// A mixture of experts with one tensor per expert reaches 20,000 or so.
const TENSORS_MAX: usize = 65_536;
/// Real keys are below 64 bytes; the format allows 65,535, which would only make sorting slow.
const KEY_BYTES_MAX: usize = 1024;
/// ggml allows 63.
const NAME_BYTES_MAX: usize = 127;
/// Chat templates and licence texts; the largest seen are some 30 kB.
const STRING_BYTES_MAX: usize = 1 << 20;
/// One token or one merge.
const ELEMENT_BYTES_MAX: usize = 64 << 10;
/// Merges of the largest vocabularies number about 500,000.
const ELEMENTS_MAX: usize = 4 << 20;
/// As in ggml.
const DIMENSIONS_MAX: u32 = 4;
/// 2^44 elements: 8 TiB of 4-bit weights. Below it, no product of a shape and a block can overflow.
const ELEMENTS_PER_TENSOR_MAX: u64 = 1 << 44;
/// Key length, one byte of nothing, type, the smallest value.
const METADATA_BYTES_MIN: usize = 8 + 4 + 1;
/// Name length, dimension count, one dimension, format, offset.
const TENSOR_BYTES_MIN: usize = 8 + 4 + 8 + 4 + 8;
/// The metadata count stands between the tensor count and what both count.
const METADATA_COUNT_BYTES: usize = 8;
/// What the format says where `general.alignment` is absent.
const ALIGNMENT: usize = 32;
