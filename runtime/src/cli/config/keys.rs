//! The keys of the file: every flag that has one, by the flag's own name.

use clap::{Arg, ArgAction, Command};

/// A key.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// As it is said: `color`, `node.listen`.
    pub(super) name: String,
    /// Its section, where it is not every verb's.
    pub(super) section: Option<&'static str>,
    argument: Arg,
}

/// Every key, in the order in which `--help` says the flags.
pub(super) fn all(line: &Command) -> Vec<Key> {
    let fits = |argument: &&Arg| {
        let id = argument.get_id().as_str();
        argument.get_long().is_some() && !argument.is_hide_set() && !UNFIT.contains(&id)
    };
    let mut keys = Vec::new();
    let globals = line
        .get_arguments()
        .filter(|argument| argument.is_global_set());
    for argument in globals.filter(fits) {
        keys.push(Key::new(None, argument));
    }
    for section in SECTIONS {
        let command = line.find_subcommand(section);
        for argument in command
            .into_iter()
            .flat_map(Command::get_arguments)
            .filter(fits)
        {
            keys.push(Key::new(Some(section), argument));
        }
    }
    keys
}

/// The key that was most likely meant.
pub(super) fn nearest<'a>(keys: &'a [Key], name: &str) -> Option<&'a str> {
    let whole = troop_gateway::nearest(name, keys.iter().map(|key| &key.name[..]));
    // The right word in the wrong section, or in none.
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let same = || keys.iter().find(|key| last(&key.name) == last(name));
    whole.or_else(|| Some(&same()?.name))
}

impl Key {
    fn new(section: Option<&'static str>, argument: &Arg) -> Key {
        let word = argument.get_long().unwrap_or_default().replace('-', "_");
        Key {
            name: match section {
                Some(section) => format!("{section}.{word}"),
                None => word,
            },
            section,
            argument: argument.clone(),
        }
    }

    /// Its word within its section.
    pub(super) fn word(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }

    /// Whether it is only ever on or off.
    pub(super) fn is_switch(&self) -> bool {
        matches!(self.argument.get_action(), ArgAction::SetTrue)
    }

    /// Whether it may have several values.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.argument.get_action(), ArgAction::Append)
    }

    /// The variable that overrules the file.
    pub(super) fn variable(&self) -> Option<String> {
        Some(self.argument.get_env()?.to_string_lossy().into_owned())
    }

    /// What holds where nobody says anything.
    pub(super) fn usual(&self) -> String {
        let values = self.argument.get_default_values().iter();
        let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
        match (self.is_switch(), &values[..]) {
            (true, []) => "false".to_owned(),
            _ => values.join(","),
        }
    }

    /// What the flag's own reader says of `values`.
    pub(super) fn check(&self, values: &[String]) -> Result<(), String> {
        if !self.is_list() && values.len() != 1 {
            return Err("it has one value".to_owned());
        }
        if self.is_switch() {
            return match &values[0][..] {
                "true" | "false" => Ok(()),
                _ => Err("it is true or false".to_owned()),
            };
        }
        let long = self.argument.get_long().unwrap_or_default();
        let words = values.iter().map(|value| format!("--{long}={value}"));
        let command = Command::new("config").no_binary_name(true);
        let read = command.arg(&self.argument).try_get_matches_from(words);
        read.map(|_| ()).map_err(|error| {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            // The words are of a flag; the value and the reason are what counts here.
            let first = first.trim_start_matches("error: ");
            match first.split_once("' for '") {
                Some((value, rest)) => {
                    let reason = rest.split_once(": ").map_or("", |(_, reason)| reason);
                    let choice = text.lines().find(|line| line.contains("possible values"));
                    let reason = choice.map_or(reason, str::trim);
                    format!("{value}': {reason}")
                        .trim_end_matches(": ")
                        .to_owned()
                }
                None => first.to_owned(),
            }
        })
    }

    /// The command line where `values` take the place of the flag's default.
    pub(super) fn with_default(&self, command: Command, values: Vec<String>) -> Command {
        let id = self.argument.get_id().as_str().to_owned();
        let set = move |argument: Arg| argument.default_values(values);
        match self.section {
            None => command.mut_arg(id, set),
            Some(section) => command.mut_subcommand(section, |below| below.mut_arg(id, set)),
        }
    }
}

/// Verbs whose flags have keys of their own.
const SECTIONS: &[&str] = &["node", "run"];
/// Flags that belong to one call: where the file itself is found, how much is said, what is secret.
const UNFIT: &[&str] = &["home", "config", "verbose", "join", "help", "version"];
