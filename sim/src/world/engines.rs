//! Engines are children of their node: they load, read frames, compute steps, and die.

use super::{Happening, World};
use crate::checker::Verdict;
use crate::engine::Child;
use troop_actors::engine::frames::{FromEngine, ToEngine};
use troop_actors::engine_process::protocol::Input;
use troop_actors::ids::Passport;
use troop_actors::routing::Message;

impl World {
    /// A child starts to load its model.
    pub(super) fn spawn_child(&mut self, node: usize, model: Passport, life: u64) {
        let Some(process) = self.nodes[node].keeper.as_ref().map(|keeper| keeper.life) else {
            return;
        };
        self.tell(&format!("n{node} engine {life} starts"));
        let pages = self.scenario.pages;
        let sequences_max = self.scenario.sequences_max;
        self.nodes[node].child = Some(Child::new(process, life, model, pages, sequences_max));
        let at = self.now + self.dice.between(50_000, 1_500_000);
        self.push(at, Happening::Loaded { node, life });
    }

    /// A child is ended by its keeper. Half of the time the keeper hears of that as well, too late to mean it.
    pub(super) fn kill_child(&mut self, node: usize, life: u64) {
        let child = &mut self.nodes[node].child;
        if let Some(gone) = child.take_if(|child| child.life == life) {
            self.tell(&format!("n{node} engine {life} is ended"));
            if self.dice.chance(0.5) {
                self.announce_gone(node, gone.process, life);
            }
        }
    }

    /// A child dies by itself.
    pub(super) fn child_dies(&mut self, node: usize) {
        if let Some(child) = self.nodes[node].child.take() {
            self.tell(&format!("n{node} engine {} dies", child.life));
            self.announce_gone(node, child.process, child.life);
        }
    }

    fn announce_gone(&mut self, node: usize, process: u64, life: u64) {
        let at = self.now + self.dice.between(100, 20_000);
        let gone = Happening::ChildGone {
            node,
            process,
            life,
        };
        self.push(at, gone);
    }

    /// The keeper writes a frame to the pipe of a child.
    pub(super) fn write_child(&mut self, node: usize, life: u64, frame: ToEngine) {
        let frame = Box::new(frame);
        self.push(self.now + PIPE, Happening::ToChild { node, life, frame });
    }

    pub(super) fn child_loaded(&mut self, node: usize, life: u64) -> Verdict {
        let Some(child) = self.nodes[node]
            .child
            .as_mut()
            .filter(|child| child.life == life)
        else {
            return Ok(());
        };
        child.loaded = true;
        let ready = FromEngine::Ready(child.desk.facts().clone());
        let early = std::mem::take(&mut child.early);
        self.say(node, vec![ready]);
        for frame in early {
            self.child_hears(node, life, frame)?;
        }
        Ok(())
    }

    pub(super) fn child_hears(&mut self, node: usize, life: u64, frame: ToEngine) -> Verdict {
        let now = self.nodes[node].clock(self.now);
        let Some(child) = self.nodes[node]
            .child
            .as_mut()
            .filter(|child| child.life == life)
        else {
            return Ok(());
        };
        if !child.loaded {
            child.early.push(frame);
            return Ok(());
        }
        if child.stalled {
            return Ok(());
        }
        let mut out = Vec::new();
        let steps = child.desk.stats().steps;
        child.desk.hear(now, frame, steps, &mut out);
        child.desk.check();
        let begins = !child.stepping && !child.desk.is_idle();
        child.stepping |= begins;
        self.say(node, out);
        if begins {
            self.next_step(node, life);
        }
        Ok(())
    }

    pub(super) fn child_steps(&mut self, node: usize, life: u64) -> Verdict {
        let now = self.nodes[node].clock(self.now);
        let Some(child) = self.nodes[node]
            .child
            .as_mut()
            .filter(|child| child.life == life)
        else {
            return Ok(());
        };
        child.stepping = false;
        if child.stalled {
            return Ok(());
        }
        let mut out = Vec::new();
        if child.desk.step(now, &mut out) {
            child.desk.took(self.scenario.step / 1_000);
        }
        child.desk.tick(now, &mut out);
        child.desk.check();
        child.stepping = !child.desk.is_idle();
        let again = child.stepping;
        self.say(node, out);
        if again {
            self.next_step(node, life);
        }
        Ok(())
    }

    fn next_step(&mut self, node: usize, life: u64) {
        let mean = self.scenario.step;
        let at = self.now + self.dice.between(mean / 2, mean * 3 / 2);
        self.push(at, Happening::Step { node, life });
    }

    fn say(&mut self, node: usize, frames: Vec<FromEngine>) {
        let Some((process, life)) = self.nodes[node]
            .child
            .as_ref()
            .map(|child| (child.process, child.life))
        else {
            return;
        };
        for frame in frames {
            let frame = Box::new(frame);
            self.push(
                self.now + PIPE,
                Happening::FromChild {
                    node,
                    process,
                    life,
                    frame,
                },
            );
        }
    }

    /// A frame arrives at the keeper that started the child; a later keeper has other children.
    pub(super) fn child_says(
        &mut self,
        node: usize,
        process: u64,
        life: u64,
        frame: FromEngine,
    ) -> Verdict {
        self.keeper_hears(
            node,
            process,
            Input::Frame {
                model: self.model,
                life,
                frame,
            },
        )
    }

    pub(super) fn child_gone(&mut self, node: usize, process: u64, life: u64) -> Verdict {
        self.keeper_hears(
            node,
            process,
            Input::Exited {
                model: self.model,
                life,
                reason: "it died".to_owned(),
            },
        )
    }

    fn keeper_hears(&mut self, node: usize, process: u64, input: Input) -> Verdict {
        let keeper = self.nodes[node].keeper.as_ref();
        if keeper.is_none_or(|keeper| keeper.life != process) {
            return Ok(());
        }
        let message = Message::EngineProcess(input);
        let line = format!("n{node} <- {}", super::describe::message(&message));
        self.tell(&line);
        self.deliver(node, message)
    }
}

/// Microseconds a frame takes through a pipe.
const PIPE: u64 = 60;
