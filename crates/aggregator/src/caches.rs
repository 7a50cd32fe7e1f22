//! Asks the policy's binary caches for their signatures, on demand, and keeps those that verify.
//!
//! A cache's vote is its signature under the key of its line in the policy: a forged, foreign or malformed one is
//! never kept and never counts. A slow cache delays nobody beyond the budget of a question, and one that does not
//! answer is left alone for a while (DESIGN §6).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use quorix_nix::narinfo::NarInfo;
use quorix_nix::store_path::{HashPart, StoreDir};
use quorix_trust::attestation::{Claim, Entry, Observation, References};
use quorix_trust::policy;
use quorix_trust::ports::{IndexedStatement, Place};
use quorix_wire::cache::NarInfoClient;
use quorix_wire::entry::{encode, encode_references};
use quorix_wire::fetch::{FetchError, Fetcher};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::config::AggregatorConfig;
use crate::machine::blocking;
use crate::service::Shared;

/// Seconds for which an answer "not here", or one that does not verify, is remembered.
const ABSENT_S: u64 = 30;
/// Seconds for which a failed request is remembered.
const FAILED_S: u64 = 5;
/// Seconds for which a cache that answered nothing is left alone.
const REST_S: u64 = 10;
/// References longer than this go into a blob, so that the entry stays well below 65,535 bytes.
pub(crate) const INLINE_BYTES_MAX: usize = 48 * 1024;

/// A binary cache of the policy.
pub(crate) struct Cache {
    /// Its line of the policy.
    pub(crate) line: policy::Cache,
    client: NarInfoClient,
    permits: Semaphore,
    resting_until_s: AtomicU64,
}

/// The caches of a policy, in its order.
pub(crate) fn of_policy(
    policy: &policy::Policy,
    fetcher: &Fetcher,
    config: &AggregatorConfig,
) -> Vec<Cache> {
    let cache = |line: &policy::Cache| Cache {
        line: line.clone(),
        client: NarInfoClient::new(fetcher.clone(), &line.url, config.store_dir.clone()),
        permits: Semaphore::new(config.cache_concurrency),
        resting_until_s: AtomicU64::new(0),
    };
    policy.caches.iter().map(cache).collect()
}

impl Shared {
    /// Asks caches (by their position in the policy) about outputs until the deadline; gives the outputs for which a
    /// signature was kept.
    pub(crate) async fn hear_caches(
        self: &Arc<Self>,
        asked: BTreeSet<(usize, HashPart)>,
        deadline: Instant,
    ) -> BTreeSet<HashPart> {
        let now_s = (self.clock)();
        let asks = asked.into_iter().filter_map(|(position, output)| {
            let cache = self.caches.get(position)?;
            let is_quiet = cache.resting_until_s.load(Ordering::Relaxed) > now_s
                || self.cache_misses.knows(&(position, output.clone()), now_s);
            (!is_quiet).then_some((position, cache, output))
        });
        let asks: Vec<_> = asks.collect();
        let answered: Vec<AtomicBool> =
            self.caches.iter().map(|_| AtomicBool::new(false)).collect();
        let mut heard = BTreeSet::new();
        let involved: BTreeSet<usize> = asks.iter().map(|(position, _, _)| *position).collect();
        // The permits of each cache bound what is under way, so that one cache never takes the turn of another.
        let mut answers: FuturesUnordered<_> = asks
            .into_iter()
            .map(|(position, cache, output)| self.ask(position, cache, output, &answered))
            .collect();
        let collect = async {
            while let Some(output) = answers.next().await {
                heard.extend(output);
            }
        };
        let in_time = tokio::time::timeout_at(deadline, collect).await.is_ok();
        drop(answers);
        for position in involved {
            let answered = answered
                .get(position)
                .is_some_and(|answered| answered.load(Ordering::Relaxed));
            if let (false, false, Some(cache)) = (in_time, answered, self.caches.get(position)) {
                cache.rest(now_s, "nothing came in time");
            }
        }
        heard
    }

    /// True if a cache, by its position in the policy, said just now that it does not have an output.
    pub(crate) fn is_absent(&self, position: usize, output: &HashPart) -> bool {
        self.cache_absent
            .knows(&(position, output.clone()), (self.clock)())
    }

