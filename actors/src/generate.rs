//! The one request and the one stream of events that everything inside troop speaks.
//!
//! Every HTTP dialect is an adapter to [`Generate`] and from [`Event`]; every engine takes the one and
//! gives the other. Positions make delivery exactly-once: token `position` of choice `choice` is the same
//! token whoever computes it, so a stream is continued by anyone who knows the ids so far.

mod shape;

use crate::ids::Passport;
use serde::{Deserialize, Serialize};
pub use shape::{Shape, Tools};

/// What a client wants generated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generate {
    /// The model, by identity.
    pub model: Passport,
    /// What to continue.
    pub prompt: Prompt,
    /// What is wanted of it.
    pub task: Task,
    /// How to choose tokens.
    pub sampling: Sampling,
    /// How many independent continuations, 1 to [`CHOICES_MAX`].
    pub choices: u32,
    /// At most this many tokens for each choice; the model's context also limits them.
    pub tokens_max: u32,
    /// A choice ends before the first of these strings; at most [`STOPS_MAX`].
    pub stop: Vec<String>,
    /// A choice ends with any of these tokens, which add nothing to its text; at most [`STOP_IDS_MAX`].
    pub stop_ids: Vec<u32>,
    /// Go on past the model's own end tokens.
    pub ignore_end: bool,
    /// No token that ends a choice is drawn before it has so many; a stop string still ends it.
    pub tokens_min: u32,
    /// Tell of each token how likely it was, and of so many of the likeliest; at most [`LIKELIEST_MAX`].
    pub logprobs: Option<u8>,
    /// Seconds since the Unix epoch, for chat templates that print the date.
    pub now_seconds: u64,
    /// What the answer is to look like.
    pub shape: Shape,
}

impl Generate {
    /// One token after `prompt`, and nothing asked for beyond that.
    pub fn new(model: Passport, prompt: Prompt) -> Generate {
        Generate {
            model,
            prompt,
            task: Task::Continue,
            sampling: Sampling::default(),
            choices: 1,
            tokens_max: 1,
            stop: Vec::new(),
            stop_ids: Vec::new(),
            ignore_end: false,
            tokens_min: 0,
            logprobs: None,
            now_seconds: 0,
            shape: Shape::Free,
        }
    }

    /// Bytes of text the client supplied, which bound the tokens of the prompt.
    pub fn prompt_bytes(&self) -> u64 {
        self.prompt.bytes().saturating_add(self.shape.bytes())
    }
}

/// What is wanted of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// That it be continued.
    Continue,
    /// That it be told back token by token, with its odds if those are asked for, and then continued.
    Echo,
    /// One vector for all of it. Nothing is drawn: one choice, of one token at most.
    Embed,
    /// That its tokens be told, and no more: nothing is computed, and it costs nothing.
    Read,
}

/// What to continue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Prompt {
    /// A conversation, rendered by the model's own chat template. If its last turn is the assistant's, that
    /// turn is begun and not over: the answer continues it.
    Chat(Vec<Turn>),
    /// Text as it is; control tokens in it are not recognised.
    Text(String),
    /// Token ids as they are.
    Tokens(Vec<u32>),
    /// Text, read as its author says.
    Marked {
        /// The text.
        text: String,
        /// Whether the model's tokens for beginning and end are put around it.
        add_special: bool,
        /// Whether the text of a control token is that token.
        parse_special: bool,
    },
}

impl Prompt {
    /// Bytes of text the client supplied, which bound its tokens; for ids, their number.
    pub fn bytes(&self) -> u64 {
        match self {
            Prompt::Chat(turns) => turns
                .iter()
                .map(|turn| (turn.role.len() + turn.content.len() + turn.calls.len()) as u64)
                .sum(),
            Prompt::Text(text) | Prompt::Marked { text, .. } => text.len() as u64,
            Prompt::Tokens(ids) => ids.len() as u64,
        }
    }

    /// How many turns a template will wrap; 0 where none is applied.
    pub fn turns(&self) -> u32 {
        match self {
            Prompt::Chat(turns) => turns.len() as u32,
            Prompt::Text(_) | Prompt::Tokens(_) | Prompt::Marked { .. } => 0,
        }
    }
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// What was said.
    pub content: String,
    /// What was said beside that, as in the API: `tool_calls` of the assistant, `tool_call_id` and `name` of a
    /// tool. A JSON object as text; empty if there was nothing.
    pub calls: String,
}

