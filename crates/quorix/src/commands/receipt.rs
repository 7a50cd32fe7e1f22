//! `quorix decide --receipt` and `quorix verify receipt`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use quorix_nix::store_path::{HashPart, StoreDir, StorePath};
use quorix_resolver::content::checkable;
use quorix_tlog::witness::CLOCK_TOLERANCE;
use quorix_trust::decision::Decision;
use quorix_trust::explain;
use quorix_trust::policy::moment;
use quorix_wire::client::{AggregatorClient, Completeness};
use quorix_wire::pb;
use quorix_wire::receipt::{Content, RECEIPT_BYTES_MAX, Receipt};
use serde_json::json;
use tokio::time::Instant;
use tonic::transport::Channel;

use super::decide::json;
use super::decide::local::LocalContent;
use super::files::read_at_most;
use super::{now_s, read_policy};
use crate::cli::Decide;
use crate::cli::operate::VerifyReceipt;
use crate::output::{self, Exit, Failure};

/// What a receipt does not show.
const COMPLETENESS: &str = "This shows that the decision follows from the policy and the evidence in the receipt.\n\
    Its time, and that nothing was left out, are the word of who made it: neither a replay of the logs\n\
    nor their verifiable indexes show it.";

/// Said where no policy was given to compare with.
const OWN_POLICY: &str = " under its own policy, which nobody checked: give yours with --policy";

/// Decides from what the aggregator answers and what content-addressed paths are found to be, and writes all of it down.
pub(super) async fn issue(
    channel: Channel,
    arguments: &Decide,
    file: &Path,
    asked: &HashPart,
) -> Result<(Decision, Option<Completeness>), Failure> {
    let policy = Arc::new(read_policy(file)?);
    let client = super::decide::client(channel, policy.clone(), arguments)?;
    let config = &arguments.config.config;
    let sources = super::decide::sources(&arguments.sources, config);
    let content = LocalContent::new(&sources, &super::fetcher(config)?)?;
    let earlier = arguments.earlier.as_deref().map(earlier).transpose()?;
    let receipt = Receipt {
        policy: policy.text.clone(),
        sets: policy.sets.clone(),
        store_dir: StoreDir::default(),
        asked: asked.clone(),
        time_s: now_s(),
        answer: pb::GetEvidenceResponse::default(),
        contents: BTreeMap::new(),
        earlier,
        decision: Vec::new(),
    };
    let receipt = collect(&client, &content, receipt).await?;
    let (receipt, decision) = receipt.issue().map_err(Failure::unknown)?;
    if let Some(file) = &arguments.receipt {
        let failed = |error: std::io::Error| {
            Failure::wrong(format!("{} was not written: {error}", file.display()))
        };
        let mut new = std::fs::File::create_new(file).map_err(failed)?;
        new.write_all(&receipt.to_bytes()).map_err(failed)?;
        new.sync_all().map_err(failed)?;
    }
    Ok((decision, client.completeness()))
}

/// Asks for the evidence, has what stands in the way of an acceptance recomputed from its content, and asks again for
/// what that refers to, until nothing changes. Ends: each output is recomputed once, and not many are.
async fn collect(
    client: &AggregatorClient,
    content: &LocalContent,
    mut receipt: Receipt,
) -> Result<Receipt, Failure> {
    let (checks_max, budget) = content.bounds();
    let until = Instant::now() + budget;
    let (mut wanted, mut tried) = (BTreeSet::from([receipt.asked.clone()]), BTreeSet::new());
    loop {
        let closure = client.policy().asks_for_references() || !receipt.contents.is_empty();
        let answer = client.answer(&wanted, closure).await;
        receipt.answer = answer.map_err(Failure::unknown)?;
        receipt.time_s = now_s();
        loop {
            let (decision, evidence) = receipt.decided().map_err(Failure::unknown)?;
            let room = checks_max.saturating_sub(tried.len());
            let checks = checkable(&decision, &evidence).into_iter();
            let checks: Vec<HashPart> = checks
                .filter(|output| !tried.contains(output))
                .take(room)
                .collect();
            tried.extend(checks.iter().cloned());
            let found = content.recompute(checks, until).await;
            if found.is_empty() {
                return Ok(receipt);
            }
            for (facts, address) in found {
                wanted.extend(facts.references.iter().map(StorePath::hash_part));
                let content = Content::of(address, &facts);
                receipt.contents.insert(facts.path, content);
            }
            if !wanted.iter().all(|one| evidence.outputs.contains_key(one)) {
                break;
            }
        }
    }
}

