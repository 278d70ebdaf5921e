//! Processes and actors begin and die here, and writes reach their disks.

use super::machine::POLICY;
use super::{Happening, World};
use crate::checker::{Verdict, require};
use crate::disk::Disk;
use crate::node::{Actor, Seat};
use troop_actors::doorkeeper::Door;
use troop_actors::engine_process::{self, Keeper, Wishes};
use troop_actors::gpu_monitor::Gauge;
use troop_actors::ledger::{self, Batch, Book, Entry, Fact, LedgerStore};
use troop_actors::outbox::protocol::Parcel;
use troop_actors::outbox::{self, OutboxStore, Tray};
use troop_actors::price::Prices;
use troop_actors::receipt::Evidence;
use troop_actors::routing::Message;
use troop_actors::scheduler::Queue;
use troop_actors::store;
use troop_actors::ticket::Rotation;
use troop_actors::ticket_issuer::{self, RotationStore, Seal};

impl World {
    /// A node's process starts, and all its actors in the order of the tree.
    pub(super) fn start(&mut self, at: usize) -> Verdict {
        if self.nodes[at].up {
            return Ok(());
        }
        let node = &mut self.nodes[at];
        node.life = node.born();
        node.up = true;
        self.tell(&format!("n{at} starts"));
        let mut actors = vec![Actor::Outbox];
        if at == 0 {
            actors.extend([Actor::Ledger, Actor::TicketIssuer, Actor::Scheduler]);
        }
        if self.scenario.works(at) {
            actors.extend([Actor::EngineProcess, Actor::GpuMonitor, Actor::Doorkeeper]);
        }
        for actor in actors {
            self.start_actor(at, actor)?;
        }
        Ok(())
    }

    /// An actor starts: with what its disk holds, and nothing else of its former life.
    pub(super) fn start_actor(&mut self, at: usize, actor: Actor) -> Verdict {
        if self.nodes[at].actor_life(actor).is_some() {
            return Ok(());
        }
        let now = self.nodes[at].clock(self.now);
        let life = self.nodes[at].born();
        let node = &mut self.nodes[at];
        match actor {
            Actor::Session(_) => return Ok(()),
            Actor::Scheduler => node.scheduler = Some(Seat::new(Queue::new(node.wiring.me), life)),
            Actor::TicketIssuer => {
                let Ok((store, rotation)) = open_turns(&node.turns.disk) else {
                    return self.start_actor_later(at, actor);
                };
                node.turns.store = Some(store);
                let seal = Seal::new(node.key.clone(), rotation);
                node.issuer = Some(Seat::new(seal, life));
            }
            Actor::Doorkeeper => node.door = Some(Seat::new(Door::new(node.wiring, now), life)),
            Actor::EngineProcess => {
                let keeper = Keeper::new(node.key.clone(), node.owner).heeding(node.wishes);
                node.keeper = Some(Seat::new(keeper, life));
                let serve = engine_process::protocol::Input::Serve {
                    model: self.model,
                    name: "pretend".to_owned(),
                    created_seconds: now.seconds(),
                };
                self.deliver(at, Message::EngineProcess(serve))?;
            }
            Actor::GpuMonitor => {
                node.monitor = Some(Seat::new(Gauge::new(POLICY, now), life));
            }
            Actor::Outbox => {
                let Ok((store, parcels)) = open_outbox(&node.post.disk) else {
                    return self.start_actor_later(at, actor);
                };
                node.post.store = Some(store);
                node.outbox = Some(Seat::new(Tray::new(parcels, now), life));
            }
            Actor::Ledger => {
                let Ok((store, entries)) = open_ledger(&node.books.disk) else {
                    return self.start_actor_later(at, actor);
                };
                node.books.store = Some(store);
                let book = self.reopened(&entries)?;
                self.nodes[at].ledger = Some(Seat::new(book, life));
                self.grant()?;
            }
        }
        self.arm(at, actor);
        Ok(())
    }

    fn start_actor_later(&mut self, node: usize, actor: Actor) -> Verdict {
        let life = self.nodes[node].life;
        let at = self.now + self.dice.between(10_000, 100_000);
        self.push(at, Happening::StartActor { node, actor, life });
        Ok(())
    }

