//! The sizes of a model, which an engine divides by and indexes with.

use super::{Defect, plain};

pub(super) fn defects() -> Vec<Defect> {
    vec![
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
            "no kv heads per layer, all below 0",
            plain()
                .raw_array("llama.attention.head_count_kv", 5, 2, &[0xff; 8])
                .done(),
            "llama.attention.head_count_kv",
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
    ]
}
