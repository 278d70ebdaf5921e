//! The terminal around a conversation: it reads lines, asks the node, and keeps the history. What a line means
//! is the core's.

use super::super::fault::{Code, Fault};
use super::super::{Context, client};
use super::answer::{self, Answer};
use super::chat::{Action, Chat, End, File, Input};
use super::place::Place;
use super::show::Show;
use super::terminal::{self, Hushed, Modes};
use ::tokio::runtime::Runtime;
use ::tokio::signal::unix::{SignalKind, signal};
use ::tokio::sync::watch;
use rustyline::error::ReadlineError;
use rustyline::history::{FileHistory, History as _};
use rustyline::{Behavior, Config, Editor};
use serde_json::{Map, Value};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Talks until the person leaves.
pub(super) fn go(
    context: &Context,
    mut chat: Chat,
    wrap: bool,
    place: &Place,
    runtime: &Runtime,
) -> Result<(), Fault> {
    let signals = Signals::listen(runtime);
    let mut talk = Talk {
        editor: editor()?,
        history: History::find(context),
        wrap,
        offered: String::new(),
        context,
        place,
        runtime,
        signals,
    };
    talk.history.load(context, &mut talk.editor);
    context.say(format_args!(
        "{} is listening: {} tokens of context, /? for help, Ctrl-D to leave",
        place.model.name, place.model.context
    ));
    #[allow(clippy::disallowed_methods)] // A person's fingers move in real time.
    let start = Instant::now();
    loop {
        let offered = std::mem::take(&mut talk.offered);
        talk.signals.at_prompt(true);
        let typed = talk
            .editor
            .readline_with_initial(chat.prompt(), (&offered, ""));
        talk.signals.at_prompt(false);
        let input = match typed {
            Ok(line) => Input::Line(line),
            Err(ReadlineError::Interrupted) => Input::Interrupt {
                at_ms: start.elapsed().as_millis() as u64,
            },
            Err(ReadlineError::Eof) => Input::End,
            Err(error) => return Err(Fault::failed("the terminal failed").because(error)),
        };
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let answered = matches!(input, Input::Answered { .. });
            let mut actions = Vec::new();
            chat.step(input, &mut actions);
            for action in actions {
                match action {
                    Action::Leave(None) => return Ok(()),
                    Action::Leave(Some(code)) => return Err(Fault::new(code, "left by Ctrl-C")),
                    action => next = talk.perform(action)?.or(next),
                }
            }
            if answered && std::io::stdout().is_terminal() {
                super::super::print("")?;
            }
        }
    }
}

/// The signals of a conversation, heard in one place: what came for an answer can never be taken for the prompt
/// after it.
struct Signals {
    at_prompt: Arc<AtomicBool>,
    /// How often Ctrl-C came for an answer.
    stops: watch::Receiver<u64>,
}

impl Signals {
    /// SIGTERM ends the program, and so does Ctrl-C at a prompt too plain to be edited: an edited prompt has it as
    /// a key, and a signal there was meant for the answer that has just ended. Leaves the terminal as it was found.
    fn listen(runtime: &Runtime) -> Signals {
        let found = Modes::now();
        let plain = terminal::is_plain();
        let at_prompt = Arc::new(AtomicBool::new(false));
        let (stop, stops) = watch::channel(0);
        let prompted = at_prompt.clone();
        runtime.spawn(async move {
            let Ok(mut terminate) = signal(SignalKind::terminate()) else {
                return;
            };
            loop {
                ::tokio::select! {
                    _ = terminate.recv() => {}
                    _ = ::tokio::signal::ctrl_c() => {
                        if !plain || !prompted.load(Ordering::Relaxed) {
                            stop.send_modify(|count| *count += 1);
                            continue;
                        }
                    }
                }
                found.restore();
                std::process::exit(Code::Interrupted as i32);
            }
        });
        Signals { at_prompt, stops }
    }

    fn at_prompt(&self, at_prompt: bool) {
        self.at_prompt.store(at_prompt, Ordering::Relaxed);
    }

    /// Waits for the next Ctrl-C; those before are forgotten.
    async fn stopped(&self) {
        let mut stops = self.stops.clone();
        stops.mark_unchanged();
        if stops.changed().await.is_err() {
            // Nobody listens: the answer ends by itself.
            std::future::pending::<()>().await;
        }
    }
}

struct Talk<'a> {
    editor: Editor<(), FileHistory>,
    history: History,
    wrap: bool,
    /// What is to stand at the next prompt.
    offered: String,
    context: &'a Context,
    place: &'a Place,
    runtime: &'a Runtime,
    signals: Signals,
}

