//! The latest requests, with every decision about them and its reasons, for whoever asks why one waits, runs where
//! it does, or was refused.
//!
//! Requests that were never let wait are kept apart, so that a flood that is told Busy does not push out those that
//! were served.

use super::protocol::{Admit, Refusal};
use super::workers::Candidate;
use crate::contract::Time;
use crate::ids::{MemberId, NodeId, Passport, RequestId};
use crate::price::Micros;
use crate::session::Fault;
use crate::shelf::Shelf;
use serde::{Deserialize, Serialize};

/// What a scheduler knows of a request. Times are those of its own clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Story {
    /// The request.
    pub request: RequestId,
    /// The node that asked.
    pub client: NodeId,
    /// Who pays.
    pub payer: MemberId,
    /// For which model.
    pub model: Passport,
    /// Bytes of its prompt.
    pub prompt_bytes: u64,
    /// Tokens wanted for each choice, at most.
    pub tokens_max: u32,
    /// Choices.
    pub choices: u32,
    /// When it was first asked for.
    pub asked: Time,
    /// Who is paid, once it has a worker: its own member is not.
    pub payee: Option<MemberId>,
    /// What was set aside for it, once it was.
    pub held: Option<Micros>,
    /// What it cost by the books, once it is settled.
    pub paid: Option<Micros>,
    /// Whether that was by a voucher: nobody showed a receipt.
    pub vouched: bool,
    /// When its latest ticket was ordered.
    pub granted: Option<Time>,
    /// When its session said that it is over.
    pub finished: Option<Time>,
    /// What was decided, oldest first, at most [`DECISIONS_MAX`] of them.
    pub decisions: Vec<Decision>,
    /// How it stands in the line, if it does now.
    pub waits: Option<Waits>,
}

/// A worker chosen, or a request refused, and what was found on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// When.
    pub at: Time,
    /// For which attempt.
    pub number: u32,
    /// Milliseconds that the attempt had waited for it.
    pub waited_ms: u64,
    /// The worker, or why there is none.
    pub outcome: Result<NodeId, Refusal>,
    /// The next best worker.
    pub standby: Option<NodeId>,
    /// Workers that had failed the request by then, by a fault of their own.
    pub failed: Vec<NodeId>,
    /// The workers that serve the model, the best [`CANDIDATES_MAX`] of them.
    pub candidates: Vec<Candidate>,
}

impl Decision {
    /// The decision about `admit`, which was asked for at `since`.
    pub(super) fn of(
        admit: &Admit,
        at: Time,
        since: Time,
        outcome: Result<NodeId, Refusal>,
    ) -> Decision {
        let failed = admit
            .avoid
            .iter()
            .filter(|(_, fault)| *fault == Fault::Worker);
        Decision {
            at,
            number: admit.number,
            waited_ms: at.since_ms(since),
            outcome,
            standby: None,
            failed: failed.map(|(worker, _)| *worker).collect(),
            candidates: Vec::new(),
        }
    }
}

/// A request in the line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// Requests for the same model before it.
    pub ahead: u32,
    /// Milliseconds it has waited.
    pub waited_ms: u64,
    /// What was found of the workers just now.
    pub candidates: Vec<Candidate>,
}

/// The stories of the last requests.
#[derive(Debug)]
pub(super) struct Decisions {
    admitted: Shelf<RequestId, Story>,
    refused: Shelf<RequestId, Story>,
}

impl Default for Decisions {
    fn default() -> Decisions {
        Decisions {
            admitted: Shelf::new(ADMITTED_MAX),
            refused: Shelf::new(REFUSED_MAX),
        }
    }
}

impl Decisions {
    /// A request is let wait.
    pub(super) fn begin(&mut self, now: Time, admit: &Admit) {
        if self.admitted.get(&admit.request).is_none() {
            self.admitted.put(admit.request, begun(now, admit));
        }
    }

    /// Something was decided about it. What another node's request is called is not written over.
    pub(super) fn keep(&mut self, admit: &Admit, mut decision: Decision) {
        decision.candidates = best(decision.candidates);
        let request = admit.request;
        let shelf = match self.admitted.get(&request) {
            Some(_) => &mut self.admitted,
            None => &mut self.refused,
        };
        if shelf.get(&request).is_none() {
            shelf.put(request, begun(decision.at, admit));
        }
        let story = shelf.get_mut(&request);
        let Some(story) = story.filter(|story| story.client == admit.client) else {
            return;
        };
        let same =
            |last: &Decision| (last.number, &last.outcome) == (decision.number, &decision.outcome);
        let full = story.decisions.len() >= DECISIONS_MAX;
        match story.decisions.last_mut() {
            // A stream that asks again and again fills no pages.
            Some(last) if same(last) => *last = decision,
            _ if full => {}
            _ => story.decisions.push(decision),
        }
    }

    /// The story of what `admit` asks for, to be gone on with.
    pub(super) fn of(&mut self, admit: &Admit) -> Option<&mut Story> {
        let story = self.admitted.get_mut(&admit.request);
        story.filter(|story| story.client == admit.client)
    }

    /// What is known of a request.
    pub(super) fn about(&self, request: RequestId) -> Option<&Story> {
        let admitted = self.admitted.get(&request);
        admitted.or_else(|| self.refused.get(&request))
    }
}

/// The best of them: those with room, then by score.
pub(super) fn best(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    candidates.sort_by_key(|one| (one.finding.rank(), one.score.total_ms()));
    candidates.truncate(CANDIDATES_MAX);
    candidates
}

/// A story that has only begun.
fn begun(now: Time, admit: &Admit) -> Story {
    Story {
        request: admit.request,
        client: admit.client,
        payer: admit.payer,
        model: admit.model,
        prompt_bytes: admit.prompt_bytes,
        tokens_max: admit.tokens_max,
        choices: admit.choices,
        asked: now,
        payee: None,
        held: None,
        paid: None,
        vouched: false,
        granted: None,
        finished: None,
        decisions: Vec::new(),
        waits: None,
    }
}

/// Requests that were let wait, and are remembered, on one coordinator.
pub const ADMITTED_MAX: usize = 1024;
/// And such that were refused at once.
pub const REFUSED_MAX: usize = 256;
/// Decisions of each that are kept: one for each attempt, and as many refusals between them.
pub const DECISIONS_MAX: usize = 8;
/// Workers that are kept of each decision.
pub const CANDIDATES_MAX: usize = 16;
