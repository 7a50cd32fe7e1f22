//! The bytes of a row of the index: everything that is kept of what was said of one output.
//!
//! Version 2, all numbers big-endian: version (1 byte); number of texts (2), each text after its length (2); number of
//! statements (2), each as: number of the name's text (2), value (32), number of the voice's text (2); then 0 (1), number
//! of the origin's text (2), index (8), or 1 (1), length (4), canonical entry; then 0 (1), or 1 (1) and the beginning of the
//! leaf hash (16); then 0 (1), or 1 (1) and the index of the retraction (8); then 0 (1), or 1 (1), the day (4) and the
//! number of the system's text (2).
//!
//! Reading takes nothing for granted: bytes that are not exactly this are an error.

use std::collections::BTreeMap;

use quorix_nix::fingerprint::FingerprintDigest;
use quorix_nix::store_path::{HashPart, StorePath};
use quorix_tlog::hash::Hash;
use quorix_trust::ports::{IndexedStatement, Place};

const VERSION: u8 = 2;

/// The beginning of a leaf hash, by which a retraction finds the statements that it withdraws.
pub(super) type LeafTag = [u8; 16];

/// A statement, and what ties it to its leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) statement: IndexedStatement,
    pub(super) leaf: Option<LeafTag>,
    /// Day of the earliest stored checkpoint that covers it, and its system.
    pub(super) at: Option<(u32, String)>,
}

impl Row {
    /// As tallies are made of it.
    pub(super) fn for_tally(&self) -> (&IndexedStatement, Option<(u32, &str)>) {
        let at = self.at.as_ref();
        (
            &self.statement,
            at.map(|(day, system)| (*day, system.as_str())),
        )
    }
}

/// The beginning of this leaf hash.
pub(super) fn tag_of(leaf: &Hash) -> LeafTag {
    let mut tag = LeafTag::default();
    for (into, byte) in tag.iter_mut().zip(leaf.as_bytes()) {
        *into = *byte;
    }
    tag
}

