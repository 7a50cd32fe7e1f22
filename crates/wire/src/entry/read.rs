//! Protobuf message to domain entry: the rules of `entry.proto`, each in one place.
//!
//! That the bytes are canonical is checked by the caller, by encoding what was read here.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::str::FromStr;

use quorix_nix::fingerprint::FingerprintDigest;
use quorix_nix::hash::NarHash;
use quorix_nix::signature::PublicKey;
use quorix_nix::store_path::{StoreDir, StorePath};
use quorix_tlog::hash::Hash;
use quorix_tlog::note::VerifierKey;
use quorix_trust::attestation::{
    Build, Claim, ClaimError, Entry, Environment, KeyRotation, Observation, Provenance, Raw,
    Realisation, References, Retraction,
};

use super::{
    EntryError, KERNEL_MAX, OUTPUT_NAME_MAX, Problem, RAW_KEY_MAX, REASON_MAX, RETRACTED_MAX,
    SHORT_TEXT_MAX,
};
use crate::pb;

/// Longest text of a vkey in bytes: name (255), id and key with room to spare.
const VKEY_MAX: usize = 512;

pub(super) fn entry(message: pb::Entry) -> Result<Entry, EntryError> {
    use pb::entry::Kind;
    Ok(match message.kind.ok_or(EntryError::UnknownKind)? {
        Kind::Build(said) => Entry::Build(Box::new(build(said)?)),
        Kind::Realisation(said) => Entry::Realisation(realisation(said)?),
        Kind::Observation(said) => Entry::Observation(Box::new(observation(said)?)),
        Kind::Retraction(said) => Entry::Retraction(retraction(said)?),
        Kind::KeyRotation(said) => Entry::KeyRotation(key_rotation(said)?),
        Kind::Raw(said) => Entry::Raw(raw(said)?),
    })
}

fn build(said: pb::Build) -> Result<Build, EntryError> {
    let (store_dir, path) = absolute("build.store_path", &said.store_path)?;
    let claim = Claim {
        fingerprint: FingerprintDigest::from_bytes(bytes("build.fingerprint", &said.fingerprint)?),
        nar_hash: NarHash::from_bytes(bytes("build.nar_sha256", &said.nar_sha256)?),
        nar_size: nonzero("build.nar_size", said.nar_size)?,
        references: references(
            ["build.references", "build.references_blob"],
            &said.references,
            &said.references_blob,
        )?,
        store_dir,
        path,
    };
    check_fingerprint("build.fingerprint", &claim)?;
    let derivation = match (said.drv_path.as_str(), said.output_name.as_str()) {
        ("", "") => None,
        ("", _) => return Err(Problem::Without { needs: "drv_path" }.of("build.output_name")),
        (_, "") => return Err(Problem::Missing.of("build.output_name")),
        (drv, output) => Some((
            derivation("build.drv_path", &claim.store_dir, drv)?,
            output_name("build.output_name", output)?,
        )),
    };
    let inputs_root =
        optional(&said.inputs_root, |root| bytes("build.inputs_root", root))?.map(Hash::from_bytes);
    let inputs_blob = optional(&said.inputs_blob, |id| bytes("build.inputs_blob", id))?;
    if inputs_blob.is_some() && inputs_root.is_none() {
        return Err(Problem::Without {
            needs: "inputs_root",
        }
        .of("build.inputs_blob"));
    }
    Ok(Build {
        claim,
        content_address: parse_optional("build.content_address", &said.content_address)?,
        derivation,
        provenance: provenance("build.provenance", said.provenance)?,
        system: text("build.system", said.system, SHORT_TEXT_MAX)?,
        nix_signature: parse_optional("build.nix_signature", &said.nix_signature)?,
        inputs_root,
        inputs_blob,
        started_at_s: said.started_at_s,
        finished_at_s: said.finished_at_s,
        environment: environment(said.environment.unwrap_or_default())?,
    })
}

fn environment(told: pb::Environment) -> Result<Environment, EntryError> {
    Ok(Environment {
        nix_implementation: text(
            "environment.nix_implementation",
            told.nix_implementation,
            SHORT_TEXT_MAX,
        )?,
        nix_version: text("environment.nix_version", told.nix_version, SHORT_TEXT_MAX)?,
        kernel: text("environment.kernel", told.kernel, KERNEL_MAX)?,
        cores: told.cores,
    })
}

fn realisation(said: pb::Realisation) -> Result<Realisation, EntryError> {
    let (store_dir, path) = absolute("realisation.store_path", &said.store_path)?;
    Ok(Realisation {
        derivation: derivation("realisation.drv_path", &store_dir, &said.drv_path)?,
        output_name: output_name("realisation.output_name", &said.output_name)?,
        provenance: provenance("realisation.provenance", said.provenance)?,
        nix_signature: parse_optional("realisation.nix_signature", &said.nix_signature)?,
        store_dir,
        path,
    })
}

