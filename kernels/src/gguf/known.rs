//! The keys an engine divides by, indexes with, or copies into its own tables: their types and ranges.
//!
//! A file may have any other keys. Those here are checked once, so that no reader of them further on can
//! be handed a zero to divide by or an array of another type or length than it was promised.

use super::{Gguf, GgufError, Value, ValueKind, escaped};

pub(super) fn check(gguf: &Gguf<'_>) -> Result<(), GgufError> {
    if gguf.has("general.architecture") {
        let name = gguf.architecture()?;
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
            return Err(GgufError::limit(
                "general.architecture",
                escaped(name),
                "1 to 64 of a-z, 0-9, '-', '_', '.'",
            ));
        }
        sizes(gguf, name)?;
    }
    tokenizer(gguf)
}

fn sizes(gguf: &Gguf<'_>, architecture: &str) -> Result<(), GgufError> {
    for (suffix, low, high) in INTEGERS {
        let key = format!("{architecture}.{suffix}");
        match gguf.value(&key) {
            None => {}
            // Some architectures give one value per layer.
            Some(Value::Array(array)) => {
                let Some(mut values) = array.integers() else {
                    return Err(GgufError::Type {
                        field: key,
                        found: format!("array of {}", array.kind().name()),
                        expected: "an integer, or an array of i32 or u32",
                    });
                };
                if let Some(value) = values.find(|v| *v < 0 || *v > i64::from(*high)) {
                    return Err(GgufError::limit(key, value, format!("0..={high}")));
                }
            }
            Some(_) => {
                let value = gguf.u32(&key)?;
                if !(*low..=*high).contains(&value) {
                    return Err(GgufError::limit(key, value, format!("{low}..={high}")));
                }
            }
        }
    }
    for (suffix, high) in FLOATS {
        let key = format!("{architecture}.{suffix}");
        if gguf.has(&key) {
            let value = gguf.f32(&key)?;
            if !(value.is_finite() && value > 0.0 && value <= *high) {
                return Err(GgufError::limit(
                    key,
                    value,
                    format!("above 0, up to {high}"),
                ));
            }
        }
    }
    let scalar = |suffix: &str| {
        let value = gguf.value(&format!("{architecture}.{suffix}"))?;
        value.integer()
    };
    if let (Some(heads), Some(shared)) = (
        scalar("attention.head_count"),
        scalar("attention.head_count_kv"),
    ) && shared > 0
        && heads % shared != 0
    {
        let field = format!("{architecture}.attention.head_count_kv");
        return Err(GgufError::limit(
            field,
            shared,
            format!("a divisor of {heads} heads"),
        ));
    }
    Ok(())
}

fn tokenizer(gguf: &Gguf<'_>) -> Result<(), GgufError> {
    for key in [
        "tokenizer.ggml.model",
        "tokenizer.ggml.pre",
        "tokenizer.chat_template",
    ] {
        if gguf.has(key) {
            gguf.str(key)?;
        }
    }
    if let Ok(template) = gguf.str("tokenizer.chat_template")
        && template.len() > TEMPLATE_BYTES_MAX
    {
        let field = "tokenizer.chat_template length";
        return Err(GgufError::limit(field, template.len(), TEMPLATE_BYTES_MAX));
    }
    for key in ["add_bos_token", "add_eos_token", "add_space_prefix"] {
        let key = format!("tokenizer.ggml.{key}");
        if gguf.has(&key) {
            gguf.bool(&key)?;
        }
    }
    let tokens = match gguf.has("tokenizer.ggml.tokens") {
        true => Some(gguf.strings("tokenizer.ggml.tokens")?),
        false => None,
    };
    let count = tokens.as_ref().map(ExactSizeIterator::len);
    if let Some(count) = count
        && !(1..=TOKENS_MAX).contains(&count)
    {
        let field = "tokenizer.ggml.tokens length";
        return Err(GgufError::limit(field, count, format!("1..={TOKENS_MAX}")));
    }
    if let Some(mut tokens) = tokens
        && let Some(index) = tokens.position(|token| token.len() > TOKEN_BYTES_MAX)
    {
        let field = format!("tokenizer.ggml.tokens[{index}] length");
        return Err(GgufError::limit(field, "longer", TOKEN_BYTES_MAX));
    }
    for (key, kind, expected, per_token) in ARRAYS {
        if !gguf.has(key) {
            continue;
        }
        let array = gguf.array(key)?;
        if array.kind() != *kind {
            return Err(GgufError::Type {
                field: format!("{key} element type"),
                found: array.kind().name().to_owned(),
                expected,
            });
        }
        if *per_token && Some(array.len()) != count {
            let limit = format!("as many as tokens, {}", count.unwrap_or(0));
            return Err(GgufError::limit(
                format!("{key} length"),
                array.len(),
                limit,
            ));
        }
    }
    if gguf.has("tokenizer.ggml.scores")
        && let Some(index) = gguf
            .f32s("tokenizer.ggml.scores")?
            .position(|score| score.is_nan())
    {
        return Err(GgufError::limit(
            format!("tokenizer.ggml.scores[{index}]"),
            "NaN",
            "a number",
        ));
    }
    if let Some(count) = count {
        for key in TOKEN_IDS {
            let key = format!("tokenizer.ggml.{key}");
            if gguf.has(&key) {
                let id = gguf.u32(&key)?;
                if id as usize >= count && id != NO_TOKEN {
                    return Err(GgufError::limit(
                        key,
                        id,
                        format!("0..{count}, the vocabulary"),
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Suffix, lowest and highest value. Zero key-value heads are real: layers without attention.
const INTEGERS: &[(&str, u32, u32)] = &[
    ("block_count", 1, 4096),
    ("context_length", 1, 1 << 30),
    ("embedding_length", 1, 1 << 20),
    ("feed_forward_length", 0, 1 << 24),
    ("attention.head_count", 1, 1 << 14),
    ("attention.head_count_kv", 0, 1 << 14),
    ("attention.key_length", 1, 1 << 16),
    ("attention.value_length", 1, 1 << 16),
    ("attention.sliding_window", 0, 1 << 30),
    ("rope.dimension_count", 1, 1 << 16),
    ("vocab_size", 1, TOKENS_MAX as u32),
    ("expert_count", 0, 1 << 14),
    ("expert_used_count", 0, 1 << 14),
];

/// Suffix and highest value.
const FLOATS: &[(&str, f32)] = &[
    ("attention.layer_norm_rms_epsilon", 1.0),
    ("attention.layer_norm_epsilon", 1.0),
    ("rope.freq_base", 1e12),
];

/// Key, type of the elements, how a message calls it, and whether there is one per token.
const ARRAYS: &[(&str, ValueKind, &str, bool)] = &[
    ("tokenizer.ggml.scores", ValueKind::F32, "f32", true),
    ("tokenizer.ggml.token_type", ValueKind::I32, "i32", true),
    ("tokenizer.ggml.merges", ValueKind::Str, "string", false),
];

const TOKEN_IDS: &[&str] = &[
    "bos_token_id",
    "eos_token_id",
    "eot_token_id",
    "eom_token_id",
    "unknown_token_id",
    "seperator_token_id",
    "padding_token_id",
    "mask_token_id",
];

/// How files write "there is none": -1 in 32 bits.
const NO_TOKEN: u32 = u32::MAX;
/// Four times the largest vocabulary in use.
const TOKENS_MAX: usize = 1 << 20;
/// The longest tokens in use are runs of some hundred spaces or dashes.
const TOKEN_BYTES_MAX: usize = 8192;
/// The largest templates in use are some 30 kB.
const TEMPLATE_BYTES_MAX: usize = 256 << 10;
