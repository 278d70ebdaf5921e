//! The scheduler's core: who waits, who runs, and where.
//!
//! ```text
//! Admit ─> Waiting ─a worker has room─> Holding ─Held─> Granted ─Finished─> over
//!             └─Busy, no worker, too large─> refused        └─not seen for a while─> free again
//! ```
//!
//! Nothing here outlives the actor. Sessions say `Admit` again until answered and workers report what they
//! run, so a scheduler without memory comes to the same view; the ledger takes the same hold twice as one, and
//! the same attempt has the same id, so neither is given twice.

mod holds;
mod standby;
mod telling;
mod upkeep;

use super::decisions::{Decision, Decisions};
use super::line::{Line, Turn, Weight};
use super::over::Over;
use super::protocol::{Admit, Effect, Input, ModelReport, Refusal, WorkerReport};
use super::terms::{self, Place};
use super::workers::{Candidate, Pick, Search, Workers};
use super::{Counts, Stats};
use crate::contract::{Core, Time};
use crate::engine_process::protocol::Rest;
use crate::ids::{NodeId, RequestId};
use std::collections::{BTreeMap, BTreeSet};

/// Who waits and who runs.
#[derive(Debug)]
pub struct Queue {
    me: NodeId,
    born: Option<Time>,
    ticked: Time,
    workers: Workers,
    line: Line,
    entries: BTreeMap<RequestId, Entry>,
    /// Requests that are over, so that a late `Admit` does not begin them again.
    over: Over,
    decisions: Decisions,
    /// How long a request keeps its place, on a moving average.
    service_ms: u64,
    counts: Counts,
}

#[derive(Debug)]
struct Entry {
    admit: Admit,
    turn: Turn,
    /// When this attempt was asked for.
    since: Time,
    heard: Time,
    stage: Stage,
    /// Who would take it over, once that has its ticket.
    standby: Option<Box<Place>>,
}

#[derive(Debug)]
enum Stage {
    /// In the line.
    Waiting { told: Option<u32> },
    /// A worker is chosen; the ledger is to set the credits aside.
    Holding {
        place: Box<Place>,
        since: Time,
        again: Time,
    },
    /// The session has its ticket.
    Granted {
        place: Box<Place>,
        since: Time,
        /// When it was last known to run.
        seen: Time,
        /// By the session's word alone: the books are asked before a ticket is given for it.
        is_asserted: bool,
    },
}

impl Queue {
    /// The empty queue of the coordinator `me`.
    pub fn new(me: NodeId) -> Queue {
        Queue {
            me,
            born: None,
            ticked: Time(0),
            workers: Workers::default(),
            line: Line::default(),
            entries: BTreeMap::new(),
            over: Over::default(),
            decisions: Decisions::default(),
            service_ms: SERVICE_MS_GUESS,
            counts: Counts::default(),
        }
    }

    /// Every model of every worker that reports.
    pub fn catalog(&self) -> Vec<(NodeId, ModelReport)> {
        self.workers.catalog()
    }

    /// Every worker that takes no work, and why.
    pub fn resting(&self) -> Vec<(NodeId, Rest)> {
        self.workers.resting()
    }

    /// The numbers now.
    pub fn stats(&self) -> Stats {
        Stats {
            running: self.workers.placed() as u64,
            waiting: self.line.waiting() as u64,
            workers: self.workers.count() as u64,
            counts: self.counts,
        }
    }

    fn admit(&mut self, now: Time, admit: Admit, out: &mut Vec<Effect>) {
        let request = admit.request;
        if self.over.has(request, admit.client) {
            return;
        }
        if let Some(running) = admit.running {
            return self.accompany(now, admit, running, out);
        }
        if let Some(entry) = self.entries.get_mut(&request) {
            if admit.client != entry.admit.client {
                return;
            }
            entry.heard = now;
            if admit.number > entry.admit.number {
                return self.again(now, admit);
            }
            return match &mut entry.stage {
                Stage::Waiting { told } => *told = None,
                Stage::Holding { .. } => {}
                Stage::Granted {
                    place, is_asserted, ..
                } if *is_asserted => {
                    let mut place = place.clone();
                    place.hold.is_begun = true;
                    out.push(Effect::Hold(place.hold.clone()));
                    entry.stage = Stage::Holding {
                        place,
                        since: now,
                        again: now.plus_ms(HOLD_AGAIN_MS),
                    };
                }
                Stage::Granted { place, .. } => {
                    out.push(place.issue());
                    out.extend(entry.standby.as_ref().map(|place| place.issue()));
                }
            };
        }
        if let Err(refusal) = self.judge(&admit) {
            return self.refuse(now, (&admit, now), (refusal, Vec::new()), out);
        }
        let cost = terms::tokens_max(&admit).saturating_add(admit.prompt_bytes);
        let turn = self.line.turn(admit.payer, Weight::ONE, cost);
        self.decisions.begin(now, &admit);
        self.wait(now, admit, turn);
    }

