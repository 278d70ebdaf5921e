//! What keys and tensors are called in files.

/// Keys, after the name of the architecture and a dot.
pub(crate) const LAYERS: &str = "block_count";
pub(crate) const WIDTH: &str = "embedding_length";
pub(crate) const FEED_WIDTH: &str = "feed_forward_length";
pub(crate) const HEADS: &str = "attention.head_count";
pub(crate) const KV_HEADS: &str = "attention.head_count_kv";
pub(crate) const KEY_WIDTH: &str = "attention.key_length";
pub(crate) const VALUE_WIDTH: &str = "attention.value_length";
pub(crate) const CONTEXT: &str = "context_length";
pub(crate) const EPSILON: &str = "attention.layer_norm_rms_epsilon";
pub(crate) const ROPE_BASE: &str = "rope.freq_base";
pub(crate) const ROPE_DIMENSIONS: &str = "rope.dimension_count";
pub(crate) const ROPE_SCALING: &str = "rope.scaling.type";
pub(crate) const ROPE_SCALING_FACTOR: &str = "rope.scaling.factor";
pub(crate) const EXPERTS: &str = "expert_count";
pub(crate) const VOCABULARY: &str = "vocab_size";

/// Keys that some architectures have.
pub(crate) const WINDOW: &str = "attention.sliding_window";
pub(crate) const WINDOW_ROPE_BASE: &str = "rope.freq_base_swa";
pub(crate) const ROPE_LENGTHENING: &str = "rope.scaling.attn_factor";
pub(crate) const FIRST_CONTEXT: &str = "rope.scaling.original_context_length";
pub(crate) const EXPERTS_USED: &str = "expert_used_count";
pub(crate) const EXPERT_FEED_WIDTH: &str = "expert_feed_forward_length";

/// The keys that every architecture understands.
pub(super) const COMMON: [&str; 15] = [
    LAYERS,
    WIDTH,
    FEED_WIDTH,
    HEADS,
    KV_HEADS,
    KEY_WIDTH,
    VALUE_WIDTH,
    CONTEXT,
    EPSILON,
    ROPE_BASE,
    ROPE_DIMENSIONS,
    ROPE_SCALING,
    ROPE_SCALING_FACTOR,
    EXPERTS,
    VOCABULARY,
];

/// What rope turns by where a file does not say.
pub(super) const ROPE_BASE_DEFAULT: f32 = 10_000.0;

/// Tensors outside the layers.
pub(super) const EMBEDDING: &str = "token_embd.weight";
pub(super) const OUTPUT_NORM: &str = "output_norm.weight";
pub(super) const OUTPUT: &str = "output.weight";
/// Divisors of rope's frequencies.
pub(super) const ROPE_DIVISORS: &str = "rope_freqs.weight";
pub(super) const ROPE_DIVISORS_LONG: &str = "rope_factors_long.weight";
pub(super) const ROPE_DIVISORS_SHORT: &str = "rope_factors_short.weight";

/// Tensors of a layer, after `blk.N.`.
pub(super) const ATTENTION_NORM: &str = "attn_norm.weight";
pub(super) const QUERY: &str = "attn_q.weight";
pub(super) const KEY: &str = "attn_k.weight";
pub(super) const VALUE: &str = "attn_v.weight";
pub(super) const QUERY_BIAS: &str = "attn_q.bias";
pub(super) const KEY_BIAS: &str = "attn_k.bias";
pub(super) const VALUE_BIAS: &str = "attn_v.bias";
pub(super) const QUERY_NORM: &str = "attn_q_norm.weight";
pub(super) const KEY_NORM: &str = "attn_k_norm.weight";
/// Queries, keys and values, one after the other.
pub(super) const QUERY_KEY_VALUE: &str = "attn_qkv.weight";
pub(super) const ATTENTION_OUTPUT: &str = "attn_output.weight";
pub(super) const ATTENTION_POST_NORM: &str = "post_attention_norm.weight";
pub(super) const FEED_NORM: &str = "ffn_norm.weight";
pub(super) const GATE: &str = "ffn_gate.weight";
/// Or gates and then ups, where they are one tensor.
pub(super) const UP: &str = "ffn_up.weight";
pub(super) const DOWN: &str = "ffn_down.weight";
pub(super) const FEED_POST_NORM: &str = "post_ffw_norm.weight";
pub(super) const ROUTER: &str = "ffn_gate_inp.weight";
pub(super) const EXPERT_GATES: &str = "ffn_gate_exps.weight";
pub(super) const EXPERT_UPS: &str = "ffn_up_exps.weight";
pub(super) const EXPERT_DOWNS: &str = "ffn_down_exps.weight";
