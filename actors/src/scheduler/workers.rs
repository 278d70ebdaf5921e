//! What is known of the workers, by their own reports, and how much of them is taken.

mod search;

pub use search::{Candidate, Finding};
pub(super) use search::{Pick, Search};

use super::protocol::{Admit, CLASS_BYTES_MAX, ModelReport, REPORT_EVERY_MS, WorkerReport};
use super::score::{prefix_tokens, prompt_tokens};
use crate::contract::Time;
use crate::engine_process::protocol::Rest;
use crate::ids::{MemberId, NodeId, Passport, RequestId};
use std::collections::{BTreeMap, BTreeSet};

/// The workers that report.
#[derive(Debug, Default)]
pub(super) struct Workers {
    known: BTreeMap<NodeId, Worker>,
    /// When a model was last served by anybody, for a while after it no longer is.
    served: BTreeMap<Passport, Time>,
    /// What this scheduler has placed where, on workers that report and on those that fell silent.
    placed: BTreeMap<NodeId, BTreeMap<RequestId, Placed>>,
}

#[derive(Debug)]
struct Worker {
    owner: MemberId,
    models: Vec<ModelReport>,
    rest: Option<Rest>,
    /// Requests it runs that nobody here knows: those of a scheduler before this one.
    strangers: BTreeSet<RequestId>,
    heard: Time,
    /// Whether the membership holds it dead; its next report says otherwise.
    absent: bool,
}

/// A request that has a place.
#[derive(Debug)]
struct Placed {
    model: Passport,
    choices: u32,
    /// About how many tokens of its prompt are to be read.
    unread_tokens: u64,
    /// Whether the worker has said that it runs it: from then on its own numbers tell.
    reported: bool,
}

impl Workers {
    /// Takes a worker's word for itself. Returns false if the report is beyond the limits and was ignored.
    pub(super) fn report(
        &mut self,
        now: Time,
        report: WorkerReport,
        strange: impl Fn(&RequestId) -> bool,
    ) -> bool {
        let full = self.known.len() >= WORKERS_MAX && !self.known.contains_key(&report.worker);
        let wild = |model: &ModelReport| {
            model.name.len() > NAME_BYTES_MAX
                || model.class.len() > CLASS_BYTES_MAX
                || model.overhead_fixed_bytes > OVERHEAD_FIXED_BYTES_MAX
                || model.overhead_turn_bytes > OVERHEAD_TURN_BYTES_MAX
                || model.sequences_max > SEQUENCES_MAX
        };
        if full
            || report.models.len() > MODELS_MAX
            || report.running.len() > RUNNING_MAX
            || report.models.iter().any(wild)
        {
            return false;
        }
        if report.rest.is_some() {
            self.forget_served(report.worker);
        }
        for model in &report.models {
            self.served.insert(model.model, now);
        }
        if let Some(placed) = self.placed.get_mut(&report.worker) {
            for request in &report.running {
                if let Some(placed) = placed.get_mut(request) {
                    placed.reported = true;
                }
            }
        }
        let worker = Worker {
            owner: report.owner,
            models: report.models,
            rest: report.rest,
            strangers: report.running.into_iter().filter(strange).collect(),
            heard: now,
            absent: false,
        };
        self.known.insert(report.worker, worker);
        true
    }

    /// The membership has lost or found a node.
    pub(super) fn absent(&mut self, worker: NodeId, absent: bool) {
        if let Some(known) = self.known.get_mut(&worker) {
            known.absent = absent;
        }
    }

    /// What only `worker` serves will not come back.
    fn forget_served(&mut self, worker: NodeId) {
        let Workers { known, served, .. } = self;
        let serves = |state: &Worker, model| state.models.iter().any(|it| it.model == model);
        served.retain(|model, _| {
            let by = |own: bool| {
                known
                    .iter()
                    .any(|(id, it)| (*id == worker) == own && serves(it, *model))
            };
            by(false) || !by(true)
        });
    }

    /// Forgets workers that missed three reports.
    pub(super) fn expire(&mut self, now: Time) {
        self.known
            .retain(|_, worker| now.since_ms(worker.heard) <= SILENCE_MS);
        self.served
            .retain(|_, seen| now.since_ms(*seen) <= COME_BACK_MS);
    }

