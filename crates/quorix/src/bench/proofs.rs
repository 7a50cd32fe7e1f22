//! How long an inclusion proof takes, read from the database of a large log, and whether each one verifies.

use std::path::Path;
use std::time::Instant;

use quorix_store::RocksLog;
use quorix_tlog::hash::Hash;
use quorix_tlog::proof::{TileReader, prove_inclusion, verify_inclusion};
use quorix_tlog::tile::{TILE_WIDTH, TileId, hashes_prefix, parse_hashes, width_at};
use quorix_trust::ports::TileStore as _;

use super::figure::{Report, Target, quantile};
use crate::output::Failure;

const PROOFS: u64 = 5_000;

/// Proves leaves from all over the log.
pub(super) fn inclusion(dir: &Path, report: &mut Report) -> Result<(), Failure> {
    let store = RocksLog::open(&dir.join("log")).map_err(Failure::unknown)?;
    let head = store.head().map_err(Failure::unknown)?;
    let Some(head) = head.filter(|head| head.size > 0) else {
        return Ok(());
    };
    let reader = Stored(&store);
    let mut samples = Vec::new();
    let mut place = 1_u64;
    for _ in 0..PROOFS {
        place = place
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let index = (place >> 16) % head.size;
        let started = Instant::now();
        let proof = prove_inclusion(&reader, index, head.size).map_err(Failure::unknown)?;
        samples.push(started.elapsed().as_secs_f64() * 1e3);
        let leaf = leaf(&reader, head.size, index).map_err(Failure::unknown)?;
        verify_inclusion(index, head.size, &leaf, &proof, &head.root).map_err(Failure::unknown)?;
    }
    let p50 = quantile(&mut samples, 0.5);
    report.add("log.inclusion_proof_p50", p50, "ms", Target::None);
    let p99 = quantile(&mut samples, 0.99);
    report.add("log.inclusion_proof_p99", p99, "ms", Target::AtMost(1.0));
    Ok(())
}

fn leaf(reader: &Stored<'_>, size: u64, index: u64) -> Result<Hash, Failure> {
    let tile = index / u64::from(TILE_WIDTH);
    let hashes = reader.hashes(TileId::hashes(0, tile), width_at(size, 0, tile))?;
    let position = usize::try_from(index % u64::from(TILE_WIDTH)).unwrap_or(usize::MAX);
    let leaf = hashes.get(position).copied();
    leaf.ok_or_else(|| Failure::unknown("a leaf is missing"))
}

struct Stored<'a>(&'a RocksLog);

impl TileReader for Stored<'_> {
    type Error = Failure;

    fn hashes(&self, id: TileId, width: u16) -> Result<Vec<Hash>, Failure> {
        let tile = self.0.tile(id).map_err(Failure::unknown)?;
        let tile = tile.ok_or_else(|| Failure::unknown(format!("{id:?} is missing")))?;
        hashes_prefix(&tile, width)
            .and_then(|prefix| parse_hashes(prefix, width))
            .map_err(Failure::unknown)
    }
}
