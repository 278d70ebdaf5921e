//! How a long fetch is shown: a bar on a terminal, a line every few seconds elsewhere.

use super::Context;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};
use troop_actors::model_store::{Phase, Progress};

/// Shows the progress of one pull on stderr.
pub(super) struct Shown {
    name: String,
    quiet: bool,
    bar: Option<ProgressBar>,
    phase: Option<Phase>,
    said: Instant,
}

impl Shown {
    #[allow(clippy::disallowed_methods)] // What a person sees is paced by the real clock.
    pub(super) fn new(name: &str, context: &Context) -> Shown {
        let bar = context.bars.then(ProgressBar::no_length);
        Shown {
            name: name.to_owned(),
            quiet: context.quiet,
            bar,
            phase: None,
            said: Instant::now(),
        }
    }

    #[allow(clippy::disallowed_methods)]
    pub(super) fn show(&mut self, progress: Progress) {
        if self.quiet {
            return;
        }
        let verb = match progress.phase {
            Phase::Waiting => "Waiting for another process with",
            Phase::Fetching => "Fetching",
            Phase::Unpacking => "Hashing",
            Phase::Checking => "Checking",
            Phase::Verifying => "Verifying",
        };
        let turned = self.phase.replace(progress.phase) != Some(progress.phase);
        if let Some(bar) = &self.bar {
            if let Some(total) = progress.total {
                bar.set_length(total);
            }
            if turned {
                let template = match progress.total {
                    Some(_) => {
                        "{msg} {bar:24} {decimal_bytes}/{decimal_total_bytes}  {decimal_bytes_per_sec}  {eta}"
                    }
                    None => "{msg} {spinner} {decimal_bytes}  {decimal_bytes_per_sec}",
                };
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style);
                }
                bar.reset();
                bar.set_message(format!("{verb} {}", self.name));
            }
            bar.set_position(progress.bytes);
        } else if turned || self.said.elapsed() >= EVERY {
            self.said = Instant::now();
            let bytes = super::table::bytes(progress.bytes);
            match progress.total {
                Some(total) => {
                    eprintln!(
                        "{verb} {}: {bytes} of {}",
                        self.name,
                        super::table::bytes(total)
                    );
                }
                None => eprintln!("{verb} {}: {bytes}", self.name),
            }
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// How often a line is said where there is no terminal.
const EVERY: Duration = Duration::from_secs(3);