    /// A place is taken.
    pub(super) fn place(&mut self, worker: NodeId, admit: &Admit) {
        let known = self.find(worker, admit.model);
        let place = Placed {
            model: admit.model,
            choices: admit.choices,
            unread_tokens: known.map_or(0, |known| {
                prompt_tokens(admit, &known.report).saturating_sub(prefix_tokens(admit, worker))
            }),
            reported: false,
        };
        let placed = self.placed.entry(worker).or_default();
        placed.insert(admit.request, place);
    }

    /// A place is free.
    pub(super) fn free(&mut self, worker: NodeId, request: RequestId) {
        if let Some(placed) = self.placed.get_mut(&worker) {
            placed.remove(&request);
            if placed.is_empty() {
                self.placed.remove(&worker);
            }
        }
    }

    /// A request of an earlier scheduler is over.
    pub(super) fn forget(&mut self, request: RequestId) {
        for worker in self.known.values_mut() {
            worker.strangers.remove(&request);
        }
    }

    /// Whether `worker` says that it runs a request that nobody here knows.
    pub(super) fn runs(&self, worker: NodeId, request: RequestId) -> bool {
        let known = self.known.get(&worker);
        known.is_some_and(|state| state.strangers.contains(&request))
    }

    /// Whether a request that nobody serves now may yet be served: somebody did a moment ago.
    pub(super) fn may_come_back(&self, model: Passport) -> bool {
        self.served.contains_key(&model)
    }

    /// Sequences of `model` in all.
    pub(super) fn places(&self, model: Passport) -> u64 {
        let models = self.known.values().flat_map(|worker| &worker.models);
        models
            .filter(|report| report.model == model)
            .map(|report| u64::from(report.sequences_max))
            .sum()
    }

    /// How many workers report.
    pub(super) fn count(&self) -> usize {
        self.known.len()
    }

    /// A worker with what it said of a model, if it serves it now.
    pub(super) fn find(&self, worker: NodeId, model: Passport) -> Option<Pick> {
        let state = self.known.get(&worker)?;
        let found = state.models.iter().find(|found| found.model == model)?;
        Some(Pick {
            worker,
            owner: state.owner,
            report: found.clone(),
        })
    }

    /// Every model of every worker.
    pub(super) fn catalog(&self) -> Vec<(NodeId, ModelReport)> {
        let models = |(worker, state): (&NodeId, &Worker)| {
            let worker = *worker;
            let own = state.models.iter();
            own.map(move |model| (worker, model.clone()))
                .collect::<Vec<_>>()
        };
        self.known.iter().flat_map(models).collect()
    }

    /// Every worker that takes no work, and why.
    pub(super) fn resting(&self) -> Vec<(NodeId, Rest)> {
        let rests = |(worker, state): (&NodeId, &Worker)| Some((*worker, state.rest?));
        self.known.iter().filter_map(rests).collect()
    }

    /// How many requests are placed.
    pub(super) fn placed(&self) -> usize {
        self.placed.values().map(BTreeMap::len).sum()
    }

    /// Whether `request` is placed on `worker`.
    pub(super) fn has(&self, worker: NodeId, request: RequestId) -> bool {
        let placed = self.placed.get(&worker);
        placed.is_some_and(|placed| placed.contains_key(&request))
    }
}

/// A worker that missed three reports is not given more work. Its streams go on: loss is decided there.
const SILENCE_MS: u64 = 3 * REPORT_EVERY_MS + REPORT_EVERY_MS / 2;
/// How long requests wait for a model that nobody serves any more, as while its engine restarts.
const COME_BACK_MS: u64 = 30_000;
/// Workers of one coordinator, at most; beyond it there are several.
const WORKERS_MAX: usize = 4096;
/// Models of one report, at most.
const MODELS_MAX: usize = 64;
/// Requests of one report, at most.
const RUNNING_MAX: usize = 4096;
/// What a worker may say that its template adds to a conversation, and to each message: so much is set aside for it.
const OVERHEAD_FIXED_BYTES_MAX: u64 = 16 << 10;
const OVERHEAD_TURN_BYTES_MAX: u64 = 2 << 10;
/// Sequences of one engine, at most.
const SEQUENCES_MAX: u32 = 4096;
/// Bytes of a model's name, at most.
const NAME_BYTES_MAX: usize = 256;
