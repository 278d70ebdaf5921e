//! Admits or says Busy; decides who waits, and which worker serves.
//!
//! Lives on coordinators. Sessions ask it for workers; it asks the `Ledger` for a hold and the
//! `TicketIssuer` for a ticket, which goes straight to the session. When it dies its queue is gone: sessions
//! ask again, workers report again, and its view is rebuilt from that.

mod decisions;
mod line;
mod over;
pub mod protocol;
mod queue;
pub mod score;
mod terms;
mod workers;

pub use decisions::{
    ADMITTED_MAX, CANDIDATES_MAX, DECISIONS_MAX, Decision, REFUSED_MAX, Story, Waits,
};
pub use queue::Queue;
pub use workers::{Candidate, Finding};

use crate::engine_process::protocol::Rest;
use crate::ids::{HoldId, NodeId, RequestId};
use crate::ledger::{LedgerHandle, Resolution};
use crate::names;
use crate::questions::{Answer, Question};
use crate::shell::{Node, Seat};
use protocol::{Input, ModelReport};
use ractor::{ActorProcessingErr, ActorRef, RpcReplyPort};
use std::sync::Arc;
use std::time::Duration;

/// The scheduler's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests that have a worker.
    pub running: u64,
    /// Requests in the line.
    pub waiting: u64,
    /// Workers that report.
    pub workers: u64,
    /// What has happened so far.
    pub counts: Counts,
}

/// What has happened since the scheduler started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tickets ordered, one for each attempt.
    pub granted: u64,
    /// Requests told Busy.
    pub busy: u64,
    /// Requests refused for another reason.
    pub refused: u64,
    /// Places taken back because nobody was heard to use them.
    pub reclaimed: u64,
}

/// The scheduler of this node did not answer; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// There is none on this node now.
    #[error("there is no scheduler on this node now")]
    Absent,
    /// It died over it, or took too long.
    #[error("the scheduler does not answer")]
    Silent,
}

/// The way in for everybody else: finds the actor, asks it, and does not wait longer than a deadline.
#[derive(Clone)]
pub struct SchedulerHandle(Arc<Node>);

impl SchedulerHandle {
    /// The handle to the scheduler of `node`.
    pub fn new(node: Arc<Node>) -> SchedulerHandle {
        SchedulerHandle(node)
    }

    /// Every model of every worker that reports; asked of the coordinator, wherever that is.
    pub async fn catalog(&self) -> Result<Vec<(NodeId, ModelReport)>, AskError> {
        if !self.0.coordinates() {
            return match self
                .0
                .ask_coordinator(Question::Catalog, ASK_DEADLINE)
                .await
            {
                Ok(Answer::Catalog(catalog)) => Ok(catalog),
                _ => Err(AskError::Silent),
            };
        }
        self.ask(SchedulerMessage::Catalog).await
    }

    /// Which workers take no work, and why; asked of the coordinator, wherever that is.
    pub async fn resting(&self) -> Result<Vec<(NodeId, Rest)>, AskError> {
        if !self.0.coordinates() {
            let asked = self.0.ask_coordinator(Question::Resting, ASK_DEADLINE);
            return match asked.await {
                Ok(Answer::Resting(resting)) => Ok(resting),
                _ => Err(AskError::Silent),
            };
        }
        self.ask(SchedulerMessage::Resting).await
    }

    /// What is known of `request`; asked of the coordinator, wherever that is, which tells whoever asked for it.
    pub async fn explain(&self, request: RequestId) -> Result<Option<Story>, AskError> {
        if !self.0.coordinates() {
            let question = Question::Explain { request };
            return match self.0.ask_coordinator(question, ASK_DEADLINE).await {
                Ok(Answer::Explained(story)) => Ok(story.map(|story| *story)),
                _ => Err(AskError::Silent),
            };
        }
        let asked = |reply| SchedulerMessage::Explain(request, reply);
        let Some(mut story) = self.ask(asked).await? else {
            return Ok(None);
        };
        // What it cost is the ledger's to say.
        let ledger = LedgerHandle::new(self.0.clone());
        (story.paid, story.vouched) = match ledger.ending(HoldId::of(request)).await {
            Ok(Some(Resolution::Posted(paid, _))) => (Some(paid), false),
            Ok(Some(Resolution::Vouched(paid, _))) => (Some(paid), true),
            _ => (None, false),
        };
        Ok(Some(story))
    }

    /// The numbers now.
    pub async fn stats(&self) -> Result<Stats, AskError> {
        self.ask(SchedulerMessage::Stats).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        message: impl FnOnce(RpcReplyPort<T>) -> SchedulerMessage,
    ) -> Result<T, AskError> {
        let actor = self
            .0
            .directory
            .find(|entries| entries.scheduler.clone())
            .ok_or(AskError::Absent)?;
        match actor.call(message, Some(ASK_DEADLINE)).await {
            Ok(ractor::rpc::CallResult::Success(answer)) => Ok(answer),
            Ok(_) => Err(AskError::Silent),
            Err(_) => Err(AskError::Absent),
        }
    }
}

/// All a scheduler needs from outside.
pub struct SchedulerArgs {
    /// The node it works for.
    pub node: Arc<Node>,
}

/// The actor; its state is the core in its seat.
pub struct Scheduler;

#[ractor::actor(
    message = pub enum SchedulerMessage,
    state = Seat<Queue>,
    arguments = SchedulerArgs,
)]
impl Scheduler {
    async fn pre_start(
        &self,
        myself: ActorRef<SchedulerMessage>,
        args: SchedulerArgs,
    ) -> Result<Seat<Queue>, ActorProcessingErr> {
        let node = args.node;
        let queue = Queue::new(node.wiring.me);
        node.directory
            .enter(|entries| entries.scheduler = Some(myself));
        Ok(Seat::new(names::SCHEDULER, queue, node))
    }

    /// Something happened.
    #[ractor::message(Input(input))]
    fn input(&self, myself: ActorRef<SchedulerMessage>, input: Input, state: &mut Seat<Queue>) {
        state.step(input);
        state.arm(&myself, || SchedulerMessage::Wake);
    }

    /// The timer rang.
    #[ractor::message(Wake)]
    fn wake(&self, myself: ActorRef<SchedulerMessage>, state: &mut Seat<Queue>) {
        state.wake();
        state.arm(&myself, || SchedulerMessage::Wake);
    }

    /// Says which models there are.
    #[ractor::rpc(Catalog)]
    fn catalog(&self, state: &Seat<Queue>) -> Vec<(NodeId, ModelReport)> {
        state.asked("Catalog").catalog()
    }

    /// Says which workers rest.
    #[ractor::rpc(Resting)]
    fn resting(&self, state: &Seat<Queue>) -> Vec<(NodeId, Rest)> {
        state.asked("Resting").resting()
    }

    /// Says what is known of a request.
    #[ractor::rpc(Explain(request, reply))]
    fn explain(&self, request: RequestId, state: &Seat<Queue>) -> Option<Story> {
        let now = state.node().clock.now();
        state.asked("Explain").explain(now, request)
    }

    /// Says its numbers.
    #[ractor::rpc(Stats)]
    fn stats(&self, state: &Seat<Queue>) -> Stats {
        state.asked("Stats").stats()
    }
}

/// How long anybody waits for an answer.
const ASK_DEADLINE: Duration = Duration::from_secs(2);
