//! Llama, SmolLM2, Mistral. Mistral's first models see a window in every layer, where the file says so; Llama 3.1
//! and later divide rope's frequencies.

use super::architecture::{Architecture, Divisors, Window};
use super::tensors::names;
use crate::rope::Pairing;

pub(super) const LLAMA: Architecture = Architecture {
    name: "llama",
    pairing: Pairing::Neighbours,
    divisors: Divisors::One,
    window: Window::Every,
    keys: &[names::WINDOW],
    ..Architecture::PLAIN
};
