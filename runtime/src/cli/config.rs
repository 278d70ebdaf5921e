//! `config`: the file that says once what flags say each time.
//!
//! Its keys are the flags themselves: those of every verb at the top, those of `node` and `run` in a section
//! each. What stands there takes the place of a flag's default, so a variable of the environment overrules it,
//! and the flag overrules both; nothing else in the program knows of the file.
//!
//! ```toml
//! color = "never"
//! [node]
//! listen = ["0.0.0.0:9000"]
//! [run]
//! temperature = 0.2
//! ```

mod file;
mod keys;

use super::fault::{Code, Fault};
use super::{Context, Line, print, print_json, table};
use clap::{ArgMatches, Args, Command, CommandFactory, FromArgMatches, Subcommand};
use file::ConfigFile;
use keys::Key;
use serde_json::json;
use std::ffi::OsString;
use std::path::PathBuf;

/// Arguments of `config`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    verb: ConfigVerb,
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Say where the file is, or would be
    Path,
    /// List every key with what holds now
    Show {
        /// Say where each comes from
        #[arg(long)]
        origin: bool,
    },
    /// Read the file and say what is wrong with it
    Check,
    /// Write a key into the file; what else stands there stays
    Set {
        /// The key, as in node.listen
        key: String,
        /// What it is; several where it is a list
        #[arg(required = true)]
        values: Vec<String>,
    },
    /// Take a key out of the file
    Unset {
        /// The key
        key: String,
    },
}

/// Why there is no line to act on.
pub(super) enum Unread {
    /// The words are wrong, or ask only for help.
    Words(clap::Error),
    /// The file is.
    File(Fault),
}

/// The command line, with the file below it.
pub(super) fn line(words: Vec<OsString>) -> Result<Line, Unread> {
    let mut command = Line::command();
    // A first look, for the file's place. Where the words are wrong the second one says so.
    let look = command.clone().ignore_errors(true);
    if let Ok(seen) = look.try_get_matches_from(&words)
        && seen
            .subcommand_name()
            .is_none_or(|verb| !ALONE.contains(&verb))
    {
        command = with_file(command, &seen).map_err(Unread::File)?;
    }
    let read = command.try_get_matches_from_mut(words);
    let line = read.and_then(|mut matches| Line::from_arg_matches_mut(&mut matches));
    line.map_err(|error| Unread::Words(error.format(&mut command)))
}

fn with_file(command: Command, seen: &ArgMatches) -> Result<Command, Fault> {
    let path = |name: &str| seen.try_get_one::<PathBuf>(name).ok().flatten().cloned();
    let given = path("config");
    let Ok(home) = crate::home::Home::find(path("home")) else {
        // Whoever needs the folder says that it is not known.
        return Ok(command);
    };
    let keys = keys::all(&command);
    let file = ConfigFile::read(given.as_deref(), &home.config(), &keys)?;
    if !seen.get_flag("quiet") {
        for strange in &file.strange {
            eprintln!("warning: {strange}");
        }
    }
    if let Some(wrong) = file.wrong.into_iter().next() {
        return Err(wrong);
    }
    let entries = file.entries.into_iter();
    Ok(entries.fold(command, |command, entry| {
        keys[entry.key].with_default(command, entry.values)
    }))
}

pub(super) fn go(context: &Context, args: ConfigArgs) -> Result<(), Fault> {
    let keys = keys::all(&Line::command());
    let path = context
        .config
        .clone()
        .unwrap_or_else(|| context.home.config());
    let read = || ConfigFile::read(context.config.as_deref(), &path, &keys);
    match args.verb {
        ConfigVerb::Path => print(path.display()),
        ConfigVerb::Show { origin } => show(context, &read()?, &keys, origin),
        ConfigVerb::Check => {
            let file = read()?;
            for strange in &file.strange {
                eprintln!("warning: {strange}");
            }
            match file.wrong.into_iter().next() {
                Some(wrong) => Err(wrong),
                None if file.strange.is_empty() => {
                    context.say(format_args!("ok  {}", path.display()));
                    Ok(())
                }
                None => Err(Fault::usage(format!("{}: unknown keys", path.display()))
                    .hint("troop config show lists every key")),
            }
        }
        ConfigVerb::Set { key, values } => {
            let key = find(&keys, &key)?;
            key.check(&values)
                .map_err(|what| Fault::usage(format!("{}: {what}", key.name)))?;
            file::change(&path, key, Some(&values))?;
            context.say(format_args!("{} is set in {}", key.name, path.display()));
            Ok(())
        }
        ConfigVerb::Unset { key } => {
            let key = find(&keys, &key)?;
            file::change(&path, key, None)?;
            context.say(format_args!(
                "{} is not set in {}",
                key.name,
                path.display()
            ));
            Ok(())
        }
    }
}

fn find<'a>(keys: &'a [Key], name: &str) -> Result<&'a Key, Fault> {
    keys.iter().find(|key| key.name == name).ok_or_else(|| {
        let hint = match keys::nearest(keys, name) {
            Some(near) => format!("did you mean {near}?"),
            None => "troop config show lists every key".to_owned(),
        };
        Fault::new(Code::Usage, format!("there is no key {name:?}")).hint(hint)
    })
}

/// What holds for every key, and why.
fn show(context: &Context, file: &ConfigFile, keys: &[Key], origin: bool) -> Result<(), Fault> {
    if let Some(wrong) = file.wrong.first() {
        // What is wrong is left out here; `check` says what it is.
        context.say(format_args!("warning: {}", wrong.what()));
    }
    let mut rows = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        let variable = key.variable().and_then(std::env::var_os);
        let entry = file.entries.iter().find(|entry| entry.key == index);
        let (value, from) = match (variable, entry) {
            (Some(value), _) if !value.is_empty() => {
                let variable = key.variable().unwrap_or_default();
                (value.to_string_lossy().into_owned(), variable)
            }
            (_, Some(entry)) => (
                entry.values.join(","),
                format!("{}:{}", file.path.display(), entry.line),
            ),
            (_, None) => (key.usual(), "default".to_owned()),
        };
        rows.push((key.name.clone(), value, from));
    }
    if context.json {
        let settings: Vec<_> = rows
            .iter()
            .map(|(key, value, origin)| json!({ "key": key, "value": value, "origin": origin }))
            .collect();
        let schema = "troop.config/v1";
        return print_json(&json!({ "schema": schema, "file": file.path, "settings": settings }));
    }
    let header: &[&str] = match origin {
        true => &["KEY", "VALUE", "ORIGIN"],
        false => &["KEY", "VALUE"],
    };
    let row = |(key, value, from): (String, String, String)| match origin {
        true => vec![key, value, from],
        false => vec![key, value],
    };
    let rows: Vec<_> = rows.into_iter().map(row).collect();
    table::show(context, header, &rows)
}

/// Verbs that need no file: one speaks of it, the others of nothing else than themselves.
const ALONE: &[&str] = &["config", "completions", "engine", "help"];
const AFTER_HELP: &str = "\
A flag overrules its variable (troop help env), the variable the file, the file the default.

Examples:
  troop config set node.listen 127.0.0.1:9000 192.168.1.20:9000
  troop config set run.temperature 0.2
  troop config show --origin";
