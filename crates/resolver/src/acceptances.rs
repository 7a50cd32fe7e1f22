//! What this resolver accepted and when, for rules with `grace=`: an acceptance outlives logs that are merely stale.
//!
//! Kept beside what was promised, in a file of one acceptance a line, in force for the policy under which it was made
//! alone: under another one anything may have been accepted. Losing one costs its grace, and one that is forged reaches
//! no more than what the rule would accept if no log were stale. Only what was accepted without grace is kept.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use quorix_nix::hash::{Algorithm, Hash};
use quorix_nix::store_path::StorePath;
use quorix_trust::decision::Decision;
use quorix_trust::evidence::{Earlier, Evidence};
use quorix_trust::policy::Policy;

use crate::memo::locked;

const FILE_NAME: &str = "accepted";
const HEADER: &str = "quorix-accepted/v1";
/// Store paths that are remembered; those accepted first are forgotten first.
const PATHS_MAX: usize = 100_000;
/// Lines that may be in the file beyond those that are needed, before it is written anew.
const SPARE_LINES_MAX: usize = PATHS_MAX;
/// Bytes of the file that are read at a start: as many lines as it may have, each as long as one can be.
const FILE_BYTES_MAX: u64 = 80 << 20;
/// An acceptance is noted again only once it is older by this share of the shortest grace, and by a minute.
const RENEWED_IN: u64 = 16;
const RENEWED_S_MIN: u64 = 60;

/// The acceptances under one policy, in memory and in a file. Nothing where no rule has a grace.
#[derive(Clone)]
pub(crate) struct Acceptances(Option<Arc<Inner>>);

struct Inner {
    directory: PathBuf,
    /// The file's first line.
    header: String,
    renewed_s: u64,
    known: Mutex<Known>,
    /// `None` where it cannot be written; then it holds until a restart.
    file: Mutex<Option<File>>,
}

#[derive(Default)]
struct Known {
    accepted: HashMap<StorePath, Earlier>,
    oldest: VecDeque<StorePath>,
    unwritten: String,
    /// Lines in the file and unwritten.
    lines: usize,
}

impl Acceptances {
    /// Reads what is in the directory, if it was accepted under this policy, and writes it anew without what cannot be
    /// read.
    pub(crate) fn open(directory: &Path, policy: &Policy) -> Self {
        let graces = policy.all_rules().filter_map(|rule| rule.grace_s);
        let Some(shortest_s) = graces.min() else {
            return Self(None);
        };
        let inner = Inner {
            directory: directory.to_owned(),
            header: format!("{HEADER} {}", digest_of(policy)),
            renewed_s: (shortest_s / RENEWED_IN).max(RENEWED_S_MIN),
            known: Mutex::default(),
            file: Mutex::default(),
        };
        if let Err(error) = inner.read().and_then(|()| inner.rewrite()) {
            tracing::warn!(%error, "what was accepted before cannot be kept on disk; its grace holds until a restart");
        }
        Self(Some(Arc::new(inner)))
    }

    /// Earlier acceptances of what the evidence speaks of.
    pub(crate) fn of(&self, evidence: &Evidence) -> BTreeMap<StorePath, Earlier> {
        let Some(inner) = &self.0 else {
            return BTreeMap::new();
        };
        let known = locked(&inner.known);
        let paths = evidence.outputs.values().flatten();
        let paths = paths.map(|statement| statement.path());
        paths
            .filter_map(|path| Some((path.clone(), *known.accepted.get(path)?)))
            .collect()
    }

    /// Notes decisions that accept without grace, made from evidence that was asked for at `at_s`, POSIX seconds. Durable
    /// when this returns, if the disk takes them.
    pub(crate) async fn keep(&self, decisions: impl IntoIterator<Item = &Decision>, at_s: u64) {
        let Some(inner) = self.0.clone() else {
            return;
        };
        let accepted = decisions.into_iter().filter_map(|decision| {
            let value = decision.accepted?;
            Some((decision.path.clone()?, Earlier { value, at_s }))
        });
        let is_new = {
            let mut known = locked(&inner.known);
            accepted.fold(false, |is_new, (path, earlier)| {
                known.add(path, earlier, inner.renewed_s) || is_new
            })
        };
        if !is_new {
            return;
        }
        let written = tokio::task::spawn_blocking(move || inner.write()).await;
        if let Err(error) = written.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::warn!(%error, "what was accepted cannot be written down; its grace holds until a restart");
        }
    }
}

