//! What has been received of an answer: ids by position, and the text they make.
//!
//! Whatever arrives is compared with what is here already. The same token again is ignored; a token at a
//! later position than the next one, or a different one at a known position, is a [`Breach`], and the
//! attempt that it came from is not believed any further.

use super::held::Held;
use super::protocol::{Delivery, Told};
use crate::generate::Tally;
use crate::generate::{Event, Finish, Generate, Likely, Resume, ResumeChoice, Shape, Task, Vector};
use crate::ids::NodeId;
use crate::receipt::transcript;
use crate::text::{CallStream, Part, TextStream};

/// The answer so far.
#[derive(Debug)]
pub(super) struct Answer {
    prompt: Option<Vec<u32>>,
    task: Task,
    echo: Echo,
    vector: Option<Vector>,
    /// Tokens of the prompt that the worker had in memory.
    reused: u32,
    choices: Vec<Choice>,
    tokens_max: u32,
    logprobs: Option<u8>,
}

/// What was told back of the prompt.
#[derive(Debug)]
struct Echo {
    tokens: usize,
    text: TextStream,
    held: Held,
}

#[derive(Debug)]
struct Choice {
    ids: Vec<u32>,
    text: TextStream,
    held: Held,
    /// Calls in the text, if there may be any.
    calls: Option<CallStream>,
    /// How many there were.
    called: u32,
    finish: Option<Finish>,
}

impl Choice {
    /// Says what is certain of the text, and the calls in it.
    fn tell(
        &mut self,
        choice: u32,
        text: String,
        tokens: Vec<Told>,
        say: &mut impl FnMut(Delivery),
    ) {
        let Some(calls) = &mut self.calls else {
            if !text.is_empty() || !tokens.is_empty() {
                say(Delivery::Text {
                    choice,
                    text,
                    tokens,
                });
            }
            return;
        };
        for part in calls.push(&text) {
            say(match part {
                Part::Text(text) => Delivery::Text {
                    choice,
                    text,
                    tokens: Vec::new(),
                },
                Part::Call { name } => {
                    self.called += 1;
                    Delivery::Call {
                        choice,
                        index: self.called - 1,
                        name,
                    }
                }
                Part::Arguments(text) => Delivery::Arguments {
                    choice,
                    // No arguments come before the call they belong to.
                    index: self.called.saturating_sub(1),
                    text,
                },
            });
        }
    }
}

/// Why an attempt is not believed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breach {
    /// Something before it was lost.
    Gap,
    /// It contradicts what was received before, or the request.
    Contradiction,
}

impl Answer {
    pub(super) fn new(generate: &Generate) -> Answer {
        let choice = |_| Choice {
            ids: Vec::new(),
            text: TextStream::new(&generate.stop),
            held: Held::default(),
            calls: match &generate.shape {
                Shape::Tools(tools) => Some(CallStream::new(tools.names())),
                Shape::Free | Shape::Object | Shape::Schema(_) => None,
            },
            called: 0,
            finish: None,
        };
        let choices = (0..generate.choices).map(choice).collect();
        Answer {
            prompt: None,
            task: generate.task,
            echo: Echo {
                tokens: 0,
                text: TextStream::new(&[]),
                held: Held::default(),
            },
            vector: None,
            reused: 0,
            choices,
            tokens_max: generate.tokens_max,
            logprobs: generate.logprobs,
        }
    }

    /// Whether anything of it is fixed already.
    pub(super) fn has_begun(&self) -> bool {
        self.prompt.is_some()
    }

    /// What the next attempt is to take up; nothing if none has begun.
    pub(super) fn resume(&self) -> Option<Resume> {
        let choice = |choice: &Choice| ResumeChoice {
            ids: choice.ids.clone(),
            // A vector is no place to go on from: whoever has to sign for it computes it.
            finish: choice.finish.filter(|_| self.vector.is_none()),
        };
        Some(Resume {
            prompt: self.prompt.clone()?,
            choices: self.choices.iter().map(choice).collect(),
        })
    }

