//! The fair queue: start-time fair queueing over members.
//!
//! Each request is charged by the tokens it may take, divided by its member's weight. A member's next request
//! starts, in virtual time, where the last one of that member ends; whoever starts earliest is served first. So of
//! two members who always have something waiting each gets tokens by its weight, however many requests either of them
//! sends, and one who asks rarely never waits behind a flood. What is promised, and tested below:
//!
//! - Q1 The requests of one member are served in the order they came.
//! - Q2 Before a request of a member who had nothing waiting, and whose last one ended before what is being served
//!   starts, at most one request of each other member is served; with one flood, none.
//! - Q3 While two members both wait, what they are served, divided by their weights, differs by no more than one
//!   largest request of each.
//!
//! So a light user beside a flood waits for one place: at most as long as the request that ends next still runs, and
//! for as many places as it wants choices.

use crate::ids::{MemberId, RequestId};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

/// A place in the line. A request that must be placed again comes back to the turn it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    starts: u64,
    arrival: u64,
}

/// How much of the tokens a member gets beside others; nobody has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Weight(NonZeroU32);

impl Weight {
    /// What everybody has.
    pub(super) const ONE: Weight = Weight(NonZeroU32::MIN);
}

/// Who waits, in the order of their turns.
#[derive(Debug, Default)]
pub(super) struct Line {
    order: BTreeSet<(Turn, RequestId)>,
    members: BTreeMap<MemberId, Account>,
    /// The virtual time: where the latest one served started.
    served: u64,
    arrivals: u64,
}

#[derive(Debug, Default)]
struct Account {
    ends: u64,
    waiting: usize,
}

impl Line {
    /// The next turn of `member`, for a request that may take `cost` tokens.
    pub(super) fn turn(&mut self, member: MemberId, weight: Weight, cost: u64) -> Turn {
        if self.members.len() >= MEMBERS_MAX {
            self.forget();
            if self.members.len() >= MEMBERS_MAX {
                self.members.retain(|_, account| account.waiting > 0);
            }
        }
        let account = self.members.entry(member).or_default();
        let starts = account.ends.max(self.served);
        let charge = cost.clamp(1, COST_MAX).div_ceil(weight.0.get().into());
        account.ends = starts.saturating_add(charge);
        self.arrivals += 1;
        let arrival = self.arrivals;
        Turn { starts, arrival }
    }

    /// A request of `member` waits from now on.
    pub(super) fn enter(&mut self, member: MemberId, turn: Turn, request: RequestId) {
        if self.order.insert((turn, request)) {
            self.members.entry(member).or_default().waiting += 1;
        }
    }

    /// It is being served.
    pub(super) fn serve(&mut self, member: MemberId, turn: Turn, request: RequestId) {
        self.served = self.served.max(turn.starts);
        self.leave(member, turn, request);
    }

    /// It does not wait any longer.
    pub(super) fn leave(&mut self, member: MemberId, turn: Turn, request: RequestId) {
        if !self.order.remove(&(turn, request)) {
            return;
        }
        if let Some(account) = self.members.get_mut(&member) {
            account.waiting -= 1;
        }
        if self.order.is_empty() {
            self.forget();
        }
    }

    /// Forgets those who would start where everybody does.
    fn forget(&mut self) {
        let served = self.served;
        self.members
            .retain(|_, account| account.waiting > 0 || account.ends > served);
    }

    /// Those who wait, the next one first.
    pub(super) fn order(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.order.iter().map(|(_, request)| *request)
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.order.len()
    }

    /// How many requests of `member` wait.
    pub(super) fn waiting_of(&self, member: MemberId) -> usize {
        let account = self.members.get(&member);
        account.map_or(0, |account| account.waiting)
    }

    pub(super) fn check(&self) {
        let waiting: usize = self.members.values().map(|account| account.waiting).sum();
        assert_eq!(waiting, self.order.len(), "who waits is counted once");
    }
}

/// Members whose latest use is remembered; beyond it those with nothing waiting start anew.
const MEMBERS_MAX: usize = 4096;

/// Tokens that one request is charged for, at most: more than any worker takes, and so little that virtual time
/// does not end.
const COST_MAX: u64 = 1 << 32;

#[cfg(test)]
mod tests;
