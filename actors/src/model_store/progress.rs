//! How a pull goes, in one form for the bar, for `--json` and for whoever else watches.

use super::error::PullError;
use serde::Serialize;
use std::ops::ControlFlow;

/// How a pull goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Bytes of that which are done.
    pub bytes: u64,
    /// Bytes of that in all, if they are known.
    pub total: Option<u64>,
}

/// What a pull is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Another process is pulling; this one waits for it.
    Waiting,
    /// Somebody is being asked where the file is.
    Resolving,
    /// The source is being read.
    Fetching,
    /// The source did not answer well; it is asked again shortly.
    Pausing,
    /// The model is being taken out of its archive, and hashed.
    Unpacking,
    /// The header is being read by our own rules.
    Checking,
    /// What is here already is being hashed.
    Verifying,
}

/// Whoever is told how a pull goes, and may end it.
pub type Report<'a> = dyn FnMut(Progress) -> ControlFlow<()> + 'a;

/// Reports, and ends the pull where that is wished.
pub(super) fn tell(
    report: &mut Report<'_>,
    phase: Phase,
    bytes: u64,
    total: Option<u64>,
) -> Result<(), PullError> {
    let progress = Progress {
        phase,
        bytes,
        total,
    };
    match report(progress) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(PullError::Interrupted),
    }
}
