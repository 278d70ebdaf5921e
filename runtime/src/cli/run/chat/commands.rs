//! What a line that begins with `/` does.

use super::super::super::fault::Fault;
use super::super::settings::{Settings, json_format};
use super::{Action, Chat, FENCE, File, Purpose};
use troop_gateway::nearest;

impl Chat {
    /// Does what a line says after its `/`.
    pub(super) fn command(&mut self, line: &str, out: &mut Vec<Action>) {
        let (verb, rest) = split(line);
        match verb {
            "bye" | "exit" | "quit" => out.push(Action::Leave(None)),
            "?" | "help" => out.push(Action::Print(HELP.to_owned())),
            "clear" => {
                self.messages.clear();
                self.tokens = 0;
                let kept = match self.system {
                    Some(_) => "The conversation begins anew; the system message stays",
                    None => "The conversation begins anew",
                };
                out.push(Action::Say(kept.to_owned()));
            }
            "set" => self.set(rest, out),
            "show" => self.show(rest, out),
            "save" | "load" if rest.is_empty() => {
                out.push(wrong(
                    format!("/{verb} needs a file"),
                    &format!("/{verb} chat.json"),
                ));
            }
            "save" => out.push(Action::File {
                what: File::Save,
                name: rest.to_owned(),
                text: self.kept(),
            }),
            "load" => out.push(Action::File {
                what: File::Load,
                name: rest.to_owned(),
                text: String::new(),
            }),
            _ => out.push(unknown("/", verb, COMMANDS)),
        }
    }

    fn set(&mut self, line: &str, out: &mut Vec<Action>) {
        let (name, rest) = split(line);
        match name {
            "system" => match rest.strip_prefix(FENCE) {
                Some(first) => self.fenced(Purpose::System, first, out),
                None => self.set_system(rest, out),
            },
            "parameter" => match words(rest) {
                Ok(words) if words.is_empty() => self.show("parameters", out),
                Ok(words) => {
                    let set = self.settings.with(&words[0], &words[1..]);
                    let said = match words.len() {
                        1 => format!("{} is the node's own again", words[0]),
                        _ => format!("{} is set", words[0]),
                    };
                    self.take(set, said, out);
                }
                Err(what) => out.push(wrong(what, "/set parameter temperature 0.2")),
            },
            "format" => match rest {
                "" => out.push(wrong(
                    "/set format needs json, text or the file of a JSON schema".to_owned(),
                    "/set format json",
                )),
                "text" => {
                    let set = self.settings.formatted(None);
                    self.take(set, "Answers are plain text".to_owned(), out);
                }
                "json" => {
                    let set = self.settings.formatted(Some(json_format()));
                    self.take(set, "Answers are JSON objects".to_owned(), out);
                }
                name => out.push(Action::File {
                    what: File::Schema,
                    name: name.to_owned(),
                    text: String::new(),
                }),
            },
            "verbose" | "quiet" => {
                self.verbose = name == "verbose";
                let said = match self.verbose {
                    true => "What each answer took is said after it",
                    false => "What answers take is not said",
                };
                out.push(Action::Say(said.to_owned()));
            }
            "history" | "nohistory" => out.push(Action::KeepHistory(name == "history")),
            "wordwrap" | "nowordwrap" => out.push(Action::WrapWords(name == "wordwrap")),
            _ => out.push(unknown("/set ", name, SETTINGS)),
        }
    }

    pub(super) fn set_system(&mut self, text: &str, out: &mut Vec<Action>) {
        // What is quoted may begin or end with spaces; nothing at all takes the message back.
        let unquoted = text.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
        let text = unquoted.unwrap_or(text);
        self.system = (!text.is_empty()).then(|| text.to_owned());
        let said = match self.system {
            Some(_) => "The system message is set, from the next question on",
            None => "There is no system message",
        };
        out.push(Action::Say(said.to_owned()));
    }

    /// Keeps settings that are sound, or says what is wrong with them.
    pub(super) fn take(
        &mut self,
        settings: Result<Settings, String>,
        said: String,
        out: &mut Vec<Action>,
    ) {
        match settings {
            Ok(settings) => {
                self.settings = settings;
                out.push(Action::Say(said));
            }
            Err(what) => out.push(wrong(what, "/show parameters")),
        }
    }

