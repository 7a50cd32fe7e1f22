//! Which output a NAR was promised for: clients keep a narinfo for 30 days and then ask for its NAR alone.
//!
//! So the pairs (NAR hash, hash part) outlive a restart, in a synced append-only file of one pair a line. A pair
//! permits nothing: whether the output is accepted is decided again each time. Losing one costs a 404.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex};

use quorix_nix::hash::NarHash;
use quorix_nix::store_path::HashPart;

use crate::memo::locked;

const FILE_NAME: &str = "promised";
/// NARs that are remembered; those promised first are forgotten first.
const NARS_MAX: usize = 200_000;
/// Outputs remembered for one NAR: many small outputs have the same bytes.
const PARTS_MAX: usize = 16;
/// Bytes of the file that are read at a start, about six times what it should have.
const FILE_BYTES_MAX: u64 = 100 << 20;

/// The pairs, in memory and in a file.
#[derive(Clone)]
pub(crate) struct Promises(Arc<Inner>);

struct Inner {
    known: Mutex<Known>,
    file: Mutex<File>,
}

#[derive(Default)]
struct Known {
    parts: HashMap<NarHash, Vec<HashPart>>,
    oldest: VecDeque<NarHash>,
    unwritten: String,
}

impl Promises {
    /// Reads what is in the directory, and writes it anew without what cannot be read.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join(FILE_NAME);
        let mut known = Known::default();
        match File::open(&path) {
            Ok(file) => known.read(file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut new = tempfile::NamedTempFile::new_in(directory)?;
        new.write_all(known.all().as_bytes())?;
        new.as_file().sync_all()?;
        new.persist(&path).map_err(|error| error.error)?;
        File::open(directory)?.sync_all()?;
        known.unwritten.clear();
        let file = OpenOptions::new().append(true).open(&path)?;
        Ok(Self(Arc::new(Inner {
            known: Mutex::new(known),
            file: Mutex::new(file),
        })))
    }

    /// The outputs that a NAR was promised for, the newest first.
    pub(crate) fn outputs(&self, nar: &NarHash) -> Vec<HashPart> {
        let known = locked(&self.0.known);
        known
            .parts
            .get(nar)
            .map(|parts| parts.iter().rev().cloned().collect())
            .unwrap_or_default()
    }

    /// Remembers pairs; durable when this returns, if the disk takes them. Those who come while one writes are
    /// written together.
    pub(crate) async fn keep(&self, pairs: Vec<(NarHash, HashPart)>) {
        let inner = self.0.clone();
        let is_new = {
            let mut known = locked(&inner.known);
            pairs
                .into_iter()
                .fold(false, |is_new, (nar, part)| known.add(nar, part) || is_new)
        };
        if !is_new {
            return;
        }
        let written = tokio::task::spawn_blocking(move || inner.write()).await;
        if let Err(error) = written.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::warn!(%error, "what was promised to clients cannot be written down; it holds until a restart");
        }
    }
}

impl Inner {
    fn write(&self) -> io::Result<()> {
        let mut file = locked(&self.file);
        let unwritten = std::mem::take(&mut locked(&self.known).unwritten);
        if unwritten.is_empty() {
            return Ok(());
        }
        file.write_all(unwritten.as_bytes())?;
        file.sync_data()
    }
}

impl Known {
    fn read(&mut self, file: File) -> io::Result<()> {
        for line in BufReader::new(file.take(FILE_BYTES_MAX)).split(b'\n') {
            let line = line?;
            // A line that a crash cut off is no promise.
            if let Some((nar, part)) = std::str::from_utf8(&line).ok().and_then(parse) {
                self.add(nar, part);
            }
        }
        Ok(())
    }

    /// True if the pair is new.
    fn add(&mut self, nar: NarHash, part: HashPart) -> bool {
        let parts = self.parts.entry(nar).or_default();
        if parts.contains(&part) {
            return false;
        }
        if parts.is_empty() {
            self.oldest.push_back(nar);
        } else if parts.len() >= PARTS_MAX {
            parts.remove(0);
        }
        self.unwritten.push_str(&line(&nar, &part));
        parts.push(part);
        if self.oldest.len() > NARS_MAX
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.parts.remove(&oldest);
        }
        true
    }

    fn all(&self) -> String {
        let pairs = self.oldest.iter().flat_map(|nar| {
            let parts = self.parts.get(nar).map(Vec::as_slice).unwrap_or_default();
            parts.iter().map(|part| line(nar, part))
        });
        pairs.collect()
    }
}

fn line(nar: &NarHash, part: &HashPart) -> String {
    format!("{} {part}\n", nar.nix32())
}

fn parse(line: &str) -> Option<(NarHash, HashPart)> {
    let (nar, part) = line.split_once(' ')?;
    Some((format!("sha256:{nar}").parse().ok()?, part.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use quorix_testkit::entries::{a_nar_hash, a_path};

    use super::*;

    fn pair(nar: &str, output: &str) -> (NarHash, HashPart) {
        (a_nar_hash(nar), a_path(output).hash_part())
    }

    #[tokio::test]
    async fn promises_outlive_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let promises = Promises::open(directory.path()).unwrap();
        assert_eq!(promises.outputs(&a_nar_hash("A")), []);
        promises
            .keep(vec![pair("A", "one"), pair("B", "two")])
            .await;
        promises
            .keep(vec![pair("A", "three"), pair("A", "one")])
            .await;
        let expected = [a_path("three").hash_part(), a_path("one").hash_part()];
        assert_eq!(promises.outputs(&a_nar_hash("A")), expected);
        let promises = Promises::open(directory.path()).unwrap();
        assert_eq!(promises.outputs(&a_nar_hash("A")), expected);
        assert_eq!(
            promises.outputs(&a_nar_hash("B")),
            [a_path("two").hash_part()]
        );
    }

    #[tokio::test]
    async fn a_line_that_was_cut_off_is_passed_over_and_does_not_swallow_the_next() {
        let directory = tempfile::tempdir().unwrap();
        Promises::open(directory.path())
            .unwrap()
            .keep(vec![pair("A", "one")])
            .await;
        let mut file = OpenOptions::new()
            .append(true)
            .open(directory.path().join(FILE_NAME))
            .unwrap();
        file.write_all(&line(&a_nar_hash("B"), &a_path("two").hash_part()).as_bytes()[..60])
            .unwrap();
        file.write_all(b"\n\xff\xfe junk").unwrap();
        Promises::open(directory.path())
            .unwrap()
            .keep(vec![pair("C", "three")])
            .await;
        let promises = Promises::open(directory.path()).unwrap();
        assert_eq!(promises.outputs(&a_nar_hash("B")), []);
        for (nar, output) in [("A", "one"), ("C", "three")] {
            assert_eq!(
                promises.outputs(&a_nar_hash(nar)),
                [a_path(output).hash_part()]
            );
        }
    }

    #[test]
    fn what_is_remembered_for_one_nar_is_bounded() {
        let mut known = Known::default();
        for number in 0..100 {
            let (nar, part) = pair("A", &format!("output-{number}"));
            assert!(known.add(nar, part));
        }
        let parts = &known.parts[&a_nar_hash("A")];
        assert_eq!(
            (parts.len(), parts.last()),
            (PARTS_MAX, Some(&a_path("output-99").hash_part()))
        );
    }
}
