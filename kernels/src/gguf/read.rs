//! Walks the header from its first byte to its last, keeping slices and believing no count.

use super::cursor::Cursor;
use super::value::{Array, Value, ValueKind};
use super::{Format, Gguf, GgufError, TensorInfo, escaped};

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
            let quick = cursor.skip_strings(count, ELEMENT_BYTES_MAX);
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
