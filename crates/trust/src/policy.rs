//! The policy file, parsed: who votes, how many must agree, and where which rule holds (SEMANTICS §1).
//!
//! A parsed policy is sound: every name is defined before it is used, every group can be satisfied, no operator
//! can count twice in one group, and no key speaks for two operators. What is not known is refused by name, never
//! ignored. Files that a policy names (`include`, `set=`) come through [`PolicyFiles`], so that nothing here reads one.

mod error;
mod files;
mod init;
mod line;
mod lint;
mod parse;
mod set;
#[cfg(test)]
mod tests;
mod when;
mod witnesses;

pub use error::PolicyError;
pub use files::{NoFiles, PolicyFiles};
pub use init::{First, first_policy};
pub use parse::date;
pub use set::{SET_BYTES_MAX, SetEntry, SetError, SignedSet, moment};
pub use when::{Applies, CelRule, Condition, Told, ToldPair};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorix_nix::fingerprint::FingerprintDigest;
use quorix_nix::signature::PublicKey;
use quorix_nix::store_path::StorePath;
use quorix_tlog::note::VerifierKey;
use quorix_tlog::tlog_policy::{Quorum, TlogPolicy};

/// The most bytes that a policy file may have.
pub const POLICY_BYTES_MAX: usize = 1024 * 1024;

/// A parsed policy file.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The file's text, with the text of what it includes in place of each `include` line. Lines count in it.
    pub text: String,
    /// Bytes of the signed sets that the rules name, by the name in the file.
    pub sets: BTreeMap<String, Vec<u8>>,
    /// Logs that vote, in the order of the file.
    pub builders: Vec<Builder>,
    /// Binary caches whose signatures vote, in the order of the file.
    pub caches: Vec<Cache>,
    /// Groups of voters, in the order of the file.
    pub voters: Vec<Voters>,
    /// Rules, in the order of the file.
    pub rules: Vec<Rule>,
    /// Rules that hold in addition, in the order of the file.
    pub also: Vec<Also>,
    /// Values that an operator superseded.
    pub disregarded: Vec<Disregard>,
    /// Watched logs, witnesses, their groups and the quorum of them.
    pub witnesses: TlogPolicy,
    /// Whose each witness is, where it is said; as long as `witnesses.witnesses`.
    pub witness_operators: Vec<Option<String>>,
    /// Index in `rules` of the rule that holds where no other is selected.
    pub default: usize,
    /// What a careful reader should know: sentences with their line.
    pub warnings: Vec<String>,
}

/// `builder`: a log that votes for its operator.
#[derive(Clone, Debug)]
pub struct Builder {
    /// Its name in the policy.
    pub name: String,
    /// The key of its log; the name of the key is the log's origin.
    pub key: VerifierKey,
    /// Where the log is read: its own address and mirrors, at least one.
    pub urls: Vec<String>,
    /// Whose vote it is.
    pub operator: String,
    /// The key with which this builder signs for Nix.
    pub nix_key: Option<PublicKey>,
    /// Entries first witnessed before this do not count. POSIX seconds.
    pub since_s: Option<u64>,
    /// Entries first witnessed after this do not count. POSIX seconds.
    pub until_s: Option<u64>,
    /// `tag=K:V` options.
    pub tags: Vec<(String, String)>,
    /// Line in the file, from 1.
    pub line: usize,
}

impl Builder {
    /// The name of its log (C2SP origin).
    #[must_use]
    pub fn origin(&self) -> &str {
        self.key.name().as_str()
    }
}

/// `cache`: a binary cache whose signatures are its operator's votes.
#[derive(Clone, Debug)]
pub struct Cache {
    /// Its name in the policy.
    pub name: String,
    /// The key that it signs with.
    pub key: PublicKey,
    /// Where it answers.
    pub url: String,
    /// Whose vote it is.
    pub operator: String,
    /// Line in the file, from 1.
    pub line: usize,
}

/// `voters`: a group, satisfied when enough of its members are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voters {
    /// Its name.
    pub name: String,
    /// How much weight must be satisfied; 1 to the sum of the weights.
    pub threshold: usize,
    /// Its members, never empty.
    pub members: Vec<Member>,
    /// The weight of each member, as long as `members`; 1 each unless the group is `weighted`.
    pub weights: Vec<usize>,
    /// Line in the file, from 1.
    pub line: usize,
}

/// A member of a group of voters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// An operator, by name.
    Operator(String),
    /// Another group: index in [`Policy::voters`], lower than that of the group it is in.
    Voters(usize),
}

/// `rule`: what must hold for an output to be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// The one path that selects it. Without path and set it holds as default or fallback.
    pub path: Option<StorePath>,
    /// The signed set of paths that selects it.
    pub set: Option<Arc<SignedSet>>,
    /// Index of the group that must be satisfied. `None` only with [`Mode::Deny`].
    pub quorum: Option<usize>,
    /// Index of a group that must be satisfied as well.
    pub require: Option<usize>,
    /// Index of a group any operator of which can refuse.
    pub veto: Option<usize>,
    /// How far agreement must reach.
    pub level: Level,
    /// The oldest that the witness quorum of a log may be to count as live. Seconds.
    pub max_age_s: Option<u64>,
    /// How long a value must have been witnessed. Seconds.
    pub min_observed_s: Option<u64>,
    /// How long an earlier acceptance outlives staleness. Seconds.
    pub grace_s: Option<u64>,
    /// Whether it is in force.
    pub mode: Mode,
    /// Index of the rule tried when this one has too few votes; lower than that of this rule.
    pub fallback: Option<usize>,
    /// Line in the file, from 1.
    pub line: usize,
    /// The line's text.
    pub text: String,
}

