//! The tensors of a model file, found and checked, with their numbers.
//!
//! The linter has proved that the file is well formed; this proves that it is a model this engine can
//! compute exactly: every tensor that the architecture needs is there with the right shape and a format
//! that operations exist for, and no tensor or key is there that would change the result and be ignored.

use thiserror::Error;

use super::Facts;
use super::llama as names;
use crate::attention::PAGE_TOKENS;
use crate::block;
use crate::gguf::{Format, Gguf, GgufError, TensorInfo};
use crate::matmul::{PackError, Source};
use crate::memory::OutOfMemory;

/// Why a file cannot be loaded. Nothing has been kept.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LoadError {
    /// The file's header lacks something or has it wrong.
    #[error(transparent)]
    Header(#[from] GgufError),
    /// A tensor is not there.
    #[error("{tensor}: is missing")]
    Missing {
        /// The tensor's name.
        tensor: String,
    },
    /// A tensor has another shape than the header's numbers say.
    #[error("{tensor}: has shape {found:?}, must be {expected:?}")]
    Shape {
        /// The tensor's name.
        tensor: String,
        /// Its shape in the file.
        found: Vec<u64>,
        /// The shape it must have.
        expected: Vec<u64>,
    },
    /// Something this engine cannot compute.
    #[error("{field}: {value} is not supported, only {supported}")]
    Unsupported {
        /// The key or tensor.
        field: String,
        /// What it is.
        value: String,
        /// What it may be.
        supported: String,
    },
    /// A weight, or a scale or an offset of weights, is infinite or NaN, or a divisor is not above zero.
    #[error("{tensor}: has {value} at {at}, must be {expected}")]
    Number {
        /// The tensor's name.
        tensor: String,
        /// Where in the tensor.
        at: String,
        /// What is there.
        value: String,
        /// What may be there.
        expected: &'static str,
    },
    /// The machine has not enough memory.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
}

impl LoadError {
    /// The key or the tensor at fault, as the message names it.
    pub fn field(&self) -> &str {
        match self {
            Self::Header(error) => error.field(),
            Self::Missing { tensor } | Self::Shape { tensor, .. } | Self::Number { tensor, .. } => {
                tensor
            }
            Self::Unsupported { field, .. } => field,
            Self::OutOfMemory(error) => error.what,
        }
    }
}

impl From<PackError> for LoadError {
    fn from(error: PackError) -> Self {
        match error {
            PackError::OutOfMemory(error) => Self::OutOfMemory(error),
            PackError::NotFinite {
                source_name,
                row,
                column,
            } => Self::Number {
                tensor: source_name,
                at: format!("row {row}, column {column}"),
                value: "infinity or NaN".to_owned(),
                expected: "a finite number",
            },
        }
    }
}

/// A model as it lies in its file.
pub(crate) struct Tensors<'a> {
    pub(crate) facts: Facts,
    pub(crate) epsilon: f32,
    pub(crate) rope_base: f32,
    pub(crate) rope_factors: Option<Vec<f32>>,
    pub(crate) embedding: Source<'a>,
    pub(crate) layers: Vec<LayerTensors<'a>>,
    pub(crate) output_norm: Vec<f32>,
    /// None where the embedding serves as the output too.
    pub(crate) output: Option<Source<'a>>,
}

/// One layer as it lies in its file.
pub(crate) struct LayerTensors<'a> {
    pub(crate) attention_norm: Vec<f32>,
    pub(crate) query: Source<'a>,
    pub(crate) key: Source<'a>,
    pub(crate) value: Source<'a>,
    pub(crate) attention_output: Source<'a>,
    pub(crate) feed_norm: Vec<f32>,
    pub(crate) gate: Source<'a>,
    pub(crate) up: Source<'a>,
    pub(crate) down: Source<'a>,
}

struct Loader<'a> {
    gguf: &'a Gguf<'a>,
    file: &'a [u8],
    used: Vec<&'a str>,
}

impl<'a> Tensors<'a> {
    pub(crate) fn find(gguf: &'a Gguf<'a>, file: &'a [u8]) -> Result<Self, LoadError> {
        let architecture = gguf.architecture()?;
        if architecture != "llama" {
            return Err(unsupported("general.architecture", architecture, "llama"));
        }
        let mut loader = Loader {
            gguf,
            file,
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
            Some(_) => Some(loader.divisors(names::ROPE_FACTORS, facts.head_width / 2)?),
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

fn key(architecture: &str, name: &str) -> String {
    format!("{architecture}.{name}")
}

pub(super) fn unsupported(field: &str, value: &str, supported: &str) -> LoadError {
    LoadError::Unsupported {
        field: field.to_owned(),
        value: value.to_owned(),
        supported: supported.to_owned(),
    }
}

fn number(tensor: &str, at: usize, value: f32, expected: &'static str) -> LoadError {
    LoadError::Number {
        tensor: tensor.to_owned(),
        at: at.to_string(),
        value: value.to_string(),
        expected,
    }
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
            page_bytes,
        })
    }

    fn layer(&mut self, facts: &Facts, layer: usize) -> Result<LayerTensors<'a>, LoadError> {
        let name = |tensor: &str| format!("blk.{layer}.{tensor}");
        let (width, feed) = (facts.width, facts.feed_width);
        let heads_width = facts.heads * facts.head_width;
        let kv_width = facts.kv_heads * facts.head_width;
        let gate = self.matrix(&name(names::GATE), feed, width)?;
        let up = self.matrix(&name(names::UP), feed, width)?;
        if gate.format != up.format {
            let expected = gate.format.name();
            return Err(unsupported(&name(names::UP), up.format.name(), expected));
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

    fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> Result<Source<'a>, LoadError> {
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
        Ok(Source {
            name: &tensor.name,
            format,
            rows,
            columns,
            bytes: &self.file[tensor.range.clone()],
        })
    }

    fn floats(&mut self, name: &str, length: usize) -> Result<Vec<f32>, LoadError> {
        let tensor = self.take(name, &[length as u64])?;
        if tensor.format != Format::F32 {
            return Err(unsupported(name, tensor.format.name(), "F32"));
        }
        let mut values = vec![0.0; length];
        block::unpack_row(tensor.format, &self.file[tensor.range.clone()], &mut values);
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(at) => Err(number(name, at, values[at], "a finite number")),
        }
    }

    fn divisors(&mut self, name: &str, length: usize) -> Result<Vec<f32>, LoadError> {
        let values = self.floats(name, length)?;
        match values.iter().position(|value| *value <= 0.0) {
            None => Ok(values),
            Some(at) => Err(number(name, at, values[at], "above 0")),
        }
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
