//! A whole file tree in memory, for small trees: samples, tests and what is looked at rather than stored.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use super::{NarError, Parser, Visitor, Writer};

/// A file, symbolic link or directory, as a NAR describes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// A file.
    File {
        /// Whether its x bit is set.
        executable: bool,
        /// Its bytes.
        contents: Vec<u8>,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points.
        target: Vec<u8>,
    },
    /// A directory: its entries by name.
    Directory(BTreeMap<Vec<u8>, Self>),
}

impl Node {
    /// Writes the NAR of this tree.
    ///
    /// # Errors
    /// Those of `out`, and `InvalidInput` where a name, target or depth cannot be in a NAR.
    pub fn write<W: Write>(&self, out: W) -> io::Result<()> {
        let mut writer = Writer::begin(out)?;
        self.write_into(&mut writer)?;
        writer.finish().map(drop)
    }

    /// The NAR of this tree.
    ///
    /// # Errors
    /// `InvalidInput` where a name, target or depth cannot be in a NAR.
    pub fn to_nar(&self) -> io::Result<Vec<u8>> {
        let mut nar = Vec::new();
        self.write(&mut nar)?;
        Ok(nar)
    }

    /// Reads a whole NAR. Takes no more memory than a small multiple of `nar`.
    ///
    /// # Errors
    /// When it is not a valid NAR.
    pub fn from_nar(nar: &[u8]) -> Result<Self, NarError> {
        let mut builder = Builder::default();
        let mut parser = Parser::new();
        parser.push(nar, &mut builder)?;
        parser.finish()?;
        // A NAR that parses has a root.
        Ok(builder.root.unwrap_or(Self::Directory(BTreeMap::new())))
    }

    fn write_into<W: Write>(&self, writer: &mut Writer<W>) -> io::Result<()> {
        match self {
            Self::File {
                executable,
                contents,
            } => {
                let size =
                    u64::try_from(contents.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
                writer.regular_file(*executable, size)?;
                writer.write_contents(contents)?;
                writer.end_file()
            }
            Self::Symlink { target } => writer.symlink(target),
            Self::Directory(entries) => {
                writer.open_directory()?;
                for (name, node) in entries {
                    writer.entry(name)?;
                    node.write_into(writer)?;
                    writer.close_entry()?;
                }
                writer.close_directory()
            }
        }
    }
}

#[derive(Default)]
struct Builder {
    root: Option<Node>,
    /// The path of the file that contents belong to.
    file: Vec<u8>,
}

impl Builder {
    fn add(&mut self, path: &[u8], node: Node) {
        if path.is_empty() {
            self.root = Some(node);
            return;
        }
        let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (path.get(..slash), path.get(slash + 1..)),
            None => (Some([].as_slice()), Some(path)),
        };
        if let (Some(parent), Some(name)) = (parent, name)
            && let Some(Node::Directory(entries)) = self.find(parent)
        {
            entries.insert(name.to_vec(), node);
        }
    }

    fn find(&mut self, path: &[u8]) -> Option<&mut Node> {
        let mut node = self.root.as_mut()?;
        for name in path
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
        {
            let Node::Directory(entries) = node else {
                return None;
            };
            node = entries.get_mut(name)?;
        }
        Some(node)
    }
}

impl Visitor for Builder {
    fn directory(&mut self, path: &[u8]) {
        self.add(path, Node::Directory(BTreeMap::new()));
    }

    fn file(&mut self, path: &[u8], executable: bool, _size: u64) {
        self.file = path.to_vec();
        let contents = Vec::new();
        self.add(
            path,
            Node::File {
                executable,
                contents,
            },
        );
    }

    fn contents(&mut self, bytes: &[u8]) {
        let path = std::mem::take(&mut self.file);
        if let Some(Node::File { contents, .. }) = self.find(&path) {
            contents.extend_from_slice(bytes);
        }
        self.file = path;
    }

    fn symlink(&mut self, path: &[u8], target: &[u8]) {
        let target = target.to_vec();
        self.add(path, Node::Symlink { target });
    }
}
