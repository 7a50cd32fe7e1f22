//! Reads a narinfo line by line.

use std::collections::BTreeSet;

use super::{
    Compression, MAX_SIGNATURES, MAX_SIZE, MAX_URL, NarInfo, NarInfoError, NarInfoErrorKind as Kind,
};
use crate::{
    content_address::{ContentAddress, ContentAddressError},
    hash::{Hash, NarHash},
    signature::Signature,
    store_path::{StoreDir, StorePath},
};

const MAX_COMPRESSION: usize = 32;

pub(super) fn parse(text: &str, store_dir: &StoreDir) -> Result<NarInfo, NarInfoError> {
    if text.len() > MAX_SIZE {
        let kind = Kind::TooLarge { found: text.len() };
        return Err(NarInfoError { line: 1, kind });
    }
    let mut fields = Fields::default();
    let mut last = 1;
    for (line, content) in (1_usize..).zip(text.split_inclusive('\n')) {
        fields
            .take(content, store_dir)
            .map_err(|kind| NarInfoError { line, kind })?;
        last = line;
    }
    fields
        .finish()
        .map_err(|kind| NarInfoError { line: last, kind })
}

#[derive(Default)]
struct Fields {
    store_path: Option<StorePath>,
    url: Option<String>,
    compression: Option<Compression>,
    file_hash: Option<Hash>,
    file_size: Option<u64>,
    nar_hash: Option<NarHash>,
    nar_size: Option<u64>,
    references: Option<BTreeSet<StorePath>>,
    deriver: Option<Option<StorePath>>,
    signatures: Vec<Signature>,
    malformed_signatures: usize,
    ca: Option<Option<ContentAddress>>,
}

impl Fields {
    fn take(&mut self, line: &str, store_dir: &StoreDir) -> Result<(), Kind> {
        let line = line.strip_suffix('\n').ok_or(Kind::CutOff)?;
        let (key, value) = line.split_once(':').ok_or(Kind::NotKeyValue)?;
        // `Key:` alone is taken for an empty value; `Key:value` would be read differently by Nix.
        let value = match value.strip_prefix(' ') {
            Some(value) => value,
            None if value.is_empty() => value,
            None => return Err(Kind::NotKeyValue),
        };
        match key {
            "StorePath" => set(&mut self.store_path, "StorePath", || {
                let key = "StorePath";
                store_dir
                    .parse(value)
                    .map_err(|source| Kind::StorePath { key, source })
            }),
            "URL" => set(&mut self.url, "URL", || {
                word("URL", value, MAX_URL).map(str::to_owned)
            }),
            "Compression" => set(&mut self.compression, "Compression", || compression(value)),
            "FileHash" => set(&mut self.file_hash, "FileHash", || {
                let key = "FileHash";
                value.parse().map_err(|source| Kind::Hash { key, source })
            }),
            "FileSize" => set(&mut self.file_size, "FileSize", || {
                number("FileSize", value)
            }),
            "NarHash" => set(&mut self.nar_hash, "NarHash", || {
                let key = "NarHash";
                value.parse().map_err(|source| Kind::Hash { key, source })
            }),
            "NarSize" => set(&mut self.nar_size, "NarSize", || {
                match number("NarSize", value)? {
                    0 => Err(Kind::Number { key: "NarSize" }),
                    size => Ok(size),
                }
            }),
            "References" => set(&mut self.references, "References", || references(value)),
            "Deriver" => set(&mut self.deriver, "Deriver", || deriver(value)),
            "CA" => set(&mut self.ca, "CA", || content_address(value)),
            "Sig" => self.signature(value),
            _ => Ok(()),
        }
    }

    fn signature(&mut self, value: &str) -> Result<(), Kind> {
        if self
            .signatures
            .len()
            .saturating_add(self.malformed_signatures)
            >= MAX_SIGNATURES
        {
            return Err(Kind::TooManySignatures);
        }
        match value.parse() {
            Ok(signature) => self.signatures.push(signature),
            Err(_) => self.malformed_signatures = self.malformed_signatures.saturating_add(1),
        }
        Ok(())
    }

    fn finish(self) -> Result<NarInfo, Kind> {
        Ok(NarInfo {
            store_path: self.store_path.ok_or(Kind::Missing { key: "StorePath" })?,
            url: self.url.ok_or(Kind::Missing { key: "URL" })?,
            compression: self.compression.unwrap_or(Compression::Bzip2),
            file_hash: self.file_hash,
            file_size: self.file_size,
            nar_hash: self.nar_hash.ok_or(Kind::Missing { key: "NarHash" })?,
            nar_size: self.nar_size.ok_or(Kind::Missing { key: "NarSize" })?,
            references: self.references.unwrap_or_default(),
            deriver: self.deriver.flatten(),
            signatures: self.signatures,
            malformed_signatures: self.malformed_signatures,
            ca: self.ca.flatten(),
        })
    }
}

/// Fills a field that may be there only once.
fn set<T>(
    field: &mut Option<T>,
    key: &'static str,
    value: impl FnOnce() -> Result<T, Kind>,
) -> Result<(), Kind> {
    if field.is_some() {
        return Err(Kind::Duplicate { key });
    }
    *field = Some(value()?);
    Ok(())
}

fn word<'a>(key: &'static str, value: &'a str, limit: usize) -> Result<&'a str, Kind> {
    let breaks = |c: char| c.is_control() || c.is_whitespace();
    if value.is_empty() || value.len() > limit || value.contains(breaks) {
        return Err(Kind::Word { key });
    }
    Ok(value)
}

fn compression(value: &str) -> Result<Compression, Kind> {
    if value.is_empty() {
        return Ok(Compression::Bzip2);
    }
    word("Compression", value, MAX_COMPRESSION).map(Compression::from_name)
}

/// Digits only: Rust alone would also take a `+`.
fn number(key: &'static str, value: &str) -> Result<u64, Kind> {
    if !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Kind::Number { key });
    }
    value.parse().map_err(|_| Kind::Number { key })
}

fn references(value: &str) -> Result<BTreeSet<StorePath>, Kind> {
    let key = "References";
    value
        .split(' ')
        .filter(|reference| !reference.is_empty())
        .map(|reference| {
            reference
                .parse()
                .map_err(|source| Kind::StorePath { key, source })
        })
        .collect()
}

fn deriver(value: &str) -> Result<Option<StorePath>, Kind> {
    let key = "Deriver";
    match value {
        "" | "unknown-deriver" => Ok(None),
        path => path
            .parse()
            .map(Some)
            .map_err(|source| Kind::StorePath { key, source }),
    }
}

/// An address of an unknown method is passed over: without it the path needs signatures, which is the safe side.
fn content_address(value: &str) -> Result<Option<ContentAddress>, Kind> {
    match value.parse() {
        Ok(address) => Ok(Some(address)),
        Err(ContentAddressError::UnknownMethod) => Ok(None),
        Err(error) => Err(Kind::ContentAddress(error)),
    }
}
