//! Phi 3, 3.5 and 4: queries, keys and values in one tensor, gates and ups in another. Models stretched to a long
//! context divide rope's frequencies and make the turns longer; some turn a part of each head only.
//!
//! The divisors for long contexts are used by every model that was stretched, at every length: a key that is
//! stored cannot be turned again when a sequence grows, and what a token means must not depend on what follows.

use super::architecture::{Architecture, Divisors, Window};
use super::tensors::names;

pub(super) const PHI3: Architecture = Architecture {
    name: "phi3",
    turns_in_part: true,
    divisors: Divisors::ByContext,
    window: Window::Every,
    fused: true,
    keys: &[names::WINDOW, names::ROPE_LENGTHENING, names::FIRST_CONTEXT],
    ..Architecture::PLAIN
};
