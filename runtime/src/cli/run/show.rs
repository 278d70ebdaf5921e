//! Where an answer goes as it comes: plain bytes to a file or a pipe, wrapped text to a terminal, events to a
//! program.

use super::super::fault::Fault;
use super::answer::Answer;
use super::wrap::Wrap;
use serde_json::{Value, json};
use std::io::Write;

/// Shows one answer.
pub(super) struct Show<'a> {
    to: &'a mut dyn Write,
    form: Form,
    /// Whether a word of waiting stands on the terminal's line.
    waiting: Option<bool>,
}

enum Form {
    Plain { at_line_start: bool },
    Terminal(Wrap),
    Events { model: String },
}

impl<'a> Show<'a> {
    /// The very bytes of the answer.
    pub(super) fn plain(to: &'a mut dyn Write) -> Show<'a> {
        let form = Form::Plain {
            at_line_start: true,
        };
        Show {
            to,
            form,
            waiting: None,
        }
    }

    /// Text for a terminal; what it waits for is said on stderr where `waits` says so.
    pub(super) fn terminal(to: &'a mut dyn Write, width: Option<usize>, waits: bool) -> Show<'a> {
        Show {
            to,
            form: Form::Terminal(Wrap::new(width)),
            waiting: waits.then_some(false),
        }
    }

    /// One object a line.
    pub(super) fn events(to: &'a mut dyn Write, model: &str) -> Show<'a> {
        let model = model.to_owned();
        Show {
            to,
            form: Form::Events { model },
            waiting: None,
        }
    }

    /// A worker has begun.
    pub(super) fn begun(&mut self, answer: &Answer) -> Result<(), Fault> {
        if let Form::Events { model } = &self.form {
            let event = json!({ "request": answer.request, "model": model });
            self.event("begun", event)?;
        }
        Ok(())
    }

    /// What is waited for.
    pub(super) fn status(&mut self, words: &str) {
        if let Some(waiting) = &mut self.waiting {
            *waiting = true;
            let words: String = words.chars().filter(|c| !c.is_control()).take(70).collect();
            anstream::eprint!("\r\x1b[K{}", owo_colors::OwoColorize::dimmed(&words));
        }
    }

    /// More text.
    pub(super) fn text(&mut self, text: &str) -> Result<(), Fault> {
        self.no_status();
        match &mut self.form {
            Form::Plain { at_line_start } => {
                *at_line_start = text.ends_with('\n');
                self.to.write_all(text.as_bytes())?;
            }
            Form::Terminal(wrap) => {
                let sent = wrap.push(text);
                self.to.write_all(sent.as_bytes())?;
            }
            Form::Events { .. } => self.event("text", json!({ "text": text }))?,
        }
        Ok(self.to.flush()?)
    }

    /// No more text; the next thing to be said begins on a line of its own.
    pub(super) fn line_end(&mut self) -> Result<(), Fault> {
        self.no_status();
        let at_line_start = match &self.form {
            Form::Plain { at_line_start } => *at_line_start,
            Form::Terminal(wrap) => wrap.at_line_start(),
            Form::Events { .. } => true,
        };
        if !at_line_start {
            self.to.write_all(b"\n")?;
        }
        Ok(self.to.flush()?)
    }

    /// The answer is whole.
    pub(super) fn done(&mut self, answer: &Answer) -> Result<(), Fault> {
        if let Form::Events { .. } = &self.form {
            let (usage, times) = (&answer.usage, &answer.times);
            let ms = |time: Option<std::time::Duration>| time.map(|time| time.as_millis() as u64);
            self.event(
                "done",
                json!({
                    "finish": answer.finish,
                    "prompt_tokens": usage.prompt_tokens,
                    "cached_tokens": usage.cached_tokens,
                    "completion_tokens": usage.completion_tokens,
                    "cost_micros": usage.cost_micros,
                    "begun_ms": ms(times.begun),
                    "first_text_ms": ms(times.first),
                    "total_ms": ms(times.all),
                }),
            )?;
        }
        Ok(self.to.flush()?)
    }

    fn event(&mut self, name: &str, facts: Value) -> Result<(), Fault> {
        let mut event = json!({ "schema": SCHEMA, "event": name });
        if let (Value::Object(event), Value::Object(facts)) = (&mut event, facts) {
            event.extend(facts);
        }
        Ok(writeln!(self.to, "{event}")?)
    }

    fn no_status(&mut self) {
        if let Some(waiting @ true) = &mut self.waiting {
            *waiting = false;
            anstream::eprint!("\r\x1b[K");
        }
    }
}

/// The form of every event; members are only ever added.
const SCHEMA: &str = "troop.run/v1";
