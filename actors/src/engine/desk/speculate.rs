//! Drafts: who gets how many of them beside the token that is due, and which turn out right.
//!
//! ```text
//! evaluated   the  cat  sat  on        one known token, three drafts
//! drawn       cat  sat  up             in order, each from the logits after what was drawn before it
//!                       └ is no draft: it was drawn all the same, and `on` is forgotten
//! ```
//!
//! A token is drawn from the logits after the tokens before it, and those are the same numbers whether they come
//! one row a step or several. So drafts change how many steps a text takes, and nothing else of it.

use super::super::batch::{MORE_ROWS_MAX, Place, Plan, Run};
use super::super::draft::{Drafter, Text};
use super::super::frames::FromEngine;
use super::attempt::Attempt;
use super::{Desk, Forward, Words};
use crate::contract::Time;

impl<F: Forward, W: Words> Desk<F, W> {
    /// Gives the runs of a step as many drafts as are expected to make it faster. Beside prompts there are none: whoever
    /// waits for a first word would pay for them.
    pub(super) fn speculate(&mut self, plan: &mut Plan) {
        let draws = |run: &Run| run.draws && run.tokens.len() == 1;
        let Some(costs) = self.costs.as_ref().filter(|_| plan.runs.iter().all(draws)) else {
            return;
        };
        let hopes: Vec<Vec<f32>> = (plan.runs.iter())
            .map(|run| {
                self.drafting(run.place)
                    .map_or(Vec::new(), |(drafter, _)| drafter.hopes(MORE_ROWS_MAX))
            })
            .collect();
        let counts = costs.choose(&hopes, MORE_ROWS_MAX);
        for (run, count) in plan.runs.iter_mut().zip(counts) {
            if let Some((drafter, text)) = self.drafting(run.place)
                && count > 0
            {
                let drafts = drafter.drafts(text, count as usize);
                self.batch.draft(run, &drafts);
            }
        }
    }

    /// Draws after one token of `run` after the other, as long as the next one is what was drawn.
    pub(super) fn verify(&mut self, now: Time, run: &Run, rows: &[f32], out: &mut Vec<FromEngine>) {
        self.stats.drafted_tokens += run.tokens.len() as u64 - 1;
        let rows = rows.chunks_exact(self.words.vocabulary() as usize);
        for (index, logits) in rows.enumerate() {
            let position = run.start + index as u32;
            self.batch.evaluated(run.place, position..position + 1);
            let Some(id) = self.draw(now, run.place, logits, out) else {
                break;
            };
            self.batch.drew(run.place, id);
            if run.tokens.get(index + 1) != Some(&id) {
                break;
            }
            self.stats.accepted_tokens += 1;
        }
    }

    /// Something was wrong with the numbers of a run with drafts. It may have been a draft's fault, so the sequence
    /// goes on without any: what was wrong without them is met again.
    pub(super) fn doubt(&mut self, place: Place) {
        let attempt = self.attempts.get_mut(&place.attempt);
        let choice = attempt.and_then(|attempt| attempt.choices.get_mut(place.choice as usize));
        if let Some(choice) = choice {
            choice.drafter.bar();
        }
    }

    fn drafting(&self, place: Place) -> Option<(&Drafter, Text<'_>)> {
        let Attempt {
            prompt, choices, ..
        } = self.attempts.get(&place.attempt)?;
        let choice = choices.get(place.choice as usize)?;
        let drawn = &choice.ids;
        Some((&choice.drafter, Text { prompt, drawn }))
    }
}
