//! Canonical bytes of log entries, and of the blobs that entries name.
//!
//! What [`decode`] accepts satisfies every rule of `proto/quorix/v1/entry.proto`, and [`encode`] gives exactly those
//! bytes back; nothing else is an entry. Neither says that what an entry claims is true.

use prost::Message as _;
use quorix_trust::attestation::{ENTRY_BYTES_MAX, Entry};

use crate::pb;

mod blob;
mod error;
mod read;
mod write;

pub use blob::{
    BlobError, decode_inputs, decode_references, encode_inputs, encode_references, input_line,
};
pub use error::{EntryError, Problem};

/// Longest name of an output, in bytes.
pub const OUTPUT_NAME_MAX: usize = 211;
/// Longest text for system, Nix implementation, Nix version and protocol, in bytes.
pub const SHORT_TEXT_MAX: usize = 64;
/// Longest text for a kernel release, in bytes.
pub const KERNEL_MAX: usize = 128;
/// Longest reason of a retraction, in bytes.
pub const REASON_MAX: usize = 1000;
/// Most entries that one retraction withdraws.
pub const RETRACTED_MAX: usize = 1000;
/// Longest key of a `Raw` entry, in bytes.
pub const RAW_KEY_MAX: usize = 4096;

/// The one encoding of an entry.
///
/// # Errors
/// The entry breaks a rule of the format, so that [`decode`] would refuse its bytes.
pub fn encode(entry: &Entry) -> Result<Vec<u8>, EntryError> {
    let message = write::message(entry)?;
    let bytes = message.encode_to_vec();
    check_size(&bytes)?;
    // Reading it back applies every rule in one place only.
    read::entry(message)?;
    Ok(bytes)
}

/// Reads an entry.
///
/// # Errors
/// Which field breaks which rule, or where the bytes differ from the entry's one encoding.
pub fn decode(bytes: &[u8]) -> Result<Entry, EntryError> {
    check_size(bytes)?;
    let message = pb::Entry::decode(bytes).map_err(|error| EntryError::Malformed {
        reason: error.to_string(),
    })?;
    let is_canonical = is_canonical(&message, bytes);
    let entry = read::entry(message)?;
    if is_canonical {
        return Ok(entry);
    }
    let canonical = write::message(&entry)?.encode_to_vec();
    if canonical != bytes {
        let same = canonical.iter().zip(bytes).take_while(|(a, b)| a == b);
        return Err(EntryError::NotCanonical {
            offset: same.count(),
        });
    }
    Ok(entry)
}

/// Whether these are the bytes that [`encode`] gives for what the message says, provided that it can be read: reading
/// takes only one spelling of each field, so what is left are the ways of protobuf to write one message. Saves every
/// log and follower from building each entry's message a second time.
fn is_canonical(message: &pb::Entry, bytes: &[u8]) -> bool {
    let says_nothing_of_environment = match &message.kind {
        Some(pb::entry::Kind::Build(build)) => {
            build.environment.as_ref() == Some(&pb::Environment::default())
        }
        _ => false,
    };
    !says_nothing_of_environment && message.encode_to_vec() == bytes
}

fn check_size(bytes: &[u8]) -> Result<(), EntryError> {
    if bytes.len() > ENTRY_BYTES_MAX {
        return Err(EntryError::TooLarge { bytes: bytes.len() });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
