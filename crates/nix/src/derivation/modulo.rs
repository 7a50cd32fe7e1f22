//! Hashes of derivations in which inputs stand by their hashes, and the output paths that follow.
//!
//! Two derivations that differ only in how fixed contents are fetched have one hash, and so one output path.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::{Derivation, DerivationError, Output, output_path_name, print};
use crate::{
    content_address::{ContentAddress, sha256_of},
    store_path::{StoreDir, StorePath},
};

/// What stands for a derivation in the hashes of those that use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashModulo {
    /// One hash for all outputs, whose paths are known.
    Known([u8; 32]),
    /// The one output `out` has fixed contents.
    Fixed([u8; 32]),
    /// One hash for all outputs, whose paths are not known before something is built.
    Deferred([u8; 32]),
}

impl HashModulo {
    /// The hash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        match self {
            Self::Known(hash) | Self::Fixed(hash) | Self::Deferred(hash) => hash,
        }
    }
}

pub(super) fn hash_modulo(
    derivation: &Derivation,
    store_dir: &StoreDir,
    blank: bool,
    mut lookup: impl FnMut(&StorePath) -> Option<HashModulo>,
) -> Result<HashModulo, DerivationError> {
    if let Some((content_address, path)) = fixed(derivation)? {
        let (prefix, hash) = (
            content_address.method().prefix(),
            content_address.hash().to_hex(),
        );
        let text = format!("fixed:out:{prefix}{hash}:{}", store_dir.join(path));
        return Ok(HashModulo::Fixed(sha256_of(&text)));
    }
    if derivation
        .outputs
        .values()
        .any(|output| matches!(output, Output::Impure { .. }))
    {
        return Ok(HashModulo::Deferred(sha256_of("impure")));
    }
    let mut known = derivation
        .outputs
        .values()
        .all(|output| output.path().is_some());
    let mut inputs: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (path, outputs) in &derivation.input_derivations {
        let hash =
            lookup(path).ok_or_else(|| DerivationError::UnknownInput { path: path.clone() })?;
        known &= !matches!(hash, HashModulo::Deferred(_));
        if matches!(hash, HashModulo::Fixed(_))
            && let Some(output) = outputs.iter().find(|output| *output != "out")
        {
            let (path, output) = (path.clone(), output.clone());
            return Err(DerivationError::UnknownInputOutput { path, output });
        }
        // Inputs of one hash are one input: their outputs are united.
        let names = inputs.entry(HEXLOWER.encode(hash.as_bytes())).or_default();
        names.extend(outputs.iter().map(String::as_str));
    }
    let hash = Sha256::digest(print::print_with(derivation, store_dir, &inputs, blank)).into();
    Ok(if known {
        HashModulo::Known(hash)
    } else {
        HashModulo::Deferred(hash)
    })
}

pub(super) fn output_path(
    derivation: &Derivation,
    store_dir: &StoreDir,
    name: &str,
    output: &str,
    lookup: impl FnMut(&StorePath) -> Option<HashModulo>,
) -> Result<StorePath, DerivationError> {
    let found = derivation
        .outputs
        .get(output)
        .ok_or_else(|| DerivationError::UnknownOutput {
            output: output.to_owned(),
        })?;
    let path_name = output_path_name(name, output);
    match found {
        Output::Fixed {
            content_address, ..
        } => Ok(content_address.store_path(store_dir, &path_name, &BTreeSet::new())?),
        // The stated path is blanked first, so that a wrong one cannot influence what is computed.
        Output::InputAddressed(_) => match hash_modulo(derivation, store_dir, true, lookup)? {
            HashModulo::Known(hash) => {
                Ok(store_dir.make(&format!("output:{output}"), &hash, &path_name)?)
            }
            HashModulo::Fixed(_) | HashModulo::Deferred(_) => Err(not_known(output)),
        },
        Output::Floating { .. } | Output::Deferred | Output::Impure { .. } => {
            Err(not_known(output))
        }
    }
}

fn not_known(output: &str) -> DerivationError {
    DerivationError::NotKnownYet {
        output: output.to_owned(),
    }
}

/// The fixed output, where this derivation has one.
fn fixed(
    derivation: &Derivation,
) -> Result<Option<(&ContentAddress, &StorePath)>, DerivationError> {
    let mut fixed = None;
    for (name, output) in &derivation.outputs {
        if let Output::Fixed {
            content_address,
            path,
        } = output
        {
            if name != "out" || derivation.outputs.len() != 1 {
                return Err(DerivationError::FixedOutputs);
            }
            fixed = Some((content_address, path));
        }
    }
    Ok(fixed)
}
