//! Recomputes content-addressed paths from their bytes: what proves itself needs nobody's vote.
//!
//! Needs no aggregator, so that it can be given to one before there is a resolver. Says only what it has seen; it
//! never decides whether a path is accepted (SEMANTICS §3).

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::future::BoxFuture;
use prometheus_client::registry::Registry;
use quorix_nix::content_address::ContentAddress;
use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::store_path::{HashPart, StorePath};
use quorix_trust::decision::{Decision, Outcome};
use quorix_trust::evidence::Evidence;
use quorix_wire::content::ContentVerifier;
use quorix_wire::fetch::Fetcher;

use crate::config::ResolverConfig;
use crate::error::StartError;
use crate::flight::{Flights, NotLanded};
use crate::memo::locked;
use crate::metrics::SourceMetrics;
use crate::nars::{Nars, Recomputed};
use crate::service::Clock;
use crate::sources::SourceFailure;

/// Outputs that are remembered as recomputed or as absent.
const REMEMBERED_MAX: usize = 20_000;
/// Outputs that are looked for and recomputed at once, those that wait for a permit included.
const CHECKS_AT_ONCE: usize = 1_024;
/// Seconds for which "no source has it so" is remembered.
const ABSENT_S: u64 = 30;

/// Owns the sources and the spool. One for each `spool_dir`.
pub struct ContentChecker {
    pub(crate) nars: Arc<Nars>,
    /// What was recomputed once stays true.
    recomputed: Mutex<HashMap<HashPart, Recomputed>>,
    absent: Mutex<HashMap<HashPart, u64>>,
    flights: Flights<HashPart, Result<Option<Recomputed>, String>>,
    clock: Clock,
}

impl ContentChecker {
    /// Opens the spool and names the sources; connects to nothing yet. `clock` gives POSIX seconds.
    ///
    /// # Errors
    /// The configuration cannot work, or the spool directory cannot be used.
    pub fn new(
        config: &ResolverConfig,
        fetcher: &Fetcher,
        clock: Clock,
        registry: &mut Registry,
    ) -> Result<Arc<Self>, StartError> {
        config.check()?;
        let nars = Nars::open_spool(
            config,
            fetcher,
            clock.clone(),
            SourceMetrics::register(registry),
        )?;
        Ok(Arc::new(Self {
            nars: Arc::new(nars),
            recomputed: Mutex::default(),
            absent: Mutex::default(),
            flights: Flights::new(CHECKS_AT_ONCE),
            clock,
        }))
    }

    /// The last failures of sources, the newest last; that a source does not have an output is none.
    #[must_use]
    pub fn source_failures(&self) -> Vec<SourceFailure> {
        self.nars.failures()
    }

    /// The fingerprint of the content-addressed path under this hash part, computed from its bytes.
    pub(crate) async fn check(&self, part: &HashPart) -> Result<Option<Fingerprint>, String> {
        if let Some(known) = locked(&self.recomputed).get(part) {
            return Ok(Some(known.facts.clone()));
        }
        let now_s = (self.clock)();
        let is_absent = locked(&self.absent).get(part).is_some_and(|since_s| {
            now_s
                .checked_sub(*since_s)
                .is_some_and(|age_s| age_s < ABSENT_S)
        });
        if is_absent {
            return Ok(None);
        }
        let nars = self.nars.clone();
        let asked = part.clone();
        let checked = self
            .flights
            .join(part, || async move { nars.recompute(&asked).await });
        match checked.await {
            Ok(result) => {
                let recomputed = result?;
                self.remember(part, recomputed.as_ref(), now_s);
                Ok(recomputed.map(|recomputed| recomputed.facts))
            }
            Err(NotLanded::BrokeOff) => Err("recomputing it broke off".to_owned()),
            Err(NotLanded::Full) => {
                Err("too many other outputs are being looked for already".to_owned())
            }
        }
    }

    /// The same with the content address from which the path follows.
    ///
    /// # Errors
    /// Why it could not be found out, for people.
    pub async fn recompute(
        &self,
        part: &HashPart,
    ) -> Result<Option<(Fingerprint, ContentAddress)>, String> {
        let facts = self.check(part).await?;
        Ok(facts.and_then(|facts| {
            let address = self.address_of(&facts.path)?;
            Some((facts, address))
        }))
    }

    /// The content address of a path that was recomputed.
    pub(crate) fn address_of(&self, path: &StorePath) -> Option<ContentAddress> {
        let recomputed = locked(&self.recomputed);
        let known = recomputed.get(&path.hash_part())?;
        (known.facts.path == *path).then(|| known.address.clone())
    }

    fn remember(&self, part: &HashPart, recomputed: Option<&Recomputed>, now_s: u64) {
        match recomputed {
            Some(recomputed) => {
                let mut known = locked(&self.recomputed);
                if known.len() >= REMEMBERED_MAX {
                    known.clear();
                }
                known.insert(part.clone(), recomputed.clone());
            }
            None => {
                let mut absent = locked(&self.absent);
                if absent.len() >= REMEMBERED_MAX {
                    absent.clear();
                }
                absent.insert(part.clone(), now_s);
            }
        }
    }
}

/// Outputs without which a decision is a refusal, and that may turn out to need no votes.
#[must_use]
pub fn checkable(decision: &Decision, evidence: &Evidence) -> BTreeSet<HashPart> {
    let mut outputs = BTreeSet::new();
    let mut within = vec![decision];
    while let Some(decision) = within.pop() {
        match decision.outcome {
            Outcome::Accepted | Outcome::Denied => {}
            Outcome::BlockedBy => {
                outputs.extend(decision.blocked_by.as_ref().map(StorePath::hash_part))
            }
            _ => {
                outputs.insert(decision.asked.clone());
            }
        }
        within.extend(decision.warned.as_deref());
        within.extend(decision.fallen_from.as_deref());
    }
    outputs.retain(|output| evidence.may_verify_by_itself(output));
    outputs
}

impl ContentVerifier for ContentChecker {
    fn verify<'a>(
        &'a self,
        path: &'a StorePath,
    ) -> BoxFuture<'a, Result<Option<Fingerprint>, String>> {
        async move {
            let facts = self.check(&path.hash_part()).await?;
            Ok(facts.filter(|facts| facts.path == *path))
        }
        .boxed()
    }
}
