//! From a model's tensors to packed weights.
//!
//! All weights go to one piece of memory, packed by several threads, because a process that starts has to
//! answer within a second. Nothing of the file is kept.

use super::load_error::unsupported;
use super::tensors::Tensors;
use super::{Layer, LoadError, Model, needs};
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
    let layers = tensors.layers.iter().enumerate().map(|(index, layer)| {
        Ok(Layer {
            windowed: false,
            of_kind: index,
            attention_norm: layer.attention_norm.floats(file)?,
            qkv: next(),
            attention_output: next(),
            feed_norm: layer.feed_norm.floats(file)?,
            gate_up: next(),
            down: next(),
        })
    });
    let layers = layers.collect::<Result<_, LoadError>>()?;
    let output_norm = tensors.output_norm.floats(file)?;
    let rope_factors = tensors.rope_factors;
    let rope_factors = rope_factors.map(|factors| factors.divisors(file));
    let rope_factors = rope_factors.transpose()?;
    let mut facts = tensors.facts.clone();
    facts.weight_bytes = needs::weight_bytes(&tensors, isa);
    Ok(Model {
        isa,
        facts,
        epsilon: tensors.epsilon,
        rope_base: tensors.rope_base,
        rope_factors,
        embedding,
        layers,
        output_norm,
        output,
    })
}

/// Packing is bound by memory, which more threads than this do not make faster.
const THREADS_MAX: usize = 8;
