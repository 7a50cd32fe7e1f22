//! What outputs are found by besides their hash part and name, and how they are counted.
//!
//! Keys of facets: one byte that says which, the value, then the 20 bytes of the hash part. Of a NAR hash the first 16
//! bytes are enough to tell NARs apart: who looks one up compares the whole.

use quorix_nix::store_path::HashPart;
use quorix_trust::ports::{Facet, Facts, StoreError, Tally, TallyKey};

use super::{FACETS, TALLIES};
use crate::database::{Database, corrupt};
use crate::tree::split_u64;

/// Bytes of a hash part in a key.
const OUTPUT_BYTES: usize = 20;
/// Bytes of a NAR hash in a key.
const NAR_BYTES: usize = 16;

fn prefix_of(facet: &Facet) -> Vec<u8> {
    match facet {
        Facet::Derivation(drv) => [b"d".as_slice(), &drv.to_bytes()].concat(),
        Facet::NarHash(hash) => {
            let hash: Vec<u8> = hash.iter().copied().take(NAR_BYTES).collect();
            [b"n".as_slice(), &hash].concat()
        }
        Facet::System(system) => [b"s".as_slice(), system.as_bytes(), b"\0"].concat(),
    }
}

/// The keys under which an output is found by these facts.
pub(super) fn facet_keys(facts: &Facts, output: &HashPart) -> Vec<Vec<u8>> {
    let mut facets = vec![Facet::NarHash(facts.nar_hash)];
    facets.extend(facts.drv.clone().map(Facet::Derivation));
    if !facts.system.is_empty() {
        facets.push(Facet::System(facts.system.clone()));
    }
    facets
        .iter()
        .map(|facet| [prefix_of(facet).as_slice(), &output.to_bytes()].concat())
        .collect()
}

/// Outputs with this facet, ascending by the bytes of their hash parts.
pub(super) fn find(
    database: &Database,
    facet: &Facet,
    after: Option<&HashPart>,
    limit: usize,
) -> Result<Vec<HashPart>, StoreError> {
    const OPERATION: &str = "finding outputs";
    let prefix = prefix_of(facet);
    let from = after.map_or_else(
        || prefix.clone(),
        |after| [prefix.as_slice(), &after.to_bytes(), b"\0"].concat(),
    );
    let mut found = Vec::new();
    for row in database.scan(FACETS.0, &from, OPERATION)?.take(limit) {
        let (key, _) = row?;
        let Some(rest) = key.strip_prefix(prefix.as_slice()) else {
            break;
        };
        let output: [u8; OUTPUT_BYTES] = rest
            .try_into()
            .map_err(|_| corrupt(OPERATION, "a stored key is cut off"))?;
        found.push(HashPart::from_bytes(&output));
    }
    Ok(found)
}

/// The key of a tally. Systems and voices have no NUL in them.
pub(super) fn tally_key(key: &TallyKey) -> Vec<u8> {
    match key {
        TallyKey::Day { day, system } => {
            [b"d".as_slice(), &day.to_be_bytes(), system.as_bytes()].concat()
        }
        TallyKey::Pair { one, other } => {
            [b"p".as_slice(), one.as_bytes(), b"\0", other.as_bytes()].concat()
        }
    }
}

fn parse_tally_key(key: &[u8]) -> Option<TallyKey> {
    match key.split_first()? {
        (b'd', rest) => {
            let (day, system) = rest.split_first_chunk::<4>()?;
            Some(TallyKey::Day {
                day: u32::from_be_bytes(*day),
                system: str::from_utf8(system).ok()?.to_owned(),
            })
        }
        (b'p', rest) => {
            let (one, other) = str::from_utf8(rest).ok()?.split_once('\0')?;
            Some(TallyKey::Pair {
                one: one.to_owned(),
                other: other.to_owned(),
            })
        }
        _ => None,
    }
}

pub(super) fn encode_tally(tally: &Tally) -> Vec<u8> {
    [tally.agree, tally.disagree, tally.one_builder, tally.none]
        .iter()
        .flat_map(|number| number.to_be_bytes())
        .collect()
}

fn decode_tally(bytes: &[u8]) -> Option<Tally> {
    let (agree, rest) = split_u64(bytes)?;
    let (disagree, rest) = split_u64(rest)?;
    let (one_builder, rest) = split_u64(rest)?;
    let (none, _) = split_u64(rest)?;
    Some(Tally {
        agree,
        disagree,
        one_builder,
        none,
    })
}

pub(super) fn read_tally(database: &Database, key: &[u8]) -> Result<Tally, StoreError> {
    const OPERATION: &str = "reading a tally";
    let Some(bytes) = database.get(TALLIES.0, key, OPERATION)? else {
        return Ok(Tally::default());
    };
    decode_tally(&bytes).ok_or_else(|| corrupt(OPERATION, "the stored numbers are cut off"))
}

/// All tallies, ascending by key.
pub(super) fn tallies(database: &Database) -> Result<Vec<(TallyKey, Tally)>, StoreError> {
    const OPERATION: &str = "reading the tallies";
    let rows = database.scan(TALLIES.0, b"", OPERATION)?;
    rows.map(|row| {
        let (key, value) = row?;
        let key = parse_tally_key(&key);
        let tally = decode_tally(&value);
        key.zip(tally)
            .ok_or_else(|| corrupt(OPERATION, "a stored tally is damaged"))
    })
    .collect()
}
