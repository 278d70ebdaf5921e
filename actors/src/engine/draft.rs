//! Guesses at the next tokens of a sequence, read off its own text (prompt lookup).
//!
//! ```text
//! … the cat sat on the mat . And then the cat sat │ on the mat
//!        └── alike ──┘└─ guess ─┘         └─ alike ─┘ └─ drafts ─┘
//! ```
//!
//! A text that repeats itself goes on as it did the last time: what followed the latest place that ends as the
//! text does now is guessed to follow again. Drafts are evaluated beside the token before them, and what is drawn
//! after each says whether the next one was right ([`super::desk`]); so a guess can save a step, and never change
//! a token.
//!
//! Guesses are made and judged at every token, also where nothing is drafted by them: that costs no arithmetic,
//! and so it is known of every sequence how often its guesses come true. What is worth drafting follows from
//! that and from what steps take ([`costs`]).
//!
//! This file reads ids and counts. It keeps nothing of the text, and looks back a bounded way.

mod costs;

pub(super) use costs::Costs;

/// A sequence's tokens: its prompt, and what was drawn since.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    /// The prompt.
    pub(super) prompt: &'a [u32],
    /// What follows it.
    pub(super) drawn: &'a [u32],
}

/// What is guessed of one sequence, and how well its guesses did.
#[derive(Clone, Debug)]
pub(super) struct Drafter {
    guess: Option<Guess>,
    /// By how much was alike: how often such a guess came true lately.
    odds: [f32; KINDS],
    /// Whether nothing is to be drafted any more.
    barred: bool,
}

/// That the next token is one that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Guess {
    /// Its place in the text.
    at: usize,
    /// How many tokens before it are those at the text's end.
    alike: u32,
}

impl Default for Drafter {
    fn default() -> Drafter {
        Drafter {
            guess: None,
            odds: ODDS_FIRST,
            barred: false,
        }
    }
}

impl Drafter {
    /// The last token of `text` was drawn: the guess at it is judged, and the next one made.
    pub(super) fn drew(&mut self, text: Text<'_>) {
        let last = text.len() - 1;
        if let Some(Guess { at, alike }) = self.guess.take() {
            let right = text.at(at) == text.at(last);
            let odds = &mut self.odds[kind(alike)];
            *odds += (f32::from(u8::from(right)) - *odds) * LEARNS;
            self.guess = right.then_some(Guess {
                at: at + 1,
                alike: alike + 1,
            });
        }
        self.guess = self.guess.or_else(|| text.guess());
    }

    /// The odds that the first so many drafts are all right, for one, two and more of them: `most` at most, and
    /// none that is not worth its row.
    pub(super) fn hopes(&self, most: u32) -> Vec<f32> {
        let Some(guess) = self.guess.filter(|_| !self.barred) else {
            return Vec::new();
        };
        let mut hope = 1.0_f32;
        let hopes = (0..most).map(|index| {
            hope *= self.odds[kind(guess.alike.saturating_add(index))];
            hope
        });
        hopes.take_while(|hope| *hope >= HOPE_MIN).collect()
    }

    /// The tokens that are guessed to follow `text`, which is what the last guess was made of.
    pub(super) fn drafts(&self, text: Text<'_>, count: usize) -> Vec<u32> {
        let mut drafts: Vec<u32> = Vec::with_capacity(count);
        if let Some(guess) = self.guess {
            for at in guess.at..guess.at + count {
                // Where the place that is repeated reaches the text's end, it goes on with itself.
                let token = match at.checked_sub(text.len()) {
                    None => text.at(at),
                    Some(beyond) => drafts[beyond],
                };
                drafts.push(token);
            }
        }
        drafts
    }

    /// Nothing is drafted for this sequence any more.
    pub(super) fn bar(&mut self) {
        self.barred = true;
    }
}

impl Text<'_> {
    fn len(&self) -> usize {
        self.prompt.len() + self.drawn.len()
    }

    fn at(&self, index: usize) -> u32 {
        match index.checked_sub(self.prompt.len()) {
            None => self.prompt[index],
            Some(index) => self.drawn[index],
        }
    }

    /// What followed the place that is most like the end, the latest of several.
    fn guess(&self) -> Option<Guess> {
        let last = self.len().checked_sub(1)?;
        let token = self.at(last);
        let from = last.saturating_sub(LOOK_BACK_MAX);
        let same = (from..last).rev().filter(|at| self.at(*at) == token);
        let mut best: Option<Guess> = None;
        for at in same.take(PLACES_MAX) {
            let before = (1..ALIKE_MAX as usize)
                .take_while(|back| at >= *back && self.at(at - back) == self.at(last - back));
            let alike = before.count() as u32 + 1;
            if alike >= ALIKE_MIN && best.is_none_or(|best| alike > best.alike) {
                best = Some(Guess { at: at + 1, alike });
            }
            if alike == ALIKE_MAX {
                break;
            }
        }
        best
    }
}

/// Guesses are judged by how much was alike: up to 2 tokens, up to 3, 7, 15, and more.
fn kind(alike: u32) -> usize {
    match alike {
        0..=2 => 0,
        3 => 1,
        4..=7 => 2,
        8..=15 => 3,
        _ => 4,
    }
}

const KINDS: usize = 5;
/// Odds before anything is known: what stories and copies have in common.
const ODDS_FIRST: [f32; KINDS] = [0.2, 0.4, 0.6, 0.8, 0.9];
/// What the latest guess counts for: the last dozen or so count.
const LEARNS: f32 = 1.0 / 12.0;
/// Odds below which a draft is not even weighed.
const HOPE_MIN: f32 = 0.1;
/// One token alike says nothing: most come again and again.
const ALIKE_MIN: u32 = 2;
/// More than these are not compared: who has so many in common is at the same place.
const ALIKE_MAX: u32 = 8;
/// How far a text is looked back through: some ten microseconds.
const LOOK_BACK_MAX: usize = 32_768;
/// Places that end with the same token, of which the latest are compared.
const PLACES_MAX: usize = 256;

#[cfg(test)]
mod tests;
