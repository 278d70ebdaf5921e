//! Qwen 3, dense: heads of queries and keys are normed.

use super::architecture::Architecture;

pub(super) const QWEN3: Architecture = Architecture {
    name: "qwen3",
    head_norms: true,
    ..Architecture::PLAIN
};
