//! A log as a folder of files: exactly the paths of the static API, so that any web server, object store or git
//! repository serves it.
//!
//! Files appear whole or not at all, and are on the disk before the checkpoint that implies them. All but the checkpoint
//! are written once: other bytes under a name that is taken are an error, never a replacement. One writer at a time.
//! Blocks. Specification: C2SP tlog-tiles.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use quorix_tlog::tile::{TILE_WIDTH, TilePath};

/// Where unfinished files are, beside the finished ones so that they can be moved into place.
const UNFINISHED: &str = ".unfinished";
const LOCK: &str = ".lock";
const CHECKPOINT: &str = "checkpoint";
/// Which files could not be had yet that the checkpoint's entries name.
const MISSING: &str = ".missing";

/// The folder could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process writes to it.
    #[error("another quorix process writes to {}: let it finish, or choose another folder", dir.display())]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
    /// A file that must never change is there with other bytes.
    #[error(
        "{} is there already with other bytes: the folder holds another log, or was altered. Nothing was overwritten; \
         choose an empty folder, or look with: quorix log fsck",
        path.display()
    )]
    Immutable {
        /// The file.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was being written or read.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A folder that this process alone writes to.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    /// Held until it is dropped.
    _lock: File,
}

impl Folder {
    /// Opens the folder for writing, and makes it where it is not there.
    ///
    /// # Errors
    /// Another process has it, or the file system refuses.
    pub fn open(dir: &Path) -> Result<Self, FolderError> {
        make(dir)?;
        let path = dir.join(LOCK);
        let mut options = OpenOptions::new();
        let lock = options.create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(at(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let dir = dir.to_path_buf();
                return Err(FolderError::Locked { dir });
            }
            Err(TryLockError::Error(source)) => return Err(FolderError::Io { path, source }),
        }
        let unfinished = dir.join(UNFINISHED);
        match fs::remove_dir_all(&unfinished) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(at(&unfinished)(error));
            }
            _ => make(&unfinished)?,
        }
        Ok(Self {
            dir: dir.to_path_buf(),
            _lock: lock,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The checkpoint that the files are of; `None` where none was written yet.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn checkpoint(&self) -> Result<Option<Vec<u8>>, FolderError> {
        let path = self.dir.join(CHECKPOINT);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(&path)(error)),
        }
    }

    /// The lines in which it was noted what is missing.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn missing(&self) -> Result<Vec<String>, FolderError> {
        let path = self.dir.join(MISSING);
        match fs::read_to_string(&path) {
            Ok(lines) => Ok(lines.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(at(&path)(error)),
        }
    }

    /// Notes what is missing, instead of what was noted before. On the disk when this returns.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn note_missing(&self, lines: &[String]) -> Result<(), FolderError> {
        let path = self.dir.join(MISSING);
        let unfinished = self.dir.join(UNFINISHED).join("missing");
        let mut text = lines.join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        let mut file = File::create(&unfinished).map_err(at(&unfinished))?;
        file.write_all(text.as_bytes()).map_err(at(&unfinished))?;
        file.sync_all().map_err(at(&unfinished))?;
        fs::rename(&unfinished, &path).map_err(at(&path))?;
        sync(&self.dir)
    }

    /// True if there is a file of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.dir.join(name).is_file()
    }

    /// Writes files that never change again. They are on the disk when this returns.
    ///
    /// # Errors
    /// One is there with other bytes, or the file system refuses. Some of the others may be there then.
    pub fn put(&self, files: &[(String, Vec<u8>)]) -> Result<(), FolderError> {
        let mut made = Vec::new();
        let mut folders = BTreeSet::new();
        for (number, (name, bytes)) in files.iter().enumerate() {
            let path = self.dir.join(name);
            match fs::read(&path) {
                Ok(found) if found == *bytes => {
                    // Whoever moved it here may have died before its name was on the disk.
                    folders.extend(self.folders_of(&path));
                    continue;
                }
                Ok(_) => return Err(FolderError::Immutable { path }),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(at(&path)(error)),
            }
            let unfinished = self.dir.join(UNFINISHED).join(number.to_string());
            let mut file = File::create(&unfinished).map_err(at(&unfinished))?;
            file.write_all(bytes).map_err(at(&unfinished))?;
            made.push((unfinished, file, path));
        }
        // All are written before the first is waited for, so that the disk takes them together.
        for (unfinished, file, _) in &made {
            file.sync_all().map_err(at(unfinished))?;
        }
        for (unfinished, _, path) in made {
            make(path.parent().unwrap_or(&self.dir))?;
            fs::rename(&unfinished, &path).map_err(at(&path))?;
            folders.extend(self.folders_of(&path));
        }
        folders.iter().try_for_each(|folder| sync(folder))
    }

    /// The folders from here to a file, which have its name and their own.
    fn folders_of(&self, path: &Path) -> Vec<PathBuf> {
        let above = path.ancestors().skip(1);
        above
            .take_while(|folder| folder.starts_with(&self.dir))
            .map(Path::to_path_buf)
            .collect()
    }

    /// Puts a checkpoint in place of the one before. Everything that it implies was [`put`](Self::put).
    ///
    /// # Errors
    /// The file system refuses.
    pub fn publish(&self, checkpoint: &[u8]) -> Result<(), FolderError> {
        let unfinished = self.dir.join(UNFINISHED).join(CHECKPOINT);
        let path = self.dir.join(CHECKPOINT);
        let mut file = File::create(&unfinished).map_err(at(&unfinished))?;
        file.write_all(checkpoint).map_err(at(&unfinished))?;
        file.sync_all().map_err(at(&unfinished))?;
        fs::rename(&unfinished, &path).map_err(at(&path))?;
        sync(&self.dir)
    }

    /// Removes the narrower versions of a tile whose full version is there.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn remove_partial(&self, full: TilePath) -> Result<(), FolderError> {
        if full.width != TILE_WIDTH || !self.has(&full.to_string()) {
            return Ok(());
        }
        let partial = self.dir.join(format!("{full}.p"));
        match fs::remove_dir_all(&partial) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(at(&partial)(error)),
            _ => Ok(()),
        }
    }
}

fn make(dir: &Path) -> Result<(), FolderError> {
    fs::create_dir_all(dir).map_err(at(dir))
}

fn sync(dir: &Path) -> Result<(), FolderError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(at(dir))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_path_buf();
    move |source| FolderError::Io { path, source }
}
