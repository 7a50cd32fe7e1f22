//! Entry point: one TLS provider, the arguments, an exit code.

use std::process::ExitCode;

use clap::Parser as _;

/// The system's allocator gives each thread a pool of memory that it keeps: several times what is in use.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // The one rustls provider of the whole program. It fails only if one was installed before, and none was.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = quorix::cli::Cli::parse();
    quorix::commands::run(cli).into()
}
