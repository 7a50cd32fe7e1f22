//! A hash on a page: its first 7 and last 4 characters are seen, the whole is there for selecting, printing and
//! hovering. The text is foreign and bounded.

use super::shown::Shown;

const HEAD_CHARS: usize = 7;
const TAIL_CHARS: usize = 4;

/// A hash, in pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hash {
    /// The whole text.
    pub whole: Shown,
    /// `sha256:` and the like, may be empty.
    pub kind: String,
    /// The first characters.
    pub head: String,
    /// What is not seen, may be empty.
    pub middle: String,
    /// The last characters.
    pub tail: String,
}

impl Hash {
    /// The pieces of a hash in any of Nix's text forms.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let whole = Shown::line(text);
        let (kind, digest) = match whole.as_str().split_once([':', '-']) {
            Some((kind, digest)) if matches!(kind, "sha256" | "sha512" | "sha1" | "md5") => (
                whole.as_str().get(..=kind.len()).unwrap_or_default(),
                digest,
            ),
            _ => ("", whole.as_str()),
        };
        let count = digest.chars().count();
        let (head, middle, tail) = if count <= HEAD_CHARS + TAIL_CHARS + 1 {
            (digest.to_owned(), String::new(), String::new())
        } else {
            let tail_from = count - TAIL_CHARS;
            (
                digest.chars().take(HEAD_CHARS).collect(),
                digest.chars().take(tail_from).skip(HEAD_CHARS).collect(),
                digest.chars().skip(tail_from).collect(),
            )
        };
        Self {
            kind: kind.to_owned(),
            head,
            middle,
            tail,
            whole,
        }
    }

    /// A digest, in hexadecimal.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let hex: String = bytes
            .iter()
            .take(64)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self::new(&hex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> (String, String, String, String) {
        let hash = Hash::new(text);
        (hash.kind, hash.head, hash.middle, hash.tail)
    }

    #[test]
    fn a_hash_shows_seven_and_four_characters_and_loses_none() {
        let text = "sha256:1b5q2k7aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa9xr0";
        let (kind, head, middle, tail) = pieces(text);
        assert_eq!(
            (kind.as_str(), head.as_str(), tail.as_str()),
            ("sha256:", "1b5q2k7", "9xr0")
        );
        assert_eq!(format!("{kind}{head}{middle}{tail}"), text);
    }

    #[test]
    fn what_is_short_is_shown_whole() {
        assert_eq!(
            pieces("abcdefghijkl"),
            (
                String::new(),
                "abcdefghijkl".into(),
                String::new(),
                String::new()
            )
        );
        assert_eq!(pieces(""), Default::default());
    }

    #[test]
    fn hostile_hashes_are_bounded_and_cut_between_characters() {
        let (_, head, _, tail) = pieces("ünïcödë-and-more-öäüß");
        assert_eq!((head.as_str(), tail.as_str()), ("ünïcödë", "öäüß"));
        assert!(Hash::new(&"é".repeat(100_000)).whole.as_str().len() < 2_000);
        assert_eq!(Hash::of_bytes(&[0xab; 1000]).whole.as_str().len(), 128);
    }
}
