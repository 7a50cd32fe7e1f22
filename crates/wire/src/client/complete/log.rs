//! One log, asked what it says of paths: what is missing of an answer, with proof, within bounds on bytes and time.
//!
//! Only ever this log pays for what it does not say, says too slowly, or says too much of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use quorix_nix::store_path::{StoreDir, StorePath};
use quorix_tlog::checkpoint::{Checkpoint, SignedCheckpoint};
use quorix_tlog::hash::{EMPTY_ROOT, Hash, leaf_hash};
use quorix_tlog::index::answer::Known;
use quorix_tlog::index::proven::ProvenEntry;
use quorix_trust::attestation::BlobId;
use quorix_trust::evidence::{Evidence, Source};
use quorix_trust::policy::{Builder, Policy};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::asker::{Asker, Fault, fetch_all};
use super::memory::LogMemory;
use super::{LeftOut, Shown, patch};
use crate::fetch::{Fetcher, TileClient};
use crate::index::LogLookup;
use crate::scan::named_blobs;
use crate::{entry, pb};

/// Paths that a log has to answer in each second on average, so that it is asked again at once when its time was over.
const PATHS_PER_S_MIN: u64 = 10;

/// Most bytes of entries and blobs that are taken of one log for one answer.
const BYTES_MAX: usize = 64 << 20;

/// What all logs are asked at once.
pub(super) struct Round<'a> {
    pub(super) fetcher: &'a Fetcher,
    pub(super) dir: &'a StoreDir,
    pub(super) policy: &'a Policy,
    /// Paths that nobody was asked about before.
    pub(super) paths: &'a [StorePath],
    /// Most entries of one log about one path.
    pub(super) entries_max: usize,
    /// The longest that one log may take.
    pub(super) patience: Duration,
}

/// One log of the policy, while an answer is completed.
pub(super) struct Asked {
    builder: Builder,
    memory: Arc<LogMemory>,
    /// The checkpoint of the answer, if it verifies.
    given: Option<SignedCheckpoint>,
    /// The address that answered, and the largest checkpoint that it showed.
    newest: Option<(LogLookup, SignedCheckpoint)>,
    /// Entries of the smallest checkpoint that it showed.
    shown_at: Option<u64>,
    /// What has to count in the end: index of the entry, and whether it is withdrawn.
    expected: BTreeMap<u64, bool>,
    /// Bytes taken of it.
    taken: usize,
    /// Paths of the round of which it said what it has.
    answered: u64,
    failed: Option<String>,
}

/// What a log said that the answer lacks.
pub(super) struct Heard {
    missing: BTreeSet<LeftOut>,
    entries: BTreeMap<u64, ProvenEntry>,
    blobs: Vec<Vec<u8>>,
    /// Under which checkpoint all of the log has to be from now on.
    moved: Option<SignedCheckpoint>,
    /// Entries of the checkpoint that the aggregator gave.
    given: Option<u64>,
}

impl Asked {
    /// The log of a builder, of which the answer keeps only what verifies.
    pub(super) fn of(
        builder: Builder,
        memory: Arc<LogMemory>,
        answer: &mut pb::GetEvidenceResponse,
    ) -> Self {
        let mut logs = answer.logs.iter();
        let given = logs.find(|log| log.origin == builder.origin());
        let given = given.and_then(|log| {
            SignedCheckpoint::open(&log.checkpoint, &builder.key, builder.origin()).ok()
        });
        let tree = given.as_ref().map(SignedCheckpoint::checkpoint);
        patch::sift(answer, builder.origin(), tree);
        if let Some(tree) = tree {
            memory.was_given(tree.size);
        }
        Self {
            builder,
            memory,
            given,
            newest: None,
            shown_at: None,
            expected: BTreeMap::new(),
            taken: 0,
            answered: 0,
            failed: None,
        }
    }

    /// Its name.
    pub(super) fn origin(&self) -> &str {
        self.builder.origin()
    }

    /// It adds no votes, for this reason; the first one stays.
    pub(super) fn fail(&mut self, reason: &str) {
        self.failed.get_or_insert_with(|| reason.to_owned());
    }

