//! Reads the ATerm of a `.drv` file. The grammar has a fixed depth, so nothing recurses.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::HEXLOWER;

use super::{Derivation, MAX_SIZE, Output, ParseError, ParseErrorKind as Kind};
use crate::{
    content_address::{ContentAddress, Method},
    hash::{Algorithm, Hash, HashError},
    store_path::{StoreDir, StorePath, check_name},
};

pub(super) fn parse(file: &[u8], store_dir: &StoreDir) -> Result<Derivation, ParseError> {
    let mut cursor = Cursor {
        file,
        at: 0,
        item: 0,
        store_dir,
    };
    cursor.derivation().map_err(|kind| ParseError {
        offset: match kind {
            // The grammar fails where the cursor stands, a value where it began.
            Kind::Expected { .. } | Kind::Escape | Kind::TrailingBytes | Kind::TooLarge { .. } => {
                cursor.at
            }
            _ => cursor.item,
        },
        kind,
    })
}

struct Cursor<'a> {
    file: &'a [u8],
    at: usize,
    /// Where the last string or group began.
    item: usize,
    store_dir: &'a StoreDir,
}

impl Cursor<'_> {
    fn derivation(&mut self) -> Result<Derivation, Kind> {
        if self.file.len() > MAX_SIZE {
            let found = self.file.len();
            return Err(Kind::TooLarge { found });
        }
        self.expect("Derive(")?;
        let outputs = self.map(Self::output)?;
        self.expect(",")?;
        let input_derivations = self.map(Self::input_derivation)?;
        self.expect(",")?;
        let input_sources = self.map(|cursor| Ok((cursor.path()?, ())))?;
        self.expect(",")?;
        let system = self.text()?;
        self.expect(",")?;
        let builder = self.string()?;
        self.expect(",")?;
        let mut args = Vec::new();
        self.list(|cursor| {
            args.push(cursor.string()?);
            Ok(())
        })?;
        self.expect(",")?;
        let env = self.map(Self::variable)?;
        self.expect(")")?;
        if self.at != self.file.len() {
            return Err(Kind::TrailingBytes);
        }
        Ok(Derivation {
            outputs,
            input_derivations,
            input_sources: input_sources.into_keys().collect(),
            system,
            builder,
            args,
            env,
        })
    }

    fn output(&mut self) -> Result<(String, Output), Kind> {
        let begin = self.at;
        self.expect("(")?;
        let name = self.output_name()?;
        self.expect(",")?;
        let path = self.text()?;
        let path = if path.is_empty() {
            None
        } else {
            Some(self.store_dir.parse(&path)?)
        };
        self.expect(",")?;
        let algorithm = self.text()?;
        self.expect(",")?;
        let hash = self.text()?;
        self.expect(")")?;
        self.item = begin;
        Ok((name, output(path, &algorithm, &hash)?))
    }

    fn input_derivation(&mut self) -> Result<(StorePath, BTreeSet<String>), Kind> {
        self.expect("(")?;
        let path = self.path()?;
        if !path.is_derivation() {
            return Err(Kind::NotADerivation);
        }
        self.expect(",")?;
        let outputs = self.map(|cursor| Ok((cursor.output_name()?, ())))?;
        self.expect(")")?;
        Ok((path, outputs.into_keys().collect()))
    }

    fn variable(&mut self) -> Result<(Vec<u8>, Vec<u8>), Kind> {
        self.expect("(")?;
        let name = self.string()?;
        self.expect(",")?;
        let value = self.string()?;
        self.expect(")")?;
        Ok((name, value))
    }

    /// A list of items with strictly ascending keys.
    fn map<K: Ord, V>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(K, V), Kind>,
    ) -> Result<BTreeMap<K, V>, Kind> {
        let mut map = BTreeMap::new();
        self.list(|cursor| {
            let begin = cursor.at;
            let (key, value) = item(cursor)?;
            if map.last_key_value().is_some_and(|(last, _)| *last >= key) {
                cursor.item = begin;
                return Err(Kind::Order);
            }
            map.insert(key, value);
            Ok(())
        })?;
        Ok(map)
    }

    fn list(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), Kind>) -> Result<(), Kind> {
        self.expect("[")?;
        if self.take("]") {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.take("]") {
                return Ok(());
            }
            self.expect(",")?;
        }
    }

    fn path(&mut self) -> Result<StorePath, Kind> {
        let text = self.text()?;
        Ok(self.store_dir.parse(&text)?)
    }

    fn output_name(&mut self) -> Result<String, Kind> {
        let name = self.text()?;
        check_name(&name)?;
        Ok(name)
    }

    fn text(&mut self) -> Result<String, Kind> {
        String::from_utf8(self.string()?).map_err(|_| Kind::NotUtf8)
    }

    fn string(&mut self) -> Result<Vec<u8>, Kind> {
        self.item = self.at;
        self.expect("\"")?;
        let mut string = Vec::new();
        loop {
            let rest = self.file.get(self.at..).unwrap_or_default();
            let special = |byte: &u8| matches!(byte, b'"' | b'\\' | b'\n' | b'\r' | b'\t');
            let plain = rest.iter().position(special).unwrap_or(rest.len());
            string.extend_from_slice(rest.get(..plain).unwrap_or_default());
            self.at = self.at.saturating_add(plain);
            if self.take("\"") {
                return Ok(string);
            }
            match rest.get(plain..).unwrap_or_default() {
                [b'\\', escaped, ..] => {
                    string.push(unescape(*escaped).ok_or(Kind::Escape)?);
                    self.at = self.at.saturating_add(2);
                }
                [] => return Err(Kind::Expected { wanted: "\"" }),
                _ => return Err(Kind::Escape),
            }
        }
    }

    fn expect(&mut self, wanted: &'static str) -> Result<(), Kind> {
        if self.take(wanted) {
            Ok(())
        } else {
            Err(Kind::Expected { wanted })
        }
    }

    fn take(&mut self, wanted: &str) -> bool {
        let rest = self.file.get(self.at..).unwrap_or_default();
        let found = rest.starts_with(wanted.as_bytes());
        if found {
            self.at = self.at.saturating_add(wanted.len());
        }
        found
    }
}

