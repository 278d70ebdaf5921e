//! Small models whose weights come from a seed: files of every architecture in any supported format,
//! made good, to be evaluated as they are or spoilt in one place.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part"
)]

use half::{bf16, f16};
use troop_kernels::gguf::Format;

#[path = "synthetic/fine.rs"]
mod fine;
#[path = "synthetic/kinds.rs"]
pub mod kinds;

use super::gguf_file::File;
use super::values::Dice;

/// Sizes of a model.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub width: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_width: usize,
    pub feed: usize,
    pub layers: usize,
    pub vocabulary: usize,
    pub context: usize,
}

impl Shape {
    /// Two layers, grouped heads, and nothing that is a whole number of strips.
    pub const SMALL: Self = Self {
        width: 64,
        heads: 6,
        kv_heads: 2,
        head_width: 16,
        feed: 96,
        layers: 2,
        vocabulary: 40,
        context: 128,
    };

    /// The same with rows of 256, for formats that store so many elements together.
    pub const LARGE: Self = Self {
        width: 256,
        heads: 8,
        kv_heads: 2,
        head_width: 32,
        feed: 512,
        ..Self::SMALL
    };

    /// A shape that has whole blocks of a format.
    pub const fn of(format: Format) -> Self {
        match format {
            Format::Q4_K | Format::Q5_K | Format::Q6_K => Self::LARGE,
            _ => Self::SMALL,
        }
    }
}

/// A tensor with its bytes.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub name: String,
    pub shape: Vec<u64>,
    pub format: Format,
    pub bytes: Vec<u8>,
}

/// A value of the header.
#[derive(Clone, Debug)]
pub enum Key {
    Word(u32),
    Float(f32),
    Text(&'static str),
}

/// A model before it becomes a file.
#[derive(Clone, Debug)]
pub struct Synthetic {
    pub keys: Vec<(String, Key)>,
    pub tensors: Vec<Tensor>,
}

impl Synthetic {
    /// A good model with all matrices in one format.
    pub fn new(shape: Shape, format: Format, seed: u64) -> Self {
        let word = |name: &str, value: usize| (format!("llama.{name}"), Key::Word(value as u32));
        let keys = vec![
            ("general.architecture".to_owned(), Key::Text("llama")),
            word("block_count", shape.layers),
            word("context_length", shape.context),
            word("embedding_length", shape.width),
            word("feed_forward_length", shape.feed),
            word("attention.head_count", shape.heads),
            word("attention.head_count_kv", shape.kv_heads),
            word("attention.key_length", shape.head_width),
            (
                "llama.attention.layer_norm_rms_epsilon".to_owned(),
                Key::Float(1e-5),
            ),
        ];
        let mut model = Self {
            keys,
            tensors: Vec::new(),
        };
        let dice = &mut Dice(seed);
        let mixed = shape.heads * shape.head_width;
        let kv = shape.kv_heads * shape.head_width;
        model.matrix(
            dice,
            "token_embd.weight",
            format,
            shape.vocabulary,
            shape.width,
        );
        for layer in 0..shape.layers {
            let name = |tensor: &str| format!("blk.{layer}.{tensor}.weight");
            model.norm(dice, &name("attn_norm"), shape.width);
            model.matrix(dice, &name("attn_q"), format, mixed, shape.width);
            model.matrix(dice, &name("attn_k"), format, kv, shape.width);
            model.matrix(dice, &name("attn_v"), format, kv, shape.width);
            model.matrix(dice, &name("attn_output"), format, shape.width, mixed);
            model.norm(dice, &name("ffn_norm"), shape.width);
            model.matrix(dice, &name("ffn_gate"), format, shape.feed, shape.width);
            model.matrix(dice, &name("ffn_up"), format, shape.feed, shape.width);
            model.matrix(dice, &name("ffn_down"), format, shape.width, shape.feed);
        }
        model.norm(dice, "output_norm.weight", shape.width);
        model.matrix(dice, "output.weight", format, shape.vocabulary, shape.width);
        model
    }

    fn matrix(&mut self, dice: &mut Dice, name: &str, format: Format, rows: usize, columns: usize) {
        // Products of unit rows keep their size from layer to layer.
        let size = (3.0 / columns as f32).sqrt();
        let values: Vec<f32> = (0..rows * columns).map(|_| dice.unit() * size).collect();
        self.tensors.push(Tensor {
            name: name.to_owned(),
            shape: vec![columns as u64, rows as u64],
            format,
            bytes: encode(format, &values),
        });
    }

    fn norm(&mut self, dice: &mut Dice, name: &str, length: usize) {
        let values: Vec<f32> = (0..length).map(|_| 1.0 + dice.unit() / 4.0).collect();
        self.tensors.push(Tensor {
            name: name.to_owned(),
            shape: vec![length as u64],
            format: Format::F32,
            bytes: encode(Format::F32, &values),
        });
    }

