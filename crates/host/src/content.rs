//! Content-addressed paths of a store, recomputed from the bytes that are there: such a path needs nobody's word.

use std::io::{self, BufWriter, Write};

use quorix_nix::content_address::{ContentAddressError, Limits, Verifier};
use quorix_nix::fingerprint::Fingerprint;

use crate::dump::{self, DumpError};
use crate::location::Location;
use crate::store::PathInfo;

const CHUNK_BYTES: usize = 256 * 1024;

/// Dumps a path that the database says is content-addressed, and checks that its bytes give its content address, this
/// and its references the path, and that NAR hash and size are those of the database. `None` where the database names
/// no content address of a kind known here, or the path refers to itself. Reads all of the path.
///
/// # Errors
/// When anything of that is not so, or the bytes cannot be read.
pub fn recompute(
    location: &Location,
    info: &PathInfo,
) -> Result<Option<Fingerprint>, ContentError> {
    let Some(address) = &info.ca else {
        return Ok(None);
    };
    let wrong = |reason: String| ContentError::Wrong { reason };
    match address.check_path(&location.store_dir, &info.path, &info.references) {
        Ok(()) => {}
        Err(ContentAddressError::SelfReference) => return Ok(None),
        Err(error) => return Err(wrong(error.to_string())),
    }
    let sink = Sink(Verifier::new(address, Limits::default()));
    let out = dump::nar(
        &location.real_path(&info.path),
        BufWriter::with_capacity(CHUNK_BYTES, sink),
    )?;
    let Sink(verifier) = out
        .into_inner()
        .map_err(|error| wrong(error.error().to_string()))?;
    let found = verifier
        .finish()
        .map_err(|error| wrong(error.to_string()))?;
    if found == (info.hash, info.nar_size) {
        Ok(Some(info.fingerprint(location)))
    } else {
        Err(wrong(
            "its bytes are not those that the database says".to_owned(),
        ))
    }
}

/// Why a path does not follow from its content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Its bytes, its content address, its references and its name do not fit together.
    #[error("{reason}")]
    Wrong {
        /// What does not fit.
        reason: String,
    },
    /// Its bytes cannot be read.
    #[error(transparent)]
    Dump(#[from] DumpError),
}

struct Sink(Verifier);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use quorix_nix::content_address::{ContentAddress, Method};
    use quorix_nix::hash::{Algorithm, Hash};

    use super::*;

    /// A flat file in a store of its own, as its content address names it.
    fn a_file(contents: &str) -> (tempfile::TempDir, Location, PathInfo) {
        let root = tempfile::tempdir().unwrap();
        let location = Location::at_root(root.path());
        fs::create_dir_all(&location.real_dir).unwrap();
        let address = ContentAddress::new(
            Method::Text,
            Hash::of(Algorithm::Sha256, contents.as_bytes()),
        )
        .unwrap();
        let path = address
            .store_path(&location.store_dir, "notes.txt", &BTreeSet::new())
            .unwrap();
        let file = location.real_path(&path);
        fs::write(&file, contents).unwrap();
        let (hash, nar_size) = dump::nar_hash(&file).unwrap();
        let info = PathInfo {
            path,
            hash,
            nar_size,
            references: BTreeSet::new(),
            deriver: None,
            ultimate: false,
            sigs: vec![],
            ca: Some(address),
            registration_time: 7,
        };
        (root, location, info)
    }

    #[test]
    fn a_path_that_follows_from_its_bytes_is_recomputed() {
        let (_root, location, info) = a_file("See notes.\n");
        let facts = info.fingerprint(&location);
        assert_eq!(recompute(&location, &info), Ok(Some(facts)));
        let no_address = PathInfo { ca: None, ..info };
        assert_eq!(recompute(&location, &no_address), Ok(None));
    }

    #[test]
    fn other_bytes_or_another_size_in_the_database_are_refused() {
        let (_root, location, info) = a_file("See notes.\n");
        let enlarged = PathInfo {
            nar_size: info.nar_size + 8,
            ..info.clone()
        };
        let reason = "its bytes are not those that the database says".to_owned();
        assert_eq!(
            recompute(&location, &enlarged),
            Err(ContentError::Wrong { reason })
        );
        fs::write(location.real_path(&info.path), "See NOTES.\n").unwrap();
        let reason = recompute(&location, &info).unwrap_err().to_string();
        assert!(reason.starts_with("the contents hash to "), "{reason}");
    }
}
