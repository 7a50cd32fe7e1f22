//! Entry bundles: up to 256 entries in a row, each as a 16-bit big-endian length and its bytes.
//!
//! The format has no count and no end mark: how many entries a bundle holds is known from the
//! tree's size, so readers always say how many they expect. Nothing here looks into an entry.
//! Specification: C2SP tlog-tiles, "Log Entries".

use crate::tile::TILE_WIDTH;

/// Longest entry in bytes: what a 16-bit length can say.
pub const MAX_ENTRY_LENGTH: usize = 65_535;

const LENGTH_BYTES: usize = 2;

/// An entry does not fit the 16-bit length of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the entry has {length} bytes, but a log entry has at most 65535")]
pub struct EntryTooLarge {
    /// Length of the refused entry in bytes.
    pub length: usize,
}

/// Bytes that are not the expected entry bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The caller asked for 0 or for more than 256 entries.
    #[error("an entry bundle holds 1 to 256 entries, {count} were asked for")]
    BadCount {
        /// The count asked for.
        count: u16,
    },
    /// The bytes end inside an entry or before the expected number of entries.
    #[error("the entry bundle ends inside entry {position} of {count} expected ones")]
    Truncated {
        /// Position in the bundle, from 0, of the entry that is missing or cut.
        position: u16,
        /// The count asked for.
        count: u16,
    },
    /// Bytes follow the last expected entry.
    #[error("{surplus} bytes follow the last of {count} expected entries of the bundle")]
    Surplus {
        /// Number of bytes too many.
        surplus: usize,
        /// The count asked for.
        count: u16,
    },
}

