//! The `sachdns` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    sachdns::cli::run()
}
