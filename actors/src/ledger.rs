//! Keeps the books: accounts, holds, settlements, and the chain of entries.
//!
//! Lives on coordinators. The `Scheduler` orders holds, `Outbox`es of all nodes deliver receipts and claims; the
//! command line grants and reads through [`LedgerHandle`]. When it dies nothing acknowledged is lost: it reopens its file,
//! replays every entry and checks the chain. A commit that fails makes it die on purpose.

mod accounts;
mod book;
mod entry;
pub mod protocol;
mod store;

pub use accounts::{
    Account, Accounts, Hold, LATE_MS, Noted, Resolution, STANDBYS_MAX, SUPPLY_MAX, Standby,
};
pub use book::{Book, ReplayError};
pub use entry::{Batch, Entry, Fact};
pub use store::LedgerStore;

use crate::ids::{Digest, HoldId, MemberId};
use crate::names;
use crate::price::{Micros, Prices};
use crate::questions::{Answer, Question};
use crate::routing::LedgerPort;
use crate::shell::{Node, Seat};
use crate::store::{StoreError, Writer, open_file, reopen};
use protocol::{GrantError, Input};
use ractor::{ActorProcessingErr, ActorRef, RpcReplyPort};
use std::collections::{BTreeMap, VecDeque, btree_map};
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

/// Reads the file at `path`, which no node may have open, and recomputes everything from the first entry on.
pub fn verify_file(path: &Path) -> Result<Verdict, StoreError> {
    if !path.exists() {
        let missing = format!("{}: there is no ledger here", path.display());
        return Err(StoreError::of(missing));
    }
    Ok(verify(&LedgerStore::open(open_file(path)?)?, None))
}

/// What a running ledger says of itself, to be compared with its disk.
struct Claim {
    /// Entries it believes to be on the disk, and the hash of the last one.
    durable: (u64, Digest),
    /// Its accounts, if nothing is on its way to the disk.
    members: Option<BTreeMap<MemberId, Account>>,
}

