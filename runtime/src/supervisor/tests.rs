//! The supervisor over real actors that panic, are slow, and remember in which order they went.

use super::*;
use ractor::Actor;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use troop_actors::contract::Time;

struct Still(AtomicU64);

impl Clock for Still {
    fn now(&self) -> Time {
        Time(self.0.load(Ordering::Relaxed))
    }
}

type Log = Arc<Mutex<Vec<String>>>;

struct Worker;

#[ractor::actor(message = enum WorkerMessage, state = (&'static str, Log), arguments = (&'static str, Log))]
impl Worker {
    async fn pre_start(
        &self,
        _myself: ActorRef<WorkerMessage>,
        args: (&'static str, Log),
    ) -> Result<(&'static str, Log), ActorProcessingErr> {
        args.1.lock().unwrap().push(format!("+{}", args.0));
        Ok(args)
    }

    /// Falls.
    #[ractor::message(Fall)]
    fn fall(&self) {
        panic!("asked to fall");
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<WorkerMessage>,
        state: &mut (&'static str, Log),
    ) -> Result<(), ActorProcessingErr> {
        state.1.lock().unwrap().push(format!("-{}", state.0));
        Ok(())
    }
}

type Place = Arc<Mutex<Option<ActorRef<WorkerMessage>>>>;

fn child(name: &'static str, log: &Log, place: &Place) -> Child {
    let (log, place) = (log.clone(), place.clone());
    let start: Start = Box::new(move |parent| {
        let (log, place) = (log.clone(), place.clone());
        Box::pin(async move {
            let (actor, _) = Actor::spawn_linked(None, Worker, (name, log), parent).await?;
            *place.lock().unwrap() = Some(actor.clone());
            Ok(actor.get_cell())
        })
    });
    Child {
        name,
        start,
        shutdown: Duration::from_secs(1),
    }
}

async fn until(what: impl Fn() -> bool) {
    for _ in 0..2000 {
        if what() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it did not come about");
}

fn fall(place: &Place) {
    place
        .lock()
        .unwrap()
        .as_ref()
        .unwrap()
        .cast(WorkerMessage::Fall)
        .unwrap();
}

#[tokio::test]
async fn a_fallen_child_is_started_again_and_all_stop_in_reverse() {
    let (log, a, b) = (Log::default(), Place::default(), Place::default());
    let children = vec![child("a", &log, &a), child("b", &log, &b)];
    let clock = Arc::new(Still(AtomicU64::new(0)));
    let args = SupervisorArgs { children, clock };
    let (supervisor, end) = Actor::spawn(None, Supervisor, args).await.unwrap();

    fall(&a);
    until(|| log.lock().unwrap().len() == 3).await;
    ractor::call!(supervisor, SupervisorMessage::Stop).unwrap();
    end.await.unwrap();

    assert_eq!(*log.lock().unwrap(), ["+a", "+b", "+a", "-b", "-a"]);
}

#[tokio::test]
async fn a_storm_of_falls_brings_the_supervisor_down_and_leaves_no_child() {
    let (log, a, b) = (Log::default(), Place::default(), Place::default());
    let children = vec![child("a", &log, &a), child("b", &log, &b)];
    let clock = Arc::new(Still(AtomicU64::new(0)));
    let args = SupervisorArgs { children, clock };
    let (supervisor, end) = Actor::spawn(None, Supervisor, args).await.unwrap();
    for falls in 1..=3 {
        fall(&a);
        until(|| {
            log.lock()
                .unwrap()
                .iter()
                .filter(|line| *line == "+a")
                .count()
                == falls + 1
        })
        .await;
    }
    fall(&a);
    end.await.unwrap();
    assert_eq!(supervisor.get_status(), ractor::ActorStatus::Stopped);
    let child = b.lock().unwrap().clone().unwrap();
    until(|| child.get_status() == ractor::ActorStatus::Stopped).await;
}

#[tokio::test]
async fn a_child_that_cannot_start_stops_those_before_it() {
    let (log, a) = (Log::default(), Place::default());
    let broken = Child {
        name: "broken",
        start: Box::new(|_| Box::pin(async { Err("no".into()) })),
        shutdown: Duration::from_secs(1),
    };
    let children = vec![child("a", &log, &a), broken];
    let clock = Arc::new(Still(AtomicU64::new(0)));
    let args = SupervisorArgs { children, clock };
    assert!(Actor::spawn(None, Supervisor, args).await.is_err());
    assert_eq!(*log.lock().unwrap(), ["+a", "-a"]);
}
