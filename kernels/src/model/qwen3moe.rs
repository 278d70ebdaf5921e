//! Qwen 3, a mixture of experts: attention as in the dense model, and a router that chooses some experts of
//! many for each token. The weights of those chosen are made to sum to 1.

use super::architecture::Architecture;
use super::tensors::names;

pub(super) const QWEN3MOE: Architecture = Architecture {
    name: "qwen3moe",
    head_norms: true,
    experts: true,
    keys: &[names::EXPERTS_USED, names::EXPERT_FEED_WIDTH],
    ..Architecture::PLAIN
};
