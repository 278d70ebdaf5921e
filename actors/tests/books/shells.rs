//! The actors of the books with real files and real threads: killed at any moment, and started again.

use crate::desk::{client, member, order, receipt, settle};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use troop_actors::contract::Time;
use troop_actors::ids::HoldId;
use troop_actors::keyring::{Keyring, KeyringArgs, KeyringHandle, KeyringMessage};
use troop_actors::ledger::protocol::{GrantError, Input};
use troop_actors::ledger::{Ledger, LedgerArgs, LedgerHandle, LedgerMessage, verify_file};
use troop_actors::outbox::protocol::{Input as Posted, Parcel};
use troop_actors::outbox::{Outbox, OutboxArgs, OutboxHandle, OutboxMessage};
use troop_actors::ports::{Alone, Clock, Entropy};
use troop_actors::receipt::Evidence;
use troop_actors::routing::{Message, Wiring};
use troop_actors::scheduler::SchedulerMessage;
use troop_actors::scheduler::protocol::Input as Heard;
use troop_actors::shell::{Directory, Node};

/// A clock that a test turns.
struct Hands(AtomicU64);

impl Clock for Hands {
    fn now(&self) -> Time {
        Time(self.0.load(Ordering::Relaxed))
    }
}

/// Dice that count.
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.0.fetch_add(97, Ordering::Relaxed) as u8;
        }
    }
}

/// A scheduler that only writes down what it hears.
struct Listener;

impl Actor for Listener {
    type Msg = SchedulerMessage;
    type State = UnboundedSender<Heard>;
    type Arguments = UnboundedSender<Heard>;

    async fn pre_start(
        &self,
        _myself: ActorRef<SchedulerMessage>,
        heard: UnboundedSender<Heard>,
    ) -> Result<UnboundedSender<Heard>, ActorProcessingErr> {
        Ok(heard)
    }

    async fn handle(
        &self,
        _myself: ActorRef<SchedulerMessage>,
        message: SchedulerMessage,
        heard: &mut UnboundedSender<Heard>,
    ) -> Result<(), ActorProcessingErr> {
        if let SchedulerMessage::Input(input) = message {
            let _ = heard.send(input);
        }
        Ok(())
    }
}

/// A node in a folder of its own, which goes with it.
pub(crate) struct House {
    pub(crate) node: Arc<Node>,
    clock: Arc<Hands>,
    pub(crate) folder: PathBuf,
}

impl House {
    pub(crate) fn new(name: &str) -> House {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let clock = Arc::new(Hands(AtomicU64::new(1_000_000)));
        let me = client().node();
        let node = Arc::new(Node {
            wiring: Wiring {
                me,
                coordinator: me,
            },
            clock: clock.clone(),
            entropy: Arc::new(Counting(AtomicU64::new(1))),
            transport: Arc::new(Alone),
            directory: Directory::default(),
        });
        House {
            node,
            clock,
            folder,
        }
    }

    pub(crate) async fn ledger(&self) -> ActorRef<LedgerMessage> {
        let args = LedgerArgs {
            node: self.node.clone(),
            path: self.folder.join("ledger.redb"),
        };
        Actor::spawn(None, Ledger, args).await.unwrap().0
    }

    async fn outbox(&self) -> ActorRef<OutboxMessage> {
        let args = OutboxArgs {
            node: self.node.clone(),
            path: self.folder.join("outbox.redb"),
        };
        Actor::spawn(None, Outbox, args).await.unwrap().0
    }

    async fn keyring(&self) -> ActorRef<KeyringMessage> {
        let args = KeyringArgs {
            node: self.node.clone(),
            path: self.folder.join("keyring.redb"),
        };
        Actor::spawn(None, Keyring, args).await.unwrap().0
    }

    async fn listen(&self) -> UnboundedReceiver<Heard> {
        let (sender, heard) = unbounded_channel();
        let listener = Actor::spawn(None, Listener, sender).await.unwrap().0;
        self.node
            .directory
            .enter(|entries| entries.scheduler = Some(listener));
        heard
    }

