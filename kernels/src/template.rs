//! Chat templates: a conversation to the text its model was trained on.
//!
//! A template is a program from the model's file, and a message is text from a stranger. The first is run
//! with limits on its steps and its output; the second must never be able to write a control token. But
//! once rendered, one cannot see who wrote `<|im_end|>`. So a conversation is rendered a second time with
//! its strings *marked*, the marks are read off the result, and the marks count only if the result
//! without them equals the plain one. Three ways of marking are tried (template/mark.rs), from one that
//! marks every character to one that leaves nearly all comparisons a template might make as they are; if
//! a template reacts to all of them, what is used is the marked rendering itself, in which every
//! character that could begin or end a control token is known to be the user's or not. So a template may
//! trim, split or search messages; it cannot turn them into control tokens. A role is a word of the
//! template's own and must be one of a list.
//!
//! Templates here mean what they mean in Python's jinja2 as `transformers` sets it up: blocks are
//! trimmed, strings have Python's methods, `tojson` writes what `json.dumps` writes, and there are
//! `raise_exception` and, where the caller says what time it is, `strftime_now`.
//!
//! Bounded here: bytes of the template, words in a tag, branches, steps, recursion, and bytes of output. Not
//! bounded here, because the interpreter has no hook where a string or a list is made: the memory of a template
//! that doubles a string or a list at every step, by any of a dozen operators, filters and methods; the time to
//! compare lists doubled so; and, in a conversation of some hundred messages, the depth of lists put
//! into one another. The bound of these is that of the process that renders, which is an engine's child: it
//! ends where its sandbox's limit on memory is reached, or is ended when it has been silent too long.
//! `tests/template_memory.rs` shows the first.

mod engine;
mod json;
mod mark;
mod time;
mod tools;

use std::sync::Arc;

use minijinja::value::{Serde, Value};
use minijinja::{Environment, ErrorKind};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::gguf::Gguf;
use crate::tokenizer::{Origin, Segment, Tokenizer, TokenizerError};
use engine::{Limited, NAME, RENDERED_BYTES_MAX, environment, refused};
use mark::{Edges, Marking, Marks};
pub use tools::{in_words, tool_message};

/// A model's chat template, ready to render.
pub struct Template {
    environment: Environment<'static>,
    source: Arc<str>,
    edges: Edges,
    bos: String,
    eos: String,
    overhead: Overhead,
}

/// What a template is given.
#[derive(Clone, Copy, Debug)]
pub struct Conversation<'a> {
    /// The messages, as in the API: objects with at least `role`.
    pub messages: &'a [serde_json::Value],
    /// The tools, as in the API.
    pub tools: Option<&'a serde_json::Value>,
    /// Seconds since the Unix epoch, for templates that ask the date; without it they cannot.
    pub now_seconds: Option<u64>,
    /// Whether to end with the beginning of the assistant's answer.
    pub add_generation_prompt: bool,
}

/// How many bytes a template adds to those of the messages, as measured on empty messages of every role.
/// A token is at least one byte, so this bounds tokens too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overhead {
    /// For the conversation.
    pub fixed: u32,
    /// For each message.
    pub per_message: u32,
}

/// Why a conversation could not be rendered. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// The model's file has no template; such a model completes text and does not chat.
    #[error("tokenizer.chat_template: the model has no chat template; send it a plain prompt")]
    Missing,
    /// The template is no program.
    #[error("tokenizer.chat_template: {why}")]
    Invalid {
        /// What the parser says.
        why: String,
    },
    /// The template refuses this conversation, by its own words or by failing.
    #[error("the chat template refuses these messages: {why}")]
    Refused {
        /// What it says.
        why: String,
    },
    /// A message is not as it must be.
    #[error("messages[{index}].{field}: must be {limit}")]
    Message {
        /// Which one, from 0.
        index: usize,
        /// The field.
        field: &'static str,
        /// What is allowed.
        limit: &'static str,
    },
    /// The template takes too many steps or writes too much.
    #[error("tokenizer.chat_template: exceeds the limit of {limit} {what}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The rendered text cannot be encoded.
    #[error(transparent)]
    Tokens(#[from] TokenizerError),
}

/// A message with nothing but a role and a content.
pub fn message(role: &str, content: &str) -> serde_json::Value {
    serde_json::json!({ "role": role, "content": content })
}

