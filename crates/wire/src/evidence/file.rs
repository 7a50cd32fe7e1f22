//! Proof of equivocation as a file, which anyone checks offline with the log's key alone.
//!
//! The first line says what it is. Then come, each after a line with its name and its number of bytes, the two signed
//! notes as they are; last the number of hashes, one base64 line each. Nothing may follow. At most 256 KiB.

use quorix_tlog::hash::Hash;
use quorix_trust::ports::Equivocation;

/// Longest file.
pub const EVIDENCE_FILE_BYTES_MAX: usize = 256 * 1024;

const HEADER: &str = "quorix-equivocation v1\n";
/// Well above what any tree needs.
const HASHES_MAX: usize = 128;

/// A file is no proof of equivocation at all, whatever it would prove.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceFileError {
    /// Too many bytes.
    #[error("it has {found} bytes, more than the permitted 262144")]
    TooLong {
        /// How many it has.
        found: usize,
    },
    /// Not of this form.
    #[error("{expected} was expected at byte {at}")]
    Malformed {
        /// What should be there.
        expected: &'static str,
        /// Where.
        at: usize,
    },
}

/// The bytes of a file with this proof.
#[must_use]
pub fn write_evidence_file(proof: &Equivocation) -> Vec<u8> {
    let mut bytes = HEADER.as_bytes().to_vec();
    for (name, note) in [("first", &proof.first), ("second", &proof.second)] {
        bytes.extend_from_slice(format!("{name} {}\n", note.len()).as_bytes());
        bytes.extend_from_slice(note);
    }
    bytes.extend_from_slice(format!("proof {}\n", proof.consistency_proof.len()).as_bytes());
    for hash in &proof.consistency_proof {
        bytes.extend_from_slice(format!("{hash}\n").as_bytes());
    }
    bytes
}

/// Reads a file; whether it proves anything is [`verify_equivocation`](super::verify_equivocation)'s to say.
///
/// # Errors
/// It is not exactly of this form.
pub fn read_evidence_file(bytes: &[u8]) -> Result<Equivocation, EvidenceFileError> {
    let found = bytes.len();
    if found > EVIDENCE_FILE_BYTES_MAX {
        return Err(EvidenceFileError::TooLong { found });
    }
    let mut reader = Reader { rest: bytes, found };
    reader.literal(HEADER)?;
    let first = reader.note("first ", "a line `first` with a number of bytes")?;
    let second = reader.note("second ", "a line `second` with a number of bytes")?;
    let expected = "a line `proof` with a number of at most 128 hashes";
    let count = reader.number("proof ", expected)?;
    if count > HASHES_MAX {
        return Err(reader.malformed(expected));
    }
    let mut consistency_proof = Vec::new();
    for _ in 0..count {
        let expected = "a hash in base64";
        let line = reader.line(expected)?;
        let hash: Result<Hash, _> = line.parse();
        consistency_proof.push(hash.map_err(|_| reader.malformed(expected))?);
    }
    if !reader.rest.is_empty() {
        return Err(reader.malformed("the end"));
    }
    Ok(Equivocation {
        first,
        second,
        consistency_proof,
    })
}

struct Reader<'a> {
    rest: &'a [u8],
    found: usize,
}

impl<'a> Reader<'a> {
    fn malformed(&self, expected: &'static str) -> EvidenceFileError {
        EvidenceFileError::Malformed {
            expected,
            at: self.found.saturating_sub(self.rest.len()),
        }
    }

    fn literal(&mut self, text: &'static str) -> Result<(), EvidenceFileError> {
        let rest = self.rest.strip_prefix(text.as_bytes());
        self.rest = rest.ok_or_else(|| self.malformed("the line `quorix-equivocation v1`"))?;
        Ok(())
    }

    fn line(&mut self, expected: &'static str) -> Result<&'a str, EvidenceFileError> {
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let split = end.and_then(|end| self.rest.split_at_checked(end));
        let (line, rest) = split.ok_or_else(|| self.malformed(expected))?;
        let line = str::from_utf8(line).map_err(|_| self.malformed(expected))?;
        self.rest = rest.get(1..).unwrap_or_default();
        Ok(line)
    }

    fn number(&mut self, name: &str, expected: &'static str) -> Result<usize, EvidenceFileError> {
        let number = self.line(expected)?.strip_prefix(name);
        let is_plain = |text: &&str| {
            text.bytes().all(|byte| byte.is_ascii_digit())
                && (*text == "0" || !text.starts_with('0'))
        };
        let number = number.filter(is_plain).and_then(|text| text.parse().ok());
        number.ok_or_else(|| self.malformed(expected))
    }

    fn note(&mut self, name: &str, expected: &'static str) -> Result<Vec<u8>, EvidenceFileError> {
        let length = self.number(name, expected)?;
        let split = self.rest.split_at_checked(length);
        let (note, rest) = split.ok_or_else(|| self.malformed("as many bytes as were told"))?;
        self.rest = rest;
        Ok(note.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use quorix_tlog::hash::leaf_hash;

    use super::*;

    fn proof(hashes: usize) -> Equivocation {
        Equivocation {
            first: b"one\n5\n".to_vec(),
            second: b"two\n\nproof 9\n".to_vec(),
            consistency_proof: vec![leaf_hash(b"x"); hashes],
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for hashes in [0, 3, 128] {
            let proof = proof(hashes);
            assert_eq!(read_evidence_file(&write_evidence_file(&proof)), Ok(proof));
        }
    }

    #[test]
    fn cut_extended_or_oversized_files_are_refused() {
        let bytes = write_evidence_file(&proof(2));
        for length in 0..bytes.len() {
            let cut = bytes.get(..length).unwrap();
            assert!(read_evidence_file(cut).is_err(), "{length}");
        }
        assert_eq!(
            read_evidence_file(&[bytes.as_slice(), b"\n"].concat()),
            Err(EvidenceFileError::Malformed {
                expected: "the end",
                at: bytes.len()
            })
        );
        assert!(read_evidence_file(&write_evidence_file(&proof(129))).is_err());
        let found = EVIDENCE_FILE_BYTES_MAX + 1;
        assert_eq!(
            read_evidence_file(&vec![0; found]),
            Err(EvidenceFileError::TooLong { found })
        );
    }
}
