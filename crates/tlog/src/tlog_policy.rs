//! Policies over witnesses: which logs are known, who the witnesses are, and how many of them must
//! have cosigned a checkpoint.
//!
//! A parsed policy is sound: names are defined before they are used, nobody counts twice, every
//! group can be satisfied. Says nothing about what a log's entries mean; that is the policy over
//! builders. Names are octets, compared as they are. Specification: C2SP tlog-policy.

use std::fmt;

use crate::{cosignature::CosignerKey, log_key::LogKey};

mod error;
mod evaluate;
mod parse;

pub use error::TlogPolicyError;
pub use evaluate::{Missing, NotFresh, Standing, Verified, Violation, WitnessedBy};

/// The most bytes that a policy may have.
pub const MAX_POLICY_LENGTH: usize = 1 << 20;

/// The most logs, the most witnesses and the most groups, each. The specification asks for 32.
pub const MAX_DEFINITIONS: usize = 256;

/// A policy over witnesses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogPolicy {
    /// Known logs, in the order of the file.
    pub logs: Vec<PolicyLog>,
    /// Known witnesses, in the order of the file.
    pub witnesses: Vec<PolicyWitness>,
    /// Groups of witnesses, in the order of the file.
    pub groups: Vec<Group>,
    /// Who must have cosigned.
    pub quorum: Quorum,
}

/// `log`: a log whose checkpoints may be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyLog {
    /// Its key, named after its origin.
    pub key: LogKey,
    /// Where it is, if said.
    pub url: Option<String>,
    /// Line in the file, from 1.
    pub line: usize,
}

/// `witness`: someone whose cosignatures count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyWitness {
    /// Its name in this policy, which has no meaning elsewhere.
    pub name: PolicyName,
    /// Its key.
    pub key: CosignerKey,
    /// Its submission prefix, if said.
    pub url: Option<String>,
    /// Line in the file, from 1.
    pub line: usize,
}

/// `group`: has witnessed a checkpoint when enough of its members have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name in this policy.
    pub name: PolicyName,
    /// How many members are enough: 1 to the number of members.
    pub threshold: usize,
    /// Its members, never none. Nobody is a member of two groups.
    pub members: Vec<Member>,
    /// Line in the file, from 1.
    pub line: usize,
}

/// A member of a group, and what a quorum can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member {
    /// Index in [`TlogPolicy::witnesses`].
    Witness(usize),
    /// Index in [`TlogPolicy::groups`], lower than that of the group it is in.
    Group(usize),
}

/// `quorum`: who must have cosigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quorum {
    /// Nobody: the log's own signature is enough.
    None,
    /// This witness, or this group.
    Of(Member),
}

/// Name of a witness or a group: octets without spaces, tabs and control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyName(Vec<u8>);

impl PolicyName {
    /// The name's octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for PolicyName {
    /// For people: octets that are not UTF-8 are replaced.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

impl TlogPolicy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// The first thing that is wrong, with line, column and what to do.
    pub fn parse(bytes: &[u8]) -> Result<Self, TlogPolicyError> {
        parse::parse(bytes)
    }

    /// The policy that asks for nobody and knows no log: `quorum none`.
    #[must_use]
    pub const fn nobody() -> Self {
        Self {
            logs: Vec::new(),
            witnesses: Vec::new(),
            groups: Vec::new(),
            quorum: Quorum::None,
        }
    }

    /// The witnesses that the quorum counts, as indices in the order of the file. Others are known
    /// and their cosignatures may be carried, but nothing depends on them.
    #[must_use]
    pub fn counted(&self) -> Vec<usize> {
        let mut counted = Vec::new();
        let mut pending = match self.quorum {
            Quorum::None => Vec::new(),
            Quorum::Of(member) => vec![member],
        };
        // Groups only have members defined before them, so this ends.
        while let Some(member) = pending.pop() {
            match member {
                Member::Witness(witness) => counted.push(witness),
                Member::Group(group) => {
                    if let Some(group) = self.groups.get(group) {
                        pending.extend(&group.members);
                    }
                }
            }
        }
        counted.sort_unstable();
        counted
    }

    /// The name of a member.
    #[must_use]
    pub fn name_of(&self, member: Member) -> String {
        let name = match member {
            Member::Witness(index) => self.witnesses.get(index).map(|witness| &witness.name),
            Member::Group(index) => self.groups.get(index).map(|group| &group.name),
        };
        name.map(ToString::to_string).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
