//! Files that are well formed and no model this engine can compute exactly: each is refused with an error
//! that names the key or the tensor, by the engine's loader and by the yardstick alike.

#[path = "support/gguf_file.rs"]
mod gguf_file;
#[path = "support/synthetic.rs"]
mod synthetic;
#[path = "support/vectors/values.rs"]
mod values;

use std::sync::Arc;

use half::f16;
use synthetic::{Key, Shape, Synthetic, Tensor, encode};
use troop_kernels::gguf::{Format, Gguf};
use troop_kernels::isa::Isa;
use troop_kernels::model::{Evaluator, EvaluatorError, LoadError, Model, Pages};
use troop_kernels::yardstick::Yardstick;

type Spoil = Box<dyn Fn(&mut Synthetic)>;

fn spoil(change: impl Fn(&mut Synthetic) + 'static) -> Spoil {
    Box::new(change)
}

fn load(model: &Synthetic) -> Result<(), LoadError> {
    let file = model.file();
    let gguf = Gguf::parse(&file)?;
    Model::load(&gguf, &file, Isa::detect()).map(drop)
}

/// Refused by its structure: what it is called, the field named, what is done to a good model.
fn structures() -> Vec<(&'static str, &'static str, Spoil)> {
    let key = |name: &'static str, value: Key| spoil(move |model| model.key(name, value.clone()));
    let missing =
        |name: &'static str| spoil(move |model| model.tensors.retain(|tensor| tensor.name != name));
    let without = |name: &'static str| spoil(move |model| model.keys.retain(|key| key.0 != name));
    let format =
        |name: &'static str, format: Format| spoil(move |model| model.fill(name, format, 0.5));
    let reshape = |name: &'static str, shape: &'static [u64]| {
        spoil(move |model| {
            let tensor = model.tensor(name);
            let count = shape.iter().product::<u64>() as usize;
            (tensor.shape, tensor.format) = (shape.to_vec(), Format::F32);
            tensor.bytes = encode(Format::F32, &vec![0.5; count]);
        })
    };
    vec![
        (
            "no architecture",
            "general.architecture",
            without("general.architecture"),
        ),
        (
            "another architecture",
            "general.architecture",
            key("general.architecture", Key::Text("mamba")),
        ),
        (
            "no layers told",
            "llama.block_count",
            without("llama.block_count"),
        ),
        (
            "no width told",
            "llama.embedding_length",
            without("llama.embedding_length"),
        ),
        (
            "no heads told",
            "llama.attention.head_count",
            without("llama.attention.head_count"),
        ),
        (
            "no feed-forward width told",
            "llama.feed_forward_length",
            without("llama.feed_forward_length"),
        ),
        (
            "no context told",
            "llama.context_length",
            without("llama.context_length"),
        ),
        (
            "no epsilon told",
            "llama.attention.layer_norm_rms_epsilon",
            without("llama.attention.layer_norm_rms_epsilon"),
        ),
        (
            "layers as a float",
            "llama.block_count",
            key("llama.block_count", Key::Float(2.0)),
        ),
        (
            "more layers than there are",
            "blk.2.attn_q.weight",
            key("llama.block_count", Key::Word(3)),
        ),
        (
            "fewer layers than there are",
            "tensor",
            key("llama.block_count", Key::Word(1)),
        ),
        (
            "too many layers",
            "llama.block_count",
            key("llama.block_count", Key::Word(4096)),
        ),
        (
            "a width of its own",
            "token_embd.weight",
            key("llama.embedding_length", Key::Word(96)),
        ),
        (
            "heads no multiple of 16 wide",
            "llama.attention.head_count",
            key("llama.attention.key_length", Key::Word(24)),
        ),
        (
            "another width of values",
            "llama.attention.value_length",
            key("llama.attention.value_length", Key::Word(32)),
        ),
        (
            "half of a head turned",
            "llama.rope.dimension_count",
            key("llama.rope.dimension_count", Key::Word(8)),
        ),
        (
            "scaled rope",
            "llama.rope.scaling.type",
            key("llama.rope.scaling.type", Key::Text("yarn")),
        ),
        (
            "experts",
            "llama.expert_count",
            key("llama.expert_count", Key::Word(8)),
        ),
        (
            "no kv heads",
            "llama.attention.head_count_kv",
            key("llama.attention.head_count_kv", Key::Word(0)),
        ),
        (
            "an odd feed-forward width",
            "llama.feed_forward_length",
            key("llama.feed_forward_length", Key::Word(90)),
        ),
        (
            "no embedding",
            "token_embd.weight",
            missing("token_embd.weight"),
        ),
        (
            "no last norm",
            "output_norm.weight",
            missing("output_norm.weight"),
        ),
        (
            "no queries",
            "blk.1.attn_q.weight",
            missing("blk.1.attn_q.weight"),
        ),
        (
            "no norm",
            "blk.0.ffn_norm.weight",
            missing("blk.0.ffn_norm.weight"),
        ),
        (
            "a short norm",
            "blk.1.attn_norm.weight",
            reshape("blk.1.attn_norm.weight", &[63]),
        ),
        (
            "a matrix for a norm",
            "output_norm.weight",
            reshape("output_norm.weight", &[64, 1]),
        ),
        (
            "a matrix on its side",
            "blk.0.attn_k.weight",
            reshape("blk.0.attn_k.weight", &[32, 64]),
        ),
        (
            "rows of odd length",
            "blk.0.ffn_up.weight",
            reshape("blk.0.ffn_up.weight", &[63, 96]),
        ),
        (
            "another vocabulary",
            "output.weight",
            reshape("output.weight", &[64, 41]),
        ),
        (
            "an embedding of no rows",
            "token_embd.weight",
            reshape("token_embd.weight", &[64]),
        ),
        (
            "three dimensions",
            "blk.0.ffn_down.weight",
            reshape("blk.0.ffn_down.weight", &[96, 64, 1]),
        ),
        (
            "an F16 norm",
            "blk.0.attn_norm.weight",
            format("blk.0.attn_norm.weight", Format::F16),
        ),
        (
            "gates and ups apart",
            "blk.1.ffn_up.weight",
            format("blk.1.ffn_up.weight", Format::F16),
        ),
        (
            "a format without a rule",
            "blk.0.attn_v.weight",
            spoil(|model| {
                let tensor = model.tensor("blk.0.attn_v.weight");
                tensor.format = Format::IQ4_NL;
                tensor.bytes = vec![0; 64 * 32 / 32 * 18];
            }),
        ),
        (
            "rows of half a block",
            "tensor blk.0.attn_v.weight dimension 0",
            spoil(|model| model.tensor("blk.0.attn_v.weight").shape = vec![48, 32]),
        ),
        (
            "a tensor too many",
            "tensor",
            spoil(|model| {
                let bias = Tensor {
                    name: "blk.0.attn_q.bias".to_owned(),
                    ..model.tensors[1].clone()
                };
                model.tensors.push(bias);
            }),
        ),
        (
            "divisors of rope of the wrong length",
            "rope_freqs.weight",
            spoil(|model| divisors(model, &[1.0; 9])),
        ),
    ]
}

