//! What can go wrong in a run, and how much of it does: drawn anew for every seed.
//!
//! Swarm testing: each seed switches each fault on with probability one half and draws how strong it is, so
//! that faults which hide one another are also seen apart. One seed in ten has no fault at all, which shows
//! what only a restart would have cured; one in twenty has a single fault at its strongest.

use crate::dice::Dice;
use crate::network::Conditions;
use std::collections::BTreeMap;

/// A kind of fault; F-numbers are those of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// F01: messages vanish.
    Loss,
    /// F02: links are slow.
    Delay,
    /// F03: messages arrive twice.
    Duplicate,
    /// F04: messages overtake one another.
    Reorder,
    /// F05: two groups of nodes cannot reach each other.
    Partition,
    /// F06: one group reaches the other, but hears nothing.
    OneWay,
    /// F07: one node is cut off.
    Isolate,
    /// F08: a link delivers nothing for a while, then everything.
    Clog,
    /// F10: a node's process is killed and started again.
    Crash,
    /// F10, F11: a node loses power; unsynced writes are lost or torn.
    PowerLoss,
    /// F13: a write fails, and the disk until it is opened again.
    DiskError,
    /// F15: commits take long.
    SlowDisk,
    /// F18: a node stands still, and then goes on as if nothing had been.
    Pause,
    /// F19: clocks differ by up to two seconds, which tickets must bear.
    Skew,
    /// An engine's process dies.
    EngineDeath,
    /// An engine stops answering.
    EngineStall,
    /// One actor dies and is started again by its supervisor.
    ActorDeath,
    /// A machine runs on its battery for a while, so its owner does not lend it.
    Unplugged,
    /// F23: a stranger shows stolen tickets, cancels what is not its own, and sends receipts it has altered.
    Forgery,
    /// F23: clients take whole answers and do not sign for them, or not even vouch.
    Freeloading,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 20] = [
        Fault::Loss,
        Fault::Delay,
        Fault::Duplicate,
        Fault::Reorder,
        Fault::Partition,
        Fault::OneWay,
        Fault::Isolate,
        Fault::Clog,
        Fault::Crash,
        Fault::PowerLoss,
        Fault::DiskError,
        Fault::SlowDisk,
        Fault::Pause,
        Fault::Skew,
        Fault::EngineDeath,
        Fault::EngineStall,
        Fault::ActorDeath,
        Fault::Unplugged,
        Fault::Forgery,
        Fault::Freeloading,
    ];

    /// The mean time between two of its strikes at full strength, in milliseconds; `None` for what is not a
    /// strike but a condition of the whole run.
    pub fn strikes_every_ms(self) -> Option<u64> {
        match self {
            Fault::Loss
            | Fault::Delay
            | Fault::Duplicate
            | Fault::Reorder
            | Fault::Skew
            | Fault::Forgery
            | Fault::Freeloading => None,
            Fault::Clog => Some(2_000),
            Fault::ActorDeath | Fault::DiskError => Some(4_000),
            Fault::EngineDeath | Fault::EngineStall | Fault::SlowDisk => Some(6_000),
            Fault::Unplugged => Some(8_000),
            Fault::Partition | Fault::OneWay | Fault::Isolate => Some(8_000),
            Fault::Crash | Fault::PowerLoss | Fault::Pause => Some(8_000),
        }
    }
}

/// Which faults a run has, each with its strength from 0 to 1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    strengths: BTreeMap<Fault, f64>,
}

impl Plan {
    /// The faults of one seed.
    pub fn draw(dice: &mut Dice) -> Plan {
        let kind = dice.below(100);
        if kind < 10 {
            return Plan::default();
        }
        if kind < 15 {
            return Plan::only(*dice.pick(&Fault::ALL), 1.0);
        }
        let mut strengths = BTreeMap::new();
        for fault in Fault::ALL {
            let strength = dice.fraction();
            if dice.chance(0.5) {
                strengths.insert(fault, strength);
            }
        }
        Plan { strengths }
    }

    /// One fault and no other.
    pub fn only(fault: Fault, strength: f64) -> Plan {
        Plan {
            strengths: BTreeMap::from([(fault, strength)]),
        }
    }

    /// How strong a fault is; `None` if it is off.
    pub fn strength(&self, fault: Fault) -> Option<f64> {
        self.strengths.get(&fault).copied()
    }

    /// The faults that are on, with their strengths.
    pub fn faults(&self) -> impl Iterator<Item = (Fault, f64)> {
        self.strengths
            .iter()
            .map(|(fault, strength)| (*fault, *strength))
    }

    /// What the network is like: ranges of the specification (F01 to F04), in microseconds.
    pub fn conditions(&self) -> Conditions {
        let strength = |fault| self.strength(fault).unwrap_or(0.0);
        let delay = strength(Fault::Delay);
        Conditions {
            delay_min: Conditions::CALM.delay_min + (30_000.0 * delay) as u64,
            delay_mean: Conditions::CALM.delay_mean + (100_000.0 * delay) as u64,
            loss: 0.30 * strength(Fault::Loss).powi(3),
            duplicate: 0.50 * strength(Fault::Duplicate),
            reorder: 0.50 * strength(Fault::Reorder).powi(2),
        }
    }

    /// How long until a fault strikes next, in microseconds; `None` if it never does.
    pub fn next_strike(&self, fault: Fault, dice: &mut Dice) -> Option<u64> {
        let strength = self.strength(fault)?;
        let every = fault.strikes_every_ms()?;
        let mean = (every as f64 / strength.max(0.05)) as u64;
        Some(dice.exponential(mean * 1_000).max(1_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_in_ten_is_calm_and_every_fault_is_drawn() {
        let mut calm = 0;
        let mut seen = BTreeMap::new();
        for seed in 0..1_000 {
            let plan = Plan::draw(&mut Dice::new(seed));
            calm += u32::from(plan.strengths.is_empty());
            plan.faults()
                .for_each(|(fault, _)| *seen.entry(fault).or_insert(0) += 1);
        }
        assert!((60..140).contains(&calm), "{calm}");
        assert_eq!(seen.len(), Fault::ALL.len());
        assert!(seen.values().all(|count| *count > 300), "{seen:?}");
    }

    #[test]
    fn a_calm_plan_has_a_calm_network_and_no_strikes() {
        let plan = Plan::default();
        assert_eq!(plan.conditions(), Conditions::CALM);
        let mut dice = Dice::new(1);
        assert!(
            Fault::ALL
                .iter()
                .all(|fault| plan.next_strike(*fault, &mut dice).is_none())
        );
    }
}
