//! What a person types: one file per verb.
//!
//! stdout is data, stderr is everything else. Every verb that reads has `--json`, whose objects name their form
//! in `schema`. Errors say what failed, why, and what to type next; exit codes are in [`fault::Code`].

mod balance;
mod client;
mod fault;
mod help;
mod key;
mod ledger;
mod models;
mod node;
mod progress;
mod ps;
mod run;
mod status;
mod table;

use crate::home::Home;
use clap::{CommandFactory, Parser, Subcommand};
use fault::Fault;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

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
    #[arg(long, global = true)]
    json: bool,
    /// Say more on stderr; twice for every message
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Draw no progress bars
    #[arg(long, global = true, env = "TROOP_NO_PROGRESS")]
    no_progress: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a node: fetch what it serves, serve it, keep the books
    Node(node::NodeArgs),
    /// Ask a model, on the running node or on one started for the occasion
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
    Ps,
    /// Say what runs where, and whether it is well
    Status,
    /// Show the owner's account, or a member's
    Balance(balance::BalanceArgs),
    /// Make, list and revoke API keys for guests
    Key(key::KeyArgs),
    /// Recompute the books
    Ledger(ledger::LedgerArgs),
    /// Show the help of a command, of the environment (env) or of exit-codes
    Help(help::HelpArgs),
    /// Serve one model over the standard streams; the node starts this by itself
    #[command(hide = true)]
    Engine(crate::engine_child::EngineArgs),
}

/// What every verb knows.
#[derive(Debug)]
struct Context {
    home: Home,
    json: bool,
    bars: bool,
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let line = Line::parse();
    if let Some(Verb::Engine(args)) = line.verb {
        return crate::engine_child::run(args);
    }
    end_quietly_unread();
    trace(line.verbose);
    let json = line.json;
    match go(line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            fault.print(json);
            fault.code.exit()
        }
    }
}

fn go(line: Line) -> Result<(), Fault> {
    let home = Home::find(line.home)?;
    let bars = !line.no_progress && std::io::stderr().is_terminal();
    let context = Context {
        home,
        json: line.json,
        bars,
    };
    match line.verb {
        None => bare(&context),
        Some(Verb::Node(args)) => node::go(&context, args),
        Some(Verb::Run(args)) => run::go(&context, args),
        Some(Verb::Pull(args)) => models::pull(&context, args),
        Some(Verb::List) => models::list(&context),
        Some(Verb::Show(args)) => models::show(&context, args),
        Some(Verb::Rm(args)) => models::rm(&context, args),
        Some(Verb::Ps) => ps::go(&context),
        Some(Verb::Status) => status::go(&context),
        Some(Verb::Balance(args)) => balance::go(&context, args),
        Some(Verb::Key(args)) => key::go(&context, args),
        Some(Verb::Ledger(args)) => ledger::go(&context, args),
        Some(Verb::Help(args)) => help::go(Line::command(), &args),
        Some(Verb::Engine(_)) => unreachable!("main has gone there already"),
    }
}

/// `troop` alone: on a terminal what runs and what to type, elsewhere the help and an error.
fn bare(context: &Context) -> Result<(), Fault> {
    if !std::io::stdout().is_terminal() {
        eprintln!("{}", Line::command().render_help());
        return Err(Fault::usage("a command is needed"));
    }
    let _ = status::go(context).map_err(|fault| fault.print(false));
    println!("\ntroop node          run a node here");
    println!("troop run smollm2   ask a model");
    println!("troop --help        everything else");
    Ok(())
}

/// `println!` panics when its reader has gone; to whoever typed `| head` that is no fault.
fn end_quietly_unread() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let said = panic.payload_as_str().unwrap_or_default();
        if said.starts_with("failed printing to stdout") && said.contains("Broken pipe") {
            std::process::exit(fault::Code::Unread as i32);
        }
        usual(panic);
    }));
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

More: troop help env, troop help exit-codes";
