//! Completes what an aggregator answered: asks each log itself, by its verifiable index, what it says of every output that
//! the answer is about, and adds what was left out.
//!
//! The logs are asked for the whole store paths: of what was asked, of what statements are about, and of what they refer to
//! or were built with. An entry that the index lists and the answer lacks is fetched with its proof of inclusion, a hidden
//! retraction too. Where a log has said more since the answer's checkpoint, or the answer has none, all of the log's
//! entries are proved anew under the log's own newest checkpoint. A log without an index, or whose answer does not verify
//! or does not extend the answer's checkpoint, adds no votes. Nothing is believed of the aggregator; of a log, that it
//! keeps its index as its entries are: `quorix log audit-index` makes it again.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, stream};
use quorix_nix::store_path::{HashPart, StoreDir, StorePath};
use quorix_tlog::checkpoint::{Checkpoint, SignedCheckpoint};
use quorix_tlog::hash::{EMPTY_ROOT, Hash, leaf_hash};
use quorix_tlog::index::answer::Known;
use quorix_tlog::index::proven::ProvenEntry;
use quorix_tlog::note::VerifierKey;
use quorix_trust::attestation::{BlobId, Claim, Entry, References};
use quorix_trust::decision::reached;
use quorix_trust::evidence::Evidence;
use quorix_trust::policy::{Builder, Policy};

use super::ClientError;
use crate::evidence::{OUTPUTS_MAX, Question, SeenCheckpoints, verify_evidence};
use crate::fetch::{Fetcher, TileClient};
use crate::index::{ENTRIES_MAX, LogLookup, LookupError, Said, entries_at, lookup};
use crate::{entry, pb};

mod patch;

/// Look-ups under way at once, of each log.
const LOOKUPS_AT_ONCE: usize = 8;

/// Whether an answer is complete, and what was left out of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completeness {
    /// The logs that rules of the policy depend on, by origin.
    pub logs: BTreeMap<String, Shown>,
    /// What the aggregator left out and the logs gave.
    pub left_out: BTreeSet<LeftOut>,
}

/// Whether a log's index shows that nothing of it is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It does.
    Complete {
        /// Entries of the log up to which nothing is missing, at least.
        size: u64,
    },
    /// It does not: the log adds no votes.
    Not {
        /// Why, for people.
        reason: String,
    },
}

/// One entry that an aggregator left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// Name of the log.
    pub origin: String,
    /// Index of the entry.
    pub index: u64,
    /// What it is about.
    pub path: StorePath,
    /// It withdraws another entry.
    pub is_retraction: bool,
}

impl Completeness {
    /// Whether nothing is missing of any log that a rule depends on.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        let mut logs = self.logs.values();
        logs.all(|shown| matches!(shown, Shown::Complete { .. }))
    }
}

/// Asks logs about what an aggregator answered.
#[derive(Clone, Debug)]
pub(super) struct Completer {
    pub(super) fetcher: Fetcher,
    /// The whole path that the user asked about.
    pub(super) asked: StorePath,
}

/// One log of the policy, while an answer is completed.
struct Asked<'a> {
    builder: &'a Builder,
    /// The checkpoint of the answer, if it verifies.
    given: Option<SignedCheckpoint>,
    /// What it said of each path.
    said: BTreeMap<StorePath, Said>,
    /// The address that answered, and the largest checkpoint that it showed.
    newest: Option<(LogLookup, SignedCheckpoint)>,
    failed: Option<String>,
}

