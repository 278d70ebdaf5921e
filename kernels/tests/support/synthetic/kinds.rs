//! A model of every architecture, with what its files may have besides: windows, divisors of rope, scalings.

use troop_kernels::gguf::Format;

use super::super::values::Dice;
use super::{Key, Shape, Synthetic, Tensor, encode};

/// What a model is made like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// What files and messages call it.
    pub name: &'static str,
    /// As `general.architecture` has it.
    pub architecture: &'static str,
    /// Tokens that layers with a window see.
    pub window: Option<u32>,
    biases: bool,
    head_norms: bool,
    post_norms: bool,
    fused: bool,
    experts: bool,
    rope: Rope,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rope {
    Plain,
    Linear,
    Divided,
    /// Stretched to a long context, and only half of a head turned.
    Stretched,
}

const PLAIN: Kind = Kind {
    name: "llama",
    architecture: "llama",
    window: None,
    biases: false,
    head_norms: false,
    post_norms: false,
    fused: false,
    experts: false,
    rope: Rope::Plain,
};

const fn named(name: &'static str, architecture: &'static str) -> Kind {
    Kind {
        name,
        architecture,
        ..PLAIN
    }
}

/// All of them.
pub const KINDS: [Kind; 11] = [
    PLAIN,
    Kind {
        rope: Rope::Linear,
        ..named("llama-linear", "llama")
    },
    Kind {
        rope: Rope::Divided,
        ..named("llama-divided", "llama")
    },
    Kind {
        window: Some(5),
        ..named("llama-window", "llama")
    },
    Kind {
        window: Some(5),
        head_norms: true,
        post_norms: true,
        ..named("gemma3", "gemma3")
    },
    Kind {
        window: Some(5),
        head_norms: true,
        post_norms: true,
        rope: Rope::Linear,
        ..named("gemma3-linear", "gemma3")
    },
    Kind {
        biases: true,
        ..named("qwen2", "qwen2")
    },
    Kind {
        head_norms: true,
        ..named("qwen3", "qwen3")
    },
    Kind {
        fused: true,
        ..named("phi3", "phi3")
    },
    Kind {
        fused: true,
        rope: Rope::Stretched,
        ..named("phi3-stretched", "phi3")
    },
    Kind {
        head_norms: true,
        experts: true,
        ..named("qwen3moe", "qwen3moe")
    },
];

/// Experts of a mixture, and how many of them are used.
pub const EXPERTS: [usize; 2] = [6, 2];

impl Kind {
    /// The one of that name.
    pub fn named(name: &str) -> Self {
        let found = KINDS.into_iter().find(|kind| kind.name == name);
        found.unwrap_or_else(|| panic!("no {name}"))
    }

    /// A shape that has whole blocks of a format, and layers of every sort.
    pub fn shape(&self, format: Format) -> Shape {
        let shape = Shape::of(format);
        match self.architecture {
            "gemma3" => Shape { layers: 7, ..shape },
            // Other readers want the heads to be as wide as the residual, together.
            "qwen2" | "phi3" => {
                let heads = if self.rope == Rope::Stretched { 2 } else { 4 };
                Shape {
                    heads,
                    kv_heads: heads / 2,
                    head_width: shape.width / heads,
                    ..shape
                }
            }
            _ => shape,
        }
    }

    /// A good model with all matrices in one format.
    pub fn model(&self, format: Format, seed: u64) -> Synthetic {
        self.shaped(self.shape(format), format, seed)
    }

    /// The same, of this shape.
    pub fn shaped(&self, shape: Shape, format: Format, seed: u64) -> Synthetic {
        let mut model = Synthetic {
            keys: self.keys(shape),
            tensors: Vec::new(),
        };
        let dice = &mut Dice(seed);
        let Shape {
            width, vocabulary, ..
        } = shape;
        model.matrix(dice, "token_embd.weight", format, vocabulary, width);
        for layer in 0..shape.layers {
            self.layer(&mut model, dice, shape, format, layer);
        }
        model.norm(dice, "output_norm.weight", width);
        model.matrix(dice, "output.weight", format, vocabulary, width);
        let pairs = |count: usize, step: f32| (0..count).map(move |i| 1.0 + i as f32 * step);
        let mut vector = |name: &str, values: Vec<f32>| model.vector(name, &values);
        match self.rope {
            Rope::Divided => {
                vector(
                    "rope_freqs.weight",
                    pairs(shape.head_width / 2, 0.5).collect(),
                );
            }
            Rope::Stretched => {
                let turned = shape.turned() / 2;
                vector("rope_factors_long.weight", pairs(turned, 0.75).collect());
                vector("rope_factors_short.weight", pairs(turned, 0.25).collect());
            }
            Rope::Plain | Rope::Linear => {}
        }
        model
    }