/// An earlier receipt, which must be one.
fn earlier(file: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = read(file)?;
    let parsed = Receipt::parse(&bytes);
    parsed.map_err(|error| Failure::wrong(format!("--earlier: {}: {error}", file.display())))?;
    Ok(bytes)
}

/// Decides again from a receipt, offline.
pub(super) fn verify(arguments: &VerifyReceipt) -> Result<Exit, Failure> {
    let named = |error: &dyn std::fmt::Display| {
        Failure::wrong(format!("{}: {error}", arguments.file.display()))
    };
    let receipt = Receipt::parse(&read(&arguments.file)?).map_err(|error| named(&error))?;
    if let Some(file) = &arguments.policy {
        let policy = read_policy(file)?;
        if (&policy.text, &policy.sets) != (&receipt.policy, &receipt.sets) {
            let reason = format!("it is under another policy than {}", file.display());
            if arguments.json {
                let value = json!({"holds": false, "policy_checked": true, "reason": reason});
                output::answer(format_args!("{value:#}"));
                return Ok(Exit::No);
            }
            return Err(Failure::refused(format!(
                "{}: {reason}",
                arguments.file.display()
            )));
        }
    }
    if receipt.time_s > now_s().saturating_add(CLOCK_TOLERANCE) {
        return Err(Failure::refused(format!(
            "{}: it is of {}, which has not come yet: time that it gives itself shows nothing",
            arguments.file.display(),
            moment(receipt.time_s)
        )));
    }
    let is_checked = arguments.policy.is_some();
    let decision = receipt.replay();
    if arguments.json {
        let value = match &decision {
            Ok(decision) => json!({
                "holds": true, "policy_checked": is_checked, "time": receipt.time_s, "complete": false,
                "contents": contents_json(&receipt), "decision": json::decision(decision),
            }),
            Err(error) => {
                json!({"holds": false, "policy_checked": is_checked, "reason": error.to_string()})
            }
        };
        output::answer(format_args!("{value:#}"));
    } else {
        match &decision {
            Ok(decision) => output::answer(format_args!(
                "The receipt holds: of {}, as it says, this follows{}.\n\n{}\n\n{}{COMPLETENESS}",
                moment(receipt.time_s),
                if is_checked { "" } else { OWN_POLICY },
                explain::terminal(decision).trim_end(),
                contents_told(&receipt)
            )),
            Err(error) => output::answer(format_args!("The receipt does not hold: {error}.")),
        }
    }
    Ok(if decision.is_ok_and(|decision| decision.is_accepted()) {
        Exit::Yes
    } else {
        Exit::No
    })
}

/// What who made the receipt says of paths that are named after their content; nothing where it has none.
fn contents_told(receipt: &Receipt) -> String {
    let mut text = String::new();
    for (path, content) in &receipt.contents {
        let (path, size) = (receipt.store_dir.join(path), content.nar_size);
        let word = if content.is_hash_shown() {
            format!(
                "the NAR's hash follows from the name, its size ({size} bytes) is the maker's word"
            )
        } else {
            format!("the NAR's hash and size ({size} bytes) are the maker's word")
        };
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "  {path}\n    {word}");
    }
    if text.is_empty() {
        return text;
    }
    format!(
        "Named after their content, which was fetched by who made the receipt and not here. That the paths follow\n\
         from content address and references was computed again:\n{text}\n"
    )
}

fn contents_json(receipt: &Receipt) -> serde_json::Value {
    let contents = receipt.contents.iter().map(|(path, content)| {
        let references = content.references.iter();
        json!({
            "path": receipt.store_dir.join(path),
            "content_address": content.address.to_string(),
            "nar_hash": content.nar_hash.to_string(),
            "nar_size": content.nar_size,
            "references": references.map(|one| receipt.store_dir.join(one)).collect::<Vec<_>>(),
            "nar_hash_follows_from_name": content.is_hash_shown(),
        })
    });
    contents.collect()
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |reason: String| {
        let file = file.display();
        Failure::wrong(format!("the receipt {file} cannot be read: {reason}"))
    };
    let data = std::fs::metadata(file).map_err(|error| failed(error.to_string()))?;
    if !data.is_file() {
        return Err(failed("it is not a file".into()));
    }
    read_at_most(file, RECEIPT_BYTES_MAX).map_err(failed)
}
