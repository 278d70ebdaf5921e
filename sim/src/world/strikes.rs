//! Faults strike: each when its time has come, at a place drawn anew, and then again.

use super::{Happening, World};
use crate::checker::Verdict;
use crate::faults::Fault;
use crate::network::Network;
use std::collections::BTreeSet;

impl World {
    /// Draws when a fault strikes next, if that is before the end of the first part.
    pub(super) fn next_strike(&mut self, fault: Fault) {
        if let Some(wait) = self.scenario.plan.next_strike(fault, &mut self.dice) {
            let at = self.now + wait;
            if at < self.scenario.safety {
                self.push(at, Happening::Strike { fault });
            }
        }
    }

    /// A fault strikes.
    pub(super) fn strike(&mut self, fault: Fault) -> Verdict {
        self.next_strike(fault);
        self.strikes += 1;
        let nodes = self.nodes.len() as u64;
        let at = self.dice.below(nodes) as usize;
        let strength = self.scenario.plan.strength(fault).unwrap_or(0.0);
        self.tell(&format!("fault {fault:?} strikes n{at}"));
        match fault {
            Fault::Loss
            | Fault::Delay
            | Fault::Duplicate
            | Fault::Reorder
            | Fault::Skew
            | Fault::Forgery
            | Fault::Freeloading => {}
            Fault::Partition | Fault::OneWay => {
                let side = self.side();
                let both = fault == Fault::Partition;
                let links = Network::between(&side, self.nodes.len(), both);
                self.cut(links, strength);
            }
            Fault::Isolate => {
                let links = Network::between(&BTreeSet::from([at]), self.nodes.len(), true);
                self.cut(links, strength);
            }
            Fault::Clog => {
                let to = self.dice.below(nodes) as usize;
                let until = self.now + self.dice.between(10_000, 5_000_000);
                self.network.clog(at, to, until);
            }
            Fault::Crash | Fault::PowerLoss => {
                let dark = self
                    .dice
                    .between(50_000, 200_000 + (10_000_000.0 * strength) as u64);
                self.crash(at, fault == Fault::PowerLoss, dark)?;
            }
            Fault::DiskError => {
                let operations = self.dice.below(40);
                let node = &self.nodes[at];
                node.books.disk.fail_in(operations);
                node.post.disk.fail_in(operations);
                node.turns.disk.fail_in(operations);
            }
            Fault::SlowDisk => {
                let longest = 1_000 + (5_000_000.0 * strength) as u64;
                self.nodes[at].commit = self.dice.between(1_000, longest);
                let until = self.now + self.dice.between(100_000, 10_000_000);
                self.push(until, Happening::FastDisk { node: at });
            }
            Fault::Pause => {
                let longest = 100_000 + (30_000_000.0 * strength) as u64;
                self.nodes[at].paused_until = self.now + self.dice.between(10_000, longest);
            }
            Fault::Unplugged => self.unplug(at, strength),
            Fault::EngineDeath => self.child_dies(at),
            Fault::EngineStall => {
                if let Some(child) = &mut self.nodes[at].child {
                    child.stalled = true;
                }
            }
            Fault::ActorDeath => {
                let actors = self.nodes[at].actors();
                if !actors.is_empty() {
                    let actor = *self.dice.pick(&actors);
                    self.kill_actor(at, actor)?;
                }
            }
        }
        Ok(())
    }

    fn side(&mut self) -> BTreeSet<usize> {
        let mut side = BTreeSet::new();
        for node in 0..self.nodes.len() {
            if self.dice.chance(0.5) {
                side.insert(node);
            }
        }
        side
    }

    fn cut(&mut self, links: Vec<(usize, usize)>, strength: f64) {
        links
            .iter()
            .for_each(|(from, to)| self.network.cut(*from, *to));
        let longest = 200_000 + (20_000_000.0 * strength) as u64;
        let until = self.now + self.dice.between(100_000, longest);
        self.push(until, Happening::Mend { links });
    }
}
