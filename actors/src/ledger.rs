//! Keeps the books: accounts, holds, settlements, and the chain of entries.
//!
//! Lives on coordinators. The `Scheduler` orders holds, `Outbox`es of all nodes deliver receipts; the command
//! line grants and reads through [`LedgerHandle`]. When it dies nothing acknowledged is lost: it reopens its file,
//! replays every entry and checks the chain. A commit that fails makes it die on purpose.

mod accounts;
mod book;
mod entry;
pub mod protocol;
mod store;

pub use accounts::{Account, Accounts, Hold, Resolution, SUPPLY_MAX};
pub use book::{Book, ReplayError};
pub use entry::{Batch, Entry, Fact};
pub use store::LedgerStore;

use crate::ids::{Digest, MemberId};
use crate::names;
use crate::price::{Micros, Prices};
use crate::routing::LedgerPort;
use crate::shell::{Node, Seat};
use crate::store::{StoreError, Writer, open_file};
use protocol::{GrantError, Input};
use ractor::{ActorProcessingErr, ActorRef, RpcReplyPort};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Entries read.
    pub entries: u64,
    /// The hash of the last one.
    pub head: Digest,
    /// Accounts they make.
    pub accounts: u64,
    /// Holds still open.
    pub open_holds: u64,
    /// µc ever made.
    pub supply: Micros,
    /// What is wrong; empty if nothing is.
    pub faults: Vec<String>,
}

/// Reads the file at `path` and recomputes everything from the first entry on.
pub fn verify_file(path: &Path) -> Result<Verdict, StoreError> {
    let store = LedgerStore::open(open_file(path)?)?;
    Ok(verify(&store.load()?))
}

fn verify(entries: &[Entry]) -> Verdict {
    let (book, faults) = match Book::replay(Prices::REFERENCE, entries.iter().cloned()) {
        Ok(book) => (book, Vec::new()),
        Err(error) => (Book::default(), vec![error.to_string()]),
    };
    book.accounts().check();
    Verdict {
        entries: entries.len() as u64,
        head: book.head().1,
        accounts: book.accounts().members().len() as u64,
        open_holds: book.accounts().open().len() as u64,
        supply: book.accounts().supply(),
        faults,
    }
}

/// The ledger does not answer within its deadline; nothing is known of what it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger does not answer")]
pub struct Away;

/// The way in for everybody else.
#[derive(Clone)]
pub struct LedgerHandle(Arc<Node>);

impl LedgerHandle {
    /// The handle to the ledger of `node`.
    pub fn new(node: Arc<Node>) -> LedgerHandle {
        LedgerHandle(node)
    }

    /// Gives new credits to a member; answered once it is durable. The same id twice is one grant.
    pub async fn grant(
        &self,
        id: [u8; 16],
        member: MemberId,
        name: &str,
        amount: Micros,
    ) -> Result<Result<(), GrantError>, Away> {
        let name = name.to_owned();
        self.ask(|reply| {
            LedgerMessage::Grant(
                id,
                Input::Grant {
                    id,
                    member,
                    name,
                    amount,
                },
                reply,
            )
        })
        .await
    }

    /// One member's account; an empty one if it never had any.
    pub async fn account(&self, member: MemberId) -> Result<Account, Away> {
        self.ask(|reply| LedgerMessage::Account(member, reply))
            .await
    }

    /// Every account, by member.
    pub async fn accounts(&self) -> Result<BTreeMap<MemberId, Account>, Away> {
        self.ask(LedgerMessage::Accounts).await
    }

    /// How many holds are open.
    pub async fn open_holds(&self) -> Result<u64, Away> {
        self.ask(LedgerMessage::OpenHolds).await
    }

    /// Recomputes the books from the disk and compares them with those in memory.
    pub async fn verify(&self) -> Result<Result<Verdict, StoreError>, Away> {
        self.ask(LedgerMessage::Verify).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        message: impl FnOnce(RpcReplyPort<T>) -> LedgerMessage,
    ) -> Result<T, Away> {
        let actor = self
            .0
            .directory
            .find(|entries| entries.ledger.clone())
            .ok_or(Away)?;
        match actor.call(message, Some(CALL_DEADLINE)).await {
            Ok(ractor::rpc::CallResult::Success(answer)) => Ok(answer),
            _ => Err(Away),
        }
    }
}

/// All a ledger needs from outside.
pub struct LedgerArgs {
    /// The node it works for.
    pub node: Arc<Node>,
    /// Its file.
    pub path: PathBuf,
}

/// The actor.
pub struct Ledger;

/// The core in its seat, its writer, and who waits for a grant.
pub struct LedgerState {
    seat: Seat<Book>,
    store: Arc<LedgerStore>,
    writer: Writer<Batch>,
    waiting: BTreeMap<[u8; 16], Vec<RpcReplyPort<Result<(), GrantError>>>>,
}

impl LedgerState {
    fn step(&mut self, input: Input, myself: &ActorRef<LedgerMessage>) -> Result<(), StoreError> {
        let ports = self.seat.step(input);
        self.perform(ports, myself)
    }

