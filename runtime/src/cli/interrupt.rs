//! Ctrl-C during long work. What blocks asks whether it came: once ends it in good order, twice at once. What
//! waits is dropped where it stands.

use super::fault::{Code, Fault};
use super::tokio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
    came: Arc<AtomicBool>,
    _listening: ::tokio::runtime::Runtime,
}

impl Interrupt {
    pub(super) fn listen() -> Result<Interrupt, Fault> {
        let came = Arc::new(AtomicBool::new(false));
        let (listening, told) = (tokio()?, came.clone());
        // The task ends with the runtime, which ends with this.
        listening.spawn(async move {
            if ::tokio::signal::ctrl_c().await.is_ok() {
                told.store(true, Ordering::Relaxed);
                let _ = ::tokio::signal::ctrl_c().await;
                std::process::exit(Code::Interrupted as i32);
            }
        });
        Ok(Interrupt {
            came,
            _listening: listening,
        })
    }

    /// Whether it came.
    pub(super) fn came(&self) -> bool {
        self.came.load(Ordering::Relaxed)
    }
}
