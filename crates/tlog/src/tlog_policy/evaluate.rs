//! What a signed checkpoint is worth under a policy: whose log, who witnessed it, and as of when.
//!
//! As for every signed note, one bad signature by a known key rejects the whole; unknown keys are
//! ignored.

use std::fmt::Write as _;

use crate::{
    checkpoint::{Checkpoint, CheckpointError},
    log_key::LogKey,
    note::{KeyName, NoteSignature, SignedNote},
    witness::CLOCK_TOLERANCE,
};

use super::{Member, Quorum, TlogPolicy};

/// A checkpoint that satisfies a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The log's state.
    pub checkpoint: Checkpoint,
    /// Which witnesses cosigned, in the order of the policy; also those that the quorum does not
    /// count.
    pub witnesses: Vec<WitnessedBy>,
    /// The latest time in POSIX seconds such that the cosignatures of that time and later meet the
    /// quorum; `None` where the quorum is `none`.
    pub time: Option<u64>,
}

/// One witness's verified cosignature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessedBy {
    /// Index in [`TlogPolicy::witnesses`].
    pub witness: usize,
    /// Its name in the policy.
    pub name: String,
    /// When it cosigned, in POSIX seconds, never 0; the latest, where it cosigned twice.
    pub time: u64,
}

/// Whether a set of cosignatures is enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The quorum is met; with the time of [`Verified::time`].
    Met {
        /// In POSIX seconds; `None` where the quorum is `none`.
        time: Option<u64>,
    },
    /// It is not: what is missing, outermost first, never empty.
    NotMet {
        /// Each group, or the one witness, that is short.
        missing: Vec<Missing>,
    },
}

/// A group, or the one witness of a quorum, that has not witnessed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Its name.
    pub name: String,
    /// How many of its members have.
    pub have: usize,
    /// How many must.
    pub need: usize,
    /// The members that have not, in the order of the policy.
    pub without: Vec<String>,
}

/// A note does not satisfy a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The note is not a checkpoint.
    #[error(transparent)]
    NotACheckpoint(#[from] CheckpointError),
    /// The policy has no log of this origin.
    #[error("the log {origin} is not in the policy")]
    UnknownLog {
        /// The origin in the checkpoint.
        origin: String,
    },
    /// No known key of the log signed.
    #[error("none of the known keys of the log {origin} signed the checkpoint")]
    NotSigned {
        /// The log's origin.
        origin: String,
    },
    /// A known key is named, and its signature is wrong.
    #[error("the signature by {name} is not valid for the checkpoint")]
    BadSignature {
        /// The key's name.
        name: KeyName,
    },
    /// Not enough witnesses cosigned.
    #[error("the witness quorum is not met: {}", said(missing))]
    QuorumNotMet {
        /// What is missing, outermost first.
        missing: Vec<Missing>,
    },
}

/// A checkpoint is too old, or its age cannot be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotFresh {
    /// The policy asks for no cosignature, so nobody says when.
    #[error("the policy asks for no cosignatures, so the checkpoint's age is not known")]
    NoTime,
    /// Too long ago.
    #[error("its witness quorum is of {age} seconds ago, more than the permitted {max_age}")]
    Old {
        /// Its age in seconds.
        age: u64,
        /// The permitted age in seconds.
        max_age: u64,
    },
    /// Not yet.
    #[error("its witness quorum is of {ahead} seconds in the future: one of the clocks is wrong")]
    Future {
        /// How far ahead in seconds.
        ahead: u64,
    },
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Met { .. } => f.write_str("the witness quorum is met"),
            Self::NotMet { missing } => {
                write!(f, "the witness quorum is not met: {}", said(missing))
            }
        }
    }
}