    /// Whether a new request may wait at all.
    fn judge(&self, admit: &Admit) -> Result<(), Refusal> {
        terms::check(admit)?;
        // One member may wait for as much as is still free for everybody, so no member can fill the line.
        let waiting = self.line.waiting();
        let room = WAITING_MAX.saturating_sub(waiting);
        if self.line.waiting_of(admit.payer) >= room {
            let places = self.workers.places(admit.model).max(1);
            let wait = self.service_ms.saturating_mul(waiting as u64 + 1) / places;
            return Err(Refusal::Busy {
                waiting: waiting as u32,
                retry_after_ms: wait.clamp(RETRY_MS_MIN, RETRY_MS_MAX),
            });
        }
        Ok(())
    }

    /// The next attempt of a request that had a worker: it waits at the turn it had.
    fn again(&mut self, now: Time, admit: Admit) {
        let Some(entry) = self.entries.remove(&admit.request) else {
            return;
        };
        self.release(&entry, admit.request);
        // What is paid for was settled at the first attempt; only how far it has come and whom to avoid are new.
        let admit = Admit {
            number: admit.number,
            avoid: admit.avoid,
            begun: admit.begun,
            ..entry.admit
        };
        self.wait(now, admit, entry.turn);
    }

    fn wait(&mut self, now: Time, admit: Admit, turn: Turn) {
        self.line.enter(admit.payer, turn, admit.request);
        let stage = Stage::Waiting { told: None };
        let (request, since, heard) = (admit.request, now, now);
        let entry = Entry {
            admit,
            turn,
            since,
            heard,
            stage,
            standby: None,
        };
        self.entries.insert(request, entry);
    }

    /// Takes an entry out of the line, or its place back.
    fn release(&mut self, entry: &Entry, request: RequestId) {
        match &entry.stage {
            Stage::Waiting { .. } => self.line.leave(entry.admit.payer, entry.turn, request),
            Stage::Holding { place, .. } | Stage::Granted { place, .. } => {
                self.workers.free(place.worker, request);
            }
        }
    }

    /// Gives room to those who wait, in order. Nobody overtakes another who waits for the same model, so a
    /// request of many choices is not starved by small ones.
    fn dispatch(&mut self, now: Time, out: &mut Vec<Effect>) {
        let mut blocked = BTreeSet::new();
        for request in self.line.order().collect::<Vec<_>>() {
            let Some(entry) = self.entries.get(&request) else {
                continue;
            };
            let model = entry.admit.model;
            if blocked.contains(&model) {
                continue;
            }
            let (search, candidates) = self.workers.search(&entry.admit, entry.admit.begun);
            let refusal = match search {
                Search::Full => None,
                Search::Absent if self.hopes(now, &entry.admit) => None,
                Search::Absent | Search::OtherClass => Some(Refusal::NoWorker),
                Search::TooLarge {
                    choices_max,
                    tokens_max,
                } => Some(terms::too_large(&entry.admit, choices_max, tokens_max)),
                Search::Found(pick, standby) => match Place::new(self.me, &entry.admit, &pick) {
                    Some(place) => {
                        self.begin(now, place, (standby, candidates), out);
                        continue;
                    }
                    None => Some(terms::priceless()),
                },
            };
            match refusal {
                None => drop(blocked.insert(model)),
                Some(refusal) => {
                    if let Some(entry) = self.entries.remove(&request) {
                        self.release(&entry, request);
                        let reason = (refusal, candidates);
                        self.refuse(now, (&entry.admit, entry.since), reason, out);
                    }
                }
            }
        }
    }

    /// Whether a worker for a model that nobody serves may come: one did a moment ago, or this scheduler is
    /// so young that workers have not all reported yet.
    fn hopes(&self, now: Time, admit: &Admit) -> bool {
        let age = self.born.map_or(0, |born| now.since_ms(born));
        age < YOUNG_MS || self.workers.may_come_back(admit.model)
    }

    fn begin(
        &mut self,
        now: Time,
        mut place: Place,
        (standby, candidates): (Option<Box<Pick>>, Vec<Candidate>),
        out: &mut Vec<Effect>,
    ) {
        let request = place.hold.request;
        place.hold.standby = standby.map(|it| Box::new((it.worker, it.owner)));
        let Some(entry) = self.entries.get_mut(&request) else {
            return;
        };
        self.line.serve(entry.admit.payer, entry.turn, request);
        self.workers.place(place.worker, &entry.admit);
        out.push(Effect::Hold(place.hold.clone()));
        let chosen = Decision::of(&entry.admit, now, entry.since, Ok(place.worker));
        let decision = Decision {
            standby: place.hold.standby.as_ref().map(|standby| standby.0),
            candidates,
            ..chosen
        };
        self.decisions.keep(&entry.admit, decision);
        entry.stage = Stage::Holding {
            place: Box::new(place),
            since: now,
            again: now.plus_ms(HOLD_AGAIN_MS),
        };
    }

