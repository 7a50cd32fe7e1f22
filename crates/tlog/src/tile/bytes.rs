//! Hash tiles as bytes, which is how they are stored and served: 32 bytes a hash, nothing else.
//!
//! Never looks at the hashes. Specification: C2SP tlog-tiles, "Merkle Tree".

use super::TILE_WIDTH;
use crate::hash::{HASH_LENGTH, Hash};

/// Bytes are not a hash tile of the expected width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashTileError {
    /// The caller asked for 0 or for more than 256 hashes.
    #[error("a hash tile holds 1 to 256 hashes, {width} were asked for")]
    BadWidth {
        /// The width asked for.
        width: u16,
    },
    /// The number of bytes is not that of the expected width.
    #[error("the hash tile has {length} bytes where {width} hashes take 32 each")]
    WrongLength {
        /// Its length in bytes.
        length: usize,
        /// The width asked for.
        width: u16,
    },
}

/// The bytes of a hash tile.
#[must_use]
pub fn encode_hashes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// Splits a hash tile into its hashes, which must be exactly `width` (1 to 256) in number.
///
/// # Errors
/// Too few or too many bytes, or an impossible width.
pub fn parse_hashes(tile: &[u8], width: u16) -> Result<Vec<Hash>, HashTileError> {
    if hashes_prefix(tile, width)?.len() != tile.len() {
        return Err(HashTileError::WrongLength {
            length: tile.len(),
            width,
        });
    }
    let (hashes, _) = tile.as_chunks::<HASH_LENGTH>();
    Ok(hashes.iter().copied().map(Hash::from_bytes).collect())
}

/// The first `width` (1 to 256) hashes of a tile, still as bytes: a narrower version of it.
///
/// # Errors
/// The tile is narrower, or the width is impossible.
pub fn hashes_prefix(tile: &[u8], width: u16) -> Result<&[u8], HashTileError> {
    if width == 0 || width > TILE_WIDTH {
        return Err(HashTileError::BadWidth { width });
    }
    let wanted = usize::from(width).saturating_mul(HASH_LENGTH);
    tile.get(..wanted).ok_or(HashTileError::WrongLength {
        length: tile.len(),
        width,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle;

    #[test]
    fn a_full_tile_is_8192_bytes_and_each_narrower_one_a_prefix_of_it() {
        let hashes = oracle::leaves(256);
        let full = encode_hashes(&hashes);
        assert_eq!(full.len(), 8192);
        for width in 1..=256_u16 {
            let narrow = hashes_prefix(&full, width).unwrap();
            assert_eq!(
                parse_hashes(narrow, width).unwrap(),
                hashes[..usize::from(width)]
            );
        }
    }

    #[test]
    fn bytes_of_another_width_are_refused() {
        let tile = encode_hashes(&oracle::leaves(2));
        let wrong = |width| Err(HashTileError::WrongLength { length: 64, width });
        assert_eq!(parse_hashes(&tile, 1), wrong(1));
        assert_eq!(parse_hashes(&tile, 3), wrong(3));
        assert_eq!(
            hashes_prefix(&tile, 3).map(<[u8]>::len),
            wrong(3).map(|_: Vec<Hash>| 0)
        );
        let length = 63;
        let cut = parse_hashes(&tile[..length], 2);
        assert_eq!(cut, Err(HashTileError::WrongLength { length, width: 2 }));
        for width in [0, 257] {
            assert_eq!(
                parse_hashes(&tile, width),
                Err(HashTileError::BadWidth { width })
            );
        }
    }
}