    /// The tensor of that name.
    pub fn tensor(&mut self, name: &str) -> &mut Tensor {
        let found = self.tensors.iter_mut().find(|tensor| tensor.name == name);
        found.unwrap_or_else(|| panic!("no {name}"))
    }

    /// Stores a tensor in another format, all elements the same.
    pub fn fill(&mut self, name: &str, format: Format, value: f32) {
        let tensor = self.tensor(name);
        let count = tensor.shape.iter().product::<u64>() as usize;
        tensor.format = format;
        tensor.bytes = encode(format, &vec![value; count]);
    }

    /// Changes a key, or adds it.
    pub fn key(&mut self, name: &str, value: Key) {
        self.keys.retain(|key| key.0 != name);
        self.keys.push((name.to_owned(), value));
    }

    /// The model file.
    pub fn file(&self) -> Vec<u8> {
        self.write(File::new())
    }

    /// The model file, after the keys that `file` has already.
    pub fn write(&self, mut file: File) -> Vec<u8> {
        for (name, key) in &self.keys {
            file = match key {
                Key::Word(word) => file.word(name, *word),
                Key::Float(float) => file.float(name, *float),
                Key::Text(text) => file.text(name, text),
            };
        }
        for tensor in &self.tensors {
            file = file.stored(
                &tensor.name,
                &tensor.shape,
                tensor.format.id(),
                &tensor.bytes,
            );
        }
        file.done()
    }
}

/// Numbers in a format, as near as it comes.
pub fn encode(format: Format, values: &[f32]) -> Vec<u8> {
    match format {
        Format::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        Format::F16 => values
            .iter()
            .flat_map(|x| f16::from_f32(*x).to_le_bytes())
            .collect(),
        Format::BF16 => values
            .iter()
            .flat_map(|x| bf16::from_f32(*x).to_le_bytes())
            .collect(),
        Format::Q4_0 => blocks(values, |block| centred(block, 4)),
        Format::Q4_1 => blocks(values, |block| offset(block, 4)),
        Format::Q5_0 => blocks(values, |block| centred(block, 5)),
        Format::Q5_1 => blocks(values, |block| offset(block, 5)),
        Format::Q8_0 => blocks(values, |block| centred(block, 8)),
        Format::Q4_K => fine::with_offset(values, 4),
        Format::Q5_K => fine::with_offset(values, 5),
        Format::Q6_K => fine::without_offset(values),
        other => panic!("{} is not written here", other.name()),
    }
}

fn blocks(values: &[f32], block: impl Fn(&[f32]) -> Vec<u8>) -> Vec<u8> {
    values.chunks_exact(32).flat_map(block).collect()
}

/// A block with a scale: integers of so many bits, the same distance on both sides of zero.
fn centred(values: &[f32], bits: u32) -> Vec<u8> {
    let most = (1 << (bits - 1)) as f32 - 1.0;
    let d = f16::from_f32(values.iter().fold(0.0f32, |most, x| most.max(x.abs())) / most);
    let q = values.iter().map(|x| match d.to_f32() {
        0.0 => 0,
        d => (x / d).round_ties_even().clamp(-most, most) as i8 as u8,
    });
    if bits == 8 {
        return d.to_le_bytes().into_iter().chain(q).collect();
    }
    let codes: Vec<u8> = q.map(|q| q.wrapping_add(1 << (bits - 1))).collect();
    [d.to_le_bytes().to_vec(), packed(&codes, bits)].concat()
}

/// A block with a scale and an offset: integers of so many bits, none below zero.
fn offset(values: &[f32], bits: u32) -> Vec<u8> {
    let steps = (1 << bits) as f32 - 1.0;
    let least = values.iter().copied().fold(f32::INFINITY, f32::min);
    let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (d, m) = (f16::from_f32((most - least) / steps), f16::from_f32(least));
    let q = values.iter().map(|x| match d.to_f32() {
        0.0 => 0,
        d => ((x - m.to_f32()) / d).round_ties_even().clamp(0.0, steps) as u8,
    });
    let codes: Vec<u8> = q.collect();
    [d.to_le_bytes(), m.to_le_bytes()]
        .concat()
        .into_iter()
        .chain(packed(&codes, bits))
        .collect()
}

/// 32 integers of 4 or 5 bits as ggml stores them: the fifth bits first.
fn packed(codes: &[u8], bits: u32) -> Vec<u8> {
    let fifths: u32 = (0..32).map(|j| u32::from(codes[j] >> 4) << j).sum();
    let mut bytes = match bits {
        5 => fifths.to_le_bytes().to_vec(),
        _ => Vec::new(),
    };
    bytes.extend((0..16).map(|j| codes[j] & 15 | (codes[j + 16] & 15) << 4));
    bytes
}
