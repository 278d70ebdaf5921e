//! From a model's tensors to packed weights.
//!
//! All weights go to one piece of memory, packed by several threads, because a process that starts has to
//! answer within a second. Nothing of the file is kept.

use super::load_error::unsupported;
use super::tensors::{Stored, Tensors};
use super::{Expert, Layer, LoadError, Model, needs};
use crate::gguf::Gguf;
use crate::isa::Isa;
use crate::matmul::Source;
use crate::matmul::pack::Plan;

pub(super) fn load(gguf: &Gguf<'_>, file: &[u8], isa: Isa) -> Result<Model, LoadError> {
    if !isa.is_available() {
        return Err(unsupported(
            "instruction set",
            isa.name(),
            "those this machine has",
        ));
    }
    let tensors = Tensors::find(gguf)?;
    let mut plan = Plan::new(isa);
    for (rows, stored) in tensors.matrices() {
        let sources: Vec<Source<'_>> = stored.iter().map(|stored| stored.source(file)).collect();
        plan.add(rows, &sources);
    }
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    let mut matrices = plan.pack(threads.min(THREADS_MAX))?.into_iter();
    let mut next = || matrices.next().expect("as many as were planned");

    let embedding = next();
    let output = tensors.output.map(|_| next());
    let floats = |stored: &Stored<'_>| stored.floats(file);
    let some = |stored: Option<Stored<'_>>| stored.as_ref().map(floats).transpose();
    let layers = tensors.layers.iter().map(|layer| {
        let (qkv, attention_output) = (next(), next());
        let experts = layer.experts.iter().map(|_| Expert {
            gate_up: next(),
            down: next(),
        });
        let experts = experts.collect();
        let [query_bias, key_bias, value_bias] =
            layer.biases.map_or([None; 3], |all| all.map(Some));
        let biases = [some(query_bias)?, some(key_bias)?, some(value_bias)?];
        let [query_norm, key_norm] = layer.head_norms.map_or([None; 2], |all| all.map(Some));
        let head_norms = [some(query_norm)?, some(key_norm)?];
        Ok(Layer {
            windowed: layer.windowed,
            of_kind: layer.of_kind,
            turn: layer.turn,
            attention_norm: floats(&layer.attention_norm)?,
            qkv,
            biases: all(biases),
            head_norms: all(head_norms),
            attention_output,
            attention_post_norm: some(layer.attention_post_norm)?,
            feed_norm: floats(&layer.feed_norm)?,
            router: some(layer.router)?,
            experts,
            feed_post_norm: some(layer.feed_post_norm)?,
        })
    });
    let layers = layers.collect::<Result<_, LoadError>>()?;
    let divisors = tensors.divisors.map(|stored| stored.divisors(file));
    let mut facts = tensors.facts.clone();
    facts.weight_bytes = needs::weight_bytes(&tensors, isa);
    Ok(Model {
        isa,
        facts,
        architecture: tensors.architecture,
        epsilon: tensors.epsilon,
        score_scale: tensors.score_scale,
        embedding_scale: tensors.embedding_scale,
        divisors: divisors.transpose()?,
        embedding,
        layers,
        output_norm: floats(&tensors.output_norm)?,
        output,
        turns: tensors.turns,
    })
}

/// All of them, if they are there; they are all there or none.
fn all<const N: usize>(vectors: [Option<Vec<f32>>; N]) -> Option<[Vec<f32>; N]> {
    let there: Vec<Vec<f32>> = vectors.into_iter().flatten().collect();
    there.try_into().ok()
}

/// Packing is bound by memory, which more threads than this do not make faster.
const THREADS_MAX: usize = 8;
