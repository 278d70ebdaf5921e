//! `help`: the help of a verb, and two topics that belong to none: the environment and the exit codes.

use super::fault::{Code, Fault};
use super::{Context, print, table};
use clap::{Args, Command};

/// Arguments of `help`.
#[derive(Debug, Args)]
pub(super) struct HelpArgs {
    /// A command, or one of the topics env and exit-codes
    topic: Vec<String>,
}

pub(super) fn go(context: &Context, mut line: Command, args: &HelpArgs) -> Result<(), Fault> {
    line.build();
    match &args.topic.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["env"] => environment(context, &line),
        ["exit-codes"] => exit_codes(context),
        path => print(find(&mut line, path)?.render_long_help()),
    }
}

fn find<'a>(line: &'a mut Command, path: &[&str]) -> Result<&'a mut Command, Fault> {
    let Some((first, rest)) = path.split_first() else {
        return Ok(line);
    };
    match line.find_subcommand_mut(first) {
        Some(found) => find(found, rest),
        None => Err(Fault::usage(format!("there is no help on {first:?}")).hint("troop help")),
    }
}

/// Every variable that stands for an option, once, and those that stand alone.
fn environment(context: &Context, line: &Command) -> Result<(), Fault> {
    let mut rows = Vec::new();
    let mut commands: Vec<(&Command, String)> = vec![(line, String::new())];
    while let Some((command, path)) = commands.pop() {
        for argument in command.get_arguments() {
            let Some(name) = argument.get_env() else {
                continue;
            };
            let row = vec![
                name.to_string_lossy().into_owned(),
                format!("{path}--{}", argument.get_long().unwrap_or_default()),
                argument
                    .get_help()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            ];
            // A global option is an option of every verb.
            if !rows.iter().any(|known: &Vec<String>| known[0] == row[0]) {
                rows.push(row);
            }
        }
        let below = command.get_subcommands().filter(|it| !it.is_hide_set());
        commands.extend(below.map(|it| (it, format!("{path}{} ", it.get_name()))));
    }
    let alone = [
        (
            "TROOP_LOG",
            "What is said on stderr, as in info,troop=debug; overrules --verbose",
        ),
        ("NO_COLOR", "If set, no colours"),
        (
            "TROOP_NOHISTORY",
            "If set, nothing of what is typed to troop run is kept",
        ),
        (
            "HF_ENDPOINT",
            "The hub that hf: sources are fetched from, instead of the public one",
        ),
        (
            "HF_TOKEN",
            "What that hub knows you by; no other origin gets it",
        ),
        ("HF_HUB_OFFLINE", "If 1, hf: sources are not fetched"),
    ];
    rows.extend(alone.map(|(name, help)| vec![name.to_owned(), "-".to_owned(), help.to_owned()]));
    rows.sort();
    table::show(context, &["VARIABLE", "OPTION", "MEANING"], &rows)
}

fn exit_codes(context: &Context) -> Result<(), Fault> {
    let rows = std::iter::once(vec!["0".to_owned(), "ok".to_owned(), "Done".to_owned()]);
    let codes = Code::ALL.map(|code| {
        let (number, name) = ((code as u8).to_string(), code.name().to_owned());
        vec![number, name, code.meaning().to_owned()]
    });
    let rows: Vec<_> = rows.chain(codes).collect();
    table::show(context, &["CODE", "NAME", "MEANING"], &rows)
}
