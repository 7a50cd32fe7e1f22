//! Gets NARs from the sources, in order, until one has the right bytes; keeps verified ones on disk.
//!
//! Each NAR is fetched once at a time, whoever wants it. No byte leaves before all bytes were verified, and a source
//! that fails is passed over, told of and asked last for a while.

mod spool;
mod transfer;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorix_nix::content_address::ContentAddress;
use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::hash::{Algorithm, NarHash};
use quorix_nix::narinfo::NarInfo;
use quorix_nix::store_path::HashPart;
use quorix_wire::fetch::Fetcher;
use tempfile::NamedTempFile;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

pub use spool::Verified;

use crate::config::ResolverConfig;
use crate::error::{NoAnswer, StartError};
use crate::flight::{Flights, NotLanded};
use crate::memo::locked;
use crate::metrics::SourceMetrics;
use crate::service::Clock;
use crate::sources::{Connected, FailureKind, SourceFailure};
use spool::{Reservation, Spool};
use transfer::{Check, Patience, TransferError, transfer};

/// Failures of sources that are remembered for showing.
const FAILURES_SHOWN: usize = 200;
/// Seconds for which a NAR that no source has is not looked for again.
const NOWHERE_S: u64 = 2;
/// How often a NAR that was removed while it was about to be opened is fetched again.
const ATTEMPTS: usize = 3;
/// NARs that are fetched at once, those that wait for a permit included.
const NARS_UNDER_WAY: usize = 1_024;
/// Sources that are asked at once whether they have an output that nobody voted on.
const PROBES_AT_ONCE: usize = 32;
/// The longest that a source may take to say whether it has an output that nobody voted on.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// The sources and the spool.
pub(crate) struct Nars {
    config: ResolverConfig,
    sources: Vec<Connected>,
    spool: Arc<Spool>,
    flights: Flights<NarHash, Result<(), NoAnswer>>,
    permits: Semaphore,
    /// Of their own, so that what a source merely claims keeps no accepted output waiting.
    recomputations: Semaphore,
    probes: Semaphore,
    nowhere: Mutex<HashMap<NarHash, (u64, NoAnswer)>>,
    failures: Mutex<VecDeque<SourceFailure>>,
    clock: Clock,
    metrics: SourceMetrics,
}

/// A content-addressed output whose bytes were seen.
#[derive(Clone, Debug)]
pub(crate) struct Recomputed {
    pub(crate) facts: Fingerprint,
    pub(crate) address: ContentAddress,
}

impl Nars {
    pub(crate) fn open_spool(
        config: &ResolverConfig,
        fetcher: &Fetcher,
        clock: Clock,
        metrics: SourceMetrics,
    ) -> Result<Self, StartError> {
        let directory = &config.spool_dir;
        let spool = Spool::open(directory, config.spool_bytes_max)
            .map_err(|error| StartError::spool(directory, &error))?;
        let connected = |source| Connected::new(source, fetcher, &config.store_dir);
        Ok(Self {
            sources: config.sources.iter().map(connected).collect(),
            spool: Arc::new(spool),
            flights: Flights::new(NARS_UNDER_WAY),
            permits: Semaphore::new(config.fetches_at_once),
            recomputations: Semaphore::new(config.recomputations_at_once),
            probes: Semaphore::new(PROBES_AT_ONCE),
            nowhere: Mutex::default(),
            failures: Mutex::default(),
            config: config.clone(),
            clock,
            metrics,
        })
    }

    /// Failures of sources, the newest last.
    pub(crate) fn failures(&self) -> Vec<SourceFailure> {
        locked(&self.failures).iter().cloned().collect()
    }

    /// Opens the NAR of an accepted output, fetched and verified before if need be.
    pub(crate) async fn open(self: &Arc<Self>, facts: &Fingerprint) -> Result<Verified, NoAnswer> {
        for _ in 0..ATTEMPTS {
            if let Some(verified) = self.spool.open_nar(&facts.nar_hash).await {
                return Ok(verified);
            }
            if let Some(known) = self.known_nowhere(&facts.nar_hash) {
                return Err(known);
            }
            let fetch = || {
                let (nars, facts) = (self.clone(), facts.clone());
                async move { nars.fetch(&facts).await }
            };
            let fetched = self.flights.join(&facts.nar_hash, fetch).await;
            fetched.unwrap_or_else(|failed| {
                Err(NoAnswer::Spool(match failed {
                    NotLanded::BrokeOff => "fetching it broke off".to_owned(),
                    NotLanded::Full => "too many others are being fetched already".to_owned(),
                }))
            })?;
        }
        Err(NoAnswer::Spool(
            "it is too small for what is asked for at once".to_owned(),
        ))
    }

