//! A conversation at a terminal, as a pure core: what is typed and what is answered come in, what is to be
//! done goes out. It reads no terminal, no file and no clock.
//!
//! The conversation is kept here and sent whole each time. A turn is added when its answer has come, or as
//! much of it as was said before it was stopped; a question that got nothing is given back to be typed again.

mod commands;
mod kept;

use super::super::fault::{Code, Fault};
use super::answer::Answer;
use super::settings::Settings;
use super::timings;
use serde_json::{Map, Value, json};

/// A conversation with one model.
#[derive(Debug)]
pub(super) struct Chat {
    model: Model,
    system: Option<String>,
    settings: Settings,
    messages: Vec<Message>,
    gathering: Option<Gathering>,
    verbose: bool,
    /// Tokens of the conversation when it was last asked, with the answer.
    tokens: u64,
    /// When Ctrl-C was last typed, if nothing has been since.
    interrupted_ms: Option<u64>,
}

/// Whom it is with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Model {
    /// The name it is asked by.
    pub(super) name: String,
    /// Its digest.
    pub(super) digest: String,
    /// Tokens it sees.
    pub(super) context: u64,
}

/// One turn.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Message {
    role: Role,
    text: String,
    /// It was stopped, or broke off, before its end.
    cut: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    User,
    Assistant,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Assistant => "assistant",
        }
    }
}

/// Lines between two `"""`.
#[derive(Debug)]
struct Gathering {
    purpose: Purpose,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Message,
    System,
}

/// What may happen to a conversation.
#[derive(Debug)]
pub(super) enum Input {
    /// A line was typed, or pasted with line ends in it.
    Line(String),
    /// Ctrl-C at the prompt.
    Interrupt {
        /// When, on any clock that counts on.
        at_ms: u64,
    },
    /// Ctrl-D at the prompt.
    End,
    /// An answer has ended.
    Answered {
        /// What was said.
        answer: Box<Answer>,
        /// How it ended.
        end: End,
    },
    /// A file was read or written.
    File {
        /// What for.
        what: File,
        /// Its name, as it was typed.
        name: String,
        /// Its text, where it was read, or what was wrong.
        outcome: Result<String, String>,
    },
}

/// How an answer ended.
#[derive(Debug)]
pub(super) enum End {
    /// By itself.
    Whole,
    /// By Ctrl-C.
    Stopped,
    /// By a fault.
    Failed(Fault),
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum File {
    /// The form of answers is read from it.
    Schema,
    /// A conversation is read from it.
    Load,
    /// A conversation is written to it.
    Save,
}

/// What is to be done, in order.
#[derive(Debug)]
pub(super) enum Action {
    /// Ask the node; [`Input::Answered`] comes of it.
    Ask(Map<String, Value>),
    /// Data for a person who asked for it.
    Print(String),
    /// Something said besides.
    Say(String),
    /// Something was wrong; the conversation goes on.
    Complain(Fault),
    /// Keep in the history what was typed.
    Remember(String),
    /// Whether the history goes to its file.
    KeepHistory(bool),
    /// Whether answers are broken between words.
    WrapWords(bool),
    /// Put this at the next prompt, to be changed and sent.
    Offer(String),
    /// Read the file, or write `text` to it; [`Input::File`] comes of it.
    File {
        /// What for.
        what: File,
        /// Its name, as it was typed.
        name: String,
        /// What to write.
        text: String,
    },
    /// Leave, well or with a code.
    Leave(Option<Code>),
}

impl Chat {
    pub(super) fn new(
        model: Model,
        system: Option<String>,
        settings: Settings,
        verbose: bool,
    ) -> Chat {
        Chat {
            model,
            system,
            settings,
            messages: Vec::new(),
            gathering: None,
            verbose,
            tokens: 0,
            interrupted_ms: None,
        }
    }

    /// What stands before the line that is being typed.
    pub(super) fn prompt(&self) -> &'static str {
        match self.gathering {
            None => ">>> ",
            Some(_) => "... ",
        }
    }

    /// One step: what happened, and what is to be done about it.
    pub(super) fn step(&mut self, input: Input, out: &mut Vec<Action>) {
        let interrupted_ms = self.interrupted_ms.take();
        match input {
            Input::Line(line) => self.line(line, out),
            Input::Interrupt { at_ms } => self.interrupt(interrupted_ms, at_ms, out),
            Input::End => out.push(Action::Leave(None)),
            Input::Answered { answer, end } => self.answered(*answer, end, out),
            Input::File {
                what,
                name,
                outcome,
            } => self.file(what, &name, outcome, out),
        }
    }