    /// Everything that it said so far has to be in what verifies.
    pub(super) fn check(&mut self, evidence: &Evidence) {
        let mut counted: BTreeMap<u64, bool> = BTreeMap::new();
        for statement in evidence.outputs.values().flatten() {
            match &statement.source {
                Source::Log { origin, index } if origin == self.builder.origin() => {
                    *counted.entry(*index).or_default() |= statement.withdrawn;
                }
                _ => {}
            }
        }
        let is_there = |(index, withdrawn): (&u64, &bool)| {
            counted.get(index).is_some_and(|found| found >= withdrawn)
        };
        if let Some((index, _)) = self.expected.iter().find(|one| !is_there(*one)) {
            let reason = format!("its entry {index} does not verify in the answer");
            self.fail(&reason);
        }
    }

    /// Asks for what it says of the paths of a round: what the answer lacks of that.
    pub(super) async fn hear(
        &mut self,
        round: &Round<'_>,
        answer: &pb::GetEvidenceResponse,
    ) -> Option<Heard> {
        if self.failed.is_some() {
            return None;
        }
        if let Some(reason) = self.memory.away() {
            self.fail(&format!("{reason} (asked a moment ago)"));
            return None;
        }
        self.answered = 0;
        let heard = timeout(round.patience, self.try_to_hear(round, answer)).await;
        match heard.unwrap_or_else(|_| Err(self.late(round.patience))) {
            Ok(heard) => heard,
            Err(Fault { reason, is_away }) => {
                if is_away {
                    self.memory.leave_alone(&reason);
                }
                self.fail(&reason);
                None
            }
        }
    }

    /// Its time is over. What it said is remembered, so that one which answers well gets further the next time.
    fn late(&self, patience: Duration) -> Fault {
        let limit_s = patience.as_secs();
        Fault {
            reason: format!("it took longer than {limit_s} s to say everything"),
            is_away: self.answered < limit_s.saturating_mul(PATHS_PER_S_MIN),
        }
    }

    async fn try_to_hear(
        &mut self,
        round: &Round<'_>,
        answer: &pb::GetEvidenceResponse,
    ) -> Result<Option<Heard>, Fault> {
        let missing = self.ask(round, answer).await?;
        let given = self.given.as_ref().map(|given| given.checkpoint().size);
        let Some((at, newest)) = self.newest.clone() else {
            return Ok(None);
        };
        if missing.is_empty() && given.is_some() {
            return Ok(None);
        }
        let is_newer = given.is_none_or(|size| missing.keys().any(|one| one.index >= size));
        let under = self.given.as_ref().filter(|_| !is_newer).unwrap_or(&newest);
        let mut indices: BTreeSet<u64> = missing.keys().map(|one| one.index).collect();
        if is_newer {
            indices.extend(patch::indices(answer, self.origin()));
        }
        let entries = fetch_all(&at, under.checkpoint(), &indices).await;
        let entries = entries
            .map_err(|error| Fault::of("what was left out of the answer cannot be read", &error))?;
        let mut blobs = BTreeSet::new();
        for (one, leaf) in &missing {
            let found = entries.get(&one.index).map(|proven| &proven.entry);
            let found = found.filter(|bytes| leaf_hash(bytes) == *leaf);
            let bytes = found.ok_or_else(|| format!("it has two entries {}", one.index))?;
            blobs.extend(entry::decode(bytes).iter().flat_map(named_blobs));
        }
        let moved = is_newer.then(|| under.clone());
        Ok(Some(Heard {
            blobs: self.blobs(&at, blobs, answer).await?,
            missing: missing.into_keys().collect(),
            entries,
            moved,
            given,
        }))
    }

    /// Looks the paths up: what the answer lacks, with the leaf hashes of it.
    async fn ask(
        &mut self,
        round: &Round<'_>,
        answer: &pb::GetEvidenceResponse,
    ) -> Result<BTreeMap<LeftOut, Hash>, Fault> {
        let there = patch::there(answer, self.builder.origin());
        let mut missing = BTreeMap::new();
        // Everything is owned: the compiler cannot tell that such a stream of borrows may be sent.
        let asker = Asker {
            fetcher: round.fetcher.clone(),
            memory: self.memory.clone(),
            dir: round.dir.clone(),
            urls: self.builder.urls.clone(),
            key: self.builder.key.clone(),
            known: self.known(),
            entries_max: round.entries_max,
            bytes_max: BYTES_MAX.saturating_sub(self.taken),
        };
        let mut answers = stream::iter(round.paths.to_vec())
            .map(move |path| asker.clone().ask(path))
            .buffer_unordered(self.memory.pace.at_once);
        let silence = self.memory.pace.silence;
        loop {
            let answered = timeout(silence, answers.next()).await;
            let answered = answered.map_err(|_| {
                Fault::away(format!("it did not answer within {} s", silence.as_secs()))
            })?;
            let Some((path, answered)) = answered else {
                return Ok(missing);
            };
            let showing = answered
                .map_err(|error| Fault::of("nothing shows that all of it is there", &error))?;
            let said = &showing.said;
            if said.entries.len() > round.entries_max {
                return Err(Fault::from(format!(
                    "it says too much: more than {} entries concern {path}",
                    round.entries_max
                )));
            }
            self.answered = self.answered.saturating_add(1);
            self.take(said.entries.iter().map(|(_, bytes)| bytes.len()))?;
            self.saw(&showing.at, &said.proven.checkpoint);
            let (origin, entries) = (self.builder.origin(), &said.entries);
            let compared = patch::compare(round.policy, &there, origin, &path, entries);
            missing.extend(compared.missing);
            self.expected.extend(compared.expected);
        }
    }

