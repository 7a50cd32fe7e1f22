//! `quorix log retract`: withdraws entries of this machine's log.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};

use quorix_tlog::hash::leaf_hash;
use quorix_trust::attestation::{Entry, Retraction};
use quorix_wire::client::LogClient;
use quorix_wire::entry::{RETRACTED_MAX, encode};
use quorix_wire::{channel, entry};
use serde_json::json;

use super::find::{Found, Target, find};
use super::told::told;
use super::which::{self, Own};
use crate::cli::operate::{Retract, WhichLog};
use crate::commands::configuration;
use crate::commands::progress::counted;
use crate::output::{self, Exit, Failure};

pub(in crate::commands) async fn retract(arguments: Retract) -> Result<Exit, Failure> {
    let file = &arguments.config.config;
    let section = which::own_section(&configuration(file)?, file)?;
    let targets: Vec<Target> = arguments
        .entries
        .iter()
        .map(|text| Target::parse(text))
        .collect::<Result<_, _>>()?;
    let which = WhichLog {
        key: None,
        urls: Vec::new(),
        config: arguments.config.clone(),
    };
    let opened = which::open(&which, Own::Served)?;
    let shown = opened.checkpoint().await?;
    let found = find(&opened, shown.checkpoint(), &targets).await?;
    let standing: Vec<&Found> = found
        .iter()
        .filter(|found| can_be_withdrawn(found))
        .collect();
    if standing.is_empty() {
        let reason = if found.is_empty() {
            "it has no such entry"
        } else {
            "all of them are withdrawn already, or are no statements"
        };
        return Err(Failure::refused(format!(
            "the log {} has nothing to withdraw: {reason}",
            opened.origin()
        )));
    }
    if !arguments.yes {
        for found in &standing {
            output::remark(told(&found.bytes).line(found.index));
        }
        let entries = counted(standing.len() as u64, "entry", "entries");
        if !is_confirmed(&format!(
            "Withdraw {entries} of {} for good?",
            opened.origin()
        ))? {
            return Err(Failure::refused("nothing was withdrawn"));
        }
    }
    let leaves: BTreeSet<_> = standing
        .iter()
        .map(|found| leaf_hash(&found.bytes))
        .collect();
    if leaves.len() > RETRACTED_MAX {
        return Err(Failure::wrong(format!(
            "at most {RETRACTED_MAX} entries are withdrawn at once"
        )));
    }
    let retraction = Retraction {
        leaf_hashes: leaves,
        reason: arguments.reason.clone(),
    };
    let bytes = encode(&Entry::Retraction(retraction))
        .map_err(|error| Failure::wrong(format!("--reason: {error}")))?;
    let address = super::own_socket(&section)?;
    let client = LogClient::new(channel::connect(&address).map_err(Failure::wrong)?);
    let submitted = client.submit_patiently(vec![bytes], Vec::new()).await;
    let submitted =
        submitted.map_err(|error| Failure::unknown(format!("{error} (the log at {address})")))?;
    let index = submitted.indices.first().map_or(0, |(index, _)| *index);
    report(opened.origin(), index, &standing, arguments.json);
    Ok(Exit::Yes)
}

/// Statements can be withdrawn; a retraction and the end of a log cannot.
fn can_be_withdrawn(found: &Found) -> bool {
    let is_statement = !matches!(
        entry::decode(&found.bytes),
        Ok(Entry::Retraction(_) | Entry::KeyRotation(_)) | Err(_)
    );
    is_statement && found.withdrawn_by.is_none()
}

/// Asks on the terminal.
pub(in crate::commands) fn is_confirmed(question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::wrong(
            "nobody is there to confirm it; say so with --yes",
        ));
    }
    let mut err = std::io::stderr();
    let asked = write!(err, "{question} [y/N] ").and_then(|()| err.flush());
    asked.map_err(Failure::unknown)?;
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(Failure::unknown)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn report(origin: &str, index: u64, withdrawn: &[&Found], json: bool) {
    if json {
        let entries: Vec<u64> = withdrawn.iter().map(|found| found.index).collect();
        let value = json!({"origin": origin, "index": index, "withdrawn": entries});
        return output::answer(format_args!("{value:#}"));
    }
    let entries = counted(withdrawn.len() as u64, "entry", "entries");
    output::answer(format_args!(
        "Withdrawn: {entries} of {origin}, by entry {index}."
    ));
    for found in withdrawn {
        output::answer(told(&found.bytes).line(found.index));
    }
}
