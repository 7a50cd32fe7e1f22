//! The push parser: bytes of a NAR in, events out.
//!
//! Below the grammar, a NAR is a row of strings, each a little-endian length, its bytes and zeros up to a multiple of
//! eight. [`State`] is the place within such a string, [`Expect`] the place within the grammar. File contents pass
//! through to the visitor as they come; every other string is short and collected first.

use super::{
    MAGIC, MAX_DEPTH, MAX_NAME, MAX_TARGET, NarError, NarErrorKind, check_name, check_target,
    padding,
};

/// Takes what a [`Parser`] finds, in the order of the NAR. Paths are names joined by `/`, the root is empty.
///
/// Events come before the NAR is known to be whole and well formed: nothing may be believed before
/// [`Parser::finish`] has succeeded.
pub trait Visitor {
    /// A directory begins; its entries follow in bytewise order of their names.
    fn directory(&mut self, path: &[u8]) {
        let _ = path;
    }

    /// A file begins; `size` bytes of contents follow in calls of [`contents`](Self::contents), none if it is empty.
    fn file(&mut self, path: &[u8], executable: bool, size: u64) {
        let _ = (path, executable, size);
    }

    /// The next bytes of the last file.
    fn contents(&mut self, bytes: &[u8]) {
        let _ = bytes;
    }

    /// A symbolic link.
    fn symlink(&mut self, path: &[u8], target: &[u8]) {
        let _ = (path, target);
    }
}

/// Looks at nothing: for checking alone.
impl Visitor for () {}

/// A strict parser that is fed a NAR in chunks of any size.
#[derive(Debug, Clone)]
pub struct Parser {
    offset: u64,
    /// Where the string being read began.
    start: u64,
    state: State,
    expect: Expect,
    text: Vec<u8>,
    executable: bool,
    path: Vec<u8>,
    levels: Vec<Level>,
    failed: Option<NarError>,
}

