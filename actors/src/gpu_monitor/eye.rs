//! A leaf: the thread that looks at the machine. A driver may take long to answer, or for ever; it keeps nobody else
//! waiting, and nobody waits for it when the node stops.

use super::GpuMonitorMessage;
use super::protocol::Input;
use crate::ports::Sensors;
use ractor::ActorRef;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

/// Its thread ends when this is dropped and the look it is at is over.
pub(super) struct Eye(Sender<u64>);

impl Eye {
    /// Opens it; what it sees is told to `monitor`.
    pub(super) fn open(
        sensors: Arc<dyn Sensors>,
        monitor: &ActorRef<GpuMonitorMessage>,
    ) -> io::Result<Eye> {
        let (sender, looks) = channel();
        let monitor = monitor.clone();
        std::thread::Builder::new()
            .name("troop-eye".to_owned())
            .spawn(move || {
                for look in looks {
                    let reading = sensors.read();
                    let seen = Input::Seen { look, reading };
                    if monitor.cast(GpuMonitorMessage::Input(seen)).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Eye(sender))
    }

    /// Orders a look. One that never comes back counts as what it may hide: the monitor does not order a second
    /// one, so this queue holds one at most.
    pub(super) fn look(&self, look: u64) {
        // A thread that is gone has nobody to tell, and the monitor notices the silence.
        let _ = self.0.send(look);
    }
}
