//! One file for each way in which a model file has been known to break its reader.

use super::gguf_file::File;

/// What is wrong, the file, and the field that must be named.
pub(crate) fn defects() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let tokens = |file: File| file.strings("tokenizer.ggml.tokens", &["a", "b", "c"]);
    let plain = || File::new().text("general.architecture", "llama");
    let huge = u64::MAX;
    vec![
        ("empty", vec![], "magic"),
        ("other magic", b"GGML\x03\0\0\0".to_vec(), "magic"),
        ("version 0", plain().version(0).done(), "version"),
        ("version 1", plain().version(1).done(), "version"),
        ("version 4", plain().version(4).done(), "version"),
        ("big-endian", plain().version(3 << 24).done(), "version"),
        ("2^63 keys", plain().keys(1 << 63).done(), "metadata count"),
        ("2^20 keys", plain().keys(1 << 20).done(), "metadata count"),
        (
            "keys beyond the end",
            plain().keys(4000).done(),
            "metadata count",
        ),
        (
            "2^63 tensors",
            plain().count(1 << 63).done(),
            "tensor count",
        ),
        (
            "2^60 tensors",
            plain().count(1 << 60).done(),
            "tensor count",
        ),
        (
            "tensors beyond the end",
            plain().count(60_000).done(),
            "tensor count",
        ),
        (
            "dimension 2^62",
            plain().tensor("t", &[1 << 62, 1 << 62], 0, 0).done(),
            "tensor t dimension 0",
        ),
        (
            "dimension 0",
            plain().tensor("t", &[32, 0], 0, 0).done(),
            "tensor t dimension 1",
        ),
        (
            "first dimension 0",
            plain().tensor("t", &[0], 2, 0).done(),
            "tensor t dimension 0",
        ),
        (
            "dimension 2^64-1",
            plain().tensor("t", &[huge], 0, 0).done(),
            "tensor t dimension 0",
        ),
        (
            "dimension 2^64-32",
            plain().tensor("t", &[huge - 31], 2, 0).done(),
            "tensor t dimension 0",
        ),
        (
            "product wraps to 0",
            plain().tensor("t", &[1 << 32, 1 << 32], 0, 0).done(),
            "tensor t dimension 1",
        ),
        (
            "product wraps to small",
            plain().tensor("t", &[1 << 33, (1 << 31) + 1], 2, 0).done(),
            "tensor t dimension 1",
        ),
        (
            "exabyte in quantized blocks",
            plain().tensor("t", &[1 << 43, 2], 2, 0).done(),
            "tensor t data",
        ),
        (
            "no dimensions",
            plain().tensor("t", &[], 0, 0).done(),
            "tensor t dimension count",
        ),
        (
            "five dimensions",
            plain().tensor("t", &[1; 5], 0, 0).done(),
            "tensor t dimension count",
        ),
        (
            "half a block",
            plain().tensor("t", &[33], 2, 0).done(),
            "tensor t dimension 0",
        ),
        (
            "unknown format",
            plain().tensor("t", &[32], 4, 0).done(),
            "tensor t format",
        ),
        (
            "format 2^32-1",
            plain().tensor("t", &[32], u32::MAX, 0).done(),
            "tensor t format",
        ),
        (
            "offset beyond the file",
            plain().tensor("t", &[8], 0, 1 << 30).done(),
            "tensor t data",
        ),
        (
            "offset wraps",
            plain().tensor("t", &[8], 0, huge - 31).done(),
            "tensor t offset",
        ),
        (
            "offset and size wrap",
            plain()
                .tensor("t", &[1 << 40], 0, huge - (1 << 41) + 1)
                .done(),
            "tensor t offset",
        ),
        (
            "offset between",
            plain().tensor("t", &[8], 0, 4).done(),
            "tensor t offset",
        ),
        (
            "tensors overlap",
            plain()
                .tensor("t", &[16], 0, 0)
                .tensor("u", &[8], 0, 32)
                .done(),
            "tensor u offset",
        ),
        (
            "tensors out of order",
            plain()
                .tensor("t", &[8], 0, 32)
                .tensor("u", &[8], 0, 0)
                .done(),
            "tensor u offset",
        ),
        (
            "same tensor twice",
            plain()
                .tensor("t", &[8], 0, 0)
                .tensor("t", &[8], 0, 32)
                .done(),
            "tensor t",
        ),
        (
            "long tensor name",
            plain().tensor(&"n".repeat(128), &[8], 0, 0).done(),
            "tensor 0 name length",
        ),
        (
            "alignment 2^31",
            plain().word("general.alignment", 0x8000_0000).done(),
            "general.alignment",
        ),
        (
            "alignment 0",
            plain().word("general.alignment", 0).done(),
            "general.alignment",
        ),
        (
            "alignment 3",
            plain().word("general.alignment", 3).done(),
            "general.alignment",
        ),
        (
            "alignment as text",
            plain().text("general.alignment", "32").done(),
            "general.alignment",
        ),
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
            "array of 2^40",
            plain().raw_array("x", 0, 1 << 40, &[]).done(),
            "x length",
        ),
        (
            "array of 2^63",
            plain().raw_array("x", 8, 1 << 63, &[]).done(),
            "x length",
        ),
        (
            "array beyond the end",
            plain().raw_array("x", 10, 1 << 20, &[]).done(),
            "x length",
        ),
        (
            "nested array",
            plain().raw_array("x", 9, 1, &[0; 12]).done(),
            "x element type",
        ),
        (
            "array of type 13",
            plain().raw_array("x", 13, 1, &[0; 12]).done(),
            "x element type",
        ),
        (
            "value of type 13",
            plain().value("x", 13, &[0; 8]).done(),
            "x type",
        ),
        ("bool of 2", plain().value("x", 7, &[2]).done(), "x"),
        (
            "bools of 2",
            plain().raw_array("x", 7, 3, &[0, 1, 2]).done(),
            "x[2]",
        ),
        (
            "string of 2^63",
            plain().value("x", 8, &(1_u64 << 63).to_le_bytes()).done(),
            "x length",
        ),
        (
            "string beyond the end",
            plain().value("x", 8, &100_000_u64.to_le_bytes()).done(),
            "x",
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
            "text not UTF-8",
            plain()
                .value("x", 8, &[1, 0, 0, 0, 0, 0, 0, 0, 0xff])
                .done(),
            "x",
        ),
        (
            "token not UTF-8",
            plain()
                .raw_array("x", 8, 1, &[1, 0, 0, 0, 0, 0, 0, 0, 0xc0])
                .done(),
            "x[0]",
        ),
        ("key twice", plain().word("x", 1).word("x", 1).done(), "x"),
        (
            "architecture twice",
            plain().text("general.architecture", "llama").done(),
            "general.architecture",
        ),
        (
            "key of 1025",
            plain().word(&"k".repeat(1025), 1).done(),
            "metadata 1 key length",
        ),
        (
            "architecture is a path",
            File::new().text("general.architecture", "../../etc").done(),
            "general.architecture",
        ),
        (
            "architecture is a number",
            File::new().word("general.architecture", 1).done(),
            "general.architecture",
        ),
        (
            "no layers",
            plain().word("llama.block_count", 0).done(),
            "llama.block_count",
        ),
        (
            "2^32 layers",
            plain().word("llama.block_count", u32::MAX).done(),
            "llama.block_count",
        ),
        (
            "layers as text",
            plain().text("llama.block_count", "30").done(),
            "llama.block_count",
        ),
        (
            "no heads",
            plain().word("llama.attention.head_count", 0).done(),
            "llama.attention.head_count",
        ),
        (
            "heads that do not divide",
            plain()
                .word("llama.attention.head_count", 9)
                .word("llama.attention.head_count_kv", 2)
                .done(),
            "llama.attention.head_count_kv",
        ),
        (
            "heads per layer as text",
            plain().strings("llama.attention.head_count", &["9"]).done(),
            "llama.attention.head_count",
        ),
        (
            "no context",
            plain().word("llama.context_length", 0).done(),
            "llama.context_length",
        ),
        (
            "no width",
            plain().word("llama.embedding_length", 0).done(),
            "llama.embedding_length",
        ),
        (
            "epsilon NaN",
            plain()
                .float("llama.attention.layer_norm_rms_epsilon", f32::NAN)
                .done(),
            "llama.attention.layer_norm_rms_epsilon",
        ),
        (
            "epsilon 0",
            plain()
                .float("llama.attention.layer_norm_rms_epsilon", 0.0)
                .done(),
            "llama.attention.layer_norm_rms_epsilon",
        ),
        (
            "rope base negative",
            plain().float("llama.rope.freq_base", -1.0).done(),
            "llama.rope.freq_base",
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
