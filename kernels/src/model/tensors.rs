//! The tensors of a model file, found in its header and checked. Their numbers are not read here.
//!
//! The linter has proved that the file is well formed; this proves that it is a model this engine can
//! compute exactly: every tensor that the architecture needs is there with the right shape and a format
//! that operations exist for, and no tensor or key is there that would change the result and be ignored.

mod stored;

use super::llama as names;
use super::load_error::unsupported;
use super::{Facts, LoadError};
use crate::attention::PAGE_TOKENS;
use crate::block;
use crate::gguf::{Format, Gguf, TensorInfo};
use crate::matmul::Rows;

pub(crate) use stored::Stored;

/// A model as it lies in its file.
pub(crate) struct Tensors<'a> {
    pub(crate) facts: Facts,
    pub(crate) epsilon: f32,
    pub(crate) rope_base: f32,
    pub(crate) rope_factors: Option<Stored<'a>>,
    pub(crate) embedding: Stored<'a>,
    pub(crate) layers: Vec<LayerTensors<'a>>,
    pub(crate) output_norm: Stored<'a>,
    /// None where the embedding serves as the output too.
    pub(crate) output: Option<Stored<'a>>,
}

/// One layer as it lies in its file.
pub(crate) struct LayerTensors<'a> {
    pub(crate) attention_norm: Stored<'a>,
    pub(crate) query: Stored<'a>,
    pub(crate) key: Stored<'a>,
    pub(crate) value: Stored<'a>,
    pub(crate) attention_output: Stored<'a>,
    pub(crate) feed_norm: Stored<'a>,
    pub(crate) gate: Stored<'a>,
    pub(crate) up: Stored<'a>,
    pub(crate) down: Stored<'a>,
}

struct Loader<'a> {
    gguf: &'a Gguf<'a>,
    used: Vec<&'a str>,
}

impl<'a> Tensors<'a> {
    pub(crate) fn find(gguf: &'a Gguf<'a>) -> Result<Self, LoadError> {
        let architecture = gguf.architecture()?;
        if architecture != "llama" {
            return Err(unsupported("general.architecture", architecture, "llama"));
        }
        let mut loader = Loader {
            gguf,
            used: Vec::new(),
        };
        let facts = loader.facts(architecture)?;
        let width = facts.width;
        let embedding = loader.matrix(names::EMBEDDING, facts.vocabulary, width)?;
        let output = match gguf.tensor(names::OUTPUT) {
            Some(_) => Some(loader.matrix(names::OUTPUT, facts.vocabulary, width)?),
            None => None,
        };
        let layers: Result<Vec<_>, _> = (0..facts.layers)
            .map(|layer| loader.layer(&facts, layer))
            .collect();
        let layers = layers?;
        let output_norm = loader.floats(names::OUTPUT_NORM, width)?;
        let rope_factors = match gguf.tensor(names::ROPE_FACTORS) {
            Some(_) => Some(loader.floats(names::ROPE_FACTORS, facts.head_width / 2)?),
            None => None,
        };
        loader.refuse_unknown_tensors()?;
        let epsilon = gguf.f32(&key(architecture, names::EPSILON))?;
        let base = key(architecture, names::ROPE_BASE);
        let rope_base = gguf.f32_or(&base, names::ROPE_BASE_DEFAULT)?;
        Ok(Self {
            facts,
            epsilon,
            rope_base,
            rope_factors,
            embedding,
            layers,
            output_norm,
            output,
        })
    }
}

impl<'a> LayerTensors<'a> {
    /// The layer's matrices as they are packed, in this order.
    pub(super) fn matrices(&self) -> [(Rows, Vec<Stored<'a>>); 4] {
        [
            (Rows::Joined, vec![self.query, self.key, self.value]),
            (Rows::Joined, vec![self.attention_output]),
            (Rows::Gated, vec![self.gate, self.up]),
            (Rows::Joined, vec![self.down]),
        ]
    }
}

impl<'a> Tensors<'a> {
    /// All matrices as they are packed, in this order: the embedding, the output if there is one, the layers.
    pub(super) fn matrices(&self) -> Vec<(Rows, Vec<Stored<'a>>)> {
        let outside = [Some(self.embedding), self.output];
        let outside = outside.into_iter().flatten();
        outside
            .map(|stored| (Rows::Joined, vec![stored]))
            .chain(self.layers.iter().flat_map(LayerTensors::matrices))
            .collect()
    }

    /// Everything that stays f32 as it is.
    pub(crate) fn vectors(&self) -> impl Iterator<Item = Stored<'a>> {
        let outside = [Some(self.output_norm), self.rope_factors];
        let layers = self.layers.iter();
        let layers = layers.flat_map(|layer| [layer.attention_norm, layer.feed_norm]);
        outside.into_iter().flatten().chain(layers)
    }
}

fn key(architecture: &str, name: &str) -> String {
    format!("{architecture}.{name}")
}