    /// Tokens of the prompt that the last worker had in memory.
    pub(super) fn reused(&self) -> u32 {
        self.reused
    }

    /// Whether every choice has ended.
    pub(super) fn complete(&self) -> bool {
        self.choices.iter().all(|choice| choice.finish.is_some())
    }

    /// Tokens received so far; a vector counts as one.
    pub(super) fn tokens(&self) -> u32 {
        match self.vector {
            Some(_) => 1,
            None => self.choices.iter().map(|it| it.ids.len() as u32).sum(),
        }
    }

    /// What both sides would sign.
    pub(super) fn tally(&self) -> Tally {
        let prompt = self.prompt.as_deref().unwrap_or_default();
        if let Some(vector) = &self.vector {
            return Tally::of_vector(prompt, vector);
        }
        Tally {
            prompt_tokens: prompt.len() as u32,
            completion_tokens: self.tokens(),
            transcript: transcript(prompt, self.choices.iter().map(|choice| &choice.ids[..])),
        }
    }

    /// Takes what a worker says; `say` gets what the client sees of it.
    pub(super) fn take(
        &mut self,
        event: Event,
        worker: NodeId,
        mut say: impl FnMut(Delivery),
    ) -> Result<(), Breach> {
        match event {
            Event::Started { prompt } => match &self.prompt {
                None => {
                    say(Delivery::Started {
                        prompt_tokens: prompt.len() as u32,
                        worker,
                    });
                    self.prompt = Some(prompt);
                    Ok(())
                }
                Some(known) if *known == prompt => Ok(()),
                Some(_) => Err(Breach::Contradiction),
            },
            Event::Progress { done, total } => {
                say(Delivery::Waiting {
                    ahead: None,
                    prefill: Some((done, total)),
                });
                Ok(())
            }
            Event::Reused { tokens } => {
                let prompt = self.prompt.as_ref().ok_or(Breach::Gap)?;
                self.reused = tokens.min(prompt.len() as u32);
                Ok(())
            }
            Event::Echo {
                position,
                bytes,
                odds,
            } => self.take_echo(position as usize, bytes, odds, say),
            Event::Embedded { vector } => match &self.vector {
                Some(known) if *known == vector => Ok(()),
                None if self.task == Task::Embed && sound(&vector) => {
                    let state = self.begun(0)?;
                    state.finish = Some(Finish::Stop);
                    say(Delivery::Embedding {
                        vector: vector.clone(),
                    });
                    self.vector = Some(vector);
                    say(Delivery::Ended {
                        choice: 0,
                        finish: Finish::Stop,
                    });
                    Ok(())
                }
                _ => Err(Breach::Contradiction),
            },
            Event::Token {
                choice,
                position,
                id,
                bytes,
                odds,
            } => {
                let (tokens_max, index) = (self.tokens_max, position as usize);
                let asked = self.logprobs;
                let told_back = self.echo.tokens == self.prompt.as_ref().map_or(0, Vec::len);
                match self.task {
                    Task::Embed | Task::Read => return Err(Breach::Contradiction),
                    Task::Echo if !told_back => return Err(Breach::Gap),
                    Task::Echo | Task::Continue => {}
                }
                let state = self.begun(choice)?;
                if let Some(known) = state.ids.get(index) {
                    return if *known == id {
                        Ok(())
                    } else {
                        Err(Breach::Contradiction)
                    };
                }
                if index > state.ids.len() {
                    return Err(Breach::Gap);
                }
                // An engine stops at the same stop string, by the same scan of the same bytes.
                let over = state.finish.is_some() || state.text.stop().is_some();
                if over || position >= tokens_max || bytes.len() > TOKEN_BYTES_MAX {
                    return Err(Breach::Contradiction);
                }
                if !fitting(asked, id, &odds) {
                    return Err(Breach::Contradiction);
                }
                state.ids.push(id);
                let text = state.text.push(&bytes);
                if !odds.is_empty() {
                    state.held.push(Told { bytes, odds });
                }
                let tokens = match state.text.stop() {
                    Some(stop) => state.held.until(stop.begins),
                    None => state.held.certain(state.text.told()),
                };
                state.tell(choice, text, tokens, &mut say);
                Ok(())
            }
            Event::Ended {
                choice,
                tokens,
                finish,
            } => {
                let state = self.begun(choice)?;
                let known = state.ids.len();
                if tokens as usize > known {
                    return Err(Breach::Gap);
                }
                if (tokens as usize) < known || state.finish.is_some_and(|known| known != finish) {
                    return Err(Breach::Contradiction);
                }
                if state.text.stop().is_some() && finish == Finish::Length {
                    return Err(Breach::Contradiction);
                }
                if state.finish.is_none() {
                    state.finish = Some(finish);
                    let text = state.text.finish();
                    let tokens = state.held.rest();
                    state.tell(choice, text, tokens, &mut say);
                    if let Some(text) = state.calls.as_mut().and_then(CallStream::finish) {
                        let tokens = Vec::new();
                        say(Delivery::Text {
                            choice,
                            text,
                            tokens,
                        });
                    }
                    say(Delivery::Ended { choice, finish });
                }
                Ok(())
            }
        }
    }

