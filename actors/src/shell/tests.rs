//! The one timer of a seat. A leaf: it runs an actor.

use super::*;
use crate::ports::Alone;
use crate::session::protocol::Effect;
use ractor::{Actor, ActorProcessingErr};

/// A clock that stands.
struct Still;

impl Clock for Still {
    fn now(&self) -> Time {
        Time(1_000)
    }
}

impl Entropy for Still {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(1);
    }
}

/// A core that wants to be woken when it was last told to.
struct Bell(Time);

impl Core for Bell {
    type Input = Time;
    type Effect = Effect;

    fn step(&mut self, _now: Time, at: Time, _out: &mut Vec<Effect>) {
        self.0 = at;
    }

    fn deadline(&self) -> Option<Time> {
        Some(self.0)
    }

    fn wake(&mut self, _now: Time, _out: &mut Vec<Effect>) {}

    fn check(&self) {}
}

struct Ringer;

impl Actor for Ringer {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

#[tokio::test]
async fn a_seat_has_one_timer_however_often_its_deadline_moves() {
    let me = NodeId([1; 32]);
    let node = Arc::new(Node {
        wiring: Wiring {
            me,
            coordinator: me,
        },
        clock: Arc::new(Still),
        entropy: Arc::new(Still),
        transport: Arc::new(Alone),
        directory: Directory::default(),
    });
    let (ringer, _) = Actor::spawn(None, Ringer, ()).await.unwrap();
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    let mut seat = Seat::new("bell", Bell(Time(0)), node);
    for turn in 0..500 {
        // Busy, then idle, and a ring that was under way all the while.
        for at in [500_000, 5_000_000] {
            seat.step(Time(at + turn));
            seat.arm(&ringer, || ());
        }
        seat.wake();
        seat.arm(&ringer, || ());
        tokio::task::yield_now().await;
    }
    assert_eq!(tasks() - before, 1);
    drop(seat);
    tokio::task::yield_now().await;
    assert_eq!(tasks(), before);
    ringer.stop(None);
}
