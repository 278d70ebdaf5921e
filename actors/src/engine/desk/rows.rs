//! What becomes of a step's numbers: a token drawn, a prompt told back with its odds, a vector.

use super::super::batch::{Place, Run};
use super::super::draft::Text;
use super::super::frames::FromEngine;
use super::{Desk, Forward, Words};
use crate::contract::Time;
use crate::generate::{Event, Likely};
use troop_kernels::sample::Sampled;

impl<F: Forward, W: Words> Desk<F, W> {
    /// Draws the next token of a sequence and says so; `None` if the sequence has ended with it.
    pub(super) fn draw(
        &mut self,
        now: Time,
        place: Place,
        logits: &[f32],
        out: &mut Vec<FromEngine>,
    ) -> Option<u32> {
        // An attempt may have failed by another of its choices a moment ago.
        let attempt = self.attempts.get_mut(&place.attempt)?;
        let choice = &mut attempt.choices[place.choice as usize];
        let position = choice.ids.len() as u32;
        let drawn = choice.draw(logits, &attempt.ending).and_then(|sampled| {
            choice.add(sampled.id, &attempt.ending, &self.words)?;
            if self.costs.is_some() {
                choice.drafter.drew(Text {
                    prompt: &attempt.prompt,
                    drawn: &choice.ids,
                });
            }
            Ok(sampled)
        });
        let sampled = match drawn {
            Ok(sampled) => sampled,
            Err(failure) => {
                self.close(place.attempt, Some(failure), out);
                return None;
            }
        };
        let id = sampled.id;
        attempt.spoke = now;
        self.stats.tokens += 1;
        let mut say = |event| {
            out.push(FromEngine::Event {
                attempt: place.attempt,
                event,
            });
        };
        say(Event::Token {
            choice: place.choice,
            position,
            id,
            bytes: attempt.ending.piece(id, &self.words).to_vec(),
            odds: odds(sampled, &self.words),
        });
        let Some(finish) = choice.finish else {
            return Some(id);
        };
        say(Event::Ended {
            choice: place.choice,
            tokens: position + 1,
            finish,
        });
        self.batch.end(place);
        if attempt.is_done() {
            self.close(place.attempt, None, out);
        }
        None
    }

    /// Tells back the tokens of a prompt that `rows`, the logits after each token of `run`, make certain.
    pub(super) fn echo(&mut self, now: Time, run: &Run, rows: &[f32], out: &mut Vec<FromEngine>) {
        let id = run.place.attempt;
        let Some(attempt) = self.attempts.get_mut(&id) else {
            return;
        };
        let rows = rows.chunks_exact(self.words.vocabulary() as usize);
        for (position, logits) in (run.start + 1..).zip(rows) {
            if let Some(event) = attempt.echo(position, logits, &self.words) {
                attempt.spoke = now;
                out.push(FromEngine::Event { attempt: id, event });
            }
        }
    }

    /// Adds the hidden states after each token of `run` to its prompt's vector, and tells it at the end.
    pub(super) fn embed(&mut self, now: Time, run: &Run, rows: &[f32], out: &mut Vec<FromEngine>) {
        let id = run.place.attempt;
        let Some(attempt) = self.attempts.get_mut(&id) else {
            return;
        };
        attempt.embed(run.start, run.tokens.len(), rows);
        if run.draws {
            attempt.spoke = now;
            let event = attempt.embedded();
            out.push(FromEngine::Event { attempt: id, event });
            self.batch.end(run.place);
            self.close(id, None, out);
        }
    }
}

/// How likely the token was that was drawn, and then the likeliest; nothing if nobody asked.
fn odds(sampled: Sampled, words: &impl Words) -> Vec<Likely> {
    let own = sampled.logprob.map(|logprob| (sampled.id, logprob));
    likely(own.into_iter().chain(sampled.top), words)
}

/// Tokens and their odds, with their names.
pub(super) fn likely(all: impl Iterator<Item = (u32, f64)>, words: &impl Words) -> Vec<Likely> {
    all.map(|(id, logprob)| Likely {
        id,
        bytes: words.name(id).to_vec(),
        logprob: logprob.into(),
    })
    .collect()
}
