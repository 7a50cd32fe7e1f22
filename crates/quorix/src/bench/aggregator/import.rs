//! Signatures of a cache in bulk: narinfos verified, and kept in the database.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use quorix_aggregator::import::{Importer, Progress};
use quorix_nix::hash::NarHash;
use quorix_nix::narinfo::{Compression, NarInfo};
use quorix_nix::signature::SecretKey;
use quorix_nix::store_path::{StoreDir, StorePath};
use quorix_store::RocksIndex;
use quorix_trust::policy::Policy;
use sha2::{Digest as _, Sha256};

use super::logs::made_up;
use crate::bench::figure::{Report, Target, float};
use crate::output::Failure;

/// Narinfos that are imported.
const NARINFOS: u64 = 100_000;
/// References of each.
const REFERENCES: usize = 8;
const CACHE: &str = "cache.example.org-1";

/// Measures how many signatures a second are verified and kept.
pub(super) fn import(dir: &Path, report: &mut Report) -> Result<(), Failure> {
    let name = CACHE.parse().map_err(Failure::unknown)?;
    let key = SecretKey::from_seed(name, Sha256::digest(CACHE).into());
    let policy = format!(
        "cache seen {} https://cache.example.org operator=seen\nquorum none\nvoters one any seen\n\
         rule main quorum=one level=path\ndefault main\n",
        key.public_key()
    );
    let policy = Policy::parse(&policy).map_err(Failure::unknown)?;
    let dump = dump(&key)?;
    let index = RocksIndex::open(&dir.join("imported")).map_err(Failure::unknown)?;
    let importer = Importer::new(Arc::new(index), &policy, None, StoreDir::default())
        .ok_or_else(|| Failure::unknown("the policy has no cache"))?;
    let begun = Instant::now();
    let noted = |_: &Progress| Ok(());
    let progress = importer
        .take_dump(Cursor::new(dump), Progress::default(), noted)
        .map_err(Failure::unknown)?;
    let seconds = begun.elapsed().as_secs_f64();
    if progress.counts.kept != NARINFOS {
        let kept = progress.counts.kept;
        return Err(Failure::unknown(format!(
            "only {kept} signatures were kept"
        )));
    }
    let rate = float(NARINFOS) / seconds;
    let target = Target::AtLeast(20_000.0);
    report.add("aggregator.import", rate, "signatures/s", target);
    Ok(())
}

/// Narinfos one after the other.
fn dump(key: &SecretKey) -> Result<Vec<u8>, Failure> {
    let paths = made_up(NARINFOS)?;
    let store_dir = StoreDir::default();
    let mut dump = Vec::new();
    for (number, path) in paths.iter().enumerate() {
        let others = (1..=REFERENCES).map(|step| number.wrapping_mul(step).wrapping_add(step));
        let references = others.filter_map(|other| paths.get(other.checked_rem(paths.len())?));
        let narinfo = narinfo(key, &store_dir, path, references.cloned().collect());
        dump.extend_from_slice(narinfo.print(&store_dir).as_bytes());
        dump.push(b'\n');
    }
    Ok(dump)
}

fn narinfo(
    key: &SecretKey,
    store_dir: &StoreDir,
    path: &StorePath,
    references: BTreeSet<StorePath>,
) -> NarInfo {
    let mut narinfo = NarInfo {
        store_path: path.clone(),
        url: format!("nar/{}.nar.xz", path.hash_part()),
        compression: Compression::Xz,
        file_hash: None,
        file_size: None,
        nar_hash: NarHash::from_bytes(Sha256::digest(path.as_str()).into()),
        nar_size: 1_234_567,
        references,
        deriver: None,
        signatures: Vec::new(),
        malformed_signatures: 0,
        ca: None,
    };
    narinfo.signatures = vec![key.sign(&narinfo.fingerprint(store_dir))];
    narinfo
}
