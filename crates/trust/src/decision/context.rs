//! What a decision is made from, and how each log stands at its moment.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::store_path::{HashPart, StorePath};
use quorix_tlog::tlog_policy::Standing;

use super::part::Part;
use super::tally::{Tally, Terms};
use crate::evidence::{Covering, Evidence, LogState};
use crate::policy::{Builder, Mode, Policy, Rule};

/// How far the clock of a witness may be ahead, in seconds.
const CLOCK_TOLERANCE_S: u64 = quorix_tlog::witness::CLOCK_TOLERANCE;

/// Which rules count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum World {
    /// Those in force.
    InForce,
    /// As if every `mode=warn` rule were in force.
    Enforced,
}

/// Policy, evidence and time.
pub(super) struct Context<'a> {
    pub(super) policy: &'a Policy,
    pub(super) evidence: &'a Evidence,
    /// POSIX seconds.
    pub(super) now_s: u64,
    pub(super) world: World,
    /// By origin, of each builder.
    logs: BTreeMap<&'a str, Dated>,
    /// Store paths whose content was recomputed, by hash part.
    recomputed: BTreeMap<HashPart, Vec<&'a StorePath>>,
    /// What counts under each hash part, made when it is first asked for.
    parts: RefCell<BTreeMap<HashPart, Rc<Part<'a>>>>,
    /// The tally that was asked for last: mostly the next one is of the same path on the same terms.
    last_tally: RefCell<Option<(StorePath, Terms, Rc<Tally<'a>>)>>,
    /// No decision on this evidence changes before this by time alone.
    pub(super) valid_until_s: Option<u64>,
}

/// What cosignatures say of a log.
struct Dated {
    /// Whether the witness quorum of its checkpoint is met, and as of when.
    standing: Standing,
    /// Sizes of checkpoints with the earliest time at which their quorum was met, none that does not have one.
    covers: Vec<(u64, u64)>,
}

/// Why a log adds no votes.
pub(super) struct NotLive {
    pub(super) is_quarantined: bool,
    pub(super) reason: String,
}

impl<'a> Context<'a> {
    pub(super) fn new(
        policy: &'a Policy,
        evidence: &'a Evidence,
        now_s: u64,
        world: World,
    ) -> Self {
        let mut recomputed: BTreeMap<HashPart, Vec<&StorePath>> = BTreeMap::new();
        for path in evidence.self_verified.keys() {
            recomputed.entry(path.hash_part()).or_default().push(path);
        }
        let builders = policy.builders.iter();
        let logs = builders.map(|builder| (builder.origin(), Dated::of(policy, evidence, builder)));
        let mut context = Self {
            policy,
            evidence,
            now_s,
            world,
            recomputed,
            parts: RefCell::default(),
            last_tally: RefCell::default(),
            logs: logs.collect(),
            valid_until_s: None,
        };
        context.valid_until_s = context.next_moment();
        context
    }

