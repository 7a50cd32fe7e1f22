//! What an entry of a log adds to the index: a statement, retractions, or nothing but its place in the tree.
//!
//! Says nothing of whether it is true or counts. What does not parse is opaque: kept, counted and shown, but never a
//! reason to stop (DESIGN §4).

use quorix_nix::store_path::HashPart;
use quorix_tlog::hash::Hash;
use quorix_trust::attestation::{
    BlobId, Claim, ClaimError, Entry, KeyRotation, Observation, References,
};
use quorix_trust::policy::Cache;
use quorix_trust::ports::{Facts, IndexedStatement, Place};
use quorix_wire::entry;

/// What one entry adds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// Something said of an output.
    Statement(IndexedStatement),
    /// Leaf hashes of entries that it withdraws.
    Retraction(Vec<Hash>),
    /// The log ends with it, if it is signed by both keys.
    Rotation(KeyRotation),
    /// Nothing that is looked up.
    Nothing,
    /// It does not parse, votes for another value than that of the facts it states, or carries a signature that is
    /// none.
    Opaque,
}

/// Reads one entry; also the blobs that it names. `caches` are those of the policy.
pub(crate) fn read(
    bytes: &[u8],
    origin: &str,
    index: u64,
    caches: &[Cache],
) -> (Added, Vec<BlobId>) {
    let (added, blobs, _) = read_with_facts(bytes, origin, index, caches);
    (added, blobs)
}

/// What an entry that says something of an output is found by, without its place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    system: String,
    drv: Option<HashPart>,
    nar_hash: [u8; 32],
}

impl Found {
    pub(crate) fn at(self, index: u64, day: u32) -> Facts {
        let Self {
            system,
            drv,
            nar_hash,
        } = self;
        Facts {
            index,
            day,
            system,
            drv,
            nar_hash,
        }
    }
}

/// The same, with what a statement is found by.
pub(crate) fn read_with_facts(
    bytes: &[u8],
    origin: &str,
    index: u64,
    caches: &[Cache],
) -> (Added, Vec<BlobId>, Option<Found>) {
    let refuse = |reason: &str| {
        tracing::debug!(origin, index, reason, "an entry is kept as opaque");
        (Added::Opaque, Vec::new(), None)
    };
    let (claim, voice, inputs, found) = match entry::decode(bytes) {
        Ok(Entry::Build(build)) => match check(&build.claim) {
            Ok(()) => {
                let found = (
                    build.system,
                    build.derivation.map(|(drv, _)| drv.hash_part()),
                );
                (build.claim, origin.to_owned(), build.inputs_blob, found)
            }
            Err(error) => return refuse(&error.to_string()),
        },
        Ok(Entry::Observation(seen)) => match voice_of(&seen, origin, caches) {
            Ok(Some(voice)) => (seen.claim, voice, None, (String::new(), None)),
            Ok(None) => return refuse("the signature that it carries does not verify"),
            Err(error) => return refuse(&error.to_string()),
        },
        Ok(Entry::Retraction(retraction)) => {
            return (
                Added::Retraction(retraction.leaf_hashes.into_iter().collect()),
                Vec::new(),
                None,
            );
        }
        Ok(Entry::KeyRotation(rotation)) => return (Added::Rotation(rotation), Vec::new(), None),
        Ok(_) => return (Added::Nothing, Vec::new(), None),
        Err(error) => return refuse(&error.to_string()),
    };
    let blobs = references_blob(&claim).into_iter().chain(inputs).collect();
    let place = Place::Leaf {
        origin: origin.to_owned(),
        index,
    };
    let (system, drv) = found;
    let found = Found {
        // Without control characters, as `entry::decode` checks: a NUL would end it in the index's keys.
        system,
        drv,
        nar_hash: *claim.nar_hash.as_bytes(),
    };
    let statement = IndexedStatement {
        path: claim.path,
        value: claim.fingerprint,
        voice,
        place,
        withdrawn_by: None,
    };
    (Added::Statement(statement), blobs, Some(found))
}

