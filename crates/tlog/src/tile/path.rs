//! The paths under which a log serves its tiles and entry bundles.
//!
//! Each tile has exactly one path; anything else is refused, so that nothing is served, cached or
//! fetched under two names. Specification: C2SP tlog-tiles, "Merkle Tree".

use std::{fmt, str::FromStr};

use super::{MAX_TILE_INDEX, MAX_TILE_LEVEL, TILE_WIDTH, TileId, TileLevel};
use crate::decimal;

/// The path of one version of a tile below a log's prefix, like `tile/0/x001/234.p/5`.
///
/// Reading and printing are each other's inverse; every path has exactly one spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    /// Which tile.
    pub id: TileId,
    /// How many hashes or entries: 1 to 255 for a partial version, 256 for the full tile.
    pub width: u16,
}

/// A text is not the path of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TilePathError {
    /// It does not begin with `tile/` and has a level and an index.
    #[error("not a tile path: expected tile/<level>/<index>")]
    NotATile,
    /// The level is neither `entries` nor a number from 0 to 63.
    #[error(
        "the tile's level is neither `entries` nor a number from 0 to 63 without leading zeros"
    )]
    BadLevel,
    /// The index is not in groups of three digits, is not the shortest form, or is too large.
    #[error("the tile's index is not in groups of three digits like x001/x234/067, or too large")]
    BadIndex,
    /// What follows `.p/` is not a number from 1 to 255.
    #[error("the tile's width after `.p/` is not a number from 1 to 255 without leading zeros")]
    BadWidth,
}

impl FromStr for TilePath {
    type Err = TilePathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text.strip_prefix("tile/").ok_or(TilePathError::NotATile)?;
        let (level, rest) = path.split_once('/').ok_or(TilePathError::NotATile)?;
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, partial_width(width)?),
            None => (rest, TILE_WIDTH),
        };
        let id = TileId {
            level: parse_level(level)?,
            index: parse_index(index)?,
        };
        Ok(Self { id, width })
    }
}

fn parse_level(text: &str) -> Result<TileLevel, TilePathError> {
    if text == "entries" {
        return Ok(TileLevel::Entries);
    }
    decimal::parse(text)
        .and_then(|level| u8::try_from(level).ok())
        .filter(|level| *level <= MAX_TILE_LEVEL)
        .map(TileLevel::Hashes)
        .ok_or(TilePathError::BadLevel)
}

fn partial_width(text: &str) -> Result<u16, TilePathError> {
    decimal::parse(text)
        .and_then(|width| u16::try_from(width).ok())
        .filter(|width| (1..TILE_WIDTH).contains(width))
        .ok_or(TilePathError::BadWidth)
}

/// Three digits a group, all groups but the last marked with `x`, no needless group of zeros.
fn parse_index(text: &str) -> Result<u64, TilePathError> {
    let (leading, last) = match text.rsplit_once('/') {
        Some((leading, last)) => (Some(leading), last),
        None => (None, text),
    };
    let mut index = 0_u64;
    for group in leading.into_iter().flat_map(|groups| groups.split('/')) {
        let digits = group.strip_prefix('x').ok_or(TilePathError::BadIndex)?;
        index = append_group(index, digits)?;
        if index == 0 {
            return Err(TilePathError::BadIndex);
        }
    }
    append_group(index, last)
}

fn append_group(index: u64, digits: &str) -> Result<u64, TilePathError> {
    if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(TilePathError::BadIndex);
    }
    let group: u64 = digits.parse().map_err(|_| TilePathError::BadIndex)?;
    index
        .checked_mul(1000)
        .and_then(|index| index.checked_add(group))
        .filter(|index| *index <= MAX_TILE_INDEX)
        .ok_or(TilePathError::BadIndex)
}

impl fmt::Display for TilePath {
    /// Without a leading slash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id.level {
            TileLevel::Hashes(level) => write!(f, "tile/{level}/")?,
            TileLevel::Entries => f.write_str("tile/entries/")?,
        }
        write_index(f, self.id.index)?;
        if self.width == TILE_WIDTH {
            return Ok(());
        }
        write!(f, ".p/{}", self.width)
    }
}

fn write_index(f: &mut fmt::Formatter<'_>, index: u64) -> fmt::Result {
    let mut groups = vec![index % 1000];
    let mut rest = index / 1000;
    while rest > 0 {
        groups.push(rest % 1000);
        rest /= 1000;
    }
    for (position, group) in groups.iter().enumerate().rev() {
        match position {
            0 => write!(f, "{group:03}")?,
            _ => write!(f, "x{group:03}/")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
