//! A path of the file system as a NAR, streamed.
//!
//! Symbolic links are recorded, never followed. Nothing but names, contents, link targets and the owner's executable
//! bit counts. What changes while it is read is an error: no NAR is finished that was never on disk as a whole.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use quorix_nix::hash::NarHash;
use quorix_nix::nar::{Hasher, Writer};

/// The most entries that one directory may have: their names are sorted in memory.
pub const DIRECTORY_ENTRIES_MAX: usize = 4_000_000;

const CHUNK_BYTES: usize = 256 * 1024;
const OWNER_EXECUTES: u32 = 0o100;

/// Writes the NAR of `path` into `out` and gives `out` back, not flushed.
///
/// # Errors
/// When something of `path` cannot be read, changes while it is read, or is neither file, link nor directory; when no
/// NAR may hold it; or when `out` fails.
pub fn nar<W: Write>(path: &Path, out: W) -> Result<W, DumpError> {
    let fail = |error| DumpError::Write {
        path: path.to_owned(),
        error: Failure::of(&error),
    };
    let mut writer = Writer::begin(out).map_err(fail)?;
    let mut buffer = vec![0; CHUNK_BYTES];
    dump_node(&mut writer, path, &mut buffer)?;
    writer.finish().map_err(fail)
}

/// SHA-256 and size in bytes of the NAR of `path`, which is not kept.
///
/// # Errors
/// As [`nar`].
pub fn nar_hash(path: &Path) -> Result<(NarHash, u64), DumpError> {
    let out = nar(
        path,
        BufWriter::with_capacity(CHUNK_BYTES, HashSink(Hasher::new())),
    )?;
    let fail = |error| DumpError::Write {
        path: path.to_owned(),
        error: Failure::of(&error),
    };
    let sink = out.into_inner().map_err(|error| fail(error.into_error()))?;
    sink.0
        .finish()
        .map_err(|error| fail(io::Error::new(io::ErrorKind::InvalidData, error)))
}

/// Why a path could not be dumped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DumpError {
    /// Something of the path could not be read.
    #[error("reading {}: {error}", path.display())]
    Read {
        /// The file, link or directory.
        path: PathBuf,
        /// What the system said.
        error: Failure,
    },
    /// A file or directory did not stay the same while it was read.
    #[error("{} changed while it was read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A device, socket or pipe.
    #[error("{} is neither a file, a directory nor a symbolic link, so that no NAR can hold it", path.display())]
    Kind {
        /// What it is about.
        path: PathBuf,
    },
    /// A directory with more than [`DIRECTORY_ENTRIES_MAX`] entries.
    #[error("{} has more than {DIRECTORY_ENTRIES_MAX} entries", path.display())]
    TooManyEntries {
        /// The directory.
        path: PathBuf,
    },
    /// The NAR could not be written, or the path cannot be in one (nested too deep, a link to nothing).
    #[error("writing the NAR at {}: {error}", path.display())]
    Write {
        /// What was being written.
        path: PathBuf,
        /// What was said.
        error: Failure,
    },
}

impl DumpError {
    /// Whether (a part of) the path is not there.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Read { error, .. } if error.kind == io::ErrorKind::NotFound)
    }
}

/// What the system said, comparable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// Its kind.
    pub kind: io::ErrorKind,
    /// Its words.
    pub text: String,
}

impl Failure {
    fn of(error: &io::Error) -> Self {
        Self {
            kind: error.kind(),
            text: error.to_string(),
        }
    }
}

fn dump_node<W: Write>(
    writer: &mut Writer<W>,
    path: &Path,
    buffer: &mut [u8],
) -> Result<(), DumpError> {
    let metadata = fs::symlink_metadata(path).map_err(|error| read_error(path, &error))?;
    let kind = metadata.file_type();
    if kind.is_file() {
        dump_file(writer, path, &metadata, buffer)
    } else if kind.is_symlink() {
        let target = fs::read_link(path).map_err(|error| read_error(path, &error))?;
        writer
            .symlink(target.as_os_str().as_bytes())
            .map_err(|error| write_error(path, &error))
    } else if kind.is_dir() {
        dump_directory(writer, path, buffer)
    } else {
        Err(DumpError::Kind {
            path: path.to_owned(),
        })
    }
}

fn dump_file<W: Write>(
    writer: &mut Writer<W>,
    path: &Path,
    looked_at: &Metadata,
    buffer: &mut [u8],
) -> Result<(), DumpError> {
    let changed = || DumpError::Changed {
        path: path.to_owned(),
    };
    let mut file = File::open(path).map_err(|error| read_error(path, &error))?;
    let metadata = file.metadata().map_err(|error| read_error(path, &error))?;
    // Opening follows links: only what was looked at may be read.
    if (metadata.dev(), metadata.ino()) != (looked_at.dev(), looked_at.ino()) {
        return Err(changed());
    }
    let executable = metadata.permissions().mode() & OWNER_EXECUTES != 0;
    let mut left = metadata.len();
    writer
        .regular_file(executable, left)
        .map_err(|error| write_error(path, &error))?;
    // Reads until the end of the file, so that one that grows is noticed too.
    loop {
        let length = match file.read(buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(read_error(path, &error)),
        };
        left = left.checked_sub(length as u64).ok_or_else(changed)?;
        if length == 0 {
            break;
        }
        writer
            .write_contents(buffer.get(..length).unwrap_or_default())
            .map_err(|error| write_error(path, &error))?;
    }
    if left != 0 {
        return Err(changed());
    }
    writer.end_file().map_err(|error| write_error(path, &error))
}

fn dump_directory<W: Write>(
    writer: &mut Writer<W>,
    path: &Path,
    buffer: &mut [u8],
) -> Result<(), DumpError> {
    let fail = |error| write_error(path, &error);
    writer.open_directory().map_err(fail)?;
    for name in sorted_names(path)? {
        writer.entry(&name).map_err(fail)?;
        dump_node(writer, &path.join(OsString::from_vec(name)), buffer)?;
        writer.close_entry().map_err(fail)?;
    }
    writer.close_directory().map_err(fail)
}

fn sorted_names(path: &Path) -> Result<Vec<Vec<u8>>, DumpError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| read_error(path, &error))? {
        if names.len() == DIRECTORY_ENTRIES_MAX {
            return Err(DumpError::TooManyEntries {
                path: path.to_owned(),
            });
        }
        let entry = entry.map_err(|error| read_error(path, &error))?;
        names.push(entry.file_name().into_vec());
    }
    names.sort_unstable();
    Ok(names)
}

fn read_error(path: &Path, error: &io::Error) -> DumpError {
    DumpError::Read {
        path: path.to_owned(),
        error: Failure::of(error),
    }
}

fn write_error(path: &Path, error: &io::Error) -> DumpError {
    DumpError::Write {
        path: path.to_owned(),
        error: Failure::of(error),
    }
}

struct HashSink(Hasher);

impl Write for HashSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .push(bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
