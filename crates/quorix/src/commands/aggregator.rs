//! `quorix aggregator …`: what an operator does about an aggregator, mostly while it is stopped.

pub(super) mod find;

use std::io::{BufWriter, Write};
use std::path::Path;

use quorix_aggregator::reindex::rebuild;
use quorix_store::RocksIndex;
use quorix_trust::policy::Policy;
use quorix_trust::ports::IndexStore as _;
use quorix_wire::client::ClientError;
use quorix_wire::pb;
use quorix_wire::pb::follow_service_client::FollowServiceClient;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::progress::counted;
use super::{aggregator_address, channel_to, configuration, import, now_s, read_policy};
use crate::cli::aggregator::{AggregatorCommand, Lift, QuarantineCommand, Reindex, Tallies};
use crate::config::Config;
use crate::output::{self, Exit, Failure};
use crate::wiring::aggregator::{kept_beside, not_cut_off};

/// Longest reason, in bytes.
const REASON_BYTES_MAX: usize = 4096;
/// Days that are printed.
const DAYS_SHOWN: usize = 30;

pub(super) async fn run(command: AggregatorCommand) -> Result<Exit, Failure> {
    match command {
        AggregatorCommand::ImportObservations(arguments) => import::import(arguments).await,
        AggregatorCommand::Quarantine(QuarantineCommand::Lift(arguments)) => lift(&arguments),
        AggregatorCommand::Reindex(arguments) => reindex(&arguments),
        AggregatorCommand::Find(arguments) => find::run(arguments).await,
        AggregatorCommand::Tallies(arguments) => tallies(arguments).await,
    }
}

fn lift(arguments: &Lift) -> Result<Exit, Failure> {
    let reason = arguments.reason.trim();
    if reason.is_empty() || reason.len() > REASON_BYTES_MAX {
        return Err(Failure::wrong(format!(
            "--reason: say why in 1 to {REASON_BYTES_MAX} bytes; it is kept and shown for ever"
        )));
    }
    let (config, policy) = here(&arguments.config.config)?;
    let builder = policy
        .builders
        .iter()
        .find(|one| one.name == arguments.log || one.origin() == arguments.log)
        .ok_or_else(|| {
            Failure::wrong(format!(
                "the policy has no builder and no log called `{}`",
                arguments.log.escape_debug()
            ))
        })?;
    let index = open(&config)?;
    match index
        .lift(builder.origin(), now_s(), reason)
        .map_err(Failure::unknown)?
    {
        Some(_) => {
            output::answer(format_args!(
                "The quarantine of {} is lifted, and that is recorded with your reason.\n  It counts once it has answered \
                 and verified after the next start. The contradiction that was proved stays refused.",
                builder.name
            ));
            Ok(Exit::Yes)
        }
        None => {
            output::answer(format_args!("{} is not quarantined.", builder.name));
            Ok(Exit::No)
        }
    }
}

fn reindex(arguments: &Reindex) -> Result<Exit, Failure> {
    let (config, policy) = here(&arguments.config.config)?;
    let dir = config.role_dir("aggregator");
    not_cut_off(&dir)?;
    let (fresh, kept) = (dir.with_extension("new"), kept_beside(&dir));
    for other in [&fresh, &kept] {
        if other.exists() {
            return Err(Failure::wrong(format!(
                "{} is there from an earlier run; look at it and remove it first",
                other.display()
            )));
        }
    }
    let built = build(&config, &policy, &fresh);
    let (entries, is_same) = match built {
        Ok(built) => built,
        Err(failure) => {
            // Where the old one did not open there is no new one yet.
            if fresh.exists() {
                remove(&fresh)?;
            }
            return Err(failure);
        }
    };
    let entries = counted(entries, "entry", "entries");
    if arguments.check || is_same {
        remove(&fresh)?;
    } else {
        move_dir(&dir, &kept)?;
        move_dir(&fresh, &dir)?;
    }
    let said = match (is_same, arguments.check) {
        (true, _) => {
            format!("The index is exactly what the mirrored logs give: {entries} read again.")
        }
        (false, true) => format!(
            "The index is not what the mirrored logs give ({entries} read again). Nothing was changed; without --check \
             it is built anew."
        ),
        (false, false) => format!(
            "The index was built anew from {entries}. The old database is {}.",
            kept.display()
        ),
    };
    output::answer(said);
    Ok(if is_same || !arguments.check {
        Exit::Yes
    } else {
        Exit::No
    })
}

