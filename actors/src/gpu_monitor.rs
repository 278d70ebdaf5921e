//! Watches whether the machine is free: whether its owner, or another program, wants it, and whether it is well.
//!
//! Lives on workers. It looks at the machine every two seconds and tells the `EngineProcess` what that means, which
//! gives the machine back or takes it again. When it dies its successor looks at once and tells it anew; what cannot
//! be seen counts as wanted.

mod eye;
mod gauge;
pub mod policy;
pub mod protocol;

pub use gauge::Gauge;

use crate::names;
use crate::ports::Sensors;
use crate::routing::LookPort;
use crate::shell::{Node, Seat};
use eye::Eye;
use policy::Policy;
use protocol::Input;
use ractor::{ActorProcessingErr, ActorRef};
use std::sync::Arc;

/// All a monitor needs from outside.
pub struct GpuMonitorArgs {
    /// The node it works for.
    pub node: Arc<Node>,
    /// What the owner lends.
    pub policy: Policy,
    /// How the machine is looked at.
    pub sensors: Arc<dyn Sensors>,
}

/// The actor.
pub struct GpuMonitor;

/// The core in its seat, and what looks for it.
pub struct GpuMonitorState {
    seat: Seat<Gauge>,
    eye: Eye,
}

impl GpuMonitorState {
    fn perform(&mut self, ports: Vec<LookPort>, myself: &ActorRef<GpuMonitorMessage>) {
        for LookPort { look } in ports {
            self.eye.look(look);
        }
        self.seat.arm(myself, || GpuMonitorMessage::Wake);
    }
}

#[ractor::actor(
    message = pub enum GpuMonitorMessage,
    state = GpuMonitorState,
    arguments = GpuMonitorArgs,
)]
impl GpuMonitor {
    async fn pre_start(
        &self,
        myself: ActorRef<GpuMonitorMessage>,
        args: GpuMonitorArgs,
    ) -> Result<GpuMonitorState, ActorProcessingErr> {
        let GpuMonitorArgs {
            node,
            policy,
            sensors,
        } = args;
        let gauge = Gauge::new(policy, node.clock.now());
        let mut state = GpuMonitorState {
            seat: Seat::new(names::GPU_MONITOR, gauge, node),
            eye: Eye::open(sensors, &myself)?,
        };
        state.perform(Vec::new(), &myself);
        Ok(state)
    }

    /// Something happened.
    #[ractor::message(Input(input))]
    fn input(
        &self,
        myself: ActorRef<GpuMonitorMessage>,
        input: Input,
        state: &mut GpuMonitorState,
    ) {
        let ports = state.seat.step(input);
        state.perform(ports, &myself);
    }

    /// The timer rang.
    #[ractor::message(Wake)]
    fn wake(&self, myself: ActorRef<GpuMonitorMessage>, state: &mut GpuMonitorState) {
        let ports = state.seat.wake();
        state.perform(ports, &myself);
    }
}
