//! What outputs are found by besides their hash part and name, and how they are counted.
//!
//! Keys of facets: one byte that says which, the value (a system with a NUL behind it), then the 20 bytes of the hash part.
//! Of a NAR hash the first 16 bytes are the value; nobody makes two NARs that begin alike there by chance.

use std::collections::BTreeMap;

use quorix_nix::store_path::HashPart;
use quorix_trust::ports::{
    Facet, Facts, OTHER_SYSTEMS, SYSTEMS_PER_DAY_MAX, StoreError, Tally, TallyKey,
};

use super::{FACETS, TALLIES};
use crate::database::{Database, KeyAndValue, corrupt};
use crate::tree::split_u64;

/// Bytes of a hash part in a key.
const OUTPUT_BYTES: usize = 20;
/// Bytes of a NAR hash in a key.
const NAR_BYTES: usize = 16;
/// How keys of tallies of days begin.
const DAY: &[u8] = b"d";
/// How keys of tallies of pairs begin.
const PAIR: &[u8] = b"p";
/// How keys of tallies of all systems of a day begin: so that what is beyond the first systems is known without reading it.
const WHOLE_DAY: &[u8] = b"w";
/// After all keys of tallies of whole days.
const AFTER_DAYS: &[u8] = b"x";
const READING: &str = "reading the tallies";

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

/// The keys under which an output is found by these facts, without its system where it is found by that already.
pub(super) fn facet_keys(facts: &Facts, output: &HashPart, knows_system: bool) -> Vec<Vec<u8>> {
    let mut facets = vec![Facet::NarHash(facts.nar_hash)];
    facets.extend(facts.drv.clone().map(Facet::Derivation));
    if !knows_system && !facts.system.is_empty() {
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
        TallyKey::Day { day, system } => [DAY, &day.to_be_bytes(), system.as_bytes()].concat(),
        TallyKey::Pair { one, other } => [PAIR, one.as_bytes(), b"\0", other.as_bytes()].concat(),
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

/// The key under which everything of the same day is counted as one; none of a pair.
pub(super) fn whole_day_key(key: &TallyKey) -> Option<Vec<u8>> {
    match key {
        TallyKey::Day { day, .. } => Some([WHOLE_DAY, &day.to_be_bytes()].concat()),
        TallyKey::Pair { .. } => None,
    }
}

/// Tallies: the newest days and the first pairs, ascending by key.
pub(super) fn tallies(
    database: &Database,
    days_max: usize,
    pairs_max: usize,
) -> Result<Vec<(TallyKey, Tally)>, StoreError> {
    let mut tallies = days(database, days_max)?;
    let pairs = database.scan(TALLIES.0, PAIR, READING)?;
    tallies.extend(some_of(pairs, PAIR, pairs_max)?);
    Ok(tallies)
}

/// The newest days, each with its systems: at most `limit` of both.
fn days(database: &Database, limit: usize) -> Result<Vec<(TallyKey, Tally)>, StoreError> {
    let mut days: Vec<(TallyKey, Tally)> = Vec::new();
    for row in database.scan_back(TALLIES.0, AFTER_DAYS, READING)? {
        let (key, value) = row?;
        let Some(day) = key.strip_prefix(WHOLE_DAY) else {
            break;
        };
        if days.len() >= limit {
            break;
        }
        let whole = decode_tally(&value).ok_or_else(damaged)?;
        let systems = systems_of(database, day, whole)?;
        // Descending for now: the oldest come last, and what is too much of them goes.
        days.extend(systems.into_iter().rev());
    }
    days.truncate(limit);
    days.reverse();
    Ok(days)
}

/// The first systems of a day, and what all others of it come to.
fn systems_of(
    database: &Database,
    day: &[u8],
    whole: Tally,
) -> Result<BTreeMap<TallyKey, Tally>, StoreError> {
    let of_day = [DAY, day].concat();
    let rows = database.scan(TALLIES.0, &of_day, READING)?;
    let first = some_of(rows, &of_day, SYSTEMS_PER_DAY_MAX)?;
    let mut others = whole;
    let mut systems = BTreeMap::new();
    for (key, tally) in first {
        others.take(tally);
        systems.insert(key, tally);
    }
    if others != Tally::default()
        && let Some(TallyKey::Day { day, .. }) = systems.keys().next()
    {
        let (day, system) = (*day, OTHER_SYSTEMS.to_owned());
        let key = TallyKey::Day { day, system };
        systems.entry(key).or_default().add(others);
    }
    Ok(systems)
}

/// The first rows whose keys begin so, at most `limit`.
fn some_of(
    rows: impl Iterator<Item = Result<KeyAndValue, StoreError>>,
    prefix: &[u8],
    limit: usize,
) -> Result<Vec<(TallyKey, Tally)>, StoreError> {
    let mut some = Vec::new();
    for row in rows.take(limit) {
        let (key, value) = row?;
        if !key.starts_with(prefix) {
            break;
        }
        let read = parse_tally_key(&key).zip(decode_tally(&value));
        some.push(read.ok_or_else(damaged)?);
    }
    Ok(some)
}

fn damaged() -> StoreError {
    corrupt(READING, "a stored tally is damaged")
}