fn observation(said: pb::Observation) -> Result<Observation, EntryError> {
    let (store_dir, path) = absolute("observation.store_path", &said.store_path)?;
    let claim = Claim {
        fingerprint: FingerprintDigest::from_bytes(bytes(
            "observation.fingerprint",
            &said.fingerprint,
        )?),
        nar_hash: NarHash::from_bytes(bytes("observation.nar_sha256", &said.nar_sha256)?),
        nar_size: nonzero("observation.nar_size", said.nar_size)?,
        references: references(
            ["observation.references", "observation.references_blob"],
            &said.references,
            &said.references_blob,
        )?,
        store_dir,
        path,
    };
    check_fingerprint("observation.fingerprint", &claim)?;
    Ok(Observation {
        claim,
        public_key: public_key(said.public_key)?,
        signature: parse("observation.signature", &said.signature)?,
    })
}

/// Reads a cache's key. The last one of a thread is remembered: a cache signs many paths, and to check that a key is a
/// point of the curve takes as long as all else of an observation.
fn public_key(text: String) -> Result<PublicKey, EntryError> {
    thread_local! {
        static LAST: RefCell<Option<(String, PublicKey)>> = const { RefCell::new(None) };
    }
    LAST.with_borrow_mut(|last| match last {
        Some((known, key)) if *known == text => Ok(key.clone()),
        _ => {
            let key: PublicKey = parse("observation.public_key", &text)?;
            *last = Some((text, key.clone()));
            Ok(key)
        }
    })
}

fn retraction(said: pb::Retraction) -> Result<Retraction, EntryError> {
    const FIELD: &str = "retraction.leaf_hashes";
    let (found, limit) = (said.leaf_hashes.len(), RETRACTED_MAX);
    if found == 0 {
        return Err(Problem::Missing.of(FIELD));
    }
    if found > limit {
        return Err(Problem::TooLong { limit, found }.of(FIELD));
    }
    let mut leaf_hashes = BTreeSet::new();
    for (position, leaf) in said.leaf_hashes.iter().enumerate() {
        let leaf = Hash::from_bytes(bytes(FIELD, leaf)?);
        if leaf_hashes.last().is_some_and(|last| *last >= leaf) {
            return Err(Problem::NotAscending { position }.of(FIELD));
        }
        leaf_hashes.insert(leaf);
    }
    Ok(Retraction {
        leaf_hashes,
        reason: text("retraction.reason", said.reason, REASON_MAX)?,
    })
}

fn key_rotation(said: pb::KeyRotation) -> Result<KeyRotation, EntryError> {
    const FIELD: &str = "key_rotation.new_vkey";
    let new_vkey = text(FIELD, said.new_vkey, VKEY_MAX)?;
    let parsed: VerifierKey = parse(FIELD, &new_vkey)?;
    if parsed.to_string() != new_vkey {
        return Err(other_spelling(&parsed).of(FIELD));
    }
    Ok(KeyRotation {
        new_vkey,
        old_signature: bytes("key_rotation.old_signature", &said.old_signature)?,
        new_signature: bytes("key_rotation.new_signature", &said.new_signature)?,
    })
}

fn raw(said: pb::Raw) -> Result<Raw, EntryError> {
    if said.protocol.is_empty() {
        return Err(Problem::Missing.of("raw.protocol"));
    }
    let (found, limit) = (said.key.len(), RAW_KEY_MAX);
    if found > limit {
        return Err(Problem::TooLong { limit, found }.of("raw.key"));
    }
    Ok(Raw {
        protocol: text("raw.protocol", said.protocol, SHORT_TEXT_MAX)?,
        key: said.key,
        value: bytes("raw.value", &said.value)?,
    })
}

/// Splits an absolute store path into its store directory and itself.
fn absolute(field: &'static str, text: &str) -> Result<(StoreDir, StorePath), EntryError> {
    if text.is_empty() {
        return Err(Problem::Missing.of(field));
    }
    let invalid = |reason: String| Problem::Invalid { reason }.of(field);
    let (dir, base) = text
        .rsplit_once('/')
        .ok_or_else(|| invalid("is not an absolute store path".to_owned()))?;
    let dir: StoreDir = dir.parse().map_err(|error| invalid(format!("{error}")))?;
    let path = base.parse().map_err(|error| invalid(format!("{error}")))?;
    Ok((dir, path))
}

fn derivation(
    field: &'static str,
    store_dir: &StoreDir,
    text: &str,
) -> Result<StorePath, EntryError> {
    let (dir, path) = absolute(field, text)?;
    if dir != *store_dir {
        return Err(Problem::OtherStoreDir {
            store_dir: store_dir.to_string(),
        }
        .of(field));
    }
    if !path.is_derivation() {
        return Err(Problem::Invalid {
            reason: "is not a derivation (`….drv`)".to_owned(),
        }
        .of(field));
    }
    Ok(path)
}