    /// What the disk holds is what was acknowledged, and perhaps a batch that was in flight; the books in
    /// memory are what the second set of books says.
    fn reopened(&mut self, entries: &[Entry]) -> Result<Book, crate::checker::Violation> {
        let (known, head) = self.books.head();
        require(entries.len() as u64 >= known, "L21 ack-durable", || {
            format!(
                "the disk has {} of {known} acknowledged entries",
                entries.len()
            )
        })?;
        if let Some(last) = known.checked_sub(1) {
            let found = entries[last as usize].hash();
            require(head == Some(found), "L18 chain", || {
                format!("entry {known} on the disk is not the one that was acknowledged")
            })?;
        }
        for entry in &entries[known as usize..] {
            self.enter(entry)?;
        }
        let book = Book::replay(Prices::REFERENCE, entries.iter().cloned());
        let refused = book.as_ref().err().map(ToString::to_string);
        require(refused.is_none(), "L28 restore", || {
            format!("the books cannot be opened: {refused:?}")
        })?;
        let book = book.expect("required above");
        self.same_books(&book)?;
        Ok(book)
    }

    /// The books in memory say what the second set of books says. Only where nothing is in flight.
    pub(super) fn same_books(&self, book: &Book) -> Verdict {
        for (member, account) in book.accounts().members() {
            let own = self.books.of(*member);
            let balance = i128::from(account.granted) + i128::from(account.earned)
                - i128::from(account.spent);
            require(
                balance == own.balance && i128::from(account.held) == own.held,
                "disk and memory agree",
                || format!("{member:?}: {account:?} in memory, {own:?} by the entries"),
            )?;
        }
        let open = self.books.open().count();
        require(
            open == book.accounts().open().len(),
            "disk and memory agree",
            || {
                format!(
                    "{} holds are open in memory, {open} by the entries",
                    book.accounts().open().len()
                )
            },
        )
    }

    fn enter(&mut self, entry: &Entry) -> Verdict {
        self.tell(&format!("entry {} {:?}", entry.sequence, entry.fact));
        self.books.enter(entry, entry.hash())?;
        if let Fact::Hold { hold, .. } = entry.fact {
            self.tickets.held(hold);
        }
        Ok(())
    }

    /// What every member is given at the beginning; said again at every start of the ledger, as an
    /// impatient operator would, and carried out once.
    fn grant(&mut self) -> Verdict {
        for (index, amount) in self.scenario.members.clone().into_iter().enumerate() {
            let input = ledger::protocol::Input::Grant {
                id: [index as u8 + 1; 16],
                member: self.members[index],
                name: format!("member-{index}"),
                amount,
            };
            self.deliver(0, Message::Ledger(input))?;
        }
        Ok(())
    }

    /// A write is on its way.
    pub(super) fn write(&mut self, node: usize, actor: Actor) {
        let Some(life) = self.nodes[node].actor_life(actor) else {
            return;
        };
        let mean = self.nodes[node].commit;
        let at = self.now + mean / 2 + self.dice.exponential(mean);
        self.push(at, Happening::Written { node, actor, life });
    }

    /// The write at the head of its line reaches the disk.
    pub(super) fn written(&mut self, at: usize, actor: Actor, life: u64) -> Verdict {
        if self.nodes[at].actor_life(actor) != Some(life) {
            return Ok(());
        }
        let result = self.put(at, actor);
        let message = match (actor, result) {
            (Actor::Ledger, Some(Ok((number, entries)))) => {
                for entry in &entries {
                    self.enter(entry)?;
                }
                Message::Ledger(ledger::protocol::Input::Persisted { batch: number })
            }
            (Actor::Outbox, Some(Ok((write, _)))) => {
                Message::Outbox(outbox::protocol::Input::Persisted { write })
            }
            (Actor::TicketIssuer, Some(Ok((write, _)))) => {
                Message::TicketIssuer(ticket_issuer::protocol::Input::Persisted { write })
            }
            (Actor::TicketIssuer, Some(Err(error))) => {
                let message = error.message;
                Message::TicketIssuer(ticket_issuer::protocol::Input::PersistFailed { message })
            }
            (Actor::Ledger, Some(Err(error))) => {
                let message = error.message;
                Message::Ledger(ledger::protocol::Input::PersistFailed { message })
            }
            (Actor::Outbox, Some(Err(error))) => {
                let message = error.message;
                Message::Outbox(outbox::protocol::Input::PersistFailed { message })
            }
            (_, None) => return Ok(()),
            _ => unreachable!("nobody else writes"),
        };
        let failed = matches!(
            message,
            Message::Ledger(ledger::protocol::Input::PersistFailed { .. })
                | Message::Outbox(outbox::protocol::Input::PersistFailed { .. })
                | Message::TicketIssuer(ticket_issuer::protocol::Input::PersistFailed { .. })
        );
        let line = format!("n{at} <- {}", super::describe::message(&message));
        self.tell(&line);
        self.deliver(at, message)?;
        if failed {
            self.kill_actor(at, actor)?;
        }
        Ok(())
    }

