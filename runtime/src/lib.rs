//! The top of troop: what is started, in which order, and what a person types.
//!
//! `main` parses the command line ([`cli`], one file per verb). `node` boots: it finds its [`home`] and its key,
//! fetches its models, and starts the actors of [`tree`]'s one table under a [`supervisor`] of our own; [`leaves`]
//! are the clock, the dice and the children they touch. [`engine_child`] is the other process: the sandbox in
//! which a model is parsed and computed. [`enrolment`] is the troop the node was invited to, [`gatekeeper`] whom it talks to, [`machine`] what the
//! others may find it by.

pub mod boot;
pub mod cli;
pub mod cluster;
pub mod descriptors;
pub mod engine_child;
pub mod enrolment;
pub mod gatekeeper;
pub mod home;
pub mod leaves;
pub mod machine;
mod neighbours;
pub mod supervisor;
pub mod tree;