/// An open directory.
#[derive(Debug, Clone)]
struct Level {
    /// Length of the path of the directory itself.
    path_len: usize,
    /// Name of its last entry; empty before the first.
    last: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Length { bytes: [u8; 8], have: usize },
    Text { left: usize, padding: u64 },
    Contents { left: u64, padding: u64 },
    Padding { left: u64 },
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Magic,
    NodeOpen,
    TypeKey,
    Type,
    FileKey,
    ExecutableValue,
    ContentsKey,
    Contents,
    TargetKey,
    Target,
    NodeClose,
    EntryOrClose,
    EntryOpen,
    NameKey,
    Name,
    NodeKey,
    EntryClose,
    End,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    /// A parser that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            offset: 0,
            start: 0,
            state: State::Length {
                bytes: [0; 8],
                have: 0,
            },
            expect: Expect::Magic,
            text: Vec::new(),
            executable: false,
            path: Vec::new(),
            levels: Vec::new(),
            failed: None,
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// At the first byte that makes the archive wrong; every later call fails in the same way.
    pub fn push<V: Visitor + ?Sized>(
        &mut self,
        bytes: &[u8],
        visitor: &mut V,
    ) -> Result<(), NarError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = self.step(rest, visitor).inspect_err(|error| {
                self.failed = Some(error.clone());
            })?;
        }
        Ok(())
    }

    /// Says that no more bytes come.
    ///
    /// # Errors
    /// When the archive was wrong before, or is not complete.
    pub fn finish(self) -> Result<(), NarError> {
        match (self.failed, self.state) {
            (Some(error), _) => Err(error),
            (None, State::End) => Ok(()),
            (None, _) => Err(NarError {
                offset: self.offset,
                kind: NarErrorKind::Truncated,
            }),
        }
    }

    /// Takes some bytes of a non-empty input and gives back the rest.
    fn step<'a, V: Visitor + ?Sized>(
        &mut self,
        input: &'a [u8],
        visitor: &mut V,
    ) -> Result<&'a [u8], NarError> {
        match self.state {
            State::Length { mut bytes, have } => {
                let (part, rest) = split(input, 8_u64.saturating_sub(to_u64(have)));
                for (into, byte) in bytes.iter_mut().skip(have).zip(part) {
                    *into = *byte;
                }
                let have = have.saturating_add(part.len());
                self.consume(part);
                self.state = State::Length { bytes, have };
                if have == bytes.len() {
                    self.length_is(u64::from_le_bytes(bytes), visitor)?;
                }
                Ok(rest)
            }
            State::Text { left, padding } => {
                let (part, rest) = split(input, to_u64(left));
                self.text.extend_from_slice(part);
                self.consume(part);
                let left = left.saturating_sub(part.len());
                if left > 0 {
                    self.state = State::Text { left, padding };
                } else {
                    self.padding_follows(padding, visitor)?;
                }
                Ok(rest)
            }
            State::Contents { left, padding } => {
                let (part, rest) = split(input, left);
                visitor.contents(part);
                self.consume(part);
                let left = left.saturating_sub(to_u64(part.len()));
                if left > 0 {
                    self.state = State::Contents { left, padding };
                } else {
                    self.padding_follows(padding, visitor)?;
                }
                Ok(rest)
            }
            State::Padding { left } => {
                let (part, rest) = split(input, left);
                if let Some(at) = part.iter().position(|byte| *byte != 0) {
                    return Err(self.error_at(
                        self.offset.saturating_add(to_u64(at)),
                        NarErrorKind::Padding,
                    ));
                }
                self.consume(part);
                self.padding_follows(left.saturating_sub(to_u64(part.len())), visitor)?;
                Ok(rest)
            }
            State::End => Err(self.error_at(self.offset, NarErrorKind::TrailingBytes)),
        }
    }

    fn consume(&mut self, part: &[u8]) {
        self.offset = self.offset.saturating_add(to_u64(part.len()));
    }

    fn error_at(&self, offset: u64, kind: NarErrorKind) -> NarError {
        NarError { offset, kind }
    }

    /// The length of a string is known: decides whether to read it and how.
    fn length_is<V: Visitor + ?Sized>(
        &mut self,
        length: u64,
        visitor: &mut V,
    ) -> Result<(), NarError> {
        let padding = padding(length);
        self.text.clear();
        if self.expect == Expect::Contents {
            visitor.file(&self.path, self.executable, length);
            if length > 0 {
                self.state = State::Contents {
                    left: length,
                    padding,
                };
                return Ok(());
            }
            return self.padding_follows(0, visitor);
        }
        let (limit, too_long) = match self.expect {
            Expect::Name => (MAX_NAME, NarErrorKind::LongName { length }),
            Expect::Target => (MAX_TARGET, NarErrorKind::LongTarget { length }),
            other => (MAGIC.len(), other.unmet()),
        };
        match usize::try_from(length) {
            Ok(0) => self.padding_follows(0, visitor),
            Ok(left) if left <= limit => {
                self.state = State::Text { left, padding };
                Ok(())
            }
            _ => Err(self.error_at(self.start, too_long)),
        }
    }

    /// The bytes of a string are read; goes on once no padding is left either.
    fn padding_follows<V: Visitor + ?Sized>(
        &mut self,
        left: u64,
        visitor: &mut V,
    ) -> Result<(), NarError> {
        if left > 0 {
            self.state = State::Padding { left };
            return Ok(());
        }
        let text = std::mem::take(&mut self.text);
        let next = self
            .advance(&text, visitor)
            .map_err(|kind| self.error_at(self.start, kind))?;
        self.text = text;
        self.expect = next;
        self.start = self.offset;
        self.state = match next {
            Expect::End => State::End,
            _ => State::Length {
                bytes: [0; 8],
                have: 0,
            },
        };
        Ok(())
    }

    /// Takes one whole string and says what may follow it.
    fn advance<V: Visitor + ?Sized>(
        &mut self,
        text: &[u8],
        visitor: &mut V,
    ) -> Result<Expect, NarErrorKind> {
        Ok(match (self.expect, text) {
            (Expect::Magic, MAGIC) | (Expect::NodeKey, b"node") => Expect::NodeOpen,
            (Expect::NodeOpen, b"(") => Expect::TypeKey,
            (Expect::TypeKey, b"type") => Expect::Type,
            (Expect::Type, b"regular") => {
                self.executable = false;
                Expect::FileKey
            }
            (Expect::Type, b"symlink") => Expect::TargetKey,
            (Expect::Type, b"directory") => {
                visitor.directory(&self.path);
                self.levels.push(Level {
                    path_len: self.path.len(),
                    last: Vec::new(),
                });
                Expect::EntryOrClose
            }
            (Expect::FileKey, b"executable") => {
                self.executable = true;
                Expect::ExecutableValue
            }
            (Expect::ExecutableValue, b"") => Expect::ContentsKey,
            (Expect::FileKey | Expect::ContentsKey, b"contents") => Expect::Contents,
            (Expect::Contents, _) => Expect::NodeClose,
            (Expect::TargetKey, b"target") => Expect::Target,
            (Expect::Target, target) => {
                check_target(target)?;
                visitor.symlink(&self.path, target);
                Expect::NodeClose
            }
            (Expect::EntryOrClose, b"entry") if self.levels.len() > MAX_DEPTH => {
                return Err(NarErrorKind::TooDeep);
            }
            (Expect::EntryOrClose, b"entry") => Expect::EntryOpen,
            (Expect::EntryOpen, b"(") => Expect::NameKey,
            (Expect::NameKey, b"name") => Expect::Name,
            (Expect::Name, name) => {
                self.enter(name)?;
                Expect::NodeKey
            }
            (Expect::EntryOrClose, b")") => {
                self.levels.pop();
                self.after_node()
            }
            (Expect::NodeClose, b")") => self.after_node(),
            (Expect::EntryClose, b")") => Expect::EntryOrClose,
            (expect, _) => return Err(expect.unmet()),
        })
    }

    /// Makes `path` that of the entry `name` of the innermost open directory.
    fn enter(&mut self, name: &[u8]) -> Result<(), NarErrorKind> {
        if let Some(level) = self.levels.last_mut() {
            check_name(name, &level.last)?;
            level.last.clear();
            level.last.extend_from_slice(name);
            self.path.truncate(level.path_len);
        }
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
        Ok(())
    }

    fn after_node(&self) -> Expect {
        if self.levels.is_empty() {
            Expect::End
        } else {
            Expect::EntryClose
        }
    }
}

impl Expect {
    /// The error for any string that may not stand here.
    fn unmet(self) -> NarErrorKind {
        let wanted = match self {
            Self::Magic => "`nix-archive-1`",
            Self::NodeOpen | Self::EntryOpen => "`(`",
            Self::TypeKey => "`type`",
            Self::Type => "`regular`, `symlink` or `directory`",
            Self::FileKey => "`executable` or `contents`",
            Self::ExecutableValue => "an empty string after `executable`",
            Self::ContentsKey => "`contents`",
            Self::TargetKey => "`target`",
            Self::EntryOrClose => "`entry` or `)`",
            Self::NameKey => "`name`",
            Self::NodeKey => "`node`",
            Self::NodeClose | Self::EntryClose => "`)`",
            Self::Contents | Self::Target | Self::Name => "a string",
            Self::End => "the end",
        };
        NarErrorKind::Expected { wanted }
    }
}

/// Cuts off at most `count` bytes.
fn split(input: &[u8], count: u64) -> (&[u8], &[u8]) {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    input.split_at_checked(count).unwrap_or((input, &[]))
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
