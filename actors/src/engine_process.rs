//! Keeps engines running: starts, probes, restarts them, and carries their words.
//!
//! Lives on workers. Each engine is a child process of this actor; it gets work from the `Doorkeeper`, tells
//! `Session`s how it goes, signs the worker's half of every receipt, has the `Outbox` claim what a client leaves unpaid,
//! and reports to the `Scheduler`. When it dies its children die with it, sessions notice the silence or the loss, and
//! resume on the next life.

mod child;
mod keeper;
pub mod protocol;

pub use child::Engines;
pub use keeper::{Engine, EngineState, Keeper, Wishes};

use crate::engine::frames::FromEngine;
use crate::ids::{MemberId, NodeKey, Passport};
use crate::names;
use crate::routing::EnginePort;
use crate::shell::{Node, Seat};
use child::Child;
use protocol::{Input, Rest};
use ractor::{ActorProcessingErr, ActorRef, RpcReplyPort};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// How one engine is, for whoever asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineStatus {
    /// The model.
    pub model: Passport,
    /// What people call it.
    pub name: String,
    /// How it is.
    pub state: EngineState,
    /// The child's process id, while there is one.
    pub pid: Option<u32>,
    /// What it said of itself last.
    pub stats: crate::engine::frames::EngineStats,
    /// Lives that ended by themselves.
    pub restarts: u64,
}

/// How a worker is, for whoever asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerStatus {
    /// Its engines.
    pub engines: Vec<EngineStatus>,
    /// Why it takes no work, if it takes none.
    pub rest: Option<Rest>,
    /// Attempts that run.
    pub running: usize,
}

/// The keeper of engines does not answer within its deadline. What it was told may be heard yet, or be lost: it may be
/// said again, which changes nothing if it was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the keeper of engines does not answer")]
pub struct Away;

/// The way in for everybody else.
#[derive(Clone)]
pub struct EngineProcessHandle(Arc<Node>);

impl EngineProcessHandle {
    /// The handle to the keeper of engines of `node`.
    pub fn new(node: Arc<Node>) -> EngineProcessHandle {
        EngineProcessHandle(node)
    }

    /// Has a model served from now on. Serving one that is served already changes nothing.
    pub async fn serve(
        &self,
        model: Passport,
        name: &str,
        created_seconds: u64,
    ) -> Result<(), Away> {
        let name = name.to_owned();
        self.tell(Input::Serve {
            model,
            name,
            created_seconds,
        })
        .await
    }

    /// Takes no more work from now on; what runs gets `grace` to finish, and is cancelled and signed for then.
    pub async fn drain(&self, grace: Duration) -> Result<(), Away> {
        let grace_ms = millis(grace);
        self.tell(Input::Drain { grace_ms }).await
    }

    /// How the worker and every engine of it is.
    pub async fn status(&self) -> Result<WorkerStatus, Away> {
        self.ask(EngineProcessMessage::Status).await
    }

    /// Takes no more work for now. What runs may go on for `grace`, then its sessions go on elsewhere and the
    /// memory of the engines is given back.
    pub async fn pause(&self, grace: Duration) -> Result<(), Away> {
        let grace_ms = millis(grace);
        self.tell(Input::Pause { grace_ms }).await
    }

    /// Starts the engines again, and takes work; for an hour even if the machine is wanted for something else now.
    pub async fn resume(&self) -> Result<(), Away> {
        self.tell(Input::Resume).await
    }

    async fn tell(&self, input: Input) -> Result<(), Away> {
        self.ask(|reply| EngineProcessMessage::Told(input, reply))
            .await
    }