impl<'a> Loader<'a> {
    fn facts(&self, architecture: &str) -> Result<Facts, LoadError> {
        let gguf = self.gguf;
        let count = |name: &str, limit: usize| -> Result<usize, LoadError> {
            let key = key(architecture, name);
            let value = gguf.u32(&key)? as usize;
            if value == 0 || value > limit {
                return Err(unsupported(
                    &key,
                    &value.to_string(),
                    &format!("1..={limit}"),
                ));
            }
            Ok(value)
        };
        let heads = count(names::HEADS, 1 << 10)?;
        let width = count(names::WIDTH, 1 << 17)?;
        let kv_heads = match gguf.has(&key(architecture, names::KV_HEADS)) {
            true => count(names::KV_HEADS, heads)?,
            false => heads,
        };
        let head_width = match gguf.has(&key(architecture, names::KEY_WIDTH)) {
            true => count(names::KEY_WIDTH, 1 << 10)?,
            false => width / heads,
        };
        let fixed = [
            (names::VALUE_WIDTH, head_width as u32),
            (names::ROPE_DIMENSIONS, head_width as u32),
            (names::EXPERTS, 0),
        ];
        for (name, only) in fixed {
            let key = key(architecture, name);
            let value = gguf.u32_or(&key, only)?;
            if value != only {
                return Err(unsupported(&key, &value.to_string(), &only.to_string()));
            }
        }
        let scaling = key(architecture, names::ROPE_SCALING);
        if gguf.has(&scaling) && gguf.str(&scaling)? != "none" {
            return Err(unsupported(&scaling, gguf.str(&scaling)?, "none"));
        }
        if !heads.is_multiple_of(kv_heads) || head_width == 0 || !head_width.is_multiple_of(16) {
            let value = format!("{heads} heads over {kv_heads}, {head_width} wide");
            let supported = "a multiple of the kv heads, a multiple of 16 wide";
            return Err(unsupported(
                &key(architecture, names::HEADS),
                &value,
                supported,
            ));
        }
        let embedding = self.tensor(names::EMBEDDING)?;
        let vocabulary = embedding.shape.get(1).copied().unwrap_or(0);
        if vocabulary == 0 || vocabulary > 1 << 21 {
            let limit = format!("1..={} rows", 1 << 21);
            return Err(unsupported(
                names::EMBEDDING,
                &format!("{vocabulary} rows"),
                &limit,
            ));
        }
        let feed_width = count(names::FEED_WIDTH, 1 << 20)?;
        if !feed_width.is_multiple_of(16) {
            let field = key(architecture, names::FEED_WIDTH);
            return Err(unsupported(
                &field,
                &feed_width.to_string(),
                "a multiple of 16",
            ));
        }
        let layers = count(names::LAYERS, 1 << 10)?;
        let page_bytes = layers as u64 * kv_heads as u64 * (4 * PAGE_TOKENS * head_width) as u64;
        Ok(Facts {
            architecture: architecture.to_owned(),
            layers,
            width,
            heads,
            kv_heads,
            head_width,
            feed_width,
            context: count(names::CONTEXT, 1 << 24)?,
            vocabulary: vocabulary as usize,
            weight_bytes: 0,
            window: 0,
            page_bytes,
            window_page_bytes: 0,
        })
    }

    fn layer(&mut self, facts: &Facts, layer: usize) -> Result<LayerTensors<'a>, LoadError> {
        let name = |tensor: &str| format!("blk.{layer}.{tensor}");
        let (width, feed) = (facts.width, facts.feed_width);
        let heads_width = facts.heads * facts.head_width;
        let kv_width = facts.kv_heads * facts.head_width;
        let gate = self.matrix(&name(names::GATE), feed, width)?;
        let up = self.matrix(&name(names::UP), feed, width)?;
        if gate.format() != up.format() {
            let expected = gate.format().name();
            return Err(unsupported(&name(names::UP), up.format().name(), expected));
        }
        Ok(LayerTensors {
            attention_norm: self.floats(&name(names::ATTENTION_NORM), width)?,
            query: self.matrix(&name(names::QUERY), heads_width, width)?,
            key: self.matrix(&name(names::KEY), kv_width, width)?,
            value: self.matrix(&name(names::VALUE), kv_width, width)?,
            attention_output: self.matrix(&name(names::ATTENTION_OUTPUT), width, heads_width)?,
            feed_norm: self.floats(&name(names::FEED_NORM), width)?,
            gate,
            up,
            down: self.matrix(&name(names::DOWN), width, feed)?,
        })
    }

    fn tensor(&self, name: &str) -> Result<&'a TensorInfo, LoadError> {
        let missing = || LoadError::Missing {
            tensor: name.to_owned(),
        };
        self.gguf.tensor(name).ok_or_else(missing)
    }

    fn take(&mut self, name: &str, expected: &[u64]) -> Result<&'a TensorInfo, LoadError> {
        let tensor = self.tensor(name)?;
        if tensor.shape != expected {
            return Err(LoadError::Shape {
                tensor: name.to_owned(),
                found: tensor.shape.clone(),
                expected: expected.to_vec(),
            });
        }
        self.used.push(&tensor.name);
        Ok(tensor)
    }

    fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> Result<Stored<'a>, LoadError> {
        let tensor = self.take(name, &[columns as u64, rows as u64])?;
        let format = tensor.format;
        let whole = format.row_bytes(columns).is_some();
        if !block::SUPPORTED.contains(&format) || !whole {
            let names: Vec<&str> = block::SUPPORTED
                .iter()
                .map(|format| format.name())
                .collect();
            return Err(unsupported(name, format.name(), &names.join(", ")));
        }
        Ok(Stored {
            tensor,
            rows,
            columns,
        })
    }

    fn floats(&mut self, name: &str, length: usize) -> Result<Stored<'a>, LoadError> {
        let tensor = self.take(name, &[length as u64])?;
        if tensor.format != Format::F32 {
            return Err(unsupported(name, tensor.format.name(), "F32"));
        }
        Ok(Stored {
            tensor,
            rows: 1,
            columns: length,
        })
    }

    /// A tensor that nobody asked for would change the result if it were known what it does.
    fn refuse_unknown_tensors(&mut self) -> Result<(), LoadError> {
        self.used.sort_unstable();
        let known = |tensor: &&TensorInfo| self.used.binary_search(&tensor.name.as_str()).is_ok();
        match self.gguf.tensors().iter().find(|tensor| !known(tensor)) {
            None => Ok(()),
            Some(tensor) => Err(unsupported(
                "tensor",
                &tensor.name,
                "the tensors of the llama architecture",
            )),
        }
    }
}
