//! Writes a NAR piece by piece, so that big files stream through.
//!
//! The writer refuses calls that would give an archive which the parser refuses: what it finishes is always valid.

use std::io::{self, Write};

use super::{MAGIC, MAX_DEPTH, NarErrorKind, check_name, check_target, padding};

/// A NAR being written into `W`.
///
/// A node is written by `regular_file`, `write_contents`… and `end_file`; or `symlink`; or `open_directory`, then for
/// each entry in bytewise order `entry`, a node and `close_entry`, and last `close_directory`.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    /// The last entry's name in each open directory.
    levels: Vec<Vec<u8>>,
    place: Place,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Node,
    File {
        left: u64,
        padding: u64,
    },
    Directory,
    EntryEnd,
    End,
    /// A call failed: what was written is no longer known.
    Broken,
}

/// A call on a [`Writer`] that does not fit its place; the source of the `io::Error` given for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriterMisuse {
    /// The call is not allowed here, or an earlier call failed.
    #[error("a NAR writer cannot {call} here")]
    OutOfPlace {
        /// What was called.
        call: &'static str,
    },
    /// More or fewer bytes of contents than announced: the file changed while it was read.
    #[error("the contents of a file are not as long as was announced")]
    Size,
    /// A name, target or depth that no NAR may have.
    #[error(transparent)]
    Invalid(#[from] NarErrorKind),
}

impl<W: Write> Writer<W> {
    /// Begins an archive: one node must follow.
    ///
    /// # Errors
    /// Those of `out`, here as in every call below.
    pub fn begin(out: W) -> io::Result<Self> {
        let mut writer = Self {
            out,
            levels: Vec::new(),
            place: Place::Node,
        };
        writer.put(MAGIC)?;
        Ok(writer)
    }

    /// Begins a file of `size` bytes.
    ///
    /// # Errors
    /// When no node may begin here.
    pub fn regular_file(&mut self, executable: bool, size: u64) -> io::Result<()> {
        let Place::Node = self.leave() else {
            return misuse(WriterMisuse::OutOfPlace {
                call: "begin a file",
            });
        };
        self.put_all(&[b"(", b"type", b"regular"])?;
        if executable {
            self.put_all(&[b"executable", b""])?;
        }
        self.put(b"contents")?;
        self.out.write_all(&size.to_le_bytes())?;
        self.place = Place::File {
            left: size,
            padding: padding(size),
        };
        Ok(())
    }

    /// Writes the next bytes of the file.
    ///
    /// # Errors
    /// When no file is open, or it would become longer than announced.
    pub fn write_contents(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Place::File { left, padding } = self.leave() else {
            return misuse(WriterMisuse::OutOfPlace {
                call: "write contents",
            });
        };
        let Some(left) = u64::try_from(bytes.len())
            .ok()
            .and_then(|length| left.checked_sub(length))
        else {
            return misuse(WriterMisuse::Size);
        };
        self.out.write_all(bytes)?;
        self.place = Place::File { left, padding };
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// When no file is open, or it is shorter than announced.
    pub fn end_file(&mut self) -> io::Result<()> {
        let Place::File { left, padding } = self.leave() else {
            return misuse(WriterMisuse::OutOfPlace { call: "end a file" });
        };
        if left > 0 {
            return misuse(WriterMisuse::Size);
        }
        self.pad(padding)?;
        self.put(b")")?;
        self.node_ended();
        Ok(())
    }

    /// Writes a symbolic link.
    ///
    /// # Errors
    /// When no node may begin here, or the target is empty, too long or has NUL in it.
    pub fn symlink(&mut self, target: &[u8]) -> io::Result<()> {
        let Place::Node = self.leave() else {
            return misuse(WriterMisuse::OutOfPlace {
                call: "write a link",
            });
        };
        check_target(target).or_else(|kind| misuse(kind.into()))?;
        self.put_all(&[b"(", b"type", b"symlink", b"target", target, b")"])?;
        self.node_ended();
        Ok(())
    }

    /// Begins a directory.
    ///
    /// # Errors
    /// When no node may begin here.
    pub fn open_directory(&mut self) -> io::Result<()> {
        let Place::Node = self.leave() else {
            return misuse(WriterMisuse::OutOfPlace {
                call: "open a directory",
            });
        };
        self.put_all(&[b"(", b"type", b"directory"])?;
        self.levels.push(Vec::new());
        self.place = Place::Directory;
        Ok(())
    }

    /// Begins an entry of the directory: its node must follow.
    ///
    /// # Errors
    /// When no directory is open, the name cannot be one, does not come after the last, or is nested too deep.
    pub fn entry(&mut self, name: &[u8]) -> io::Result<()> {
        let depth = self.levels.len();
        let (Place::Directory, Some(last)) = (self.leave(), self.levels.last_mut()) else {
            return misuse(WriterMisuse::OutOfPlace {
                call: "begin an entry",
            });
        };
        if depth > MAX_DEPTH {
            return misuse(NarErrorKind::TooDeep.into());
        }
        check_name(name, last).or_else(|kind| misuse(kind.into()))?;
        last.clear();
        last.extend_from_slice(name);
        self.put_all(&[b"entry", b"(", b"name", name, b"node"])?;
        self.place = Place::Node;
        Ok(())
    }

    /// Ends the entry.
    ///
    /// # Errors
    /// When the entry's node is not written.
    pub fn close_entry(&mut self) -> io::Result<()> {
        let Place::EntryEnd = self.leave() else {
            return misuse(WriterMisuse::OutOfPlace {
                call: "close an entry",
            });
        };
        self.put(b")")?;
        self.place = Place::Directory;
        Ok(())
    }

    /// Ends the directory.
    ///
    /// # Errors
    /// When no directory is open, or an entry of it still is.
    pub fn close_directory(&mut self) -> io::Result<()> {
        let Place::Directory = self.leave() else {
            return misuse(WriterMisuse::OutOfPlace {
                call: "close a directory",
            });
        };
        self.levels.pop();
        self.put(b")")?;
        self.node_ended();
        Ok(())
    }

    /// Gives back what was written into. Does not flush it.
    ///
    /// # Errors
    /// When the archive is not complete.
    pub fn finish(self) -> io::Result<W> {
        match self.place {
            Place::End => Ok(self.out),
            _ => misuse(WriterMisuse::OutOfPlace { call: "finish" }),
        }
    }

    /// The place; stays `Broken` unless the call goes through.
    fn leave(&mut self) -> Place {
        std::mem::replace(&mut self.place, Place::Broken)
    }

    fn node_ended(&mut self) {
        self.place = if self.levels.is_empty() {
            Place::End
        } else {
            Place::EntryEnd
        };
    }

    fn put_all(&mut self, texts: &[&[u8]]) -> io::Result<()> {
        texts.iter().try_for_each(|text| self.put(text))
    }

    fn put(&mut self, text: &[u8]) -> io::Result<()> {
        let length = u64::try_from(text.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(text)?;
        self.pad(padding(length))
    }

    fn pad(&mut self, zeros: u64) -> io::Result<()> {
        (0..zeros).try_for_each(|_| self.out.write_all(&[0]))
    }
}

fn misuse<T>(misuse: WriterMisuse) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidInput, misuse))
}
