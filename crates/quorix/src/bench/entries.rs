//! Entries to submit: real canonical `Build` entries, each another output, made from a number.
//!
//! The load generator shares the machine with what is measured, so it does not encode each entry anew: it cuts other
//! hash parts and hashes of the same length into one that was encoded. What comes out decodes, or it is not used.

use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::hash::NarHash;
use quorix_nix::store_path::{HashPart, StoreDir, StorePath};
use quorix_tlog::index::Key;
use quorix_trust::attestation::{Build, Claim, Entry, Environment, Provenance};
use quorix_wire::entry::{decode, encode};
use quorix_wire::index::output_key;
use sha2::{Digest as _, Sha256};

use crate::output::Failure;

const NAME: &str = "python3.12-requests-2.32.3";
/// What the entries refer to besides themselves: always the same, so that each number changes one hash part only.
const OTHERS: [&str; 2] = [
    "00bgd045z0d4icpbc2yyz4gx48ak44la-openssl-3.4.1",
    "006rzks1cdlpn4cnmlx4ghv8vz1rwwca-glibc-2.40-66",
];

/// An encoded entry in which other hashes can be put.
#[derive(Clone)]
pub(super) struct Entries {
    bytes: Vec<u8>,
    /// Where the hash part of the output and of its derivation stand.
    paths: Vec<usize>,
    nar_hash: usize,
    fingerprint: usize,
    text: Text,
}

/// The text that is fingerprinted.
#[derive(Clone)]
struct Text {
    bytes: Vec<u8>,
    /// Where the hash part of the output stands.
    path: usize,
    nar_hash: usize,
}

impl Entries {
    /// Encodes the one that all others are made from, and checks that they decode.
    pub(super) fn new() -> Result<Self, Failure> {
        let facts = facts(0)?;
        let drv = path(0, &format!("{NAME}.drv"))?;
        let bytes = encoded_build(&facts, Some(drv))?;
        let text = facts.to_string().into_bytes();
        let hash_part = HashPart::from_bytes(&spread(0));
        let entries = Self {
            paths: places(&bytes, hash_part.as_str().as_bytes()),
            nar_hash: only(&bytes, &nar_hash(0))?,
            fingerprint: only(&bytes, facts.digest().as_bytes())?,
            bytes,
            text: Text {
                path: only(&text, hash_part.as_str().as_bytes())?,
                nar_hash: only(&text, facts.nar_hash.nix32().as_bytes())?,
                bytes: text,
            },
        };
        for number in [0, 1, u64::MAX] {
            decode(&entries.get(number)).map_err(Failure::unknown)?;
        }
        Ok(entries)
    }

    /// The canonical bytes of the attestation with this number; the same number gives the same bytes.
    pub(super) fn get(&self, number: u64) -> Vec<u8> {
        let (hash_part, nar_hash) = (HashPart::from_bytes(&spread(number)), nar_hash(number));
        let mut text = self.text.bytes.clone();
        put(&mut text, self.text.path, hash_part.as_str().as_bytes());
        let nix32 = NarHash::from_bytes(nar_hash).nix32();
        put(&mut text, self.text.nar_hash, nix32.as_bytes());
        let mut bytes = self.bytes.clone();
        for place in &self.paths {
            put(&mut bytes, *place, hash_part.as_str().as_bytes());
        }
        put(&mut bytes, self.nar_hash, &nar_hash);
        put(&mut bytes, self.fingerprint, &Sha256::digest(&text));
        bytes
    }

    /// Key of the output that the attestation with this number is about, in the log's index.
    pub(super) fn key(number: u64) -> Result<Key, Failure> {
        Ok(output_key(&StoreDir::default(), &path(number, NAME)?))
    }
}

/// The canonical entry of a build of this, as real ones are: references inline, a derivation where there is one.
pub(in crate::bench) fn encoded_build(
    facts: &Fingerprint,
    derivation: Option<StorePath>,
) -> Result<Vec<u8>, Failure> {
    let build = Build {
        claim: Claim::of(facts),
        content_address: None,
        derivation: derivation.map(|drv| (drv, "out".to_owned())),
        provenance: Provenance::Built,
        system: "x86_64-linux".to_owned(),
        nix_signature: None,
        inputs_root: None,
        inputs_blob: None,
        started_at_s: 1_767_225_600,
        finished_at_s: 1_767_225_660,
        environment: Environment::default(),
    };
    encode(&Entry::Build(Box::new(build))).map_err(Failure::unknown)
}

fn facts(number: u64) -> Result<Fingerprint, Failure> {
    let references = OTHERS.iter().map(|other| other.parse());
    Ok(Fingerprint {
        store_dir: StoreDir::default(),
        path: path(number, NAME)?,
        nar_hash: NarHash::from_bytes(nar_hash(number)),
        nar_size: 1_234_567,
        references: references
            .collect::<Result<_, _>>()
            .map_err(Failure::unknown)?,
    })
}

fn path(number: u64, name: &str) -> Result<StorePath, Failure> {
    StorePath::new(&HashPart::from_bytes(&spread(number)), name).map_err(Failure::unknown)
}

fn nar_hash(number: u64) -> [u8; 32] {
    spread(number ^ 0xa5a5_a5a5)
}

fn only(bytes: &[u8], part: &[u8]) -> Result<usize, Failure> {
    let missing = || Failure::unknown("the entry to measure with is not as expected");
    match places(bytes, part).as_slice() {
        [place] => Ok(*place),
        _ => Err(missing()),
    }
}

fn places(bytes: &[u8], part: &[u8]) -> Vec<usize> {
    let windows = bytes.windows(part.len().max(1)).enumerate();
    windows
        .filter(|(_, window)| *window == part)
        .map(|(place, _)| place)
        .collect()
}

fn put(bytes: &mut [u8], place: usize, part: &[u8]) {
    let target = bytes.get_mut(place..).unwrap_or_default();
    if let Some(target) = target.get_mut(..part.len()) {
        target.copy_from_slice(part);
    }
}

/// Bytes that look random, as the hash parts of store paths do (the finaliser of `SplitMix64`).
fn spread<const N: usize>(number: u64) -> [u8; N] {
    let mut bytes = [0; N];
    for (lane, chunk) in (1_u64..).zip(bytes.chunks_mut(8)) {
        let mut word = number.wrapping_add(lane.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        for (to, from) in chunk.iter_mut().zip(word.to_be_bytes()) {
            *to = from;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_number_is_an_entry_that_decodes_and_no_two_are_the_same() {
        let entries = Entries::new().unwrap();
        let made: BTreeSet<_> = (0..1_000).map(|number| entries.get(number)).collect();
        assert_eq!(made.len(), 1_000);
        assert!(made.iter().all(|bytes| decode(bytes).is_ok()));
    }
}
