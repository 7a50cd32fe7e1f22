//! The policy file, parsed: who votes, how many must agree, and where which rule holds (SEMANTICS §1).
//!
//! A parsed policy is sound: every name is defined before it is used, every group can be satisfied, no operator
//! can count twice in one group, and no key speaks for two operators. What this version cannot enforce (witness
//! quorums, `also` rules, signed sets, levels `build` and `resolved`) is refused by name, never ignored.

mod check;
mod error;
mod line;
mod parse;
#[cfg(test)]
mod tests;

pub use error::PolicyError;

use std::collections::BTreeSet;

use quorix_nix::signature::PublicKey;
use quorix_nix::store_path::StorePath;
use quorix_tlog::note::VerifierKey;

/// The most bytes that a policy file may have.
pub const POLICY_BYTES_MAX: usize = 1024 * 1024;

/// A parsed policy file.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The file's text, verbatim.
    pub text: String,
    /// Logs that vote, in the order of the file.
    pub builders: Vec<Builder>,
    /// Binary caches whose signatures vote, in the order of the file.
    pub caches: Vec<Cache>,
    /// Groups of voters, in the order of the file.
    pub voters: Vec<Voters>,
    /// Rules, in the order of the file.
    pub rules: Vec<Rule>,
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
    /// How many members must be satisfied; 1 to the number of members.
    pub threshold: usize,
    /// Its members, never empty.
    pub members: Vec<Member>,
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
    /// The one path that selects it. Without one it holds as default or fallback.
    pub path: Option<StorePath>,
    /// Index of the group that must be satisfied. `None` only with [`Mode::Deny`].
    pub quorum: Option<usize>,
    /// Index of a group that must be satisfied as well.
    pub require: Option<usize>,
    /// Index of a group any operator of which can refuse.
    pub veto: Option<usize>,
    /// How far agreement must reach.
    pub level: Level,
    /// Whether it is in force.
    pub mode: Mode,
    /// Index of the rule tried when this one has too few votes; lower than that of this rule.
    pub fallback: Option<usize>,
    /// Line in the file, from 1.
    pub line: usize,
    /// The line's text.
    pub text: String,
}

/// How far agreement must reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The path alone.
    Path,
    /// The path and everything that it refers to.
    Closure,
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
    /// Parses a policy file.
    ///
    /// # Errors
    /// [`PolicyError`] with line, column and what to do, at the first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        parse::parse(text)
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

    /// The rule selected for a path: the first one with exactly this path, else the default.
    #[must_use]
    pub fn rule_for(&self, path: &StorePath) -> Option<&Rule> {
        self.rules
            .iter()
            .find(|rule| rule.path.as_ref() == Some(path))
            .or_else(|| self.rules.get(self.default))
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
        let satisfied = voters.members.iter().filter(|member| match member {
            Member::Operator(operator) => votes(operator),
            Member::Voters(inner) => *inner < group && self.is_satisfied(*inner, votes),
        });
        satisfied.count() >= voters.threshold
    }
}