    /// Everything that counts under a hash part.
    pub(super) fn part(&self, part: &HashPart) -> Rc<Part<'a>> {
        if let Some(known) = self.parts.borrow().get(part) {
            return known.clone();
        }
        let found = Rc::new(Part::of(self, part));
        self.parts.borrow_mut().insert(part.clone(), found.clone());
        found
    }

    /// Who votes what on a path.
    pub(super) fn tally(&self, path: &StorePath, terms: Terms) -> Rc<Tally<'a>> {
        if let Some((of, on, tally)) = self.last_tally.borrow().as_ref()
            && *on == terms
            && of == path
        {
            return tally.clone();
        }
        let tally = Rc::new(Tally::of(self, path, terms));
        *self.last_tally.borrow_mut() = Some((path.clone(), terms, tally.clone()));
        tally
    }

    /// Store paths under a hash part whose content was recomputed, whatever the policy says of them.
    pub(super) fn recomputed_under(&self, part: &HashPart) -> impl Iterator<Item = &'a StorePath> {
        self.recomputed.get(part).into_iter().flatten().copied()
    }

    /// What a content-addressed path was verified to be, unless the policy denies the path.
    pub(super) fn self_verified(&self, path: &StorePath) -> Option<&'a Fingerprint> {
        let facts = self.evidence.self_verified.get(path)?;
        let is_denied = self.rule_in_force(path)?.mode == Mode::Deny;
        let is_of_path = facts.path == *path && facts.store_dir == self.evidence.store_dir;
        (!is_denied && is_of_path).then_some(facts)
    }

    /// The rule that is applied to a path first: the one selected, or where that is only shown its fallback.
    pub(super) fn rule_in_force(&self, path: &StorePath) -> Option<&'a Rule> {
        self.in_force(self.policy.rule_for(path, self.now_s)?)
    }

    /// A rule that was selected, or where it is only shown its fallback.
    pub(super) fn in_force(&self, mut rule: &'a Rule) -> Option<&'a Rule> {
        // A fallback is defined before the rule that names it, so this ends.
        while rule.mode == Mode::Warn && self.world == World::InForce {
            rule = self.policy.rules.get(rule.fallback?)?;
        }
        Some(rule)
    }

    /// Whether a log is LIVE (SEMANTICS §2) for a rule with this `max-age`. `is_revived` is as if what is merely stale
    /// were not.
    pub(super) fn live(
        &self,
        builder: &Builder,
        max_age_s: Option<u64>,
        is_revived: bool,
    ) -> Result<(), NotLive> {
        let name = &builder.name;
        let stale = |reason: String| {
            if is_revived {
                return Ok(());
            }
            Err(NotLive {
                is_quarantined: false,
                reason,
            })
        };
        let Some(log) = self.evidence.logs.get(builder.origin()) else {
            return stale(format!("the log of {name} was not read"));
        };
        match &log.state {
            LogState::Live => {}
            LogState::Stale { reason } => {
                return stale(format!("the log of {name} is stale: {reason}"));
            }
            LogState::Quarantined => {
                return Err(NotLive {
                    is_quarantined: true,
                    reason: format!("the log of {name} signed two contradicting checkpoints"),
                });
            }
        }
        let standing = self.logs.get(builder.origin()).map(|log| &log.standing);
        match (standing, max_age_s) {
            (Some(Standing::Met { time: Some(time) }), Some(max_age)) => {
                if *time > self.now_s.saturating_add(CLOCK_TOLERANCE_S) {
                    let ahead = time.saturating_sub(self.now_s);
                    return stale(format!(
                        "the witnesses of {name}'s log are {ahead} s ahead of this clock"
                    ));
                }
                let age = self.now_s.saturating_sub(*time);
                if age > max_age {
                    return stale(format!(
                        "the log of {name} is stale: its witness quorum is {age} s old, more than {max_age} s"
                    ));
                }
                Ok(())
            }
            (Some(Standing::Met { .. }), None) => Ok(()),
            (Some(Standing::Met { time: None }), Some(_)) | (None, _) => {
                stale(format!("the log of {name} has no time"))
            }
            (Some(not_met @ Standing::NotMet { .. }), _) => {
                stale(format!("the log of {name} is stale: {not_met}"))
            }
        }
    }

    /// Since when an entry of a log is witnessed, in POSIX seconds.
    pub(super) fn observed_since(&self, origin: &str, index: u64) -> Option<u64> {
        let covers = self.logs.get(origin)?.covers.iter();
        covers
            .filter(|(size, _)| index < *size)
            .map(|(_, since)| *since)
            .min()
    }

    /// The next moment at which some log grows too old for some rule, some value has been observed for long enough, or
    /// some grace or exemption ends. Decisions may well stay the same then; before, they do.
    fn next_moment(&self) -> Option<u64> {
        let mut next: Option<u64> = None;
        let mut note = |at: u64| {
            if at > self.now_s && next.is_none_or(|next| at < next) {
                next = Some(at);
            }
        };
        for rule in self.policy.all_rules() {
            for log in self.logs.values() {
                if let (Some(max_age), Standing::Met { time: Some(time) }) =
                    (rule.max_age_s, &log.standing)
                {
                    note(time.saturating_add(max_age).saturating_add(1));
                    note(time.saturating_sub(CLOCK_TOLERANCE_S));
                }
                if let Some(observed) = rule.min_observed_s {
                    let dates = log.covers.iter();
                    dates.for_each(|(_, since)| note(since.saturating_add(observed)));
                }
            }
            if let Some(grace) = rule.grace_s {
                let earlier = self.evidence.earlier.values();
                // One of the future, as by a clock that was put back, begins to count once it is none any more.
                for one in earlier {
                    note(one.at_s);
                    note(one.at_s.saturating_add(grace));
                }
            }
            let entries = rule.set.iter().flat_map(|set| set.entries.values());
            entries
                .filter_map(|entry| entry.until_s)
                .for_each(&mut note);
        }
        next
    }
}

impl Dated {
    fn of(policy: &Policy, evidence: &Evidence, builder: &Builder) -> Self {
        let log = evidence.logs.get(builder.origin());
        let operator = builder.operator.as_str();
        let current = log.map(|log| Covering {
            size: log.size,
            cosigned: log.cosigned.clone(),
        });
        let current_times = current
            .as_ref()
            .map(|current| policy.times(&current.cosigned, operator))
            .unwrap_or_default();
        let history = log.map(|log| log.history.as_slice()).unwrap_or_default();
        let covers = history.iter().chain(&current).filter_map(|covering| {
            let times = policy.times(&covering.cosigned, operator);
            Some((covering.size, policy.witnesses.met_since(&times)?))
        });
        Self {
            standing: policy.witnesses.standing(&current_times),
            covers: covers.collect(),
        }
    }
}
