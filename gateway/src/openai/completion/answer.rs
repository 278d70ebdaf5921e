//! From deliveries to what a client of completions reads. Choice `c` of prompt `p` has index `p * n + c`.

use super::super::answer::{Heading, Usage, event, reason, too_large};
use super::super::logprobs::{Legacy, Offset, written_bytes};
use super::super::{error::ErrorBody, prompts};
use crate::dialect::{Events, Whole};
use crate::openai::answer::waiting;
use crate::problem::Problem;
use serde::Serialize;
use troop_actors::session::protocol::{Delivery, Told, Trouble};

/// What all answers to a request for completions have in common.
#[derive(Clone, Debug)]
pub struct Several {
    /// As for a conversation; `choices` are those of one prompt.
    pub heading: Heading,
    /// How many prompts there are.
    pub prompts: usize,
}

impl Several {
    fn id(&self) -> String {
        format!("cmpl-{}", self.heading.request)
    }

    fn index(&self, source: usize, choice: u32) -> usize {
        source * self.heading.choices as usize + choice as usize
    }

    fn indices(&self, source: usize) -> std::ops::Range<usize> {
        self.index(source, 0)..self.index(source + 1, 0)
    }

    fn problem(&self, source: usize, trouble: &Trouble) -> Problem {
        prompts::problem(trouble, "prompt", source, self.prompts)
    }
}

/// What is counted over all prompts.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    done: usize,
    prompt_tokens: u32,
    reused_tokens: u32,
    completion_tokens: u32,
}

impl Counted {
    fn add(&mut self, prompt_tokens: u32, reused_tokens: u32, completion_tokens: u32) {
        self.done += 1;
        self.prompt_tokens = self.prompt_tokens.saturating_add(prompt_tokens);
        self.reused_tokens = self.reused_tokens.saturating_add(reused_tokens);
        self.completion_tokens = self.completion_tokens.saturating_add(completion_tokens);
    }

    fn usage(&self) -> Usage {
        Usage::of(
            self.prompt_tokens,
            self.reused_tokens,
            self.completion_tokens,
        )
    }
}

#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    system_fingerprint: &'a str,
    choices: &'a [Choice<'a>],
    // Absent from a stream unless asked for; then null on every chunk but the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    text: &'a str,
    logprobs: Option<Legacy<'a>>,
    finish_reason: Option<&'static str>,
}

/// Writes a stream's events.
pub struct Stream {
    several: Several,
    id: String,
    fingerprint: String,
    /// How far the text of each choice has come.
    offsets: Vec<Offset>,
    counted: Counted,
    over: bool,
}

impl Stream {
    /// A stream for `several`.
    pub fn new(several: Several) -> Stream {
        Stream {
            id: several.id(),
            fingerprint: several.heading.fingerprint(),
            offsets: vec![Offset::default(); several.index(several.prompts, 0)],
            several,
            counted: Counted::default(),
            over: false,
        }
    }

    fn text(&mut self, index: usize, text: &str, tokens: &[Told], out: &mut Vec<u8>) {
        let Some(offset) = self.offsets.get_mut(index) else {
            return;
        };
        let logprobs = (!tokens.is_empty()).then(|| Legacy::of(tokens, offset));
        let choice = Choice {
            index,
            text,
            logprobs,
            finish_reason: None,
        };
        self.chunk(&[choice], None, out);
    }

    fn chunk(&self, choices: &[Choice], usage: Option<Usage>, out: &mut Vec<u8>) {
        let heading = &self.several.heading;
        let body = Body {
            id: &self.id,
            object: "text_completion",
            created: heading.created,
            model: &heading.model,
            system_fingerprint: &self.fingerprint,
            choices,
            usage: heading.include_usage.then_some(usage),
        };
        event(&body, out);
    }
}

