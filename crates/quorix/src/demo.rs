//! The main job, played on this machine: three builders, one of them with altered bytes, one package that never
//! builds the same twice, one cache that serves corrupted files, and a client that installs through a quorum.
//!
//! `world` makes folders, keys, configurations and processes; `nix` runs the real Nix in stores of its own;
//! `samples` stands in where there is no Nix; `story` tells and checks what happens. The lie is made by altering a
//! built path inside one builder's store, the corruption by altering files of a cache: no code of the product lies.

pub mod caches;
pub mod client;
pub mod nix;
pub mod process;
mod samples;
mod story;
pub mod world;

use std::path::Path;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Demo;
use crate::output::{self, Exit, Failure};

/// Plays the story; without `--check` leaves everything running until Ctrl-C.
///
/// # Errors
/// Something that the story needs is missing or does not start.
pub async fn demo(arguments: Demo) -> Result<Exit, Failure> {
    let temporary = match &arguments.dir {
        Some(_) => None,
        None => Some(
            tempfile::Builder::new()
                .prefix("quorix-demo-")
                .tempdir()
                .map_err(Failure::unknown)?,
        ),
    };
    let dir = match (&arguments.dir, &temporary) {
        (Some(dir), _) => made(dir)?,
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => return Err(Failure::unknown("no folder to work in")),
    };
    let quorix = std::env::current_exe().map_err(Failure::unknown)?;
    let result = tokio::select! {
        result = play(&arguments, &dir, &quorix) => result,
        () = interrupted() => {
            output::answer("\nStopped.");
            Ok(Exit::Yes)
        }
    };
    if let Some(temporary) = temporary {
        world::remove(temporary.path());
    }
    result
}

async fn play(arguments: &Demo, dir: &Path, quorix: &Path) -> Result<Exit, Failure> {
    let mut story = story::Story::new(dir, quorix, arguments.samples)?;
    let as_told = story.tell().await?;
    if arguments.check {
        output::answer(if as_told {
            "Everything is as told."
        } else {
            "Not everything is as told."
        });
        return Ok(if as_told { Exit::Yes } else { Exit::No });
    }
    story.farewell();
    interrupted().await;
    output::answer("\nStopped.");
    Ok(if as_told { Exit::Yes } else { Exit::No })
}

fn made(dir: &Path) -> Result<std::path::PathBuf, Failure> {
    let wrong = |error: std::io::Error| Failure::wrong(format!("--dir {}: {error}", dir.display()));
    std::fs::create_dir_all(dir).map_err(wrong)?;
    if std::fs::read_dir(dir).map_err(wrong)?.next().is_some() {
        return Err(Failure::wrong(format!(
            "--dir {}: the folder is not empty",
            dir.display()
        )));
    }
    dir.canonicalize().map_err(wrong)
}

async fn interrupted() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
