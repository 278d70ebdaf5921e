//! What is known of the workers, by their own reports, and how much of them is taken.

use super::protocol::{Admit, ModelReport, REPORT_EVERY_MS, WorkerReport};
use crate::contract::Time;
use crate::ids::{MemberId, NodeId, Passport, RequestId};
use std::collections::{BTreeMap, BTreeSet};

/// The workers that report.
#[derive(Debug, Default)]
pub(super) struct Workers {
    known: BTreeMap<NodeId, Worker>,
    /// When a model was last served by anybody, for a while after it no longer is.
    served: BTreeMap<Passport, Time>,
    /// What this scheduler has placed where, on workers that report and on those that fell silent.
    placed: BTreeMap<NodeId, BTreeMap<RequestId, (Passport, u32)>>,
}

#[derive(Debug)]
struct Worker {
    owner: MemberId,
    models: Vec<ModelReport>,
    /// Requests it runs that nobody here knows: those of a scheduler before this one.
    strangers: BTreeSet<RequestId>,
    heard: Time,
}

/// A worker that was looked at for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub worker: NodeId,
    /// What was found.
    pub finding: Finding,
}

/// What was found of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It was the least loaded one, and was taken.
    Chosen,
    /// It had room, but another had more.
    Free,
    /// It has no room now.
    Full,
    /// It had room, but failed this request before.
    Avoided,
    /// It can never take this request: too many choices or too many tokens.
    TooSmall,
}

/// What came of looking for a worker.
#[derive(Debug)]
pub(super) enum Search {
    /// This one, with what it said of the model.
    Found(NodeId, MemberId, ModelReport),
    /// All are full.
    Full,
    /// None serves the model.
    Absent,
    /// Those that serve the model allow at most so many choices and tokens.
    TooLarge { choices_max: u32, tokens_max: u32 },
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
        let long_name = |model: &ModelReport| model.name.len() > NAME_BYTES_MAX;
        if full
            || report.models.len() > MODELS_MAX
            || report.running.len() > RUNNING_MAX
            || report.models.iter().any(long_name)
        {
            return false;
        }
        if report.rest.is_some() {
            self.forget_served(report.worker);
        }
        for model in &report.models {
            self.served.insert(model.model, now);
        }
        let worker = Worker {
            owner: report.owner,
            models: report.models,
            strangers: report.running.into_iter().filter(strange).collect(),
            heard: now,
        };
        self.known.insert(report.worker, worker);
        true
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
        let placed = self.placed.entry(worker).or_default();
        placed.insert(admit.request, (admit.model, admit.choices));
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

    /// Whether a request that nobody serves now may yet be served: somebody did a moment ago.
    pub(super) fn may_come_back(&self, model: Passport) -> bool {
        self.served.contains_key(&model)
    }

    /// The least loaded worker with room for `admit`, and what was found of each one.
    pub(super) fn search(&self, admit: &Admit) -> (Search, Vec<Candidate>) {
        let mut candidates = Vec::new();
        // The best so far: those that failed this request last of all, then by share taken, then by id.
        let mut best: Option<(usize, u64, usize)> = None;
        let mut found = None;
        let (mut choices_max, mut tokens_max, mut fitting) = (0, 0, false);
        for (&worker, state) in &self.known {
            let Some(model) = state.models.iter().find(|model| model.model == admit.model) else {
                continue;
            };
            choices_max = choices_max.max(model.sequences_max);
            tokens_max = tokens_max.max(model.context);
            let fits = admit.choices <= model.sequences_max && admit.tokens_max <= model.context;
            fitting |= fits;
            let taken = self.taken(worker, state, admit.model);
            let failed = admit.avoid.iter().position(|failed| *failed == worker);
            let failed = failed.map_or(0, |at| at + 1);
            let finding = if !fits {
                Finding::TooSmall
            } else if taken.saturating_add(admit.choices) > model.sequences_max {
                Finding::Full
            } else {
                let share = u64::from(taken) * SHARES / u64::from(model.sequences_max.max(1));
                let rank = (failed, share, candidates.len());
                if best.is_none_or(|best| rank < best) {
                    best = Some(rank);
                    found = Some((worker, state.owner, model));
                }
                match failed > 0 {
                    true => Finding::Avoided,
                    false => Finding::Free,
                }
            };
            candidates.push(Candidate { worker, finding });
        }
        if let Some((_, _, chosen)) = best {
            candidates[chosen].finding = Finding::Chosen;
        }
        let search = match found {
            Some((worker, owner, model)) => Search::Found(worker, owner, model.clone()),
            None if candidates.is_empty() => Search::Absent,
            None if fitting => Search::Full,
            None => Search::TooLarge {
                choices_max,
                tokens_max,
            },
        };
        (search, candidates)
    }

    /// Sequences of `model` that are taken on a worker.
    fn taken(&self, worker: NodeId, state: &Worker, model: Passport) -> u32 {
        let placed = self.placed.get(&worker).into_iter().flatten();
        let ours: u32 = placed
            .filter(|(_, (placed, _))| *placed == model)
            .map(|(_, (_, choices))| *choices)
            .sum();
        // What a stranger runs is not known: each counts as one sequence of every model.
        ours.saturating_add(state.strangers.len() as u32)
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

    /// Whose a worker is, and what it said of a model, if it serves it now.
    pub(super) fn find(&self, worker: NodeId, model: Passport) -> Option<(MemberId, ModelReport)> {
        let state = self.known.get(&worker)?;
        let found = state.models.iter().find(|found| found.model == model)?;
        Some((state.owner, found.clone()))
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
/// Bytes of a model's name, at most.
const NAME_BYTES_MAX: usize = 256;
/// How finely loads are compared.
const SHARES: u64 = 1 << 16;
