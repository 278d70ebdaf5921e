//! Starts children in order, starts a fallen one again, stops them in reverse.
//!
//! ractor tells a parent that a child has fallen and nothing more; what follows is decided here, by a table
//! of [`Child`]ren and the pure [`intensity`]. More than three restarts in five seconds and the supervisor falls
//! itself: the root's fall ends the process, and whoever keeps services running starts it anew.

pub mod intensity;

use intensity::{Intensity, Verdict};
use ractor::{ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use troop_actors::planted;
use troop_actors::ports::Clock;

/// How a child is started under its supervisor: again and again, so it takes no argument by value.
pub type Start = Box<
    dyn Fn(ActorCell) -> Pin<Box<dyn Future<Output = Result<ActorCell, ActorProcessingErr>> + Send>>
        + Send
        + Sync,
>;

/// One row of the table.
pub struct Child {
    /// Its name, for traces.
    pub name: &'static str,
    /// How to start it.
    pub start: Start,
    /// What it gets to stop by itself, before it is killed.
    pub shutdown: Duration,
}

/// All a supervisor needs.
pub struct SupervisorArgs {
    /// In the order of starting.
    pub children: Vec<Child>,
    /// For the intensity of restarts.
    pub clock: Arc<dyn Clock>,
}

/// The actor.
pub struct Supervisor;

/// The table, and who is alive.
pub struct SupervisorState {
    children: Vec<Child>,
    alive: Vec<Option<ActorCell>>,
    clock: Arc<dyn Clock>,
    intensity: Intensity,
    stopping: bool,
}

impl SupervisorState {
    async fn start(&mut self, index: usize, myself: &ActorCell) -> Result<(), ActorProcessingErr> {
        let child = &self.children[index];
        let cell = (child.start)(myself.clone()).await?;
        tracing::debug!(child = child.name, "started");
        self.alive[index] = Some(cell);
        Ok(())
    }

    /// A child has fallen; those started after it go on, because letters that are lost are said again.
    async fn fallen(
        &mut self,
        cell: &ActorCell,
        reason: String,
        myself: &ActorCell,
    ) -> Result<(), ActorProcessingErr> {
        let id = cell.get_id();
        let is_it = |alive: &Option<ActorCell>| alive.as_ref().is_some_and(|it| it.get_id() == id);
        let Some(index) = self.alive.iter().position(is_it) else {
            return Ok(());
        };
        self.alive[index] = None;
        if self.stopping {
            return Ok(());
        }
        let name = self.children[index].name;
        loop {
            if self.intensity.fallen(self.clock.now()) == Verdict::GiveUp {
                tracing::error!(child = name, reason, "fell too often; giving up");
                return Err(format!("{name} fell too often: {reason}").into());
            }
            tracing::warn!(child = name, reason, "fell; starting it again");
            match self.start(index, myself).await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!(child = name, %error, "could not be started"),
            }
        }
    }

    async fn stop_all(&mut self) {
        self.stopping = true;
        for (child, alive) in self.children.iter().zip(&mut self.alive).rev() {
            let Some(cell) = alive.take() else { continue };
            let grace = Some(child.shutdown);
            if cell.stop_and_wait(None, grace).await.is_err() {
                tracing::warn!(child = child.name, "did not stop in time; it is killed");
                let _ = cell.kill_and_wait(Some(KILL_DEADLINE)).await;
            }
            tracing::debug!(child = child.name, "stopped");
        }
    }
}

#[ractor::actor(
    message = pub enum SupervisorMessage,
    state = SupervisorState,
    arguments = SupervisorArgs,
)]
impl Supervisor {
    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMessage>,
        args: SupervisorArgs,
    ) -> Result<SupervisorState, ActorProcessingErr> {
        let alive = args.children.iter().map(|_| None).collect();
        let mut state = SupervisorState {
            children: args.children,
            alive,
            clock: args.clock,
            intensity: Intensity::default(),
            stopping: false,
        };
        for index in 0..state.children.len() {
            if let Err(error) = state.start(index, &myself.get_cell()).await {
                let name = state.children[index].name;
                state.stop_all().await;
                return Err(format!("{name}: {error}").into());
            }
        }
        Ok(state)
    }

    /// Stops every child, in reverse order; answers when all are gone.
    #[ractor::message(Stop(reply))]
    async fn stop(
        &self,
        myself: ActorRef<SupervisorMessage>,
        reply: RpcReplyPort<()>,
        state: &mut SupervisorState,
    ) {
        planted::meet("supervisor", "Stop");
        state.stop_all().await;
        let _ = reply.send(());
        myself.stop(None);
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<SupervisorMessage>,
        event: SupervisionEvent,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        let me = myself.get_cell();
        match event {
            SupervisionEvent::ActorFailed(cell, error) => {
                state.fallen(&cell, error.to_string(), &me).await
            }
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                state
                    .fallen(&cell, reason.unwrap_or_else(|| "it ended".to_owned()), &me)
                    .await
            }
            _ => Ok(()),
        }
    }
}

/// How long a killed child may take to be gone.
const KILL_DEADLINE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
