//! Calls of tools in the text of an answer.
//!
//! What is told of a call, its name and then its arguments in pieces, is a function of the text so far. What
//! looks like the beginning of a call and is none is text after all. White space before a call belongs to
//! neither.

use troop_kernels::grammar::{CALL_ARGUMENTS, CALL_CLOSE, CALL_NAME, CALL_OPEN};

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text.
    Text(String),
    /// A call begins.
    Call {
        /// The tool.
        name: String,
    },
    /// More of the arguments of the call that began last: JSON.
    Arguments(String),
}

/// One choice's parts as its text grows.
#[derive(Clone, Debug)]
pub struct CallStream {
    /// The beginning of a call of each tool.
    heads: Vec<(String, String)>,
    held: String,
    stage: Stage,
    called: bool,
}

#[derive(Clone, Debug)]
enum Stage {
    Text,
    Arguments {
        depth: u32,
        quoted: bool,
        escaped: bool,
    },
    Closing,
}

impl CallStream {
    /// For tools of these names.
    pub fn new(names: impl IntoIterator<Item = String>) -> CallStream {
        let head = |name: String| {
            let head = format!("{CALL_OPEN}{CALL_NAME}{name}{CALL_ARGUMENTS}");
            (name, head)
        };
        CallStream {
            heads: names.into_iter().map(head).collect(),
            held: String::new(),
            stage: Stage::Text,
            called: false,
        }
    }

    /// Takes more text and returns the parts that are certain now.
    pub fn push(&mut self, text: &str) -> Vec<Part> {
        self.held.push_str(text);
        let mut parts = Vec::new();
        while self.step(&mut parts) {}
        parts
    }

    /// No more text will come: what was held back and is text after all.
    pub fn finish(&mut self) -> Option<String> {
        let held = std::mem::take(&mut self.held);
        let text = matches!(self.stage, Stage::Text);
        let blank = self.called && held.trim().is_empty();
        (text && !held.is_empty() && !blank).then_some(held)
    }

    /// Decides about what is held, as far as it goes; whether there may be more to decide.
    fn step(&mut self, parts: &mut Vec<Part>) -> bool {
        match &mut self.stage {
            Stage::Text => self.text(parts),
            Stage::Arguments {
                depth,
                quoted,
                escaped,
            } => {
                let mut end = None;
                for (at, byte) in self.held.bytes().enumerate() {
                    match byte {
                        _ if *escaped => *escaped = false,
                        b'\\' if *quoted => *escaped = true,
                        b'"' => *quoted = !*quoted,
                        b'{' | b'[' if !*quoted => *depth += 1,
                        b'}' | b']' if !*quoted => {
                            *depth = depth.saturating_sub(1);
                            if *depth == 0 {
                                end = Some(at + 1);
                                break;
                            }
                        }
                        _ => {}
                    }
                }
                let told: String = self.held.drain(..end.unwrap_or(self.held.len())).collect();
                if !told.is_empty() {
                    parts.push(Part::Arguments(told));
                }
                if end.is_some() {
                    self.stage = Stage::Closing;
                }
                end.is_some()
            }
            Stage::Closing => {
                if let Some(rest) = self.held.strip_prefix(CALL_CLOSE) {
                    self.held = rest.to_owned();
                    self.stage = Stage::Text;
                    return true;
                }
                if CALL_CLOSE.starts_with(&self.held) {
                    return false;
                }
                // No grammar lets this through; a worker that says it all the same has said text.
                self.stage = Stage::Text;
                true
            }
        }
    }

    fn text(&mut self, parts: &mut Vec<Part>) -> bool {
        let found = self.held.find(CALL_OPEN);
        // Up to here it is text, but for white space, which is only if no call follows.
        let sure = match found {
            Some(at) => at,
            None => {
                let begun = (1..CALL_OPEN.len())
                    .rev()
                    .find(|length| self.held.ends_with(&CALL_OPEN[..*length]));
                self.held.len() - begun.unwrap_or(0)
            }
        };
        let sure = self.held[..sure].trim_end().len();
        let Some(at) = found else {
            self.say(sure, parts);
            return false;
        };
        let rest = &self.held[at..];
        if let Some((name, head)) = self
            .heads
            .iter()
            .find(|(_, head)| rest.starts_with(head.as_str()))
        {
            let (name, length) = (name.clone(), head.len());
            self.say(sure, parts);
            let blank = at - sure;
            self.held.drain(..blank + length);
            parts.push(Part::Call { name });
            self.called = true;
            self.stage = Stage::Arguments {
                depth: 0,
                quoted: false,
                escaped: false,
            };
            return true;
        }
        if self.heads.iter().any(|(_, head)| head.starts_with(rest)) {
            self.say(sure, parts);
            return false;
        }
        self.say(at + CALL_OPEN.len(), parts);
        true
    }

    fn say(&mut self, bytes: usize, parts: &mut Vec<Part>) {
        if bytes > 0 {
            parts.push(Part::Text(self.held.drain(..bytes).collect()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Well.\n<tool_call> no\n\n<tool_call>\n{\"name\": \"a.b\", \"arguments\": {\"x\": \"}\\\"\", \
        \"y\": [{}]}}\n</tool_call>\n<tool_call>\n{\"name\": \"a\", \"arguments\": {}}\n</tool_call>\n";

    fn told(width: usize) -> (String, Vec<(String, String)>) {
        let mut stream = CallStream::new(["a".to_owned(), "a.b".to_owned()]);
        let (mut text, mut calls) = (String::new(), Vec::new());
        let characters: Vec<char> = TEXT.chars().collect();
        for piece in characters.chunks(width) {
            for part in stream.push(&piece.iter().collect::<String>()) {
                match part {
                    Part::Text(more) => text.push_str(&more),
                    Part::Call { name } => calls.push((name, String::new())),
                    Part::Arguments(more) => {
                        let last: &mut (String, String) = calls.last_mut().expect("a call");
                        last.1.push_str(&more);
                    }
                }
            }
        }
        text.push_str(&stream.finish().unwrap_or_default());
        (text, calls)
    }

    #[test]
    fn calls_are_told_alike_however_the_text_is_cut() {
        let expected = vec![
            (
                "a.b".to_owned(),
                "{\"x\": \"}\\\"\", \"y\": [{}]}".to_owned(),
            ),
            ("a".to_owned(), "{}".to_owned()),
        ];
        for width in 1..=TEXT.len() {
            assert_eq!(
                told(width),
                ("Well.\n<tool_call> no".to_owned(), expected.clone())
            );
        }
    }

    #[test]
    fn what_only_looks_like_a_call_is_text() {
        for text in [
            "<tool_call>\n{\"name\": \"other\", \"arguments\": {}}",
            "<tool_call>",
            "a <tool_",
            " \n",
            "<tool_call>\n{\"name\": \"a",
        ] {
            let mut stream = CallStream::new(["a".to_owned()]);
            let mut said = String::new();
            for part in stream.push(text) {
                let Part::Text(more) = part else {
                    panic!("{part:?} of {text}");
                };
                said.push_str(&more);
            }
            said.push_str(&stream.finish().unwrap_or_default());
            assert_eq!(said, text);
        }
    }
}
