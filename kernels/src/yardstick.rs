//! The judge of quality: the model's exact weights, evaluated in f64.
//!
//! Weights are turned back into the numbers they stand for, and everything from the embedding to the logits
//! is computed and kept in f64: no quantized activations, no f16 keys. It is slow and needs no cache of
//! keys, because it takes a whole text at once and says what the model thinks after each position.
//!
//! Its results are not defined to the last bit and never reach a user; tests compare the canonical
//! arithmetic with them.

mod multiply;

use std::ops::Range;

use crate::block;
use crate::gate::Gate;
use crate::gguf::Gguf;
use crate::model::tensors::{ExpertTensors, LayerTensors, Stored, Tensors};
use crate::model::{Facts, LoadError};

use crate::rope::Pairing;
use multiply::multiply;

/// A model to evaluate in f64. It reads weights from the file as it goes.
pub struct Yardstick<'a> {
    tensors: Tensors<'a>,
    file: &'a [u8],
    threads: usize,
}

impl<'a> Yardstick<'a> {
    /// Finds the tensors of a file.
    pub fn new(gguf: &'a Gguf<'a>, file: &'a [u8], threads: usize) -> Result<Self, LoadError> {
        let tensors = Tensors::find(gguf)?;
        for vector in tensors.vectors() {
            vector.floats(file)?;
        }
        Ok(Self {
            tensors,
            file,
            threads: threads.max(1),
        })
    }

    /// What the model is.
    pub fn facts(&self) -> &Facts {
        &self.tensors.facts
    }

    /// The logits after each of the wanted positions of a text.
    pub fn logits(&self, ids: &[u32], wanted: Range<usize>) -> Vec<Vec<f64>> {
        let facts = &self.tensors.facts;
        assert!(wanted.end <= ids.len() && ids.iter().all(|id| (*id as usize) < facts.vocabulary));
        let width = facts.width;
        let mut x = vec![0.0; ids.len() * width];
        for (x, id) in x.chunks_exact_mut(width).zip(ids) {
            let embedding = self.tensors.embedding.source(self.file);
            let row_bytes = embedding.bytes.len() / embedding.rows;
            let mut row = vec![0.0f32; width];
            let bytes = &embedding.bytes[*id as usize * row_bytes..][..row_bytes];
            block::unpack_row(embedding.format, bytes, &mut row);
            let scale = self.tensors.embedding_scale.map_or(1.0, f64::from);
            let pairs = x.iter_mut().zip(row);
            pairs.for_each(|(x, value)| *x = f64::from(value) * scale);
        }
        for layer in &self.tensors.layers {
            self.layer(layer, ids.len(), &mut x);
        }
        let last = &x[wanted.start * width..wanted.end * width];
        let normed = self.norm(last, self.tensors.output_norm);
        let head = self.tensors.output.unwrap_or(self.tensors.embedding);
        let logits = self.multiply(head, &normed);
        logits
            .chunks_exact(facts.vocabulary)
            .map(<[f64]>::to_vec)
            .collect()
    }

    fn layer(&self, layer: &LayerTensors<'_>, tokens: usize, x: &mut [f64]) {
        let facts = &self.tensors.facts;
        let normed = self.norm(x, layer.attention_norm);
        let [mut q, mut k, mut v] = layer.qkv.map(|weights| self.multiply(weights, &normed));
        if let Some(biases) = layer.biases {
            for (values, bias) in [&mut q, &mut k, &mut v].into_iter().zip(biases) {
                let bias = self.vector(bias);
                let rows = values.chunks_exact_mut(bias.len());
                rows.for_each(|row| add(row, &bias));
            }
        }
        if let Some([query_norm, key_norm]) = layer.head_norms {
            q = self.norm(&q, query_norm);
            k = self.norm(&k, key_norm);
        }
        self.rope(&mut q, facts.heads, layer.turn);
        self.rope(&mut k, facts.kv_heads, layer.turn);
        let window = if layer.windowed { facts.window } else { tokens };
        let mixed = self.attend(&q, &k, &v, tokens, window);
        let mut added = self.multiply(layer.attention_output, &mixed);
        if let Some(norm) = layer.attention_post_norm {
            added = self.norm(&added, norm);
        }
        add(x, &added);

        let normed = self.norm(x, layer.feed_norm);
        let mut added = match layer.router {
            None => self.feed(&layer.experts[0], &normed),
            Some(router) => self.mixture(router, &layer.experts, &normed),
        };
        if let Some(norm) = layer.feed_post_norm {
            added = self.norm(&added, norm);
        }
        add(x, &added);
    }

    fn feed(&self, expert: &ExpertTensors<'_>, x: &[f64]) -> Vec<f64> {
        let mut hidden = self.multiply(expert.gate, x);
        let up = self.multiply(expert.up, x);
        let active = |x: f64| match self.tensors.architecture.gate {
            Gate::Silu => x / (1.0 + libm::exp(-x)),
            Gate::Gelu => gelu(x),
        };
        let pairs = hidden.iter_mut().zip(up);
        pairs.for_each(|(gate, up)| *gate = active(*gate) * up);
        self.multiply(expert.down, &hidden)
    }

