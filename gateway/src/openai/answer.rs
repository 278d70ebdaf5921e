//! From deliveries to what a chat client reads: chunks of a stream, or one whole answer.
//!
//! ```text
//! Started ─> one chunk per choice: delta {"role":"assistant","content":""}
//! Text    ─> delta {"content":…}
//! Ended   ─> delta {} and the finish reason, once per choice
//! Done    ─> if asked for: choices [] and the usage; then [DONE]
//! Failed  ─> {"error":…}, and nothing after it
//! ```

use super::error::ErrorBody;
use super::logprobs::{Logprobs, written_bytes};
use crate::dialect::{Events, Whole as Gather};
use crate::problem::Problem;
use hyper::StatusCode;
use serde::Serialize;
use troop_actors::generate::Finish;
use troop_actors::ids::{Passport, RequestId};
use troop_actors::session::protocol::{Delivery, Told, Trouble};

/// What every chunk of an answer repeats.
#[derive(Clone, Debug)]
pub struct Heading {
    /// The request.
    pub request: RequestId,
    /// When it was asked, in seconds since the Unix epoch.
    pub created: u64,
    /// The model, by the name the client used.
    pub model: String,
    /// What that name meant.
    pub passport: Passport,
    /// How many choices there are.
    pub choices: u32,
    /// Whether a stream ends with its usage.
    pub include_usage: bool,
    /// Whether the tokens are told of.
    pub logprobs: bool,
}

impl Heading {
    fn id(&self) -> String {
        format!("chatcmpl-{}", self.request)
    }

    fn fingerprint(&self) -> String {
        format!("fp_{}", &self.passport.to_string()[..12])
    }
}

#[derive(Serialize)]
struct Whole<'a> {
    id: String,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<WholeChoice<'a>>,
    usage: Usage,
    system_fingerprint: String,
}

#[derive(Serialize)]
struct WholeChoice<'a> {
    index: usize,
    message: Message<'a>,
    logprobs: Option<Logprobs<'a>>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
    refusal: Option<()>,
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    system_fingerprint: &'a str,
    choices: &'a [ChunkChoice<'a>],
    // Absent unless asked for; then null on every chunk but the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
}

#[derive(Serialize)]
struct ChunkChoice<'a> {
    index: u32,
    delta: Delta<'a>,
    logprobs: Option<Logprobs<'a>>,
    finish_reason: Option<&'static str>,
}

#[derive(Default, Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Usage {
    prompt_tokens: u32,
    completion_tokens: u32,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct PromptDetails {
    cached_tokens: u32,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct CompletionDetails {
    reasoning_tokens: u32,
}

impl Usage {
    fn of(prompt_tokens: u32, completion_tokens: u32) -> Usage {
        Usage {
            prompt_tokens,
            completion_tokens,
            total_tokens: u64::from(prompt_tokens) + u64::from(completion_tokens),
            // Engines keep nothing of a prompt from one request to the next.
            prompt_tokens_details: PromptDetails { cached_tokens: 0 },
            completion_tokens_details: CompletionDetails {
                reasoning_tokens: 0,
            },
        }
    }
}

fn reason(finish: Finish) -> Option<&'static str> {
    match finish {
        Finish::Stop => Some("stop"),
        Finish::Length => Some("length"),
        // Nobody who still listens has hung up: what follows is the error that says why.
        Finish::Cancelled => None,
    }
}

/// Writes a stream's events.
pub struct Stream {
    heading: Heading,
    id: String,
    fingerprint: String,
    over: bool,
}

impl Stream {
    /// A stream under `heading`.
    pub fn new(heading: Heading) -> Stream {
        Stream {
            id: heading.id(),
            fingerprint: heading.fingerprint(),
            heading,
            over: false,
        }
    }

    /// Whether the last event has been written.
    pub fn over(&self) -> bool {
        self.over
    }

    /// Appends to `out` the events that `delivery` becomes.
    pub fn write(&mut self, delivery: &Delivery, out: &mut Vec<u8>) {
        match delivery {
            Delivery::Waiting {
                ahead: Some(ahead), ..
            } => comment(&format!("queued, {ahead} before this one"), out),
            Delivery::Waiting {
                prefill: Some((done, total)),
                ..
            } => comment(
                &format!("reading the prompt, {done} of {total} tokens"),
                out,
            ),
            Delivery::Waiting { .. } => comment("waiting", out),
            // Nobody asks for either in a conversation.
            Delivery::Echo { .. } | Delivery::Embedding { .. } => {}
            Delivery::Started { .. } => {
                for index in 0..self.heading.choices {
                    let delta = Delta {
                        role: Some("assistant"),
                        content: Some(""),
                    };
                    self.choice(index, delta, &[], None, out);
                }
            }
            Delivery::Text {
                choice,
                text,
                tokens,
            } => {
                let delta = Delta {
                    role: None,
                    content: Some(text),
                };
                self.choice(*choice, delta, tokens, None, out);
            }
            Delivery::Ended { choice, finish } => {
                if let Some(reason) = reason(*finish) {
                    self.choice(*choice, Delta::default(), &[], Some(reason), out);
                }
            }
            Delivery::Done {
                prompt_tokens,
                completion_tokens,
            } => {
                if self.heading.include_usage {
                    let usage = Usage::of(*prompt_tokens, *completion_tokens);
                    self.chunk(&[], Some(usage), out);
                }
                out.extend_from_slice(b"data: [DONE]\n\n");
                self.over = true;
            }
            Delivery::Failed(trouble) => self.fail(&trouble.into(), out),
        }
    }