/// `also`: a rule that holds in addition to the one selected, wherever its condition is met. It can only narrow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Also {
    /// Where it holds.
    pub when: Condition,
    /// What must hold; never with a fallback, a grace or a mode.
    pub rule: Rule,
}

/// `disregard`: a value that an operator superseded; it counts for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disregard {
    /// Whose value.
    pub operator: String,
    /// Of which output.
    pub path: StorePath,
    /// The value.
    pub value: FingerprintDigest,
}

/// How far agreement must reach, each level further than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The path alone.
    Path,
    /// The path and everything that it refers to.
    Closure,
    /// Also everything that it was built with: a vote counts once all that its list of inputs names is accepted.
    Build,
    /// Also with exactly the accepted bytes: a vote counts once its list of inputs names the accepted values.
    Resolved,
}

/// Whether a rule is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In force.
    Enforce,
    /// Computed and shown; its fallback is in force.
    Warn,
    /// Nothing is ever accepted.
    Deny,
}

impl Policy {
    /// Parses a policy that names no other file.
    ///
    /// # Errors
    /// [`PolicyError`] with line, column and what to do, at the first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        parse::parse(text, &NoFiles)
    }

    /// Parses a policy with the files that it names.
    ///
    /// # Errors
    /// As [`Policy::parse`]; an included file's name stands with the line.
    pub fn parse_with(text: &str, files: &dyn PolicyFiles) -> Result<Self, PolicyError> {
        parse::parse(text, files)
    }

    /// Every operator, in the order in which the file first names it.
    #[must_use]
    pub fn operators(&self) -> Vec<&str> {
        let mut named: Vec<(usize, &str)> = Vec::new();
        named.extend(
            self.builders
                .iter()
                .map(|builder| (builder.line, builder.operator.as_str())),
        );
        named.extend(
            self.caches
                .iter()
                .map(|cache| (cache.line, cache.operator.as_str())),
        );
        named.sort_unstable();
        let mut seen = BTreeSet::new();
        named
            .into_iter()
            .map(|(_, operator)| operator)
            .filter(|operator| seen.insert(*operator))
            .collect()
    }

    /// The rule selected for a path: the first one with exactly this path or with a set that has it at `now_s`
    /// (POSIX seconds), else the default.
    #[must_use]
    pub fn rule_for(&self, path: &StorePath, now_s: u64) -> Option<&Rule> {
        let is_for = |rule: &&Rule| {
            let by_set = |set: &Arc<SignedSet>| set.has(path, now_s);
            rule.path.as_ref() == Some(path) || rule.set.as_ref().is_some_and(by_set)
        };
        let selected = self.rules.iter().find(is_for);
        selected.or_else(|| self.rules.get(self.default))
    }

    /// Whether deciding one output can depend on others: some rule asks for more than the path itself.
    #[must_use]
    pub fn asks_for_references(&self) -> bool {
        self.all_rules().any(|rule| rule.level > Level::Path)
    }

    /// Whether some rule asks for what was built with.
    #[must_use]
    pub fn asks_for_inputs(&self) -> bool {
        self.all_rules().any(|rule| rule.level >= Level::Build)
    }

    /// Whether it matters since when entries of this builder's log are witnessed: it has a `since` or an `until`, or
    /// some rule a `min-observed`.
    #[must_use]
    pub fn asks_since_when(&self, builder: &Builder) -> bool {
        builder.since_s.is_some()
            || builder.until_s.is_some()
            || self.all_rules().any(|rule| rule.min_observed_s.is_some())
    }

    /// The rules, then the `also` rules.
    pub fn all_rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules
            .iter()
            .chain(self.also.iter().map(|also| &also.rule))
    }

    /// True if a witness quorum is asked for, so that checkpoints have a time.
    #[must_use]
    pub fn has_witness_quorum(&self) -> bool {
        self.witnesses.quorum != Quorum::None
    }

    /// True if this value of an operator was superseded.
    #[must_use]
    pub fn is_disregarded(
        &self,
        operator: &str,
        path: &StorePath,
        value: &FingerprintDigest,
    ) -> bool {
        self.disregarded
            .iter()
            .any(|one| one.operator == operator && one.path == *path && one.value == *value)
    }

    /// The operators in a group, at any depth, in the order of the file.
    #[must_use]
    pub fn operators_of(&self, group: usize) -> Vec<&str> {
        let mut operators = Vec::new();
        let mut pending = vec![group];
        // Groups only contain groups defined before them, so this ends.
        while let Some(voters) = pending.pop().and_then(|index| self.voters.get(index)) {
            for member in &voters.members {
                match member {
                    Member::Operator(operator) => operators.push(operator.as_str()),
                    Member::Voters(inner) => pending.push(*inner),
                }
            }
        }
        operators
    }

    /// `sat(G, v)` of SEMANTICS §3: enough members of the group are satisfied, where `votes` says of an operator
    /// whether it is. The denominator is the listed members, whoever is silent.
    pub fn is_satisfied(&self, group: usize, votes: &impl Fn(&str) -> bool) -> bool {
        let Some(voters) = self.voters.get(group) else {
            return false;
        };
        let satisfied = voters.members.iter().zip(&voters.weights);
        let satisfied = satisfied.filter(|(member, _)| match member {
            Member::Operator(operator) => votes(operator),
            Member::Voters(inner) => *inner < group && self.is_satisfied(*inner, votes),
        });
        satisfied.fold(0_usize, |sum, (_, weight)| sum.saturating_add(*weight)) >= voters.threshold
    }
}
