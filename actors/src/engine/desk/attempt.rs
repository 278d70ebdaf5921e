//! One attempt: its prompt, its choices, and what is replayed of attempts before it.

use super::super::batch::Reads;
use super::super::checks;
use super::super::draft::Drafter;
use super::Words;
use super::rows::likely;
use crate::contract::Time;
use crate::generate::{
    Event, Failure, Finish, Generate, Likely, Logprob, Prompt, ResumeChoice, Tally, Task, Vector,
    Work,
};
use crate::receipt::transcript;
use crate::text::StopScan;
use std::sync::Arc;
use troop_kernels::grammar::{Grammar, GrammarError, Matcher};
use troop_kernels::mean::Mean;
use troop_kernels::sample::{Sampled, Sampler, log_probabilities};

/// An attempt that is not closed yet.
pub(super) struct Attempt {
    pub(super) prompt: Arc<[u32]>,
    pub(super) choices: Vec<Choice>,
    pub(super) ending: Ending,
    task: Task,
    /// Of how many of the likeliest tokens is told.
    logprobs: Option<u8>,
    /// Tokens of the prompt that were told back.
    echoed: u32,
    mean: Option<Mean>,
    vector: Option<Vector>,
    /// When it last said something.
    pub(super) spoke: Time,
    /// The last step it took part in.
    pub(super) step: u64,
}

/// What ends a choice, besides stop strings.
pub(super) struct Ending {
    /// Not the model's own end tokens.
    ignore_end: bool,
    /// These tokens.
    stop_ids: Vec<u32>,
    /// This many tokens.
    tokens_max: u32,
    /// Nothing before it has so many.
    tokens_min: u32,
    /// The tokens that end nothing, as a sampler's mask; empty where nothing holds them back.
    going_on: Vec<u32>,
}

impl Ending {
    fn new(generate: &Generate, tokens_max: u32, words: &impl Words) -> Ending {
        let mut ending = Ending {
            ignore_end: generate.ignore_end,
            stop_ids: generate.stop_ids.clone(),
            tokens_max,
            tokens_min: generate.tokens_min,
            going_on: Vec::new(),
        };
        if ending.tokens_min > 0 {
            let vocabulary = words.vocabulary();
            let mut mask = vec![0; vocabulary.div_ceil(32) as usize];
            for id in (0..vocabulary).filter(|id| !ending.by(*id, words)) {
                mask[id as usize / 32] |= 1 << (id % 32);
            }
            ending.going_on = mask;
        }
        ending
    }

    /// Whether a choice ends with this token.
    fn by(&self, id: u32, words: &impl Words) -> bool {
        self.stop_ids.contains(&id) || words.is_end(id) && !self.ignore_end
    }

    /// What a token adds to the text: nothing, if a choice is told to end with it.
    pub(super) fn piece<'w>(&self, id: u32, words: &'w impl Words) -> &'w [u8] {
        match self.stop_ids.contains(&id) {
            true => &[],
            false => words.piece(id),
        }
    }

    /// What may be drawn at `position`; `None` where everything may.
    pub(super) fn mask(&self, position: u32) -> Option<&[u32]> {
        (position < self.tokens_min).then_some(&*self.going_on)
    }
}

/// One continuation of the prompt.
pub(super) struct Choice {
    pub(super) ids: Vec<u32>,
    pub(super) sampler: Sampler,
    scan: StopScan,
    /// Where it is in the shape it is to have, if it is to have one.
    shape: Option<Matcher>,
    pub(super) finish: Option<Finish>,
    pub(super) drafter: Drafter,
}

impl Choice {
    /// Chooses the next token and takes no note of it yet.
    pub(super) fn draw(&mut self, logits: &[f32], ending: &Ending) -> Result<Sampled, Failure> {
        let position = self.ids.len() as u32;
        let shaped = match &mut self.shape {
            Some(matcher) => matcher.mask().map_err(unshaped)?,
            None => None,
        };
        let going_on = ending.mask(position);
        let both = match (&shaped, going_on) {
            (Some(mask), Some(held)) => {
                let both = mask.iter().zip(held).map(|(one, other)| one & other);
                Some(both.collect::<Vec<u32>>())
            }
            _ => None,
        };
        // What is complete may end, however short it is: nothing else is left to say.
        let both = both.filter(|mask| mask.iter().any(|word| *word != 0));
        let mask = both.as_deref().or(shaped.as_deref()).or(going_on);
        (self.sampler.sample(logits, position.into(), mask))
            .map_err(|error| checks::invalid("sampling", error.to_string()))
    }

