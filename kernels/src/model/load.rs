//! From a model's tensors to packed weights.
//!
//! All weights go to one piece of memory, packed by several threads, because a process that starts has to
//! answer within a second. Nothing of the file is kept.

use super::tensors::{LoadError, Tensors, unsupported};
use super::{Layer, Model};
use crate::gguf::Gguf;
use crate::isa::Isa;
use crate::matmul::Rows;
use crate::matmul::pack::Plan;

pub(super) fn load(gguf: &Gguf<'_>, file: &[u8], isa: Isa) -> Result<Model, LoadError> {
    if !isa.is_available() {
        return Err(unsupported(
            "instruction set",
            isa.name(),
            "those this machine has",
        ));
    }
    let tensors = Tensors::find(gguf, file)?;
    let mut plan = Plan::new(isa);
    plan.add(Rows::Joined, &[tensors.embedding]);
    if let Some(output) = tensors.output {
        plan.add(Rows::Joined, &[output]);
    }
    for layer in &tensors.layers {
        plan.add(Rows::Joined, &[layer.query, layer.key, layer.value]);
        plan.add(Rows::Joined, &[layer.attention_output]);
        plan.add(Rows::Gated, &[layer.gate, layer.up]);
        plan.add(Rows::Joined, &[layer.down]);
    }
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    let mut matrices = plan.pack(threads.min(THREADS_MAX))?.into_iter();
    let mut next = || matrices.next().expect("as many as were planned");

    let embedding = next();
    let output = tensors.output.map(|_| next());
    let layers = tensors.layers.into_iter().map(|layer| Layer {
        attention_norm: layer.attention_norm,
        qkv: next(),
        attention_output: next(),
        feed_norm: layer.feed_norm,
        gate_up: next(),
        down: next(),
    });
    let layers = layers.collect();
    let mut facts = tensors.facts;
    facts.weight_bytes = embedding.memory.bytes().len() as u64;
    Ok(Model {
        isa,
        facts,
        epsilon: tensors.epsilon,
        rope_base: tensors.rope_base,
        rope_factors: tensors.rope_factors,
        embedding,
        layers,
        output_norm: tensors.output_norm,
        output,
    })
}

/// Packing is bound by memory, which more threads than this do not make faster.
const THREADS_MAX: usize = 8;
