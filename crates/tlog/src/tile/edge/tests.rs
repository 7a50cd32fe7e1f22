//! The right edge against tiles made by definition.

use std::{collections::BTreeMap, convert::Infallible};

use proptest::prelude::*;

use super::*;
use crate::oracle;

type Stored = BTreeMap<TileId, Vec<Hash>>;

/// What a log does with the changed tiles: the widest version replaces the narrower ones.
fn store(stored: &mut Stored, changed: Vec<(TileId, Vec<Hash>)>) {
    for (id, hashes) in changed {
        let narrower = stored.insert(id, hashes.clone()).unwrap_or_default();
        assert!(
            hashes.starts_with(&narrower),
            "{id:?} was rewritten, not widened"
        );
        assert!(hashes.len() > narrower.len(), "{id:?} did not change");
    }
}

fn load(stored: &Stored, size: u64) -> Edge {
    let read = |id, width| {
        assert!(
            (1..TILE_WIDTH).contains(&width),
            "only partial tiles are read"
        );
        let tile: Option<&Vec<Hash>> = stored.get(&id);
        Ok::<_, Infallible>(tile.map(|hashes| hashes[..usize::from(width)].to_vec()))
    };
    Edge::load(size, read).unwrap()
}

/// Appends all leaves in batches of the given sizes, again and again, and stores after each batch.
fn grow(leaves: &[Hash], batches: &[usize]) -> (Edge, Stored) {
    let (mut edge, mut stored) = (Edge::empty(), Stored::new());
    let mut rest = leaves;
    for batch in batches.iter().cycle() {
        let (now, later) = rest.split_at((*batch).min(rest.len()));
        now.iter().for_each(|leaf| edge.push(*leaf));
        store(&mut stored, edge.take_changed());
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    (edge, stored)
}

#[test]
fn changed_tiles_add_up_to_the_tiles_of_the_whole_log() {
    let leaves = oracle::leaves(66_000);
    for size in [1, 255, 256, 257, 65_535, 65_536, 65_537, 66_000] {
        let leaves = &leaves[..size];
        for batch in [1000, 256, size] {
            let (edge, stored) = grow(leaves, &[batch]);
            assert_eq!(
                stored,
                oracle::tiles(leaves),
                "size {size} in batches of {batch}"
            );
            assert_eq!(
                (edge.size(), edge.root()),
                (size as u64, oracle::root(leaves))
            );
        }
    }
}

#[test]
fn a_loaded_edge_goes_on_as_if_it_had_never_stopped() {
    let leaves = oracle::leaves(66_000);
    for size in [0, 1, 255, 256, 257, 1000, 65_535, 65_536, 65_537] {
        let (_, mut stored) = grow(&leaves[..size], &[size.max(1)]);
        let mut edge = load(&stored, size as u64);
        assert_eq!(edge.root(), oracle::root(&leaves[..size]));
        assert_eq!(edge.take_changed(), [], "loading changes nothing");

        leaves[size..].iter().for_each(|leaf| edge.push(*leaf));
        store(&mut stored, edge.take_changed());
        assert_eq!(stored, oracle::tiles(&leaves), "from size {size}");
        assert_eq!(edge.root(), oracle::root(&leaves));
    }
}

#[test]
fn an_older_size_loads_from_the_widest_versions() {
    let leaves = oracle::leaves(700);
    let (_, stored) = grow(&leaves, &[700]);
    for size in 0..=700 {
        assert_eq!(
            load(&stored, size as u64).root(),
            oracle::root(&leaves[..size])
        );
    }
}

#[test]
fn taking_twice_gives_nothing_the_second_time() {
    let mut edge = Edge::empty();
    assert_eq!(edge.take_changed(), []);
    let leaf = oracle::leaves(1)[0];
    edge.push(leaf);
    assert_eq!(edge.take_changed(), [(TileId::hashes(0, 0), vec![leaf])]);
    assert_eq!(edge.take_changed(), []);
}

#[test]
fn what_cannot_be_the_edge_of_that_size_is_refused() {
    let hash = oracle::leaves(1)[0];
    let id = TileId::hashes(0, 1);
    let answer = |answer: Result<Option<usize>, &'static str>| {
        Edge::load(300, |_, _| {
            answer.map(|width| width.map(|width| vec![hash; width]))
        })
    };
    assert_eq!(answer(Err("torn")), Err(EdgeError::Read("torn")));
    assert_eq!(answer(Ok(None)), Err(EdgeError::Missing { id, width: 44 }));
    for given in [0, 43, 45, 256] {
        assert_eq!(
            answer(Ok(Some(given))),
            Err(EdgeError::WrongWidth {
                id,
                width: 44,
                given
            })
        );
    }
    let size = MAX_TREE_SIZE + 1;
    let too_large = Edge::load(size, |_, _| Ok::<_, Infallible>(None));
    assert_eq!(too_large, Err(EdgeError::TooLarge { size }));
}

#[test]
fn the_edge_of_the_largest_log_loads_and_grows() {
    let hash = oracle::leaves(1)[0];
    let read = |_, width| Ok::<_, Infallible>(Some(vec![hash; usize::from(width)]));
    let mut edge = Edge::load(MAX_TREE_SIZE, read).unwrap();
    edge.push(hash);
    assert_eq!(edge.size(), 1 << 63);
    // The last entry completes a tile at each of the levels 0 to 6, and widens that of level 7.
    let widths: Vec<_> = edge
        .take_changed()
        .iter()
        .map(|(_, hashes)| hashes.len())
        .collect();
    assert_eq!(widths, [256, 256, 256, 256, 256, 256, 256, 128]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn batches_of_any_sizes_give_the_same_tiles(
        size in 1..1500_usize, batches in proptest::collection::vec(1..400_usize, 1..5),
    ) {
        let leaves = oracle::leaves(size);
        let (edge, stored) = grow(&leaves, &batches);
        prop_assert_eq!(&stored, &oracle::tiles(&leaves));
        prop_assert_eq!(load(&stored, size as u64).root(), edge.root());
    }
}
