//! Jobs on disk: what was built and is not yet acknowledged by the log.
//!
//! One small file a job, written beside its place, synced and renamed, so that a crash or a power cut at any moment
//! leaves either a whole job or none. Whoever can write here can have things attested: the directory belongs to the
//! builder alone, and files of others than its owner and root are not believed.
//!
//! `<id>.json` waits; `<id>.bad` is not understood; `rejected/<id>.json` can never be attested as it is. The last two
//! have their reason beside them in `.reason`. Names that begin with a dot are unfinished and not looked at.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

mod job;

pub use job::{Job, JobError, OUTPUTS_MAX};

/// The most jobs that may wait.
pub const JOBS_MAX: usize = 100_000;
/// The most bytes of one job.
pub const JOB_BYTES_MAX: u64 = 256 * 1024;
/// The most rejected jobs that are kept; beyond it the oldest are dropped.
pub const REJECTED_MAX: usize = 10_000;

const TEMPORARY_PREFIX: &str = ".new-";
const TEMPORARY_AGE_MAX: Duration = Duration::from_secs(3600);
const REJECTED: &str = "rejected";

/// A directory of jobs.
#[derive(Clone, Debug)]
pub struct Outbox {
    dir: PathBuf,
    jobs_max: usize,
    rejected_max: usize,
}

/// The name of a job's file. Ascends in the order in which the jobs were put.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(String);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How many jobs there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Not acknowledged yet.
    pub waiting: usize,
    /// Can never be attested as they are.
    pub rejected: usize,
    /// Not understood.
    pub bad: usize,
}

impl Outbox {
    /// Opens the outbox, and makes it where it is not there.
    ///
    /// # Errors
    /// When the directory cannot be made, or everybody may write into it.
    pub fn open(dir: &Path) -> Result<Self, OutboxError> {
        fs::create_dir_all(dir).map_err(|error| OutboxError::new("making", dir, &error))?;
        let metadata =
            fs::metadata(dir).map_err(|error| OutboxError::new("opening", dir, &error))?;
        if metadata.permissions().mode() & 0o002 != 0 {
            return Err(OutboxError::WorldWritable {
                path: dir.to_owned(),
            });
        }
        Ok(Self {
            dir: dir.to_owned(),
            jobs_max: JOBS_MAX,
            rejected_max: REJECTED_MAX,
        })
    }

    /// Puts a job. It is durable when this returns.
    ///
    /// # Errors
    /// When there are [`JOBS_MAX`] jobs, the job is too big, or it cannot be written; nothing is left behind.
    pub fn put(&self, job: &Job) -> Result<JobId, OutboxError> {
        let text = job.to_text().map_err(|error| OutboxError::Job {
            reason: error.to_string(),
        })?;
        if text.len() as u64 > JOB_BYTES_MAX {
            let reason = format!("it has more than {JOB_BYTES_MAX} bytes");
            return Err(OutboxError::Job { reason });
        }
        if self.names(&self.dir, "json")?.len() >= self.jobs_max {
            return Err(OutboxError::Full {
                path: self.dir.clone(),
                jobs: self.jobs_max,
            });
        }
        let id = JobId(fresh_name());
        self.write(&self.dir, &format!("{id}.json"), text.as_bytes())?;
        Ok(id)
    }

    /// The oldest jobs that are not to be skipped, at most `limit`, in the order in which they were put. What is not
    /// understood is set aside as `.bad`.
    ///
    /// # Errors
    /// When the directory cannot be read. A single file never makes this fail.
    pub fn list(
        &self,
        limit: usize,
        skip: impl Fn(&JobId) -> bool,
    ) -> Result<Vec<(JobId, Job)>, OutboxError> {
        let mut jobs = Vec::new();
        for id in self.names(&self.dir, "json")? {
            if jobs.len() == limit {
                break;
            }
            if skip(&id) {
                continue;
            }
            match self.read(&id) {
                Ok(Some(job)) => jobs.push((id, job)),
                Ok(None) => {}
                Err(reason) => self.set_aside_as_bad(&id, &reason),
            }
        }
        Ok(jobs)
    }

