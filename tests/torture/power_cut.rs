//! What a power cut leaves of a folder: rebuilt from the journal of `tests/lost_sync/interpose.c`.
//!
//! A file keeps what was written before its last completed sync began; of what came later, in order, some first part,
//! down to a part of a single write. A name in a folder is there after a sync of that folder; of later changes of names,
//! again some first part survives. That is what POSIX promises and no more: a synced file whose name was never synced is
//! gone.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use crate::dice::Dice;

/// The bytes of a record before its two texts.
const HEADER: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Folder,
    File(usize),
}

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone, Debug, Default)]
struct File {
    durable: Vec<u8>,
    pending: VecDeque<Change>,
    /// How many changes have become durable.
    synced: usize,
}

#[derive(Clone, Debug)]
enum Naming {
    Put(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

/// A folder as it is, and as it is on the disk.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    files: Vec<File>,
    now: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    pending: Vec<(usize, Naming)>,
    changes_of_names: usize,
    open: BTreeMap<i32, PathAndNode>,
    /// By descriptor: up to which change a sync that has begun will make everything durable.
    syncing: BTreeMap<i32, usize>,
}

type PathAndNode = (PathBuf, Node);

struct Record<'a> {
    kind: u8,
    fd: i32,
    a: usize,
    b: usize,
    first: &'a [u8],
    second: &'a [u8],
}

impl Disk {
    /// A folder, all of which is on the disk.
    pub(crate) fn of(root: &Path) -> Self {
        let mut disk = Self {
            root: root.to_owned(),
            files: Vec::new(),
            now: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
            changes_of_names: 0,
            open: BTreeMap::new(),
            syncing: BTreeMap::new(),
        };
        disk.load(root);
        disk.durable = disk.now.clone();
        disk
    }

    fn load(&mut self, folder: &Path) {
        self.now.insert(folder.to_owned(), Node::Folder);
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                self.load(&path);
                continue;
            }
            let node = self.new_file(fs::read(&path).unwrap());
            self.now.insert(path, node);
        }
    }

    fn new_file(&mut self, durable: Vec<u8>) -> Node {
        self.files.push(File {
            durable,
            ..File::default()
        });
        Node::File(self.files.len() - 1)
    }

    /// Everything that a process did. What it was about to write in the journal when it was killed is not there.
    pub(crate) fn replay(&mut self, mut journal: &[u8]) {
        while let Some((record, rest)) = Record::read(journal) {
            self.apply(&record);
            journal = rest;
        }
        self.open.clear();
        self.syncing.clear();
    }

    fn apply(&mut self, record: &Record<'_>) {
        let (fd, path) = (record.fd, as_path(record.first));
        match record.kind {
            b'O' => self.opened(fd, path, record.a == 1, record.b == 1),
            b'C' => _ = self.open.remove(&fd),
            b'W' => {
                let (at, bytes) = (record.a, record.first.to_vec());
                self.change(fd, Change::Write { at, bytes });
            }
            b'T' => self.change(fd, Change::Length(record.a)),
            b'S' => {
                let upto = match self.open[&fd].1 {
                    Node::Folder => self.changes_of_names,
                    Node::File(file) => self.files[file].synced + self.files[file].pending.len(),
                };
                self.syncing.insert(fd, upto);
            }
            b'E' => self.synced(fd),
            b'R' => {
                let to = as_path(record.second);
                let node = self.now.remove(&path).unwrap();
                self.now.insert(to.clone(), node);
                self.name(Naming::Rename(path, to));
            }
            b'L' => {
                let to = as_path(record.second);
                let node = self.now[&path];
                self.now.insert(to.clone(), node);
                self.name(Naming::Put(to, node));
            }
            b'U' => {
                self.now.remove(&path);
                self.name(Naming::Remove(path));
            }
            b'M' => {
                self.now.insert(path.clone(), Node::Folder);
                self.name(Naming::Put(path, Node::Folder));
            }
            _ => panic!(
                "the interposed library does not understand {} of {}",
                path.display(),
                String::from_utf8_lossy(record.second)
            ),
        }
    }

    fn opened(&mut self, fd: i32, path: PathBuf, is_folder: bool, is_emptied: bool) {
        let node = match self.now.get(&path) {
            Some(node) => *node,
            None if is_folder => Node::Folder,
            None => {
                let node = self.new_file(Vec::new());
                self.now.insert(path.clone(), node);
                self.name(Naming::Put(path.clone(), node));
                node
            }
        };
        self.open.insert(fd, (path, node));
        if is_emptied {
            self.change(fd, Change::Length(0));
        }
    }

    fn name(&mut self, naming: Naming) {
        self.pending.push((self.changes_of_names, naming));
        self.changes_of_names += 1;
    }

    fn change(&mut self, fd: i32, change: Change) {
        let (path, node) = &self.open[&fd];
        let Node::File(file) = node else {
            panic!("{} is a folder and was written to", path.display())
        };
        self.files[*file].pending.push_back(change);
    }

    fn synced(&mut self, fd: i32) {
        let Some(upto) = self.syncing.remove(&fd) else {
            return;
        };
        let (path, node) = self.open[&fd].clone();
        match node {
            Node::File(file) => self.files[file].sync(upto),
            Node::Folder => {
                let (on_disk, pending) = std::mem::take(&mut self.pending)
                    .into_iter()
                    .partition::<Vec<_>, _>(|(number, naming)| {
                        *number < upto && naming.is_in(&path)
                    });
                self.pending = pending;
                for (_, naming) in on_disk {
                    naming.apply(&mut self.durable);
                }
            }
        }
    }

    /// A power cut: the folder becomes what is left of it after what this journal tells, which begins anew.
    pub(crate) fn lose_power(&mut self, journal: &Path, dice: &mut Dice) {
        self.replay(&fs::read(journal).unwrap_or_default());
        let _ = fs::remove_file(journal);
        let (root, left) = (self.root.clone(), self.root.with_extension("left"));
        self.cut(dice, &left);
        fs::remove_dir_all(&root).unwrap();
        fs::rename(&left, &root).unwrap();
        *self = Self::of(&root);
    }

    /// Writes what a power cut leaves into another folder.
    fn cut(&mut self, dice: &mut Dice, to: &Path) {
        let kept = usize::try_from(dice.below(self.pending.len() as u64 + 1)).unwrap();
        for (_, naming) in self.pending.drain(..kept) {
            naming.apply(&mut self.durable);
        }
        self.write(to, &self.durable, |file| file.after_cut(&mut dice.split()));
    }

    /// Writes what the processes themselves saw at the end into another folder.
    pub(crate) fn without_cut(&self, to: &Path) {
        self.write(to, &self.now, File::whole);
    }

    fn write(
        &self,
        to: &Path,
        names: &BTreeMap<PathBuf, Node>,
        mut bytes: impl FnMut(&File) -> Vec<u8>,
    ) {
        fs::create_dir_all(to).unwrap();
        for (path, node) in names {
            let place = to.join(path.strip_prefix(&self.root).unwrap());
            // A folder that is lost takes along what is in it: names come after those of their folders.
            if !place.parent().unwrap().is_dir() {
                continue;
            }
            match node {
                Node::Folder => fs::create_dir_all(place).unwrap(),
                Node::File(file) => fs::write(place, bytes(&self.files[*file])).unwrap(),
            }
        }
    }
}