impl Inner {
    fn read(&self) -> io::Result<()> {
        let file = match File::open(self.directory.join(FILE_NAME)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut lines = BufReader::new(file.take(FILE_BYTES_MAX)).split(b'\n');
        let first = lines.next().transpose()?.unwrap_or_default();
        if first != self.header.as_bytes() {
            return Ok(());
        }
        let mut known = locked(&self.known);
        for line in lines {
            // A line that a crash cut off is none, or says an earlier time, whose grace is over.
            if let Some((path, earlier)) = std::str::from_utf8(&line?).ok().and_then(parse) {
                known.add(path, earlier, 0);
            }
        }
        Ok(())
    }

    fn rewrite(&self) -> io::Result<()> {
        let mut file = locked(&self.file);
        *file = None;
        let text = {
            let mut known = locked(&self.known);
            known.unwritten.clear();
            known.lines = known.accepted.len();
            format!("{}\n{}", self.header, known.all())
        };
        let path = self.directory.join(FILE_NAME);
        let mut new = tempfile::NamedTempFile::new_in(&self.directory)?;
        new.write_all(text.as_bytes())?;
        new.as_file().sync_all()?;
        // What comes next goes to the end of this file, whatever bears its name by then.
        let new = new.persist(&path).map_err(|error| error.error)?;
        File::open(&self.directory)?.sync_all()?;
        *file = Some(new);
        Ok(())
    }

    fn write(&self) -> io::Result<()> {
        let has_room = {
            let known = locked(&self.known);
            known.lines <= known.accepted.len().saturating_add(SPARE_LINES_MAX)
        };
        if !has_room {
            return self.rewrite();
        }
        let mut file = locked(&self.file);
        let unwritten = std::mem::take(&mut locked(&self.known).unwritten);
        match file.as_mut() {
            Some(file) if !unwritten.is_empty() => {
                file.write_all(unwritten.as_bytes())?;
                file.sync_data()
            }
            _ => Ok(()),
        }
    }
}

impl Known {
    /// True if there is something to write. The same again is nothing new until it is `renewed_s` later.
    fn add(&mut self, path: StorePath, earlier: Earlier, renewed_s: u64) -> bool {
        if let Some(known) = self.accepted.get_mut(&path) {
            // One of the future, as by a clock that was put back, is none.
            let is_recent = earlier
                .at_s
                .checked_sub(known.at_s)
                .is_some_and(|age_s| age_s < renewed_s);
            if known.value == earlier.value && is_recent {
                return false;
            }
            *known = earlier;
        } else {
            self.oldest.push_back(path.clone());
            self.accepted.insert(path.clone(), earlier);
        }
        self.unwritten.push_str(&line(&path, &earlier));
        self.lines = self.lines.saturating_add(1);
        if self.oldest.len() > PATHS_MAX
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.accepted.remove(&oldest);
        }
        true
    }

    fn all(&self) -> String {
        let known = self.oldest.iter();
        let lines = known.filter_map(|path| Some(line(path, self.accepted.get(path)?)));
        lines.collect()
    }
}

fn line(path: &StorePath, earlier: &Earlier) -> String {
    format!("{path} {} {}\n", earlier.value, earlier.at_s)
}

fn parse(line: &str) -> Option<(StorePath, Earlier)> {
    let mut words = line.split(' ');
    let (path, value, at_s) = (words.next()?, words.next()?, words.next()?);
    let earlier = Earlier {
        value: value.parse().ok()?,
        at_s: at_s.parse().ok()?,
    };
    words
        .next()
        .is_none()
        .then_some((path.parse().ok()?, earlier))
}

/// Names a policy by its whole text and the bytes of its sets.
fn digest_of(policy: &Policy) -> String {
    let mut bytes = format!("{}\n{}", policy.text.len(), policy.text).into_bytes();
    for (name, set) in &policy.sets {
        bytes.extend(format!("{} {}\n{name}", name.len(), set.len()).into_bytes());
        bytes.extend(set);
    }
    Hash::of(Algorithm::Sha256, &bytes).to_hex()
}

#[cfg(test)]
mod tests {
    use quorix_nix::fingerprint::FingerprintDigest;
    use quorix_testkit::entries::a_path;

    use super::*;

    fn policy(grace: &str) -> Policy {
        let key = quorix_testkit::entries::log_key("alice.example/log");
        let text = format!(
            "builder alice {} https://alice.example operator=alice\nquorum none\nvoters one any alice\n\
             rule main quorum=one level=path{grace}\ndefault main\n",
            key.verifier()
        );
        Policy::parse(&text).unwrap()
    }

