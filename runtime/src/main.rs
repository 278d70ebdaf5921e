//! The one binary. What it can do is in `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    troop::cli::main()
}
