//! Every request ends, once, within its time; after its end nothing follows.

use super::{Verdict, require};
use std::collections::BTreeMap;
use troop_actors::ids::RequestId;
use troop_actors::session::protocol::{Delivery, Trouble};

/// How requests ended.
#[derive(Debug, Default)]
pub struct Endings {
    open: BTreeMap<RequestId, Open>,
    ended: BTreeMap<RequestId, Ending>,
}

#[derive(Debug)]
struct Open {
    node: usize,
    since: u64,
    hung_up: bool,
    told: Option<Ending>,
}

/// How a request ended, as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// Complete.
    Done,
    /// The client hung up.
    HungUp,
    /// The scheduler said no.
    Refused,
    /// The engine said no.
    Failed,
    /// Nobody was free in time.
    QueueTimeout,
    /// Too many attempts were lost.
    Lost,
    /// The session, or its node, died.
    Interrupted,
}

impl Endings {
    /// A session has begun on `node`, at `now` microseconds.
    pub fn begun(&mut self, request: RequestId, node: usize, now: u64) -> Verdict {
        let fresh = !self.ended.contains_key(&request);
        let open = Open {
            node,
            since: now,
            hung_up: false,
            told: None,
        };
        let fresh = self.open.insert(request, open).is_none() && fresh;
        require(fresh, "one ending", || {
            format!("{request:?} has begun twice")
        })
    }

    /// Its client hangs up.
    pub fn hung_up(&mut self, request: RequestId) {
        if let Some(open) = self.open.get_mut(&request) {
            open.hung_up = true;
        }
    }

    /// Whether its client has hung up.
    pub fn is_hung_up(&self, request: RequestId) -> bool {
        self.open.get(&request).is_some_and(|open| open.hung_up)
            || self.ended.get(&request) == Some(&Ending::HungUp)
    }

    /// A client is handed something.
    pub fn delivered(&mut self, request: RequestId, delivery: &Delivery) -> Verdict {
        let open = self.open.get_mut(&request);
        require(open.is_some(), "one ending", || {
            format!("{request:?} is over and gets {delivery:?}")
        })?;
        let open = open.expect("required above");
        require(open.told.is_none(), "one ending", || {
            format!("{request:?} was told its end and gets {delivery:?}")
        })?;
        open.told = match delivery {
            Delivery::Done { .. } => Some(Ending::Done),
            Delivery::Failed(trouble) => Some(match trouble {
                Trouble::Refused(_) => Ending::Refused,
                Trouble::Failed(_) => Ending::Failed,
                Trouble::QueueTimeout { .. } => Ending::QueueTimeout,
                Trouble::Lost { .. } => Ending::Lost,
                Trouble::Interrupted => Ending::Interrupted,
            }),
            Delivery::Waiting { .. }
            | Delivery::Started { .. }
            | Delivery::Echo { .. }
            | Delivery::Embedding { .. }
            | Delivery::Text { .. }
            | Delivery::Call { .. }
            | Delivery::Arguments { .. }
            | Delivery::Ended { .. } => None,
        };
        Ok(())
    }

    /// A session closes itself: its client must have been told how it ended, unless it had gone.
    pub fn closed(&mut self, request: RequestId) -> Verdict {
        let open = self.open.remove(&request);
        require(open.is_some(), "one ending", || {
            format!("{request:?} was closed twice")
        })?;
        let open = open.expect("required above");
        let ending = match open.told {
            Some(ending) if !open.hung_up => Some(ending),
            _ if open.hung_up => Some(Ending::HungUp),
            _ => None,
        };
        require(ending.is_some(), "one ending", || {
            format!("{request:?} was closed and its client was told nothing")
        })?;
        self.ended.insert(request, ending.expect("required above"));
        Ok(())
    }

    /// A session died with its actor or its node: its client sees a broken connection.
    pub fn interrupted(&mut self, request: RequestId) {
        if let Some(open) = self.open.remove(&request) {
            let ending = open.told.unwrap_or(Ending::Interrupted);
            self.ended.insert(request, ending);
        }
    }

    /// No request is older than `limit` microseconds.
    pub fn overdue(&self, now: u64, limit: u64) -> Verdict {
        let late = self.open.iter().find(|(_, open)| now - open.since > limit);
        require(late.is_none(), "requests end in time", || {
            let (request, open) = late.expect("required to be none");
            format!(
                "{request:?} on node {} is open since {} ms",
                open.node,
                (now - open.since) / 1_000
            )
        })
    }

    /// How a request ended, if it has.
    pub fn of(&self, request: RequestId) -> Option<Ending> {
        self.ended.get(&request).copied()
    }

    /// Requests that have not ended.
    pub fn open(&self) -> impl Iterator<Item = RequestId> {
        self.open.keys().copied()
    }

    /// How many ended in which way.
    pub fn counts(&self) -> BTreeMap<Ending, u64> {
        let mut counts = BTreeMap::new();
        for ending in self.ended.values() {
            *counts.entry(*ending).or_insert(0) += 1;
        }
        counts
    }
}