    fn earlier(number: u8, at_s: u64) -> Earlier {
        let value = FingerprintDigest::from_bytes([number; 32]);
        Earlier { value, at_s }
    }

    fn known(acceptances: &Acceptances) -> BTreeMap<StorePath, Earlier> {
        let inner = acceptances.0.as_ref().unwrap();
        let known = locked(&inner.known);
        known.accepted.clone().into_iter().collect()
    }

    fn add(acceptances: &Acceptances, name: &str, what: Earlier) {
        let inner = acceptances.0.as_ref().unwrap();
        locked(&inner.known).add(a_path(name), what, inner.renewed_s);
        inner.write().unwrap();
    }

    #[test]
    fn acceptances_outlive_a_restart_under_the_same_policy_alone() {
        let directory = tempfile::tempdir().unwrap();
        let open = |grace: &str| Acceptances::open(directory.path(), &policy(grace));
        let acceptances = open(" grace=1d");
        add(&acceptances, "one", earlier(1, 1_000));
        add(&acceptances, "two", earlier(2, 1_000));
        add(&acceptances, "one", earlier(3, 1_001));
        let expected = BTreeMap::from([
            (a_path("one"), earlier(3, 1_001)),
            (a_path("two"), earlier(2, 1_000)),
        ]);
        assert_eq!(known(&open(" grace=1d")), expected);
        assert_eq!(known(&open(" grace=1d")), expected);
        assert_eq!(known(&open(" grace=2d")), BTreeMap::new());
        assert_eq!(known(&open(" grace=1d")), BTreeMap::new(), "forgotten");
        assert!(open("").0.is_none());
    }

    #[test]
    fn the_same_acceptance_is_noted_again_once_a_share_of_the_grace_is_over() {
        let directory = tempfile::tempdir().unwrap();
        let acceptances = Acceptances::open(directory.path(), &policy(" grace=16h"));
        let at = |at_s: u64| {
            add(&acceptances, "one", earlier(1, at_s));
            known(&acceptances)[&a_path("one")].at_s
        };
        assert_eq!([at(1_000), at(4_599), at(4_600)], [1_000, 1_000, 4_600]);
        assert_eq!(at(10), 10, "the clock was put back");
    }

    #[test]
    fn what_is_damaged_in_the_file_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Acceptances::open(directory.path(), &policy(" grace=1d"));
        add(&open(), "one", earlier(1, 1_000));
        let path = directory.path().join(FILE_NAME);
        let mut bytes = std::fs::read(&path).unwrap();
        let whole = line(&a_path("two"), &earlier(2, 7));
        bytes.extend(&whole.as_bytes()[..60]);
        bytes.extend(b"\n\xff\xfe junk\n");
        bytes.extend(whole.replace(" 7\n", " 7 8\n").as_bytes());
        bytes.extend(whole.replace("02", "0g").as_bytes());
        bytes.extend(line(&a_path("three"), &earlier(3, 9)).as_bytes());
        std::fs::write(&path, bytes).unwrap();
        let expected = BTreeMap::from([
            (a_path("one"), earlier(1, 1_000)),
            (a_path("three"), earlier(3, 9)),
        ]);
        assert_eq!(known(&open()), expected);
        let clean = std::fs::read_to_string(&path).unwrap();
        assert_eq!(clean.lines().count(), 3);
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let unwritable = open();
        locked(&unwritable.0.as_ref().unwrap().known).add(a_path("one"), earlier(1, 1), 0);
        unwritable.0.as_ref().unwrap().write().unwrap();
        assert_eq!(known(&unwritable).len(), 1, "in memory");
    }

    #[test]
    fn what_is_remembered_and_what_is_written_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let acceptances = Acceptances::open(directory.path(), &policy(" grace=1d"));
        let inner = acceptances.0.as_ref().unwrap();
        let paths: Vec<StorePath> = (0..=PATHS_MAX)
            .map(|number| a_path(&number.to_string()))
            .collect();
        for path in &paths {
            locked(&inner.known).add(path.clone(), earlier(1, 1), 60);
        }
        assert_eq!(locked(&inner.known).accepted.len(), PATHS_MAX);
        assert!(
            !known(&acceptances).contains_key(&paths[0]),
            "the first is forgotten first"
        );
        inner.write().unwrap();
        for path in &paths {
            locked(&inner.known).add(path.clone(), earlier(2, 2), 60);
        }
        inner.write().unwrap();
        let text = std::fs::read_to_string(directory.path().join(FILE_NAME)).unwrap();
        assert_eq!(text.lines().count(), PATHS_MAX + 1, "written anew");
    }
}
