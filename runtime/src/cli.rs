//! What a person types: one file per verb.
//!
//! stdout is data, stderr is everything else. Every verb that reads has `--json`, whose objects name their form
//! in `schema`. Errors say what failed, why, and what to type next; exit codes are in [`fault::Code`].

mod balance;
mod client;
mod completions;
mod config;
mod doctor;
mod explain;
mod fault;
mod fit;
mod help;
mod interrupt;
mod invite;
mod join;
mod key;
mod ledger;
mod lend;
mod models;
mod node;
mod nodes;
mod pause;
mod progress;
mod ps;
mod rotate;
mod run;
mod spans;
mod status;
mod table;
mod watch;

use crate::home::Home;
use clap::builder::FalseyValueParser;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use fault::{Code, Fault};
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use watch::WatchArgs;

/// Pool the machines you own and serve language models to one another.
#[derive(Debug, Parser)]
#[command(
    name = "troop",
    version,
    max_term_width = 100,
    after_help = AFTER_HELP,
    disable_help_subcommand = true
)]
struct Line {
    /// Folder of the node's key, books and models [default: ~/.local/share/troop]
    #[arg(long, global = true, env = "TROOP_HOME", value_name = "FOLDER")]
    home: Option<PathBuf>,
    /// Print JSON on stdout
    #[arg(long, global = true, env = "TROOP_JSON", value_parser = FalseyValueParser::new())]
    json: bool,
    /// Say nothing but errors on stderr; of a list print the first column alone
    #[arg(short, long, global = true, env = "TROOP_QUIET", value_parser = FalseyValueParser::new())]
    quiet: bool,
    /// Say more on stderr; twice for every message
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// When to use colours
    #[arg(
        long,
        global = true,
        env = "TROOP_COLOR",
        value_enum,
        default_value = "auto"
    )]
    color: Color,
    /// Draw no progress bars
    #[arg(
        long,
        global = true,
        env = "TROOP_NO_PROGRESS",
        value_parser = FalseyValueParser::new()
    )]
    no_progress: bool,
    /// The file that stands for flags [default: ~/.config/troop/config.toml]
    #[arg(long, global = true, env = "TROOP_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The socket of the node that is asked [default: that of the node in --home]
    #[arg(long, short, global = true, env = "TROOP_ADDR", value_name = "SOCKET", value_parser = socket)]
    addr: Option<PathBuf>,
    /// Columns of a table, in this order, as in NAME,SIZE
    #[arg(
        long,
        global = true,
        env = "TROOP_COLUMNS",
        value_name = "NAMES",
        value_delimiter = ','
    )]
    columns: Vec<String>,
    /// No line of names above a table
    #[arg(long, global = true, env = "TROOP_NO_HEADER", value_parser = FalseyValueParser::new())]
    no_header: bool,
    /// Fetch nothing: what is not here is an error
    #[arg(long, global = true, env = "TROOP_OFFLINE", value_parser = FalseyValueParser::new())]
    offline: bool,
    /// How long the node may take to answer, as in 500ms, 30s or 5m
    #[arg(long, global = true, env = "TROOP_TIMEOUT", value_name = "TIME", value_parser = spans::patience)]
    timeout: Option<Duration>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a node: fetch what it serves, serve it, keep the books or join a troop
    #[command(visible_alias = "up")]
    Node(node::NodeArgs),
    /// Talk with a model, or ask it once
    Run(run::RunArgs),
    /// Fetch a model
    Pull(models::PullArgs),
    /// List the models that are here
    #[command(visible_alias = "ls")]
    List,
    /// Show what a model is
    Show(models::ShowArgs),
    /// Delete models
    Rm(models::RmArgs),
    /// List the engines that run, and the requests they serve
    Ps(WatchArgs),
    /// Say what runs where, and whether it is well
    Status(WatchArgs),
    /// Look for what is wrong on this machine, and say what to do about it
    Doctor,
    /// Say why a request waited, why it ran where it did, and what it cost
    Explain(explain::ExplainArgs),
    /// List the nodes of the troop, whether they are alive, and how they are reached
    Nodes(WatchArgs),
    /// Ask a node whether it is there, and how far away
    Ping(nodes::PingArgs),
    /// Take the machine back: engines end, their streams go on elsewhere
    Pause,
    /// Take no more work, hand over what runs, and say when nothing does any more
    Drain(pause::DrainArgs),
    /// Take work again after pause or drain
    Resume,
    /// Show the owner's account, or a member's
    Balance(balance::BalanceArgs),
    /// Make, list and revoke API keys for guests
    Key(key::KeyArgs),
    /// Give a member more credits
    Credit(key::CreditArgs),
    /// Recompute the books
    Ledger(ledger::LedgerArgs),
    /// Invite other machines to the troop; list and revoke invitations
    Invite(invite::InviteArgs),
    /// List and remove the machines of the troop
    Member(invite::MemberArgs),
    /// Sign tickets with the next key from now on; it happens by itself every 30 days
    Rotate(rotate::RotateArgs),
    /// Forget the troop that this machine belongs to
    Leave,
    /// Read and write the file that stands for flags
    Config(config::ConfigArgs),
    /// Print what a shell needs to complete these words
    Completions(completions::CompletionsArgs),
    /// Explain a verb, the environment (env) or the exit codes (exit-codes)
    Help(help::HelpArgs),
    /// Serve one model over the standard streams; the node starts this by itself
    #[command(hide = true)]
    Engine(crate::engine_child::EngineArgs),
    /// Enter the sandbox of engines and look for a way out; doctor starts this by itself
    #[command(hide = true)]
    TrySandbox,
}

