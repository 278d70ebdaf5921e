//! The llama architecture: SmolLM2, Llama, Mistral. Which tensors and keys it has, under which names.

/// The names of the metadata keys, after `llama.`.
pub(super) const LAYERS: &str = "block_count";
pub(super) const WIDTH: &str = "embedding_length";
pub(super) const FEED_WIDTH: &str = "feed_forward_length";
pub(super) const HEADS: &str = "attention.head_count";
pub(super) const KV_HEADS: &str = "attention.head_count_kv";
pub(super) const KEY_WIDTH: &str = "attention.key_length";
pub(super) const VALUE_WIDTH: &str = "attention.value_length";
pub(super) const CONTEXT: &str = "context_length";
pub(super) const EPSILON: &str = "attention.layer_norm_rms_epsilon";
pub(super) const ROPE_BASE: &str = "rope.freq_base";
pub(super) const ROPE_DIMENSIONS: &str = "rope.dimension_count";
pub(super) const ROPE_SCALING: &str = "rope.scaling.type";
pub(super) const EXPERTS: &str = "expert_count";

/// What rope turns by where a file does not say.
pub(super) const ROPE_BASE_DEFAULT: f32 = 10_000.0;

/// Tensors outside the layers.
pub(super) const EMBEDDING: &str = "token_embd.weight";
pub(super) const OUTPUT_NORM: &str = "output_norm.weight";
pub(super) const OUTPUT: &str = "output.weight";
/// Divisors of rope's frequencies, which Llama 3.1 and later have.
pub(super) const ROPE_FACTORS: &str = "rope_freqs.weight";

/// Tensors of a layer, after `blk.N.`.
pub(super) const ATTENTION_NORM: &str = "attn_norm.weight";
pub(super) const QUERY: &str = "attn_q.weight";
pub(super) const KEY: &str = "attn_k.weight";
pub(super) const VALUE: &str = "attn_v.weight";
pub(super) const ATTENTION_OUTPUT: &str = "attn_output.weight";
pub(super) const FEED_NORM: &str = "ffn_norm.weight";
pub(super) const GATE: &str = "ffn_gate.weight";
pub(super) const UP: &str = "ffn_up.weight";
pub(super) const DOWN: &str = "ffn_down.weight";
