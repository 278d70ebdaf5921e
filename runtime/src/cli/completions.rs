//! `completions`: what a shell needs to complete this program's words.

use super::fault::Fault;
use clap::{Args, Command};
use clap_complete::Shell;
use std::io::Write;

/// Arguments of `completions`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(super) fn go(mut line: Command, args: &CompletionsArgs) -> Result<(), Fault> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut line, "troop", &mut text);
    Ok(std::io::stdout().write_all(&text)?)
}

const AFTER_HELP: &str = "\
Examples:
  troop completions bash > ~/.local/share/bash-completion/completions/troop
  troop completions zsh > ~/.zfunc/_troop              where fpath has ~/.zfunc
  troop completions fish > ~/.config/fish/completions/troop.fish";
