//! The geometry of tiles, with the worked examples of C2SP tlog-tiles.

use proptest::prelude::*;

use super::*;
use crate::oracle;

#[test]
fn a_log_of_70_000_entries_has_the_tiles_of_the_worked_example() {
    let tiles: Vec<_> = tiles_of(70_000).collect();
    let level = |wanted| -> Vec<u16> {
        let at_level = tiles
            .iter()
            .filter(|(id, _)| id.level == TileLevel::Hashes(wanted));
        at_level.map(|(_, width)| *width).collect()
    };
    let mut bottom = vec![256; 273];
    bottom.push(112);
    assert_eq!(level(0), bottom);
    assert_eq!(level(1), [256, 17]);
    assert_eq!(level(2), [1]);
    assert_eq!(tiles.len(), 274 + 2 + 1);
    assert_eq!(TileId::entries(273).width_at(70_000), 112);
}

#[test]
fn a_log_of_256_entries_has_one_full_tile_and_one_hash_above_it() {
    let tiles: Vec<_> = tiles_of(256).collect();
    assert_eq!(
        tiles,
        [(TileId::hashes(0, 0), 256), (TileId::hashes(1, 0), 1)]
    );
    assert_eq!(width_at(256, 0, 1), 0);
    assert_eq!(
        tiles_of(255).collect::<Vec<_>>(),
        [(TileId::hashes(0, 0), 255)]
    );
    assert_eq!(tiles_of(0).count(), 0);
}

#[test]
fn the_geometry_is_that_of_the_tiles_made_by_definition() {
    let leaves = oracle::leaves(66_000);
    for size in [
        1, 2, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 66_000,
    ] {
        let made: Vec<_> = oracle::tiles(&leaves[..size])
            .into_iter()
            .map(|(id, hashes)| (id, u16::try_from(hashes.len()).unwrap()))
            .collect();
        assert_eq!(
            tiles_of(size as u64).collect::<Vec<_>>(),
            made,
            "size {size}"
        );
    }
}

#[test]
fn widths_do_not_overflow_at_the_ends_of_their_ranges() {
    assert_eq!(width_at(u64::MAX, 0, u64::MAX), 0);
    assert_eq!(width_at(u64::MAX, 0, (1 << 56) - 1), 255);
    assert_eq!(width_at(u64::MAX, 7, 0), 255);
    assert_eq!(width_at(u64::MAX, 8, 0), 0);
    assert_eq!(width_at(u64::MAX, u8::MAX, 0), 0);
    assert_eq!(tiles_of(u64::MAX).next(), Some((TileId::hashes(0, 0), 256)));
}

proptest! {
    #[test]
    fn a_tiles_width_only_grows_with_the_log(
        size in 0..1_000_000_u64, level in 0..4_u8, index in 0..40_u64,
    ) {
        let (now, next) = (width_at(size, level, index), width_at(size + 1, level, index));
        prop_assert!(now <= next && next <= now + 1 && next <= TILE_WIDTH);
    }
}