    /// Asks one cache about one output, and gives the output if its signature was kept.
    async fn ask(
        &self,
        position: usize,
        cache: &Cache,
        output: HashPart,
        answered: &[AtomicBool],
    ) -> Option<HashPart> {
        let _permit = cache.permits.acquire().await.ok()?;
        if cache.resting_until_s.load(Ordering::Relaxed) > (self.clock)() {
            return None;
        }
        let name = cache.line.name.as_str();
        let answer = cache.client.narinfo(&output).await;
        let now_s = (self.clock)();
        let remember = |for_s: u64| {
            let key = (position, output.clone());
            self.cache_misses
                .remember(key, now_s, now_s.saturating_add(for_s));
        };
        if answer.is_ok()
            && let Some(answered) = answered.get(position)
        {
            answered.store(true, Ordering::Relaxed);
        }
        let result = match answer {
            Ok(Some(narinfo)) => {
                match observation(&cache.line, &self.config.store_dir, &output, &narinfo) {
                    Ok(seen) => {
                        if self.keep(seen).await {
                            self.metrics.cache_answered(name, "observed");
                            return Some(output);
                        }
                        "not_kept"
                    }
                    Err(refusal) => {
                        tracing::warn!(cache = name, %output, "a narinfo does not count: {refusal}");
                        refusal.label()
                    }
                }
            }
            Ok(None) => {
                let key = (position, output.clone());
                self.cache_absent
                    .remember(key, now_s, now_s.saturating_add(ABSENT_S));
                "absent"
            }
            Err(error @ FetchError::Malformed { .. }) => {
                tracing::warn!(cache = name, %output, %error, "a narinfo does not count");
                "malformed"
            }
            Err(error) => {
                tracing::debug!(cache = name, %output, %error, "a cache gave no answer");
                remember(FAILED_S);
                cache.rest_after_failure(&error, now_s);
                self.metrics.cache_answered(name, "failed");
                return None;
            }
        };
        remember(ABSENT_S);
        self.metrics.cache_answered(name, result);
        None
    }

    /// Keeps a signature that verified. True if that succeeded.
    async fn keep(&self, seen: Observation) -> bool {
        let (path, value, voice) = (
            seen.claim.path.clone(),
            seen.claim.fingerprint,
            seen.public_key.to_string(),
        );
        let seen = self.with_references_in_place(seen);
        let entry = match encode(&Entry::Observation(Box::new(seen))) {
            Ok(entry) => entry,
            Err(error) => {
                tracing::warn!(%path, %error, "a cache's signature cannot be kept");
                return false;
            }
        };
        let place = Place::Unlogged { entry };
        let statement = IndexedStatement {
            path,
            value,
            voice,
            place,
            withdrawn_by: None,
        };
        let index = self.index.clone();
        match blocking("keeping a cache's signature", move || {
            index.observe(&statement)
        })
        .await
        {
            Ok(change) => {
                if let Some(change) = change {
                    let subject = self.config.store_dir.join(&change.output);
                    self.events.tell_standing((self.clock)(), &subject, &change);
                }
                true
            }
            Err(error) => {
                tracing::error!(%error, "a cache's signature could not be kept");
                false
            }
        }
    }

    /// Moves references that are too many for an entry into a blob, which is kept in memory: after a restart the
    /// cache is simply asked again.
    fn with_references_in_place(&self, mut seen: Observation) -> Observation {
        if let References::Inline(references) = &seen.claim.references {
            let blob = encode_references(references);
            if blob.len() > INLINE_BYTES_MAX {
                let id = Sha256::digest(&blob).into();
                self.unlogged_blobs.keep(id, blob);
                seen.claim.references = References::Blob(id);
            }
        }
        seen
    }
}

impl Cache {
    fn rest(&self, now_s: u64, reason: &str) {
        tracing::warn!(
            cache = self.line.name,
            reason,
            "the cache is left alone for {REST_S} s"
        );
        self.resting_until_s
            .store(now_s.saturating_add(REST_S), Ordering::Relaxed);
    }

    /// A cache that cannot be reached at all is not asked for each of a thousand outputs.
    fn rest_after_failure(&self, error: &FetchError, now_s: u64) {
        if matches!(
            error,
            FetchError::Timeout { .. } | FetchError::Transport { .. }
        ) {
            self.rest(now_s, "it cannot be reached");
        }
    }
}

/// Why a narinfo is not a vote of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// It is about something else.
    #[error("it is about another path")]
    OtherPath,
    /// No signature has the name of the cache's key.
    #[error("no signature is by the key of the policy")]
    Unsigned,
    /// A signature has the name of the cache's key, and does not verify under it.
    #[error("its signature does not verify under the key of the policy")]
    Forged,
}

impl Refusal {
    fn label(self) -> &'static str {
        match self {
            Self::OtherPath => "other_path",
            Self::Unsigned => "unsigned",
            Self::Forged => "forged",
        }
    }
}

/// The observation that a narinfo is, if it is signed by the cache's key.
pub(crate) fn observation(
    line: &policy::Cache,
    store_dir: &StoreDir,
    output: &HashPart,
    narinfo: &NarInfo,
) -> Result<Observation, Refusal> {
    if narinfo.store_path.hash_part() != *output {
        return Err(Refusal::OtherPath);
    }
    let facts = narinfo.fingerprint(store_dir);
    let by_name = || {
        narinfo
            .signatures
            .iter()
            .filter(|signature| signature.key_name() == line.key.name())
    };
    let Some(signature) = by_name().find(|signature| line.key.verify(&facts, signature).is_ok())
    else {
        return Err(if by_name().next().is_some() {
            Refusal::Forged
        } else {
            Refusal::Unsigned
        });
    };
    Ok(Observation {
        claim: Claim::of(&facts),
        public_key: line.key.clone(),
        signature: signature.clone(),
    })
}
