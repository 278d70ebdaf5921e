//! Gemma 3, the text model: five layers of six see a window and turn by a base of their own; heads and what is
//! added to the residual are normed; the gate is GELU.

use super::architecture::{Architecture, Window};
use super::tensors::names;
use crate::gate::Gate;

pub(super) const GEMMA3: Architecture = Architecture {
    name: "gemma3",
    window: Window::AllBut {
        n: 6,
        base: 10_000.0,
    },
    head_norms: true,
    post_norms: true,
    scaled_embedding: true,
    // The 27B model.
    odd_scale_layers: 62,
    gate: Gate::Gelu,
    keys: &[names::WINDOW, names::WINDOW_ROPE_BASE],
    ..Architecture::PLAIN
};