/// The bytes of these statements; `None` if there are too many of them or a text is too long.
pub(super) fn encode<'r>(rows: &'r [Row]) -> Option<Vec<u8>> {
    let (mut texts, mut numbers) = (Vec::new(), BTreeMap::new());
    let mut number_of = |text: &'r str| -> Option<u16> {
        if let Some(number) = numbers.get(text) {
            return Some(*number);
        }
        let number = u16::try_from(texts.len()).ok()?;
        texts.push(text);
        numbers.insert(text, number);
        Some(number)
    };
    let mut body = Vec::new();
    for Row {
        statement,
        leaf,
        at,
    } in rows
    {
        body.extend_from_slice(&number_of(statement.path.name())?.to_be_bytes());
        body.extend_from_slice(statement.value.as_bytes());
        body.extend_from_slice(&number_of(&statement.voice)?.to_be_bytes());
        match &statement.place {
            Place::Leaf { origin, index } => {
                body.push(0);
                body.extend_from_slice(&number_of(origin)?.to_be_bytes());
                body.extend_from_slice(&index.to_be_bytes());
            }
            Place::Unlogged { entry } => {
                body.push(1);
                body.extend_from_slice(&u32::try_from(entry.len()).ok()?.to_be_bytes());
                body.extend_from_slice(entry);
            }
        }
        put_option(&mut body, leaf.as_ref().map(LeafTag::as_slice));
        put_option(
            &mut body,
            statement
                .withdrawn_by
                .map(u64::to_be_bytes)
                .as_ref()
                .map(<[u8; 8]>::as_slice),
        );
        body.push(u8::from(at.is_some()));
        if let Some((day, system)) = at {
            body.extend_from_slice(&day.to_be_bytes());
            body.extend_from_slice(&number_of(system)?.to_be_bytes());
        }
    }
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&u16::try_from(texts.len()).ok()?.to_be_bytes());
    for text in texts {
        bytes.extend_from_slice(&u16::try_from(text.len()).ok()?.to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes.extend_from_slice(&u16::try_from(rows.len()).ok()?.to_be_bytes());
    bytes.extend_from_slice(&body);
    Some(bytes)
}

fn put_option(bytes: &mut Vec<u8>, value: Option<&[u8]>) {
    bytes.push(u8::from(value.is_some()));
    bytes.extend_from_slice(value.unwrap_or_default());
}

/// The statements about the output with this hash part; `None` if these are not the bytes of a row.
pub(super) fn decode(bytes: &[u8], output: &HashPart) -> Option<Vec<Row>> {
    let mut reader = Reader { rest: bytes };
    if reader.u8()? != VERSION {
        return None;
    }
    let mut texts = Vec::new();
    for _ in 0..reader.u16()? {
        let length = reader.u16()?;
        texts.push(str::from_utf8(reader.bytes(usize::from(length))?).ok()?);
    }
    let mut rows = Vec::new();
    for _ in 0..reader.u16()? {
        rows.push(reader.row(&texts, output)?);
    }
    reader.rest.is_empty().then_some(rows)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }

    fn array<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*bytes)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn text<'t>(&mut self, texts: &[&'t str]) -> Option<&'t str> {
        texts.get(usize::from(self.u16()?)).copied()
    }

    fn row(&mut self, texts: &[&str], output: &HashPart) -> Option<Row> {
        let path = StorePath::new(output, self.text(texts)?).ok()?;
        let value = FingerprintDigest::from_bytes(self.array()?);
        let voice = self.text(texts)?.to_owned();
        let place = match self.u8()? {
            0 => Place::Leaf {
                origin: self.text(texts)?.to_owned(),
                index: self.u64()?,
            },
            1 => {
                let length = u32::from_be_bytes(self.array()?);
                Place::Unlogged {
                    entry: self.bytes(usize::try_from(length).ok()?)?.to_vec(),
                }
            }
            _ => return None,
        };
        let leaf = if self.is_some()? {
            Some(self.array()?)
        } else {
            None
        };
        let withdrawn_by = if self.is_some()? {
            Some(self.u64()?)
        } else {
            None
        };
        let at = if self.is_some()? {
            let day = u32::from_be_bytes(self.array()?);
            Some((day, self.text(texts)?.to_owned()))
        } else {
            None
        };
        Some(Row {
            statement: IndexedStatement {
                path,
                value,
                voice,
                place,
                withdrawn_by,
            },
            leaf,
            at,
        })
    }

    fn is_some(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> (HashPart, Vec<Row>) {
        let path: StorePath = "93a4fjryvg1hz7bxki7wzd9cznsm20yx-c".parse().unwrap();
        let statement = |voice: &str, place, withdrawn_by| IndexedStatement {
            path: path.clone(),
            value: FingerprintDigest::from_bytes([7; 32]),
            voice: voice.to_owned(),
            place,
            withdrawn_by,
        };
        let at = |index| Place::Leaf {
            origin: "logs.example.org/alice".to_owned(),
            index,
        };
        let rows = vec![
            Row {
                statement: statement("logs.example.org/alice", at(5), None),
                leaf: Some([1; 16]),
                at: Some((20_000, "x86_64-linux".to_owned())),
            },
            Row {
                statement: statement("logs.example.org/alice", at(u64::MAX), Some(9)),
                leaf: None,
                at: None,
            },
            Row {
                statement: statement(
                    "cache:AAAA",
                    Place::Unlogged {
                        entry: b"entry".to_vec(),
                    },
                    None,
                ),
                leaf: None,
                at: None,
            },
        ];
        (path.hash_part(), rows)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let (output, rows) = rows();
        assert_eq!(decode(&encode(&rows).unwrap(), &output), Some(rows));
        assert_eq!(decode(&encode(&[]).unwrap(), &output), Some(Vec::new()));
    }

    #[test]
    fn cut_or_extended_bytes_are_no_row() {
        let (output, rows) = rows();
        let bytes = encode(&rows).unwrap();
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length], &output), None, "{length}");
        }
        assert_eq!(decode(&[bytes.as_slice(), b"\0"].concat(), &output), None);
    }

    #[test]
    fn altered_bytes_are_read_as_something_else_or_refused_without_a_panic() {
        let (output, rows) = rows();
        let bytes = encode(&rows).unwrap();
        for position in 0..bytes.len() {
            for bit in 0..8 {
                let mut altered = bytes.clone();
                altered[position] ^= 1 << bit;
                assert_ne!(
                    decode(&altered, &output),
                    Some(rows.clone()),
                    "bit {bit} of byte {position}"
                );
            }
        }
    }
}