impl Completer {
    /// The same answer with what was left out of it.
    pub(super) async fn complete(
        &self,
        policy: &Policy,
        question: &Question,
        mut answer: pb::GetEvidenceResponse,
        seen: &SeenCheckpoints,
    ) -> Result<(pb::GetEvidenceResponse, Completeness), ClientError> {
        let mut completeness = Completeness::default();
        let mut logs: Vec<Asked<'_>> = depended_on(policy)
            .map(|builder| Asked::of(builder, &answer))
            .collect();
        let mut done = BTreeSet::new();
        loop {
            let verified = verify_evidence(policy, question, answer.clone(), seen);
            let evidence = verified
                .map_err(|error| ClientError::InvalidAnswer(error.to_string()))?
                .evidence;
            let Wanted { paths, nameless } = self.wanted(policy, question, &evidence);
            let new: Vec<StorePath> = paths.difference(&done).cloned().collect();
            if done.len().saturating_add(new.len()) > OUTPUTS_MAX {
                let message = format!(
                    "the answer is about more than {OUTPUTS_MAX} paths: too many to complete"
                );
                return Err(ClientError::ResourceExhausted(message));
            }
            if let Some(output) = nameless {
                let reason =
                    format!("nobody says the whole path of {output}, by which logs are asked");
                for log in &mut logs {
                    log.failed.get_or_insert_with(|| reason.clone());
                }
            }
            for log in &mut logs {
                log.ask(&self.fetcher, &question.store_dir, &new).await;
                log.add(policy, &mut answer, &mut completeness.left_out)
                    .await;
            }
            if new.is_empty() {
                break;
            }
            done.extend(new);
        }
        for log in &logs {
            if let Some(reason) = &log.failed {
                patch::make_stale(&mut answer, log.builder.origin(), reason);
            }
            let origin = log.builder.origin().to_owned();
            completeness.logs.insert(origin, log.shown());
        }
        Ok((answer, completeness))
    }

    /// The paths that a decision on this evidence can depend on.
    fn wanted(&self, policy: &Policy, question: &Question, evidence: &Evidence) -> Wanted {
        let mut names: BTreeMap<HashPart, BTreeSet<&StorePath>> = BTreeMap::new();
        let statements = evidence.outputs.values().flatten();
        let mut mentioned: Vec<&StorePath> = vec![&self.asked];
        for statement in statements {
            mentioned.push(statement.path());
            mentioned.extend(statement.facts.iter().flat_map(|facts| &facts.references));
            mentioned.extend(statement.inputs.iter().flat_map(BTreeMap::keys));
        }
        for path in mentioned {
            names.entry(path.hash_part()).or_default().insert(path);
        }
        let mut wanted = question.outputs.clone();
        if question.closure {
            let answered: BTreeSet<HashPart> = evidence.outputs.keys().cloned().collect();
            let beyond = reached(policy, evidence, &answered);
            wanted.extend(beyond.iter().map(StorePath::hash_part));
            wanted.extend(answered);
        }
        let named = wanted.iter().filter_map(|output| names.get(output));
        let paths = named.flatten().map(|path| (*path).clone()).collect();
        let mut asked = question.outputs.iter();
        let nameless = asked.find(|output| !names.contains_key(*output)).cloned();
        Wanted { paths, nameless }
    }
}

struct Wanted {
    paths: BTreeSet<StorePath>,
    /// An output that was asked about and of which only the hash part is known.
    nameless: Option<HashPart>,
}

/// The builders on whose operators a rule depends.
fn depended_on(policy: &Policy) -> impl Iterator<Item = &Builder> {
    let groups = policy
        .all_rules()
        .flat_map(|rule| [rule.quorum, rule.require, rule.veto]);
    let operators: BTreeSet<&str> = groups
        .flatten()
        .flat_map(|group| policy.operators_of(group))
        .collect();
    let builders = policy.builders.iter();
    builders.filter(move |builder| operators.contains(builder.operator.as_str()))
}

impl<'a> Asked<'a> {
    fn of(builder: &'a Builder, answer: &pb::GetEvidenceResponse) -> Self {
        let mut logs = answer.logs.iter();
        let given = logs.find(|log| log.origin == builder.origin());
        let given = given.and_then(|log| {
            SignedCheckpoint::open(&log.checkpoint, &builder.key, builder.origin()).ok()
        });
        Self {
            builder,
            given,
            said: BTreeMap::new(),
            newest: None,
            failed: None,
        }
    }