fn output_name(field: &'static str, text: &str) -> Result<String, EntryError> {
    if text.is_empty() {
        return Err(Problem::Missing.of(field));
    }
    let (found, limit) = (text.len(), OUTPUT_NAME_MAX);
    if found > limit {
        return Err(Problem::TooLong { limit, found }.of(field));
    }
    let permitted = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._?=".contains(&byte);
    if !text.bytes().all(permitted) {
        let reason = "has a character other than letters, digits and `+-._?=`".to_owned();
        return Err(Problem::Invalid { reason }.of(field));
    }
    Ok(text.to_owned())
}

fn references(
    [list_field, blob_field]: [&'static str; 2],
    list: &[String],
    blob: &[u8],
) -> Result<References, EntryError> {
    if !blob.is_empty() {
        if !list.is_empty() {
            return Err(Problem::Both {
                other: "references",
            }
            .of(blob_field));
        }
        return Ok(References::Blob(bytes(blob_field, blob)?));
    }
    let mut paths = BTreeSet::new();
    for (position, text) in list.iter().enumerate() {
        let path: StorePath = text.parse().map_err(|error| {
            let reason = format!("{error}");
            Problem::Element { position, reason }.of(list_field)
        })?;
        if paths.last().is_some_and(|last| *last >= path) {
            return Err(Problem::NotAscending { position }.of(list_field));
        }
        paths.insert(path);
    }
    Ok(References::Inline(paths))
}

/// Where the references are in the entry, what is voted must be the digest of what is stated (SEMANTICS §2).
fn check_fingerprint(field: &'static str, claim: &Claim) -> Result<(), EntryError> {
    let References::Inline(references) = &claim.references else {
        return Ok(());
    };
    match claim.check(references) {
        Ok(()) => Ok(()),
        Err(ClaimError::DigestMismatch {
            computed, stated, ..
        }) => Err(Problem::Fingerprint { computed, stated }.of(field)),
    }
}

fn provenance(field: &'static str, found: i32) -> Result<Provenance, EntryError> {
    match pb::Provenance::try_from(found) {
        Ok(pb::Provenance::Built) => Ok(Provenance::Built),
        Ok(pb::Provenance::Rebuilt) => Ok(Provenance::Rebuilt),
        Ok(pb::Provenance::Unspecified) | Err(_) => Err(Problem::UnknownValue { found }.of(field)),
    }
}

fn bytes<const N: usize>(field: &'static str, given: &[u8]) -> Result<[u8; N], EntryError> {
    let length = Problem::Length {
        expected: N,
        found: given.len(),
    };
    given.try_into().map_err(|_| length.of(field))
}

fn nonzero(field: &'static str, number: u64) -> Result<u64, EntryError> {
    if number == 0 {
        Err(Problem::Zero.of(field))
    } else {
        Ok(number)
    }
}

fn text(field: &'static str, text: String, limit: usize) -> Result<String, EntryError> {
    let found = text.len();
    if found > limit {
        return Err(Problem::TooLong { limit, found }.of(field));
    }
    // All ASCII is looked at as bytes, which is what nearly every text is.
    let has_control = if text.is_ascii() {
        text.bytes().any(|byte| byte.is_ascii_control())
    } else {
        text.chars().any(char::is_control)
    };
    if has_control {
        return Err(Problem::ControlCharacter.of(field));
    }
    Ok(text)
}

fn optional<T>(
    given: &[u8],
    read: impl FnOnce(&[u8]) -> Result<T, EntryError>,
) -> Result<Option<T>, EntryError> {
    if given.is_empty() {
        Ok(None)
    } else {
        read(given).map(Some)
    }
}

fn parse_optional<T>(field: &'static str, text: &str) -> Result<Option<T>, EntryError>
where
    T: FromStr<Err: ToString> + ToString,
{
    if text.is_empty() {
        Ok(None)
    } else {
        parse(field, text).map(Some)
    }
}

/// Reads a value from the one text that it prints.
fn parse<T>(field: &'static str, text: &str) -> Result<T, EntryError>
where
    T: FromStr<Err: ToString> + ToString,
{
    if text.is_empty() {
        return Err(Problem::Missing.of(field));
    }
    let value: T = text.parse().map_err(|error: T::Err| {
        let reason = error.to_string();
        Problem::Invalid { reason }.of(field)
    })?;
    if value.to_string() == text {
        Ok(value)
    } else {
        Err(other_spelling(&value).of(field))
    }
}

fn other_spelling(value: &impl ToString) -> Problem {
    Problem::Invalid {
        reason: format!("is another spelling of {}", value.to_string()),
    }
}
