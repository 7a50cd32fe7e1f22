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
/// How keys of tallies of pairs begin: after all of days, and no key is this alone.
const PAIR: &[u8] = b"p";

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
            [DAY, &day.to_be_bytes(), system.as_bytes()].concat()
        }
        TallyKey::Pair { one, other } => {
            [PAIR, one.as_bytes(), b"\0", other.as_bytes()].concat()
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

/// The key under which something is counted: of a day that has its systems already, any further one is one of the others.
/// A row of a day stays once it is there, also at zero, so that what was counted there is taken from there.
pub(super) fn counted_under(
    database: &Database,
    key: TallyKey,
    added: &mut BTreeMap<u32, usize>,
) -> Result<TallyKey, StoreError> {
    const OPERATION: &str = "reading the systems of a day";
    let TallyKey::Day { day, system } = key else {
        return Ok(key);
    };
    let own = TallyKey::Day { day, system };
    if database.get(TALLIES.0, &tally_key(&own), OPERATION)?.is_some() {
        return Ok(own);
    }
    let of_day = [DAY, &day.to_be_bytes()].concat();
    let mut stored = 0_usize;
    for row in database
        .scan(TALLIES.0, &of_day, OPERATION)?
        .take(SYSTEMS_PER_DAY_MAX)
    {
        if !row?.0.starts_with(&of_day) {
            break;
        }
        stored = stored.saturating_add(1);
    }
    let added = added.entry(day).or_default();
    if stored.saturating_add(*added) >= SYSTEMS_PER_DAY_MAX {
        let system = OTHER_SYSTEMS.to_owned();
        return Ok(TallyKey::Day { day, system });
    }
    *added = added.saturating_add(1);
    Ok(own)
}

/// Tallies that are not zero: the newest days and the first pairs, ascending by key.
pub(super) fn tallies(
    database: &Database,
    days_max: usize,
    pairs_max: usize,
) -> Result<Vec<(TallyKey, Tally)>, StoreError> {
    const OPERATION: &str = "reading the tallies";
    let days = database.scan_back(TALLIES.0, PAIR, OPERATION)?;
    let mut tallies = some_of(days, DAY, days_max)?;
    tallies.reverse();
    let pairs = database.scan(TALLIES.0, PAIR, OPERATION)?;
    tallies.extend(some_of(pairs, PAIR, pairs_max)?);
    tallies.retain(|(_, tally)| *tally != Tally::default());
    Ok(tallies)
}

/// The first rows of this kind, zeros included, at most `limit`.
fn some_of(
    rows: impl Iterator<Item = Result<KeyAndValue, StoreError>>,
    kind: &[u8],
    limit: usize,
) -> Result<Vec<(TallyKey, Tally)>, StoreError> {
    let damaged = || corrupt("reading the tallies", "a stored tally is damaged");
    let mut some = Vec::new();
    for row in rows.take(limit) {
        let (key, value) = row?;
        if !key.starts_with(kind) {
            break;
        }
        let read = parse_tally_key(&key).zip(decode_tally(&value));
        some.push(read.ok_or_else(damaged)?);
    }
    Ok(some)
}
