//! `doctor`: what is well on this machine, what is not, and what to do about it.
//!
//! ```text
//! ok   home         /home/ana/.local/share/troop is its owner's alone
//! bad  clock        40 s behind the coordinator's: tickets are refused beyond 5 s
//!        fix: timedatectl set-ntp true
//! ?    port         nobody to ask: no node is running here
//! ```
//!
//! It changes nothing, and works without a node too: what only a running one knows is then said to be unknown. What
//! can be proved from outside is: sockets are counted in the kernel's own lists, the sandbox is tried.

mod here;
mod node;
mod sockets;

use super::fault::Fault;
use super::{Context, print_json};
use owo_colors::OwoColorize;
use serde::Serialize;
use std::fmt::Display;
use std::io::Write;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    name: &'static str,
    state: State,
    detail: String,
    /// What to do, if anything is to be done.
    fix: Option<String>,
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Bad,
    Unknown,
}

fn ok(name: &'static str, detail: impl Display) -> Finding {
    Finding::new(name, State::Ok, detail)
}

fn bad(name: &'static str, detail: impl Display, fix: impl Display) -> Finding {
    Finding {
        fix: Some(fix.to_string()),
        ..Finding::new(name, State::Bad, detail)
    }
}

fn unknown(name: &'static str, detail: impl Display) -> Finding {
    Finding::new(name, State::Unknown, detail)
}

impl Finding {
    fn new(name: &'static str, state: State, detail: impl Display) -> Finding {
        Finding {
            name,
            state,
            detail: detail.to_string(),
            fix: None,
        }
    }
}

/// All findings, as an object.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    ok: bool,
    checks: &'a [Finding],
}

pub(super) fn go(context: &Context) -> Result<(), Fault> {
    let mut findings = here::look(context);
    findings.extend(node::look(context));
    let bad = findings.iter().filter(|found| found.state == State::Bad);
    let bad = bad.count();
    if context.json {
        print_json(&Report {
            schema: "troop.doctor/v1",
            ok: bad == 0,
            checks: &findings,
        })?;
    } else {
        for finding in &findings {
            draw(context, finding)?;
        }
    }
    match bad {
        0 => Ok(()),
        1 => Err(Fault::failed("one thing is not well").hint("what to do stands below it")),
        bad => Err(Fault::failed(format!("{bad} things are not well"))
            .hint("what to do stands below each")),
    }
}

/// Colour is never alone: the word says it too.
fn draw(context: &Context, finding: &Finding) -> Result<(), Fault> {
    let Finding {
        name,
        state,
        detail,
        fix,
    } = finding;
    if context.quiet && *state != State::Bad {
        return Ok(());
    }
    let mut out = anstream::stdout();
    let word = match state {
        State::Ok => "ok ".green().to_string(),
        State::Bad => "bad".red().to_string(),
        State::Unknown => "?  ".yellow().to_string(),
    };
    writeln!(out, "{word}  {name:<12} {detail}")?;
    if let Some(fix) = fix {
        writeln!(out, "       fix: {fix}")?;
    }
    Ok(())
}