    fn tell(&self, input: Input) {
        self.node.directory.deliver(Message::Ledger(input));
    }

    fn post(&self, n: u32) {
        let receipt = receipt(n, 0, (5, 5));
        let parcel = Parcel {
            id: receipt.receipt.attempt,
            to: self.node.wiring.coordinator,
            evidence: Evidence::Receipt(receipt),
        };
        let posted = Posted::Post(Box::new(parcel));
        self.node.directory.deliver(Message::Outbox(posted));
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn heard(from: &mut UnboundedReceiver<Heard>) -> Heard {
    let patience = Duration::from_secs(60);
    tokio::time::timeout(patience, from.recv())
        .await
        .expect("an answer comes")
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l21_a_ledger_killed_again_and_again_keeps_every_hold_it_acknowledged() {
    let house = House::new("killed-ledger");
    let mut answers = house.listen().await;
    let ledger = LedgerHandle::new(house.node.clone());
    let mut actor = house.ledger().await;
    ledger
        .grant([1; 16], member(1), "guest", 1 << 50)
        .await
        .unwrap()
        .unwrap();

    let mut acknowledged = Vec::new();
    for round in 0..12 {
        for n in 0..40 {
            house.tell(Input::Hold(order(40 * round + n, 1, 0, (10, 10))));
        }
        // Killed after as many answers as the round's number, in the middle of the others.
        for _ in 0..=round {
            match heard(&mut answers).await {
                Heard::Held { request, hold, .. } => acknowledged.push((request, hold)),
                other => panic!("{other:?}"),
            }
        }
        actor.kill();
        actor = house.ledger().await;
        while let Ok(Heard::Held { request, hold, .. }) = answers.try_recv() {
            acknowledged.push((request, hold));
        }
        let verdict = ledger.verify().await.unwrap().unwrap();
        assert_eq!(verdict.faults, [""; 0]);
        assert!(
            verdict.open_holds >= acknowledged.len() as u64,
            "round {round}"
        );
    }
    assert!(acknowledged.len() >= 12 * 13 / 2);
    let account = ledger.account(member(1)).await.unwrap();
    assert_eq!(account.granted, 1 << 50);
    assert_eq!(account.name, "guest");

    // What was acknowledged is acknowledged again, and changes nothing.
    let open = ledger.open_holds().await.unwrap();
    for n in 0..40 * 12 {
        house.tell(Input::Hold(order(n, 1, 0, (10, 10))));
        let Heard::Held { request, hold, .. } = heard(&mut answers).await else {
            panic!("a hold that was open is refused");
        };
        assert_eq!(hold, HoldId::of(request));
    }
    assert!(ledger.open_holds().await.unwrap() >= open);
    actor.stop_and_wait(None, None).await.unwrap();
    let path = house.folder.join("ledger.redb");
    let offline = loop {
        // The writer's thread lets the file go a moment after its actor has ended.
        match verify_file(&path) {
            Ok(verdict) => break verdict,
            Err(error) => assert!(error.message.contains("in use"), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!((offline.faults.len(), offline.open_holds), (0, 480));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_is_answered_for_itself_and_entered_once() {
    let house = House::new("grants");
    let ledger = LedgerHandle::new(house.node.clone());
    house.ledger().await;
    let (one, other) = tokio::join!(
        ledger.grant([1; 16], member(1), "guest", 500),
        ledger.grant([1; 16], member(1), "guest", 600),
    );
    assert_eq!(one.unwrap(), Ok(()));
    assert_eq!(other.unwrap(), Err(GrantError::Different));
    assert_eq!(
        ledger
            .grant([1; 16], member(1), "guest", 500)
            .await
            .unwrap(),
        Ok(())
    );
    let long = "n".repeat(1000);
    let refused = ledger.grant([2; 16], member(1), &long, 5).await.unwrap();
    assert!(matches!(refused, Err(GrantError::Name { .. })));
    assert_eq!(ledger.account(member(1)).await.unwrap().available(), 500);
    let verdict = ledger.verify().await.unwrap().unwrap();
    assert_eq!(verdict.entries, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_whose_file_fails_dies_and_one_that_verifies_can_be_replaced_at_once() {
    let house = House::new("failing-ledger");
    let mut actor = house.ledger().await;
    let ledger = LedgerHandle::new(house.node.clone());
    for n in 0..5 {
        ledger
            .grant([n; 16], member(1), "guest", 10)
            .await
            .unwrap()
            .unwrap();
        // A reading that still has the file does not keep the successor from it.
        let successor = async {
            let message = "no space left on device".to_owned();
            house.tell(Input::PersistFailed { message });
            actor.wait(Some(Duration::from_secs(60))).await.unwrap();
            house.ledger().await
        };
        // A reading that still has the file does not keep the successor from it.
        actor = tokio::join!(ledger.verify(), successor).1;
    }
    assert_eq!(ledger.account(member(1)).await.unwrap().available(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_outbox_was_given_is_paid_once_whoever_is_killed() {
    let house = House::new("killed-outbox");
    let mut answers = house.listen().await;
    let mut ledger_actor = house.ledger().await;
    let mut outbox_actor = house.outbox().await;
    let ledger = LedgerHandle::new(house.node.clone());
    let outbox = OutboxHandle::new(house.node.clone());
    ledger
        .grant([1; 16], member(1), "guest", 1 << 40)
        .await
        .unwrap()
        .unwrap();
    for n in 0..60 {
        house.tell(Input::Hold(order(n, 1, 0, (10, 10))));
        heard(&mut answers).await;
    }
    for n in 0..60 {
        house.post(n);
        if n % 15 == 7 {
            // A parcel counts once the outbox has answered after it.
            outbox.pending().await.unwrap();
            outbox_actor.kill();
            outbox_actor
                .wait(Some(Duration::from_secs(60)))
                .await
                .unwrap();
            outbox_actor = house.outbox().await;
        }
        if n % 15 == 11 {
            ledger_actor.kill();
            ledger_actor = house.ledger().await;
        }
        // The session says it again until the outbox has it; here: each parcel a second time.
        (0..=n).for_each(|n| house.post(n));
    }
    // Retries are due as time passes.
    for _ in 0..600 {
        if outbox.pending().await == Some(0) {
            break;
        }
        house.clock.0.fetch_add(500, Ordering::Relaxed);
        let _ = outbox_actor.cast(OutboxMessage::Wake);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(outbox.pending().await, Some(0));
    let cost = troop_actors::price::Prices::REFERENCE.cost(5, 5).unwrap();
    let accounts = ledger.accounts().await.unwrap();
    let verdict = ledger.verify().await.unwrap().unwrap();
    assert_eq!(verdict.faults, [""; 0]);
    assert_eq!(verdict.open_holds, 0);
    assert_eq!(accounts[&member(0)].earned, 60 * cost);
    assert_eq!(accounts[&member(1)].spent, 60 * cost);
    house.tell(settle(receipt(1, 0, (5, 5))));
    assert_eq!(ledger.accounts().await.unwrap(), accounts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_was_told_survives_its_keyring() {
    let house = House::new("killed-keyring");
    let keyring = KeyringHandle::new(house.node.clone());
    let actor = house.keyring().await;
    let (key, record) = keyring.create("guest").await.unwrap();
    let (other, _) = keyring.create("friend").await.unwrap();
    actor.kill();
    house.keyring().await;
    assert_eq!(keyring.who(&key).await.unwrap(), Some(record.clone()));
    assert_eq!(keyring.who("troop-nobody").await.unwrap(), None);
    keyring.revoke(&record.prefix).await.unwrap();
    assert_eq!(keyring.who(&key).await.unwrap(), None);
    assert!(keyring.who(&other).await.unwrap().is_some());
    assert_eq!(keyring.list().await.unwrap().len(), 1);
    assert!(keyring.create(&"n".repeat(5000)).await.is_err());
}
