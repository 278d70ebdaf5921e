//! What only some architectures have, and do without in a file: each lack, and each key that is not understood, is
//! refused with an error that names it.

#[path = "support/gguf_file.rs"]
mod gguf_file;
#[path = "support/synthetic.rs"]
mod synthetic;
#[path = "support/vectors/values.rs"]
mod values;

use synthetic::kinds::{KINDS, Kind};
use synthetic::{Key, Synthetic, encode};
use troop_kernels::gguf::{Format, Gguf};
use troop_kernels::isa::Isa;
use troop_kernels::model::{LoadError, Model};

type Spoil = Box<dyn Fn(&mut Synthetic)>;

fn spoil(change: impl Fn(&mut Synthetic) + 'static) -> Spoil {
    Box::new(change)
}

fn load(model: &Synthetic) -> Result<(), LoadError> {
    let file = model.file();
    let gguf = Gguf::parse(&file)?;
    Model::load(&gguf, &file, Isa::detect()).map(drop)
}

/// The kind of model, the field named, what is done to it.
fn structures_of_kinds() -> Vec<(&'static str, &'static str, Spoil)> {
    let key = |name: &'static str, value: Key| spoil(move |model| model.key(name, value.clone()));
    let missing =
        |name: &'static str| spoil(move |model| model.tensors.retain(|tensor| tensor.name != name));
    let without = |name: &'static str| spoil(move |model| model.keys.retain(|key| key.0 != name));
    let shaped = |name: &'static str, shape: &'static [u64]| {
        spoil(move |model| {
            let tensor = model.tensor(name);
            let count = shape.iter().product::<u64>() as usize;
            (tensor.shape, tensor.format) = (shape.to_vec(), Format::F32);
            tensor.bytes = encode(Format::F32, &vec![0.5; count]);
        })
    };
    let missing_of = |kind: &'static str, name: &'static str| (kind, name, missing(name));
    let key_of =
        |kind: &'static str, name: &'static str, value: Key| (kind, name, key(name, value));
    let shape_of =
        |kind: &'static str, name: &'static str, shape| (kind, name, shaped(name, shape));
    vec![
        missing_of("gemma3", "blk.6.attn_q_norm.weight"),
        missing_of("gemma3", "blk.0.attn_k_norm.weight"),
        missing_of("gemma3", "blk.1.post_attention_norm.weight"),
        missing_of("gemma3", "blk.5.post_ffw_norm.weight"),
        shape_of("gemma3", "blk.0.attn_q_norm.weight", &[64]),
        key_of("gemma3", "gemma3.final_logit_softcapping", Key::Float(30.0)),
        key_of(
            "gemma3",
            "gemma3.attention.sliding_window_pattern",
            Key::Word(6),
        ),
        key_of("gemma3", "gemma3.rope.freq_base_swa", Key::Float(-1.0)),
        key_of("gemma3", "gemma3.attention.sliding_window", Key::Float(5.0)),
        key_of("llama", "llama.attention.scale", Key::Float(1.0)),
        key_of("llama", "llama.rope.freq_base_swa", Key::Float(1e4)),
        key_of("llama-linear", "llama.rope.scaling.factor", Key::Float(0.0)),
        key_of(
            "llama-linear",
            "llama.rope.scaling.factor",
            Key::Float(f32::NAN),
        ),
        missing_of("qwen2", "blk.0.attn_q.bias"),
        missing_of("qwen2", "blk.1.attn_v.bias"),
        shape_of("qwen2", "blk.1.attn_k.bias", &[33]),
        key_of("qwen2", "qwen2.attention.sliding_window", Key::Word(5)),
        missing_of("qwen3", "blk.1.attn_k_norm.weight"),
        missing_of("phi3", "blk.0.attn_qkv.weight"),
        shape_of("phi3", "blk.0.attn_qkv.weight", &[64, 96]),
        shape_of("phi3", "blk.1.ffn_up.weight", &[64, 96]),
        missing_of("phi3-stretched", "rope_factors_short.weight"),
        shape_of("phi3-stretched", "rope_factors_long.weight", &[16]),
        key_of("phi3-stretched", "phi3.rope.dimension_count", Key::Word(24)),
        key_of(
            "phi3-stretched",
            "phi3.rope.dimension_count",
            Key::Word(128),
        ),
        key_of(
            "phi3-stretched",
            "phi3.rope.scaling.attn_factor",
            Key::Float(-1.0),
        ),
        (
            "phi3-stretched",
            "phi3.rope.scaling.original_context_length",
            without("phi3.rope.scaling.original_context_length"),
        ),
        missing_of("qwen3moe", "blk.0.ffn_gate_inp.weight"),
        missing_of("qwen3moe", "blk.1.ffn_down_exps.weight"),
        shape_of("qwen3moe", "blk.0.ffn_gate_inp.weight", &[64, 7]),
        shape_of("qwen3moe", "blk.0.ffn_up_exps.weight", &[64, 96, 5]),
        key_of("qwen3moe", "qwen3moe.expert_used_count", Key::Word(7)),
        key_of("qwen3moe", "qwen3moe.expert_used_count", Key::Word(0)),
        key_of("qwen3moe", "qwen3moe.expert_count", Key::Word(0)),
        key_of(
            "qwen3moe",
            "qwen3moe.expert_feed_forward_length",
            Key::Word(95),
        ),
        key_of("qwen3moe", "qwen3moe.expert_weights_scale", Key::Float(2.0)),
        (
            "qwen3moe",
            "blk.1.ffn_gate_inp.weight",
            spoil(|model| model.fill("blk.1.ffn_gate_inp.weight", Format::Q8_0, 0.5)),
        ),
        (
            "qwen3moe",
            "blk.1.ffn_up_exps.weight",
            spoil(|model| model.fill("blk.1.ffn_up_exps.weight", Format::F16, 0.5)),
        ),
    ]
}

#[test]
fn what_an_architecture_lacks_or_does_not_know_is_refused_by_name() {
    for kind in KINDS {
        assert_eq!(load(&kind.model(Format::Q8_0, 1)), Ok(()), "{}", kind.name);
    }
    for (kind, field, change) in structures_of_kinds() {
        let mut model = Kind::named(kind).model(Format::Q8_0, 1);
        change(&mut model);
        let error = load(&model).expect_err(field);
        assert_eq!(error.field(), field, "{kind}: {error}");
        assert!(error.to_string().contains(field), "{kind}: {error}");
    }
}
