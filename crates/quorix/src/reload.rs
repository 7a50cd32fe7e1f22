//! Files that are read again while the program runs: when they change, and at SIGHUP.
//!
//! A file that was just written may be half of a pair (certificate and key), so a change is taken up only once nothing
//! has changed between two looks. What cannot be used is refused with its reason, and what was in use stays.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::output::Failure;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Takes up what is in the files now, or says why not.
type Apply = Box<dyn Fn() -> Result<(), String> + Send>;

/// What a file is like without reading it: modification time in seconds and nanoseconds, length, inode.
type Stamp = Option<(i64, i64, u64, u64)>;

/// Which files they are now.
type Files = Box<dyn Fn() -> Vec<PathBuf> + Send>;

/// Files that belong together.
struct Watched {
    what: &'static str,
    files: Files,
    apply: Apply,
    /// As of what is in use, or was refused; `None` if that was not read at one moment.
    settled: Option<Vec<Stamp>>,
    /// As of the last look.
    seen: Vec<Stamp>,
}

/// Files as they were at one moment, before they were read.
pub struct LookedAt {
    files: Vec<PathBuf>,
    stamps: Vec<Stamp>,
}

impl LookedAt {
    /// As they are now.
    #[must_use]
    pub fn now(files: Vec<PathBuf>) -> Self {
        let stamps = stamps(&files);
        Self { files, stamps }
    }
}

/// Everything that is read again.
#[derive(Default)]
pub struct Reload {
    watched: Vec<Watched>,
}

impl Reload {
    /// Adds files that were looked at before they were read for the first time: what changed since then is read again.
    /// `what` names them for people; `apply` reads them again.
    pub fn watch(
        &mut self,
        what: &'static str,
        before: LookedAt,
        apply: impl Fn() -> Result<(), String> + Send + 'static,
    ) {
        let LookedAt { files, stamps } = before;
        self.watched.push(Watched {
            what,
            files: Box::new(move || files.clone()),
            apply: Box::new(apply),
            settled: Some(stamps.clone()),
            seen: stamps,
        });
    }

    /// Adds files of which some name others, so that which they are may change as they are read. They are looked at now:
    /// whoever read them before has to read them again after this.
    pub fn watch_those(
        &mut self,
        what: &'static str,
        files: impl Fn() -> Vec<PathBuf> + Send + 'static,
        apply: impl Fn() -> Result<(), String> + Send + 'static,
    ) {
        let now = stamps(&files());
        self.watched.push(Watched {
            what,
            files: Box::new(files),
            apply: Box::new(apply),
            settled: Some(now.clone()),
            seen: now,
        });
    }

    /// Looks at the files until `stop`.
    ///
    /// # Errors
    /// The system does not let signals be heard.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Failure> {
        let mut hangup = signal(SignalKind::hangup())
            .map_err(|error| Failure::unknown(format!("signals: {error}")))?;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = hangup.recv() => self.read_all(),
                () = tokio::time::sleep(LOOK_EVERY) => self.look(),
            }
        }
    }

    /// Reads everything again, changed or not.
    fn read_all(&mut self) {
        for watched in &mut self.watched {
            watched.seen = stamps(&(watched.files)());
            watched.take_up();
        }
    }

    /// Reads again what changed before the last look and not since.
    fn look(&mut self) {
        for watched in &mut self.watched {
            let now = stamps(&(watched.files)());
            let is_still = now == watched.seen;
            watched.seen = now;
            if is_still && watched.settled.as_ref() != Some(&watched.seen) {
                watched.take_up();
            }
        }
    }
}

