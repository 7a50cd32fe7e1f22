//! Completions and the manual page, made from the same description as the arguments.

use std::path::Path;

use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::output::{self, Exit, Failure};

pub(super) fn completions(shell: clap_complete::Shell) {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "quorix", &mut text);
    output::raw(&text);
}

pub(super) fn manual(dir: Option<&Path>) -> Result<Exit, Failure> {
    let Some(dir) = dir else {
        let mut text = Vec::new();
        let page = clap_mangen::Man::new(Cli::command());
        page.render(&mut text).map_err(Failure::unknown)?;
        output::raw(&text);
        return Ok(Exit::Yes);
    };
    let failed = |error| Failure::wrong(format!("--dir {}: {error}", dir.display()));
    std::fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(failed)?;
    output::answer(format_args!("The manual pages are in {}.", dir.display()));
    Ok(Exit::Yes)
}