/// What every verb knows.
#[derive(Debug)]
struct Context {
    home: Home,
    config: Option<PathBuf>,
    addr: Option<PathBuf>,
    json: bool,
    quiet: bool,
    bars: bool,
    columns: Vec<String>,
    header: bool,
    offline: bool,
    timeout: Option<Duration>,
    verbose: u8,
}

impl Context {
    /// Where the node is asked.
    fn socket(&self) -> PathBuf {
        self.addr.clone().unwrap_or_else(|| self.home.socket())
    }

    /// Says something to a person; data goes to [`print`].
    fn say(&self, line: impl Display) {
        if !self.quiet {
            anstream::eprintln!("{line}");
        }
    }
}

/// One line of data.
fn print(line: impl Display) -> Result<(), Fault> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// One object of data.
fn print_json(object: &impl serde::Serialize) -> Result<(), Fault> {
    print(serde_json::to_string(object).map_err(Fault::failed)?)
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let line = match config::line(std::env::args_os().collect()) {
        Ok(line) => line,
        Err(config::Unread::Words(error)) => return misread(&error),
        Err(config::Unread::File(fault)) => {
            fault.print(wants_json());
            return fault.code.exit();
        }
    };
    match line.verb {
        Some(Verb::Engine(args)) => return crate::engine_child::run(args),
        Some(Verb::TrySandbox) => return crate::engine_child::try_sandbox(),
        _ => {}
    }
    match line.color {
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
    // An answer's timings are more than nothing, and less than a log.
    let timed = matches!(line.verb, Some(Verb::Run(_)));
    trace(line.verbose.saturating_sub(timed.into()));
    let json = line.json;
    match go(line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            fault.print(json);
            fault.code.exit()
        }
    }
}

/// A command line that cannot be read, or that asks only for help; programs get an object here too.
fn misread(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || !wants_json() {
        error.exit();
    }
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let fault = Fault::usage(first.trim_start_matches("error: "));
    fault.print(true);
    Code::Usage.exit()
}

/// Whether a line that could not be read asks for objects.
fn wants_json() -> bool {
    std::env::args_os().any(|word| word == "--json")
        || std::env::var_os("TROOP_JSON").is_some_and(|value| !value.is_empty())
}

/// A path, with or without `unix:` before it.
fn socket(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix:").unwrap_or(text);
    match path.is_empty() || path.contains("://") {
        true => Err("it is a unix socket: unix:/path/ctl.sock".to_owned()),
        false => Ok(path.into()),
    }
}