    /// Carries out one write; `None` if there is none. Entries are those of a batch of the ledger.
    fn put(
        &mut self,
        at: usize,
        actor: Actor,
    ) -> Option<Result<(u64, Vec<Entry>), store::StoreError>> {
        let node = &mut self.nodes[at];
        if actor == Actor::Ledger {
            let batch: Batch = node.books.writes.pop_front()?;
            let result = node.books.store.as_ref()?.commit(&batch);
            return Some(result.map(|number| (number, batch.entries)));
        }
        if actor == Actor::TicketIssuer {
            let (write, rotation) = node.turns.writes.pop_front()?;
            let result = node.turns.store.as_ref()?.write(write, &rotation);
            return Some(result.map(|write| (write, Vec::new())));
        }
        let next = node.post.writes.pop_front()?;
        let store = node.post.store.as_ref()?;
        let result = store.write(next.write, &next.keep, &next.forget);
        if result.is_ok() {
            for Parcel { id, evidence, .. } in next.keep {
                match evidence {
                    Evidence::Receipt(_) => drop(self.owed.insert(id)),
                    Evidence::Claim(claim) => drop(self.claims.insert(id, claim)),
                }
            }
        }
        Some(result.map(|number| (number, Vec::new())))
    }

    /// An actor dies; its supervisor starts it again a little later. A write that was on its way is carried
    /// out by its thread, which outlives the actor, but nobody is told.
    pub(super) fn kill_actor(&mut self, at: usize, actor: Actor) -> Verdict {
        self.tell(&format!("n{at} {actor:?} dies"));
        if matches!(actor, Actor::Ledger | Actor::Outbox | Actor::TicketIssuer) {
            while let Some(Ok(_)) = self.put(at, actor) {}
        }
        self.forget_actor(at, actor);
        if let Actor::Session(request) = actor {
            self.endings.interrupted(request);
            return Ok(());
        }
        self.start_actor_later(at, actor)
    }

    fn forget_actor(&mut self, at: usize, actor: Actor) {
        let node = &mut self.nodes[at];
        match actor {
            Actor::Session(request) => drop(node.sessions.remove(&request)),
            Actor::Scheduler => node.scheduler = None,
            Actor::TicketIssuer => {
                node.issuer = None;
                node.turns.store = None;
                node.turns.writes.clear();
            }
            Actor::Doorkeeper => node.door = None,
            Actor::EngineProcess => {
                node.keeper = None;
                node.child = None;
            }
            Actor::GpuMonitor => node.monitor = None,
            Actor::Outbox => {
                node.outbox = None;
                node.post.store = None;
                node.post.writes.clear();
            }
            Actor::Ledger => {
                node.ledger = None;
                node.books.store = None;
                node.books.writes.clear();
            }
        }
    }

    /// A node's process ends, by a kill or with its power, and starts again after `dark` microseconds.
    pub(super) fn crash(&mut self, at: usize, power: bool, dark: u64) -> Verdict {
        if !self.nodes[at].up {
            return Ok(());
        }
        let how = if power { "loses power" } else { "is killed" };
        self.tell(&format!("n{at} {how}"));
        for actor in [Actor::Ledger, Actor::Outbox, Actor::TicketIssuer] {
            // What was on its way may have begun: a kill lets the system finish what was handed to it, a
            // power cut ends it at any of its operations.
            let cut = self.dice.below(30);
            let node = &self.nodes[at];
            let disk = match actor {
                Actor::Ledger => node.books.disk.clone(),
                Actor::TicketIssuer => node.turns.disk.clone(),
                _ => node.post.disk.clone(),
            };
            if self.dice.chance(0.8) {
                disk.die_in(cut);
                let _ = self.put(at, actor);
            }
            if power {
                disk.lose_power(&mut self.dice);
            } else {
                disk.lose_process();
            }
        }
        for actor in self.nodes[at].actors() {
            if let Actor::Session(request) = actor {
                self.endings.interrupted(request);
            }
            self.forget_actor(at, actor);
        }
        self.nodes[at].up = false;
        self.nodes[at].wishes = Wishes::default();
        self.push(self.now + dark, Happening::Start { node: at });
        Ok(())
    }
}

fn open_ledger(disk: &Disk) -> Result<(LedgerStore, Vec<Entry>), store::StoreError> {
    let store = LedgerStore::open(store::open(disk.open())?)?;
    let entries = store.load()?;
    Ok((store, entries))
}

fn open_turns(disk: &Disk) -> Result<(RotationStore, Rotation), store::StoreError> {
    let store = RotationStore::open(store::open(disk.open())?)?;
    let rotation = store.load()?;
    Ok((store, rotation))
}

fn open_outbox(disk: &Disk) -> Result<(OutboxStore, Vec<Parcel>), store::StoreError> {
    let store = OutboxStore::open(store::open(disk.open())?)?;
    let parcels = store.load()?;
    Ok((store, parcels))
}