    /// Asks for what it says of these paths.
    async fn ask(&mut self, fetcher: &Fetcher, dir: &StoreDir, paths: &[StorePath]) {
        if self.failed.is_some() {
            return;
        }
        let known = self.given.as_ref().map(|given| Known {
            log: given.checkpoint().clone(),
            index: Checkpoint {
                origin: String::new(),
                size: 0,
                root: EMPTY_ROOT,
                extensions: Vec::new(),
            },
        });
        // Everything is owned: the compiler cannot tell that such a stream of borrows may be sent.
        let asker = Asker {
            fetcher: fetcher.clone(),
            dir: dir.clone(),
            urls: self.builder.urls.clone(),
            key: self.builder.key.clone(),
            known,
        };
        let mut answers = stream::iter(paths.to_vec())
            .map(move |path| asker.clone().ask(path))
            .buffer_unordered(LOOKUPS_AT_ONCE);
        while let Some((path, answered)) = answers.next().await {
            match answered {
                Ok((at, said)) => {
                    let shown = &said.proven.checkpoint;
                    let newest = self.newest.as_ref().map(|(_, newest)| newest.checkpoint());
                    if newest.is_none_or(|newest| newest.size < shown.checkpoint().size) {
                        self.newest = Some((at, shown.clone()));
                    }
                    self.said.insert(path, said);
                }
                Err(error) => {
                    let reason = format!("nothing shows that all of it is there: {error}");
                    self.failed.get_or_insert(reason);
                }
            }
        }
    }

    /// Adds to the answer what is missing of it.
    async fn add(
        &mut self,
        policy: &Policy,
        answer: &mut pb::GetEvidenceResponse,
        left_out: &mut BTreeSet<LeftOut>,
    ) {
        let origin = self.builder.origin();
        let Some((at, newest)) = self.newest.clone().filter(|_| self.failed.is_none()) else {
            return;
        };
        let size = self.given.as_ref().map(|given| given.checkpoint().size);
        let said = self.said.iter();
        let missing = said
            .flat_map(|(path, said)| patch::missing(policy, answer, origin, path, &said.entries));
        let missing: BTreeSet<LeftOut> = missing.collect();
        if missing.is_empty() && size.is_some() {
            return;
        }
        let is_newer = size.is_none_or(|size| missing.iter().any(|one| one.index >= size));
        let under = if is_newer {
            &newest
        } else {
            self.given.as_ref().unwrap_or(&newest)
        };
        let mut indices: BTreeSet<u64> = missing.iter().map(|one| one.index).collect();
        if is_newer {
            indices.extend(patch::indices(answer, origin));
        }
        let tree = under.checkpoint();
        match fetch_all(&at, tree.size, &tree.root, &indices).await {
            Ok(entries) => {
                if is_newer {
                    patch::move_to(answer, origin, under, &entries);
                    if size.is_none() {
                        let reason = "the aggregator has no checkpoint of it that verifies";
                        patch::make_stale(answer, origin, reason);
                    }
                    self.given = Some(under.clone());
                }
                for one in &missing {
                    patch::add(answer, origin, one, &entries);
                }
                self.fetch_blobs(&at, &entries, answer).await;
                // What was said after the answer's checkpoint was not there to be left out.
                let size = size.unwrap_or(u64::MAX);
                left_out.extend(missing.into_iter().filter(|one| one.index < size));
            }
            Err(error) => {
                let reason = format!("what was left out of the answer cannot be read: {error}");
                self.failed = Some(reason);
            }
        }
    }

