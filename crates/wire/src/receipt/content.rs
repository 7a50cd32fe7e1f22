//! What a receipt says of paths that are named after their content.
//!
//! Whoever made it fetched their NARs and computed the paths from them; who reads it has not. That a path follows from the
//! content address and the references is computed again. From the content address of a NAR by SHA-256 follows the NAR's
//! hash as well; of a text or a single file only the maker says it, and the size is the maker's word always.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use quorix_nix::content_address::{ContentAddress, Method};
use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::hash::{Algorithm, NarHash};
use quorix_nix::store_path::{StoreDir, StorePath};

/// The most content-addressed paths in a receipt.
pub const CONTENTS_MAX: usize = 1_024;

/// What a content-addressed path was found to be, by whoever made the receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// How its content was hashed, and to what.
    pub address: ContentAddress,
    /// SHA-256 of its NAR.
    pub nar_hash: NarHash,
    /// Bytes of its NAR.
    pub nar_size: u64,
    /// What it refers to.
    pub references: BTreeSet<StorePath>,
}

impl Content {
    /// What was recomputed from a NAR.
    #[must_use]
    pub fn of(address: ContentAddress, facts: &Fingerprint) -> Self {
        Self {
            address,
            nar_hash: facts.nar_hash,
            nar_size: facts.nar_size,
            references: facts.references.clone(),
        }
    }

    /// True if the hash of its NAR follows from its name, so that only the NAR's size is the maker's word.
    #[must_use]
    pub fn is_hash_shown(&self) -> bool {
        self.address.method() == Method::Recursive
            && self.address.hash().algorithm() == Algorithm::Sha256
    }

    /// The whole fingerprint, if all that can be computed again gives this path.
    pub(super) fn facts(
        &self,
        store_dir: &StoreDir,
        path: &StorePath,
    ) -> Result<Fingerprint, String> {
        let follows = self.address.check_path(store_dir, path, &self.references);
        follows.map_err(|error| format!("{path} does not follow from it: {error}"))?;
        if self.is_hash_shown() && self.address.hash().bytes() != self.nar_hash.as_bytes() {
            return Err(format!(
                "{path} has another NAR hash than its content address says"
            ));
        }
        Ok(Fingerprint {
            store_dir: store_dir.clone(),
            path: path.clone(),
            nar_hash: self.nar_hash,
            nar_size: self.nar_size,
            references: self.references.clone(),
        })
    }

    /// The words of its line, the first one left out.
    pub(super) fn words(&self, path: &StorePath) -> String {
        let (address, hash, size) = (&self.address, &self.nar_hash, self.nar_size);
        let mut words = format!("{path} {address} {hash} {size}");
        for reference in &self.references {
            // Writing to a `String` cannot fail.
            let _ = write!(words, " {reference}");
        }
        words
    }

    /// Reads such words. Nothing is computed again by that.
    pub(super) fn parse(words: &str) -> Result<(StorePath, Self), String> {
        let mut words = words.split(' ');
        let mut next = |what: &str| words.next().ok_or_else(|| format!("it has no {what}"));
        let path = next("store path")?;
        let (address, nar_hash) = (next("content address")?, next("NAR hash")?);
        let nar_size = next("NAR size")?;
        let path = path.parse().map_err(|_| "not a store path")?;
        let content = Self {
            address: address.parse().map_err(|_| "not a content address")?,
            nar_hash: nar_hash.parse().map_err(|_| "not a NAR hash")?,
            nar_size: nar_size.parse().map_err(|_| "not a NAR size")?,
            references: words
                .map(|word| word.parse().map_err(|_| "not a reference".to_owned()))
                .collect::<Result<_, _>>()?,
        };
        Ok((path, content))
    }
}
