//! `quorix log status`, and the other commands about logs in a file each.

pub(super) mod audit;
pub(crate) mod export;
mod find;
pub(super) mod fsck;
pub(super) mod proof;
pub(super) mod retract;
pub(super) mod tail;
pub(super) mod told;
pub(super) mod which;

use std::path::Path;

use quorix_wire::address::Address;
use quorix_wire::client::{ClientError, LogClient};
use quorix_wire::pb;
use quorix_wire::pb::aggregator_service_client::AggregatorServiceClient;
use serde_json::json;

use super::progress::number;
use super::{aggregator_address, channel_to, configuration, now_s, witnesses};
use crate::config::LogSection;
use crate::output::{self, Exit, Failure};

/// Where this machine's own log takes entries from this machine.
pub(super) fn own_socket(log: &LogSection) -> Result<Address, Failure> {
    log.listen.submit.local().ok_or_else(|| {
        Failure::wrong("log.listen.submit: this log has no Unix socket to be asked through; add unix:PATH to the list")
    })
}

/// The followed logs; on a machine with a log and no aggregator, that log.
pub(super) async fn status(
    aggregator: Option<Address>,
    json: bool,
    file: &Path,
) -> Result<Exit, Failure> {
    if aggregator.is_none()
        && let Ok(config) = configuration(file)
        && config.aggregator.is_none()
        && let Some(log) = config.log
    {
        return own(&own_socket(&log)?, &log, file, json).await;
    }
    let address = aggregator_address(aggregator, file)?;
    let channel = channel_to(&address, file)?;
    let answer = AggregatorServiceClient::new(channel)
        .list_logs(pb::ListLogsRequest {})
        .await;
    let answer = answer.map_err(|status| {
        Failure::unknown(format!(
            "{} (asked at {address})",
            ClientError::from(status)
        ))
    })?;
    let logs = answer.into_inner().logs;
    if json {
        let logs: Vec<_> = logs.iter().map(as_json).collect();
        output::answer(format_args!("{:#}", json!({ "logs": logs })));
    } else {
        table(&logs);
    }
    let all_live = logs.iter().all(|log| log.state() == pb::LogState::Live);
    Ok(if all_live { Exit::Yes } else { Exit::No })
}

async fn own(
    address: &Address,
    section: &LogSection,
    file: &Path,
    json: bool,
) -> Result<Exit, Failure> {
    let client = LogClient::new(channel_to(address, file)?);
    let status = client
        .status()
        .await
        .map_err(|error| Failure::unknown(format!("{error} (asked at {address})")))?;
    let cosigned = witnesses::cosigned(section, &status.vkey, &status.checkpoint)?;
    if json {
        let checkpoint = String::from_utf8_lossy(&status.checkpoint);
        let mut value = json!({"origin": status.origin, "vkey": status.vkey, "size": status.size, "checkpoint": checkpoint});
        if let (Some(cosigned), Some(value)) = (&cosigned, value.as_object_mut()) {
            value.insert("witness_quorum".into(), witnesses::json(cosigned));
        }
        if let (Some(index), Some(value)) = (&status.index, value.as_object_mut()) {
            value.insert("index".into(), index_json(index));
        }
        if let Some(value) = value.as_object_mut() {
            let recovery = status.recovery.as_ref().map(|found| {
                json!({"anchored": found.anchored, "kept": found.kept, "dropped": found.dropped})
            });
            value.insert("recovery".into(), recovery.into());
            let successor = Some(&status.successor).filter(|successor| !successor.is_empty());
            value.insert("successor".into(), successor.cloned().into());
        }
        output::answer(format_args!("{value:#}"));
    } else {
        output::answer(format_args!(
            "The log {} has {} entries.\n\n{}",
            status.origin, status.size, status.vkey
        ));
        if !status.successor.is_empty() {
            output::answer(format_args!(
                "\nIt has ended. The key that follows: {}",
                status.successor
            ));
        }
        if let Some(found) = &status.recovery {
            output::answer(format_args!("\n{}", left_over(found)));
        }
        if let Some(cosigned) = &cosigned {
            let line = witnesses::line(cosigned, now_s());
            output::answer(format_args!("\n{line}"));
        }
        if let Some(index) = &status.index {
            output::answer(format_args!("\n{}", index_line(index)));
        }
    }
    Ok(Exit::Yes)
}

/// How far the index has come, for people.
fn index_line(index: &pb::IndexStatus) -> String {
    let (covered, behind) = (number(index.covered), number(index.behind));
    let mut line = format!("Its index covers {covered} entries, {behind} are behind it");
    if index.behind_s > 0 {
        line.push_str(&format!(", for {} s", number(index.behind_s)));
    }
    line.push_str(if index.answering {
        "; it answers look-ups."
    } else {
        "; it does not answer look-ups."
    });
    if !index.problem.is_empty() {
        let word = if index.stopped {
            "It has stopped"
        } else {
            "It tries again"
        };
        line.push_str(&format!("\n  {word}: {}", index.problem));
    }
    line
}

