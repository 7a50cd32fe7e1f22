//! The blobs that entries name: lists of references and of inputs, a line each.
//!
//! Like an entry, a list has exactly one encoding. The name of a blob is the SHA-256 of its bytes; whoever fetched
//! it has checked that.

use std::collections::{BTreeMap, BTreeSet};

use quorix_nix::fingerprint::FingerprintDigest;
use quorix_nix::store_path::StorePath;
use quorix_trust::attestation::BLOB_BYTES_MAX;

/// Bytes that are not such a list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// Larger than a blob may be.
    #[error("the blob has {bytes} bytes, but a blob has at most 4 MiB")]
    TooLarge {
        /// Its length in bytes.
        bytes: usize,
    },
    /// Not text.
    #[error("the blob is not text from byte {offset} on")]
    NotText {
        /// Where it stops being UTF-8.
        offset: usize,
    },
    /// The last line has no line feed.
    #[error("the last line of the blob is not ended")]
    Unended,
    /// A line is not what it should be.
    #[error("line {line} of the blob: {reason}")]
    Line {
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The lines must be strictly ascending.
    #[error("line {line} of the blob does not come after the line before")]
    NotAscending {
        /// Which line, from 1.
        line: usize,
    },
}

/// The bytes of a list of references: each base name and a line feed, ascending. Whether they fit a blob
/// ([`BLOB_BYTES_MAX`]) is the caller's to check.
#[must_use]
pub fn encode_references(references: &BTreeSet<StorePath>) -> Vec<u8> {
    let lines = references.iter().map(|path| format!("{path}\n"));
    lines.collect::<String>().into_bytes()
}

/// Reads a list of references.
///
/// # Errors
/// Which line is wrong.
pub fn decode_references(bytes: &[u8]) -> Result<BTreeSet<StorePath>, BlobError> {
    let mut references = BTreeSet::new();
    for (line, text) in lines(bytes)? {
        let path = store_path(line, text)?;
        if references.last().is_some_and(|last| *last >= path) {
            return Err(BlobError::NotAscending { line });
        }
        references.insert(path);
    }
    Ok(references)
}

/// One line of a list of inputs, without a line feed: the bytes of one leaf under `inputs_root`.
#[must_use]
pub fn input_line(path: &StorePath, fingerprint: &FingerprintDigest) -> String {
    format!("{path} {fingerprint}")
}

/// The bytes of a list of inputs: each [`input_line`] and a line feed, ascending. Whether they fit a blob
/// ([`BLOB_BYTES_MAX`]) is the caller's to check.
#[must_use]
pub fn encode_inputs(inputs: &BTreeMap<StorePath, FingerprintDigest>) -> Vec<u8> {
    let lines = inputs
        .iter()
        .map(|(path, value)| input_line(path, value) + "\n");
    lines.collect::<String>().into_bytes()
}

/// Reads a list of inputs.
///
/// # Errors
/// Which line is wrong.
pub fn decode_inputs(bytes: &[u8]) -> Result<BTreeMap<StorePath, FingerprintDigest>, BlobError> {
    let mut inputs = BTreeMap::new();
    for (line, text) in lines(bytes)? {
        let invalid = |reason: String| BlobError::Line { line, reason };
        let (path, digest) = text
            .split_once(' ')
            .ok_or_else(|| invalid("is not `<base name> <fingerprint in hex>`".to_owned()))?;
        let path = store_path(line, path)?;
        let digest: FingerprintDigest = digest
            .parse()
            .map_err(|error| invalid(format!("{error}")))?;
        if inputs
            .last_key_value()
            .is_some_and(|(last, _)| *last >= path)
        {
            return Err(BlobError::NotAscending { line });
        }
        inputs.insert(path, digest);
    }
    Ok(inputs)
}

fn lines(bytes: &[u8]) -> Result<impl Iterator<Item = (usize, &str)>, BlobError> {
    if bytes.len() > BLOB_BYTES_MAX {
        return Err(BlobError::TooLarge { bytes: bytes.len() });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| BlobError::NotText {
        offset: error.valid_up_to(),
    })?;
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(BlobError::Unended);
    }
    Ok((1_usize..).zip(text.split_terminator('\n')))
}

fn store_path(line: usize, text: &str) -> Result<StorePath, BlobError> {
    text.parse().map_err(|error| BlobError::Line {
        line,
        reason: format!("{error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "67z0bkldwikw125kjvcim5j0kzc5r2wd-a";
    const B: &str = "nhx3rfs0ksyk8y9p168xd93g66da20dx-b";

    #[test]
    fn a_list_of_references_has_one_encoding() {
        let references = BTreeSet::from([A.parse().unwrap(), B.parse().unwrap()]);
        let bytes = encode_references(&references);
        assert_eq!(bytes, format!("{A}\n{B}\n").into_bytes());
        assert_eq!(decode_references(&bytes), Ok(references));
        assert_eq!(decode_references(b""), Ok(BTreeSet::new()));

        let wrong_order = format!("{B}\n{A}\n");
        assert_eq!(
            decode_references(wrong_order.as_bytes()),
            Err(BlobError::NotAscending { line: 2 })
        );
        let twice = format!("{A}\n{A}\n");
        assert_eq!(
            decode_references(twice.as_bytes()),
            Err(BlobError::NotAscending { line: 2 })
        );
        assert_eq!(decode_references(A.as_bytes()), Err(BlobError::Unended));
        assert_eq!(
            decode_references(b"\xff\n"),
            Err(BlobError::NotText { offset: 0 })
        );
        for wrong in [
            format!("{A}\n\n"),
            format!("{A}\r\n"),
            format!(" {A}\n"),
            "x\n".to_owned(),
        ] {
            let refused = decode_references(wrong.as_bytes());
            assert!(
                matches!(refused, Err(BlobError::Line { .. })),
                "{wrong:?}: {refused:?}"
            );
        }
        let large = vec![b'\n'; BLOB_BYTES_MAX + 1];
        assert_eq!(
            decode_references(&large),
            Err(BlobError::TooLarge {
                bytes: BLOB_BYTES_MAX + 1
            })
        );
    }

    #[test]
    fn a_list_of_inputs_has_one_encoding() {
        let (low, high) = (
            FingerprintDigest::from_bytes([1; 32]),
            FingerprintDigest::from_bytes([2; 32]),
        );
        let inputs = BTreeMap::from([(A.parse().unwrap(), high), (B.parse().unwrap(), low)]);
        let bytes = encode_inputs(&inputs);
        assert_eq!(bytes, format!("{A} {high}\n{B} {low}\n").into_bytes());
        assert_eq!(decode_inputs(&bytes), Ok(inputs));

        let twice = format!("{A} {low}\n{A} {high}\n");
        assert_eq!(
            decode_inputs(twice.as_bytes()),
            Err(BlobError::NotAscending { line: 2 })
        );
        for wrong in [
            format!("{A}\n"),
            format!("{A}  {low}\n"),
            format!("{A} {low} \n"),
            format!("{A} 00\n"),
        ] {
            let refused = decode_inputs(wrong.as_bytes());
            assert!(
                matches!(refused, Err(BlobError::Line { line: 1, .. })),
                "{wrong:?}: {refused:?}"
            );
        }
    }
}
