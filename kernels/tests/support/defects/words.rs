//! What a tokenizer and a template are made of.

use super::{Defect, plain};
use crate::gguf_file::File;

pub(super) fn defects() -> Vec<Defect> {
    let tokens = |file: File| file.strings("tokenizer.ggml.tokens", &["a", "b", "c"]);
    vec![
        (
            "scores of int8",
            tokens(plain())
                .raw_array("tokenizer.ggml.scores", 1, 3, &[0; 3])
                .done(),
            "tokenizer.ggml.scores element type",
        ),
        (
            "types of int8",
            tokens(plain())
                .raw_array("tokenizer.ggml.token_type", 1, 3, &[0; 3])
                .done(),
            "tokenizer.ggml.token_type element type",
        ),
        (
            "scores of i32",
            tokens(plain())
                .raw_array("tokenizer.ggml.scores", 5, 3, &[0; 12])
                .done(),
            "tokenizer.ggml.scores element type",
        ),
        (
            "types of f32",
            tokens(plain())
                .raw_array("tokenizer.ggml.token_type", 6, 3, &[0; 12])
                .done(),
            "tokenizer.ggml.token_type element type",
        ),
        (
            "types without tokens",
            plain()
                .raw_array("tokenizer.ggml.token_type", 5, 3, &[0; 12])
                .done(),
            "tokenizer.ggml.token_type length",
        ),
        (
            "one type, no array",
            tokens(plain()).word("tokenizer.ggml.token_type", 1).done(),
            "tokenizer.ggml.token_type",
        ),
        (
            "merges of f32",
            tokens(plain())
                .raw_array("tokenizer.ggml.merges", 6, 1, &[0; 4])
                .done(),
            "tokenizer.ggml.merges element type",
        ),
        (
            "tokens of u32",
            plain()
                .raw_array("tokenizer.ggml.tokens", 4, 1, &[0; 4])
                .done(),
            "tokenizer.ggml.tokens",
        ),
        (
            "too few scores",
            tokens(plain())
                .raw_array("tokenizer.ggml.scores", 6, 2, &[0; 8])
                .done(),
            "tokenizer.ggml.scores length",
        ),
        (
            "score NaN",
            tokens(plain())
                .raw_array("tokenizer.ggml.scores", 6, 3, &[255; 12])
                .done(),
            "tokenizer.ggml.scores[0]",
        ),
        (
            "no tokens",
            plain().strings("tokenizer.ggml.tokens", &[]).done(),
            "tokenizer.ggml.tokens length",
        ),
        (
            "bos outside",
            tokens(plain())
                .word("tokenizer.ggml.bos_token_id", 3)
                .done(),
            "tokenizer.ggml.bos_token_id",
        ),
        (
            "eos as float",
            tokens(plain())
                .float("tokenizer.ggml.eos_token_id", 1.0)
                .done(),
            "tokenizer.ggml.eos_token_id",
        ),
        (
            "token of 2^31",
            plain()
                .raw_array("tokenizer.ggml.tokens", 8, 1, &(1_u64 << 31).to_le_bytes())
                .done(),
            "tokenizer.ggml.tokens[0] length",
        ),
        (
            "token of 9000",
            plain()
                .strings("tokenizer.ggml.tokens", &[&"x".repeat(9000)])
                .done(),
            "tokenizer.ggml.tokens[0] length",
        ),
        (
            "template of 1 MB",
            plain()
                .text("tokenizer.chat_template", &"x".repeat(1 << 20))
                .done(),
            "tokenizer.chat_template length",
        ),
        (
            "template is a number",
            plain().word("tokenizer.chat_template", 1).done(),
            "tokenizer.chat_template",
        ),
        (
            "add_bos as number",
            plain().word("tokenizer.ggml.add_bos_token", 1).done(),
            "tokenizer.ggml.add_bos_token",
        ),
    ]
}