impl Verified {
    /// Checks that the quorum is of at most `max_age` seconds before `now`, in POSIX seconds.
    ///
    /// # Errors
    /// It is older, or in the future by more than the tolerance of a minute, or has no time.
    pub fn check_fresh(&self, now: u64, max_age: u64) -> Result<(), NotFresh> {
        let time = self.time.ok_or(NotFresh::NoTime)?;
        let (age, ahead) = (now.saturating_sub(time), time.saturating_sub(now));
        if ahead > CLOCK_TOLERANCE {
            Err(NotFresh::Future { ahead })
        } else if age > max_age {
            Err(NotFresh::Old { age, max_age })
        } else {
            Ok(())
        }
    }
}

impl TlogPolicy {
    /// Checks a signed checkpoint: a log of the policy signed it, and enough witnesses cosigned.
    ///
    /// # Errors
    /// What keeps it from being believed.
    pub fn verify(&self, note: &SignedNote) -> Result<Verified, Violation> {
        let keys: Vec<&LogKey> = self.logs.iter().map(|log| &log.key).collect();
        self.verify_log(note, &keys)
    }

    /// [`TlogPolicy::verify`] where the log is known from elsewhere: only these keys are its.
    ///
    /// # Errors
    /// As [`TlogPolicy::verify`].
    pub fn verify_log(&self, note: &SignedNote, keys: &[&LogKey]) -> Result<Verified, Violation> {
        let checkpoint = Checkpoint::parse(note.text())?;
        let origin = || checkpoint.origin.clone();
        let own: Vec<&LogKey> = keys
            .iter()
            .copied()
            .filter(|key| key.name().as_str() == checkpoint.origin)
            .collect();
        if own.is_empty() {
            return Err(Violation::UnknownLog { origin: origin() });
        }
        let mut log_signed = false;
        let mut times = vec![None; self.witnesses.len()];
        for signature in note.signatures() {
            match self.signer(&checkpoint, signature, &own)? {
                Signer::Log => log_signed = true,
                Signer::Witness(index, time) => {
                    if let Some(latest) = times.get_mut(index) {
                        *latest = (*latest).max(Some(time));
                    }
                }
                Signer::Nobody => {}
            }
        }
        if !log_signed {
            return Err(Violation::NotSigned { origin: origin() });
        }
        match self.standing(&times) {
            Standing::NotMet { missing } => Err(Violation::QuorumNotMet { missing }),
            Standing::Met { time } => Ok(Verified {
                witnesses: self.witnessed(&times),
                checkpoint,
                time,
            }),
        }
    }

    /// Whether cosignatures of these times, one place a witness of the policy, meet the quorum.
    #[must_use]
    pub fn standing(&self, times: &[Option<u64>]) -> Standing {
        let Quorum::Of(quorum) = self.quorum else {
            return Standing::Met { time: None };
        };
        let groups = self.group_times(times);
        if let Some(time) = time_of(quorum, times, &groups) {
            return Standing::Met { time: Some(time) };
        }
        let mut missing = Vec::new();
        let mut pending = vec![quorum];
        while let Some(member) = pending.pop() {
            if let Some(short) = self.missing(member, times, &groups) {
                missing.push(short);
            }
            if let Some(group) = self.group_of(member) {
                let absent = |member: &&Member| time_of(**member, times, &groups).is_none();
                let inner = |member: &&Member| matches!(member, Member::Group(_));
                pending.extend(group.members.iter().rev().filter(inner).filter(absent));
            }
        }
        Standing::NotMet { missing }
    }