fn unescape(byte: u8) -> Option<u8> {
    match byte {
        b'"' | b'\\' => Some(byte),
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        _ => None,
    }
}

/// What the four strings of an output mean together.
fn output(path: Option<StorePath>, algorithm: &str, hash: &str) -> Result<Output, Kind> {
    if algorithm.is_empty() {
        return match (path, hash) {
            (Some(path), "") => Ok(Output::InputAddressed(path)),
            (None, "") => Ok(Output::Deferred),
            _ => Err(Kind::Output),
        };
    }
    let (method, algorithm) = method_and_algorithm(algorithm)?;
    match (path, hash) {
        (None, "") => Ok(Output::Floating { method, algorithm }),
        (None, "impure") => Ok(Output::Impure { method, algorithm }),
        (Some(path), hash) if !hash.is_empty() => {
            // Lower-case hex alone, as Nix writes it: printing must give the same bytes.
            let bytes = HEXLOWER
                .decode(hash.as_bytes())
                .map_err(|error| HashError::Hex {
                    position: error.position,
                })?;
            let content_address = ContentAddress::new(method, Hash::new(algorithm, &bytes)?)?;
            Ok(Output::Fixed {
                content_address,
                path,
            })
        }
        _ => Err(Kind::Output),
    }
}

fn method_and_algorithm(text: &str) -> Result<(Method, Algorithm), HashError> {
    for method in [Method::Recursive, Method::Text] {
        if let Some(algorithm) = text.strip_prefix(method.prefix()) {
            return Ok((method, algorithm.parse()?));
        }
    }
    Ok((Method::Flat, text.parse()?))
}