impl Overhead {
    /// The most bytes a prompt of so many messages of so many bytes can have.
    pub fn bound(&self, messages: u64, bytes: u64) -> u64 {
        bytes
            .saturating_add(u64::from(self.fixed))
            .saturating_add(messages.saturating_mul(u64::from(self.per_message)))
    }
}

impl Template {
    /// The template of a file.
    pub fn load(gguf: &Gguf<'_>, tokenizer: &Tokenizer) -> Result<Template, TemplateError> {
        if !gguf.has("tokenizer.chat_template") {
            return Err(TemplateError::Missing);
        }
        let source = gguf
            .str("tokenizer.chat_template")
            .map_err(TokenizerError::from)?;
        Template::new(source, tokenizer)
    }

    /// A template from its source.
    pub fn new(source: &str, tokenizer: &Tokenizer) -> Result<Template, TemplateError> {
        let name = |id: Option<u32>| {
            let bytes = id.map(|id| tokenizer.name(id)).unwrap_or_default();
            String::from_utf8_lossy(bytes).into_owned()
        };
        let edges = Edges::of(tokenizer.control_texts());
        let mut template = Template {
            environment: environment(source)?,
            source: source.into(),
            edges,
            bos: name(tokenizer.bos()),
            eos: name(tokenizer.eos()),
            overhead: Overhead::default(),
        };
        template.overhead = template.measure()?;
        Ok(template)
    }

    /// Its source.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether this very template is one that people have read and found harmless.
    pub fn is_known(&self) -> bool {
        let digest = Sha256::digest(self.source.as_bytes());
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        KNOWN.contains(&hex.as_str())
    }

    /// How many bytes it adds to a conversation.
    pub fn overhead(&self) -> Overhead {
        self.overhead
    }

    /// The conversation as text, in runs with their origin.
    pub fn render(&self, conversation: &Conversation<'_>) -> Result<Vec<Segment>, TemplateError> {
        check(conversation)?;
        let plain = self.run(conversation, conversation.messages, conversation.tools)?;
        for marking in [
            Marking::Everything,
            Marking::EdgesReplaced,
            Marking::EdgesFlagged,
        ] {
            let marks = Marks::new(marking, &self.edges, &plain, conversation);
            let Some(marks) = marks else { continue };
            if let Ok(marked) = self.run_marked(conversation, &marks)
                && let Some(segments) = marks.read(&marked, Some(&plain))
            {
                return Ok(segments);
            }
        }
        let marks = Marks::last_resort(&self.edges);
        let marked = self.run_marked(conversation, &marks)?;
        marks.read(&marked, None).ok_or(TemplateError::Refused {
            why: "it rewrites messages in a way that cannot be followed".into(),
        })
    }

    /// The ids of the conversation and of `begun`, an answer that somebody has begun: what the model
    /// continues.
    pub fn prompt(
        &self,
        tokenizer: &Tokenizer,
        conversation: &Conversation<'_>,
        begun: &str,
    ) -> Result<Vec<u32>, TemplateError> {
        let mut segments = self.render(conversation)?;
        segments.push(Segment {
            text: begun.to_owned(),
            from: Origin::User,
        });
        let mut ids = tokenizer.encode_segments(&segments, true)?;
        // Many templates write the token the tokenizer also adds; the model has seen it once.
        if tokenizer.adds_bos()
            && ids.len() > 1
            && ids[0] == ids[1]
            && tokenizer.bos() == Some(ids[0])
        {
            ids.remove(0);
        }
        Ok(ids)
    }

    fn run_marked(
        &self,
        conversation: &Conversation<'_>,
        marks: &Marks,
    ) -> Result<String, TemplateError> {
        let messages: Vec<serde_json::Value> = conversation
            .messages
            .iter()
            .map(|message| marks.message(message))
            .collect();
        let tools = conversation.tools.map(|tools| marks.value(tools));
        self.run(conversation, &messages, tools.as_ref())
    }

