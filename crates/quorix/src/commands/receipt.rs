//! `quorix decide --receipt` and `quorix verify receipt`.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use quorix_nix::store_path::{HashPart, StoreDir};
use quorix_tlog::witness::CLOCK_TOLERANCE;
use quorix_trust::decision::Decision;
use quorix_trust::explain;
use quorix_trust::policy::moment;
use quorix_wire::client::Completeness;
use quorix_wire::receipt::{RECEIPT_BYTES_MAX, Receipt};
use serde_json::json;
use tonic::transport::Channel;

use super::decide::json;
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

/// Decides from what the aggregator answers and writes all of it down. Content-addressed paths are not fetched for it.
pub(super) async fn issue(
    channel: Channel,
    arguments: &Decide,
    file: &Path,
    asked: &HashPart,
) -> Result<(Decision, Option<Completeness>), Failure> {
    let policy = Arc::new(read_policy(file)?);
    let client = super::decide::client(channel, policy.clone(), arguments)?;
    let answer = client
        .answer(asked, policy.asks_for_references())
        .await
        .map_err(Failure::unknown)?;
    let earlier = arguments.earlier.as_deref().map(earlier).transpose()?;
    let receipt = Receipt {
        policy: policy.text.clone(),
        sets: policy.sets.clone(),
        store_dir: StoreDir::default(),
        asked: asked.clone(),
        time_s: now_s(),
        answer,
        earlier,
        decision: Vec::new(),
    };
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
                "decision": json::decision(decision),
            }),
            Err(error) => {
                json!({"holds": false, "policy_checked": is_checked, "reason": error.to_string()})
            }
        };
        output::answer(format_args!("{value:#}"));
    } else {
        match &decision {
            Ok(decision) => output::answer(format_args!(
                "The receipt holds: of {}, as it says, this follows{}.\n\n{}\n\n{COMPLETENESS}",
                moment(receipt.time_s),
                if is_checked { "" } else { OWN_POLICY },
                explain::terminal(decision).trim_end()
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
