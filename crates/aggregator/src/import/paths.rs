//! A list of paths, one a line, about each of which one cache is asked. Each cache goes through the list by itself, so
//! that a slow or dead one delays no other.

use std::io::{BufRead, Read as _};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use quorix_nix::narinfo::NarInfo;
use quorix_nix::store_path::{HashPart, StorePath};
use quorix_wire::cache::NarInfoClient;
use quorix_wire::fetch::{FetchError, Fetcher};

use super::{Counts, ImportError, Importer, Progress, Record};
use crate::machine::blocking;

/// After so many questions in a row without an answer a cache is given up.
pub const GAVE_UP_AFTER: u64 = 8;
/// Paths between two commits: few, so that what a slow cache answered is soon safe.
const STEP: usize = 512;
/// The longest line of a list, in bytes; what is longer is malformed.
const LINE_BYTES_MAX: u64 = 4_096;

/// How a cache is asked.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    /// Questions at once.
    pub at_once: usize,
    /// The longest that one answer may take.
    pub patience: Duration,
}

/// What came of one line.
enum Asked {
    NotAPath,
    Absent,
    Found(Box<NarInfo>),
    Malformed,
    Failed(String),
}

impl Importer {
    /// Asks the cache at this position of [`caches`](Self::caches) about the paths of a list, from where `progress`
    /// stands in it: store paths, base names or hash parts, one a line; what follows a space, lines that are empty and
    /// those that begin with `#` are passed over. `noted` is told after each commit.
    ///
    /// # Errors
    /// The input, the store or `noted` failed, or the cache does not answer.
    pub async fn ask_about(
        &self,
        cache: usize,
        mut list: impl BufRead,
        mut progress: Progress,
        (fetcher, asking): (&Fetcher, Asking),
        mut noted: impl FnMut(&Progress) -> Result<(), String>,
    ) -> Result<Progress, ImportError> {
        let Some(line) = self.caches().get(cache) else {
            return Ok(progress);
        };
        let client = NarInfoClient::new(fetcher.clone(), &line.url, self.store_dir.clone());
        let mut silent = 0_u64;
        loop {
            let (outputs, read) = step(&mut list).map_err(ImportError::Input)?;
            if read == 0 {
                return Ok(progress);
            }
            let mut counts = Counts::default();
            let mut records = Vec::new();
            let mut answers = stream::iter(outputs)
                .map(|output| ask(&client, output, asking.patience))
                .buffered(asking.at_once.max(1));
            while let Some(answer) = answers.next().await {
                silent = match &answer {
                    Asked::Failed(_) => silent.saturating_add(1),
                    Asked::NotAPath => silent,
                    _ => 0,
                };
                match answer {
                    Asked::Failed(reason) if silent >= GAVE_UP_AFTER => {
                        let cache = line.name.clone();
                        return Err(ImportError::GaveUp { cache, reason });
                    }
                    Asked::Failed(_) => counts.failed(),
                    Asked::Absent => counts.absent(),
                    Asked::NotAPath | Asked::Malformed => records.push(Record::Broken),
                    Asked::Found(narinfo) => records.push(Record::Answer(cache, narinfo)),
                }
            }
            let importer = self.clone();
            counts = blocking("keeping signatures of a cache", move || {
                importer.keep(&records, &mut counts).map(|()| counts)
            })
            .await?;
            progress.counts = progress.counts.and(counts);
            progress.offset = progress.offset.saturating_add(read);
            noted(&progress).map_err(ImportError::NotNoted)?;
        }
    }
}

impl Counts {
    fn failed(&mut self) {
        self.records = self.records.saturating_add(1);
        self.failed = self.failed.saturating_add(1);
    }

    fn absent(&mut self) {
        self.records = self.records.saturating_add(1);
        self.absent = self.absent.saturating_add(1);
    }
}

async fn ask(client: &NarInfoClient, output: Option<HashPart>, patience: Duration) -> Asked {
    let Some(output) = output else {
        return Asked::NotAPath;
    };
    match tokio::time::timeout(patience, client.narinfo(&output)).await {
        Ok(Ok(Some(narinfo))) => Asked::Found(Box::new(narinfo)),
        Ok(Ok(None)) => Asked::Absent,
        Ok(Err(FetchError::Malformed { .. } | FetchError::TooLarge { .. })) => Asked::Malformed,
        Ok(Err(error)) => Asked::Failed(error.to_string()),
        Err(_) => Asked::Failed(format!("nothing came within {} s", patience.as_secs_f32())),
    }
}

/// The next lines of a list, `None` for one that is no path, and how many bytes they took; 0 at its end.
fn step(list: &mut impl BufRead) -> std::io::Result<(Vec<Option<HashPart>>, u64)> {
    let (mut outputs, mut taken) = (Vec::new(), 0_u64);
    while outputs.len() < STEP {
        let mut line = Vec::new();
        let read = list
            .by_ref()
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        taken = taken.saturating_add(read as u64);
        let text = String::from_utf8_lossy(&line);
        match text.split_whitespace().next() {
            None => {}
            Some(first) if first.starts_with('#') => {}
            Some(first) => outputs.push(output(first)),
        }
    }
    Ok((outputs, taken))
}

fn output(text: &str) -> Option<HashPart> {
    let base = text.rsplit('/').next().unwrap_or(text);
    let path = base.parse::<StorePath>().map(|path| path.hash_part());
    path.ok().or_else(|| base.parse().ok())
}
