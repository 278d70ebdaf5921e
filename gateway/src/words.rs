//! `POST /tokenize` and `POST /detokenize`, in llama.cpp's shape: text to token ids and back.
//!
//! They take the road of every other request, because it is the engine that knows the words; they compute
//! nothing and cost nothing. A text that is longer than the model's context is refused with both numbers.

use crate::dialect::Whole;
use crate::json::Fields;
use crate::openai::prompts;
use crate::openai::request::token_ids;
use crate::problem::Problem;
use serde_json::{Map, Value, json};
use troop_actors::generate::{Generate, Likely, Prompt, Task};
use troop_actors::ids::Passport;
use troop_actors::session::protocol::Delivery;

/// A question about words, read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The model by the client's name for it; where it is the only one it need not be named.
    pub model: Option<String>,
    /// What is to be told in tokens, or what they are.
    pub prompt: Prompt,
    /// How the answer is written.
    pub answer: Answer,
}

/// What is wanted of the tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Their ids.
    Ids,
    /// Their ids and what each is written as.
    Pieces,
    /// The text they make.
    Text,
}

impl Question {
    /// Reads the body of `/tokenize`.
    pub fn tokenize(body: &Map<String, Value>) -> Result<Question, Problem> {
        let fields = Fields::new(body, "");
        let text = match fields.required("content")? {
            Value::String(text) => text.clone(),
            _ => return Err(fields.wrong("content", "a string")),
        };
        Ok(Question {
            model: fields.string("model")?.map(str::to_owned),
            prompt: Prompt::Marked {
                text,
                add_special: fields.bool("add_special")?.unwrap_or(false),
                parse_special: fields.bool("parse_special")?.unwrap_or(true),
            },
            answer: match fields.bool("with_pieces")?.unwrap_or(false) {
                true => Answer::Pieces,
                false => Answer::Ids,
            },
        })
    }

    /// Reads the body of `/detokenize`.
    pub fn detokenize(body: &Map<String, Value>) -> Result<Question, Problem> {
        let fields = Fields::new(body, "");
        fields.required("tokens")?;
        let ids = fields.array("tokens")?.and_then(token_ids);
        let ids = ids.ok_or_else(|| fields.out_of_bounds("tokens", "an array of token ids"))?;
        Ok(Question {
            model: fields.string("model")?.map(str::to_owned),
            prompt: Prompt::Tokens(ids),
            answer: Answer::Text,
        })
    }

    /// The request for `model`.
    pub fn generate(self, model: Passport) -> Generate {
        Generate {
            task: Task::Read,
            logprobs: Some(0),
            ..Generate::new(model, self.prompt)
        }
    }
}

/// Gathers the tokens.
pub struct Gathered {
    answer: Answer,
    tokens: Vec<Likely>,
}

impl Gathered {
    /// None yet.
    pub fn new(answer: Answer) -> Gathered {
        Gathered {
            answer,
            tokens: Vec::new(),
        }
    }

    fn body(&self) -> Value {
        let ids = self.tokens.iter().map(|token| token.id);
        match self.answer {
            Answer::Ids => json!({ "tokens": ids.collect::<Vec<u32>>() }),
            Answer::Pieces => {
                // A piece that is no text is told by its bytes, as llama.cpp does.
                let piece = |token: &Likely| match std::str::from_utf8(&token.bytes) {
                    Ok(text) => json!({ "id": token.id, "piece": text }),
                    Err(_) => json!({ "id": token.id, "piece": token.bytes }),
                };
                json!({ "tokens": self.tokens.iter().map(piece).collect::<Vec<Value>>() })
            }
            Answer::Text => {
                let bytes = self.tokens.iter().flat_map(|token| &token.bytes);
                let bytes: Vec<u8> = bytes.copied().collect();
                json!({ "content": String::from_utf8_lossy(&bytes) })
            }
        }
    }
}

impl Whole for Gathered {
    fn take(&mut self, _: usize, delivery: Delivery) -> Result<Option<Vec<u8>>, Problem> {
        match delivery {
            Delivery::Echo { tokens, .. } => {
                let odds = tokens.into_iter().map(|token| token.odds);
                self.tokens.extend(odds.flatten());
                Ok(None)
            }
            Delivery::Done { .. } => Ok(Some(self.body().to_string().into_bytes())),
            Delivery::Failed(trouble) => {
                let name = match self.answer {
                    Answer::Ids | Answer::Pieces => "content",
                    Answer::Text => "tokens",
                };
                Err(prompts::problem(&trouble, name, 0, 1))
            }
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_refused_by_its_name() {
        let read = |body: Value, back: bool| {
            let map = body.as_object().expect("an object");
            match back {
                true => Question::detokenize(map),
                false => Question::tokenize(map),
            }
        };
        let cases = [
            (json!({}), false, "content"),
            (json!({"content": 3}), false, "content"),
            (
                json!({"content": "a", "add_special": 1}),
                false,
                "add_special",
            ),
            (json!({"content": "a", "model": 1}), false, "model"),
            (json!({}), true, "tokens"),
            (json!({"tokens": "a"}), true, "tokens"),
            (json!({"tokens": [-1]}), true, "tokens"),
        ];
        for (body, back, param) in cases {
            let problem = read(body.clone(), back).expect_err(param);
            assert_eq!(problem.param.as_deref(), Some(param), "{body}");
        }
        let usual = read(json!({"content": "a"}), false).expect("good");
        let marked = Prompt::Marked {
            text: "a".to_owned(),
            add_special: false,
            parse_special: true,
        };
        assert_eq!((usual.prompt, usual.answer), (marked, Answer::Ids));
    }
}