    fn perform(
        &mut self,
        ports: Vec<LedgerPort>,
        myself: &ActorRef<LedgerMessage>,
    ) -> Result<(), StoreError> {
        for port in ports {
            match port {
                LedgerPort::Persist(batch) => self.writer.put(batch)?,
                LedgerPort::Granted { id, outcome } => {
                    for reply in self.waiting.remove(&id).unwrap_or_default() {
                        // Whoever asked may have gone; the deed stands.
                        let _ = reply.send(outcome.clone());
                    }
                }
            }
        }
        self.seat.arm(myself, || LedgerMessage::Wake);
        Ok(())
    }
}

#[ractor::actor(
    message = pub enum LedgerMessage,
    state = LedgerState,
    arguments = LedgerArgs,
)]
impl Ledger {
    async fn pre_start(
        &self,
        myself: ActorRef<LedgerMessage>,
        args: LedgerArgs,
    ) -> Result<LedgerState, ActorProcessingErr> {
        let store = Arc::new(LedgerStore::open(open_file(&args.path)?)?);
        let book = Book::replay(Prices::REFERENCE, store.load()?)?;
        let (me, writing) = (myself.clone(), store.clone());
        let writer = Writer::start(
            names::LEDGER,
            move |batch| writing.commit(&batch),
            move |result| {
                let input = match result {
                    Ok(batch) => Input::Persisted { batch },
                    Err(error) => Input::PersistFailed {
                        message: error.message,
                    },
                };
                let _ = me.cast(LedgerMessage::Input(input));
            },
        )?;
        args.node
            .directory
            .enter(|entries| entries.ledger = Some(myself.clone()));
        let mut seat = Seat::new(names::LEDGER, book, args.node);
        seat.arm(&myself, || LedgerMessage::Wake);
        Ok(LedgerState {
            seat,
            store,
            writer,
            waiting: BTreeMap::new(),
        })
    }

    /// Something happened.
    #[ractor::message(Input(input))]
    fn input(
        &self,
        myself: ActorRef<LedgerMessage>,
        input: Input,
        state: &mut LedgerState,
    ) -> Result<(), ActorProcessingErr> {
        let failed = matches!(input, Input::PersistFailed { .. });
        state.step(input, &myself)?;
        if failed {
            Err("the ledger's file could not be written".into())
        } else {
            Ok(())
        }
    }

    /// The timer rang.
    #[ractor::message(Wake)]
    fn wake(
        &self,
        myself: ActorRef<LedgerMessage>,
        state: &mut LedgerState,
    ) -> Result<(), ActorProcessingErr> {
        let ports = state.seat.wake();
        Ok(state.perform(ports, &myself)?)
    }

    /// New credits for a member.
    #[ractor::message(Grant(id, input, reply))]
    fn grant(
        &self,
        myself: ActorRef<LedgerMessage>,
        id: [u8; 16],
        input: Input,
        reply: RpcReplyPort<Result<(), GrantError>>,
        state: &mut LedgerState,
    ) -> Result<(), ActorProcessingErr> {
        state.waiting.entry(id).or_default().push(reply);
        Ok(state.step(input, &myself)?)
    }

    /// One member's account.
    #[ractor::rpc(Account(member, reply))]
    fn account(&self, member: MemberId, state: &mut LedgerState) -> Account {
        state
            .seat
            .core()
            .accounts()
            .members()
            .get(&member)
            .cloned()
            .unwrap_or_default()
    }

    /// Every account.
    #[ractor::rpc(Accounts(reply))]
    fn accounts(&self, state: &mut LedgerState) -> BTreeMap<MemberId, Account> {
        state.seat.core().accounts().members().clone()
    }

    /// How many holds are open.
    #[ractor::rpc(OpenHolds(reply))]
    fn open_holds(&self, state: &mut LedgerState) -> u64 {
        state.seat.core().accounts().open().len() as u64
    }

    /// The books, recomputed from the disk. On a thread of its own: it reads everything.
    #[ractor::message(Verify(reply))]
    fn verify(
        &self,
        reply: RpcReplyPort<Result<Verdict, StoreError>>,
        state: &mut LedgerState,
    ) -> Result<(), ActorProcessingErr> {
        let store = state.store.clone();
        let (sequence, head) = state.seat.core().head();
        std::thread::Builder::new()
            .name("ledger-verify".to_owned())
            .spawn(move || {
                let verdict = store.load().map(|entries| {
                    let mut verdict = verify(&entries);
                    if verdict.entries == sequence && verdict.head != head {
                        verdict
                            .faults
                            .push("the disk and the memory differ".to_owned());
                    }
                    if verdict.entries < sequence.saturating_sub(IN_FLIGHT_MAX) {
                        verdict
                            .faults
                            .push("the disk is behind the memory".to_owned());
                    }
                    verdict
                });
                let _ = reply.send(verdict);
            })?;
        Ok(())
    }
}

/// How long a call may take: a verification reads every entry.
const CALL_DEADLINE: Duration = Duration::from_secs(20);
/// Entries that may be in memory and not yet on the disk: two batches.
const IN_FLIGHT_MAX: u64 = 2 * 4096;
