//! Qwen 2 and 2.5, dense: queries, keys and values have biases.

use super::architecture::Architecture;

pub(super) const QWEN2: Architecture = Architecture {
    name: "qwen2",
    biases: true,
    ..Architecture::PLAIN
};