    /// Takes note of the next token, drawn here or by an earlier attempt.
    pub(super) fn add(
        &mut self,
        id: u32,
        ending: &Ending,
        words: &impl Words,
    ) -> Result<(), Failure> {
        // An end token ends what is complete, also where it is told to be ignored: nothing may follow.
        let ended = ending.by(id, words) || self.shape.is_some() && words.is_end(id);
        let mut complete = false;
        if let (Some(matcher), false) = (&mut self.shape, ended) {
            matcher.accept(id).map_err(unshaped)?;
            complete = matcher.is_over();
        }
        self.ids.push(id);
        self.sampler.accept(id);
        let stopped = self.scan.push(ending.piece(id, words)).is_some();
        if stopped || ended || complete {
            self.finish = Some(Finish::Stop);
        } else if self.ids.len() >= ending.tokens_max as usize {
            self.finish = Some(Finish::Length);
        }
        Ok(())
    }
}

/// The shape cannot go on: too much work, or tokens of an earlier attempt that do not have it.
fn unshaped(error: GrammarError) -> Failure {
    checks::invalid("response_format", error.why)
}

impl Attempt {
    /// Checks the work, tokenizes it, and replays what earlier attempts delivered.
    pub(super) fn open(
        now: Time,
        work: Work,
        words: &impl Words,
        context: u32,
        events: &mut Vec<Event>,
    ) -> Result<Attempt, Failure> {
        let Work { generate, resume } = work;
        // Before anything is made of it: between two steps there is no time to read what cannot be answered.
        let tokens_min = tokens_min(&generate.prompt, words.longest());
        if resume.is_none() && tokens_min >= context.into() {
            return Err(Failure::ContextLength {
                prompt: u32::try_from(tokens_min).unwrap_or(u32::MAX),
                context,
            });
        }
        let params = checks::generate(&generate, words.vocabulary())?;
        let grammar = words.grammar(&generate.shape)?;
        let (prompt, before) = match resume {
            Some(resume) => {
                checks::resume(&resume, &generate)?;
                (resume.prompt, resume.choices)
            }
            None => {
                let none = vec![ResumeChoice::default(); generate.choices as usize];
                let ids = words.prompt(&generate.prompt, &generate.shape, generate.now_seconds)?;
                (ids, none)
            }
        };
        checks::ids("prompt", &prompt, words.vocabulary())?;
        let length = u32::try_from(prompt.len()).unwrap_or(u32::MAX);
        if length == 0 && generate.task != Task::Read {
            return Err(Failure::EmptyPrompt);
        }
        if length >= context {
            return Err(Failure::ContextLength {
                prompt: length,
                context,
            });
        }
        events.push(Event::Started {
            prompt: prompt.clone(),
        });
        let tokens_max = generate.tokens_max.min(context - length);
        let (task, logprobs) = (generate.task, generate.logprobs);
        let mut echoed = 0;
        if matches!(task, Task::Echo | Task::Read) {
            // Where no odds are computed all of it is known already, else only what its first token is.
            echoed = match logprobs {
                Some(_) if task == Task::Echo => 1,
                _ => length,
            };
            let name = |id| {
                logprobs.map(|_| Likely {
                    id,
                    bytes: words.name(id).to_vec(),
                    logprob: Logprob::NONE,
                })
            };
            let tokens = (0..echoed).zip(&prompt);
            events.extend(tokens.map(|(position, id)| Event::Echo {
                position,
                bytes: words.piece(*id).to_vec(),
                odds: name(*id).into_iter().collect(),
            }));
        }
        let ending = Ending::new(&generate, tokens_max, words);
        let mut choices = Vec::with_capacity(before.len());
        for (index, before) in before.into_iter().enumerate() {
            checks::ids("resume.choices.ids", &before.ids, words.vocabulary())?;
            let mut choice = Choice {
                ids: Vec::with_capacity(before.ids.len()),
                sampler: Sampler::new(params.clone(), index as u32, &prompt),
                scan: StopScan::new(&generate.stop),
                shape: grammar.as_ref().map(Grammar::begin),
                finish: None,
                drafter: Drafter::default(),
            };
            for id in &before.ids {
                if choice.finish.is_some() {
                    return Err(checks::invalid(
                        "resume.choices.ids",
                        format!(
                            "choice {index} has {} tokens, but it ended after {}",
                            before.ids.len(),
                            choice.ids.len()
                        ),
                    ));
                }
                choice.add(*id, &ending, words)?;
            }
            match (before.finish, choice.finish) {
                (Some(said), _) => choice.finish = Some(said),
                // Its last token was delivered, its ending was not.
                (None, Some(finish)) => events.push(Event::Ended {
                    choice: index as u32,
                    tokens: choice.ids.len() as u32,
                    finish,
                }),
                (None, None) => {}
            }
            if task == Task::Read {
                choice.finish = Some(Finish::Stop);
                events.push(Event::Ended {
                    choice: index as u32,
                    tokens: 0,
                    finish: Finish::Stop,
                });
            }
            choices.push(choice);
        }
        Ok(Attempt {
            prompt: prompt.into(),
            choices,
            ending,
            task,
            logprobs,
            echoed,
            mean: None,
            vector: None,
            spoke: now,
            step: 0,
        })
    }

