//! sim
pub mod dice;
pub mod disk;
pub mod network;
pub mod trace;
