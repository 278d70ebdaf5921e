//! A conversation in a file, and the other files a conversation reads.

use super::super::settings::{Settings, schema_format};
use super::commands::wrong;
use super::{Action, Chat, File, Message, Role};
use serde_json::{Value, json};
use std::path::Path;

impl Chat {
    /// The conversation as a file's text.
    pub(super) fn kept(&self) -> String {
        let messages = self.messages.iter().map(|message| {
            let mut kept = json!({ "role": message.role.name(), "content": message.text });
            if message.cut {
                kept["cut"] = true.into();
            }
            kept
        });
        let kept = json!({
            "schema": SCHEMA,
            "model": self.model.name,
            "system": self.system,
            "parameters": self.settings.parameters(),
            "format": self.settings.format(),
            "messages": messages.collect::<Vec<_>>(),
        });
        format!("{kept:#}\n")
    }

    /// A file was read or written.
    pub(super) fn file(
        &mut self,
        what: File,
        name: &str,
        outcome: Result<String, String>,
        out: &mut Vec<Action>,
    ) {
        let done = outcome.and_then(|text| match what {
            File::Save => Ok(format!("Saved in {name}")),
            File::Load => self.load(name, &text),
            File::Schema => {
                let schema = serde_json::from_str(&text).map_err(|error| error.to_string())?;
                let stem = Path::new(name).file_stem().and_then(|stem| stem.to_str());
                let format = schema_format(stem.unwrap_or_default(), schema);
                self.settings = self.settings.formatted(Some(format))?;
                Ok(format!("Answers fit the schema in {name}"))
            }
        });
        match done {
            Ok(said) => out.push(Action::Say(said)),
            Err(error) => out.push(wrong(
                format!("{name}: {error}"),
                "nothing was changed; try another file",
            )),
        }
    }

    /// Goes on with a conversation that was kept; all of it or nothing.
    fn load(&mut self, name: &str, text: &str) -> Result<String, String> {
        let kept: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if kept["schema"] != SCHEMA {
            return Err(format!(
                "this is no conversation: its schema is not {SCHEMA}"
            ));
        }
        let settings = Settings::of_kept(&kept["parameters"], kept.get("format"))?;
        let system = match &kept["system"] {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            _ => return Err("system must be a text".to_owned()),
        };
        let messages = kept["messages"].as_array();
        let messages = messages.ok_or("messages must be an array")?;
        let messages: Vec<Message> = messages
            .iter()
            .enumerate()
            .map(|(index, message)| {
                read(message).ok_or(format!("messages[{index}] is not a turn of this one"))
            })
            .collect::<Result<_, _>>()?;
        // Questions and answers take turns, and a question comes next.
        let sides = [Role::User, Role::Assistant];
        let turns = messages.iter().zip(sides.iter().cycle());
        if messages.len() % 2 == 1 || turns.into_iter().any(|(it, side)| it.role != *side) {
            return Err("messages must be questions and answers in turn".to_owned());
        }
        let with = match kept["model"].as_str() {
            Some(model) if model != self.model.name => {
                format!("; it was with {model} and goes on with {}", self.model.name)
            }
            _ => String::new(),
        };
        let count = messages.len();
        (self.settings, self.system, self.messages) = (settings, system, messages);
        self.tokens = 0;
        Ok(format!("{count} messages from {name}{with}"))
    }
}

fn read(message: &Value) -> Option<Message> {
    let role = match message["role"].as_str()? {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        _ => return None,
    };
    Some(Message {
        role,
        text: message["content"].as_str()?.to_owned(),
        cut: message["cut"] == true,
    })
}

/// The form of the file.
const SCHEMA: &str = "troop.chat/v1";
