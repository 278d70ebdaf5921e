//! Arithmetic, and the files it reads: from a GGUF on disk to the next token.
//!
//! The road through this crate, in the order a token takes it:
//!
//! ```text
//! gguf ──> model ──> block, embed, norm, rope, matmul, attention, gate ──> logits ──> sample
//!   └────> tokenizer, template (text in, bytes out)  grammar (what may come next)   yardstick (the judge)
//! ```
//!
//! Every operation's result is defined to the last bit in `docs/arithmetic.md`; `x/reference.rs` is that
//! definition in code, and every faster path must equal it. This crate knows no actors and no tokio.

pub mod attention;
pub mod block;
pub mod dot;
pub mod embed;
pub mod gate;
pub mod gguf;
pub mod grammar;
pub mod isa;
mod lanes;
pub mod math;
pub mod matmul;
pub mod mean;
mod memory;
pub mod model;
pub mod norm;
mod pool;
pub mod quantize;
pub mod rope;
pub mod sample;
pub mod template;
pub mod tokenizer;
pub mod yardstick;

pub use memory::OutOfMemory;
