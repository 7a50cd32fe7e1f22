//! `quorix log lookup`: what exactly a log says about an output, verified here.

use quorix_nix::store_path::{StoreDir, StorePath};
use quorix_tlog::note::VerifierKey;
use quorix_trust::attestation::Entry;
use quorix_wire::entry;
use quorix_wire::fetch::{FetchLimits, Fetcher};
use quorix_wire::index::{LogLookup, Said, lookup};
use serde_json::json;

use super::configuration;
use crate::cli::Lookup;
use crate::output::{self, Exit, Failure};
use crate::wiring::keys;

/// Asks the log and prints what it says. Exit code 0: something; 1: nothing, or an answer that does not verify.
pub(super) async fn run(arguments: Lookup) -> Result<Exit, Failure> {
    let (dir, path) = output_of(&arguments.path)?;
    let (key, url) = match (&arguments.log, &arguments.url) {
        (Some(key), Some(url)) => (
            key.parse::<VerifierKey>().map_err(Failure::wrong)?,
            url.clone(),
        ),
        _ => own(&arguments)?,
    };
    let fetcher = Fetcher::new(FetchLimits::default()).map_err(Failure::unknown)?;
    let origin = key.name().to_string();
    let log = LogLookup { fetcher, url, key };
    match lookup(&log, &dir, &path, None).await {
        Ok(said) => {
            tell(&origin, &path, &said, arguments.json);
            Ok(if said.entries.is_empty() {
                Exit::No
            } else {
                Exit::Yes
            })
        }
        Err(error) if error.is_refusal() => {
            output::error(&Failure::unknown(format!(
                "{error}. Nothing in this answer is to be believed"
            )));
            Ok(Exit::No)
        }
        Err(error) => Err(Failure::unknown(format!("the log {origin}: {error}"))),
    }
}

/// The log of this machine's configuration.
fn own(arguments: &Lookup) -> Result<(VerifierKey, String), Failure> {
    let config = configuration(&arguments.config.config)?;
    let section = config.log.as_ref().ok_or_else(|| {
        Failure::wrong("this machine has no log: say --log VKEY and --url URL of the one to ask")
    })?;
    let key = keys::log_key(&section.key, &section.origin)?
        .verifier()
        .clone();
    let url = match &arguments.url {
        Some(url) => url.clone(),
        None => {
            return Err(Failure::wrong(
                "say --url URL under which the log is served, for example http://127.0.0.1:8480",
            ));
        }
    };
    Ok((key, url))
}

fn output_of(text: &str) -> Result<(StoreDir, StorePath), Failure> {
    let not_a_path = || Failure::wrong(format!("`{text}` is not an absolute store path"));
    let (dir, base) = text.rsplit_once('/').ok_or_else(not_a_path)?;
    let dir = dir.parse().map_err(|_| not_a_path())?;
    let path = base.parse().map_err(Failure::wrong)?;
    Ok((dir, path))
}

fn tell(origin: &str, path: &StorePath, said: &Said, json: bool) {
    let proven = &said.proven;
    let size = proven.checkpoint.checkpoint().size;
    if json {
        let entries: Vec<_> = said
            .entries
            .iter()
            .map(
                |(index, bytes)| json!({"index": index, "kind": kind(bytes), "bytes": bytes.len()}),
            )
            .collect();
        let value = json!({
            "log": origin,
            "output": path.to_string(),
            "size": size,
            "entries": entries,
            "covered": proven.covered,
            "read_behind": said.read_behind,
            "keys": proven.keys,
            "proof_bytes": proven.proof_bytes,
            "proof_steps": proven.proof_steps,
            "checkpoint": String::from_utf8_lossy(proven.checkpoint.bytes()),
        });
        return output::answer(format_args!("{value:#}"));
    }
    let sentence = match said.entries.len() {
        0 => format!("{origin} says nothing about {path}: none of its {size} entries does."),
        1 => format!("{origin} says 1 thing about {path}, and nothing else in its {size} entries."),
        count => {
            format!(
                "{origin} says {count} things about {path}, and nothing else in its {size} entries."
            )
        }
    };
    output::answer(format_args!("{sentence}\n"));
    for (index, bytes) in &said.entries {
        output::answer(format_args!("  entry {index:>10}  {}", kind(bytes)));
    }
    output::answer(format_args!(
        "  proof from the index: {} bytes, {} steps, {} keys; {} entries covered, {} read one by one",
        proven.proof_bytes, proven.proof_steps, proven.keys, proven.covered, said.read_behind
    ));
}

fn kind(bytes: &[u8]) -> &'static str {
    match entry::decode(bytes) {
        Ok(Entry::Build(_)) => "build",
        Ok(Entry::Realisation(_)) => "realisation",
        Ok(Entry::Observation(_)) => "observation",
        Ok(Entry::Retraction(_)) => "retraction",
        _ => "other",
    }
}