impl Watched {
    fn take_up(&mut self) {
        let before = (self.files)();
        let stamped = stamps(&before);
        let taken_up = (self.apply)();
        // What changed while it was read, or was not looked at before, is read again.
        let now = (self.files)();
        self.seen = stamps(&now);
        self.settled = Some(stamped).filter(|stamped| now == before && *stamped == self.seen);
        match taken_up {
            Ok(()) => tracing::info!("{}: read again", self.what),
            Err(reason) => tracing::warn!(
                "{}: not taken up, what was in use stays: {reason}",
                self.what
            ),
        }
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    files.iter().map(|file| stamp(file)).collect()
}

fn stamp(file: &Path) -> Stamp {
    let data = std::fs::metadata(file).ok()?;
    Some((data.mtime(), data.mtime_nsec(), data.len(), data.ino()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn counting(files: Vec<PathBuf>) -> (Reload, Arc<AtomicUsize>) {
        let (mut reload, times) = (Reload::default(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&times);
        reload.watch("test", LookedAt::now(files), move || {
            counted.fetch_add(1, Ordering::SeqCst);
            Err("never good".to_owned())
        });
        (reload, times)
    }

    #[test]
    fn a_change_is_taken_up_once_and_only_after_all_files_are_still() {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = (dir.path().join("cert"), dir.path().join("key"));
        std::fs::write(&cert, "1").unwrap();
        let (mut reload, times) = counting(vec![cert.clone(), key.clone()]);

        reload.look();
        assert_eq!(times.load(Ordering::SeqCst), 0, "nothing changed");
        std::fs::write(&cert, "22").unwrap();
        reload.look();
        std::fs::write(&key, "22").unwrap();
        reload.look();
        assert_eq!(
            times.load(Ordering::SeqCst),
            0,
            "the key came after the certificate"
        );
        reload.look();
        reload.look();
        assert_eq!(times.load(Ordering::SeqCst), 1);
        std::fs::remove_file(&key).unwrap();
        reload.look();
        reload.look();
        assert_eq!(
            times.load(Ordering::SeqCst),
            2,
            "a file that is gone is a change"
        );
    }

    #[test]
    fn what_changes_while_it_is_read_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "1").unwrap();
        let (mut reload, times) = (Reload::default(), Arc::new(AtomicUsize::new(0)));
        let (counted, edited) = (Arc::clone(&times), file.clone());
        reload.watch("test", LookedAt::now(vec![file.clone()]), move || {
            if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                std::fs::write(&edited, "333").unwrap();
            }
            Ok(())
        });
        std::fs::write(&file, "22").unwrap();
        (0..2).for_each(|_| reload.look());
        assert_eq!(times.load(Ordering::SeqCst), 1);
        (0..3).for_each(|_| reload.look());
        assert_eq!(
            times.load(Ordering::SeqCst),
            2,
            "once more, and then no more"
        );
    }

    #[test]
    fn what_changes_between_its_first_reading_and_the_first_look_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "1").unwrap();
        let before = LookedAt::now(vec![file.clone()]);
        let read = Arc::new(std::sync::Mutex::new(
            std::fs::read_to_string(&file).unwrap(),
        ));
        std::fs::write(&file, "22").unwrap();
        let mut reload = Reload::default();
        let again = Arc::clone(&read);
        reload.watch("test", before, move || {
            *again.lock().unwrap() = std::fs::read_to_string(&file).unwrap();
            Ok(())
        });
        (0..2).for_each(|_| reload.look());
        assert_eq!(*read.lock().unwrap(), "22");
    }

    #[test]
    fn a_file_that_was_not_looked_at_before_it_was_read_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (file, named) = (dir.path().join("file"), dir.path().join("named"));
        std::fs::write(&file, "1").unwrap();
        let (mut reload, times) = (Reload::default(), Arc::new(AtomicUsize::new(0)));
        let (counted, known) = (Arc::clone(&times), Arc::clone(&times));
        let both = vec![file.clone(), named.clone()];
        let files = move || match known.load(Ordering::SeqCst) {
            0 => both.iter().take(1).cloned().collect(),
            _ => both.clone(),
        };
        reload.watch_those("test", files, move || {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
        reload.read_all();
        (0..3).for_each(|_| reload.look());
        assert_eq!(times.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_signal_reads_all_of_it_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (mut reload, times) = counting(vec![dir.path().join("absent")]);
        reload.read_all();
        assert_eq!(times.load(Ordering::SeqCst), 1);
    }
}