impl Talk<'_> {
    /// Does one thing; returns what comes of it, if the conversation is to know.
    fn perform(&mut self, action: Action) -> Result<Option<Input>, Fault> {
        match action {
            Action::Ask(request) => return self.ask(&request).map(Some),
            Action::Print(text) => super::super::print(text)?,
            Action::Say(text) => self.context.say(owo_colors::OwoColorize::dimmed(&text)),
            Action::Complain(fault) => fault.print(false),
            Action::Remember(line) => self.history.remember(&line, &mut self.editor),
            Action::KeepHistory(keep) => self.context.say(self.history.keep(keep)),
            Action::WrapWords(wrap) => self.wrap = wrap,
            Action::Offer(text) => {
                // What is too long to be edited can be had from the history.
                if text.len() <= OFFERED_BYTES_MAX {
                    self.offered = text;
                }
            }
            Action::File { what, name, text } => {
                let path = terminal::typed(&name);
                let outcome = match what {
                    File::Save => terminal::write_file(&path, &text).map(|()| String::new()),
                    File::Load | File::Schema => terminal::read_file(&path),
                };
                return Ok(Some(Input::File {
                    what,
                    name,
                    outcome,
                }));
            }
            Action::Leave(_) => {}
        }
        Ok(None)
    }

    /// Asks, and shows the answer until it ends or is stopped.
    fn ask(&self, request: &Map<String, Value>) -> Result<Input, Fault> {
        let mut stdout = std::io::stdout();
        let mut answer = Answer::default();
        let hushed = Hushed::now();
        let mut show = match stdout.is_terminal() {
            true => {
                let width = terminal::width().filter(|_| self.wrap);
                Show::terminal(&mut stdout, width, self.context.bars)
            }
            false => Show::plain(&mut stdout),
        };
        let end = self.runtime.block_on(async {
            let asked = answer::ask(&self.place.socket, request, &mut answer, &mut show);
            let asked = async {
                match self.context.timeout {
                    Some(deadline) => client::within(deadline, asked).await,
                    None => asked.await,
                }
            };
            ::tokio::select! {
                biased;
                () = self.signals.stopped() => End::Stopped,
                asked = asked => match asked {
                    Ok(()) => End::Whole,
                    Err(fault) => End::Failed(fault),
                },
            }
        });
        show.line_end()?;
        drop(hushed);
        Ok(Input::Answered {
            answer: Box::new(answer),
            end,
        })
    }
}

fn editor() -> Result<Editor<(), FileHistory>, Fault> {
    // Answers may go to a file; the prompt stays on the terminal.
    let behavior = match std::io::stdout().is_terminal() {
        true => Behavior::Stdio,
        false => Behavior::PreferTerm,
    };
    let failed = |error| Fault::failed("the terminal cannot be used").because(error);
    let config = Config::builder()
        .max_history_size(HISTORY_ENTRIES_MAX)
        .map_err(failed)?
        .history_ignore_space(true)
        .behavior(behavior)
        .build();
    Editor::with_config(config).map_err(failed)
}

/// The file of what was typed, in this conversation and those before.
struct History {
    path: PathBuf,
    kept: bool,
}

impl History {
    fn find(context: &Context) -> History {
        let unwanted = std::env::var_os("TROOP_NOHISTORY");
        History {
            path: context.home.state().join("history"),
            kept: unwanted.is_none_or(|value| value.is_empty() || value == "0"),
        }
    }

    fn load(&mut self, context: &Context, editor: &mut Editor<(), FileHistory>) {
        if !self.kept {
            return;
        }
        let bytes = match std::fs::metadata(&self.path) {
            Ok(facts) => facts.len(),
            Err(_) => return,
        };
        let read = match bytes > HISTORY_BYTES_MAX {
            true => Err(format!("it has more than {HISTORY_BYTES_MAX} bytes")),
            false => editor
                .load_history(&self.path)
                .map_err(|error| error.to_string()),
        };
        if let Err(error) = read {
            self.kept = false;
            let path = self.path.display();
            context.say(format_args!("warning: no history is kept: {path}: {error}"));
        }
    }

    /// Keeps a line for the arrow keys, and on the disk at once: a terminal may be closed at any time.
    fn remember(&mut self, line: &str, editor: &mut Editor<(), FileHistory>) {
        // A line that begins with a space is not kept, as in a shell.
        if line.len() > LINE_BYTES_MAX || editor.add_history_entry(line).is_ok_and(|new| !new) {
            return;
        }
        if !self.kept {
            return;
        }
        let folder = self.path.parent().map_or(Ok(()), |folder| {
            use std::os::unix::fs::DirBuilderExt;
            let mut builder = std::fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(folder)
        });
        let kept = folder
            .map_err(ReadlineError::Io)
            .and_then(|()| editor.history_mut().append(&self.path));
        if let Err(error) = kept {
            self.kept = false;
            eprintln!(
                "warning: no history is kept: {}: {error}",
                self.path.display()
            );
        }
    }

    fn keep(&mut self, keep: bool) -> String {
        self.kept = keep;
        match keep {
            true => format!("What is typed is kept in {}", self.path.display()),
            false => "What is typed from now on is forgotten at the end".to_owned(),
        }
    }
}

/// What is typed is kept so many lines back, and no longer than this each.
const HISTORY_ENTRIES_MAX: usize = 1_000;
const LINE_BYTES_MAX: usize = 16 << 10;
/// A file of the longest lines has no more.
const HISTORY_BYTES_MAX: u64 = (HISTORY_ENTRIES_MAX * LINE_BYTES_MAX * 2) as u64;
/// Bytes that are put at a prompt to be changed.
const OFFERED_BYTES_MAX: usize = 4 << 10;
