//! Paths of tiles: the examples of C2SP tlog-tiles, and every spelling that is not one.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<TilePath, TilePathError> {
    text.parse()
}

#[test]
fn paths_are_spelled_as_the_specification_says() {
    let full = |id| TilePath {
        id,
        width: TILE_WIDTH,
    };
    for (text, path) in [
        ("tile/0/000", full(TileId::hashes(0, 0))),
        ("tile/0/x001/x234/067", full(TileId::hashes(0, 1_234_067))),
        ("tile/63/x001/000", full(TileId::hashes(63, 1000))),
        (
            "tile/0/x001/234.p/5",
            TilePath {
                id: TileId::hashes(0, 1234),
                width: 5,
            },
        ),
        (
            "tile/entries/273.p/112",
            TilePath {
                id: TileId::entries(273),
                width: 112,
            },
        ),
        (
            "tile/entries/x001/x234/067",
            full(TileId::entries(1_234_067)),
        ),
        (
            "tile/7/000.p/255",
            TilePath {
                id: TileId::hashes(7, 0),
                width: 255,
            },
        ),
    ] {
        assert_eq!(parse(text), Ok(path));
        assert_eq!(path.to_string(), text);
    }
}

#[test]
fn other_spellings_are_refused_with_the_part_that_is_wrong() {
    use TilePathError::{BadIndex, BadLevel, BadWidth, NotATile};
    for (text, error) in [
        ("", NotATile),
        ("/tile/0/000", NotATile),
        ("tile/0", NotATile),
        ("checkpoint", NotATile),
        ("tile/00/000", BadLevel),
        ("tile/64/000", BadLevel),
        ("tile/-1/000", BadLevel),
        ("tile/data/000", BadLevel),
        ("tile/0/", BadIndex),
        ("tile/0/0", BadIndex),
        ("tile/0/0000", BadIndex),
        ("tile/0/+01", BadIndex),
        ("tile/0/x001", BadIndex),
        ("tile/0/001/002", BadIndex),
        ("tile/0/x000/001", BadIndex),
        ("tile/0/x001/x002", BadIndex),
        ("tile/0/001/", BadIndex),
        ("tile/0/x36028/x797/018/963/968", BadIndex),
        ("tile/0/x999/x999/x999/x999/x999/x999/x999/999", BadIndex),
        ("tile/0/001.p", BadIndex),
        ("tile/0/001.p/", BadWidth),
        ("tile/0/001.p/0", BadWidth),
        ("tile/0/001.p/05", BadWidth),
        ("tile/0/001.p/256", BadWidth),
        ("tile/0/001.p/5.p/5", BadWidth),
        ("tile/0/001.p/5/", BadWidth),
    ] {
        assert_eq!(parse(text), Err(error), "{text:?}");
    }
}

#[test]
fn the_largest_index_is_the_last_one_that_is_accepted() {
    let largest = TilePath {
        id: TileId::hashes(0, MAX_TILE_INDEX),
        width: TILE_WIDTH,
    };
    let text = "tile/0/x036/x028/x797/x018/x963/967";
    assert_eq!(largest.to_string(), text);
    assert_eq!(parse(text), Ok(largest));
    assert_eq!(
        parse("tile/0/x036/x028/x797/x018/x963/968"),
        Err(TilePathError::BadIndex)
    );
}

proptest! {
    #[test]
    fn every_path_reads_back(
        level in proptest::option::of(0..=63_u8), index in 0..=MAX_TILE_INDEX, shift in 0..55_u32,
        width in 1..=256_u16,
    ) {
        let level = level.map_or(TileLevel::Entries, TileLevel::Hashes);
        let path = TilePath { id: TileId { level, index: index >> shift }, width };
        prop_assert_eq!(parse(&path.to_string()), Ok(path));
    }

    #[test]
    fn arbitrary_text_never_panics_and_reprints_as_it_was(
        text in "(tile/)?([0-9]{1,2}|entries|.{0,3})/(x[0-9]{3}/|.{0,2}){0,7}[0-9]{0,3}(\\.p/[0-9]{0,3})?",
    ) {
        if let Ok(path) = parse(&text) {
            prop_assert_eq!(path.to_string(), text);
        }
    }
}
