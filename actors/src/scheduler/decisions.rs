//! The latest decisions and their reasons, for whoever asks why a request waits or runs where it does.

use super::protocol::{Admit, Refusal};
use super::workers::Candidate;
use crate::contract::Time;
use crate::ids::{NodeId, RequestId};
use std::collections::VecDeque;

/// A worker chosen, or a request refused, and what was found on the way; kept for whoever asks why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// When.
    pub at: Time,
    /// For which request.
    pub request: RequestId,
    /// For which attempt.
    pub number: u32,
    /// The worker, or why there is none.
    pub outcome: Result<NodeId, Refusal>,
    /// The workers that serve the model, the first 16 of them.
    pub candidates: Vec<Candidate>,
}

/// The last [`DECISIONS_MAX`] of them.
#[derive(Debug, Default)]
pub(super) struct Decisions(VecDeque<Decision>);

impl Decisions {
    pub(super) fn keep(
        &mut self,
        at: Time,
        admit: &Admit,
        outcome: Result<NodeId, Refusal>,
        mut candidates: Vec<Candidate>,
    ) {
        candidates.truncate(CANDIDATES_MAX);
        if self.0.len() == DECISIONS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Decision {
            at,
            request: admit.request,
            number: admit.number,
            outcome,
            candidates,
        });
    }

    /// Those about one request, oldest first.
    pub(super) fn about(&self, request: RequestId) -> Vec<Decision> {
        let about = |decision: &&Decision| decision.request == request;
        self.0.iter().filter(about).cloned().collect()
    }
}

/// Decisions that are kept.
pub(super) const DECISIONS_MAX: usize = 256;
/// Workers that are kept of each.
pub(super) const CANDIDATES_MAX: usize = 16;
