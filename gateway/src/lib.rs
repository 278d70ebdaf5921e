//! Every way into troop over HTTP.
//!
//! ```text
//! socket ─> gateway/listener ─> gateway/connection ─> route ─> openai/chat ─┐ Order
//!                                                       │                   v
//!                                                       │              Backend::open ─> Session
//! socket <──────────── sse, or one JSON body <──────────┴── Delivery, Delivery, … <────────┘
//! ```
//!
//! The [`gateway`] is the actor: it owns the listeners, and with them every connection. A [`route`] picks a
//! handler after the guards (host, origin, key) have passed. Every dialect is an adapter to the one request
//! and from the one stream of `troop_actors` ([`dialect`]): [`openai`] is the first, [`words`] is llama.cpp's. What a handler needs from the node it
//! asks a [`backend::Backend`] for, and nothing else; [`control`] is the command line's side of that.
//! [`json`] reads what strangers send: depth, size and keys are checked before anything is built from it.

pub mod backend;
pub mod control;
pub mod dialect;
pub mod gateway;
pub mod json;
pub mod limits;
pub mod openai;
pub mod problem;

mod bill;
mod health;
mod reply;
mod request_body;
mod route;
mod sources;
mod sse;
mod text;
pub mod words;

pub use text::nearest;

#[cfg(test)]
mod scripted;
