//! The fair queue: start-time fair queueing over members.
//!
//! Each request is charged by the tokens it may take. A member's next request starts, in virtual time, where
//! the last one of that member ends; whoever starts earliest is served first. So of two members who always
//! have something waiting each gets half of the tokens, however many requests either of them sends, and one
//! who asks rarely never waits behind a flood.

use crate::ids::{MemberId, RequestId};
use std::collections::{BTreeMap, BTreeSet};

/// A place in the line. A request that must be placed again comes back to the turn it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    starts: u64,
    arrival: u64,
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
    pub(super) fn turn(&mut self, member: MemberId, cost: u64) -> Turn {
        if self.members.len() >= MEMBERS_MAX {
            self.members.retain(|_, account| account.waiting > 0);
        }
        let account = self.members.entry(member).or_default();
        let starts = account.ends.max(self.served);
        account.ends = starts.saturating_add(cost.max(1));
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
        // With nobody waiting there is nothing to be fair about: all start anew.
        if self.order.is_empty() {
            self.members.clear();
        }
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

/// Members whose past use is remembered; beyond it those with nothing waiting start anew.
const MEMBERS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_who_floods_delays_only_itself() {
        // Given a member with forty requests in the line,
        let (flood, quiet) = (MemberId([1; 16]), MemberId([2; 16]));
        let mut line = Line::default();
        let mut turns = BTreeMap::new();
        for number in 0..40 {
            let turn = line.turn(flood, 100);
            line.enter(flood, turn, RequestId([number; 16]));
            turns.insert(RequestId([number; 16]), (flood, turn));
        }
        // when one is served and another member comes with three,
        let serve = |line: &mut Line, turns: &BTreeMap<RequestId, (MemberId, Turn)>| {
            let request = line.order().next().expect("somebody waits");
            let (member, turn) = turns[&request];
            line.serve(member, turn, request);
            line.check();
            member
        };
        assert_eq!(serve(&mut line, &turns), flood);
        for number in 100..103 {
            let turn = line.turn(quiet, 100);
            line.enter(quiet, turn, RequestId([number; 16]));
            turns.insert(RequestId([number; 16]), (quiet, turn));
        }
        // then they are served by turns, each member the same tokens.
        let served: Vec<MemberId> = (0..6).map(|_| serve(&mut line, &turns)).collect();
        assert_eq!(served.iter().filter(|member| **member == quiet).count(), 3);
        assert_eq!(line.waiting_of(quiet), 0);
        assert_eq!(line.waiting(), 36);
    }

    #[test]
    fn tokens_are_shared_and_not_requests() {
        let (large, small) = (MemberId([1; 16]), MemberId([2; 16]));
        let mut line = Line::default();
        let mut turns = BTreeMap::new();
        for number in 0..20 {
            for (member, cost, id) in [(large, 400, number), (small, 100, 100 + number)] {
                let turn = line.turn(member, cost);
                line.enter(member, turn, RequestId([id; 16]));
                turns.insert(RequestId([id; 16]), (member, turn));
            }
        }
        let mut tokens = BTreeMap::from([(large, 0u64), (small, 0)]);
        for _ in 0..20 {
            let request = line.order().next().expect("somebody waits");
            let (member, turn) = turns[&request];
            line.serve(member, turn, request);
            *tokens.entry(member).or_insert(0) += if member == large { 400 } else { 100 };
        }
        assert!(tokens[&large].abs_diff(tokens[&small]) <= 400, "{tokens:?}");
    }
}