    fn keys(&self, shape: Shape) -> Vec<(String, Key)> {
        let key = |name: &str, value: Key| (format!("{}.{name}", self.architecture), value);
        let word = |name: &str, value: usize| key(name, Key::Word(value as u32));
        let mut keys = vec![
            (
                "general.architecture".to_owned(),
                Key::Text(self.architecture),
            ),
            word("block_count", shape.layers),
            word("context_length", shape.context),
            word("embedding_length", shape.width),
            word("feed_forward_length", shape.feed),
            word("attention.head_count", shape.heads),
            word("attention.head_count_kv", shape.kv_heads),
            word("attention.key_length", shape.head_width),
            word("attention.value_length", shape.head_width),
            key("attention.layer_norm_rms_epsilon", Key::Float(1e-5)),
            key("rope.freq_base", Key::Float(100_000.0)),
        ];
        if let Some(window) = self.window {
            keys.push(key("attention.sliding_window", Key::Word(window)));
        }
        if self.experts {
            keys.push(word("expert_count", EXPERTS[0]));
            keys.push(word("expert_used_count", EXPERTS[1]));
            keys.push(word("expert_feed_forward_length", shape.feed));
        }
        match self.rope {
            Rope::Linear => {
                keys.push(key("rope.scaling.type", Key::Text("linear")));
                keys.push(key("rope.scaling.factor", Key::Float(4.0)));
            }
            Rope::Stretched => {
                keys.push(word("rope.dimension_count", shape.turned()));
                keys.push(word("rope.scaling.original_context_length", 32));
                keys.push(key("rope.scaling.attn_factor", Key::Float(1.19)));
            }
            Rope::Plain | Rope::Divided => {}
        }
        keys
    }

    fn layer(
        &self,
        model: &mut Synthetic,
        dice: &mut Dice,
        shape: Shape,
        format: Format,
        layer: usize,
    ) {
        let Shape { width, feed, .. } = shape;
        let mixed = shape.heads * shape.head_width;
        let kv = shape.kv_heads * shape.head_width;
        let name = |tensor: &str| format!("blk.{layer}.{tensor}.weight");
        model.norm(dice, &name("attn_norm"), width);
        if self.fused {
            model.matrix(dice, &name("attn_qkv"), format, mixed + 2 * kv, width);
        } else {
            model.matrix(dice, &name("attn_q"), format, mixed, width);
            model.matrix(dice, &name("attn_k"), format, kv, width);
            model.matrix(dice, &name("attn_v"), format, kv, width);
        }
        if self.biases {
            for (part, length) in [("q", mixed), ("k", kv), ("v", kv)] {
                let values: Vec<f32> = (0..length).map(|_| dice.unit() / 2.0).collect();
                model.vector(&format!("blk.{layer}.attn_{part}.bias"), &values);
            }
        }
        if self.head_norms {
            model.norm(dice, &name("attn_q_norm"), shape.head_width);
            model.norm(dice, &name("attn_k_norm"), shape.head_width);
        }
        model.matrix(dice, &name("attn_output"), format, width, mixed);
        if self.post_norms {
            model.norm(dice, &name("post_attention_norm"), width);
            model.norm(dice, &name("post_ffw_norm"), width);
        }
        model.norm(dice, &name("ffn_norm"), width);
        if self.experts {
            let count = EXPERTS[0];
            model.matrix(dice, &name("ffn_gate_inp"), Format::F32, count, width);
            model.matrices(dice, &name("ffn_gate_exps"), format, count, feed, width);
            model.matrices(dice, &name("ffn_up_exps"), format, count, feed, width);
            model.matrices(dice, &name("ffn_down_exps"), format, count, width, feed);
        } else if self.fused {
            model.matrix(dice, &name("ffn_up"), format, 2 * feed, width);
            model.matrix(dice, &name("ffn_down"), format, width, feed);
        } else {
            model.matrix(dice, &name("ffn_gate"), format, feed, width);
            model.matrix(dice, &name("ffn_up"), format, feed, width);
            model.matrix(dice, &name("ffn_down"), format, width, feed);
        }
    }
}

impl Shape {
    /// Elements of a head that are turned, where not all are.
    fn turned(&self) -> usize {
        (self.head_width / 2).next_multiple_of(16)
    }
}

impl Synthetic {
    fn vector(&mut self, name: &str, values: &[f32]) {
        self.tensors.push(Tensor {
            name: name.to_owned(),
            shape: vec![values.len() as u64],
            format: Format::F32,
            bytes: encode(Format::F32, values),
        });
    }

    /// As many matrices in one tensor.
    fn matrices(
        &mut self,
        dice: &mut Dice,
        name: &str,
        format: Format,
        count: usize,
        rows: usize,
        columns: usize,
    ) {
        self.matrix(dice, name, format, count * rows, columns);
        self.tensor(name).shape = vec![columns as u64, rows as u64, count as u64];
    }
}
