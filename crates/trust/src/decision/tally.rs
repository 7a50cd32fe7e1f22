//! Who votes what on one store path (SEMANTICS §2).

use std::collections::{BTreeMap, BTreeSet};

use quorix_nix::fingerprint::{Fingerprint, FingerprintDigest};
use quorix_nix::store_path::StorePath;

use super::OperatorState;
use crate::evidence::{Evidence, LogState, Said, Source, Statement};
use crate::policy::{Builder, Cache, Policy};

/// All that counts on one store path.
pub(super) struct Tally<'a> {
    /// By operator. Operators that said nothing that counts are not in it.
    pub(super) operators: BTreeMap<&'a str, OperatorTally<'a>>,
    /// What each value stands for, where somebody supplied it; `None` where nobody did.
    pub(super) values: BTreeMap<FingerprintDigest, Option<&'a Fingerprint>>,
}

/// What one operator said.
#[derive(Default)]
pub(super) struct OperatorTally<'a> {
    /// `known(o)`: values that count, from logs in any state and from caches.
    pub(super) known: BTreeSet<FingerprintDigest>,
    /// Values from a live log or a cache.
    heard: BTreeSet<FingerprintDigest>,
    /// Values that it said once and withdrew.
    pub(super) withdrawn: BTreeSet<FingerprintDigest>,
    /// Where it said what.
    pub(super) sources: Vec<Counted<'a>>,
    /// A log of it that said something is quarantined.
    quarantined: bool,
    /// Why one of its logs does not add votes.
    pub(super) reason: Option<String>,
}

/// A statement that counts, with the policy line for which it does.
#[derive(Clone, Copy)]
pub(super) struct Counted<'a> {
    /// The statement.
    pub(super) statement: &'a Statement,
    /// The builder or cache.
    pub(super) voice: Voice<'a>,
}

/// The policy line for which a statement counts.
#[derive(Clone, Copy)]
pub(super) enum Voice<'a> {
    /// A builder's log.
    Builder(&'a Builder),
    /// A cache's signature.
    Cache(&'a Cache),
}

impl<'a> Voice<'a> {
    fn operator(self) -> &'a str {
        match self {
            Self::Builder(builder) => &builder.operator,
            Self::Cache(cache) => &cache.operator,
        }
    }

    /// Its name in the policy.
    pub(super) fn name(self) -> &'a str {
        match self {
            Self::Builder(builder) => &builder.name,
            Self::Cache(cache) => &cache.name,
        }
    }
}

impl OperatorTally<'_> {
    /// `vote(o)`: the only value that is known of it, if that comes from a live log or a cache.
    pub(super) fn vote(&self) -> Option<FingerprintDigest> {
        let mut known = self.known.iter();
        match (known.next(), known.next()) {
            (Some(value), None) if self.heard.contains(value) => Some(*value),
            _ => None,
        }
    }

    /// Whether it votes, and if not, why.
    pub(super) fn state(&self) -> OperatorState {
        match (self.known.len(), self.vote()) {
            (0, _) => OperatorState::Silent,
            (1, Some(_)) => OperatorState::Votes,
            (1, None) if self.quarantined => OperatorState::Quarantined,
            (1, None) => OperatorState::Stale,
            _ => OperatorState::Contradicted,
        }
    }
}

impl<'a> Tally<'a> {
    /// Counts what was said about exactly this path in the evidence's store directory.
    pub(super) fn of(policy: &'a Policy, evidence: &'a Evidence, path: &StorePath) -> Self {
        let mut tally = Self {
            operators: BTreeMap::new(),
            values: BTreeMap::new(),
        };
        let statements = evidence
            .outputs
            .get(&path.hash_part())
            .map(Vec::as_slice)
            .unwrap_or_default();
        for statement in statements {
            if statement.path() == path && statement.claim().store_dir == evidence.store_dir {
                for voice in voices(policy, statement) {
                    tally.count(evidence, statement, voice);
                }
            }
        }
        tally
    }

    fn count(&mut self, evidence: &Evidence, statement: &'a Statement, voice: Voice<'a>) {
        let value = statement.value();
        let operator = self.operators.entry(voice.operator()).or_default();
        // A log takes back only what it said itself: a cache's signature stays a signature, whichever log carried it.
        if statement.withdrawn && matches!(voice, Voice::Builder(_)) {
            operator.withdrawn.insert(value);
            return;
        }
        operator.known.insert(value);
        operator.sources.push(Counted { statement, voice });
        match live(evidence, statement, voice) {
            Ok(()) => {
                operator.heard.insert(value);
            }
            Err(NotLive {
                quarantined,
                reason,
            }) => {
                operator.quarantined |= quarantined;
                operator.reason.get_or_insert(reason);
            }
        }
        let facts = self.values.entry(value).or_default();
        if facts.is_none() {
            *facts = statement
                .facts
                .as_ref()
                .filter(|facts| facts.digest() == value);
        }
    }

    /// The vote of one operator.
    pub(super) fn vote(&self, operator: &str) -> Option<FingerprintDigest> {
        self.operators.get(operator)?.vote()
    }

    /// True if the operator is known to have said this value, whether or not it votes for it.
    pub(super) fn knows(&self, operator: &str, value: &FingerprintDigest) -> bool {
        self.operators
            .get(operator)
            .is_some_and(|operator| operator.known.contains(value))
    }
}

/// The policy lines for which a statement counts: the builder whose log it is in, or the caches whose key signed
/// it. A build in a log that the policy does not name, or a signature that does not verify, counts for nobody.
fn voices<'a>(policy: &'a Policy, statement: &Statement) -> Vec<Voice<'a>> {
    match (&statement.said, &statement.source) {
        (Said::Build(_), Source::Log { origin, .. }) => policy
            .builders
            .iter()
            .filter(|builder| builder.origin() == origin)
            .map(Voice::Builder)
            .collect(),
        (Said::Build(_), Source::Unlogged) => Vec::new(),
        (Said::Observation(_), _) => policy
            .caches
            .iter()
            .filter(|cache| statement.is_signed_by(&cache.key))
            .map(Voice::Cache)
            .collect(),
    }
}

struct NotLive {
    quarantined: bool,
    reason: String,
}

/// Whether a statement adds a vote now. A signature is its own evidence, whatever log carries it.
fn live(evidence: &Evidence, statement: &Statement, voice: Voice<'_>) -> Result<(), NotLive> {
    let (Voice::Builder(builder), Source::Log { origin, .. }) = (voice, &statement.source) else {
        return Ok(());
    };
    match evidence.logs.get(origin).map(|log| &log.state) {
        Some(LogState::Live) => Ok(()),
        Some(LogState::Stale { reason }) => Err(NotLive {
            quarantined: false,
            reason: format!("the log of {} is stale: {reason}", builder.name),
        }),
        Some(LogState::Quarantined) => Err(NotLive {
            quarantined: true,
            reason: format!(
                "the log of {} signed two contradicting checkpoints",
                builder.name
            ),
        }),
        None => Err(NotLive {
            quarantined: false,
            reason: format!("the log of {} was not read", builder.name),
        }),
    }
}
