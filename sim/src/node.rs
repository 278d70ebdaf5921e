//! One simulated machine: its disks, its clock, and the cores of the actors that live on it.
//!
//! What survives a crash is the key and the disks. Everything else is made anew when the node starts, as the
//! supervision tree of the running program would make it.

use crate::disk::Disk;
use crate::engine::Child;
use std::collections::BTreeMap;
use troop_actors::contract::{Core, Time};
use troop_actors::doorkeeper::Door;
use troop_actors::engine_process::{Keeper, Wishes};
use troop_actors::gpu_monitor::Gauge;
use troop_actors::ids::{MemberId, NodeId, NodeKey, RequestId};
use troop_actors::ledger::{Batch, Book, LedgerStore};
use troop_actors::outbox::protocol::{Parcel, ParcelId};
use troop_actors::outbox::{OutboxStore, Tray};
use troop_actors::routing::Wiring;
use troop_actors::scheduler::Queue;
use troop_actors::session::Thread;
use troop_actors::ticket::Rotation;
use troop_actors::ticket_issuer::{RotationStore, Seal};

/// Which actor of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    /// The session of a request.
    Session(RequestId),
    /// The scheduler.
    Scheduler,
    /// The ledger.
    Ledger,
    /// The ticket issuer.
    TicketIssuer,
    /// The doorkeeper.
    Doorkeeper,
    /// The keeper of engines.
    EngineProcess,
    /// The monitor of the machine.
    GpuMonitor,
    /// The outbox.
    Outbox,
}

/// A core in its place.
#[derive(Debug)]
pub struct Seat<C> {
    /// The core.
    pub core: C,
    /// Which life of its actor this is; what was meant for an earlier one does not reach it.
    pub life: u64,
    /// When its timer rings, in microseconds of the world.
    pub armed: Option<u64>,
}

impl<C: Core> Seat<C> {
    /// Seats a core.
    pub fn new(core: C, life: u64) -> Seat<C> {
        Seat {
            core,
            life,
            armed: None,
        }
    }

    /// One input, and every invariant after it.
    pub fn step(&mut self, now: Time, input: C::Input) -> Vec<C::Effect> {
        let mut effects = Vec::new();
        self.core.step(now, input, &mut effects);
        self.core.check();
        effects
    }

    /// Sets the timer to the core's deadline by a clock that is so far ahead; says when it rings if that is new.
    pub fn arm(&mut self, now: u64, skew: i64) -> Option<u64> {
        let rings = when(self.core.deadline()?, skew).max(now + 1_000);
        if self.armed.is_some_and(|armed| armed <= rings) {
            return None;
        }
        self.armed = Some(rings);
        self.armed
    }

    /// The timer rang that was armed to ring then, perhaps too early. One that was armed anew since is forgotten: where
    /// each of them set the next, their number would grow with every timer that is moved forward.
    pub fn wake(&mut self, now: Time, rings: u64) -> Vec<C::Effect> {
        let mut effects = Vec::new();
        if self.armed != Some(rings) {
            return effects;
        }
        self.armed = None;
        if self.core.deadline().is_some_and(|deadline| deadline <= now) {
            self.core.wake(now, &mut effects);
            self.core.check();
        }
        effects
    }
}

/// A write of an outbox on its way to the disk.
#[derive(Debug)]
pub struct TrayWrite {
    /// Its number.
    pub write: u64,
    /// Parcels to keep.
    pub keep: Vec<Parcel>,
    /// Parcels to forget.
    pub forget: Vec<ParcelId>,
}

/// A store with the one write that is on its way to it.
#[derive(Debug)]
pub struct Shelf<S, W> {
    /// The disk under it.
    pub disk: Disk,
    /// The open store.
    pub store: Option<S>,
    /// Writes in their order, the first of them on its way.
    pub writes: std::collections::VecDeque<W>,
}

impl<S, W> Shelf<S, W> {
    fn new() -> Shelf<S, W> {
        Shelf {
            disk: Disk::new(),
            store: None,
            writes: Default::default(),
        }
    }
}

/// A machine.
pub struct Node {
    /// Its key.
    pub key: NodeKey,
    /// Its place among others.
    pub wiring: Wiring,
    /// Who owns it.
    pub owner: MemberId,
    /// Whether its process runs.
    pub up: bool,
    /// Counts lives of the process and of its actors.
    pub lives: u64,
    /// The life of the process.
    pub life: u64,
    /// It stands still until then.
    pub paused_until: u64,
    /// How far its clock is ahead, in microseconds; negative if it is behind.
    pub skew: i64,
    /// Commits take so long.
    pub commit: u64,
    /// On a coordinator.
    pub scheduler: Option<Seat<Queue>>,
    /// On a coordinator.
    pub ledger: Option<Seat<Book>>,
    /// On a coordinator.
    pub issuer: Option<Seat<Seal>>,
    /// On a worker.
    pub door: Option<Seat<Door>>,
    /// On a worker.
    pub keeper: Option<Seat<Keeper>>,
    /// On a worker.
    pub monitor: Option<Seat<Gauge>>,
    /// What its owner said to the keepers of engines of this process.
    pub wishes: Wishes,
    /// Its owner wants it until then.
    pub wanted_until: u64,
    /// On every node.
    pub outbox: Option<Seat<Tray>>,
    /// Of clients that ask this node.
    pub sessions: BTreeMap<RequestId, Seat<Thread>>,
    /// The engine of a worker.
    pub child: Option<Child>,
    /// The ledger's disk.
    pub books: Shelf<LedgerStore, Batch>,
    /// The outbox's disk.
    pub post: Shelf<OutboxStore, TrayWrite>,
    /// The ticket issuer's disk.
    pub turns: Shelf<RotationStore, (u64, Rotation)>,
}

