//! `quorix policy init` and `quorix policy exempt`.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::str::FromStr as _;

use quorix_nix::store_path::StorePath;
use quorix_tlog::note::{SigningKey, VerifierKey};
use quorix_trust::policy::{
    First, Policy, SET_BYTES_MAX, SetEntry, SetError, SignedSet, date, first_policy, moment,
};
use serde_json::json;

use super::files::read_at_most;
use super::now_s;
use crate::cli::policy::{Exempt, For, Init};
use crate::output::{self, Exit, Failure};
use crate::wiring::keys::{self, AnyKey};

/// Prints a first policy, which is read once before.
pub(super) fn init(arguments: &Init) -> Result<Exit, Failure> {
    let first = match arguments.whom {
        For::Single => First::Single,
        For::Organisation => First::Organisation,
        For::Audit => First::Audit,
    };
    let (no_builder, no_cache) = (arguments.builders.is_empty(), arguments.caches.is_empty());
    let missing = match first {
        First::Single if no_cache => Some("the cache of today: give --cache LINE"),
        First::Single if no_builder => Some("an independent builder: give --builder LINE"),
        First::Organisation if no_builder => Some("its builders: give --builder LINE for each"),
        First::Audit if no_builder && no_cache => {
            Some("somebody to ask: give --builder LINE or --cache LINE")
        }
        _ => None,
    };
    if let Some(missing) = missing {
        return Err(Failure::wrong(format!(
            "this policy needs {missing}\n  LINE is as it stands in a policy; --help shows an example"
        )));
    }
    let with_operator = |lines: &[String]| {
        let operator = |line: &String| {
            let mut words = line.split_whitespace();
            let operator = words.find_map(|word| word.strip_prefix("operator="));
            let operator = operator.map(str::to_owned).ok_or_else(|| {
                Failure::wrong(format!(
                    "`{line}` has no `operator=`\n  say whose vote it is"
                ))
            })?;
            Ok((line.clone(), operator))
        };
        lines
            .iter()
            .map(operator)
            .collect::<Result<Vec<_>, Failure>>()
    };
    let builders = with_operator(&arguments.builders)?;
    let caches = with_operator(&arguments.caches)?;
    let mut operators = BTreeSet::new();
    for (line, operator) in builders.iter().chain(&caches) {
        if !operators.insert(operator) {
            return Err(Failure::wrong(format!(
                "`{line}` is of `{operator}`, who is there already\n  one operator has one vote: name another one, \
                 or add the line to the policy by hand"
            )));
        }
    }
    let text = first_policy(first, &builders, &caches);
    let policy = Policy::parse(&text).map_err(Failure::wrong)?;
    output::raw(text.as_bytes());
    for warning in &policy.warnings {
        output::remark(format_args!("Worth knowing: {warning}"));
    }
    Ok(Exit::Yes)
}

/// Looks after a signed set.
pub(super) fn exempt(command: &Exempt) -> Result<Exit, Failure> {
    match command {
        Exempt::Add {
            key,
            until,
            reason,
            set,
            path,
        } => {
            let key = signing_key(key)?;
            let mut entries = if set.exists() {
                open(set, key.verifier())?
            } else {
                SignedSet::default()
            };
            let base = path.rsplit('/').next().unwrap_or(path);
            let path = StorePath::from_str(base).map_err(|error| {
                Failure::wrong(format!("`{path}` is not a store path: {error}\n  write it whole (/nix/store/HASH-NAME), or its base name"))
            })?;
            let until_s = match until.as_str() {
                "never" => None,
                day => Some(date(day).ok_or_else(|| {
                    Failure::wrong(format!(
                        "`{day}` is not a date\n  write 2027-03-01, or `never`"
                    ))
                })?),
            };
            let reason = reason.trim().to_owned();
            if reason.is_empty() || reason.chars().any(char::is_control) {
                return Err(Failure::wrong(
                    "--reason is empty, or more than one line\n  say in one line why this path is exempt",
                ));
            }
            if until_s.is_some_and(|until| until <= now_s()) {
                output::remark(format_args!(
                    "Worth knowing: {until} has passed, so this entry counts for nothing."
                ));
            }
            entries.entries.insert(path, SetEntry { until_s, reason });
            write(set, &entries, &key)
        }
        Exempt::Prune { key, set } => {
            let key = signing_key(key)?;
            let mut entries = open(set, key.verifier())?;
            let (now_s, before) = (now_s(), entries.entries.len());
            entries
                .entries
                .retain(|_, entry| entry.until_s.is_none_or(|until| now_s < until));
            let ended = before.saturating_sub(entries.entries.len());
            if ended == 0 {
                output::answer(format_args!("Nothing in {} has ended.", set.display()));
                return Ok(Exit::Yes);
            }
            output::answer(format_args!("{} taken out.", paths(ended)));
            write(set, &entries, &key)
        }
        Exempt::List { vkey, json, set } => {
            let key = vkey
                .parse()
                .map_err(|error| {
                    Failure::wrong(format!(
                        "`{vkey}` is not a vkey: {error}\n  `quorix key show FILE` prints the one of the key that signs the set"
                    ))
                })?;
            list(&open(set, &key)?, *json)
        }
    }
}