    /// What the likeliest experts make of each row, by their probabilities among themselves.
    fn mixture(&self, router: Stored<'_>, experts: &[ExpertTensors<'_>], x: &[f64]) -> Vec<f64> {
        let (width, used) = (self.tensors.facts.width, self.tensors.facts.experts_used);
        let mut out = Vec::with_capacity(x.len());
        for x in x.chunks_exact(width) {
            let scores = log_probabilities(&self.multiply(router, x));
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
            let chosen = &order[..used];
            let total: f64 = chosen.iter().map(|expert| libm::exp(scores[*expert])).sum();
            let mut sum = vec![0.0; width];
            for expert in chosen {
                let share = libm::exp(scores[*expert]) / total;
                let made = self.feed(&experts[*expert], x);
                let pairs = sum.iter_mut().zip(made);
                pairs.for_each(|(sum, made)| *sum += share * made);
            }
            out.extend(sum);
        }
        out
    }

    fn multiply(&self, weights: Stored<'_>, x: &[f64]) -> Vec<f64> {
        multiply(self.threads, weights.source(self.file), x)
    }

    /// The numbers of a vector, which `new` has looked at.
    fn vector(&self, stored: Stored<'_>) -> Vec<f64> {
        let values = stored.unpacked(self.file).into_iter();
        values.map(f64::from).collect()
    }

    fn norm(&self, x: &[f64], weight: Stored<'_>) -> Vec<f64> {
        let weight = &self.vector(weight);
        let mut out = Vec::with_capacity(x.len());
        for row in x.chunks_exact(weight.len()) {
            let sum: f64 = row.iter().map(|x| x * x).sum();
            let r = 1.0 / (sum / weight.len() as f64 + f64::from(self.tensors.epsilon)).sqrt();
            out.extend(row.iter().zip(weight).map(|(x, weight)| x * r * weight));
        }
        out
    }

    fn rope(&self, rows: &mut [f64], heads: usize, turn: usize) {
        let width = self.tensors.facts.head_width;
        let turning = self.tensors.turns[turn];
        let pairs = turning.width / 2;
        let divisors = self.tensors.divisors.map(|stored| self.vector(stored));
        for pair in 0..pairs {
            let exponent = -(pair as f64) / pairs as f64;
            let divisor = divisors.as_ref().map_or(1.0, |divisors| divisors[pair]);
            let slower = divisor * f64::from(turning.slowing);
            let frequency = libm::pow(f64::from(turning.base), exponent) / slower;
            let (a, b) = match turning.pairing {
                Pairing::Neighbours => (2 * pair, 2 * pair + 1),
                Pairing::Halves => (pair, pairs + pair),
            };
            for (position, row) in rows.chunks_exact_mut(heads * width).enumerate() {
                let angle = position as f64 * frequency;
                let longer = f64::from(turning.lengthening);
                let (c, s) = (libm::cos(angle) * longer, libm::sin(angle) * longer);
                for head in row.chunks_exact_mut(width) {
                    let (x0, x1) = (head[a], head[b]);
                    head[a] = x0 * c - x1 * s;
                    head[b] = x0 * s + x1 * c;
                }
            }
        }
    }

    fn attend(&self, q: &[f64], k: &[f64], v: &[f64], tokens: usize, window: usize) -> Vec<f64> {
        let facts = &self.tensors.facts;
        let (width, group) = (facts.head_width, facts.heads / facts.kv_heads);
        let (row, kv_row) = (facts.heads * width, facts.kv_heads * width);
        let scale = f64::from(self.tensors.score_scale);
        let mut out = vec![0.0; tokens * row];
        // Later positions see more keys, so threads take every n-th one.
        let mut shares: Vec<Vec<(usize, &mut [f64])>> = Vec::new();
        shares.resize_with(self.threads, Vec::new);
        for (position, out) in out.chunks_exact_mut(row).enumerate() {
            shares[position % self.threads].push((position, out));
        }
        let one = |position: usize, out: &mut [f64]| {
            let first = (position + 1).saturating_sub(window);
            let mut weights = vec![0.0; position + 1 - first];
            for (head, out) in out.chunks_exact_mut(width).enumerate() {
                let query = &q[position * row + head * width..][..width];
                let at = (head / group) * width;
                for (j, weight) in (first..).zip(&mut weights) {
                    *weight = dot(query, &k[j * kv_row + at..][..width]) * scale;
                }
                let largest = weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let mut total = 0.0;
                for (j, weight) in (first..).zip(&weights) {
                    let p = libm::exp(weight - largest);
                    total += p;
                    let value = &v[j * kv_row + at..][..width];
                    out.iter_mut()
                        .zip(value)
                        .for_each(|(out, value)| *out += p * value);
                }
                out.iter_mut().for_each(|out| *out /= total);
            }
        };
        std::thread::scope(|scope| {
            for share in shares {
                scope.spawn(|| {
                    share
                        .into_iter()
                        .for_each(|(position, out)| one(position, out))
                });
            }
        });
        out
    }
}

/// The natural logarithm of the probabilities that logits stand for.
pub fn log_probabilities(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = logits.iter().map(|logit| libm::exp(logit - largest)).sum();
    let log_total = largest + libm::log(total);
    logits.iter().map(|logit| logit - log_total).collect()
}

/// The tanh form.
fn gelu(x: f64) -> f64 {
    let root = (2.0 / std::f64::consts::PI).sqrt();
    0.5 * x * (1.0 + libm::tanh(root * (x + 0.044715 * x * x * x)))
}

fn add(x: &mut [f64], y: &[f64]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

/// Eight running sums, so that the compiler can use vectors.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    for (a, b) in a.chunks(8).zip(b.chunks(8)) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}
