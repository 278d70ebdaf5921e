//! One attempt: its prompt, its choices, and what is replayed of attempts before it.

use super::super::checks;
use super::Words;
use crate::contract::Time;
use crate::generate::{Event, Failure, Finish, ResumeChoice, Tally, Work};
use crate::receipt::transcript;
use crate::text::StopScan;
use std::sync::Arc;
use troop_kernels::sample::Sampler;

/// An attempt that is not closed yet.
pub(super) struct Attempt {
    pub(super) prompt: Arc<[u32]>,
    pub(super) choices: Vec<Choice>,
    pub(super) ending: Ending,
    /// When it last said something.
    pub(super) spoke: Time,
    /// The last step it took part in.
    pub(super) step: u64,
}

/// What ends a choice, besides stop strings.
#[derive(Clone, Copy)]
pub(super) struct Ending {
    /// Not the model's own end tokens.
    ignore_end: bool,
    /// This many tokens.
    tokens_max: u32,
}

/// One continuation of the prompt.
pub(super) struct Choice {
    pub(super) ids: Vec<u32>,
    pub(super) sampler: Sampler,
    scan: StopScan,
    pub(super) finish: Option<Finish>,
}

impl Choice {
    /// Takes note of the next token, drawn here or by an earlier attempt.
    pub(super) fn add(&mut self, id: u32, ending: Ending, words: &impl Words) {
        self.ids.push(id);
        self.sampler.accept(id);
        let stopped = self.scan.push(words.piece(id)).is_some();
        if stopped || words.is_end(id) && !ending.ignore_end {
            self.finish = Some(Finish::Stop);
        } else if self.ids.len() >= ending.tokens_max as usize {
            self.finish = Some(Finish::Length);
        }
    }
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
        let params = checks::generate(&generate, words.vocabulary())?;
        let (prompt, before) = match resume {
            Some(resume) => {
                checks::resume(&resume, &generate)?;
                (resume.prompt, resume.choices)
            }
            None => {
                let none = vec![ResumeChoice::default(); generate.choices as usize];
                (words.prompt(&generate.prompt, generate.now_seconds)?, none)
            }
        };
        checks::ids("prompt", &prompt, words.vocabulary())?;
        let length = u32::try_from(prompt.len()).unwrap_or(u32::MAX);
        if length == 0 {
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
        let ending = Ending {
            ignore_end: generate.ignore_end,
            tokens_max: generate.tokens_max.min(context - length),
        };
        let mut choices = Vec::with_capacity(before.len());
        for (index, before) in before.into_iter().enumerate() {
            checks::ids("resume.choices.ids", &before.ids, words.vocabulary())?;
            let mut choice = Choice {
                ids: Vec::with_capacity(before.ids.len()),
                sampler: Sampler::new(params.clone(), index as u32, &prompt),
                scan: StopScan::new(&generate.stop),
                finish: None,
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
                choice.add(*id, ending, words);
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
            choices.push(choice);
        }
        Ok(Attempt {
            prompt: prompt.into(),
            choices,
            ending,
            spoke: now,
            step: 0,
        })
    }

    /// What it amounts to so far, by the ids of this attempt and of those before it.
    pub(super) fn tally(&self) -> Tally {
        let tokens: usize = self.choices.iter().map(|choice| choice.ids.len()).sum();
        let ids = self.choices.iter().map(|choice| choice.ids.as_slice());
        Tally {
            prompt_tokens: self.prompt.len() as u32,
            completion_tokens: tokens as u32,
            transcript: transcript(&self.prompt, ids),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.choices.iter().all(|choice| choice.finish.is_some())
    }

    pub(super) fn length_max(&self) -> u32 {
        self.prompt.len() as u32 + self.ending.tokens_max
    }
}