    /// What it amounts to so far, by the ids of this attempt and of those before it.
    pub(super) fn tally(&self) -> Tally {
        if let Some(vector) = &self.vector {
            return Tally::of_vector(&self.prompt, vector);
        }
        let tokens: usize = self.choices.iter().map(|choice| choice.ids.len()).sum();
        let ids = self.choices.iter().map(|choice| choice.ids.as_slice());
        Tally {
            prompt_tokens: self.prompt.len() as u32,
            completion_tokens: tokens as u32,
            transcript: transcript(&self.prompt, ids),
        }
    }

    /// What is read of its prompt.
    pub(super) fn reads(&self) -> Reads {
        match (self.task, self.logprobs) {
            (Task::Embed, _) => Reads::Hidden,
            (Task::Echo, Some(_)) => Reads::Every,
            _ => Reads::Last,
        }
    }

    /// The prompt's token at `position`, told back with its odds by the logits before it. Nothing, if it was
    /// told before or is not of the prompt.
    pub(super) fn echo(
        &mut self,
        position: u32,
        logits: &[f32],
        words: &impl Words,
    ) -> Option<Event> {
        let id = *self.prompt.get(position as usize)?;
        let count = self.logprobs.filter(|_| position == self.echoed)?;
        let (own, top) = log_probabilities(logits, id, count.into());
        self.echoed += 1;
        Some(Event::Echo {
            position,
            bytes: words.piece(id).to_vec(),
            odds: likely(std::iter::once((id, own)).chain(top), words),
        })
    }

    /// Adds what is new of the hidden states of `tokens` tokens from position `start` on.
    pub(super) fn embed(&mut self, start: u32, tokens: usize, rows: &[f32]) {
        let width = rows.len() / tokens;
        let mean = self.mean.get_or_insert_with(|| Mean::new(width));
        // A sequence that gave up its pages is evaluated again.
        let known = mean.count().saturating_sub(start as usize).min(tokens);
        mean.add(&rows[known * width..]);
    }

    /// The vector of the whole prompt, with which its choice ends.
    pub(super) fn embedded(&mut self) -> Event {
        let mean = self.mean.take();
        let mean = mean.expect("a prompt has tokens, and all of them were added");
        assert_eq!(mean.count(), self.prompt.len(), "each was added once");
        let vector = Vector::from(&*mean.result());
        self.vector = Some(vector.clone());
        self.choices[0].finish = Some(Finish::Stop);
        Event::Embedded { vector }
    }

    pub(super) fn is_done(&self) -> bool {
        self.choices.iter().all(|choice| choice.finish.is_some())
    }

    pub(super) fn length_max(&self) -> u32 {
        self.prompt.len() as u32 + self.ending.tokens_max
    }
}

/// Tokens that a prompt has at least, before it is rendered and read; `longest` is bytes of one token.
fn tokens_min(prompt: &Prompt, longest: u32) -> u64 {
    let text = match prompt {
        Prompt::Tokens(ids) => return ids.len() as u64,
        Prompt::Text(text) | Prompt::Marked { text, .. } => text.len(),
        Prompt::Chat(turns) => turns.iter().map(|turn| turn.content.len()).sum(),
    };
    (text as u64).div_ceil(u64::from(longest.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Generate, Shape, Turn};
    use crate::ids::Passport;

    /// Words that nobody is to read: three bytes a token.
    struct Unread;

    impl Words for Unread {
        fn prompt(
            &self,
            _prompt: &Prompt,
            _shape: &Shape,
            _now_seconds: u64,
        ) -> Result<Vec<u32>, Failure> {
            panic!("a prompt that cannot fit was read")
        }

        fn piece(&self, _id: u32) -> &[u8] {
            b"abc"
        }

        fn name(&self, _id: u32) -> &[u8] {
            b"abc"
        }

        fn is_end(&self, _id: u32) -> bool {
            false
        }

        fn vocabulary(&self) -> u32 {
            1
        }

        fn longest(&self) -> u32 {
            3
        }
    }

    #[test]
    fn a_prompt_that_cannot_fit_the_context_is_refused_unread() {
        let long = |bytes| "x".repeat(bytes);
        let turn = |content: String| Turn::new("user", content);
        for (prompt, tokens) in [
            (Prompt::Text(long(22)), 8),
            (Prompt::Chat(vec![turn(long(20)), turn(long(20))]), 14),
            (Prompt::Text(long(5 << 20)), 1_747_627),
            (Prompt::Tokens(vec![0; 9]), 9),
        ] {
            let generate = Generate::new(Passport([0; 32]), prompt);
            let resume = None;
            let work = Work { generate, resume };
            let opened = Attempt::open(Time(0), work, &Unread, 8, &mut Vec::new());
            let failure = Failure::ContextLength {
                prompt: tokens,
                context: 8,
            };
            assert_eq!(opened.err(), Some(failure));
        }
    }
}
