//! What this machine says of how it is used: its graphics cards, processors, power and wall clock.
//!
//! Nothing here decides: a number that cannot be had is said to be unknown, and what that means is the monitor's.

mod cards;
mod power;
mod processors;

use cards::Cards;
use processors::Processors;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use troop_actors::gpu_monitor::protocol::Reading;
use troop_actors::ports::Sensors;

/// The sensors of the system that this program runs on.
pub struct SystemSensors {
    /// Found at the first look: a driver that hangs holds up whoever looks, and no node that starts.
    cards: Mutex<Option<Cards>>,
    processors: Mutex<Processors>,
    power: PathBuf,
}

impl SystemSensors {
    /// Begins to count.
    pub fn new() -> SystemSensors {
        SystemSensors {
            cards: Mutex::new(None),
            processors: Mutex::new(Processors::new()),
            power: power_folder(),
        }
    }
}

impl Default for SystemSensors {
    fn default() -> SystemSensors {
        SystemSensors::new()
    }
}

impl Sensors for SystemSensors {
    fn read(&self) -> Reading {
        let ours = processors::ours();
        Reading {
            gpu: own(&self.cards).get_or_insert_with(Cards::find).read(&ours),
            cpu_permille: own(&self.processors).others(&ours),
            power: power::read(&self.power),
            minute: minute(),
        }
    }
}

fn own<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a look that fell has left half done is made good by the next one.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the system tells of its power supplies; elsewhere where a test wants it, in debug builds.
fn power_folder() -> PathBuf {
    let elsewhere = std::env::var_os("TROOP_POWER_SUPPLY").filter(|_| cfg!(debug_assertions));
    elsewhere.map_or_else(|| PathBuf::from("/sys/class/power_supply"), PathBuf::from)
}

/// Minutes since midnight, by the clock on this machine's wall.
fn minute() -> Option<u16> {
    // SAFETY: a null pointer asks for the time to be returned only.
    let now = unsafe { libc::time(std::ptr::null_mut()) };
    // SAFETY: all zeros is a valid value of this struct of numbers and a pointer that may be null.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to values of ours; the call fills the second or returns null.
    if unsafe { libc::localtime_r(&raw const now, &raw mut parts) }.is_null() {
        return None;
    }
    u16::try_from(parts.tm_hour * 60 + parts.tm_min).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use troop_actors::gpu_monitor::protocol::Gpu;

    #[test]
    fn this_machine_can_be_looked_at_with_or_without_a_driver() {
        let reading = SystemSensors::new().read();
        assert!(reading.minute.is_some_and(|minute| minute < 1_440));
        if let Gpu::Seen { percent, .. } = reading.gpu {
            assert!(percent <= 100);
        }
        if cfg!(target_os = "linux") {
            assert!(reading.cpu_permille.is_some_and(|share| share <= 1_000));
            assert!(reading.power.is_some());
        }
    }
}
