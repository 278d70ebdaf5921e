//! Machines have owners, who want them for themselves now and then: the monitor sees it, and the keeper rests.

use super::carry::Performed;
use super::{Happening, World};
use crate::checker::Verdict;
use crate::node::Actor;
use troop_actors::gpu_monitor::policy::{Policy, Share};
use troop_actors::gpu_monitor::protocol::{Gpu, Input, Power, Reading};
use troop_actors::routing::LookPort;

impl World {
    /// An owner pulls the plug for a while, or only for a moment.
    pub(super) fn unplug(&mut self, node: usize, strength: f64) {
        let longest = 200_000 + (30_000_000.0 * strength) as u64;
        self.nodes[node].wanted_until = self.now + self.dice.between(100_000, longest);
    }

    /// A look has been taken: the monitor hears what there was to see.
    pub(super) fn looked(&mut self, at: usize, life: u64, look: u64) -> Verdict {
        if self.nodes[at].actor_life(Actor::GpuMonitor) != Some(life) {
            return Ok(());
        }
        let now = self.nodes[at].clock(self.now);
        let power = match self.nodes[at].wanted_until > self.now {
            true => Power::Battery { percent: None },
            false => Power::Mains,
        };
        let reading = Reading {
            gpu: Gpu::Absent,
            cpu_permille: Some(0),
            power: Some(power),
            minute: None,
        };
        let seat = self.nodes[at].monitor.as_mut();
        let seat = seat.expect("its life was looked at");
        let effects = seat.step(now, Input::Seen { look, reading });
        self.carry(at, Actor::GpuMonitor, effects, None)
    }
}

impl Performed for LookPort {
    fn perform(self, world: &mut World, node: usize, actor: Actor) -> Verdict {
        let LookPort { look } = self;
        let Some(life) = world.nodes[node].actor_life(actor) else {
            return Ok(());
        };
        let at = world.now + world.dice.between(100, 50_000);
        world.push(at, Happening::Looked { node, life, look });
        Ok(())
    }
}

/// What every owner lends: an idle time that is short beside a run.
pub(super) const POLICY: Policy = Policy {
    share: Share::Polite,
    hours: None,
    idle_ms: 3_000,
};