    /// What its answers have to extend.
    fn known(&self) -> Option<Known> {
        self.given.as_ref().map(|given| Known {
            log: given.checkpoint().clone(),
            index: Checkpoint {
                origin: String::new(),
                size: 0,
                root: EMPTY_ROOT,
                extensions: Vec::new(),
            },
        })
    }

    fn saw(&mut self, at: &LogLookup, shown: &SignedCheckpoint) {
        let size = shown.checkpoint().size;
        self.shown_at = Some(self.shown_at.map_or(size, |least| least.min(size)));
        let newest = self.newest.as_ref().map(|(_, newest)| newest.checkpoint());
        if newest.is_none_or(|newest| newest.size < size) {
            self.newest = Some((at.clone(), shown.clone()));
        }
    }

    /// Counts bytes that were taken of it.
    fn take(&mut self, lengths: impl Iterator<Item = usize>) -> Result<(), String> {
        self.taken = lengths.fold(self.taken, usize::saturating_add);
        if self.taken > BYTES_MAX {
            return Err(format!(
                "it says too much: more than {} MiB",
                BYTES_MAX >> 20
            ));
        }
        Ok(())
    }

    /// Those of the lists that added entries name which the answer lacks. One that is missing only ever leads to a refusal.
    async fn blobs(
        &mut self,
        at: &LogLookup,
        mut named: BTreeSet<BlobId>,
        answer: &pb::GetEvidenceResponse,
    ) -> Result<Vec<Vec<u8>>, String> {
        if !named.is_empty() {
            for blob in &answer.blobs {
                named.remove(&BlobId::from(Sha256::digest(blob)));
            }
        }
        let client = TileClient::new(at.fetcher.clone(), vec![at.url.clone()]);
        let mut blobs = Vec::new();
        for id in named {
            match client.blob(&id).await {
                Ok(blob) => {
                    self.take(std::iter::once(blob.len()))?;
                    blobs.push(blob);
                }
                Err(error) => tracing::debug!(%error, "a blob of an added entry is missing"),
            }
        }
        Ok(blobs)
    }

    /// Adds to the answer what was missing of it.
    pub(super) fn add(
        &mut self,
        heard: Heard,
        answer: &mut pb::GetEvidenceResponse,
        left_out: &mut BTreeSet<LeftOut>,
    ) {
        let origin = self.builder.origin();
        if let Some(under) = heard.moved {
            patch::move_to(answer, origin, &under, &heard.entries);
            if heard.given.is_none() {
                let reason = "the aggregator has no checkpoint of it that verifies";
                patch::make_stale(answer, origin, reason);
            }
            self.given = Some(under);
        }
        patch::add(answer, origin, &heard.missing, &heard.entries);
        for blob in heard.blobs {
            if !answer.blobs.contains(&blob) {
                answer.blobs.push(blob);
            }
        }
        // What was said after the answer's checkpoint was not there to be left out.
        let size = heard.given.unwrap_or(u64::MAX);
        left_out.extend(heard.missing.into_iter().filter(|one| one.index < size));
    }

    /// Takes its votes away if it has failed.
    pub(super) fn end(&self, answer: &mut pb::GetEvidenceResponse) {
        if let Some(reason) = &self.failed {
            patch::make_stale(answer, self.origin(), reason);
        }
    }

    pub(super) fn shown(&self) -> Shown {
        match &self.failed {
            Some(reason) => Shown::Not {
                reason: reason.clone(),
            },
            None => Shown::Complete {
                size: self.shown_at.unwrap_or_default(),
            },
        }
    }
}
