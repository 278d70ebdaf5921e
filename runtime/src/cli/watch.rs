//! `--watch`: the same again every two seconds, until Ctrl-C, which ends it well.
//!
//! What is looked at is asked for before the screen is cleared, so that nobody sees it empty. A node that does not
//! answer for once is said so and asked again: whoever watches wants to see it come back.
//!
//! ```text
//! on a terminal    the screen is drawn anew
//! elsewhere        one table under the other
//! with --json      one object a line
//! ```

use super::fault::Fault;
use super::interrupt::Interrupt;
use super::{Context, print, print_json};
use serde::Serialize;
use std::io::IsTerminal;
use std::time::Duration;

/// Arguments of verbs that can be watched.
#[derive(Debug, Default, clap::Args)]
pub(super) struct WatchArgs {
    /// Again every two seconds, until Ctrl-C
    #[arg(long, short)]
    watch: bool,
}

impl WatchArgs {
    /// Shows what `look` finds, with `draw` or as an object: once, or again and again.
    pub(super) fn show<T: Serialize>(
        &self,
        context: &Context,
        mut look: impl FnMut() -> Result<T, Fault>,
        mut draw: impl FnMut(&T) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let clears = self.watch && !context.json && std::io::stdout().is_terminal();
        let mut show = |seen: &T| match context.json {
            true => print_json(seen),
            false => {
                if clears {
                    print("\x1b[H\x1b[2J")?;
                }
                draw(seen)
            }
        };
        let interrupt = match self.watch {
            true => Some(Interrupt::listen()?),
            false => None,
        };
        // What cannot even be asked for once is an error.
        show(&look()?)?;
        let Some(interrupt) = interrupt else {
            return Ok(());
        };
        while !interrupt.came_within(EVERY) {
            match look() {
                Ok(seen) => show(&seen)?,
                Err(fault) => fault.print(context.json),
            }
        }
        Ok(())
    }
}

/// How often what is watched is looked at.
const EVERY: Duration = Duration::from_secs(2);