    fn run(
        &self,
        conversation: &Conversation<'_>,
        messages: &[serde_json::Value],
        tools: Option<&serde_json::Value>,
    ) -> Result<String, TemplateError> {
        let mut context: Vec<(&str, Value)> = vec![
            ("messages", Value::from(Serde(messages))),
            (
                "add_generation_prompt",
                conversation.add_generation_prompt.into(),
            ),
            ("bos_token", self.bos.as_str().into()),
            ("eos_token", self.eos.as_str().into()),
        ];
        if let Some(tools) = tools {
            context.push(("tools", Value::from(Serde(tools))));
        }
        if let Some(now) = conversation.now_seconds {
            let tell = move |format: &str| {
                time::strftime(format, now)
                    .map_err(|why| minijinja::Error::new(ErrorKind::InvalidOperation, why))
            };
            context.push(("strftime_now", Value::from_function(tell)));
        }
        let context = Value::from_pairs(context);
        let fuel = FUEL.saturating_add(FUEL_PER_MESSAGE.saturating_mul(messages.len() as u64));
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(fuel));
        let template = environment
            .get_template(NAME)
            .map_err(|error| refused(error, fuel))?;
        let mut output = Limited {
            bytes: Vec::new(),
            full: false,
        };
        let result = template.render_captured_to(context, &mut output).map(drop);
        if output.full {
            let limit = RENDERED_BYTES_MAX as u64;
            return Err(TemplateError::TooMuch {
                what: "bytes of text",
                limit,
            });
        }
        result.map_err(|error| refused(error, fuel))?;
        String::from_utf8(output.bytes).map_err(|error| TemplateError::Refused {
            why: error.to_string(),
        })
    }

    /// Renders empty messages of every role, alone and after one another, and takes the worst. A template may
    /// refuse some of them; one that takes too much for empty messages is refused itself.
    fn measure(&self) -> Result<Overhead, TemplateError> {
        let bytes = |roles: &[&str]| {
            let messages: Vec<_> = roles.iter().map(|role| message(role, "")).collect();
            let conversation = Conversation {
                messages: &messages,
                tools: None,
                now_seconds: Some(0),
                add_generation_prompt: true,
            };
            match self.run(&conversation, conversation.messages, None) {
                Ok(text) => Ok(Some(text.len())),
                Err(error @ TemplateError::TooMuch { .. }) => Err(error),
                Err(_) => Ok(None),
            }
        };
        let roles = ["system", "user", "assistant", "tool"];
        let mut per_message = 0;
        for first in roles {
            for second in roles {
                let shorter = bytes(&[first, second])?;
                for third in roles {
                    if let (Some(two), Some(three)) = (shorter, bytes(&[first, second, third])?) {
                        per_message = per_message.max(three.saturating_sub(two));
                    }
                }
            }
        }
        let starts = [vec![], vec!["user"], vec!["system"], vec!["system", "user"]];
        let mut fixed = 0;
        for roles in &starts {
            fixed = fixed.max(bytes(roles)?.unwrap_or(0));
        }
        let small = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        Ok(Overhead {
            fixed: small(fixed),
            per_message: small(per_message),
        })
    }
}

impl std::fmt::Debug for Template {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Template")
            .field("bytes", &self.source.len())
            .finish()
    }
}

fn check(conversation: &Conversation<'_>) -> Result<(), TemplateError> {
    let limit = "one of system, user, assistant, tool, developer, function, ipython";
    for (index, message) in conversation.messages.iter().enumerate() {
        let role = message.get("role").and_then(serde_json::Value::as_str);
        if !role.is_some_and(|role| ROLES.contains(&role)) {
            return Err(TemplateError::Message {
                index,
                field: "role",
                limit,
            });
        }
        if !json::is_shallow(message) {
            let limit = "nested at most 64 deep";
            return Err(TemplateError::Message {
                index,
                field: "content",
                limit,
            });
        }
    }
    if !conversation.tools.is_none_or(json::is_shallow) {
        let limit = "tools nested at most 64 deep";
        return Err(TemplateError::Message {
            index: 0,
            field: "tools",
            limit,
        });
    }
    Ok(())
}

/// Steps of a template: real ones take some hundred, and 25 to 400 for each message. So few that lists put
/// into one another for as long as they last are not too deep to be walked.
const FUEL: u64 = 20_000;
const FUEL_PER_MESSAGE: u64 = 1_000;
const ROLES: [&str; 7] = [
    "system",
    "user",
    "assistant",
    "tool",
    "developer",
    "function",
    "ipython",
];
/// SHA-256 of templates read by people: SmolLM2-135M-Instruct.
const KNOWN: [&str; 1] = ["872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788"];

#[cfg(test)]
mod tests;