impl File {
    fn sync(&mut self, upto: usize) {
        while self.synced < upto {
            let Some(change) = self.pending.pop_front() else {
                return;
            };
            change.apply(&mut self.durable);
            self.synced += 1;
        }
    }

    fn whole(&self) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for change in &self.pending {
            change.apply(&mut bytes);
        }
        bytes
    }

    /// With none, some or all of what was not synced; the last change perhaps in part.
    fn after_cut(&self, dice: &mut Dice) -> Vec<u8> {
        let kept = match dice.below(3) {
            0 => 0,
            1 => usize::try_from(dice.below(self.pending.len() as u64 + 1)).unwrap(),
            _ => self.pending.len(),
        };
        let mut bytes = self.durable.clone();
        for change in self.pending.iter().take(kept) {
            change.apply(&mut bytes);
        }
        if let Some(Change::Write { at, bytes: torn }) = self.pending.get(kept)
            && dice.one_in(2)
        {
            let length = usize::try_from(dice.below(torn.len() as u64)).unwrap();
            let (at, torn) = (*at, torn[..length].to_vec());
            Change::Write { at, bytes: torn }.apply(&mut bytes);
        }
        bytes
    }
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Length(length) => file.resize(*length, 0),
            Self::Write { at, bytes } => {
                let end = at + bytes.len();
                if file.len() < end {
                    file.resize(end, 0);
                }
                file[*at..end].copy_from_slice(bytes);
            }
        }
    }
}

impl Naming {
    fn is_in(&self, folder: &Path) -> bool {
        let (Self::Put(path, _) | Self::Remove(path) | Self::Rename(_, path)) = self;
        path.parent() == Some(folder)
    }

    fn apply(self, names: &mut BTreeMap<PathBuf, Node>) {
        match self {
            Self::Put(path, node) => _ = names.insert(path, node),
            Self::Remove(path) => _ = names.remove(&path),
            Self::Rename(from, to) => {
                if let Some(node) = names.remove(&from) {
                    names.insert(to, node);
                }
            }
        }
    }
}

/// What was done to one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) writes: usize,
    pub(crate) syncs: usize,
}

/// How often each file was written to and synced, by what the journal of one process tells so far.
pub(crate) fn work(mut journal: &[u8]) -> BTreeMap<PathBuf, Work> {
    let (mut open, mut work) = (BTreeMap::new(), BTreeMap::<PathBuf, Work>::new());
    while let Some((record, rest)) = Record::read(journal) {
        journal = rest;
        if record.kind == b'O' {
            open.insert(record.fd, as_path(record.first));
        }
        let Some(path) = open.get(&record.fd) else {
            continue;
        };
        let done = work.entry(path.clone()).or_default();
        match record.kind {
            b'W' => done.writes += 1,
            b'E' => done.syncs += 1,
            _ => (),
        }
    }
    work
}

impl<'a> Record<'a> {
    fn read(journal: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (header, rest) = journal.split_at_checked(HEADER)?;
        let number = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().unwrap());
        let length = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        let (first, rest) = rest.split_at_checked(length(24) as usize)?;
        let (second, rest) = rest.split_at_checked(length(28) as usize)?;
        let record = Record {
            kind: header[0],
            fd: i32::from_le_bytes(header[4..8].try_into().unwrap()),
            a: usize::try_from(number(8)).unwrap(),
            b: usize::try_from(number(16)).unwrap(),
            first,
            second,
        };
        Some((record, rest))
    }
}

fn as_path(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}