    /// Removes a job that is done.
    ///
    /// # Errors
    /// When the file cannot be removed. That it is gone already is none.
    pub fn remove(&self, id: &JobId) -> Result<(), OutboxError> {
        let path = self.dir.join(format!("{id}.json"));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(OutboxError::new("removing", &path, &error))
            }
            _ => Ok(()),
        }
    }

    /// Sets a job aside that can never be attested as it is. It is kept, with the reason.
    ///
    /// # Errors
    /// When it cannot be moved; it then stays where it is.
    pub fn reject(&self, id: &JobId, reason: &str) -> Result<(), OutboxError> {
        let dir = self.dir.join(REJECTED);
        fs::create_dir_all(&dir).map_err(|error| OutboxError::new("making", &dir, &error))?;
        self.write(
            &dir,
            &format!("{id}.reason"),
            format!("{reason}\n").as_bytes(),
        )?;
        let name = format!("{id}.json");
        let from = self.dir.join(&name);
        fs::rename(&from, dir.join(&name))
            .map_err(|error| OutboxError::new("moving", &from, &error))?;
        let names = self.names(&dir, "json")?;
        let surplus = names.len().saturating_sub(self.rejected_max);
        for old in names.iter().take(surplus) {
            for extension in ["json", "reason"] {
                // What cannot be removed now is tried again next time.
                let _ = fs::remove_file(dir.join(format!("{old}.{extension}")));
            }
        }
        Ok(())
    }

    /// The rejected jobs with their reasons, oldest first.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn rejected(&self) -> Result<Vec<(JobId, String)>, OutboxError> {
        let dir = self.dir.join(REJECTED);
        let names = self.names(&dir, "json")?;
        let with_reason = |id: JobId| {
            let reason = File::open(dir.join(format!("{id}.reason")))
                .and_then(read_bounded)
                .unwrap_or_default();
            (id, String::from_utf8_lossy(&reason).trim_end().to_owned())
        };
        Ok(names.into_iter().map(with_reason).collect())
    }

    /// How many jobs there are.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn counts(&self) -> Result<Counts, OutboxError> {
        Ok(Counts {
            waiting: self.names(&self.dir, "json")?.len(),
            rejected: self.names(&self.dir.join(REJECTED), "json")?.len(),
            bad: self.names(&self.dir, "bad")?.len(),
        })
    }

    /// Removes what writers that were killed an hour ago or more have left unfinished.
    pub fn remove_unfinished(&self) {
        for dir in [self.dir.clone(), self.dir.join(REJECTED)] {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let unfinished = entry
                    .file_name()
                    .as_encoded_bytes()
                    .starts_with(TEMPORARY_PREFIX.as_bytes());
                let age = entry
                    .metadata()
                    .and_then(|metadata| metadata.modified())
                    .map(|time| time.elapsed());
                if unfinished && matches!(age, Ok(Ok(age)) if age > TEMPORARY_AGE_MAX) {
                    // A leftover costs nothing but its space.
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
    }

    /// The job; `None` where it is gone, or else why it is not understood.
    fn read(&self, id: &JobId) -> Result<Option<Job>, String> {
        let path = self.dir.join(format!("{id}.json"));
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        if !metadata.is_file() {
            return Err("it is not a file".to_owned());
        }
        let owner = fs::metadata(&self.dir)
            .map_err(|error| error.to_string())?
            .uid();
        if metadata.uid() != 0 && metadata.uid() != owner {
            return Err(format!(
                "it belongs to user {}, not to {owner} or root",
                metadata.uid()
            ));
        }
        if metadata.len() > JOB_BYTES_MAX {
            return Err(format!("it has more than {JOB_BYTES_MAX} bytes"));
        }
        let file = File::open(&path).map_err(|error| error.to_string())?;
        let opened = file.metadata().map_err(|error| error.to_string())?;
        // What was looked at is what was opened, even if somebody swapped the name in between.
        if (opened.dev(), opened.ino()) != (metadata.dev(), metadata.ino()) {
            return Err("it was replaced while it was read".to_owned());
        }
        let bytes = read_bounded(file).map_err(|error| error.to_string())?;
        Job::from_text(&bytes)
            .map(Some)
            .map_err(|error| error.to_string())
    }

    fn set_aside_as_bad(&self, id: &JobId, reason: &str) {
        tracing::warn!(job = %id, reason, "a job in the outbox is not understood and is set aside");
        // Where this fails, the next look into the outbox tries again: the others are not held up.
        let _ = self.write(
            &self.dir,
            &format!("{id}.reason"),
            format!("{reason}\n").as_bytes(),
        );
        let _ = fs::rename(
            self.dir.join(format!("{id}.json")),
            self.dir.join(format!("{id}.bad")),
        );
    }

    /// The stems of the files with this extension, ascending; none where the directory is not there.
    fn names(&self, dir: &Path, extension: &str) -> Result<Vec<JobId>, OutboxError> {
        let fail = |error: &io::Error| OutboxError::new("listing", dir, error);
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound && dir != self.dir => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(fail(&error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let path = PathBuf::from(entry.map_err(|error| fail(&error))?.file_name());
            let stem = path
                .file_stem()
                .and_then(OsStr::to_str)
                .filter(|stem| !stem.starts_with('.'));
            if let (Some(stem), true) = (stem, path.extension() == Some(OsStr::new(extension))) {
                names.push(JobId(stem.to_owned()));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Writes a file so that it is there whole and durably, or not at all.
    fn write(&self, dir: &Path, name: &str, bytes: &[u8]) -> Result<(), OutboxError> {
        let temporary = dir.join(format!("{TEMPORARY_PREFIX}{}", fresh_name()));
        let path = dir.join(name);
        let written = write_synced(&temporary, bytes)
            .and_then(|()| fs::rename(&temporary, &path))
            .and_then(|()| File::open(dir)?.sync_all());
        written.map_err(|error| {
            // If it is not there, all the better.
            let _ = fs::remove_file(&temporary);
            OutboxError::new("writing", &path, &error)
        })
    }
}

/// Why the outbox could not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboxError {
    /// The file system said no.
    #[error("{doing} {}: {reason}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// Too many jobs wait.
    #[error("the outbox {} is full with {jobs} jobs; is `quorix serve` running?", path.display())]
    Full {
        /// The directory.
        path: PathBuf,
        /// How many there may be.
        jobs: usize,
    },
    /// Anybody could have things attested.
    #[error("everybody may write into the outbox {}; run `chmod o-w` on it", path.display())]
    WorldWritable {
        /// The directory.
        path: PathBuf,
    },
    /// The job cannot be written down.
    #[error("the job cannot be put: {reason}")]
    Job {
        /// What is wrong with it.
        reason: String,
    },
}

impl OutboxError {
    fn new(doing: &'static str, path: &Path, error: &io::Error) -> Self {
        Self::Io {
            doing,
            path: path.to_owned(),
            reason: error.to_string(),
        }
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Readable by all: Nix runs the hook as root, and the reader may be another user. The directory says who may enter.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn read_bounded(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(JOB_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Ascends with time, and is used once.
fn fresh_name() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!(
        "{:020}-{:010}-{count:010}",
        now.as_nanos(),
        std::process::id()
    )
}

#[cfg(test)]
mod tests;
