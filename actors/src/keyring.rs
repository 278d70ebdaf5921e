//! API keys and the members they belong to.
//!
//! Lives on coordinators; the gateway asks it whose a key is, the command line makes and removes keys. When it
//! dies it reopens its file: a key exists once whoever made it has been told so.

pub mod protocol;
mod ring;
mod store;

pub use protocol::{KeyError, KeyRecord};
pub use ring::{OWNER, Ring, check_name};

use crate::contract::Time;
use crate::ids::{Digest, MemberId, digest};
use crate::names;
use crate::routing::KeyringPort;
use crate::shell::{Node, Seat};
use crate::store::{StoreError, Writer, reopen};
use protocol::Input;
use ractor::{ActorProcessingErr, ActorRef, RpcReplyPort};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::{KeyStore, Write};

/// The way in for everybody else: finds the actor, asks it, and does not wait longer than a deadline.
#[derive(Clone)]
pub struct KeyringHandle(Arc<Node>);

impl KeyringHandle {
    /// The handle to the keyring of `node`.
    pub fn new(node: Arc<Node>) -> KeyringHandle {
        KeyringHandle(node)
    }

    /// Makes a key for the member called `name`; the key is returned this once and kept nowhere.
    pub async fn create(&self, name: &str) -> Result<(String, KeyRecord), KeyError> {
        let mut secret = [0; 32];
        self.0.entropy.fill(&mut secret);
        let key = format!("troop-{}", Digest(secret));
        let record = KeyRecord {
            hash: hash(&key),
            prefix: key.chars().take(PREFIX_CHARS).collect(),
            member: MemberId::of_name(self.0.wiring.coordinator, name),
            name: name.to_owned(),
            created: Time(self.0.clock.now().0),
        };
        let kept = record.clone();
        self.ask(|reply| KeyringMessage::Add(record, reply))
            .await??;
        Ok((key, kept))
    }

    /// Removes the key that begins with `prefix`.
    pub async fn revoke(&self, prefix: &str) -> Result<(), KeyError> {
        let prefix = prefix.to_owned();
        self.ask(|reply| KeyringMessage::Remove(prefix, reply))
            .await?
    }

    /// All keys, in order of their making.
    pub async fn list(&self) -> Result<Vec<KeyRecord>, KeyError> {
        self.ask(KeyringMessage::List).await
    }

    /// Whose key this is.
    pub async fn who(&self, key: &str) -> Result<Option<KeyRecord>, KeyError> {
        let hash = hash(key);
        self.ask(|reply| KeyringMessage::Who(hash, reply)).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        message: impl FnOnce(RpcReplyPort<T>) -> KeyringMessage,
    ) -> Result<T, KeyError> {
        let actor = self
            .0
            .directory
            .find(|entries| entries.keyring.clone())
            .ok_or(KeyError::Away)?;
        match actor.call(message, Some(CALL_DEADLINE)).await {
            Ok(ractor::rpc::CallResult::Success(answer)) => Ok(answer),
            _ => Err(KeyError::Away),
        }
    }
}

fn hash(key: &str) -> Digest {
    digest("troop/key/v1", &[key.as_bytes()])
}

/// All a keyring needs from outside.
pub struct KeyringArgs {
    /// The node it works for.
    pub node: Arc<Node>,
    /// Its file.
    pub path: PathBuf,
}

/// The actor.
pub struct Keyring;

/// The core in its seat, its writer, and who waits for an answer.
pub struct KeyringState {
    seat: Seat<Ring>,
    writer: Writer<Write>,
    waiting: BTreeMap<u64, RpcReplyPort<Result<(), KeyError>>>,
    calls: u64,
}

impl KeyringState {
    fn step(&mut self, input: Input) -> Result<(), StoreError> {
        let ports = self.seat.step(input);
        for port in ports {
            match port {
                KeyringPort::Persist {
                    write,
                    keep,
                    forget,
                } => {
                    self.writer.put(Write {
                        write,
                        keep,
                        forget,
                    })?;
                }
                KeyringPort::Answer { call, outcome } => {
                    if let Some(reply) = self.waiting.remove(&call) {
                        // Whoever asked may have gone; the deed stands.
                        let _ = reply.send(outcome);
                    }
                }
            }
        }
        Ok(())
    }

    fn call(&mut self, reply: RpcReplyPort<Result<(), KeyError>>) -> u64 {
        self.calls += 1;
        self.waiting.insert(self.calls, reply);
        self.calls
    }
}

#[ractor::actor(
    message = pub enum KeyringMessage,
    state = KeyringState,
    arguments = KeyringArgs,
)]
impl Keyring {
    async fn pre_start(
        &self,
        myself: ActorRef<KeyringMessage>,
        args: KeyringArgs,
    ) -> Result<KeyringState, ActorProcessingErr> {
        let (store, keys) = reopen(&args.path, |database| {
            let store = KeyStore::open(database)?;
            let keys = store.load()?;
            Ok((store, keys))
        })
        .await?;
        let ring = Ring::new(keys);
        let me = myself.clone();
        let writer = Writer::start(
            names::KEYRING,
            move |write| store.write(write),
            move |result| {
                let input = match result {
                    Ok(write) => Input::Persisted { write },
                    Err(error) => Input::PersistFailed {
                        message: error.message,
                    },
                };
                let _ = me.cast(KeyringMessage::Input(input));
            },
        )?;
        args.node
            .directory
            .enter(|entries| entries.keyring = Some(myself));
        let seat = Seat::new(names::KEYRING, ring, args.node);
        Ok(KeyringState {
            seat,
            writer,
            waiting: BTreeMap::new(),
            calls: 0,
        })
    }

    /// Something happened.
    #[ractor::message(Input(input))]
    fn input(&self, input: Input, state: &mut KeyringState) -> Result<(), ActorProcessingErr> {
        let failed = matches!(input, Input::PersistFailed { .. });
        state.step(input)?;
        if failed {
            Err("the keyring's file could not be written".into())
        } else {
            Ok(())
        }
    }

    /// A key is to be added.
    #[ractor::message(Add(record, reply))]
    fn add(
        &self,
        record: KeyRecord,
        reply: RpcReplyPort<Result<(), KeyError>>,
        state: &mut KeyringState,
    ) -> Result<(), ActorProcessingErr> {
        let call = state.call(reply);
        Ok(state.step(Input::Add { call, record })?)
    }

    /// A key is to be removed.
    #[ractor::message(Remove(prefix, reply))]
    fn remove(
        &self,
        prefix: String,
        reply: RpcReplyPort<Result<(), KeyError>>,
        state: &mut KeyringState,
    ) -> Result<(), ActorProcessingErr> {
        let call = state.call(reply);
        Ok(state.step(Input::Remove { call, prefix })?)
    }

    /// All keys.
    #[ractor::rpc(List(reply))]
    fn list(&self, state: &mut KeyringState) -> Vec<KeyRecord> {
        state.seat.asked("List").list()
    }

    /// Whose key has this hash.
    #[ractor::rpc(Who(hash, reply))]
    fn who(&self, hash: Digest, state: &mut KeyringState) -> Option<KeyRecord> {
        state.seat.asked("Who").who(hash).cloned()
    }
}

/// How long a call may take; a commit takes milliseconds.
const CALL_DEADLINE: Duration = Duration::from_secs(5);
/// Characters of a key that are kept in the clear, to tell keys apart: `troop-` and eight digits.
const PREFIX_CHARS: usize = 14;
