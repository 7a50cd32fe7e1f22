//! NAR, Nix's archive format: one file tree as one canonical byte string.
//!
//! The parser is a push parser without I/O: it takes chunks of any size, tells a [`Visitor`] what they hold and keeps at
//! most one name or link target and the path to it. It refuses everything that Nix 2.26 and later refuse, so that a NAR
//! which passes here is the only NAR of its tree. Names are bytes: they need not be UTF-8. Spec: Nix manual, "Nix
//! Archive (NAR) Format".

mod hasher;
mod node;
mod parser;
mod writer;

pub use hasher::Hasher;
pub use node::Node;
pub use parser::{Parser, Visitor};
pub use writer::{Writer, WriterMisuse};

/// Longest name of a directory entry, in bytes.
pub const MAX_NAME: usize = 255;
/// Longest target of a symbolic link, in bytes.
pub const MAX_TARGET: usize = 4095;
/// How many directories may enclose a file, link or directory.
pub const MAX_DEPTH: usize = 64;

const MAGIC: &[u8] = b"nix-archive-1";

/// What is wrong with a NAR, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad NAR at byte {offset}: {kind}")]
pub struct NarError {
    /// Bytes of the NAR before the string or padding that is wrong.
    pub offset: u64,
    /// What is wrong.
    pub kind: NarErrorKind,
}

/// The ways in which a NAR can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NarErrorKind {
    /// The grammar wants another word.
    #[error("expected {wanted}")]
    Expected {
        /// The words that may stand here.
        wanted: &'static str,
    },
    /// Padding bytes must be zero.
    #[error("the padding is not zero")]
    Padding,
    /// An entry without a name.
    #[error("an entry has an empty name")]
    EmptyName,
    /// An entry named `.` or `..`.
    #[error("an entry is named `.` or `..`")]
    DotName,
    /// A name with `/` or NUL in it.
    #[error("the name of an entry has a slash or a NUL byte in it")]
    NameByte,
    /// A name that no file system takes.
    #[error("the name of an entry has {length} bytes, more than {MAX_NAME}")]
    LongName {
        /// Bytes announced.
        length: u64,
    },
    /// Entries must be in strictly ascending bytewise order.
    #[error("the entries of a directory are not in order")]
    Unsorted,
    /// The same name twice in one directory.
    #[error("two entries of a directory have one name")]
    Duplicate,
    /// A symbolic link to nothing.
    #[error("a symbolic link has an empty target")]
    EmptyTarget,
    /// A target with NUL in it.
    #[error("the target of a symbolic link has a NUL byte in it")]
    TargetByte,
    /// A target that no file system takes.
    #[error("the target of a symbolic link has {length} bytes, more than {MAX_TARGET}")]
    LongTarget {
        /// Bytes announced.
        length: u64,
    },
    /// Directories within directories, too many.
    #[error("more than {MAX_DEPTH} directories are nested")]
    TooDeep,
    /// Bytes after the end of the tree.
    #[error("bytes follow the end of the archive")]
    TrailingBytes,
    /// The bytes end before the tree does.
    #[error("the archive ends too early")]
    Truncated,
}

/// Checks the name of an entry that follows one named `last` (empty for the first).
fn check_name(name: &[u8], last: &[u8]) -> Result<(), NarErrorKind> {
    if name.is_empty() {
        return Err(NarErrorKind::EmptyName);
    }
    if name.len() > MAX_NAME {
        let length = u64::try_from(name.len()).unwrap_or(u64::MAX);
        return Err(NarErrorKind::LongName { length });
    }
    if matches!(name, b"." | b"..") {
        return Err(NarErrorKind::DotName);
    }
    if name.iter().any(|byte| matches!(byte, b'/' | 0)) {
        return Err(NarErrorKind::NameByte);
    }
    match name.cmp(last) {
        std::cmp::Ordering::Less => Err(NarErrorKind::Unsorted),
        std::cmp::Ordering::Equal => Err(NarErrorKind::Duplicate),
        std::cmp::Ordering::Greater => Ok(()),
    }
}

fn check_target(target: &[u8]) -> Result<(), NarErrorKind> {
    if target.is_empty() {
        return Err(NarErrorKind::EmptyTarget);
    }
    if target.len() > MAX_TARGET {
        let length = u64::try_from(target.len()).unwrap_or(u64::MAX);
        return Err(NarErrorKind::LongTarget { length });
    }
    if target.contains(&0) {
        return Err(NarErrorKind::TargetByte);
    }
    Ok(())
}

/// Zero bytes after a string of this length.
fn padding(length: u64) -> u64 {
    (8 - length % 8) % 8
}

#[cfg(test)]
mod tests;