impl Turn {
    /// Nothing but words.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Turn {
        Turn {
            role: role.into(),
            content: content.into(),
            calls: String::new(),
        }
    }
}

/// How tokens are chosen; rule 9 of `kernels/docs/arithmetic.md`. Neutral values switch a step off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// 0 takes the most likely token.
    pub temperature: f32,
    /// Keep the k most likely; 0 keeps all.
    pub top_k: u32,
    /// Keep the smallest set with at least this probability; 1 keeps all.
    pub top_p: f32,
    /// Keep tokens at least this likely relative to the first; 0 keeps all.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens already seen; 1 is off.
    pub repetition_penalty: f32,
    /// Subtracted once per earlier occurrence; 0 is off.
    pub frequency_penalty: f32,
    /// Subtracted once if there was any; 0 is off.
    pub presence_penalty: f32,
    /// Added to the logits of these tokens.
    pub logit_bias: Vec<(u32, f32)>,
    /// With choice and position, the key of every draw.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: 0,
        }
    }
}

/// A request as a worker gets it: from the start, or to be taken up where another attempt left off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// What is wanted.
    pub generate: Generate,
    /// What earlier attempts already delivered, if any did.
    pub resume: Option<Resume>,
}

impl Work {
    /// What was delivered before this attempt: what both sides sign for one that fails before it begins.
    pub fn delivered(&self) -> Tally {
        let none: &[u32] = &[];
        let (prompt, choices) = match &self.resume {
            Some(resume) => {
                let ids = resume.choices.iter().map(|choice| choice.ids.as_slice());
                (resume.prompt.as_slice(), ids.collect())
            }
            None => (
                none,
                vec![none; self.generate.choices.min(CHOICES_MAX) as usize],
            ),
        };
        let tokens: usize = choices.iter().map(|ids| ids.len()).sum();
        Tally {
            prompt_tokens: prompt.len() as u32,
            completion_tokens: tokens as u32,
            transcript: crate::receipt::transcript(prompt, choices),
        }
    }
}

/// Where to take up a stream: the prompt's ids and, for each choice, what the client already has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The prompt as the first attempt tokenized it.
    pub prompt: Vec<u32>,
    /// One for each choice, in order.
    pub choices: Vec<ResumeChoice>,
}

/// One choice's state at the moment its attempt was lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumeChoice {
    /// The ids delivered so far; the next token has this length as its position.
    pub ids: Vec<u32>,
    /// Set if this choice had ended already; nothing more is generated for it.
    pub finish: Option<Finish>,
}

/// What a worker says while it works. Counting starts at 0; each choice has its own positions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The prompt's ids, before the first token, once per attempt.
    Started {
        /// As tokenized by the worker, or as given in [`Resume`].
        prompt: Vec<u32>,
    },
    /// Still waiting or prefilling; also said at least once a second while there is nothing else to say.
    Progress {
        /// Prompt tokens evaluated.
        done: u32,
        /// Of this many.
        total: u32,
    },
    /// The beginning of the prompt was in memory, from earlier requests of the same member.
    Reused {
        /// So many tokens were not evaluated again.
        tokens: u32,
    },
    /// The next token of a prompt that is told; all of them come before the first token of a choice.
    Echo {
        /// Its place in the prompt.
        position: u32,
        /// What it is of the text, as in `Token`.
        bytes: Vec<u8>,
        /// As in `Token`, but of the first token it is only named: nothing is before it.
        odds: Vec<Likely>,
    },
    /// The vector of the prompt. With it the one choice has ended.
    Embedded {
        /// The mean of the hidden states after each of its tokens.
        vector: Vector,
    },
    /// The next token of a choice.
    Token {
        /// Which choice.
        choice: u32,
        /// Its place in the choice's output.
        position: u32,
        /// The token.
        id: u32,
        /// What it adds to the text; may end inside a character. Empty for a control token.
        bytes: Vec<u8>,
        /// How likely it was and then the likeliest, most likely first; empty where nobody asked.
        odds: Vec<Likely>,
    },
    /// A choice has ended.
    Ended {
        /// Which choice.
        choice: u32,
        /// How many tokens it has.
        tokens: u32,
        /// Why it ended.
        finish: Finish,
    },
}

