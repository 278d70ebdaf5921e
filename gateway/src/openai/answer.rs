//! From deliveries to what a chat client reads: chunks of a stream, or one whole answer.
//!
//! ```text
//! Started ─> one chunk per choice: delta {"role":"assistant","content":""}
//! Text    ─> delta {"content":…}
//! Call    ─> delta {"tool_calls":[{"index":…,"id":…,"type":"function","function":{"name":…,"arguments":""}}]}
//! Arguments> delta {"tool_calls":[{"index":…,"function":{"arguments":…}}]}
//! Ended   ─> delta {} and the finish reason, once per choice
//! Done    ─> if asked for: choices [] and the usage; then [DONE]
//! Failed  ─> {"error":…}, and nothing after it
//! ```

mod body;

use super::error::ErrorBody;
use super::logprobs::{Logprobs, written_bytes};
use super::tool_call::{CALL_BYTES, ToolCall, call_id};
use crate::dialect::{Events, Whole as Gather};
use crate::problem::Problem;
pub(super) use body::Usage;
use body::{Chunk, ChunkChoice, Delta, Message, Whole, WholeChoice};
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

    pub(super) fn fingerprint(&self) -> String {
        format!("fp_{}", &self.passport.to_string()[..12])
    }
}

/// `called` says whether tools were called.
pub(super) fn reason(finish: Finish, called: bool) -> Option<&'static str> {
    match finish {
        Finish::Stop if called => Some("tool_calls"),
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
    /// Of each choice, whether it has called a tool.
    called: Vec<bool>,
    over: bool,
}

impl Stream {
    /// A stream under `heading`.
    pub fn new(heading: Heading) -> Stream {
        Stream {
            id: heading.id(),
            fingerprint: heading.fingerprint(),
            called: vec![false; heading.choices as usize],
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
            Delivery::Waiting { ahead, prefill } => waiting(*ahead, *prefill, out),
            // Nobody asks for either in a conversation.
            Delivery::Echo { .. } | Delivery::Embedding { .. } => {}
            Delivery::Started { .. } => {
                for index in 0..self.heading.choices {
                    let delta = Delta {
                        role: Some("assistant"),
                        content: Some(""),
                        tool_calls: None,
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
                    content: Some(text),
                    ..Delta::default()
                };
                self.choice(*choice, delta, tokens, None, out);
            }
            Delivery::Call {
                choice,
                index,
                name,
            } => {
                if let Some(called) = self.called.get_mut(*choice as usize) {
                    *called = true;
                }
                let id = call_id(self.heading.request, *choice, *index);
                let begun = ToolCall::begun(Some(*index), id, name, "");
                self.call(*choice, begun, out);
            }
            Delivery::Arguments {
                choice,
                index,
                text,
            } => self.call(*choice, ToolCall::more(*index, text), out),
            Delivery::Ended { choice, finish } => {
                let called = self.called.get(*choice as usize) == Some(&true);
                if let Some(reason) = reason(*finish, called) {
                    self.choice(*choice, Delta::default(), &[], Some(reason), out);
                }
            }
            Delivery::Done {
                prompt_tokens,
                reused_tokens,
                completion_tokens,
            } => {
                if self.heading.include_usage {
                    let usage = Usage::of(*prompt_tokens, *reused_tokens, *completion_tokens);
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

    fn call(&self, choice: u32, call: ToolCall, out: &mut Vec<u8>) {
        let delta = Delta {
            tool_calls: Some([call]),
            ..Delta::default()
        };
        self.choice(choice, delta, &[], None, out);
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
pub(super) fn event(content: &impl Serialize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    // Writing our own structs of strings and numbers into memory cannot fail.
    let _ = serde_json::to_writer(&mut *out, content);
    out.extend_from_slice(b"\n\n");
}

/// Where a request stands before its first token, as a comment.
pub(crate) fn waiting(ahead: Option<u32>, prefill: Option<(u32, u32)>, out: &mut Vec<u8>) {
    let words = match (ahead, prefill) {
        (Some(ahead), _) => format!("queued, {ahead} before this one"),
        (None, Some((done, total))) => format!("reading the prompt, {done} of {total} tokens"),
        (None, None) => "waiting".to_owned(),
    };
    comment(&words, out);
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
    /// Names of the tools called and their arguments.
    calls: Vec<(String, String)>,
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
                self.grow(text.len() + written_bytes(&tokens))?;
                let choice = self.choice(choice)?;
                choice.text.push_str(&text);
                choice.tokens.extend(tokens);
                Ok(None)
            }
            Delivery::Call { choice, name, .. } => {
                self.grow(CALL_BYTES + name.len())?;
                self.choice(choice)?.calls.push((name, String::new()));
                Ok(None)
            }
            Delivery::Arguments { choice, text, .. } => {
                self.grow(text.len())?;
                if let Some((_, arguments)) = self.choice(choice)?.calls.last_mut() {
                    arguments.push_str(&text);
                }
                Ok(None)
            }
            Delivery::Ended { choice, finish } => {
                let choice = self.choice(choice)?;
                choice.finish_reason = reason(finish, !choice.calls.is_empty());
                Ok(None)
            }
            Delivery::Done {
                prompt_tokens,
                reused_tokens,
                completion_tokens,
            } => {
                let usage = Usage::of(prompt_tokens, reused_tokens, completion_tokens);
                Ok(Some(self.body(usage)))
            }
            Delivery::Failed(trouble) => Err((&trouble).into()),
        }
    }

    /// Makes room for more, or refuses to.
    fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        self.bytes += bytes;
        if self.bytes <= self.bytes_max {
            return Ok(());
        }
        Err(too_large(self.bytes_max))
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
                    // An answer that is only calls says nothing.
                    content: (choice.calls.is_empty() || !choice.text.is_empty())
                        .then_some(&choice.text),
                    refusal: None,
                    tool_calls: ToolCall::all(self.heading.request, index as u32, &choice.calls),
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

/// An answer that is not streamed would be longer than `bytes_max`.
pub(super) fn too_large(bytes_max: usize) -> Problem {
    Problem::new(
        StatusCode::BAD_GATEWAY,
        "answer_too_large",
        format!("the answer is longer than {bytes_max} bytes; stream it"),
    )
}

impl Gather for Gathered {
    fn take(&mut self, _: usize, delivery: Delivery) -> Result<Option<Vec<u8>>, Problem> {
        self.take(delivery)
    }
}

#[cfg(test)]
mod tests;