    async fn ask<T: Send + 'static>(
        &self,
        message: impl FnOnce(RpcReplyPort<T>) -> EngineProcessMessage,
    ) -> Result<T, Away> {
        let actor = self
            .0
            .directory
            .find(|entries| entries.engine_process.clone())
            .ok_or(Away)?;
        match actor.call(message, Some(CALL_DEADLINE)).await {
            Ok(ractor::rpc::CallResult::Success(answer)) => Ok(answer),
            _ => Err(Away),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A model to be served from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The model.
    pub model: Passport,
    /// What people call it.
    pub name: String,
    /// When it came to this machine, in seconds since the Unix epoch.
    pub created_seconds: u64,
}

/// What is to be served, and whether now. It outlasts the keeper: one that is started anew serves all of it again,
/// what was loaded later included, and rests if its owner wants it to.
#[derive(Clone, Debug, Default)]
pub struct Roster(Arc<Mutex<Listed>>);

#[derive(Debug, Default)]
struct Listed {
    served: Vec<Served>,
    wishes: Wishes,
}

impl Roster {
    /// Begins with what is served from the start.
    pub fn new(served: Vec<Served>) -> Roster {
        Roster(Arc::new(Mutex::new(Listed {
            served,
            wishes: Wishes::default(),
        })))
    }

    fn all(&self) -> Vec<Served> {
        self.list().served.clone()
    }

    fn note(&self, served: Served) {
        let list = &mut self.list().served;
        let same = |known: &Served| (known.model, &known.name) == (served.model, &served.name);
        if !list.iter().any(same) {
            list.push(served);
        }
    }

    fn list(&self) -> MutexGuard<'_, Listed> {
        // Nobody panics while the list is being changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All a keeper of engines needs from outside.
pub struct EngineProcessArgs {
    /// The node it works for.
    pub node: Arc<Node>,
    /// The node's key, to sign receipts with.
    pub key: NodeKey,
    /// Whose machine it is.
    pub owner: MemberId,
    /// How a child is started.
    pub engines: Arc<dyn Engines>,
    /// What is to be served.
    pub served: Roster,
}

/// The actor.
pub struct EngineProcess;

/// The core in its seat, and the children.
pub struct EngineProcessState {
    seat: Seat<Keeper>,
    engines: Arc<dyn Engines>,
    children: BTreeMap<Passport, Child>,
    served: Roster,
}

impl EngineProcessState {
    fn step(&mut self, input: Input, myself: &ActorRef<EngineProcessMessage>) {
        match &input {
            Input::Serve {
                model,
                name,
                created_seconds,
            } => self.served.note(Served {
                model: *model,
                name: name.clone(),
                created_seconds: *created_seconds,
            }),
            // Heard here too: what is said to a keeper that falls at it is said all the same.
            Input::Pause { .. } | Input::Resume | Input::Machine { .. } => {
                let now = self.seat.node().clock.now();
                self.served.list().wishes.hear(now, &input);
            }
            _ => {}
        }
        let ports = self.seat.step(input);
        self.perform(ports, myself);
    }

    fn perform(&mut self, ports: Vec<EnginePort>, myself: &ActorRef<EngineProcessMessage>) {
        for port in ports {
            match port {
                EnginePort::Spawn { model, life } => {
                    match Child::start(&*self.engines, model, life, myself) {
                        Ok(child) => drop(self.children.insert(model, child)),
                        Err(error) => {
                            let reason = error.to_string();
                            let exited = Input::Exited {
                                model,
                                life,
                                reason,
                            };
                            let _ = myself.cast(EngineProcessMessage::Input(exited));
                        }
                    }
                }
                EnginePort::Kill { model, life } => {
                    if self
                        .children
                        .get(&model)
                        .is_some_and(|child| child.life() == life)
                    {
                        self.children.remove(&model);
                    }
                }
                EnginePort::Write { model, life, frame } => {
                    let child = self
                        .children
                        .get(&model)
                        .filter(|child| child.life() == life);
                    // A child that does not read is ended; its exit is told as any other.
                    if child.is_some_and(|child| !child.write(&frame)) {
                        self.children.remove(&model);
                        let reason = "it stopped reading".to_owned();
                        let exited = Input::Exited {
                            model,
                            life,
                            reason,
                        };
                        let _ = myself.cast(EngineProcessMessage::Input(exited));
                    }
                }
            }
        }
        self.seat.arm(myself, || EngineProcessMessage::Wake);
    }
}

#[ractor::actor(
    message = pub enum EngineProcessMessage,
    state = EngineProcessState,
    arguments = EngineProcessArgs,
)]
impl EngineProcess {
    async fn pre_start(
        &self,
        myself: ActorRef<EngineProcessMessage>,
        args: EngineProcessArgs,
    ) -> Result<EngineProcessState, ActorProcessingErr> {
        let EngineProcessArgs {
            node,
            key,
            owner,
            engines,
            served,
        } = args;
        node.directory
            .enter(|entries| entries.engine_process = Some(myself.clone()));
        let keeper = Keeper::new(key, owner).heeding(served.list().wishes);
        let seat = Seat::new(names::ENGINE_PROCESS, keeper, node);
        let mut state = EngineProcessState {
            seat,
            engines,
            children: BTreeMap::new(),
            served: served.clone(),
        };
        for Served {
            model,
            name,
            created_seconds,
        } in served.all()
        {
            state.step(
                Input::Serve {
                    model,
                    name,
                    created_seconds,
                },
                &myself,
            );
        }
        Ok(state)
    }

    /// Something happened.
    #[ractor::message(Input(input))]
    fn input(
        &self,
        myself: ActorRef<EngineProcessMessage>,
        input: Input,
        state: &mut EngineProcessState,
    ) {
        state.step(input, &myself);
    }

    /// Its owner said something, and waits until it is heard: what a keeper that falls has not read yet is lost.
    #[ractor::message(Told(input, reply))]
    fn told(
        &self,
        myself: ActorRef<EngineProcessMessage>,
        input: Input,
        reply: RpcReplyPort<()>,
        state: &mut EngineProcessState,
    ) {
        state.step(input, &myself);
        // Whoever said it may have gone.
        let _ = reply.send(());
    }

    /// The timer rang.
    #[ractor::message(Wake)]
    fn wake(&self, myself: ActorRef<EngineProcessMessage>, state: &mut EngineProcessState) {
        let ports = state.seat.wake();
        state.perform(ports, &myself);
    }

    /// A child said something. The permit is given back when it has been heard: that is what bounds how
    /// much a child can say before it has to wait.
    #[ractor::message(Heard(model, life, frame, permit))]
    fn heard(
        &self,
        myself: ActorRef<EngineProcessMessage>,
        model: Passport,
        life: u64,
        frame: FromEngine,
        permit: OwnedSemaphorePermit,
        state: &mut EngineProcessState,
    ) {
        state.step(Input::Frame { model, life, frame }, &myself);
        drop(permit);
    }

    /// How the worker and every engine of it is.
    #[ractor::message(Status(reply))]
    fn status(&self, reply: RpcReplyPort<WorkerStatus>, state: &mut EngineProcessState) {
        let keeper = state.seat.asked("Status");
        let engines = keeper.engines().iter();
        let engines = engines.map(|(model, engine)| EngineStatus {
            model: *model,
            name: engine.name.clone(),
            state: engine.state.clone(),
            pid: state.children.get(model).and_then(Child::pid),
            stats: engine.stats,
            restarts: engine.restarts,
        });
        let status = WorkerStatus {
            engines: engines.collect(),
            rest: keeper.rest(),
            running: keeper.running(),
        };
        // Whoever asked may have gone.
        let _ = reply.send(status);
    }
}

/// How long a call may take.
const CALL_DEADLINE: Duration = Duration::from_secs(5);
