//! Entry point: one TLS provider, the arguments, an exit code.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // The one rustls provider of the whole program. It fails only if one was installed before, and none was.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = quorix::cli::Cli::parse();
    quorix::commands::run(cli).into()
}