    /// The next token of the prompt, told back.
    fn take_echo(
        &mut self,
        position: usize,
        bytes: Vec<u8>,
        odds: Vec<Likely>,
        mut say: impl FnMut(Delivery),
    ) -> Result<(), Breach> {
        let prompt = self.prompt.as_ref().ok_or(Breach::Gap)?;
        let echo = &mut self.echo;
        if position > echo.tokens {
            return Err(Breach::Gap);
        }
        // What comes again is not compared: it is nobody's to sign.
        if position < echo.tokens {
            return Ok(());
        }
        let id = *prompt.get(position).ok_or(Breach::Contradiction)?;
        let fits = fitting(self.logprobs, id, &odds);
        if !matches!(self.task, Task::Echo | Task::Read) || !fits || bytes.len() > TOKEN_BYTES_MAX {
            return Err(Breach::Contradiction);
        }
        echo.tokens += 1;
        let mut text = echo.text.push(&bytes);
        if !odds.is_empty() {
            echo.held.push(Told { bytes, odds });
        }
        let mut tokens = echo.held.certain(echo.text.told());
        if echo.tokens == prompt.len() {
            text.push_str(&echo.text.finish());
            tokens.extend(echo.held.rest());
        }
        if !text.is_empty() || !tokens.is_empty() {
            say(Delivery::Echo { text, tokens });
        }
        Ok(())
    }

    fn begun(&mut self, choice: u32) -> Result<&mut Choice, Breach> {
        if self.prompt.is_none() {
            return Err(Breach::Gap);
        }
        self.choices
            .get_mut(choice as usize)
            .ok_or(Breach::Contradiction)
    }
}

/// Whether `odds` are what was `asked` for of token `id`.
fn fitting(asked: Option<u8>, id: u32, odds: &[Likely]) -> bool {
    let own = odds.first().map(|own| own.id);
    let most = asked.map_or(0, |likeliest| 1 + usize::from(likeliest));
    own == asked.map(|_| id)
        && odds.len() <= most
        && odds.iter().all(|one| one.bytes.len() <= TOKEN_BYTES_MAX)
}

/// Whether a vector is one that a model may have.
fn sound(vector: &Vector) -> bool {
    (1..=VECTOR_WIDTH_MAX).contains(&vector.bits().len())
        && vector.values().all(|value| value.is_finite())
}

/// Numbers of a vector, at most: several times the width of the widest model.
const VECTOR_WIDTH_MAX: usize = 1 << 16;
/// Bytes of one token, at most: far beyond any vocabulary's longest.
const TOKEN_BYTES_MAX: usize = 4096;
