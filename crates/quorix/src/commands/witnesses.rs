//! Who has cosigned the published checkpoint of this machine's log, for `quorix log status`.

use quorix_tlog::log_key::LogKey;
use quorix_tlog::note::{SignedNote, VerifierKey};
use quorix_tlog::tlog_policy::Verified;
use serde_json::{Value, json};

use crate::config::LogSection;
use crate::output::Failure;
use crate::wiring::witness::read_policy;

/// What the log's own witness policy says of its checkpoint; `None` where it has none.
///
/// # Errors
/// The policy cannot be read.
pub(super) fn cosigned(
    section: &LogSection,
    vkey: &str,
    checkpoint: &[u8],
) -> Result<Option<Result<Verified, String>>, Failure> {
    let Some(file) = &section.witness_policy else {
        return Ok(None);
    };
    let policy = read_policy(file)?;
    let verified = || -> Result<Verified, String> {
        let key: VerifierKey = vkey.parse().map_err(|error| format!("{error}"))?;
        let note = SignedNote::parse(checkpoint).map_err(|error| error.to_string())?;
        policy
            .verify_log(&note, &[&LogKey::from(key)])
            .map_err(|error| error.to_string())
    };
    Ok(Some(verified()))
}

/// One line for people.
pub(super) fn line(cosigned: &Result<Verified, String>, now: u64) -> String {
    match cosigned {
        Err(reason) => format!("Not yet cosigned: {reason}."),
        Ok(verified) if verified.witnesses.is_empty() => "No cosignature is asked for.".to_owned(),
        Ok(verified) => {
            let names: Vec<&str> = verified
                .witnesses
                .iter()
                .map(|witness| witness.name.as_str())
                .collect();
            let age = verified.time.map(|time| now.saturating_sub(time));
            let age = age.map_or(String::new(), |age| format!(", {age} s ago"));
            format!("Cosigned by {}{age}.", names.join(", "))
        }
    }
}

/// The same for programs.
pub(super) fn json(cosigned: &Result<Verified, String>) -> Value {
    match cosigned {
        Err(reason) => json!({ "met": false, "reason": reason }),
        Ok(verified) => {
            let witnesses: Vec<Value> = verified
                .witnesses
                .iter()
                .map(|witness| json!({ "name": witness.name, "time": witness.time }))
                .collect();
            json!({ "met": true, "time": verified.time, "witnesses": witnesses })
        }
    }
}