/// A token and how likely the model held it to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Likely {
    /// The token.
    pub id: u32,
    /// What it is written as: its bytes, or the name of a control token.
    pub bytes: Vec<u8>,
    /// The natural logarithm of its probability.
    pub logprob: Logprob,
}

/// A logarithm of a probability, to the last bit: what a worker computed is what a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logprob(u64);

impl Logprob {
    /// Of a token before which there is nothing.
    pub const NONE: Logprob = Logprob(f64::NAN.to_bits());

    /// The number, if it is one.
    pub fn value(self) -> Option<f64> {
        Some(f64::from_bits(self.0)).filter(|value| value.is_finite())
    }
}

impl From<f64> for Logprob {
    fn from(value: f64) -> Logprob {
        Logprob(value.to_bits())
    }
}

/// Numbers of 32 bits, to the last bit: what a worker computed is what both sides sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vector(Vec<u32>);

impl Vector {
    /// The bits of each number. They stand for the ids of a choice in what is signed.
    pub fn bits(&self) -> &[u32] {
        &self.0
    }

    /// The numbers.
    pub fn values(&self) -> impl Iterator<Item = f32> + '_ {
        self.0.iter().map(|bits| f32::from_bits(*bits))
    }
}

impl From<&[f32]> for Vector {
    fn from(values: &[f32]) -> Vector {
        Vector(values.iter().map(|value| value.to_bits()).collect())
    }
}

/// Why a choice ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finish {
    /// The model ended its turn, or a stop string was met.
    Stop,
    /// `tokens_max` or the model's context was reached.
    Length,
    /// The client hung up.
    Cancelled,
}

/// Why an attempt failed for good: another worker would fail on it just the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    /// The prompt leaves no room in the model's context.
    #[error("the prompt has {prompt} tokens, the model's context is {context}")]
    ContextLength {
        /// Tokens of the prompt; as many as it has at least, where it was refused unread.
        prompt: u32,
        /// Tokens the model can see.
        context: u32,
    },
    /// The prompt is empty after tokenizing.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// A conversation was sent to a model that has no chat template.
    #[error("the model has no chat template")]
    NoTemplate,
    /// The template refused the conversation, or cost more than it may.
    #[error("the chat template refused the messages: {message}")]
    Template {
        /// What it said.
        message: String,
    },
    /// A field is outside what the engine accepts.
    #[error("{field}: {message}")]
    Invalid {
        /// The field of the request.
        field: String,
        /// What is wrong with it, and the limit.
        message: String,
    },
    /// The arithmetic left the finite numbers.
    #[error("{operation} of layer {layer} gave a number that is not finite")]
    NonFinite {
        /// Layer, from 0.
        layer: u32,
        /// Operation by name.
        operation: String,
    },
    /// The client hung up.
    #[error("cancelled")]
    Cancelled,
    /// The stream lasted as long as its ticket allows. What was delivered until then is paid for.
    #[error("the answer took longer than the {seconds} s that a request may take")]
    Overtime {
        /// The limit.
        seconds: u64,
    },
}

/// What an attempt amounted to: what both sides sign, and what is paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Tokens of the prompt, counted once per request.
    pub prompt_tokens: u32,
    /// Tokens of all choices, those of earlier attempts included. A vector counts as one.
    pub completion_tokens: u32,
    /// [`crate::receipt::transcript`] of the ids, or of a vector's bits.
    pub transcript: crate::ids::Digest,
}

impl Tally {
    /// Of a prompt whose vector was delivered.
    pub fn of_vector(prompt: &[u32], vector: &Vector) -> Tally {
        Tally {
            prompt_tokens: prompt.len() as u32,
            completion_tokens: 1,
            transcript: crate::receipt::transcript(prompt, [vector.bits()]),
        }
    }
}

/// Choices of one request, at most: each is a sequence of its own in the engine.
pub const CHOICES_MAX: u32 = 16;
/// Stop strings of one request, at most; the number OpenAI's API allows.
pub const STOPS_MAX: usize = 4;
/// Bytes of one stop string, at most: what is held back from a stream is bounded by it.
pub const STOP_BYTES_MAX: usize = 256;
/// Tokens of one request that end a choice, at most.
pub const STOP_IDS_MAX: usize = 64;
/// Likeliest tokens told of at each position, at most; the number OpenAI's API allows.
pub const LIKELIEST_MAX: u8 = 20;