fn verify(store: &LedgerStore, claim: Option<Claim>) -> Verdict {
    let mut book = Book::new(Prices::REFERENCE);
    let mut faults = Vec::new();
    let mut met = claim.as_ref().is_none_or(|claim| claim.durable.0 == 0);
    let read = store.each(|entry| {
        book.take_in(&entry).map_err(StoreError::of)?;
        let Some(claim) = &claim else { return Ok(()) };
        if claim.durable.0 != entry.sequence {
            return Ok(());
        }
        met = claim.durable == book.head();
        let members = claim.members.as_ref();
        match members.is_none_or(|members| members == book.accounts().members()) {
            true => Ok(()),
            false => Err(StoreError::of("the accounts in memory are not the disk's")),
        }
    });
    faults.extend(read.err().map(|error| error.message));
    if !met {
        faults.push("the disk is not what the memory says it is".to_owned());
    }
    book.accounts().check();
    Verdict {
        entries: book.head().0,
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

    /// The account of this node's own member; asked of the coordinator, wherever that is.
    pub async fn own(&self, member: MemberId) -> Result<Account, Away> {
        if self.0.coordinates() {
            return self.account(member).await;
        }
        match self
            .0
            .ask_coordinator(Question::Account, CALL_DEADLINE)
            .await
        {
            Ok(Answer::Account(account)) => Ok(account),
            _ => Err(Away),
        }
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

    /// How a hold ended, if it did.
    pub async fn ending(&self, hold: HoldId) -> Result<Option<Resolution>, Away> {
        self.ask(|reply| LedgerMessage::Ending(hold, reply)).await
    }

    /// How many holds are open.
    pub async fn open_holds(&self) -> Result<u64, Away> {
        self.ask(LedgerMessage::OpenHolds).await
    }

    /// Recomputes the books from the disk and compares them with those in memory.
    pub async fn verify(&self) -> Result<Result<Verdict, StoreError>, Away> {
        self.ask_within(VERIFY_DEADLINE, LedgerMessage::Verify)
            .await
    }

    async fn ask<T: Send + 'static>(
        &self,
        message: impl FnOnce(RpcReplyPort<T>) -> LedgerMessage,
    ) -> Result<T, Away> {
        self.ask_within(CALL_DEADLINE, message).await
    }

    async fn ask_within<T: Send + 'static>(
        &self,
        deadline: Duration,
        message: impl FnOnce(RpcReplyPort<T>) -> LedgerMessage,
    ) -> Result<T, Away> {
        let actor = self
            .0
            .directory
            .find(|entries| entries.ledger.clone())
            .ok_or(Away)?;
        match actor.call(message, Some(deadline)).await {
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
    waiting: BTreeMap<[u8; 16], VecDeque<RpcReplyPort<Result<(), GrantError>>>>,
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
                    // Grants are answered in the order they came, so those of one id are too.
                    let btree_map::Entry::Occupied(mut waiting) = self.waiting.entry(id) else {
                        continue;
                    };
                    if let Some(reply) = waiting.get_mut().pop_front() {
                        // Whoever asked may have gone; the deed stands.
                        let _ = reply.send(outcome);
                    }
                    if waiting.get().is_empty() {
                        waiting.remove();
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
        let (store, book) = reopen(&args.path, |database| {
            let store = LedgerStore::open(database)?;
            let book = store.replay(Prices::REFERENCE)?;
            Ok((Arc::new(store), book))
        })
        .await?;
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
        let waiting: usize = state.waiting.values().map(VecDeque::len).sum();
        if waiting >= GRANTS_MAX {
            let _ = reply.send(Err(GrantError::Unwritten));
            return Ok(());
        }
        state.waiting.entry(id).or_default().push_back(reply);
        Ok(state.step(input, &myself)?)
    }

    /// One member's account.
    #[ractor::rpc(Account(member, reply))]
    fn account(&self, member: MemberId, state: &mut LedgerState) -> Account {
        state
            .seat
            .asked("Account")
            .accounts()
            .members()
            .get(&member)
            .cloned()
            .unwrap_or_default()
    }

    /// Every account.
    #[ractor::rpc(Accounts(reply))]
    fn accounts(&self, state: &mut LedgerState) -> BTreeMap<MemberId, Account> {
        state.seat.asked("Accounts").accounts().members().clone()
    }

    /// How a hold ended.
    #[ractor::rpc(Ending(hold, reply))]
    fn ending(&self, hold: HoldId, state: &mut LedgerState) -> Option<Resolution> {
        state.seat.asked("Ending").accounts().resolution(hold)
    }

    /// How many holds are open.
    #[ractor::rpc(OpenHolds(reply))]
    fn open_holds(&self, state: &mut LedgerState) -> u64 {
        state.seat.asked("OpenHolds").accounts().open().len() as u64
    }

    /// The books, recomputed from the disk.
    #[ractor::message(Verify(reply))]
    fn verify(
        &self,
        reply: RpcReplyPort<Result<Verdict, StoreError>>,
        state: &mut LedgerState,
    ) -> Result<(), ActorProcessingErr> {
        let book = state.seat.asked("Verify");
        let still = book.durable() == book.head();
        let claim = Claim {
            durable: book.durable(),
            members: still.then(|| book.accounts().members().clone()),
        };
        read(&state.store, reply, |store| Ok(verify(store, Some(claim))))
    }
}

/// Reads the disk on a thread of its own, so that the mailbox goes on.
fn read<T: Send + 'static>(
    store: &Arc<LedgerStore>,
    reply: RpcReplyPort<Result<T, StoreError>>,
    look: impl FnOnce(&LedgerStore) -> Result<T, StoreError> + Send + 'static,
) -> Result<(), ActorProcessingErr> {
    // The state and the writer have the store too.
    if Arc::strong_count(store) >= 2 + READERS_MAX {
        let _ = reply.send(Err(StoreError::of("the ledger is being read already")));
        return Ok(());
    }
    let store = store.clone();
    std::thread::Builder::new()
        .name("ledger-read".to_owned())
        .spawn(move || {
            let _ = reply.send(look(&store));
        })?;
    Ok(())
}

/// How long a call may take: it finds the answer in memory, or waits for one commit.
const CALL_DEADLINE: Duration = Duration::from_secs(20);
/// How long a verification may take, which reads every entry. The one such deadline there is: whoever asks
/// for somebody else waits at least as long.
pub const VERIFY_DEADLINE: Duration = Duration::from_secs(600);
/// Grants that may wait for the disk, at most.
const GRANTS_MAX: usize = 1024;
/// Readings of the disk at one time, at most.
const READERS_MAX: usize = 2;
