//! Completions and the manual page, made from the same description as the arguments.

use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::output::{self, Exit, Failure};

pub(super) fn completions(shell: clap_complete::Shell) {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "quorix", &mut text);
    output::raw(&text);
}

pub(super) fn manual() -> Result<Exit, Failure> {
    let mut text = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut text)
        .map_err(Failure::unknown)?;
    output::raw(&text);
    Ok(Exit::Yes)
}
