//! Why a request waited, ran where it did, and cost what it cost: what its session saw and what its scheduler decided.

use super::Actors;
use crate::backend::Backend;
use crate::control::{self, explain};
use crate::problem::Problem;
use crate::text::{plain, shown};
use hyper::StatusCode;
use troop_actors::contract::Time;
use troop_actors::ids::{AttemptId, HoldId, RequestId};
use troop_actors::scheduler::protocol::Refusal;
use troop_actors::scheduler::{self, ADMITTED_MAX, Candidate, Decision, Finding};
use troop_actors::session::{self, STORIES_MAX};

impl Actors {
    /// Puts together what is known of the request that `asked` names.
    pub(super) async fn explain_of(&self, asked: &str) -> Result<control::Explanation, Problem> {
        let request = named(asked).ok_or_else(|| {
            let message = format!(
                "{} is no request's id; it is what an answer calls its id, as in chatcmpl-, or its x-request-id",
                shown(asked)
            );
            Problem::field("request", message)
        })?;
        let directory = &self.node.directory;
        let seen = directory.find(|entries| entries.stories.about(request).cloned());
        let decided = self.scheduler().explain(request).await;
        let missing = decided
            .as_ref()
            .err()
            .map(|_| "the coordinator does not answer: its decisions are missing".to_owned());
        let decided = decided.ok().flatten();
        if seen.is_none() && decided.is_none() {
            return Err(match missing {
                Some(_) => Problem::unavailable("scheduler"),
                None => unknown(request),
            });
        }
        let mut explanation = put_together(request, self.node.clock.now(), decided, seen);
        explanation.missing = explanation.missing.or(missing);
        let models = self.models().await.unwrap_or_default();
        let model = &explanation.asked.model;
        let known = models
            .iter()
            .find(|known| *model == format!("sha256:{}", known.passport));
        explanation.asked.name = known.map(|known| known.name.clone());
        Ok(explanation)
    }
}

fn unknown(request: RequestId) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "request_not_found",
        format!(
            "nothing is known of request {request} here: a coordinator remembers its last {ADMITTED_MAX} requests, and \
             a node the last {STORIES_MAX} that were asked through it, until they are started again"
        ),
    )
}

/// The request that a client's word for it names: `chatcmpl-…`, `cmpl-…`, `req-…`, `call_…_0_0`, or the bare id.
fn named(asked: &str) -> Option<RequestId> {
    asked.split(['-', '_']).find_map(|part| part.parse().ok())
}

/// What the scheduler `decided` and the session has `seen`, as one story.
fn put_together(
    request: RequestId,
    now: Time,
    decided: Option<scheduler::Story>,
    seen: Option<session::Story>,
) -> control::Explanation {
    let asked = match (&decided, &seen) {
        (Some(story), _) => explain::Asked {
            model: format!("sha256:{}", story.model),
            name: None,
            client: Some(story.client.to_string()),
            member: story.payer.to_string(),
            prompt_bytes: Some(story.prompt_bytes),
            tokens_max: Some(story.tokens_max),
            choices: Some(story.choices),
        },
        (None, Some(story)) => explain::Asked {
            model: format!("sha256:{}", story.model),
            member: story.payer.to_string(),
            ..explain::Asked::default()
        },
        (None, None) => explain::Asked::default(),
    };
    let (state, reason) = state(decided.as_ref(), seen.as_ref());
    let missing = match (&decided, &seen) {
        (Some(_), None) => Some("the session was on another node, which knows how long it took"),
        (None, Some(_)) => Some("the coordinator does not remember its decisions"),
        _ => None,
    };
    control::Explanation {
        schema: "troop.explain/v1".to_owned(),
        request: request.to_string(),
        state: state.to_owned(),
        reason,
        fault: fault(decided.as_ref(), seen.as_ref()),
        asked,
        waits: decided
            .as_ref()
            .and_then(|story| story.waits.as_ref())
            .map(|waits| explain::Waits {
                ahead: waits.ahead,
                waited_ms: waits.waited_ms,
                candidates: waits.candidates.iter().map(candidate).collect(),
            }),
        attempts: attempts(request, decided.as_ref(), seen.as_ref()),
        timings: timings(now, decided.as_ref(), seen.as_ref()),
        bill: bill(decided.as_ref(), seen.as_ref()),
        missing: missing.map(str::to_owned),
    }
}

fn state(
    decided: Option<&scheduler::Story>,
    seen: Option<&session::Story>,
) -> (&'static str, Option<String>) {
    let last = decided.and_then(|story| story.decisions.last());
    let refusal = last.and_then(|last| last.outcome.as_ref().err());
    let ending = seen.and_then(|story| story.ending.as_ref());
    match (ending.map(|ending| &ending.outcome), refusal) {
        (Some(Ok(_)), _) => ("done", None),
        (Some(Err(_)), Some(refusal)) => ("refused", Some(plain(&refusal.to_string()))),
        (Some(Err((reason, _))), None) => ("failed", Some(plain(reason))),
        (None, _) if decided.is_some_and(|story| story.waits.is_some()) => ("waiting", None),
        (None, _) if decided.is_some_and(|story| story.finished.is_some()) => ("done", None),
        // A stream that was begun asks again.
        (None, Some(refusal)) if *refusal != Refusal::NoWorker => {
            ("refused", Some(plain(&refusal.to_string())))
        }
        (None, _) => ("running", None),
    }
}

/// Whose fault it is that a request failed or was refused.
fn fault(decided: Option<&scheduler::Story>, seen: Option<&session::Story>) -> Option<String> {
    let ending = seen.and_then(|story| story.ending.as_ref());
    let fault = match (ending, decided.and_then(|story| story.decisions.last())) {
        (Some(ending), _) => ending.outcome.as_ref().err().map(|(_, fault)| *fault),
        (None, Some(last)) => last.outcome.as_ref().err().map(Refusal::fault),
        (None, None) => None,
    };
    fault.map(|fault| fault.to_string())
}