impl Events for Stream {
    fn write(&mut self, source: usize, delivery: &Delivery, out: &mut Vec<u8>) {
        match delivery {
            Delivery::Waiting { ahead, prefill } => waiting(*ahead, *prefill, out),
            // Nobody asks for a vector or for tools here.
            Delivery::Started { .. }
            | Delivery::Embedding { .. }
            | Delivery::Call { .. }
            | Delivery::Arguments { .. } => {}
            Delivery::Echo { text, tokens } => {
                for index in self.several.indices(source) {
                    self.text(index, text, tokens, out);
                }
            }
            Delivery::Text {
                choice,
                text,
                tokens,
            } => {
                let index = self.several.index(source, *choice);
                self.text(index, text, tokens, out);
            }
            Delivery::Ended { choice, finish } => {
                if let Some(reason) = reason(*finish, false) {
                    let choice = Choice {
                        index: self.several.index(source, *choice),
                        text: "",
                        logprobs: None,
                        finish_reason: Some(reason),
                    };
                    self.chunk(&[choice], None, out);
                }
            }
            Delivery::Done {
                prompt_tokens,
                reused_tokens,
                completion_tokens,
            } => {
                let counted = &mut self.counted;
                counted.add(*prompt_tokens, *reused_tokens, *completion_tokens);
                if self.counted.done < self.several.prompts {
                    return;
                }
                if self.several.heading.include_usage {
                    self.chunk(&[], Some(self.counted.usage()), out);
                }
                out.extend_from_slice(b"data: [DONE]\n\n");
                self.over = true;
            }
            Delivery::Failed(trouble) => {
                let problem = self.several.problem(source, trouble);
                self.fail(&problem, out);
            }
        }
    }

    fn fail(&mut self, problem: &Problem, out: &mut Vec<u8>) {
        event(&ErrorBody::of(problem), out);
        self.over = true;
    }

    fn over(&self) -> bool {
        self.over
    }

    fn problem(&self, source: usize, trouble: &Trouble) -> Problem {
        self.several.problem(source, trouble)
    }
}

/// Gathers a whole answer.
pub struct Gathered {
    several: Several,
    choices: Vec<GatheredChoice>,
    counted: Counted,
    bytes: usize,
    bytes_max: usize,
}

/// One choice of it so far.
#[derive(Clone, Default)]
struct GatheredChoice {
    text: String,
    tokens: Vec<Told>,
    finish_reason: Option<&'static str>,
}

impl Gathered {
    /// Nothing yet, and never more than `bytes_max` of text.
    pub fn new(several: Several, bytes_max: usize) -> Gathered {
        Gathered {
            choices: vec![GatheredChoice::default(); several.index(several.prompts, 0)],
            several,
            counted: Counted::default(),
            bytes: 0,
            bytes_max,
        }
    }

    fn text(&mut self, index: usize, text: &str, tokens: &[Told]) -> Result<(), Problem> {
        self.bytes += text.len() + written_bytes(tokens);
        if self.bytes > self.bytes_max {
            return Err(too_large(self.bytes_max));
        }
        // The session lets no choice through that was not asked for.
        if let Some(choice) = self.choices.get_mut(index) {
            choice.text.push_str(text);
            choice.tokens.extend_from_slice(tokens);
        }
        Ok(())
    }

    fn body(&self) -> Vec<u8> {
        let heading = &self.several.heading;
        let choices = self.choices.iter().enumerate();
        let choices: Vec<Choice> = choices
            .map(|(index, choice)| Choice {
                index,
                text: &choice.text,
                logprobs: (heading.logprobs)
                    .then(|| Legacy::of(&choice.tokens, &mut Offset::default())),
                finish_reason: choice.finish_reason,
            })
            .collect();
        let body = Body {
            id: &self.several.id(),
            object: "text_completion",
            created: heading.created,
            model: &heading.model,
            system_fingerprint: &heading.fingerprint(),
            choices: &choices,
            usage: Some(Some(self.counted.usage())),
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }
}

impl Whole for Gathered {
    fn take(&mut self, source: usize, delivery: Delivery) -> Result<Option<Vec<u8>>, Problem> {
        match delivery {
            Delivery::Waiting { .. }
            | Delivery::Started { .. }
            | Delivery::Embedding { .. }
            | Delivery::Call { .. }
            | Delivery::Arguments { .. } => {}
            Delivery::Echo { text, tokens } => {
                for index in self.several.indices(source) {
                    self.text(index, &text, &tokens)?;
                }
            }
            Delivery::Text {
                choice,
                text,
                tokens,
            } => self.text(self.several.index(source, choice), &text, &tokens)?,
            Delivery::Ended { choice, finish } => {
                let index = self.several.index(source, choice);
                if let Some(choice) = self.choices.get_mut(index) {
                    choice.finish_reason = reason(finish, false);
                }
            }
            Delivery::Done {
                prompt_tokens,
                reused_tokens,
                completion_tokens,
            } => {
                let counted = &mut self.counted;
                counted.add(prompt_tokens, reused_tokens, completion_tokens);
                if self.counted.done == self.several.prompts {
                    return Ok(Some(self.body()));
                }
            }
            Delivery::Failed(trouble) => return Err(self.several.problem(source, &trouble)),
        }
        Ok(None)
    }
}