    async fn fetch(&self, facts: &Fingerprint) -> Result<(), NoAnswer> {
        let _permit = self
            .permits
            .acquire()
            .await
            .map_err(|_| NoAnswer::Spool("it is closed".to_owned()))?;
        let output = facts.path.to_string();
        let mut failures = Vec::new();
        for source in self.in_order() {
            match self.fetch_from(source, facts).await {
                Ok(()) => return Ok(()),
                Err(TransferError::Source(kind, reason)) => {
                    failures.push(self.failed(source, &output, kind, reason));
                }
                Err(TransferError::Spool(error)) => return Err(spool_failed(&error)),
            }
        }
        let nowhere = NoAnswer::Nowhere {
            path: facts.path.clone(),
            failures: Arc::new(failures),
        };
        self.remember_nowhere(facts.nar_hash, &nowhere);
        Err(nowhere)
    }

    async fn fetch_from(
        &self,
        source: &Connected,
        facts: &Fingerprint,
    ) -> Result<(), TransferError> {
        let narinfo = source
            .client
            .narinfo(&facts.path.hash_part())
            .await?
            .ok_or_else(absent)?;
        // Believed only so far that nothing is fetched which the source itself says is something else.
        if narinfo.nar_hash != facts.nar_hash || narinfo.nar_size != facts.nar_size {
            let reason = format!("it has other bytes for this output: {}", narinfo.nar_hash);
            return Err(TransferError::Source(FailureKind::Other, reason));
        }
        self.keep(
            source,
            &narinfo,
            facts.nar_size,
            Check::hash(facts.nar_hash),
        )
        .await
    }

    /// Looks for a content-addressed output under this hash part whose path follows from its bytes. Most outputs are
    /// none, and a client waits: so sources that could not be reached lately are not asked, and none for long.
    ///
    /// The error says why no source could tell.
    pub(crate) async fn recompute(&self, part: &HashPart) -> Result<Option<Recomputed>, String> {
        let now_s = (self.clock)();
        let mut unheard = Vec::new();
        for source in &self.sources {
            if source.is_resting(now_s) {
                unheard.push(format!("{} could not be reached lately", source.name));
                continue;
            }
            match self.recompute_from(source, part).await {
                Ok(recomputed) => return Ok(Some(recomputed)),
                Err(TransferError::Source(kind, reason)) => {
                    let failure = self.failed(source, part.as_str(), kind, reason);
                    if kind.is_passing() {
                        unheard.push(format!("{}: {}", failure.source, failure.reason));
                    }
                }
                Err(TransferError::Spool(error)) => return Err(spool_failed(&error).explained()),
            }
        }
        if unheard.is_empty() {
            Ok(None)
        } else {
            Err(unheard.join("; "))
        }
    }

    async fn recompute_from(
        &self,
        source: &Connected,
        part: &HashPart,
    ) -> Result<Recomputed, TransferError> {
        let narinfo = self.probe(source, part).await?.ok_or_else(absent)?;
        // Most outputs are not; that is nothing to tell of.
        let claimed = narinfo.ca.as_ref().ok_or_else(absent)?;
        let address = checked(claimed, &narinfo, &self.config)
            .map_err(|reason| TransferError::Source(FailureKind::Other, reason))?;
        let check = Check::content(&address, narinfo.nar_size);
        let _permit = acquired(&self.recomputations).await?;
        // What a source claims makes no room: only a NAR that was verified may take the place of another.
        let part = self.spool.part().map_err(TransferError::Spool)?;
        let patience = self.patience();
        let (nar_hash, nar_size) =
            transfer(source, &narinfo, narinfo.nar_size, check, &part, patience).await?;
        let reservation = self.spool.reserve(nar_size).await;
        let reservation = reservation.map_err(TransferError::Spool)?;
        self.kept(reservation, part, nar_hash, nar_size).await?;
        let store_dir = self.config.store_dir.clone();
        let (path, references) = (narinfo.store_path, narinfo.references);
        Ok(Recomputed {
            facts: Fingerprint {
                store_dir,
                path,
                nar_hash,
                nar_size,
                references,
            },
            address,
        })
    }

    /// Asks a source whether it has this, without waiting for long.
    async fn probe(
        &self,
        source: &Connected,
        part: &HashPart,
    ) -> Result<Option<NarInfo>, TransferError> {
        let _permit = acquired(&self.probes).await?;
        let probed = timeout(PROBE_TIMEOUT, source.client.narinfo(part)).await;
        let answer = probed.map_err(|_| {
            let limit_s = PROBE_TIMEOUT.as_secs();
            let reason = format!("it did not say within {limit_s} s what it has");
            TransferError::Source(FailureKind::Timeout, reason)
        })?;
        Ok(answer?)
    }

