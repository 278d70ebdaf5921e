//! The tensors of a model file, found in its header and checked. Their numbers are not read here.
//!
//! The linter has proved that the file is well formed; this proves that it is a model this engine can
//! compute exactly: every tensor that the architecture needs is there with the right shape and a format
//! that operations exist for, and no tensor or key is there that would change the result and be ignored.

mod find;
mod keys;
pub(super) mod names;
mod stored;

use super::architecture::Architecture;
use super::{Facts, LoadError};
use crate::gguf::Gguf;
use crate::matmul::Rows;
use crate::rope;

use find::Finder;
pub(crate) use stored::Stored;

/// A model as it lies in its file.
pub(crate) struct Tensors<'a> {
    pub(crate) architecture: &'static Architecture,
    pub(crate) facts: Facts,
    pub(crate) epsilon: f32,
    /// What scores are multiplied by.
    pub(crate) score_scale: f32,
    pub(crate) embedding_scale: Option<f32>,
    /// How layers turn: all of them, or those that see everything and then those with a window.
    pub(crate) turns: Vec<rope::Turning>,
    /// Divisors of the frequencies of all turns.
    pub(crate) divisors: Option<Stored<'a>>,
    pub(crate) embedding: Stored<'a>,
    pub(crate) layers: Vec<LayerTensors<'a>>,
    pub(crate) output_norm: Stored<'a>,
    /// None where the embedding serves as the output too.
    pub(crate) output: Option<Stored<'a>>,
}

/// One layer as it lies in its file.
pub(crate) struct LayerTensors<'a> {
    /// Whether it sees a window only.
    pub(crate) windowed: bool,
    /// Its 0-based place among the layers that see as much.
    pub(crate) of_kind: usize,
    /// Which of the turns is its.
    pub(crate) turn: usize,
    pub(crate) attention_norm: Stored<'a>,
    /// Queries, keys, values.
    pub(crate) qkv: [Stored<'a>; 3],
    /// Of queries, keys and values.
    pub(crate) biases: Option<[Stored<'a>; 3]>,
    /// Of queries and keys.
    pub(crate) head_norms: Option<[Stored<'a>; 2]>,
    pub(crate) attention_output: Stored<'a>,
    pub(crate) attention_post_norm: Option<Stored<'a>>,
    pub(crate) feed_norm: Stored<'a>,
    pub(crate) router: Option<Stored<'a>>,
    /// One, where there is no router.
    pub(crate) experts: Vec<ExpertTensors<'a>>,
    pub(crate) feed_post_norm: Option<Stored<'a>>,
}

/// A feed-forward layer as it lies in its file.
#[derive(Clone, Copy)]
pub(crate) struct ExpertTensors<'a> {
    pub(crate) gate: Stored<'a>,
    pub(crate) up: Stored<'a>,
    pub(crate) down: Stored<'a>,
}

impl<'a> Tensors<'a> {
    pub(crate) fn find(gguf: &'a Gguf<'a>) -> Result<Self, LoadError> {
        Finder::new(gguf)?.find()
    }

    /// All matrices as they are packed, in this order: the embedding, the output if there is one, the layers.
    pub(super) fn matrices(&self) -> impl Iterator<Item = (Rows, Vec<Stored<'a>>)> {
        let outside = [Some(self.embedding), self.output];
        let outside = outside.into_iter().flatten();
        outside
            .map(|stored| (Rows::Joined, vec![stored]))
            .chain(self.layers.iter().flat_map(LayerTensors::matrices))
    }

    /// Everything that is kept as f32.
    pub(crate) fn vectors(&self) -> impl Iterator<Item = Stored<'a>> {
        let outside = [Some(self.output_norm), self.divisors];
        let layers = self.layers.iter().flat_map(LayerTensors::vectors);
        outside.into_iter().flatten().chain(layers)
    }
}

impl<'a> LayerTensors<'a> {
    fn matrices(&self) -> impl Iterator<Item = (Rows, Vec<Stored<'a>>)> {
        let attention = [
            (Rows::Joined, self.qkv.to_vec()),
            (Rows::Joined, vec![self.attention_output]),
        ];
        let experts = self.experts.clone().into_iter().flat_map(|expert| {
            [
                (Rows::Gated, vec![expert.gate, expert.up]),
                (Rows::Joined, vec![expert.down]),
            ]
        });
        attention.into_iter().chain(experts)
    }

    fn vectors(&self) -> impl Iterator<Item = Stored<'a>> {
        let one = [
            Some(self.attention_norm),
            self.attention_post_norm,
            Some(self.feed_norm),
            self.router,
            self.feed_post_norm,
        ];
        let biases = self.biases.into_iter().flatten();
        let norms = self.head_norms.into_iter().flatten();
        one.into_iter().flatten().chain(biases).chain(norms)
    }
}