    /// The earliest time such that cosignatures of that time and before, one place a witness of the policy, meet the
    /// quorum; `None` where they do not, or where the quorum is `none`.
    #[must_use]
    pub fn met_since(&self, times: &[Option<u64>]) -> Option<u64> {
        let Quorum::Of(quorum) = self.quorum else {
            return None;
        };
        let mut groups: Vec<Option<u64>> = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            let members = group.members.iter();
            let mut of_members: Vec<u64> = members
                .filter_map(|member| time_of(*member, times, &groups))
                .collect();
            of_members.sort_unstable();
            groups.push(of_members.get(group.threshold.saturating_sub(1)).copied());
        }
        time_of(quorum, times, &groups)
    }

    /// For each group the latest time such that its members of that time and later are enough: the
    /// threshold-th latest of its members' times. Groups only name groups before them.
    fn group_times(&self, times: &[Option<u64>]) -> Vec<Option<u64>> {
        let mut groups: Vec<Option<u64>> = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            let mut of_members: Vec<Option<u64>> = group
                .members
                .iter()
                .map(|member| time_of(*member, times, &groups))
                .collect();
            of_members.sort_unstable_by(|a, b| b.cmp(a));
            let place = group.threshold.saturating_sub(1);
            groups.push(of_members.get(place).copied().flatten());
        }
        groups
    }

    fn missing(
        &self,
        member: Member,
        times: &[Option<u64>],
        groups: &[Option<u64>],
    ) -> Option<Missing> {
        let name = self.name_of(member);
        let Some(group) = self.group_of(member) else {
            return Some(Missing {
                without: vec![name.clone()],
                name,
                have: 0,
                need: 1,
            });
        };
        let without: Vec<String> = group
            .members
            .iter()
            .filter(|member| time_of(**member, times, groups).is_none())
            .map(|member| self.name_of(*member))
            .collect();
        Some(Missing {
            name,
            have: group.members.len().saturating_sub(without.len()),
            need: group.threshold,
            without,
        })
    }

    fn group_of(&self, member: Member) -> Option<&super::Group> {
        match member {
            Member::Group(index) => self.groups.get(index),
            Member::Witness(_) => None,
        }
    }

    fn witnessed(&self, times: &[Option<u64>]) -> Vec<WitnessedBy> {
        times
            .iter()
            .enumerate()
            .filter_map(|(witness, time)| {
                Some(WitnessedBy {
                    witness,
                    name: self.name_of(Member::Witness(witness)),
                    time: (*time)?,
                })
            })
            .collect()
    }

    /// Whose good signature a line is. Ids are short, so two known keys may share name and id.
    fn signer(
        &self,
        checkpoint: &Checkpoint,
        signature: &NoteSignature,
        logs: &[&LogKey],
    ) -> Result<Signer, Violation> {
        let mut known = false;
        for key in logs.iter().filter(|key| key.is_named_by(signature)) {
            known = true;
            if key.verifies(checkpoint, signature) {
                return Ok(Signer::Log);
            }
        }
        for (index, witness) in self.witnesses.iter().enumerate() {
            if !witness.key.is_named_by(signature) {
                continue;
            }
            known = true;
            match witness.key.verify(checkpoint, signature) {
                // Without a time it says nothing about the largest tree.
                Ok(0) => return Ok(Signer::Nobody),
                Ok(time) => return Ok(Signer::Witness(index, time)),
                Err(_) => {}
            }
        }
        if known {
            let name = signature.name().clone();
            return Err(Violation::BadSignature { name });
        }
        Ok(Signer::Nobody)
    }
}

enum Signer {
    Log,
    Witness(usize, u64),
    Nobody,
}

fn time_of(member: Member, times: &[Option<u64>], groups: &[Option<u64>]) -> Option<u64> {
    match member {
        Member::Witness(index) => times.get(index).copied().flatten(),
        Member::Group(index) => groups.get(index).copied().flatten(),
    }
}

/// `group "x" has 1 of 2, without b and c; …`.
fn said(missing: &[Missing]) -> String {
    let mut text = String::new();
    for (position, short) in missing.iter().enumerate() {
        let separator = if position == 0 { "" } else { "; " };
        let Missing {
            name,
            have,
            need,
            without,
        } = short;
        // Writing to a `String` cannot fail.
        let _ = if without.len() == 1 && without.first() == Some(name) {
            write!(text, "{separator}`{name}` has not cosigned")
        } else {
            let without = without.join(", ");
            write!(
                text,
                "{separator}`{name}` has {have} of {need}, without {without}"
            )
        };
    }
    text
}
