//! Who votes what on one store path (SEMANTICS §2).

use std::collections::{BTreeMap, BTreeSet};

use quorix_nix::fingerprint::{Fingerprint, FingerprintDigest};
use quorix_nix::store_path::StorePath;

use super::OperatorState;
use super::context::Context;
use crate::evidence::{Said, Source, Statement};
use crate::policy::{Builder, Cache, Level, Policy, Rule, Told};

/// What a rule asks of votes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Terms {
    /// The oldest that a log may be. Seconds.
    pub(super) max_age_s: Option<u64>,
    /// Only votes that publish their inputs count.
    pub(super) needs_inputs: bool,
    /// As if no log were merely stale.
    pub(super) is_revived: bool,
}

impl Terms {
    /// What this rule asks.
    pub(super) fn of(rule: &Rule, is_revived: bool) -> Self {
        Self {
            max_age_s: rule.max_age_s,
            needs_inputs: rule.level >= Level::Build,
            is_revived,
        }
    }
}

/// A list of inputs with the values that were present.
pub(super) type Inputs = BTreeMap<StorePath, FingerprintDigest>;

/// All that counts on one store path.
#[derive(Default)]
pub(super) struct Tally<'a> {
    /// By operator. Operators that said nothing that counts are not in it.
    pub(super) operators: BTreeMap<&'a str, OperatorTally<'a>>,
    /// What each value stands for, where somebody supplied it; `None` where nobody did.
    pub(super) values: BTreeMap<FingerprintDigest, Option<&'a Fingerprint>>,
    /// Something is known of another store path under the same hash part: a value more, of another rule.
    pub(super) has_other_names: bool,
    /// Another store path under the same hash part that could be accepted as well.
    pub(super) rival: Option<&'a StorePath>,
}

/// What one operator said.
#[derive(Default)]
pub(super) struct OperatorTally<'a> {
    /// `known(o)`: values that count, from logs in any state and from caches.
    pub(super) known: BTreeSet<FingerprintDigest>,
    /// Another store path under the same hash part of which it is known to have said something.
    pub(super) elsewhere: Option<&'a StorePath>,
    /// Values that add a vote: from a live log or a cache.
    heard: BTreeMap<FingerprintDigest, Heard<'a>>,
    /// Values that it said once and withdrew.
    pub(super) withdrawn: BTreeSet<FingerprintDigest>,
    /// Where it said what.
    pub(super) sources: Vec<Counted<'a>>,
    /// A log of it that said something is quarantined.
    quarantined: bool,
    /// Why one of its logs does not add votes.
    pub(super) reason: Option<String>,
}

/// What stands behind a vote.
#[derive(Default)]
pub(super) struct Heard<'a> {
    /// The published lists of inputs, each with the time since when its own statement is witnessed.
    pub(super) inputs: Vec<(&'a Inputs, Option<u64>)>,
    /// Since when it is witnessed, in POSIX seconds.
    pub(super) since_s: Option<u64>,
}

/// A statement that counts, with the policy line for which it does.
#[derive(Clone, Copy)]
pub(super) struct Counted<'a> {
    /// The statement.
    pub(super) statement: &'a Statement,
    /// The builder or cache.
    pub(super) voice: Voice<'a>,
    /// It is inside its builder's `since` and `until`. If not, no witness says when it was there: it adds no vote, and
    /// what it says still counts as dissent.
    pub(super) is_dated: bool,
}

impl Counted<'_> {
    /// A log takes back only what it said itself: a cache's signature stays a signature, whichever log carried it.
    pub(super) fn is_withdrawn(&self) -> bool {
        self.statement.withdrawn && matches!(self.voice, Voice::Builder(_))
    }
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
    /// Whose vote it is.
    pub(super) fn operator(self) -> &'a str {
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

impl<'a> OperatorTally<'a> {
    /// `vote(o)`: the only value that is known of it, under whichever name, if that comes from a live log or a cache.
    pub(super) fn vote(&self) -> Option<FingerprintDigest> {
        let mut known = self.known.iter();
        match (known.next(), known.next(), self.elsewhere) {
            (Some(value), None, None) if self.heard.contains_key(value) => Some(*value),
            _ => None,
        }
    }

    /// What stands behind its vote.
    pub(super) fn behind(&self) -> Option<&Heard<'a>> {
        self.heard.get(&self.vote()?)
    }

    /// Whether it votes, and if not, why.
    pub(super) fn state(&self) -> OperatorState {
        match (self.known.len(), self.elsewhere) {
            (0, _) => OperatorState::Silent,
            (1, None) if self.vote().is_some() => OperatorState::Votes,
            (1, None) if self.quarantined => OperatorState::Quarantined,
            (1, None) => OperatorState::Stale,
            _ => OperatorState::Contradicted,
        }
    }
}