fn attempts(
    request: RequestId,
    decided: Option<&scheduler::Story>,
    seen: Option<&session::Story>,
) -> Vec<explain::Attempt> {
    let run = |number| {
        let id = AttemptId::of(HoldId::of(request), number);
        let mut attempts = seen.into_iter().flat_map(|story| &story.attempts);
        attempts.find(|attempt| attempt.attempt == id)
    };
    let decisions = decided.map_or(&[][..], |story| &story.decisions);
    let mut lines: Vec<explain::Attempt> = decisions
        .iter()
        .map(|decision| {
            let run = run(decision.number).filter(|_| decision.outcome.is_ok());
            attempt(decision.number, Some(decision), run)
        })
        .collect();
    // What the coordinator has forgotten, the session may know.
    let seen = seen.map_or(&[][..], |story| &story.attempts);
    for (number, run) in seen.iter().enumerate() {
        let id = Some(run.attempt.to_string());
        if !lines.iter().any(|line| line.ticket == id) {
            lines.push(attempt(number as u32, None, Some(run)));
        }
    }
    lines
}

fn attempt(
    number: u32,
    decision: Option<&Decision>,
    run: Option<&session::Attempt>,
) -> explain::Attempt {
    let chosen = decision.and_then(|decision| decision.outcome.as_ref().ok());
    let worker = run.map(|run| &run.worker).or(chosen);
    let refused = decision.and_then(|decision| decision.outcome.as_ref().err());
    let since = |at: Time| run.map(|run| at.since_ms(run.granted));
    let lost = run.and_then(|run| run.lost.as_ref());
    let candidates = decision.map_or(&[][..], |decision| &decision.candidates);
    explain::Attempt {
        number,
        worker: worker.map(ToString::to_string),
        standby: decision
            .and_then(|decision| decision.standby)
            .map(|standby| standby.to_string()),
        refused: refused.map(|refusal| plain(&refusal.to_string())),
        waited_ms: decision.map(|decision| decision.waited_ms),
        ticket: run.map(|run| run.attempt.to_string()),
        started_ms: run.and_then(|run| run.started).and_then(since),
        lost_ms: lost.and_then(|(at, _)| since(*at)),
        lost: lost.map(|(_, loss)| plain(&loss.to_string())),
        fault: lost.map(|(_, loss)| loss.fault().to_string()),
        candidates: candidates.iter().map(candidate).collect(),
    }
}

fn candidate(found: &Candidate) -> explain::Candidate {
    explain::Candidate {
        worker: found.worker.to_string(),
        finding: match found.finding {
            Finding::Chosen => "chosen",
            Finding::Standby => "stands by",
            Finding::Free => "free",
            Finding::Full => "full",
            Finding::Avoided => "failed before",
            Finding::Left => "left before",
            Finding::TooSmall => "too small",
            Finding::NoMemory => "no memory",
            Finding::OtherClass => "other class",
            Finding::Absent => "held dead",
        }
        .to_owned(),
        first_ms: found.score.first_ms,
        finish_ms: found.score.finish_ms,
        score_ms: found.score.total_ms(),
        taken: found.taken,
        sequences_max: found.sequences_max,
        prefix_tokens: found.prefix_tokens,
    }
}

fn timings(
    now: Time,
    decided: Option<&scheduler::Story>,
    seen: Option<&session::Story>,
) -> explain::Timings {
    let queue_ms = decided.map(|story| {
        let served = story.decisions.iter();
        let served = served.filter(|decision| decision.outcome.is_ok());
        let waits = story.waits.as_ref().map_or(0, |waits| waits.waited_ms);
        served.map(|decision| decision.waited_ms).sum::<u64>() + waits
    });
    let Some(seen) = seen else {
        let over = decided.and_then(|story| Some(story.finished?.since_ms(story.asked)));
        return explain::Timings {
            queue_ms,
            total_ms: over,
            ..explain::Timings::default()
        };
    };
    let end = seen.ending.as_ref().map_or(now, |ending| ending.at);
    let tokens = match seen.ending.as_ref().map(|ending| &ending.outcome) {
        Some(Ok((_, _, tokens))) => Some(*tokens),
        _ => None,
    };
    let rate = |first: Time, tokens: u32| {
        let ms = end.since_ms(first);
        // The first token is where the time begins.
        (ms > 0 && tokens > 1).then(|| f64::from(tokens - 1) * 1000.0 / ms as f64)
    };
    explain::Timings {
        queue_ms,
        first_token_ms: seen.first.map(|first| first.since_ms(seen.began)),
        total_ms: Some(end.since_ms(seen.began)),
        tokens_per_second: seen
            .first
            .zip(tokens)
            .and_then(|(at, tokens)| rate(at, tokens)),
    }
}

fn bill(decided: Option<&scheduler::Story>, seen: Option<&session::Story>) -> explain::Bill {
    let outcome = seen.and_then(|story| story.ending.as_ref());
    let tokens = outcome.and_then(|ending| ending.outcome.as_ref().ok());
    explain::Bill {
        prompt_tokens: tokens.map(|(prompt, _, _)| *prompt),
        reused_tokens: tokens.map(|(_, reused, _)| *reused),
        completion_tokens: tokens.map(|(_, _, completion)| *completion),
        held_micros: decided.and_then(|story| story.held),
        paid_micros: decided.and_then(|story| story.paid),
        paid_by_voucher: decided.and_then(|story| story.paid.map(|_| story.vouched)),
    }
}

#[cfg(test)]
mod tests;
