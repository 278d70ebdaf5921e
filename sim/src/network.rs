//! Between nodes: what is sent arrives late, twice, out of order or never, as the conditions of the run say.
//!
//! A link is one direction from one node to another. While nothing is wrong it keeps the order of what is
//! sent over it, as a transport promises; the fault `reorder` breaks that promise on purpose, because a
//! reconnected transport does as well. What is sent inside a node does not come here.

use crate::dice::Dice;
use std::collections::{BTreeMap, BTreeSet};

/// How bad the network is; microseconds and probabilities.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditions {
    /// No message is faster.
    pub delay_min: u64,
    /// The mean of what is added to it.
    pub delay_mean: u64,
    /// A message vanishes.
    pub loss: f64,
    /// A message arrives twice.
    pub duplicate: f64,
    /// A message overtakes those before it.
    pub reorder: f64,
}

impl Conditions {
    /// A quiet local network.
    pub const CALM: Conditions = Conditions {
        delay_min: 200,
        delay_mean: 300,
        loss: 0.0,
        duplicate: 0.0,
        reorder: 0.0,
    };
}

/// All links between all nodes.
#[derive(Debug)]
pub struct Network {
    /// How it is now.
    pub conditions: Conditions,
    blocked: BTreeMap<(usize, usize), u32>,
    clogged: BTreeMap<(usize, usize), u64>,
    last: BTreeMap<(usize, usize), u64>,
    dice: Dice,
    /// How much was lost or doubled, for the summary.
    pub harm: Harm,
}

/// What the network did to messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Harm {
    /// Messages sent.
    pub sent: u64,
    /// Of these, lost.
    pub lost: u64,
    /// Of these, doubled.
    pub doubled: u64,
}

impl Network {
    /// A network in these conditions.
    pub fn new(conditions: Conditions, dice: Dice) -> Network {
        Network {
            conditions,
            blocked: BTreeMap::new(),
            clogged: BTreeMap::new(),
            last: BTreeMap::new(),
            dice,
            harm: Harm::default(),
        }
    }

    /// When what is sent now arrives: never, once, or twice.
    pub fn send(&mut self, now: u64, from: usize, to: usize) -> Vec<u64> {
        self.harm.sent += 1;
        if self.is_blocked(from, to) || self.dice.chance(self.conditions.loss) {
            self.harm.lost += 1;
            return Vec::new();
        }
        let mut arrivals = vec![self.arrival(now, from, to)];
        if self.dice.chance(self.conditions.duplicate) {
            self.harm.doubled += 1;
            arrivals.push(self.arrival(now, from, to));
        }
        arrivals
    }

    fn arrival(&mut self, now: u64, from: usize, to: usize) -> u64 {
        let delay =
            self.conditions.delay_min + self.dice.exponential(self.conditions.delay_mean.max(1));
        let open = self.clogged.get(&(from, to)).copied().unwrap_or(0);
        let at = now.max(open) + delay;
        if self.dice.chance(self.conditions.reorder) {
            return at;
        }
        let last = self.last.entry((from, to)).or_insert(0);
        *last = at.max(*last);
        *last
    }

    /// Whether nothing passes from one node to another now.
    pub fn is_blocked(&self, from: usize, to: usize) -> bool {
        self.blocked.contains_key(&(from, to))
    }

    /// Cuts one direction; cut twice, it must be mended twice.
    pub fn cut(&mut self, from: usize, to: usize) {
        *self.blocked.entry((from, to)).or_insert(0) += 1;
    }

    /// Undoes one cut.
    pub fn mend(&mut self, from: usize, to: usize) {
        if let Some(count) = self.blocked.get_mut(&(from, to)) {
            *count -= 1;
            if *count == 0 {
                self.blocked.remove(&(from, to));
            }
        }
    }

    /// Nothing sent over this link arrives before `until`.
    pub fn clog(&mut self, from: usize, to: usize, until: u64) {
        self.clogged.insert((from, to), until);
    }

    /// Everything is well again.
    pub fn heal(&mut self) {
        self.conditions = Conditions::CALM;
        self.blocked.clear();
        self.clogged.clear();
    }

    /// The links of a partition: all between one side and the other, or one direction only.
    pub fn between(side: &BTreeSet<usize>, nodes: usize, both: bool) -> Vec<(usize, usize)> {
        let mut links = Vec::new();
        for inner in side {
            for outer in (0..nodes).filter(|node| !side.contains(node)) {
                links.push((*inner, outer));
                if both {
                    links.push((outer, *inner));
                }
            }
        }
        links
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calm_link_loses_nothing_and_keeps_the_order() {
        let mut network = Network::new(Conditions::CALM, Dice::new(1));
        let mut last = 0;
        for now in 0..1_000 {
            let arrivals = network.send(now * 10, 0, 1);
            assert_eq!(arrivals.len(), 1);
            assert!(arrivals[0] >= last);
            last = arrivals[0];
        }
    }

    #[test]
    fn a_cut_is_one_way_and_counted() {
        let mut network = Network::new(Conditions::CALM, Dice::new(1));
        network.cut(0, 1);
        network.cut(0, 1);
        network.mend(0, 1);
        assert!(network.send(0, 0, 1).is_empty());
        assert_eq!(network.send(0, 1, 0).len(), 1);
        network.mend(0, 1);
        assert_eq!(network.send(0, 0, 1).len(), 1);
    }

    #[test]
    fn a_partition_has_every_link_across_and_none_within() {
        let side = BTreeSet::from([0, 1]);
        assert_eq!(
            Network::between(&side, 3, true),
            [(0, 2), (2, 0), (1, 2), (2, 1)]
        );
        assert_eq!(Network::between(&side, 3, false), [(0, 2), (1, 2)]);
    }

    #[test]
    fn a_bad_link_loses_doubles_and_overtakes() {
        let conditions = Conditions {
            loss: 0.2,
            duplicate: 0.3,
            reorder: 0.5,
            ..Conditions::CALM
        };
        let mut network = Network::new(conditions, Dice::new(1));
        let arrivals: Vec<u64> = (0..1_000)
            .flat_map(|now| network.send(now * 10, 0, 1))
            .collect();
        assert!(network.harm.lost > 100 && network.harm.doubled > 100);
        assert!(!arrivals.is_sorted());
    }
}