impl<'a> Tally<'a> {
    /// Counts what was said about exactly this path in the evidence's store directory. Of other paths under the same
    /// hash part it says who spoke of one, and whether one could be accepted.
    pub(super) fn of(context: &Context<'a>, path: &StorePath, terms: Terms) -> Self {
        let part = context.part(&path.hash_part());
        let mut tally = Self {
            has_other_names: part.others(path).next().is_some(),
            rival: part.rival(path),
            ..Self::default()
        };
        for counted in part.said(path) {
            tally.count(context, *counted, terms);
        }
        for (operator, elsewhere) in part.elsewhere(path) {
            tally.operators.entry(operator).or_default().elsewhere = Some(elsewhere);
        }
        tally
    }

    fn count(&mut self, context: &Context<'a>, counted: Counted<'a>, terms: Terms) {
        let statement = counted.statement;
        let value = statement.value();
        let operator = self.operators.entry(counted.voice.operator()).or_default();
        if counted.is_withdrawn() {
            operator.withdrawn.insert(value);
            return;
        }
        operator.known.insert(value);
        operator.sources.push(counted);
        match adds_a_vote(context, counted, terms) {
            Ok(since_s) => {
                let heard = operator.heard.entry(value).or_default();
                let inputs = statement.inputs.iter();
                heard.inputs.extend(inputs.map(|inputs| (inputs, since_s)));
                heard.since_s = heard.since_s.into_iter().chain(since_s).min();
            }
            Err((is_quarantined, reason)) => {
                operator.quarantined |= is_quarantined;
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

    /// What builders told of their builds beside the value, whatever they voted for.
    pub(super) fn told(&self) -> Told<'a> {
        let mut told = Told::default();
        for counted in self.operators.values().flat_map(|one| &one.sources) {
            let Said::Build(build) = &counted.statement.said else {
                continue;
            };
            let system = (!build.system.is_empty()).then_some(build.system.as_str());
            let drv = build.derivation.as_ref().map(|(drv, _)| drv);
            told.add(system, drv, counted.is_dated);
        }
        told
    }

    /// Whether something that one of these operators said would count for more if more of it were known: the list of inputs
    /// that a build names could not be had, or no witness dates it.
    pub(super) fn is_partly_heard(&self, operators: &BTreeSet<&str>, needs_inputs: bool) -> bool {
        let said = self.operators.iter();
        let named = said.filter(|(operator, _)| operators.contains(**operator));
        named.flat_map(|(_, said)| &said.sources).any(|counted| {
            let statement = counted.statement;
            let lacks_inputs = match &statement.said {
                Said::Build(build) => build.inputs_blob.is_some() && statement.inputs.is_none(),
                Said::Observation(_) => false,
            };
            (needs_inputs && lacks_inputs) || !counted.is_dated
        })
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
pub(super) fn voices<'a>(policy: &'a Policy, statement: &Statement) -> Vec<Voice<'a>> {
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

/// Whether an entry is inside its builder's `since` and `until`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Window {
    /// It is, or there is neither.
    Inside,
    /// It is not.
    Outside,
    /// No witness says when it was there.
    Unknown,
}

/// Whether a statement is inside the `since` and `until` of the line for which it counts.
pub(super) fn window(context: &Context<'_>, statement: &Statement, voice: Voice<'_>) -> Window {
    let (Voice::Builder(builder), Source::Log { origin, index }) = (voice, &statement.source)
    else {
        return Window::Inside;
    };
    if builder.since_s.is_none() && builder.until_s.is_none() {
        return Window::Inside;
    }
    match context.observed_since(origin, *index) {
        None => Window::Unknown,
        Some(at) => {
            let is_early = builder.since_s.is_some_and(|since| at < since);
            let is_late = builder.until_s.is_some_and(|until| at > until);
            if is_early || is_late {
                Window::Outside
            } else {
                Window::Inside
            }
        }
    }
}

/// Whether a statement adds a vote now, and since when it is witnessed; if not, whether its log is quarantined, and
/// why. A signature is its own evidence, whatever log carries it.
fn adds_a_vote(
    context: &Context<'_>,
    counted: Counted<'_>,
    terms: Terms,
) -> Result<Option<u64>, (bool, String)> {
    let Counted {
        statement,
        voice,
        is_dated,
    } = counted;
    let since = match &statement.source {
        Source::Log { origin, index } => context.observed_since(origin, *index),
        Source::Unlogged => None,
    };
    if let Voice::Builder(builder) = voice {
        let live = context.live(builder, terms.max_age_s, terms.is_revived);
        live.map_err(|not| (not.is_quarantined, not.reason))?;
        if !is_dated {
            let reason = format!("no witness says when the log of {} had it", builder.name);
            return Err((false, reason));
        }
    }
    if terms.needs_inputs && statement.inputs.is_none() {
        let reason = format!(
            "{} publishes no list of what it was built with",
            voice.name()
        );
        return Err((false, reason));
    }
    Ok(since)
}