    fn line(&mut self, line: String, out: &mut Vec<Action>) {
        if let Some(mut gathering) = self.gathering.take() {
            match line.trim_end().strip_suffix(FENCE) {
                Some(last) => {
                    gathering.text.push_str(last);
                    self.gathered(gathering, out);
                }
                None => {
                    gathering.text.push_str(&line);
                    gathering.text.push('\n');
                    if gathering.text.len() > MESSAGE_BYTES_MAX {
                        out.push(Action::Complain(too_long()));
                    } else {
                        self.gathering = Some(gathering);
                    }
                }
            }
            return;
        }
        let bare = line.trim();
        if bare.is_empty() {
        } else if let Some(rest) = bare.strip_prefix(FENCE) {
            self.fenced(Purpose::Message, rest, out);
        } else if let Some(command) = line.strip_prefix('/') {
            out.push(Action::Remember(line.clone()));
            self.command(command.trim(), out);
        } else {
            out.push(Action::Remember(line.clone()));
            self.ask(bare.to_owned(), out);
        }
    }

    /// After an opening `"""`: all of it on one line, or its first line.
    fn fenced(&mut self, purpose: Purpose, rest: &str, out: &mut Vec<Action>) {
        let whole = rest.strip_suffix(FENCE);
        let mut text = whole.unwrap_or(rest).to_owned();
        if whole.is_none() && !rest.is_empty() {
            text.push('\n');
        }
        let gathering = Gathering { purpose, text };
        match whole {
            Some(_) => self.gathered(gathering, out),
            None => self.gathering = Some(gathering),
        }
    }

    fn gathered(&mut self, gathering: Gathering, out: &mut Vec<Action>) {
        let text = gathering.text;
        match gathering.purpose {
            Purpose::Message => {
                out.push(Action::Remember(format!("{FENCE}{text}{FENCE}")));
                if !text.trim().is_empty() {
                    self.ask(text.trim_end().to_owned(), out);
                }
            }
            Purpose::System => {
                out.push(Action::Remember(format!(
                    "/set system {FENCE}{text}{FENCE}"
                )));
                self.set_system(text.trim_end(), out);
            }
        }
    }

    fn ask(&mut self, text: String, out: &mut Vec<Action>) {
        if text.len() > MESSAGE_BYTES_MAX {
            out.push(Action::Complain(too_long()));
            return;
        }
        self.messages.push(Message {
            role: Role::User,
            text,
            cut: false,
        });
        let said = |role: &str, text: &str| json!({ "role": role, "content": text });
        let system = self.system.iter().map(|text| said("system", text));
        let turns = self.messages.iter();
        let turns = turns.map(|message| said(message.role.name(), &message.text));
        let request = self
            .settings
            .request(&self.model.name, system.chain(turns).collect());
        out.push(Action::Ask(request));
    }

    fn answered(&mut self, answer: Answer, end: End, out: &mut Vec<Action>) {
        let cut = !matches!(end, End::Whole);
        // Nothing was said, so nothing was answered: some templates take no two turns of one side in a row.
        if cut && answer.text.is_empty() {
            if let Some(question) = self.messages.pop() {
                out.push(Action::Offer(question.text));
            }
        } else {
            self.messages.push(Message {
                role: Role::Assistant,
                text: answer.text.clone(),
                cut,
            });
        }
        match end {
            End::Whole => {
                self.tokens = answer.usage.prompt_tokens + answer.usage.completion_tokens;
                if answer.finish.as_deref() == Some("length") {
                    out.push(Action::Say(self.why_short()));
                }
                if self.verbose {
                    out.push(Action::Say(timings::report(&answer)));
                }
            }
            End::Stopped => out.push(Action::Say("[stopped]".to_owned())),
            End::Failed(fault) if fault.name == "context_length_exceeded" => {
                out.push(Action::Complain(fault.hint(
                    "your message was not added: make it shorter, or /clear to begin anew (/save FILE \
                     keeps this conversation)",
                )));
            }
            End::Failed(fault) => out.push(Action::Complain(fault)),
        }
    }

    /// Why an answer ended before it was over.
    fn why_short(&self) -> String {
        let context = self.model.context;
        match self.tokens >= context {
            true => format!(
                "[cut: {} tokens of conversation fill the context of {context}; /clear begins anew]",
                self.tokens
            ),
            false => "[cut: max_tokens]".to_owned(),
        }
    }

    fn interrupt(&mut self, before_ms: Option<u64>, at_ms: u64, out: &mut Vec<Action>) {
        if before_ms.is_some_and(|before| at_ms.saturating_sub(before) <= AT_ONCE_MS) {
            out.push(Action::Leave(Some(Code::Interrupted)));
            return;
        }
        self.interrupted_ms = Some(at_ms);
        let dropped = self.gathering.take().is_some();
        out.push(Action::Say(
            match dropped {
                true => "Dropped. Ctrl-D or /bye leaves, and so does Ctrl-C twice",
                false => "Ctrl-D or /bye leaves, and so does Ctrl-C twice",
            }
            .to_owned(),
        ));
    }
}

fn too_long() -> Fault {
    Fault::usage(format!(
        "a message has {MESSAGE_BYTES_MAX} bytes at most; nothing was sent"
    ))
    .hint("troop run MODEL < FILE takes more")
}

/// What a text of several lines stands between.
const FENCE: &str = "\"\"\"";
/// Bytes of one message: far more than a context holds, and little for a terminal.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Two Ctrl-C this close together are one wish.
const AT_ONCE_MS: u64 = 2_000;

#[cfg(test)]
mod tests;
