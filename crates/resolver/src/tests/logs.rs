//! The logs behind a fake aggregator, as they answer about themselves: look-ups in their verifiable indexes, over a transport
//! in memory. They are short, so that their indexes cover nothing yet and every entry is read behind them.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use quorix_testkit::clock::ManualClock;
use quorix_testkit::entries::log_key;
use quorix_testkit::tree::{Grower, naive_tile};
use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::hash::{EMPTY_ROOT, Hash, leaf_hash};
use quorix_tlog::index::answer::Answer as Shown;
use quorix_tlog::index::proven::{ProvenEntry, encode};
use quorix_tlog::index::{Key, STEP, signer_of};
use quorix_tlog::proof::{TileReader, prove_consistency};
use quorix_tlog::tile::{TileId, TileLevel};
use quorix_wire::fetch::{Answer, FetchError, FetchLimits, Fetcher, Request, Transport};

use super::fakes::{FakeAggregator, audit_path};
use super::world::origin;

/// Logs at `https://<builder>.example.org`; nothing ever answers at another address.
#[derive(Clone)]
pub(crate) struct FakeLogs {
    aggregator: FakeAggregator,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    lookups: Vec<String>,
    silent: BTreeSet<String>,
    slow: Option<(ManualClock, u64)>,
}

impl FakeLogs {
    /// Logs with all that this aggregator has of them, whatever it tells.
    pub(crate) fn behind(aggregator: &FakeAggregator) -> Self {
        Self {
            aggregator: aggregator.clone(),
            state: Arc::default(),
        }
    }

    pub(crate) fn fetcher(&self) -> Fetcher {
        Fetcher::over(Arc::new(self.clone()), FetchLimits::default())
    }

    /// The log of this builder answers nothing any more, or again.
    pub(crate) fn set_silent(&self, builder: &str, is_silent: bool) {
        let silent = &mut self.state.lock().unwrap().silent;
        if is_silent {
            silent.insert(builder.to_owned());
        } else {
            silent.remove(builder);
        }
    }

    /// Each look-up takes so many seconds of this clock.
    pub(crate) fn slow_down(&self, clock: &ManualClock, seconds: u64) {
        self.state.lock().unwrap().slow = Some((clock.clone(), seconds));
    }

    /// Whose logs were asked since the last call, once for each look-up.
    pub(crate) fn lookups(&self) -> Vec<String> {
        let mut lookups = std::mem::take(&mut self.state.lock().unwrap().lookups);
        lookups.sort();
        lookups
    }

    fn answer(&self, builder: &str, path: &str) -> Option<Vec<u8>> {
        let log = Log::of(
            &origin(builder),
            self.aggregator.entries_of(&origin(builder)),
        );
        let asked: Vec<&str> = path.split('/').skip(1).collect();
        match asked.as_slice() {
            ["index", "lookup", key, since, "0"] => Some(log.shown(key, since.parse().ok()?)),
            ["index", "entries", size, list] => log.entries(size.parse().ok()?, list),
            _ => None,
        }
    }
}

impl Transport for FakeLogs {
    fn send(&self, request: Request) -> BoxFuture<'static, Result<Answer, FetchError>> {
        let builder = request.host().split('.').next().unwrap().to_owned();
        let path = request.path().to_owned();
        let is_known = ["alice", "bob", "carol"].contains(&builder.as_str());
        {
            let mut state = self.state.lock().unwrap();
            if path.starts_with("/index/lookup/") {
                state.lookups.push(builder.clone());
                if let Some((clock, seconds)) = &state.slow {
                    clock.advance(*seconds);
                }
            }
            if !is_known || state.silent.contains(&builder) {
                return std::future::pending().boxed();
            }
        }
        let body = self.answer(&builder, &path);
        let answer = Answer {
            status: if body.is_some() { 200 } else { 404 },
            length: None,
            encoding: Vec::new(),
            parts: stream::iter(body.map(|body| Ok(body.into()))).boxed(),
        };
        std::future::ready(Ok(answer)).boxed()
    }
}

/// A log as it is now.
struct Log {
    origin: String,
    entries: Vec<Vec<u8>>,
    leaves: Vec<Hash>,
}

impl Log {
    fn of(origin: &str, entries: Vec<Vec<u8>>) -> Self {
        assert!((entries.len() as u64) < STEP, "its index would cover some");
        Self {
            origin: origin.to_owned(),
            leaves: entries.iter().map(|entry| leaf_hash(entry)).collect(),
            entries,
        }
    }

    /// The index of a log that it does not cover yet: it has no key.
    fn shown(&self, key: &str, since: u64) -> Vec<u8> {
        let mut grower = Grower::new(&self.origin);
        grower.grow(&self.entries);
        let index = Checkpoint {
            origin: format!("{}/index", self.origin),
            size: 0,
            root: EMPTY_ROOT,
            extensions: Vec::new(),
        };
        let size = self.entries.len() as u64;
        Shown {
            key: Key::from_hex(key).unwrap(),
            checkpoint: grower.head().checkpoint,
            growth: prove_consistency(self, since, size).unwrap(),
            index_checkpoint: index
                .sign(&signer_of(&log_key(&self.origin)).unwrap())
                .unwrap(),
            index_growth: Vec::new(),
            latest: None,
            indices: Vec::new(),
            proof: Vec::new(),
        }
        .to_bytes()
    }

    fn entries(&self, size: usize, list: &str) -> Option<Vec<u8>> {
        let leaves = self.leaves.get(..size)?;
        let proven = list.split(',').map(|index| {
            let index: usize = index.parse().unwrap();
            ProvenEntry {
                index: index as u64,
                entry: self.entries[index].clone(),
                inclusion: audit_path(index, leaves),
            }
        });
        Some(encode(&proven.collect::<Vec<_>>()))
    }
}

impl TileReader for Log {
    type Error = Infallible;

    fn hashes(&self, id: TileId, width: u16) -> Result<Vec<Hash>, Infallible> {
        let TileLevel::Hashes(level) = id.level else {
            unreachable!("only hash tiles are proved with")
        };
        let mut hashes = naive_tile(&self.leaves, level, id.index);
        hashes.truncate(width.into());
        Ok(hashes)
    }
}

impl fmt::Debug for FakeLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeLogs").finish_non_exhaustive()
    }
}
