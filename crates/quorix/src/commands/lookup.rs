//! `quorix log lookup`: what exactly a log says about an output, verified here.

mod remembered;

use quorix_nix::store_path::{StoreDir, StorePath};
use quorix_tlog::tlog_policy::Verified;
use quorix_wire::index::{Fresh, LogLookup, LookupError, Said, Witnessed, lookup};
use serde_json::{Value, json};

use super::log::told::{as_json, told};
use super::log::which;
use super::{configuration, fetcher, now_s, witnesses};
use crate::cli::operate::Lookup;
use crate::output::{self, Exit, Failure};
use crate::wiring::keys;
use crate::wiring::witness::read_policy;

/// Asks the log and prints what it says. Exit code 0: something; 1: nothing, or an answer that does not verify.
pub(super) async fn run(arguments: Lookup) -> Result<Exit, Failure> {
    let (dir, path) = output_of(&arguments.path)?;
    let log = log_of(&arguments)?;
    let origin = log.key.name().to_string();
    let file = arguments.remember.as_deref();
    let known = match file {
        Some(file) => remembered::read(file, &log.key)?,
        None => None,
    };
    match lookup(&log, &dir, &path, known.as_ref()).await {
        Ok(said) => {
            if let Some(file) = file {
                remembered::write(file, &said)?;
            }
            tell(&origin, &dir.join(&path), &said, arguments.json);
            Ok(if said.entries.is_empty() {
                Exit::No
            } else {
                Exit::Yes
            })
        }
        Err(error) if error.is_refusal() => {
            let verdict = format!("{error}. Nothing in this answer is to be believed");
            if arguments.json {
                let value = json!({"log": origin, "refused": error.to_string()});
                output::answer(format_args!("{value:#}"));
            }
            Err(Failure::Refused(verdict))
        }
        Err(error @ LookupError::NoIndex { .. }) => Err(Failure::unknown(format!(
            "the log {origin}: {error}\n  what it says can be read whole: quorix log tail --from 0"
        ))),
        Err(error @ LookupError::TooMany { .. }) => Err(Failure::unknown(format!(
            "the log {origin}: {error}\n  raise the limit to read them: --max-entries N"
        ))),
        Err(error) => Err(Failure::unknown(format!("the log {origin}: {error}"))),
    }
}

/// Which log is asked, where, and what its witnesses have to have done.
fn log_of(arguments: &Lookup) -> Result<LogLookup, Failure> {
    let file = &arguments.config.config;
    let (key, url) = match (&arguments.log, &arguments.url) {
        (Some(key), Some(url)) => (which::parse_key("--log", key)?, url.clone()),
        (_, url) => {
            let config = configuration(file)?;
            let section = which::own_section(&config, file)?;
            let key = keys::log_key(&section.key, &section.origin)?;
            let url = match url {
                Some(url) => url.clone(),
                None => which::public_url(&section)?,
            };
            (key.verifier().clone(), url)
        }
    };
    let witnessed = match &arguments.policy {
        None => None,
        Some(file) => Some(Witnessed {
            policy: read_policy(file)?,
            fresh: arguments.max_age.map(|max_age| Fresh {
                now: now_s(),
                max_age,
            }),
        }),
    };
    Ok(LogLookup {
        fetcher: fetcher(file)?,
        url,
        key,
        witnessed,
        entries_max: arguments.max_entries,
        bytes_max: usize::MAX,
    })
}

fn output_of(text: &str) -> Result<(StoreDir, StorePath), Failure> {
    let not_a_path = || Failure::wrong(format!("`{text}` is not an absolute store path"));
    let (dir, base) = text.rsplit_once('/').ok_or_else(not_a_path)?;
    let dir = dir.parse().map_err(|_| not_a_path())?;
    let path = base.parse().map_err(Failure::wrong)?;
    Ok((dir, path))
}

fn tell(origin: &str, path: &str, said: &Said, json: bool) {
    let proven = &said.proven;
    let size = proven.checkpoint.checkpoint().size;
    if json {
        return output::answer(format_args!("{:#}", to_json(origin, path, said)));
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
    output::answer(sentence);
    for (index, bytes) in &said.entries {
        output::answer(told(bytes).line(*index));
    }
    if proven.covered > 0 {
        output::answer(format_args!(
            "  proof from the index: {} bytes, {} steps, {} keys; {} entries covered, {} read one by one",
            proven.proof_bytes, proven.proof_steps, proven.keys, proven.covered, said.read_behind
        ));
    }
    let of = |what: &str, verified: &Verified| {
        let line = witnesses::line(&Ok(verified.clone()), now_s());
        output::answer(format_args!("  {what}: {line}"));
    };
    if let Some(cosigned) = &said.cosigned {
        of("log", &cosigned.log);
        of("index", &cosigned.index);
    }
}

fn to_json(origin: &str, path: &str, said: &Said) -> Value {
    let proven = &said.proven;
    let entries = said.entries.iter();
    let entries: Vec<_> = entries
        .map(|(index, bytes)| as_json(*index, bytes))
        .collect();
    let witnesses = |verified: &Verified| witnesses::json(&Ok(verified.clone()));
    let cosigned = said.cosigned.as_ref();
    json!({
        "log": origin,
        "output": path,
        "size": proven.checkpoint.checkpoint().size,
        "entries": entries,
        "covered": proven.covered,
        "read_behind": said.read_behind,
        "keys": proven.keys,
        "proof_bytes": proven.proof_bytes,
        "proof_steps": proven.proof_steps,
        "checkpoint": String::from_utf8_lossy(proven.checkpoint.bytes()),
        "index_checkpoint": String::from_utf8_lossy(proven.index_checkpoint.bytes()),
        "witness_quorum": cosigned.map(|cosigned| witnesses(&cosigned.log)),
        "index_witness_quorum": cosigned.map(|cosigned| witnesses(&cosigned.index)),
    })
}
