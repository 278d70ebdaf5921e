//! The requests that ended last, so that a late word of theirs does not begin them again.

use crate::ids::RequestId;
use std::collections::{BTreeSet, VecDeque};

/// The last [`OVER_MAX`] of them.
#[derive(Debug, Default)]
pub(super) struct Over {
    known: BTreeSet<RequestId>,
    order: VecDeque<RequestId>,
}

impl Over {
    pub(super) fn remember(&mut self, request: RequestId) {
        if self.known.insert(request) {
            self.order.push_back(request);
        }
        if self.order.len() > OVER_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    pub(super) fn has(&self, request: RequestId) -> bool {
        self.known.contains(&request)
    }
}

/// Ended requests that are remembered: a network keeps a letter for less time than so many take.
const OVER_MAX: usize = 4096;
