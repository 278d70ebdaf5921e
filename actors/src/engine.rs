//! What runs in the next step: batch, pages, sampling. Lives in a child process.

pub mod frames;
pub mod pipe;