    /// Fetches the lists that added entries name. One that is missing only ever leads to a refusal.
    async fn fetch_blobs(
        &self,
        at: &LogLookup,
        entries: &BTreeMap<u64, ProvenEntry>,
        answer: &mut pb::GetEvidenceResponse,
    ) {
        let client = TileClient::new(at.fetcher.clone(), vec![at.url.clone()]);
        let ids: BTreeSet<BlobId> = entries
            .values()
            .flat_map(|one| blobs_of(&one.entry))
            .collect();
        for id in ids {
            match client.blob(&id).await {
                Ok(blob) if !answer.blobs.contains(&blob) => answer.blobs.push(blob),
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "a blob of an added entry is missing"),
            }
        }
    }

    fn shown(&self) -> Shown {
        match &self.failed {
            Some(reason) => Shown::Not {
                reason: reason.clone(),
            },
            None => {
                let said = self.said.values();
                let sizes = said.map(|said| said.proven.checkpoint.checkpoint().size);
                let size = sizes.min().unwrap_or_default();
                Shown::Complete { size }
            }
        }
    }
}

/// Asks the addresses of one log.
#[derive(Clone)]
struct Asker {
    fetcher: Fetcher,
    dir: StoreDir,
    urls: Vec<String>,
    key: VerifierKey,
    known: Option<Known>,
}

impl Asker {
    /// What the log says of a path, from the first of its addresses that gives an answer that verifies.
    async fn ask(self, path: StorePath) -> (StorePath, Result<(LogLookup, Said), LookupError>) {
        let mut first = None;
        for url in self.urls {
            let log = LogLookup {
                fetcher: self.fetcher.clone(),
                url,
                key: self.key.clone(),
                witnessed: None,
                entries_max: ENTRIES_MAX,
            };
            match lookup(&log, &self.dir, &path, self.known.as_ref()).await {
                Ok(said) => return (path, Ok((log, said))),
                Err(error) => {
                    first.get_or_insert(error);
                }
            }
        }
        let error = first.unwrap_or_else(|| LookupError::NoIndex {
            url: self.key.name().to_string(),
        });
        (path, Err(error))
    }
}

/// These entries with their proofs in the tree of this size and root.
async fn fetch_all(
    log: &LogLookup,
    size: u64,
    root: &Hash,
    indices: &BTreeSet<u64>,
) -> Result<BTreeMap<u64, ProvenEntry>, LookupError> {
    let wanted: Vec<u64> = indices.iter().copied().collect();
    let mut entries = BTreeMap::new();
    while let Some(rest) = wanted.get(entries.len()..).filter(|rest| !rest.is_empty()) {
        let part = entries_at(log, size, root, rest).await?;
        entries.extend(part.into_iter().map(|one| (one.index, one)));
    }
    Ok(entries)
}

/// The blobs that an entry names.
fn blobs_of(bytes: &[u8]) -> Vec<BlobId> {
    let listed = |claim: &Claim| match &claim.references {
        References::Blob(id) => Some(*id),
        References::Inline(_) => None,
    };
    match entry::decode(bytes) {
        Ok(Entry::Build(build)) => {
            let listed = listed(&build.claim);
            listed.into_iter().chain(build.inputs_blob).collect()
        }
        Ok(Entry::Observation(seen)) => listed(&seen.claim).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Whether an aggregator has to tell of an entry: of a build or a signature of one of the policy's caches, which votes for
/// the facts that it states.
fn counts(policy: &Policy, bytes: &[u8]) -> bool {
    let holds = |claim: &Claim| match &claim.references {
        References::Inline(references) => claim.check(references).is_ok(),
        References::Blob(_) => true,
    };
    match entry::decode(bytes) {
        Ok(Entry::Build(build)) => holds(&build.claim),
        Ok(Entry::Observation(seen)) => {
            let mut keys = policy.caches.iter().map(|cache| cache.key.as_bytes());
            holds(&seen.claim) && keys.any(|key| key == seen.public_key.as_bytes())
        }
        _ => false,
    }
}

/// The leaf hashes that an entry withdraws.
fn withdrawn(bytes: &[u8]) -> BTreeSet<Hash> {
    match entry::decode(bytes) {
        Ok(Entry::Retraction(retraction)) => retraction.leaf_hashes,
        _ => BTreeSet::new(),
    }
}

/// Whether the entry is withdrawn by the retraction.
fn withdraws(retraction: &[u8], entry: &[u8]) -> bool {
    withdrawn(retraction).contains(&leaf_hash(entry))
}
