//! Arguments → configuration → run → exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    iiphost::cli::run(std::env::args_os())
}
