//! From names to tensors: each must be there, in the shape that the keys say.

use super::super::architecture::{ALL, Architecture, Divisors};
use super::super::load_error::unsupported;
use super::super::{Facts, LoadError};
use super::keys::Keys;
use super::{ExpertTensors, LayerTensors, Stored, Tensors, names};
use crate::block;
use crate::gguf::{Format, Gguf, TensorInfo};

/// Looks for tensors, and remembers which it has found.
pub(super) struct Finder<'a> {
    gguf: &'a Gguf<'a>,
    architecture: &'static Architecture,
    used: Vec<&'a str>,
}

impl<'a> Finder<'a> {
    pub(super) fn new(gguf: &'a Gguf<'a>) -> Result<Self, LoadError> {
        let name = gguf.architecture()?;
        let Some(architecture) = Architecture::named(name) else {
            let names: Vec<&str> = ALL.iter().map(|one| one.name).collect();
            return Err(unsupported("general.architecture", name, &names.join(", ")));
        };
        Ok(Self {
            gguf,
            architecture,
            used: Vec::new(),
        })
    }

    pub(super) fn find(mut self) -> Result<Tensors<'a>, LoadError> {
        let (gguf, architecture) = (self.gguf, self.architecture);
        let rows = self.tensor(names::EMBEDDING)?.shape.get(1).copied();
        let keys = Keys::read(gguf, architecture, rows.unwrap_or(0))?;
        let facts = &keys.facts;
        let (width, vocabulary) = (facts.width, facts.vocabulary);
        let embedding = self.matrix(names::EMBEDDING, vocabulary, width)?;
        let output = match gguf.tensor(names::OUTPUT) {
            Some(_) => Some(self.matrix(names::OUTPUT, vocabulary, width)?),
            None => None,
        };
        let (mut layers, mut of_kinds) = (Vec::new(), [0, 0]);
        for index in 0..facts.layers {
            let layer = self.layer(facts, index, &mut of_kinds)?;
            layers.push(layer);
        }
        let output_norm = self.vector(names::OUTPUT_NORM, width)?;
        let divisors = self.divisors(&keys)?;
        self.refuse_unknown()?;
        Ok(Tensors {
            architecture,
            epsilon: keys.epsilon,
            score_scale: keys.score_scale,
            embedding_scale: keys.embedding_scale,
            turns: keys.turns,
            facts: keys.facts,
            divisors,
            embedding,
            layers,
            output_norm,
            output,
        })
    }

    fn layer(
        &mut self,
        facts: &Facts,
        index: usize,
        of_kinds: &mut [usize; 2],
    ) -> Result<LayerTensors<'a>, LoadError> {
        let architecture = self.architecture;
        let name = |tensor: &str| format!("blk.{index}.{tensor}");
        let (width, head) = (facts.width, facts.head_width);
        let (mixed, kv) = (facts.heads * head, facts.kv_heads * head);
        let windowed = facts.window > 0 && architecture.is_windowed(index);
        let of_kind = &mut of_kinds[usize::from(windowed)];
        *of_kind += 1;
        let of_kind = *of_kind - 1;
        let qkv = if architecture.fused {
            let all = self.matrix(&name(names::QUERY_KEY_VALUE), mixed + 2 * kv, width)?;
            [
                all.part(0, mixed),
                all.part(mixed, kv),
                all.part(mixed + kv, kv),
            ]
        } else {
            [
                self.matrix(&name(names::QUERY), mixed, width)?,
                self.matrix(&name(names::KEY), kv, width)?,
                self.matrix(&name(names::VALUE), kv, width)?,
            ]
        };
        let mut vectors = |wanted: bool, all: &[(&str, usize)]| {
            let all = all.iter().filter(|_| wanted);
            all.map(|(tensor, length)| self.vector(&name(tensor), *length))
                .collect::<Result<Vec<_>, _>>()
        };
        let biases = [
            (names::QUERY_BIAS, mixed),
            (names::KEY_BIAS, kv),
            (names::VALUE_BIAS, kv),
        ];
        let biases = vectors(architecture.biases, &biases)?;
        let norms = [(names::QUERY_NORM, head), (names::KEY_NORM, head)];
        let head_norms = vectors(architecture.head_norms, &norms)?;
        let posts = [
            (names::ATTENTION_POST_NORM, width),
            (names::FEED_POST_NORM, width),
        ];
        let posts = vectors(architecture.post_norms, &posts)?;
        Ok(LayerTensors {
            windowed,
            of_kind,
            turn: usize::from(windowed && architecture.turns_by_kind()),
            attention_norm: self.vector(&name(names::ATTENTION_NORM), width)?,
            qkv,
            biases: biases.try_into().ok(),
            head_norms: head_norms.try_into().ok(),
            attention_output: self.matrix(&name(names::ATTENTION_OUTPUT), width, mixed)?,
            attention_post_norm: posts.first().copied(),
            feed_norm: self.vector(&name(names::FEED_NORM), width)?,
            router: self.router(facts, &name(names::ROUTER))?,
            experts: self.experts(facts, &name)?,
            feed_post_norm: posts.get(1).copied(),
        })
    }

    fn router(&mut self, facts: &Facts, name: &str) -> Result<Option<Stored<'a>>, LoadError> {
        if facts.experts == 0 {
            return Ok(None);
        }
        let router = self.matrix(name, facts.experts, facts.width)?;
        match block::is_quantized(router.format()) {
            false => Ok(Some(router)),
            true => Err(unsupported(name, router.format().name(), "F32, F16, BF16")),
        }
    }

    fn experts(
        &mut self,
        facts: &Facts,
        name: &dyn Fn(&str) -> String,
    ) -> Result<Vec<ExpertTensors<'a>>, LoadError> {
        let (width, feed) = (facts.width, facts.feed_width);
        let (gates, ups, downs, up_name) = if self.architecture.experts {
            let mut all = |tensor: &str, rows: usize, columns: usize| {
                self.matrices(&name(tensor), facts.experts, rows, columns)
            };
            (
                all(names::EXPERT_GATES, feed, width)?,
                all(names::EXPERT_UPS, feed, width)?,
                all(names::EXPERT_DOWNS, width, feed)?,
                names::EXPERT_UPS,
            )
        } else {
            let (gate, up) = if self.architecture.fused {
                let both = self.matrix(&name(names::UP), 2 * feed, width)?;
                (both.part(0, feed), both.part(feed, feed))
            } else {
                let gate = self.matrix(&name(names::GATE), feed, width)?;
                (gate, self.matrix(&name(names::UP), feed, width)?)
            };
            let down = self.matrix(&name(names::DOWN), width, feed)?;
            (gate, up, down, names::UP)
        };
        if gates.format() != ups.format() {
            let expected = gates.format().name();
            return Err(unsupported(&name(up_name), ups.format().name(), expected));
        }
        let expert = |index: usize| ExpertTensors {
            gate: gates.part(index * feed, feed),
            up: ups.part(index * feed, feed),
            down: downs.part(index * width, width),
        };
        Ok((0..facts.experts.max(1)).map(expert).collect())
    }

    fn divisors(&mut self, keys: &Keys) -> Result<Option<Stored<'a>>, LoadError> {
        let pairs = keys.turns[0].width / 2;
        let has = |name: &str| self.gguf.tensor(name).is_some();
        match self.architecture.divisors {
            Divisors::One if has(names::ROPE_DIVISORS) => {
                Ok(Some(self.vector(names::ROPE_DIVISORS, pairs)?))
            }
            Divisors::ByContext
                if has(names::ROPE_DIVISORS_LONG) || has(names::ROPE_DIVISORS_SHORT) =>
            {
                let long = self.vector(names::ROPE_DIVISORS_LONG, pairs)?;
                let short = self.vector(names::ROPE_DIVISORS_SHORT, pairs)?;
                Ok(Some(if keys.stretched()? { long } else { short }))
            }
            _ => Ok(None),
        }
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
        of_rows(tensor, rows, columns)
    }

    /// As many matrices in one tensor, one after the other.
    fn matrices(
        &mut self,
        name: &str,
        count: usize,
        rows: usize,
        columns: usize,
    ) -> Result<Stored<'a>, LoadError> {
        let tensor = self.take(name, &[columns as u64, rows as u64, count as u64])?;
        of_rows(tensor, count * rows, columns)
    }

    fn vector(&mut self, name: &str, length: usize) -> Result<Stored<'a>, LoadError> {
        let tensor = self.take(name, &[length as u64])?;
        match tensor.format {
            Format::F32 => of_rows(tensor, 1, length),
            other => Err(unsupported(name, other.name(), "F32")),
        }
    }

    /// A tensor that nobody asked for would change the result if it were known what it does.
    fn refuse_unknown(&mut self) -> Result<(), LoadError> {
        self.used.sort_unstable();
        let known = |tensor: &&TensorInfo| self.used.binary_search(&tensor.name.as_str()).is_ok();
        match self.gguf.tensors().iter().find(|tensor| !known(tensor)) {
            None => Ok(()),
            Some(tensor) => {
                let supported = format!("the tensors of {}", self.architecture.name);
                Err(unsupported("tensor", &tensor.name, &supported))
            }
        }
    }
}

fn of_rows(tensor: &TensorInfo, rows: usize, columns: usize) -> Result<Stored<'_>, LoadError> {
    let format = tensor.format;
    if !block::SUPPORTED.contains(&format) || format.row_bytes(columns).is_none() {
        let names = block::SUPPORTED.map(|format| format.name());
        return Err(unsupported(&tensor.name, format.name(), &names.join(", ")));
    }
    Ok(Stored {
        tensor,
        first: 0,
        rows,
        columns,
    })
}
