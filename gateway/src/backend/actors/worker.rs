//! This node as a worker: its engines, and whether its owner lets them work.

use super::Actors;
use crate::backend::Check;
use crate::control;
use crate::problem::Problem;
use crate::text::{plain, shown};
use hyper::StatusCode;
use std::time::Duration;
use troop_actors::engine_process::{EngineProcessHandle, EngineState, EngineStatus, WorkerStatus};
use troop_actors::model_store::StoreError;

impl Actors {
    pub(super) async fn check_engines(&self) -> Check {
        let (ok, detail) = match self.worker_status().await {
            Err(_) => (false, "the keeper of engines does not answer".to_owned()),
            // It is well, and the troop's other workers may serve; whether any does is told by the models.
            Ok(WorkerStatus {
                rest: Some(rest), ..
            }) => (true, format!("resting: {rest}")),
            Ok(status) if status.engines.is_empty() => {
                (false, "no model is to be served".to_owned())
            }
            Ok(status) => {
                let ready = |engine: &EngineStatus| matches!(engine.state, EngineState::Ready(_));
                let ok = status.engines.iter().any(ready);
                let said = status.engines.iter().map(|engine| {
                    let word = state_word(&engine.state);
                    format!("{} is {word}", shown(&engine.name))
                });
                (ok, said.collect::<Vec<_>>().join(", "))
            }
        };
        Check {
            name: "engines",
            ok,
            detail,
        }
    }

    pub(super) async fn how_it_works(&self) -> Result<Option<control::Worker>, Problem> {
        if !self.worker {
            return Ok(None);
        }
        let status = self.worker_status().await?;
        let state = match (status.rest, status.running) {
            (None, _) => "serving",
            (Some(_), 0) => "resting",
            (Some(_), _) => "draining",
        };
        Ok(Some(control::Worker {
            state: state.to_owned(),
            reason: status.rest.map(|rest| rest.to_string()),
            running: status.running as u64,
        }))
    }

    pub(super) async fn take_back_machine(
        &self,
        wanted: control::PauseWanted,
    ) -> Result<(), Problem> {
        let grace = Duration::from_millis(wanted.grace_ms);
        let told = self.keeper()?.pause(grace).await;
        told.map_err(|_| unavailable())
    }

    pub(super) async fn give_machine(&self) -> Result<(), Problem> {
        self.keeper()?.resume().await.map_err(|_| unavailable())
    }

    pub(super) async fn load_called(&self, name: &str) -> Result<control::Loading, Problem> {
        let store = self.store.clone().filter(|_| self.worker);
        let store = store.ok_or_else(not_a_worker)?;
        let asked = name.to_owned();
        let found = tokio::task::spawn_blocking(move || store.find(&asked)).await;
        let absent = |why: &str| {
            Problem::new(
                StatusCode::NOT_FOUND,
                "model_not_found",
                format!("the model {} {why}; troop pull fetches it", shown(name)),
            )
            .about("model")
        };
        let manifest = match found {
            Ok(Ok(manifest)) => manifest,
            Ok(Err(StoreError::Absent { .. })) => return Err(absent("is not on this machine")),
            Ok(Err(error @ StoreError::Name { .. })) => {
                return Err(Problem::field("model", plain(&error.to_string())));
            }
            Ok(Err(_)) | Err(_) => return Err(absent("cannot be read on this machine")),
        };
        let passport = manifest
            .passport()
            .ok_or_else(|| absent("cannot be read on this machine"))?;
        let status = self.worker_status().await?;
        let already = status.engines.iter().any(|engine| engine.model == passport);
        self.keeper()?
            .serve(passport, &manifest.name, manifest.created_seconds)
            .await
            .map_err(|_| unavailable())?;
        Ok(control::Loading {
            model: manifest.name,
            digest: format!("sha256:{passport}"),
            already,
        })
    }

    pub(super) async fn list_engines(&self) -> Result<Vec<control::Engine>, Problem> {
        if !self.worker {
            return Ok(Vec::new());
        }
        let engines = self.worker_status().await?.engines;
        Ok(engines.into_iter().map(line).collect())
    }

    fn keeper(&self) -> Result<EngineProcessHandle, Problem> {
        match self.worker {
            true => Ok(EngineProcessHandle::new(self.node.clone())),
            false => Err(not_a_worker()),
        }
    }

    async fn worker_status(&self) -> Result<WorkerStatus, Problem> {
        self.keeper()?.status().await.map_err(|_| unavailable())
    }
}

fn line(engine: EngineStatus) -> control::Engine {
    control::Engine {
        state: state_word(&engine.state).to_owned(),
        reason: match &engine.state {
            EngineState::Down { reason, .. } | EngineState::Unfit { reason } => Some(plain(reason)),
            _ => None,
        },
        pages: match &engine.state {
            EngineState::Ready(facts) => facts.pages.into(),
            _ => 0,
        },
        model: engine.name,
        digest: format!("sha256:{}", engine.model),
        pid: engine.pid,
        running: engine.stats.running.into(),
        waiting: engine.stats.waiting.into(),
        pages_free: engine.stats.pages_free.into(),
        steps: engine.stats.steps,
        tokens: engine.stats.tokens,
        prompt_tokens: engine.stats.prompt_tokens,
        cancelled: engine.stats.cancelled,
        steps_after_cancel_max: engine.stats.steps_after_cancel_max,
        restarts: engine.restarts,
    }
}

fn state_word(state: &EngineState) -> &'static str {
    match state {
        EngineState::Down { .. } => "down",
        EngineState::Starting { .. } => "starting",
        EngineState::Ready(_) => "ready",
        EngineState::Unfit { .. } => "unfit",
        EngineState::Resting => "resting",
    }
}

fn unavailable() -> Problem {
    Problem::unavailable("keeper of engines")
}

fn not_a_worker() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "not_a_worker",
        "this node is not a worker and serves no models",
    )
}
