//! Ctrl-C during long work. What blocks asks whether it came: once ends it in good order, twice at once. What
//! waits is dropped where it stands.

use super::fault::{Code, Fault};
use super::tokio;
use ::tokio::sync::watch;
use std::time::Duration;

/// What `work` comes to, unless Ctrl-C comes first.
pub(super) async fn interruptible<T>(
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    ::tokio::select! {
        biased;
        _ = ::tokio::signal::ctrl_c() => Err(Fault::new(Code::Interrupted, "stopped by Ctrl-C")),
        outcome = work => outcome,
    }
}

/// Listens for Ctrl-C for as long as it lives.
pub(super) struct Interrupt {
    came: watch::Receiver<bool>,
    listening: ::tokio::runtime::Runtime,
}

impl Interrupt {
    pub(super) fn listen() -> Result<Interrupt, Fault> {
        let (tell, came) = watch::channel(false);
        let listening = tokio()?;
        // The task ends with the runtime, which ends with this.
        listening.spawn(async move {
            if ::tokio::signal::ctrl_c().await.is_ok() {
                tell.send_replace(true);
                let _ = ::tokio::signal::ctrl_c().await;
                std::process::exit(Code::Interrupted as i32);
            }
        });
        Ok(Interrupt { came, listening })
    }

    /// Whether it came.
    pub(super) fn came(&self) -> bool {
        *self.came.borrow()
    }

    /// Waits for it, for so long; says whether it came. Not to be called inside a runtime.
    pub(super) fn came_within(&self, span: Duration) -> bool {
        let mut came = self.came.clone();
        let waiting = async { ::tokio::time::timeout(span, came.wait_for(|came| *came)).await };
        matches!(self.listening.block_on(waiting), Ok(Ok(_)))
    }
}
