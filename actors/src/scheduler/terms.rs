//! What a request may use at a worker, and so what is held for it and what its ticket says.

use super::protocol::{
    ATTEMPTS_MAX, AVOID_MAX, Admit, Effect, HINTS_MAX, HoldOrder, Issue, ModelReport, Refusal,
};
use super::score::prompt_tokens;
use super::workers::Pick;
use crate::generate::CHOICES_MAX;
use crate::ids::{AttemptId, Class, HoldId, NodeId};
use crate::price::{Micros, Prices};
use crate::session::protocol::Patience;
use crate::ticket::Claims;

/// A place at a worker, with all that is ordered for it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) worker: NodeId,
    pub(super) hold: HoldOrder,
    patience: Patience,
    claims: Claims,
}

impl Place {
    /// A place for `admit` at the worker of `pick`; `None` if the most it could cost does not fit 64 bits.
    ///
    /// A token of a prompt has at least one byte, so bytes bound tokens and nobody needs a tokenizer here.
    pub(super) fn new(coordinator: NodeId, admit: &Admit, pick: &Pick) -> Option<Place> {
        let (worker, report) = (pick.worker, &pick.report);
        let turns = u64::from(admit.turns);
        let prompt_tokens_max = admit
            .prompt_bytes
            .saturating_add(report.overhead_fixed_bytes)
            .saturating_add(report.overhead_turn_bytes.saturating_mul(turns));
        let completion_tokens_max = tokens_max(admit);
        let prices = Prices::REFERENCE;
        let cost_max = prices.cost(prompt_tokens_max, completion_tokens_max)?;
        let hold = HoldId::of(admit.request);
        Some(Place {
            worker,
            hold: HoldOrder {
                request: admit.request,
                number: admit.number,
                payer: admit.payer,
                payee: pick.owner,
                client: admit.client,
                worker,
                prompt_tokens_max,
                completion_tokens_max,
                term_ms: HOLD_TERM_MS,
                standby: None,
                is_begun: false,
            },
            patience: Patience {
                silence_ms: silence_ms(report.step_ms),
                progress_ms: progress_ms(admit, report),
            },
            claims: Claims {
                issuer: coordinator,
                payer: admit.payer,
                worker,
                client: admit.client,
                issued_at: 0,
                issued_ms: 0,
                expires_at: 0,
                attempt: AttemptId::of(hold, admit.number),
                hold,
                request: admit.request,
                number: admit.number,
                model: admit.model,
                class: Class::of(&report.class),
                prompt_bytes_max: admit.prompt_bytes,
                completion_tokens_max,
                prices: prices.version(),
                cost_max,
                stream_seconds_max: STREAM_SECONDS_MAX,
                epoch: 0,
            },
        })
    }

    /// The class that its worker was of when it was chosen.
    pub(super) fn class(&self) -> Class {
        self.claims.class
    }

    /// The most it can cost.
    pub(super) fn cost_max(&self) -> Micros {
        self.claims.cost_max
    }

    /// The order for its ticket; the same for the same attempt.
    pub(super) fn issue(&self) -> Effect {
        Effect::Issue(Box::new(Issue {
            client: self.claims.client,
            patience: self.patience,
            claims: self.claims.clone(),
        }))
    }
}

/// Tokens of all choices together, at most.
pub(super) fn tokens_max(admit: &Admit) -> u64 {
    u64::from(admit.tokens_max).saturating_mul(admit.choices.into())
}

/// Whether the request is one that any worker could take.
pub(super) fn check(admit: &Admit) -> Result<(), Refusal> {
    if !(1..=CHOICES_MAX).contains(&admit.choices) {
        let message = format!("1 to {CHOICES_MAX} are allowed, not {}", admit.choices);
        return Err(invalid("choices", message));
    }
    if admit.number >= ATTEMPTS_MAX {
        let message = format!("a request has at most {ATTEMPTS_MAX} attempts");
        return Err(invalid("number", message));
    }
    if admit.avoid.len() > AVOID_MAX {
        let message = format!("at most {AVOID_MAX} workers are named");
        return Err(invalid("avoid", message));
    }
    if admit.hints.len() > HINTS_MAX {
        let message = format!("at most {HINTS_MAX} workers are named");
        return Err(invalid("hints", message));
    }
    if admit.tokens_max == 0 {
        return Err(invalid("tokens_max", "at least 1 is needed".to_owned()));
    }
    Ok(())
}

/// The refusal of a request that no worker of its model can ever take.
pub(super) fn too_large(admit: &Admit, choices_max: u32, tokens_max: u32) -> Refusal {
    if admit.choices > choices_max {
        let message = format!("workers of this model run {choices_max} at once, at most");
        return invalid("choices", message);
    }
    let message = format!("workers of this model see {tokens_max} tokens, at most");
    invalid("tokens_max", message)
}

/// The refusal of a request whose bound has no price.
pub(super) fn priceless() -> Refusal {
    let message = "the most it could cost is beyond any account".to_owned();
    invalid("tokens_max", message)
}

fn invalid(field: &str, message: String) -> Refusal {
    let field = field.to_owned();
    Refusal::Invalid { field, message }
}

/// How long a worker may say nothing: it speaks every second, between two steps, and a machine that others use as
/// well takes several times longer for one now and then.
fn silence_ms(step_ms: u32) -> u64 {
    let steps = u64::from(step_ms).saturating_mul(SILENCE_STEPS);
    steps.clamp(SILENCE_MS_MIN, SILENCE_MS_MAX)
}

/// How long a worker may get no further with `admit`: several times what its prompt takes as it was measured, and the
/// prompts of as many others as wait there, and a moment.
fn progress_ms(admit: &Admit, report: &ModelReport) -> u64 {
    let prompt = report.prefill_ms(prompt_tokens(admit, report)).unwrap_or(0);
    let turns = u64::from(report.sequences_waiting).saturating_add(1);
    let expected = prompt.saturating_mul(turns).saturating_mul(PROGRESS_TIMES);
    expected
        .saturating_add(PROGRESS_MS_MIN)
        .min(PROGRESS_MS_MAX)
}

const SILENCE_STEPS: u64 = 8;
const SILENCE_MS_MIN: u64 = 3_000;
const SILENCE_MS_MAX: u64 = 15_000;
const PROGRESS_TIMES: u64 = 4;
const PROGRESS_MS_MIN: u64 = 20_000;
const PROGRESS_MS_MAX: u64 = 300_000;

/// How long a stream may last once started.
const STREAM_SECONDS_MAX: u64 = 3_600;
/// A hold outlives the longest stream by half an hour, for a receipt to come late.
const HOLD_TERM_MS: u64 = (STREAM_SECONDS_MAX + 1_800) * 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_may_be_silent_for_some_of_its_longest_steps_within_bounds() {
        let cases = [(0, 3_000), (250, 3_000), (1_000, 8_000), (u32::MAX, 15_000)];
        for (step_ms, expected) in cases {
            assert_eq!(silence_ms(step_ms), expected);
        }
    }
}
