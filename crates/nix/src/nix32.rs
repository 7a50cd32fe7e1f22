//! nix32: the base-32 text in which Nix writes store path digests and hashes.
//!
//! Its alphabet leaves out `e`, `o`, `u` and `t`, and it reads the bytes as one little-endian number written with the
//! most significant digit first. Decoding is strict: one byte string has exactly one text.

const ALPHABET: [u8; 32] = *b"0123456789abcdfghijklmnpqrsvwxyz";

/// Writes `bytes` as nix32: `ceil(8 * n / 5)` characters for `n` bytes.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(encoded_len(bytes.len()));
    // Five bytes are eight characters; the last ones come first.
    for chunk in bytes.chunks(5).rev() {
        let number = chunk
            .iter()
            .rev()
            .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let characters = [35, 30, 25, 20, 15, 10, 5, 0].map(|shift| {
            let digit = usize::try_from(number >> shift & 31).unwrap_or(0);
            ALPHABET.get(digit).copied().unwrap_or(b'0')
        });
        let surplus = characters.len().saturating_sub(encoded_len(chunk.len()));
        text.extend_from_slice(characters.get(surplus..).unwrap_or_default());
    }
    // All of the alphabet is ASCII.
    String::from_utf8(text).unwrap_or_default()
}

/// Reads nix32 text back into the bytes it was written from.
///
/// # Errors
/// When the text has a length that no byte string gives, a character outside the alphabet, or bits beyond the last
/// byte that are not zero.
pub fn decode(text: &str) -> Result<Vec<u8>, Nix32Error> {
    let outside = |&(_, character): &(usize, char)| {
        !u8::try_from(character).is_ok_and(|byte| digit(byte).is_some())
    };
    if let Some((position, character)) = text.char_indices().find(outside) {
        return Err(Nix32Error::Character {
            character,
            position,
        });
    }
    let length = text.len() / 8 * 5 + text.len() % 8 * 5 / 8;
    if encoded_len(length) != text.len() {
        return Err(Nix32Error::Length { found: text.len() });
    }
    let mut bytes = vec![0_u8; length];
    if decode_checked(text.as_bytes(), &mut bytes) {
        Ok(bytes)
    } else {
        Err(Nix32Error::Overflow)
    }
}

/// Reads characters of the alphabet into as many bytes as they stand for. False if the number is too large for them.
pub(crate) fn decode_checked(text: &[u8], bytes: &mut [u8]) -> bool {
    // Eight characters are five bytes; the last ones come first.
    let (rest, eights) = text.as_rchunks::<8>();
    let numbers = eights.iter().rev().map(|eight| number_of(eight));
    let numbers = numbers.chain((!rest.is_empty()).then(|| number_of(rest)));
    let mut fits = true;
    for (number, bytes) in numbers.zip(bytes.chunks_mut(5)) {
        let mut digits = number.to_le_bytes().into_iter();
        for (into, byte) in bytes.iter_mut().zip(&mut digits) {
            *into = byte;
        }
        fits &= digits.all(|byte| byte == 0);
    }
    fits
}

/// The number that up to eight characters stand for.
fn number_of(characters: &[u8]) -> u64 {
    let digits = characters
        .iter()
        .map(|character| DIGITS.get(usize::from(*character)).copied().unwrap_or(0));
    digits.fold(0, |number, digit| number << 5 | u64::from(digit))
}

/// The value of each byte that is a character of the alphabet, and 0 of every other.
const DIGITS: [u8; 256] = digits();

const fn digits() -> [u8; 256] {
    let mut table = [0; 256];
    let mut places: &mut [u8] = &mut table;
    let mut character = 0_u8;
    while let [first, more @ ..] = places {
        *first = match digit(character) {
            Some(value) => value,
            None => 0,
        };
        character = character.wrapping_add(1);
        places = more;
    }
    table
}

/// Why a text is not nix32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Nix32Error {
    /// A character outside the alphabet, at this byte of the text.
    #[error("`{}` at byte {position} is no nix32 character (0-9 and a-z without e, o, t, u)", character.escape_debug())]
    Character {
        /// The character.
        character: char,
        /// Its byte offset in the text.
        position: usize,
    },
    /// No byte string is written with this many characters.
    #[error("no nix32 text has {found} characters")]
    Length {
        /// Characters found.
        found: usize,
    },
    /// The first character carries bits beyond the last byte.
    #[error("the nix32 text stands for a number that is too large for its length")]
    Overflow,
}

/// How many characters `bytes` bytes take.
pub(crate) fn encoded_len(bytes: usize) -> usize {
    bytes / 5 * 8 + (bytes % 5 * 8).div_ceil(5)
}

/// Whether each byte is a character of the alphabet.
pub(crate) const IS_DIGIT: [bool; 256] = table_of(&ALPHABET);

/// A table that says of each byte whether it is one of these ASCII characters.
pub(crate) const fn table_of(allowed: &[u8]) -> [bool; 256] {
    let (mut set, mut rest) = (0_u128, allowed);
    while let [first, more @ ..] = rest {
        set |= 1 << *first;
        rest = more;
    }
    let mut table = [false; 256];
    let mut places: &mut [bool] = &mut table;
    while let [first, more @ ..] = places {
        *first = set & 1 == 1;
        set >>= 1;
        places = more;
    }
    table
}

/// The value of one character of the alphabet.
pub(crate) const fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'd' => Some(character - b'a' + 10),
        b'f'..=b'n' => Some(character - b'f' + 14),
        b'p'..=b's' => Some(character - b'p' + 23),
        b'v'..=b'z' => Some(character - b'v' + 27),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_hash_of_nothing_is_written_as_nix_writes_it() {
        let digest = data_encoding::HEXLOWER
            .decode(b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
            .unwrap();
        let text = "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73";
        assert_eq!(encode(&digest), text);
        assert_eq!(decode(text), Ok(digest));
    }

    #[test]
    fn trustix_bad_nix32_is_an_error_and_never_a_panic() {
        let cases = [
            ("", Ok(Vec::new())),
            ("0", Err(Nix32Error::Length { found: 1 })),
            ("000", Err(Nix32Error::Length { found: 3 })),
            ("8z", Err(Nix32Error::Overflow)),
            ("zz", Err(Nix32Error::Overflow)),
            ("7z", Ok(vec![255])),
            (
                "0e",
                Err(Nix32Error::Character {
                    character: 'e',
                    position: 1,
                }),
            ),
            (
                "A0",
                Err(Nix32Error::Character {
                    character: 'A',
                    position: 0,
                }),
            ),
            (
                "0é",
                Err(Nix32Error::Character {
                    character: 'é',
                    position: 1,
                }),
            ),
            (
                "../etc",
                Err(Nix32Error::Character {
                    character: '.',
                    position: 0,
                }),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(decode(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)), Ok(bytes));
        }

        #[test]
        fn a_text_that_decodes_is_the_only_text_of_its_bytes(text in "[0-9a-df-np-sv-z]{0,60}") {
            if let Ok(bytes) = decode(&text) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }

        #[test]
        fn no_text_makes_the_decoder_panic(text: String) {
            let _ = decode(&text);
        }
    }
}