    fn show(&self, what: &str, out: &mut Vec<Action>) {
        let text = match what {
            "info" => format!(
                "model         {}\ndigest        {}\ncontext       {} tokens\n\
                 conversation  {} messages, {} tokens when last asked",
                self.model.name,
                self.model.digest,
                self.model.context,
                self.messages.len(),
                self.tokens
            ),
            "parameters" => {
                let parameters = self.settings.parameters();
                let mut lines: Vec<_> = parameters
                    .iter()
                    .map(|(name, value)| format!("{name:<18} {value}"))
                    .collect();
                if let Some(format) = self.settings.format() {
                    lines.push(format!("{:<18} {format}", "format"));
                }
                if lines.is_empty() {
                    lines.push("None is set: the node chooses".to_owned());
                }
                lines.join("\n")
            }
            "system" => match &self.system {
                Some(text) => text.clone(),
                None => "There is no system message".to_owned(),
            },
            "messages" if self.messages.is_empty() => "Nothing was said yet".to_owned(),
            "messages" => {
                let messages = self.messages.iter().map(|message| {
                    let cut = if message.cut { " (cut)" } else { "" };
                    format!("{}{cut}:\n{}", message.role.name(), message.text)
                });
                messages.collect::<Vec<_>>().join("\n\n")
            }
            _ => return out.push(unknown("/show ", what, SHOWN)),
        };
        out.push(Action::Print(text));
    }
}

pub(super) fn wrong(what: String, hint: &str) -> Action {
    Action::Complain(Fault::usage(what).hint(hint))
}

fn unknown(before: &str, word: &str, known: &[&str]) -> Action {
    let near = nearest(word, known.iter().copied()).filter(|_| !word.is_empty());
    let hint = match (near, before) {
        (Some(near), _) => format!("did you mean {before}{near}?"),
        (None, "/") => "/? lists what there is; a space before the / makes it a message".to_owned(),
        (None, _) => format!("{before}{}", known.join(&format!(", {before}"))),
    };
    wrong(
        format!("there is no {}", format!("{before}{word}").trim()),
        &hint,
    )
}

/// The first word, and the rest without the spaces between.
fn split(line: &str) -> (&str, &str) {
    match line.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim()),
        None => (line, ""),
    }
}

/// The words of a line; those with spaces stand in quotes, where `\n`, `\t`, `\"` and `\\` mean what they do
/// elsewhere.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        if !rest.starts_with('"') {
            let (word, after) = split(rest);
            words.push(word.to_owned());
            rest = after;
            continue;
        }
        let mut strings = serde_json::Deserializer::from_str(rest).into_iter::<String>();
        let word = strings.next().and_then(Result::ok);
        words.push(word.ok_or("a quoted word ends with a quote")?);
        let end = strings.byte_offset();
        rest = rest[end..].trim_start();
    }
    Ok(words)
}

const COMMANDS: &[&str] = &[
    "set", "show", "clear", "load", "save", "help", "?", "bye", "exit", "quit",
];
const SETTINGS: &[&str] = &[
    "system",
    "parameter",
    "format",
    "verbose",
    "quiet",
    "history",
    "nohistory",
    "wordwrap",
    "nowordwrap",
];
const SHOWN: &[&str] = &["info", "parameters", "system", "messages"];
const HELP: &str = "\
/set system TEXT             what the model is told first; without TEXT nothing
/set parameter NAME VALUE    temperature, top_p, top_k, min_p, seed, max_tokens, stop, repeat_penalty,
                             frequency_penalty, presence_penalty; without VALUE the node's own
/set format json|text|FILE   answers as JSON, plain, or fitting the JSON schema in FILE
/set verbose|quiet           say what each answer took, or not
/set history|nohistory       keep what is typed for the next time, or not
/set wordwrap|nowordwrap     break answers between words, or not
/show info|parameters|system|messages
/clear                       begin anew
/save FILE, /load FILE       keep the conversation in a file, and go on with it
/bye                         leave; so does Ctrl-D

\"\"\" begins and ends a message of several lines. Ctrl-C stops an answer; what was said stays.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_in_quotes_where_they_need_them() {
        let cases: &[(&str, Option<&[&str]>)] = &[
            ("", Some(&[])),
            ("stop END", Some(&["stop", "END"])),
            (
                r#"stop "a b"  "\n\n" c"#,
                Some(&["stop", "a b", "\n\n", "c"]),
            ),
            (r#"stop "a"#, None),
            (r#"stop "\q""#, None),
        ];
        for (line, expected) in cases {
            let found = words(line).ok();
            let found = found
                .as_ref()
                .map(|words| words.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(found.as_deref(), *expected, "{line}");
        }
    }
}
