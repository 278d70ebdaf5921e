//! The requests that ended last, so that a late word of theirs does not begin them again.

use crate::ids::{NodeId, RequestId};
use std::collections::{BTreeSet, VecDeque};

/// The last [`OVER_MAX`] of them, each with the client that said so: what a stranger says of a request is
/// kept beside what its own client says, and not in its place.
#[derive(Debug, Default)]
pub(super) struct Over {
    known: BTreeSet<(RequestId, NodeId)>,
    order: VecDeque<(RequestId, NodeId)>,
}

impl Over {
    pub(super) fn remember(&mut self, request: RequestId, client: NodeId) {
        if self.known.insert((request, client)) {
            self.order.push_back((request, client));
        }
        if self.order.len() > OVER_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Whether `client` has said so.
    pub(super) fn has(&self, request: RequestId, client: NodeId) -> bool {
        self.known.contains(&(request, client))
    }

    /// Whether anybody has.
    pub(super) fn has_any(&self, request: RequestId) -> bool {
        let all = (request, NodeId([0; 32]))..=(request, NodeId([0xff; 32]));
        self.known.range(all).next().is_some()
    }
}

/// Ended requests that are remembered: a network keeps a letter for less time than so many take.
const OVER_MAX: usize = 4096;