    /// Ends the stream with an error.
    pub fn fail(&mut self, problem: &Problem, out: &mut Vec<u8>) {
        event(&ErrorBody::of(problem), out);
        self.over = true;
    }

    fn choice(
        &self,
        index: u32,
        delta: Delta,
        tokens: &[Told],
        finish_reason: Option<&'static str>,
        out: &mut Vec<u8>,
    ) {
        let choice = ChunkChoice {
            index,
            delta,
            logprobs: (!tokens.is_empty()).then(|| Logprobs::of(tokens)),
            finish_reason,
        };
        self.chunk(&[choice], None, out);
    }

    fn chunk(&self, choices: &[ChunkChoice], usage: Option<Usage>, out: &mut Vec<u8>) {
        let chunk = Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.heading.created,
            model: &self.heading.model,
            system_fingerprint: &self.fingerprint,
            choices,
            usage: self.heading.include_usage.then_some(usage),
        };
        event(&chunk, out);
    }
}

impl Events for Stream {
    fn write(&mut self, _: usize, delivery: &Delivery, out: &mut Vec<u8>) {
        self.write(delivery, out);
    }

    fn fail(&mut self, problem: &Problem, out: &mut Vec<u8>) {
        self.fail(problem, out);
    }

    fn over(&self) -> bool {
        self.over
    }

    fn problem(&self, _: usize, trouble: &Trouble) -> Problem {
        trouble.into()
    }
}

/// One event. JSON escapes every line end, so nothing inside it can end the event or begin another.
fn event(content: &impl Serialize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    // Writing our own structs of strings and numbers into memory cannot fail.
    let _ = serde_json::to_writer(&mut *out, content);
    out.extend_from_slice(b"\n\n");
}

/// One comment, which clients skip. Only for words of our own, without line ends.
pub(crate) fn comment(words: &str, out: &mut Vec<u8>) {
    debug_assert!(!words.contains(['\r', '\n']));
    out.extend_from_slice(b": ");
    out.extend_from_slice(words.as_bytes());
    out.extend_from_slice(b"\n\n");
}

/// Gathers a whole answer.
pub struct Gathered {
    heading: Heading,
    choices: Vec<GatheredChoice>,
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
    pub fn new(heading: Heading, bytes_max: usize) -> Gathered {
        Gathered {
            choices: vec![GatheredChoice::default(); heading.choices as usize],
            heading,
            bytes: 0,
            bytes_max,
        }
    }

    /// Takes a delivery in; the answer's body, once it is complete.
    pub fn take(&mut self, delivery: Delivery) -> Result<Option<Vec<u8>>, Problem> {
        match delivery {
            Delivery::Waiting { .. }
            | Delivery::Started { .. }
            | Delivery::Echo { .. }
            | Delivery::Embedding { .. } => Ok(None),
            Delivery::Text {
                choice,
                text,
                tokens,
            } => {
                self.bytes += text.len() + written_bytes(&tokens);
                if self.bytes > self.bytes_max {
                    return Err(Problem::new(
                        StatusCode::BAD_GATEWAY,
                        "answer_too_large",
                        format!(
                            "the answer is longer than {} bytes; stream it",
                            self.bytes_max
                        ),
                    ));
                }
                let choice = self.choice(choice)?;
                choice.text.push_str(&text);
                choice.tokens.extend(tokens);
                Ok(None)
            }
            Delivery::Ended { choice, finish } => {
                self.choice(choice)?.finish_reason = reason(finish);
                Ok(None)
            }
            Delivery::Done {
                prompt_tokens,
                completion_tokens,
            } => Ok(Some(self.body(Usage::of(prompt_tokens, completion_tokens)))),
            Delivery::Failed(trouble) => Err((&trouble).into()),
        }
    }

    fn choice(&mut self, choice: u32) -> Result<&mut GatheredChoice, Problem> {
        self.choices.get_mut(choice as usize).ok_or_else(|| {
            Problem::new(
                StatusCode::BAD_GATEWAY,
                "bad_worker",
                "the worker answered a choice that was not asked for",
            )
        })
    }

    fn body(&self, usage: Usage) -> Vec<u8> {
        let choices = self
            .choices
            .iter()
            .enumerate()
            .map(|(index, choice)| WholeChoice {
                index,
                message: Message {
                    role: "assistant",
                    content: &choice.text,
                    refusal: None,
                },
                logprobs: (self.heading.logprobs).then(|| Logprobs::of(&choice.tokens)),
                finish_reason: choice.finish_reason,
            })
            .collect();
        let whole = Whole {
            id: self.heading.id(),
            object: "chat.completion",
            created: self.heading.created,
            model: &self.heading.model,
            choices,
            usage,
            system_fingerprint: self.heading.fingerprint(),
        };
        serde_json::to_vec(&whole).unwrap_or_default()
    }
}

impl Gather for Gathered {
    fn take(&mut self, _: usize, delivery: Delivery) -> Result<Option<Vec<u8>>, Problem> {
        self.take(delivery)
    }
}

#[cfg(test)]
mod tests;
