//! The geometry of tiles at every size from 0 to 70,000 and around 2^16, against the formulas of C2SP tlog-tiles written
//! down here a second time: a level has `size / 256^(L+1)` full tiles, and then one of width `size / 256^L mod 256`
//! unless that is 0.
//!
//! A log is grown leaf by leaf through all these sizes, so that what an append changes is seen after each.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::collections::BTreeMap;

use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::tile::{Edge, TileId, TileLevel, TilePath, tiles_of, width_at};

/// The size of the specification's worked example.
const WORKED_EXAMPLE: u64 = 70_000;

/// 256^level, where it fits.
fn span(level: u8) -> u128 {
    256_u128.pow(u32::from(level))
}

/// Level, index and width of every hash tile, by the formulas of the specification.
fn by_formula(size: u64) -> impl Iterator<Item = (u8, u64, u16)> {
    (0..8_u8).flat_map(move |level| {
        let size = u128::from(size);
        let full = u64::try_from(size / span(level + 1)).unwrap();
        let partial = u16::try_from(size / span(level) % 256).unwrap();
        let tiles = (0..full).map(|index| (index, 256));
        let tiles = tiles.chain((partial > 0).then_some((full, partial)));
        tiles.map(move |(index, width)| (level, index, width))
    })
}

fn level_of(id: TileId) -> u8 {
    match id.level {
        TileLevel::Hashes(level) => level,
        TileLevel::Entries => unreachable!("only hash tiles"),
    }
}

#[track_caller]
fn assert_geometry(size: u64) {
    let told = tiles_of(size).map(|(id, width)| (level_of(id), id.index, width));
    assert!(told.eq(by_formula(size)), "tiles of {size} entries");
    // One tile further to the right there is nothing, at any level.
    for level in 0..8 {
        let tiles = u64::try_from(u128::from(size) / span(level)).unwrap();
        assert_eq!(width_at(size, level, tiles.div_ceil(256)), 0, "size {size}");
    }
}

#[test]
fn every_size_up_to_the_worked_example_has_the_tiles_of_the_formula() {
    for size in 0..=WORKED_EXAMPLE {
        assert_geometry(size);
    }
}

#[test]
fn sizes_around_every_power_of_256_have_the_tiles_of_the_formula() {
    for middle in [1 << 8, 1 << 16, 1 << 24_u64] {
        for size in middle - 1..=middle + 1 {
            assert_geometry(size);
        }
    }
    // The last tiles of trees so large that nobody can list all of them.
    for height in [32, 40, 48, 56] {
        for size in [(1_u64 << height) - 1, 1 << height, (1 << height) + 1] {
            for level in 0..8_u8 {
                let full = u64::try_from(u128::from(size) / span(level + 1)).unwrap();
                let partial = u16::try_from(u128::from(size) / span(level) % 256).unwrap();
                assert_eq!(
                    width_at(size, level, full),
                    partial,
                    "{size}, level {level}"
                );
                if let Some(before) = full.checked_sub(1) {
                    assert_eq!(width_at(size, level, before), 256, "{size}, level {level}");
                }
            }
        }
    }
}

/// What the specification says of 70,000 entries, word by word.
#[test]
fn the_worked_example_has_the_paths_that_the_specification_lists() {
    let paths: Vec<String> = tiles_of(WORKED_EXAMPLE)
        .map(|(id, width)| TilePath { id, width }.to_string())
        .collect();
    let mut expected: Vec<String> = (0..273).map(|index| format!("tile/0/{index:03}")).collect();
    expected.extend(
        [
            "tile/0/273.p/112",
            "tile/1/000",
            "tile/1/001.p/17",
            "tile/2/000.p/1",
        ]
        .map(str::to_owned),
    );
    assert_eq!(paths, expected);
}

/// Grown leaf by leaf: an append writes exactly the tiles that it makes wider, keeps what they held, and writes no full
/// tile a second time. So nothing that was ever served under a tile's path changes.
#[test]
fn an_append_only_ever_widens_tiles_and_never_touches_a_full_one() {
    let mut edge = Edge::empty();
    let mut stored: BTreeMap<TileId, Vec<Hash>> = BTreeMap::new();
    for size in 1..=WORKED_EXAMPLE {
        edge.push(leaf_hash(&size.to_be_bytes()));
        let changed = edge.take_changed();
        // A level gets a hash where the size is a multiple of 256^level.
        let grown = (0..8_u8).filter(|level| u128::from(size) % span(*level) == 0);
        let grown: Vec<TileId> = grown
            .map(|level| {
                let hashes = u64::try_from(u128::from(size) / span(level)).unwrap();
                TileId::hashes(level, (hashes - 1) / 256)
            })
            .collect();
        let ids: Vec<TileId> = changed.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, grown, "what the append of entry {size} changed");
        for (id, hashes) in changed {
            let before = stored.remove(&id).unwrap_or_default();
            assert_eq!(hashes.len(), before.len() + 1, "{id:?} at {size}");
            assert_eq!(hashes[..before.len()], before, "{id:?} at {size}");
            assert_eq!(
                hashes.len(),
                usize::from(id.width_at(size)),
                "{id:?} at {size}"
            );
            stored.insert(id, hashes);
        }
    }
    let widths = stored
        .iter()
        .map(|(id, hashes)| (*id, u16::try_from(hashes.len()).unwrap()));
    assert!(widths.eq(tiles_of(WORKED_EXAMPLE)));
}