    fn finished(&mut self, now: Time, client: NodeId, request: RequestId, out: &mut Vec<Effect>) {
        let Some(entry) = self.entries.get_mut(&request) else {
            self.workers.forget(request);
            return self.over.remember(request, client);
        };
        // A worker knows the requests it serves: it must not end them for the client.
        if entry.admit.client != client {
            return;
        }
        match &mut entry.stage {
            // The hold is on its way: the session gets its ticket after all, and releases it by that.
            Stage::Holding { .. } => return,
            // The session may be waiting to hear that no ticket will come.
            Stage::Waiting { .. } => out.push(Effect::Refuse {
                client: entry.admit.client,
                request,
                number: entry.admit.number,
                refusal: Refusal::Over,
            }),
            Stage::Granted { since, .. } => {
                self.service_ms = (self.service_ms * 7 + now.since_ms(*since)) / 8;
            }
        }
        if let Some(entry) = self.entries.remove(&request) {
            self.release(&entry, request);
            if let Some(story) = self.decisions.of(&entry.admit) {
                story.finished = Some(now);
            }
        }
        self.over.remember(request, client);
    }

    fn report(&mut self, now: Time, report: WorkerReport) {
        for request in &report.running {
            if let Some(entry) = self.entries.get_mut(request)
                && let Stage::Granted { place, seen, .. } = &mut entry.stage
                && place.worker == report.worker
            {
                *seen = now;
            }
        }
        let (entries, over) = (&self.entries, &self.over);
        let strange =
            |request: &RequestId| !entries.contains_key(request) && !over.has_any(*request);
        self.workers.report(now, report, strange);
    }

    /// How many requests have their tickets.
    fn running(&self) -> usize {
        let granted = |entry: &&Entry| matches!(entry.stage, Stage::Granted { .. });
        self.entries.values().filter(granted).count()
    }
}

impl Core for Queue {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Time, input: Input, out: &mut Vec<Effect>) {
        self.born.get_or_insert(now);
        self.ticked = self.ticked.max(self.born.unwrap_or(now));
        match input {
            Input::Admit(admit) => self.admit(now, *admit, out),
            Input::Held {
                request,
                number,
                worker,
                standby,
                ..
            } => {
                self.held(now, request, (number, worker), out);
                self.stand(request, number, standby, out);
            }
            Input::NotHeld {
                request,
                number,
                refusal,
            } => self.not_held(now, request, number, refusal, out),
            Input::Finished { client, request } => self.finished(now, client, request, out),
            Input::Report(report) => self.report(now, report),
            Input::Absent { worker, absent } => self.workers.absent(worker, absent),
        }
        self.dispatch(now, out);
        self.tell(false, out);
    }

    fn deadline(&self) -> Option<Time> {
        let holding = self.entries.len() > self.running();
        let every = match (holding, self.entries.is_empty(), self.workers.count()) {
            (true, _, _) => TICK_MS,
            (false, true, 0) => return None,
            (false, _, _) => TICK_IDLE_MS,
        };
        Some(self.ticked.plus_ms(every))
    }

    fn wake(&mut self, now: Time, out: &mut Vec<Effect>) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.tick(now, out);
            self.tell(true, out);
        }
    }

    fn check(&self) {
        self.line.check();
        let mut waiting = 0;
        for (request, entry) in &self.entries {
            let over = self.over.has(*request, entry.admit.client);
            assert!(!over, "what is over is not here");
            match &entry.stage {
                Stage::Waiting { .. } => waiting += 1,
                Stage::Holding { place, .. } | Stage::Granted { place, .. } => {
                    assert!(self.workers.has(place.worker, *request), "a place is taken");
                }
            }
        }
        assert_eq!(waiting, self.line.waiting(), "who waits is in the line");
        let placed = self.entries.len() - waiting;
        assert_eq!(placed, self.workers.placed(), "no place is taken by nobody");
    }
}

/// Requests in the line at once, at most; retries of requests that had a worker are not counted out.
const WAITING_MAX: usize = 128;
/// What a request is guessed to take before any has finished.
const SERVICE_MS_GUESS: u64 = 5_000;
/// Nobody is told to come back sooner.
const RETRY_MS_MIN: u64 = 1_000;
/// Nor later.
const RETRY_MS_MAX: u64 = 60_000;
/// How often an unanswered order for a hold is repeated.
const HOLD_AGAIN_MS: u64 = 2_000;
/// For so long after its start a scheduler cannot know that a model has no worker.
const YOUNG_MS: u64 = 15_000;
/// How often it looks around while somebody waits.
const TICK_MS: u64 = 500;
/// And while nobody does.
const TICK_IDLE_MS: u64 = 5_000;

#[cfg(test)]
mod tests;
