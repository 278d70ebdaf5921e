//! How a long fetch is shown: a bar on a terminal, a line every few seconds elsewhere, objects to programs.

use super::Context;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};
use troop_actors::model_store::{Phase, Progress};

/// Shows the progress of one pull on stderr.
pub(super) struct Shown {
    name: String,
    quiet: bool,
    objects: bool,
    bar: Option<ProgressBar>,
    phase: Option<Phase>,
    said: Instant,
}

impl Shown {
    /// `objects` says whether programs are told on stdout, where they asked for JSON.
    #[allow(clippy::disallowed_methods)] // What a person sees is paced by the real clock.
    pub(super) fn new(name: &str, context: &Context, objects: bool) -> Shown {
        let objects = objects && context.json;
        let bar = (context.bars && !objects).then(ProgressBar::no_length);
        Shown {
            name: name.to_owned(),
            quiet: context.quiet,
            objects,
            bar,
            phase: None,
            said: Instant::now(),
        }
    }

    #[allow(clippy::disallowed_methods)]
    pub(super) fn show(&mut self, progress: Progress) {
        if self.objects {
            let turned = self.phase.replace(progress.phase) != Some(progress.phase);
            if turned || self.said.elapsed() >= OBJECT_EVERY {
                self.said = Instant::now();
                self.print(progress);
            }
            return;
        }
        if self.quiet {
            return;
        }
        let verb = match progress.phase {
            Phase::Waiting => "Waiting for another process with",
            Phase::Resolving => "Looking for",
            Phase::Fetching => "Fetching",
            Phase::Pausing => "Trying again shortly:",
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

impl Shown {
    /// One object on a line of its own.
    fn print(&self, progress: Progress) {
        let Progress {
            phase,
            bytes,
            total,
        } = progress;
        let object = serde_json::json!({
            "schema": "troop.progress/v1",
            "name": self.name,
            "phase": phase,
            "bytes": bytes,
            "total": total,
        });
        // A reader that has gone is noticed when the end is printed.
        let _ = super::print(object);
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// How often a program is told.
const OBJECT_EVERY: Duration = Duration::from_millis(500);
/// How often a line is said where there is no terminal.
const EVERY: Duration = Duration::from_secs(3);