/// Builds the index anew in a folder. Returns the number of entries, and whether it is the same as the one that is there.
fn build(config: &Config, policy: &Policy, fresh: &Path) -> Result<(u64, bool), Failure> {
    let old = open(config)?;
    let new = RocksIndex::open(fresh).map_err(Failure::unknown)?;
    let entries = rebuild(&old, &new, policy, now_s()).map_err(Failure::unknown)?;
    old.unlogged(&mut |observation| new.observe(observation).map(|_| ()))
        .map_err(Failure::unknown)?;
    let (before, after) = (fingerprint(&old)?, fingerprint(&new)?);
    Ok((entries, before == after))
}

/// SHA-256 of the sorted dump of an index.
fn fingerprint(index: &RocksIndex) -> Result<[u8; 32], Failure> {
    struct Hashing(Sha256);
    impl Write for Hashing {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut out = BufWriter::new(Hashing(Sha256::new()));
    index.dump(&mut out).map_err(Failure::unknown)?;
    let hashing = out.into_inner().map_err(Failure::unknown)?;
    Ok(hashing.0.finalize().into())
}

async fn tallies(arguments: Tallies) -> Result<Exit, Failure> {
    let file = &arguments.config.config;
    let address = aggregator_address(arguments.aggregator, file)?;
    let channel = channel_to(&address, file)?;
    let mut client = FollowServiceClient::new(channel);
    let answer = client.get_tallies(pb::GetTalliesRequest {}).await;
    let answer = answer.map_err(|status| {
        let error = ClientError::from(status);
        Failure::unknown(format!("{error} (asked at {address})"))
    })?;
    let answer = answer.into_inner();
    if arguments.json {
        output::answer(format_args!("{:#}", as_json(&answer)));
    } else {
        table(&answer);
    }
    Ok(Exit::Yes)
}

fn as_json(answer: &pb::GetTalliesResponse) -> serde_json::Value {
    let days: Vec<_> = answer
        .days
        .iter()
        .map(|day| {
            json!({"day": day.day, "system": day.system, "agree": day.agree, "disagree": day.disagree,
                   "one_builder": day.one_builder, "none": day.none})
        })
        .collect();
    let pairs: Vec<_> = answer
        .pairs
        .iter()
        .map(|pair| {
            json!({"one": pair.one, "other": pair.other, "agree": pair.agree, "disagree": pair.disagree})
        })
        .collect();
    json!({"days": days, "pairs": pairs})
}

fn table(answer: &pb::GetTalliesResponse) {
    output::answer(format_args!(
        "{:>12}  {:18} {:>10} {:>10} {:>12} {:>10}",
        "days ago", "system", "agree", "disagree", "one builder", "withdrawn"
    ));
    let today = u32::try_from(now_s() / 86_400).unwrap_or(u32::MAX);
    for day in answer.days.iter().rev().take(DAYS_SHOWN) {
        let system = if day.system.is_empty() {
            "not said"
        } else {
            &day.system
        };
        output::answer(format_args!(
            "{:>12}  {:18} {:>10} {:>10} {:>12} {:>10}",
            today.saturating_sub(day.day),
            system.escape_debug().to_string(),
            day.agree,
            day.disagree,
            day.one_builder,
            day.none
        ));
    }
    output::answer(format_args!(
        "\n  {:20} {:20} {:>10} {:>10}",
        "builder", "builder", "the same", "different"
    ));
    for pair in &answer.pairs {
        output::answer(format_args!(
            "  {:20} {:20} {:>10} {:>10}",
            pair.one, pair.other, pair.agree, pair.disagree
        ));
    }
}

/// The configuration of this machine's aggregator and its policy.
fn here(file: &Path) -> Result<(Config, Policy), Failure> {
    let config = configuration(file)?;
    let policy = config.policy.as_deref().ok_or_else(|| {
        Failure::wrong(format!(
            "{} names no policy: add `policy = …`",
            file.display()
        ))
    })?;
    let policy = read_policy(policy)?;
    Ok((config, policy))
}

fn open(config: &Config) -> Result<RocksIndex, Failure> {
    let dir = config.role_dir("aggregator");
    if !dir.join("CURRENT").exists() {
        return Err(Failure::wrong(format!(
            "{} holds no aggregator's database yet",
            dir.display()
        )));
    }
    RocksIndex::open(&dir)
        .map_err(|error| Failure::unknown(format!("{error}. Stop the aggregator first")))
}

fn remove(dir: &Path) -> Result<(), Failure> {
    std::fs::remove_dir_all(dir)
        .map_err(|error| Failure::unknown(format!("{} cannot be removed: {error}", dir.display())))
}

fn move_dir(from: &Path, to: &Path) -> Result<(), Failure> {
    std::fs::rename(from, to).map_err(|error| {
        Failure::unknown(format!(
            "{} cannot be renamed to {}: {error}",
            from.display(),
            to.display()
        ))
    })
}
