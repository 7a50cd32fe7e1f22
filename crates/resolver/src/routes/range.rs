//! The `Range` header of one request for a file of known size (RFC 9110 §14).
//!
//! Only single ranges of bytes; several at once are answered with the whole file, as the RFC allows.

/// What of a file is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// All of it.
    Whole,
    /// These bytes, both ends included, inside the file.
    Part { first: u64, last: u64 },
    /// Nothing that the file has.
    Unsatisfiable,
}

/// Reads a header's value.
pub(super) fn asked(header: Option<&[u8]>, size: u64) -> Asked {
    let Some(header) = header else {
        return Asked::Whole;
    };
    let Some(ranges) = header.strip_prefix(b"bytes=") else {
        return Asked::Whole;
    };
    let Ok(range) = std::str::from_utf8(ranges) else {
        return Asked::Unsatisfiable;
    };
    if range.contains(',') {
        return Asked::Whole;
    }
    part(range.trim(), size).unwrap_or(Asked::Unsatisfiable)
}

fn part(range: &str, size: u64) -> Option<Asked> {
    let end = size.checked_sub(1)?;
    let (first, last) = match range.split_once('-')? {
        ("", suffix) => (size.checked_sub(number(suffix)?.min(size))?, end),
        (first, "") => (number(first)?, end),
        (first, last) => (number(first)?, number(last)?),
    };
    (first <= last && first <= end).then_some(Asked::Part {
        first,
        last: last.min(end),
    })
}

/// Digits only: `+1` is a number to Rust and none to HTTP. What is beyond any file counts as its end.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_ranges_are_cut_to_the_file() {
        for (header, first, last) in [
            ("bytes=0-9", 0, 9),
            ("bytes=5-", 5, 99),
            ("bytes=-10", 90, 99),
            ("bytes=-1000", 0, 99),
            ("bytes=99-99", 99, 99),
            ("bytes=50-99999999999999999999999", 50, 99),
        ] {
            assert_eq!(
                asked(Some(header.as_bytes()), 100),
                Asked::Part { first, last },
                "{header}"
            );
        }
    }

    #[test]
    fn what_the_file_does_not_have_is_unsatisfiable() {
        for header in [
            "bytes=100-",
            "bytes=100-200",
            "bytes=9-5",
            "bytes=-0",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=99999999999999999999999-",
            "bytes=--1",
            "bytes=1",
        ] {
            assert_eq!(
                asked(Some(header.as_bytes()), 100),
                Asked::Unsatisfiable,
                "{header}"
            );
        }
        assert_eq!(asked(Some(b"bytes=0-"), 0), Asked::Unsatisfiable);
        assert_eq!(asked(Some(b"bytes=\xff-"), 100), Asked::Unsatisfiable);
    }

    #[test]
    fn several_ranges_and_other_units_give_the_whole() {
        for header in [None, Some("bytes=0-1,5-6"), Some("lines=1-2")] {
            assert_eq!(asked(header.map(str::as_bytes), 100), Asked::Whole);
        }
    }
}