fn go(line: Line) -> Result<(), Fault> {
    let home = Home::find(line.home)?;
    let bars = !line.no_progress && !line.quiet && std::io::stderr().is_terminal();
    let context = Context {
        home,
        config: line.config,
        addr: line.addr,
        json: line.json,
        quiet: line.quiet,
        bars,
        columns: line.columns,
        header: !line.no_header,
        offline: line.offline,
        timeout: line.timeout,
        verbose: line.verbose,
    };
    match line.verb {
        None => bare(&context),
        Some(Verb::Node(args)) => node::go(&context, args),
        Some(Verb::Run(args)) => run::go(&context, args),
        Some(Verb::Pull(args)) => models::pull(&context, args),
        Some(Verb::List) => models::list(&context),
        Some(Verb::Show(args)) => models::show(&context, args),
        Some(Verb::Rm(args)) => models::rm(&context, args),
        Some(Verb::Ps(args)) => ps::go(&context, &args),
        Some(Verb::Status(args)) => status::go(&context, &args),
        Some(Verb::Doctor) => doctor::go(&context),
        Some(Verb::Explain(args)) => explain::go(&context, args),
        Some(Verb::Nodes(args)) => nodes::list(&context, &args),
        Some(Verb::Ping(args)) => nodes::ping(&context, &args),
        Some(Verb::Pause) => pause::pause(&context),
        Some(Verb::Drain(args)) => pause::drain(&context, &args),
        Some(Verb::Resume) => pause::resume(&context),
        Some(Verb::Balance(args)) => balance::go(&context, args),
        Some(Verb::Key(args)) => key::go(&context, args),
        Some(Verb::Credit(args)) => key::credit(&context, args),
        Some(Verb::Ledger(args)) => ledger::go(&context, args),
        Some(Verb::Invite(args)) => invite::go(&context, args),
        Some(Verb::Member(args)) => invite::member(&context, args),
        Some(Verb::Rotate(args)) => rotate::go(&context, &args),
        Some(Verb::Leave) => invite::leave(&context),
        Some(Verb::Config(args)) => config::go(&context, args),
        Some(Verb::Completions(args)) => completions::go(Line::command(), &args),
        Some(Verb::Help(args)) => help::go(&context, Line::command(), &args),
        Some(Verb::Engine(_) | Verb::TrySandbox) => unreachable!("main has gone there already"),
    }
}

/// `troop` alone: on a terminal what runs and what to type, elsewhere the help and an error.
fn bare(context: &Context) -> Result<(), Fault> {
    if !std::io::stdout().is_terminal() {
        eprintln!("{}", Line::command().render_help());
        return Err(Fault::usage("a command is needed"));
    }
    let once = WatchArgs::default();
    let _ = status::go(context, &once).map_err(|fault| fault.print(false));
    print("\ntroop node          run a node here")?;
    print("troop run smollm2   ask a model")?;
    print("troop --help        everything else")
}

fn trace(verbose: u8) {
    use tracing_subscriber::EnvFilter;
    let level = match verbose {
        0 => "warn",
        1 => "info,troop=debug,troop_actors=debug,troop_gateway=debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("TROOP_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}

/// The runtime that verbs which talk or serve run on.
fn tokio() -> Result<tokio::runtime::Runtime, Fault> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder
        .worker_threads(2)
        .thread_name("troop")
        .enable_all()
        .build();
    runtime.map_err(|error| Fault::failed("no runtime could be started").because(error))
}

const AFTER_HELP: &str = "\
Examples:
  troop node                              serve smollm2 on http://127.0.0.1:9000/v1
  troop run smollm2 \"Why is the sky blue?\"
  troop key create --member bo            a key for a guest, with 100 credits

troop help env lists the environment variables, troop help exit-codes the exit codes.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_flag_of_all_verbs_but_verbose_has_its_variable() {
        Line::command().debug_assert();
        let globals = Line::command();
        let globals = globals.get_arguments().filter(|arg| arg.is_global_set());
        let bare: Vec<_> = globals
            .filter(|arg| arg.get_env().is_none())
            .map(|arg| arg.get_id().to_string())
            .collect();
        // How much is said is TROOP_LOG's, which can say more than a count.
        assert_eq!(bare, ["verbose"]);
    }
}
