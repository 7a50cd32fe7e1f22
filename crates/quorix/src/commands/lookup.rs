//! `quorix log lookup`: what exactly a log says about an output, verified here.

mod json;
mod remembered;
mod states;

use quorix_nix::store_path::{StoreDir, StorePath};
use quorix_tlog::tlog_policy::Verified;
use quorix_wire::index::{Fresh, LogLookup, LookupError, Said, Witnessed, lookup};

use super::log::told::told;
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
    let output = dir.join(&path);
    match lookup(&log, &dir, &path, known.as_ref()).await {
        Ok(said) => {
            if let Some(file) = file {
                remembered::write(file, &said)?;
            }
            tell(&origin, &output, &said, arguments.json);
            Ok(if said.entries.is_empty() {
                Exit::No
            } else {
                Exit::Yes
            })
        }
        Err(error) => {
            if arguments.json {
                let value = json::of_no_answer(&origin, &output, &error);
                output::answer(format_args!("{value:#}"));
            }
            Err(no_answer(&origin, &error))
        }
    }
}

/// Why there is no verified answer, and what to do.
fn no_answer(origin: &str, error: &LookupError) -> Failure {
    if error.is_refusal() {
        return Failure::Refused(format!("{error}. Nothing in this answer is to be believed"));
    }
    let hint = match error {
        LookupError::NoIndex { .. } => {
            "\n  what it says can be read whole: quorix log tail --from 0"
        }
        LookupError::TooMany { .. } => "\n  raise the limit to read them: --max-entries N",
        _ => "",
    };
    Failure::unknown(format!("the log {origin}: {error}{hint}"))
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

fn tell(origin: &str, path: &str, said: &Said, as_json: bool) {
    let proven = &said.proven;
    let size = proven.checkpoint.checkpoint().size;
    if as_json {
        let value = json::of_answer(origin, path, said);
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
    output::answer(sentence);
    for ((index, bytes), state) in said.entries.iter().zip(states::states(&said.entries)) {
        let line = told(bytes).line(*index);
        match state.withdrawn_by() {
            Some(by) => output::answer(format_args!("{line}  withdrawn by entry {by}")),
            None => output::answer(line),
        }
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