    /// Fetches what a narinfo names, checks it, and keeps it.
    async fn keep(
        &self,
        source: &Connected,
        narinfo: &NarInfo,
        size: u64,
        check: Check,
    ) -> Result<(), TransferError> {
        let reservation = self
            .spool
            .reserve(size)
            .await
            .map_err(TransferError::Spool)?;
        let part = self.spool.part().map_err(TransferError::Spool)?;
        let (hash, size) = transfer(source, narinfo, size, check, &part, self.patience()).await?;
        self.kept(reservation, part, hash, size).await
    }

    /// Keeps a NAR that was verified.
    async fn kept(
        &self,
        reservation: Reservation,
        part: NamedTempFile,
        hash: NarHash,
        size: u64,
    ) -> Result<(), TransferError> {
        let kept = reservation.keep(part, &hash, size).await;
        kept.map_err(TransferError::Spool)?;
        self.metrics.fetched(size);
        Ok(())
    }

    fn patience(&self) -> Patience {
        Patience {
            idle: self.config.source_idle_timeout,
            whole: self.config.source_timeout,
            grace: self.config.source_grace,
            bytes_per_s_min: self.config.source_bytes_per_s_min,
        }
    }

    /// The sources in their order, those that could not be reached lately last.
    fn in_order(&self) -> impl Iterator<Item = &Connected> {
        let now_s = (self.clock)();
        let (last, first): (Vec<_>, Vec<_>) = self
            .sources
            .iter()
            .partition(|source| source.is_resting(now_s));
        first.into_iter().chain(last)
    }

    fn failed(
        &self,
        source: &Connected,
        output: &str,
        kind: FailureKind,
        reason: String,
    ) -> SourceFailure {
        let at_s = (self.clock)();
        self.metrics.failed(kind);
        if kind.is_passing() {
            source.rest(at_s);
        }
        let failure = SourceFailure {
            source: source.name.clone(),
            output: output.to_owned(),
            kind,
            reason,
            at_s,
        };
        if kind == FailureKind::Absent {
            // Nothing is wrong with a source that does not have everything.
            tracing::debug!(
                source = failure.source,
                output,
                "a source does not have this output"
            );
            return failure;
        }
        tracing::warn!(
            source = failure.source,
            output,
            kind = kind.label(),
            reason = failure.reason,
            "a source is passed over"
        );
        let mut failures = locked(&self.failures);
        if failures.len() >= FAILURES_SHOWN {
            failures.pop_front();
        }
        failures.push_back(failure.clone());
        failure
    }

    /// A client that tries again at once is not worth another round of timeouts.
    fn remember_nowhere(&self, hash: NarHash, answer: &NoAnswer) {
        let now_s = (self.clock)();
        let mut nowhere = locked(&self.nowhere);
        nowhere.retain(|_, (until_s, _)| now_s < *until_s);
        nowhere.insert(hash, (now_s.saturating_add(NOWHERE_S), answer.clone()));
    }

    fn known_nowhere(&self, hash: &NarHash) -> Option<NoAnswer> {
        let (now_s, nowhere) = ((self.clock)(), locked(&self.nowhere));
        let (until_s, answer) = nowhere.get(hash)?;
        (now_s < *until_s && *until_s <= now_s.saturating_add(NOWHERE_S)).then(|| answer.clone())
    }
}

async fn acquired(permits: &Semaphore) -> Result<SemaphorePermit<'_>, TransferError> {
    let closed = |_| TransferError::Spool(io::Error::other("it is closed"));
    permits.acquire().await.map_err(closed)
}

fn absent() -> TransferError {
    TransferError::Source(
        FailureKind::Absent,
        "it does not have this output".to_owned(),
    )
}

fn spool_failed(error: &io::Error) -> NoAnswer {
    tracing::error!(%error, "a NAR could not be written to the spool");
    NoAnswer::Spool(match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk of its spool directory is full; free some space or lower `spool_bytes_max`"
                .to_owned()
        }
        _ => error.to_string(),
    })
}

/// The content address that a narinfo claims, if the path would follow from it. Whether the bytes have it is still
/// to be seen.
fn checked(
    address: &ContentAddress,
    narinfo: &NarInfo,
    config: &ResolverConfig,
) -> Result<ContentAddress, String> {
    let algorithm = address.hash().algorithm();
    if matches!(algorithm, Algorithm::Md5 | Algorithm::Sha1) {
        // Two NARs with one such address can be made on purpose, so the address does not say which is meant.
        return Err(format!("a content address by {algorithm} proves nothing"));
    }
    let limit = config.recomputed_limit();
    if narinfo.nar_size > limit {
        return Err(format!(
            "its NAR has {} bytes, more than the {limit} that are fetched to recompute a path",
            narinfo.nar_size
        ));
    }
    let leads_there =
        address.check_path(&config.store_dir, &narinfo.store_path, &narinfo.references);
    leads_there.map_err(|error| error.to_string())?;
    Ok(address.clone())
}