/// Appends one entry to a bundle.
///
/// # Errors
/// An entry longer than [`MAX_ENTRY_LENGTH`]; the bundle is unchanged then.
pub fn append(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), EntryTooLarge> {
    let length = u16::try_from(entry.len()).map_err(|_| EntryTooLarge {
        length: entry.len(),
    })?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// Splits a bundle into its entries, which must be exactly `expected` (1 to 256) in number.
///
/// # Errors
/// Too few bytes, bytes left over, or an impossible count.
pub fn parse(bundle: &[u8], expected: u16) -> Result<Vec<&[u8]>, BundleError> {
    let (entries, rest) = take(bundle, expected)?;
    if !rest.is_empty() {
        return Err(BundleError::Surplus {
            surplus: rest.len(),
            count: expected,
        });
    }
    Ok(entries)
}

/// The first `count` (1 to 256) entries of a bundle, still as a bundle: a narrower version of it.
///
/// # Errors
/// The bundle holds fewer entries or is cut, or the count is impossible.
pub fn prefix(bundle: &[u8], count: u16) -> Result<&[u8], BundleError> {
    let (_, rest) = take(bundle, count)?;
    let length = bundle.len().saturating_sub(rest.len());
    bundle.get(..length).ok_or(BundleError::Truncated {
        position: count,
        count,
    })
}

/// The entry at a position (0 to 255) of a bundle, of whatever width it is.
///
/// # Errors
/// The bundle holds fewer entries or is cut.
pub fn entry(bundle: &[u8], position: u16) -> Result<&[u8], BundleError> {
    let count = position.saturating_add(1);
    if count > TILE_WIDTH {
        return Err(BundleError::BadCount { count });
    }
    let mut rest = bundle;
    for before in 0..position {
        let position = before;
        (_, rest) = split_entry(rest).ok_or(BundleError::Truncated { position, count })?;
    }
    let (entry, _) = split_entry(rest).ok_or(BundleError::Truncated { position, count })?;
    Ok(entry)
}

/// Cuts a bundle into pieces of `entries` entries each, the last of which has what is left: also what is no whole entry. All
/// of them one after the other are the bundle again.
pub fn pieces(bundle: &[u8], entries: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = bundle;
    std::iter::from_fn(move || {
        let (begin, mut after) = (rest, rest);
        let mut whole = 0;
        while whole < entries.max(1)
            && let Some((_, next)) = split_entry(after)
        {
            whole += 1;
            after = next;
        }
        let length = match split_entry(after) {
            Some(_) => begin.len().saturating_sub(after.len()),
            None => begin.len(),
        };
        let (piece, next) = begin.split_at_checked(length)?;
        rest = next;
        (!piece.is_empty()).then_some(piece)
    })
}

/// How many whole entries there are, at most 256; what is cut off after them is not counted.
#[must_use]
pub fn count(bundle: &[u8]) -> u16 {
    let (mut whole, mut rest) = (0, bundle);
    while whole < TILE_WIDTH
        && let Ok((_, after)) = take(rest, 1)
    {
        whole = whole.saturating_add(1);
        rest = after;
    }
    whole
}

/// The first `count` entries and the bytes after them.
fn take(bundle: &[u8], count: u16) -> Result<(Vec<&[u8]>, &[u8]), BundleError> {
    if count == 0 || count > TILE_WIDTH {
        return Err(BundleError::BadCount { count });
    }
    let mut entries = Vec::with_capacity(usize::from(count));
    let mut rest = bundle;
    for position in 0..count {
        let truncated = BundleError::Truncated { position, count };
        let (entry, after) = split_entry(rest).ok_or(truncated)?;
        entries.push(entry);
        rest = after;
    }
    Ok((entries, rest))
}

/// The first entry and the bytes after it; `None` where there is no whole one.
fn split_entry(bundle: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, after) = bundle.split_first_chunk::<LENGTH_BYTES>()?;
    after.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bundle(entries: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for entry in entries {
            append(&mut bytes, entry).unwrap();
        }
        bytes
    }

    #[test]
    fn entries_are_length_prefixed_in_order() {
        let bytes = bundle(&[b"ab", b"", b"c"]);
        assert_eq!(bytes, b"\0\x02ab\0\0\0\x01c");
        assert_eq!(parse(&bytes, 3), Ok(vec![b"ab".as_slice(), b"", b"c"]));
    }

    #[test]
    fn the_longest_entry_fits_and_one_byte_more_does_not() {
        let longest = vec![7; MAX_ENTRY_LENGTH];
        let bytes = bundle(&[&longest]);
        assert_eq!(parse(&bytes, 1), Ok(vec![longest.as_slice()]));

        let mut unchanged = bytes.clone();
        let refused = append(&mut unchanged, &vec![7; MAX_ENTRY_LENGTH + 1]);
        assert_eq!(refused, Err(EntryTooLarge { length: 65_536 }));
        assert_eq!(unchanged, bytes);
    }

    #[test]
    fn a_wrong_count_is_an_error_that_says_where() {
        let bytes = bundle(&[b"ab", b"c"]);
        assert_eq!(
            parse(&bytes, 1),
            Err(BundleError::Surplus {
                surplus: 3,
                count: 1
            })
        );
        assert_eq!(
            parse(&bytes, 3),
            Err(BundleError::Truncated {
                position: 2,
                count: 3
            })
        );
        let cut = &bytes[..bytes.len() - 1];
        assert_eq!(
            parse(cut, 2),
            Err(BundleError::Truncated {
                position: 1,
                count: 2
            })
        );
        assert_eq!(parse(&bytes, 0), Err(BundleError::BadCount { count: 0 }));
        assert_eq!(
            parse(&bytes, 257),
            Err(BundleError::BadCount { count: 257 })
        );
    }

    #[test]
    fn a_narrower_version_is_a_prefix_of_the_widest() {
        let entries: Vec<Vec<u8>> = (0..=255_u8).map(|n| vec![n; usize::from(n)]).collect();
        let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        let widest = bundle(&entries);
        for count in 1..=256_u16 {
            let narrow = prefix(&widest, count).unwrap();
            assert_eq!(narrow, bundle(&entries[..usize::from(count)]));
        }
        assert_eq!(prefix(&widest, 0), Err(BundleError::BadCount { count: 0 }));
        let one = bundle(&[b"a"]);
        let short = prefix(&one, 2);
        assert_eq!(
            short,
            Err(BundleError::Truncated {
                position: 1,
                count: 2
            })
        );
    }

    #[test]
    fn whole_entries_are_counted_and_what_is_cut_off_is_not() {
        let bytes = bundle(&[b"ab", b"", b"c"]);
        assert_eq!(count(&bytes), 3);
        assert_eq!(count(&bytes[..bytes.len() - 1]), 2);
        assert_eq!((count(b""), count(b"\0")), (0, 0));
        assert_eq!(
            (entry(&bytes, 0), entry(&bytes, 2)),
            (Ok(b"ab".as_slice()), Ok(b"c".as_slice()))
        );
        assert_eq!(
            entry(&bytes, 3),
            Err(BundleError::Truncated {
                position: 3,
                count: 4
            })
        );
        assert_eq!(count(&bundle(&[b"a".as_slice(); 300])), 256);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_reprint_as_they_were(
            bytes in proptest::collection::vec(0..4_u8, 0..40), count in 0..260_u16,
        ) {
            if let Ok(entries) = parse(&bytes, count) {
                prop_assert_eq!(bundle(&entries), bytes.clone());
            }
            if let Ok(narrow) = prefix(&bytes, count) {
                prop_assert!(bytes.starts_with(narrow) && parse(narrow, count).is_ok());
            }
        }
    }
}