impl Node {
    /// A machine that is switched off.
    pub fn new(key: NodeKey, coordinator: NodeId, owner: MemberId) -> Node {
        let me = key.node();
        Node {
            key,
            wiring: Wiring { me, coordinator },
            owner,
            up: false,
            lives: 0,
            life: 0,
            paused_until: 0,
            skew: 0,
            commit: COMMIT,
            scheduler: None,
            ledger: None,
            issuer: None,
            door: None,
            keeper: None,
            monitor: None,
            wishes: Wishes::default(),
            wanted_until: 0,
            outbox: None,
            sessions: BTreeMap::new(),
            child: None,
            books: Shelf::new(),
            post: Shelf::new(),
            turns: Shelf::new(),
        }
    }

    /// The time on its clock at `now` of the world.
    pub fn clock(&self, now: u64) -> Time {
        Time(EPOCH_MS + now.saturating_add_signed(self.skew) / 1_000)
    }

    /// When its clock will show `time`.
    pub fn when(&self, time: Time) -> u64 {
        when(time, self.skew)
    }

    /// The number of a new life.
    pub fn born(&mut self) -> u64 {
        self.lives += 1;
        self.lives
    }

    /// Which life of an actor is there now, if any.
    pub fn actor_life(&self, actor: Actor) -> Option<u64> {
        match actor {
            Actor::Session(request) => self.sessions.get(&request).map(|seat| seat.life),
            Actor::Scheduler => self.scheduler.as_ref().map(|seat| seat.life),
            Actor::Ledger => self.ledger.as_ref().map(|seat| seat.life),
            Actor::TicketIssuer => self.issuer.as_ref().map(|seat| seat.life),
            Actor::Doorkeeper => self.door.as_ref().map(|seat| seat.life),
            Actor::EngineProcess => self.keeper.as_ref().map(|seat| seat.life),
            Actor::GpuMonitor => self.monitor.as_ref().map(|seat| seat.life),
            Actor::Outbox => self.outbox.as_ref().map(|seat| seat.life),
        }
    }

    /// Every actor that is there now.
    pub fn actors(&self) -> Vec<Actor> {
        let fixed = [
            Actor::Scheduler,
            Actor::Ledger,
            Actor::TicketIssuer,
            Actor::Doorkeeper,
            Actor::EngineProcess,
            Actor::GpuMonitor,
            Actor::Outbox,
        ];
        let sessions = self.sessions.keys().map(|request| Actor::Session(*request));
        fixed
            .into_iter()
            .chain(sessions)
            .filter(|actor| self.actor_life(*actor).is_some())
            .collect()
    }
}

/// When a clock that is so many microseconds ahead will show `time`.
fn when(time: Time, skew: i64) -> u64 {
    let since = time.0.saturating_sub(EPOCH_MS).saturating_mul(1_000);
    since.saturating_add_signed(-skew)
}

/// The wall clock when a world begins, in milliseconds: any date will do that is not 1970.
pub const EPOCH_MS: u64 = 1_780_000_000_000;
/// Microseconds of a commit on a good disk.
pub const COMMIT: u64 = 400;

#[cfg(test)]
mod tests {
    use super::*;

    /// Rings at its time, once.
    struct Bell(Option<Time>);

    impl Core for Bell {
        type Input = Time;
        type Effect = Time;

        fn step(&mut self, _now: Time, input: Time, _out: &mut Vec<Time>) {
            self.0 = Some(input);
        }

        fn deadline(&self) -> Option<Time> {
            self.0
        }

        fn wake(&mut self, now: Time, out: &mut Vec<Time>) {
            self.0 = None;
            out.push(now);
        }

        fn check(&self) {}
    }

    #[test]
    fn a_timer_that_is_moved_forward_rings_once() {
        let at = |ms: u64| Time(EPOCH_MS + ms);
        let mut seat = Seat::new(Bell(Some(at(500))), 1);
        let late = seat.arm(0, 0).expect("it was not armed");
        seat.step(at(0), at(200));
        let early = seat.arm(0, 0).expect("it is moved forward");
        assert_eq!((early, late), (200_000, 500_000));

        assert_eq!(seat.wake(at(200), early), [at(200)]);
        seat.step(at(200), at(700));
        assert_eq!(seat.arm(early, 0), Some(700_000));
        assert!(seat.wake(at(500), late).is_empty());
        assert_eq!(seat.arm(late, 0), None, "it is armed");
        assert_eq!(seat.wake(at(700), 700_000), [at(700)]);
    }
}