fn index_json(index: &pb::IndexStatus) -> serde_json::Value {
    json!({
        "covered": index.covered,
        "behind": index.behind,
        "behind_s": index.behind_s,
        "keys": index.keys,
        "answering": index.answering,
        "problem": index.problem,
        "stopped": index.stopped,
    })
}

/// What the log's start found, in words.
fn left_over(found: &pb::Recovery) -> String {
    let kept = found.kept.saturating_sub(found.anchored);
    let mut sentences = Vec::new();
    if kept > 0 {
        sentences.push(format!(
            "Its start found the end of a run that was cut off: the last {kept} of {} entries were durable and not \
             acknowledged yet; they are whole and are kept.",
            found.kept
        ));
    }
    if found.dropped > 0 {
        sentences.push(format!(
            "Its start found {} entries behind entry {} that no checkpoint covers and nobody was told of; they are dropped.",
            found.dropped, found.kept
        ));
    }
    sentences.join("\n")
}

fn table(logs: &[pb::LogStatus]) {
    let live = logs
        .iter()
        .filter(|log| log.state() == pb::LogState::Live)
        .count();
    output::answer(format_args!("{live} of {} logs are live.\n", logs.len()));
    output::answer(format_args!(
        "  {:14} {:14} {:>10}  {:12} {}",
        "log", "operator", "entries", "verified", "state"
    ));
    let now = now_s();
    for log in logs {
        let verified = ago(now, log.last_verified_s);
        let (mark, word) = state(log.state());
        output::answer(format_args!(
            "{mark} {:14} {:14} {:>10}  {verified:12} {word}",
            log.name, log.operator, log.size
        ));
        let condition = condition(log);
        if !condition.is_empty() {
            output::answer(format_args!("    {condition}"));
        }
        for lift in &log.lifts {
            output::answer(format_args!(
                "    a quarantine was lifted {}: {}",
                ago(now, lift.at_s),
                lift.reason.escape_debug()
            ));
        }
        if !log.reason.is_empty() {
            output::answer(format_args!("    {}", log.reason));
        }
        if log.opaque > 0 {
            output::answer(format_args!(
                "    {} entries do not parse; they count for nobody",
                log.opaque
            ));
        }
    }
}

fn state(state: pb::LogState) -> (&'static str, &'static str) {
    match state {
        pb::LogState::Live => ("●", "live"),
        pb::LogState::Stale => ("○", "stale: adds no votes"),
        pb::LogState::Quarantined => ("▲", "quarantined: signed two contradicting checkpoints"),
        pb::LogState::Unspecified => ("?", "unknown"),
    }
}

/// How following it goes, where the state does not say it all.
fn condition(log: &pb::LogStatus) -> String {
    match log.condition() {
        pb::LogCondition::Unspecified
        | pb::LogCondition::Following
        | pb::LogCondition::Quarantined => String::new(),
        pb::LogCondition::Untried => "not looked at yet".to_owned(),
        pb::LogCondition::CatchingUp => {
            format!("catching up: {} of {} entries", log.indexed, log.shown)
        }
        pb::LogCondition::Overdue => "not heard for too long".to_owned(),
        pb::LogCondition::Unreachable => "unreachable: no address answers".to_owned(),
        pb::LogCondition::Behind => format!(
            "behind: it shows fewer entries than it showed before ({})",
            log.shown
        ),
        pb::LogCondition::Withholding => format!(
            "withholding: it signed {} entries and does not give them all",
            log.shown
        ),
        pb::LogCondition::Stuck => "the aggregator's own store fails".to_owned(),
        pb::LogCondition::Malformed => "malformed: it answers what does not verify".to_owned(),
    }
}

fn ago(now: u64, then: u64) -> String {
    if then == 0 {
        return "never".into();
    }
    match now.saturating_sub(then) {
        seconds @ 0..=119 => format!("{seconds} s ago"),
        seconds @ 120..=7_199 => format!("{} min ago", seconds / 60),
        seconds => format!("{} h ago", seconds / 3_600),
    }
}

fn as_json(log: &pb::LogStatus) -> serde_json::Value {
    json!({
        "name": log.name,
        "origin": log.origin,
        "operator": log.operator,
        "urls": log.urls,
        "state": state(log.state()).1.split(':').next(),
        "reason": log.reason,
        "condition": log.condition().as_str_name().trim_start_matches("LOG_CONDITION_").to_lowercase(),
        "shown": log.shown,
        "cosigned": String::from_utf8_lossy(&log.cosigned),
        "lifts": log.lifts.iter().map(|lift| json!({"at": lift.at_s, "reason": lift.reason})).collect::<Vec<_>>(),
        "size": log.size,
        "indexed": log.indexed,
        "opaque": log.opaque,
        "last_verified": log.last_verified_s,
        "checkpoint": String::from_utf8_lossy(&log.checkpoint),
    })
}