/// Checks that a claim votes for the facts that it states, as far as they are in the entry.
fn check(claim: &Claim) -> Result<(), ClaimError> {
    match &claim.references {
        References::Inline(references) => claim.check(references),
        References::Blob(_) => Ok(()),
    }
}

/// In whose voice an observation in a log is indexed; `None` if its signature is none.
///
/// A cache of the policy speaks for itself, but only where its signature verifies here and now: otherwise a log
/// could put words into its mouth, or fill its share of the index. Everything else is the log's own saying; whose
/// vote it is, is found out when it is counted.
fn voice_of(
    seen: &Observation,
    origin: &str,
    caches: &[Cache],
) -> Result<Option<String>, ClaimError> {
    let Some(facts) = seen.claim.facts(None)? else {
        return Ok(Some(origin.to_owned()));
    };
    if seen.public_key.verify(&facts, &seen.signature).is_err() {
        return Ok(None);
    }
    let cache = caches
        .iter()
        .find(|cache| cache.key.as_bytes() == seen.public_key.as_bytes());
    Ok(Some(cache.map_or_else(
        || origin.to_owned(),
        |cache| cache.key.to_string(),
    )))
}

/// The blob with a claim's references, if they are in one.
pub(crate) fn references_blob(claim: &Claim) -> Option<BlobId> {
    match claim.references {
        References::Blob(id) => Some(id),
        References::Inline(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use quorix_testkit::entries::{a_retraction_of, an_attestation, bytes_of, nix_key};
    use quorix_trust::attestation::Entry;

    use super::*;

    fn cache(key: &str) -> Vec<Cache> {
        let (name, url, operator) = (
            "main".to_owned(),
            "https://cache.example.org".to_owned(),
            "example".to_owned(),
        );
        vec![Cache {
            name,
            key: nix_key(key).public_key(),
            url,
            operator,
            line: 1,
        }]
    }

    fn voice(bytes: &[u8]) -> Option<String> {
        match read(bytes, "logs.example.org/alice", 7, &cache("cache-1")).0 {
            Added::Statement(statement) => Some(statement.voice),
            _ => None,
        }
    }

    #[test]
    fn a_build_speaks_for_its_log_and_an_observation_for_the_key_that_signed() {
        let alice = "logs.example.org/alice";
        assert_eq!(voice(&an_attestation().bytes()), Some(alice.to_owned()));
        let seen = an_attestation().observed_by(&nix_key("cache-1"));
        assert_eq!(
            voice(&bytes_of(&seen)),
            Some(nix_key("cache-1").public_key().to_string())
        );
        let stranger = an_attestation().observed_by(&nix_key("stranger-1"));
        assert_eq!(voice(&bytes_of(&stranger)), Some(alice.to_owned()));
    }

    #[test]
    fn no_log_puts_words_into_the_mouth_of_a_cache() {
        let Entry::Observation(mut seen) = an_attestation().observed_by(&nix_key("cache-1")) else {
            panic!()
        };
        let other = an_attestation().saying("B");
        seen.claim = other.claim();
        assert_eq!(
            read(
                &bytes_of(&Entry::Observation(seen)),
                "logs.example.org/alice",
                7,
                &cache("cache-1")
            ),
            (Added::Opaque, Vec::new())
        );
    }

    #[test]
    fn a_list_of_references_is_named_and_a_retraction_names_leaves() {
        let listed = an_attestation()
            .referring_to(&["glibc"])
            .with_references_in_a_blob();
        let (_, blobs) = read(&listed.bytes(), "logs.example.org/alice", 0, &[]);
        assert_eq!(blobs, [quorix_testkit::tree::blob_id(&listed.blob())]);
        let retraction = bytes_of(&a_retraction_of(&[listed.bytes()]));
        let leaf = quorix_tlog::hash::leaf_hash(&listed.bytes());
        let added = read(&retraction, "logs.example.org/alice", 1, &[]).0;
        assert_eq!(added, Added::Retraction(vec![leaf]));
    }

    #[test]
    fn what_does_not_parse_is_opaque() {
        assert_eq!(
            read(b"a new kind", "logs.example.org/alice", 0, &[]),
            (Added::Opaque, Vec::new())
        );
    }
}
