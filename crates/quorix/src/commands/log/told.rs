//! What one entry says, on one line and as JSON.

use quorix_tlog::hash::leaf_hash;
use quorix_trust::attestation::{Claim, Entry, Provenance};
use quorix_wire::entry;
use serde_json::{Value, json};

/// What an entry says, in the columns of `log tail`.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::commands) struct Told {
    /// What it is, in one word.
    pub(in crate::commands) kind: &'static str,
    /// The output that it is about, whole, where it is about one.
    pub(in crate::commands) output: Option<String>,
    /// The value that it votes for, whole.
    pub(in crate::commands) value: Option<String>,
    /// The rest, for people.
    pub(in crate::commands) what: String,
}

/// Reads an entry; what does not parse is `opaque`.
pub(in crate::commands) fn told(bytes: &[u8]) -> Told {
    let plain = |kind, what: String| Told {
        kind,
        output: None,
        value: None,
        what,
    };
    match entry::decode(bytes) {
        Ok(Entry::Build(build)) => {
            let kind = match build.provenance {
                Provenance::Built => "built",
                Provenance::Rebuilt => "rebuilt",
            };
            of_claim(kind, &build.claim, build.system.clone())
        }
        Ok(Entry::Observation(seen)) => of_claim(
            "seen",
            &seen.claim,
            format!("signed by {}", seen.public_key),
        ),
        Ok(Entry::Realisation(said)) => Told {
            output: Some(said.store_dir.join(&said.path)),
            ..plain(
                "realised",
                format!("from {}!{}", said.derivation, said.output_name),
            )
        },
        Ok(Entry::Retraction(said)) => {
            let count = said.leaf_hashes.len();
            let word = if count == 1 { "entry" } else { "entries" };
            plain("withdrawn", format!("{count} {word}: {}", said.reason))
        }
        Ok(Entry::KeyRotation(said)) => plain(
            "rotated",
            format!("the log ends; {} follows", said.new_vkey),
        ),
        Ok(Entry::Raw(said)) => plain(
            "raw",
            format!("{}, {} bytes of key", said.protocol, said.key.len()),
        ),
        Ok(_) | Err(_) => plain("opaque", format!("{} bytes that do not parse", bytes.len())),
    }
}

fn of_claim(kind: &'static str, claim: &Claim, what: String) -> Told {
    Told {
        kind,
        output: Some(claim.store_dir.join(&claim.path)),
        value: Some(claim.fingerprint.to_string()),
        what,
    }
}

impl Told {
    /// One line of columns.
    pub(in crate::commands) fn line(&self, index: u64) -> String {
        let mut line = format!("{index:>9}  {:9}", self.kind);
        for part in [self.output.clone(), self.value.as_deref().map(short)]
            .into_iter()
            .flatten()
        {
            line.push_str("  ");
            line.push_str(&part);
        }
        if !self.what.is_empty() {
            line.push_str("  ");
            line.push_str(&self.what);
        }
        line
    }
}

/// First 7 and last 4 characters.
fn short(value: &str) -> String {
    let end = value.len().saturating_sub(4);
    match (value.get(..7), value.get(end..)) {
        (Some(first), Some(last)) if value.len() > 11 => format!("{first}…{last}"),
        _ => value.to_owned(),
    }
}

/// One JSON object.
pub(in crate::commands) fn as_json(index: u64, bytes: &[u8]) -> Value {
    let told = told(bytes);
    json!({
        "index": index, "leaf": leaf_hash(bytes).to_string(), "kind": told.kind, "output": told.output,
        "value": told.value, "what": told.what, "bytes": bytes.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_by_its_ends_and_a_short_one_whole() {
        assert_eq!(short("1b5q2k7abcdefghijk9xr0"), "1b5q2k7…9xr0");
        assert_eq!(short("1b5q2k79xr0"), "1b5q2k79xr0");
    }

    #[test]
    fn bytes_that_are_no_entry_are_called_opaque() {
        let told = told(b"a new kind");
        assert_eq!(
            told.line(7),
            "        7  opaque     10 bytes that do not parse"
        );
    }
}