fn list(set: &SignedSet, as_json: bool) -> Result<Exit, Failure> {
    let now_s = now_s();
    let has_ended = |entry: &SetEntry| entry.until_s.is_some_and(|until| until <= now_s);
    let ended = set
        .entries
        .values()
        .filter(|entry| has_ended(entry))
        .count();
    if as_json {
        let entries = set.entries.iter().map(|(path, entry)| {
            json!({"path": path.to_string(), "until": entry.until_s, "reason": entry.reason, "ended": has_ended(entry)})
        });
        let value = json!({"entries": entries.collect::<Vec<_>>(), "ended": ended});
        output::answer(format_args!("{value:#}"));
    } else {
        for (path, entry) in &set.entries {
            let until = entry.until_s.map(moment);
            let until = match until {
                None => "without an end".to_owned(),
                Some(until) if has_ended(entry) => format!("ended {until}"),
                Some(until) => format!("until {until}"),
            };
            output::answer(format_args!("{path}\n  {until}: {}", entry.reason));
        }
        let count = paths(set.entries.len());
        let ended = match ended {
            0 => "none has ended".to_owned(),
            1 => "1 has ended".to_owned(),
            ended => format!("{ended} have ended"),
        };
        output::answer(format_args!("{count}; {ended}."));
    }
    Ok(if ended == 0 { Exit::Yes } else { Exit::No })
}

fn paths(count: usize) -> String {
    let paths = if count == 1 { "path" } else { "paths" };
    format!("{count} {paths}")
}

fn signing_key(file: &Path) -> Result<SigningKey, Failure> {
    match keys::any_key(file)? {
        AnyKey::Log(key) => Ok(key),
        _ => Err(Failure::wrong(format!(
            "{} is not a key that signs sets\n  make one: quorix key generate --kind log --name NAME FILE",
            file.display()
        ))),
    }
}

fn open(file: &Path, key: &VerifierKey) -> Result<SignedSet, Failure> {
    let failed = |reason: String| {
        let file = file.display();
        Failure::wrong(format!("the set {file} cannot be used: {reason}"))
    };
    let bytes = read_at_most(file, SET_BYTES_MAX).map_err(failed)?;
    SignedSet::open(&bytes, key).map_err(|error| match error {
        SetError::Note(_) => failed(format!("it is not signed by {key}")),
        other => failed(other.to_string()),
    })
}

/// Writes the whole set, or leaves the old one.
fn write(file: &Path, set: &SignedSet, key: &SigningKey) -> Result<Exit, Failure> {
    let failed = |error: String| Failure::wrong(format!("{}: {error}", file.display()));
    let bytes = set.sign(key).map_err(|error| failed(error.to_string()))?;
    let folder = file.parent().filter(|one| !one.as_os_str().is_empty());
    let io = |error: std::io::Error| failed(error.to_string());
    let mut new = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(io)?;
    new.write_all(&bytes).map_err(io)?;
    new.as_file().sync_all().map_err(io)?;
    new.persist(file).map_err(|error| io(error.error))?;
    output::answer(format_args!(
        "{} in {}, signed by {}.",
        paths(set.entries.len()),
        file.display(),
        key.verifier()
    ));
    Ok(Exit::Yes)
}
