//! `quorix log tail`: the newest entries of a log, each proved to be in the signed tree, and what comes after them.

use std::time::Duration;

use quorix_wire::scan::Growth;

use super::told::{as_json, told};
use super::which::{self, Opened, Own, Problem};
use crate::cli::operate::Tail;
use crate::output::{self, Exit, Failure};

/// Entries that are printed where nothing else was asked for.
const NEWEST: u64 = 10;
/// How often a followed log is asked for news.
const INTERVAL: Duration = Duration::from_secs(1);

pub(in crate::commands) async fn tail(arguments: Tail) -> Result<Exit, Failure> {
    // The database of one's own log is no place to follow: whoever holds it keeps the log from starting.
    let own = if arguments.follow {
        Own::Served
    } else {
        Own::Either
    };
    let opened = which::open(&arguments.which, own)?;
    let mut shown = opened.checkpoint().await?;
    let size = shown.checkpoint().size;
    let mut next = arguments
        .from
        .unwrap_or_else(|| size.saturating_sub(NEWEST));
    let mut growth = Growth::skipping(&opened.source, next, shown.checkpoint())
        .await
        .map_err(Problem::from)?;
    loop {
        let goal = shown.checkpoint();
        while next < goal.size {
            let grown = growth
                .step(&opened.source, goal)
                .await
                .map_err(Problem::from)?;
            for (index, bytes) in grown.bundles.iter().flat_map(|bundle| bundle.entries()) {
                if index >= next {
                    print(index, bytes, arguments.json);
                }
            }
            next = next.max(grown.size);
        }
        if !arguments.follow {
            break;
        }
        tokio::time::sleep(INTERVAL).await;
        shown = newer(&opened, shown).await?;
    }
    if arguments.from.is_some_and(|from| from >= size && size > 0) && !arguments.json {
        output::remark(format_args!(
            "The log {} has {} entries, from 0 to {}.",
            opened.origin(),
            size,
            size.saturating_sub(1)
        ));
    }
    if next == 0 && !arguments.json {
        output::remark(format_args!(
            "The log {} has no entries yet.",
            opened.origin()
        ));
    }
    Ok(Exit::Yes)
}

/// The log's newest checkpoint; the one before while it does not answer.
async fn newer(
    opened: &Opened,
    before: quorix_tlog::checkpoint::SignedCheckpoint,
) -> Result<quorix_tlog::checkpoint::SignedCheckpoint, Failure> {
    match opened.checkpoint().await {
        Ok(shown) if shown.checkpoint().size < before.checkpoint().size => {
            Err(Failure::refused(format!(
                "the log {} shows a checkpoint of {} entries after one of {}",
                opened.origin(),
                shown.checkpoint().size,
                before.checkpoint().size
            )))
        }
        Ok(shown)
            if shown.checkpoint().size == before.checkpoint().size
                && shown.checkpoint().root != before.checkpoint().root =>
        {
            Err(Failure::refused(format!(
                "the log {} shows two different checkpoints of {} entries: another past than before",
                opened.origin(),
                shown.checkpoint().size
            )))
        }
        Ok(shown) => Ok(shown),
        Err(Problem::Read(error)) if !error.is_of_the_log() => {
            tracing::warn!("{error}; trying again");
            Ok(before)
        }
        Err(problem) => Err(problem.into()),
    }
}

fn print(index: u64, bytes: &[u8], json: bool) {
    if json {
        output::answer(as_json(index, bytes));
    } else {
        output::answer(told(bytes).line(index));
    }
}
