//! `run`: asks a model once, or talks with it on a terminal.
//!
//! ```text
//! place     where to ask: the running node, or one that is started for the occasion
//! settings  how answers are made, by flag and by /set
//! answer    one question and its answer, as it comes
//! show      where an answer goes: a pipe, a terminal (through wrap), a program
//! chat      a conversation, as a pure core
//! talk      the terminal around it
//! ```
//!
//! A question is put once: whether the node has the model is asked before, so nothing of an answer can be
//! said twice.

mod answer;
mod chat;
mod place;
mod settings;
mod show;
mod talk;
mod terminal;
mod timings;
mod wrap;

use super::fault::Fault;
use super::interrupt::interruptible;
use super::{Context, client, tokio};
use answer::Answer;
use chat::Chat;
use clap::Args;
use place::Place;
use serde_json::json;
use settings::{ParameterArgs, Settings, json_format, schema_format};
use show::Show;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

/// Arguments of `run`.
#[derive(Debug, Default, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct RunArgs {
    /// The model
    model: String,
    /// What to ask; what is piped in comes after it. Without it, on a terminal, a conversation begins
    prompt: Vec<String>,
    /// What the model is told first
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// An answer that is JSON: `json` for any object, or the file of a JSON schema that it fits
    #[arg(long, value_name = "json|FILE")]
    format: Option<String>,
    /// Do not break answers between words on a terminal
    #[arg(long)]
    nowordwrap: bool,
    /// Refused: the models of this version read text alone
    #[arg(long, value_name = "FILE", hide = true)]
    image: Vec<PathBuf>,
    #[command(flatten)]
    parameters: ParameterArgs,
}

pub(super) fn go(context: &Context, args: RunArgs) -> Result<(), Fault> {
    if !args.image.is_empty() {
        return Err(Fault::usage(
            "--image: the models of this version read text alone",
        ));
    }
    let mut settings = Settings::of(&args.parameters).map_err(Fault::usage)?;
    if let Some(format) = &args.format {
        let format = match &format[..] {
            "json" => json_format(),
            file => schema(Path::new(file))?,
        };
        settings = settings.formatted(Some(format)).map_err(Fault::usage)?;
    }
    let prompt = prompt(&args, context.json)?;
    let runtime = tokio()?;
    let place = Place::open(context, &args.model, &runtime)?;
    let outcome = match prompt {
        Some(prompt) => {
            let asked = once(context, &args, &settings, &place, &prompt);
            runtime.block_on(asked)
        }
        None => {
            let model = place.model.clone();
            let chat = Chat::new(model, args.system.clone(), settings, context.verbose > 0);
            talk::go(context, chat, !args.nowordwrap, &place, &runtime)
        }
    };
    runtime.block_on(place.close());
    outcome
}

/// Asks once and prints the answer as it comes.
async fn once(
    context: &Context,
    args: &RunArgs,
    settings: &Settings,
    place: &Place,
    prompt: &str,
) -> Result<(), Fault> {
    let said = |role: &str, text: &str| json!({ "role": role, "content": text });
    let system = args.system.iter().map(|text| said("system", text));
    let messages = system.chain([said("user", prompt)]).collect();
    let request = settings.request(&place.model.name, messages);
    let mut stdout = std::io::stdout();
    let on_terminal = stdout.is_terminal();
    let mut show = match (context.json, on_terminal) {
        (true, _) => Show::events(&mut stdout, &place.model.name),
        (false, true) => {
            let width = terminal::width().filter(|_| !args.nowordwrap);
            Show::terminal(&mut stdout, width, context.bars)
        }
        (false, false) => Show::plain(&mut stdout),
    };
    let mut answer = Answer::default();
    let asked = answer::ask(&place.socket, &request, &mut answer, &mut show);
    let asked = async {
        match context.timeout {
            Some(deadline) => client::within(deadline, asked).await,
            None => asked.await,
        }
    };
    let outcome = interruptible(asked).await;
    show.line_end()?;
    outcome?;
    show.done(&answer)?;
    if context.verbose > 0 {
        context.say(timings::report(&answer));
    }
    Ok(())
}

/// The words of the command line, then what is piped in; nothing where a conversation is to begin.
fn prompt(args: &RunArgs, json: bool) -> Result<Option<String>, Fault> {
    let mut prompt = args.prompt.join(" ");
    let on_terminal = std::io::stdin().is_terminal();
    if !on_terminal {
        let mut piped = String::new();
        std::io::stdin()
            .take(PIPED_BYTES_MAX + 1)
            .read_to_string(&mut piped)?;
        if piped.len() as u64 > PIPED_BYTES_MAX {
            return Err(Fault::usage(format!(
                "standard input: more than {PIPED_BYTES_MAX} bytes are piped in"
            )));
        }
        if !piped.trim().is_empty() {
            if !prompt.is_empty() {
                prompt.push_str("\n\n");
            }
            prompt.push_str(&piped);
        }
    }
    if prompt.is_empty() && on_terminal && !json {
        return Ok(None);
    }
    if prompt.is_empty() {
        return Err(Fault::usage("PROMPT: say what to ask, or pipe it in")
            .hint(format!("troop run {} \"Why is the sky blue?\"", args.model)));
    }
    Ok(Some(prompt))
}

/// The form of answers that the schema in `file` asks for.
fn schema(file: &Path) -> Result<serde_json::Value, Fault> {
    let wrong = |error: String| {
        Fault::usage(format!("--format: {}: {error}", file.display()))
            .hint("--format json for any object, or the file of a JSON schema")
    };
    let text = terminal::read_file(file).map_err(wrong)?;
    let schema = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    Ok(schema_format(stem.unwrap_or_default(), schema))
}

/// Bytes that may be piped in; the node takes no more either.
const PIPED_BYTES_MAX: u64 = 8 << 20;
const AFTER_HELP: &str = "\
With --verbose what the answer took is said after it. With --json events come out, one object a line.

Examples:
  troop run smollm2                             talk with it; /? says how
  troop run smollm2 \"Why is the sky blue?\"
  troop run smollm2 \"What does this say?\" < letter.txt
  troop run smollm2 --format json \"Name a colour as JSON.\"";