fn divisors(model: &mut Synthetic, values: &[f32]) {
    model.tensors.push(Tensor {
        name: "rope_freqs.weight".to_owned(),
        shape: vec![values.len() as u64],
        format: Format::F32,
        bytes: encode(Format::F32, values),
    });
}

#[test]
fn what_is_no_model_is_refused_by_the_name_of_its_field() {
    assert_eq!(load(&Synthetic::new(Shape::SMALL, Format::Q8_0, 1)), Ok(()));
    for (name, field, change) in structures() {
        let mut model = Synthetic::new(Shape::SMALL, Format::Q8_0, 1);
        change(&mut model);
        let error = load(&model).expect_err(name);
        assert_eq!(error.field(), field, "{name}: {error}");
        assert!(error.to_string().contains(field), "{name}: {error}");

        // What cannot be computed cannot be judged either.
        let file = model.file();
        if let Ok(gguf) = Gguf::parse(&file) {
            let yardstick = Yardstick::new(&gguf, &file, 1).err();
            assert_eq!(yardstick, Some(error), "{name}");
        }
    }
}

#[test]
fn a_number_that_is_not_finite_is_refused_by_tensor_and_place() {
    let infinite = f16::INFINITY.to_le_bytes();
    let undefined = f16::NAN.to_le_bytes();
    // Format, tensor, byte in it, what is written there, where the error says it is.
    let table: Vec<(Format, &str, usize, &[u8], &str)> = vec![
        (
            Format::Q8_0,
            "blk.0.attn_q.weight",
            0,
            &infinite,
            "row 0, column 0",
        ),
        (
            Format::Q8_0,
            "blk.1.ffn_down.weight",
            63 * 102 + 68,
            &undefined,
            "row 63, column 64",
        ),
        (
            Format::Q4_1,
            "blk.0.attn_k.weight",
            40 * 5 + 20,
            &infinite,
            "row 5, column 32",
        ),
        (
            Format::Q4_1,
            "token_embd.weight",
            40 * 39 + 2,
            &undefined,
            "row 39, column 0",
        ),
        (
            Format::F16,
            "blk.1.ffn_gate.weight",
            2 * (64 * 33 + 7),
            &infinite,
            "row 33, column 7",
        ),
        (
            Format::BF16,
            "output.weight",
            2 * (64 * 32 + 63),
            &[0x80, 0xff],
            "row 32, column 63",
        ),
        (
            Format::F32,
            "blk.0.attn_output.weight",
            4 * 97,
            &[0, 0, 0x80, 0x7f],
            "row 1, column 1",
        ),
        (
            Format::F32,
            "blk.1.ffn_norm.weight",
            4 * 9,
            &[1, 0, 0x80, 0xff],
            "9",
        ),
        (
            Format::Q5_1,
            "blk.0.attn_v.weight",
            48 * 31 + 24 + 2,
            &infinite,
            "row 31, column 32",
        ),
        (
            Format::Q4_K,
            "blk.1.ffn_down.weight",
            288 * 255 + 144 + 2,
            &infinite,
            "row 255, column 256",
        ),
        (
            Format::Q6_K,
            "token_embd.weight",
            210 * 39 + 208,
            &undefined,
            "row 39, column 0",
        ),
        (
            Format::Q8_0,
            "output_norm.weight",
            4 * 63,
            &[0, 0, 0x80, 0xff],
            "63",
        ),
    ];
    for (format, name, at, bytes, place) in table {
        let mut model = Synthetic::new(Shape::of(format), format, 2);
        model.tensor(name).bytes[at..at + bytes.len()].copy_from_slice(bytes);
        let file = model.file();
        let gguf = Gguf::parse(&file).unwrap();
        for isa in Isa::available() {
            let error = Model::load(&gguf, &file, isa).map(drop).expect_err(name);
            assert_eq!(error.field(), name, "{error}");
            let LoadError::Number { at, .. } = &error else {
                panic!("{name}: {error}");
            };
            assert_eq!(at, place, "{name} by {}: {error}", isa.name());
        }
    }
    for values in [
        [1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        [-1.0; 8],
        [f32::NAN; 8],
    ] {
        let mut model = Synthetic::new(Shape::SMALL, Format::Q8_0, 2);
        divisors(&mut model, &values);
        assert_eq!(load(&model).unwrap_err().field(), "rope_freqs.weight");
    }
}

#[test]
fn memory_that_is_not_there_is_an_error_too() {
    let file = Synthetic::new(Shape::SMALL, Format::Q8_0, 3).file();
    let gguf = Gguf::parse(&file).unwrap();
    let model = Model::load(&gguf, &file, Isa::detect()).unwrap();
    let error = Pages::new(model.facts(), usize::MAX, 0).unwrap_err();
    assert_eq!(error.what, "pages of keys and values");
    let evaluator = Evaluator::new(Arc::new(model), 1, 1 << 40);
    let Err(EvaluatorError::OutOfMemory(workspace)) = evaluator else {
        panic!("some hundred terabytes were there");
    };
    assert_eq!(workspace.what, "the workspace of a step");
    assert!(
        LoadError::from(error)
            .to_string()
            .starts_with("cannot allocate")
    );
}
