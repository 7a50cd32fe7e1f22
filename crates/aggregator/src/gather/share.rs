//! What one log may take of an answer: a log that says too much about what is asked is left out of it, so that it
//! costs the others nothing.
//!
//! The rule. Bytes are counted by log, as they are read: entries, proofs, retractions, and a list of references once
//! for each statement that names it. When all of it is more than an answer may have, the log that took most is left
//! out if it took more than its share (the limit by the number of logs and one more, for the caches) and more than
//! twice what the others took on average. It is stale in this evidence: no vote, a veto that is unavailable, no
//! fallback. Of what it said stays, as dissent (SEMANTICS §2), the earliest statement of each value about an output
//! that it did not withdraw, until one no longer fits in its share; a build without its list of references, which
//! only an accepted vote needs. Then the next log, until it fits or no log is to blame.
//!
//! So one log costs the others no more than its share or twice what one of them says; a log within its share is never
//! left out and loses no dissent; and where all said about the same, too much was asked: that is an error, and
//! nobody's dissent is dropped. What is dropped beyond a share is what its log could as well have kept to itself.

use std::collections::{BTreeMap, BTreeSet};

use quorix_nix::fingerprint::FingerprintDigest;
use quorix_nix::store_path::HashPart;
use quorix_trust::attestation::BlobId;
use quorix_trust::evidence::{LogState, Said, Statement};
use quorix_trust::ports::{IndexedStatement, Place};

use super::{Found, Gathered};
use crate::error::AskError;

/// Why a log is stale in an answer that it is left out of.
pub(crate) const SAID_TOO_MUCH: &str = "it said too much about what was asked";
/// How many times more than the others on average a log may say before it is to blame.
const TIMES_THE_OTHERS: usize = 2;

/// Values that logs said about one output: name of the log, whose voice it is, the value.
pub(super) type Values = BTreeSet<(String, String, FingerprintDigest)>;

/// Counts bytes by log.
pub(super) struct Shares {
    limit: usize,
    logs: usize,
    /// Bytes by log.
    used: BTreeMap<String, usize>,
    /// Bytes of all logs and of caches.
    total: usize,
    /// Logs that are left out; true once something did not fit in the share.
    left_out: BTreeMap<String, bool>,
}

/// What is read of one statement.
pub(super) struct Read {
    pub(super) statement: Statement,
    pub(super) found: Found,
    /// The list of references that it names, where it is there and needed.
    pub(super) list: Option<Vec<u8>>,
}

impl Shares {
    pub(super) fn new(limit: usize, logs: usize) -> Self {
        Self {
            limit,
            logs,
            used: BTreeMap::new(),
            total: 0,
            left_out: BTreeMap::new(),
        }
    }

    /// # Errors
    /// There is too much, and no one log is to blame.
    pub(super) fn check(&self) -> Result<(), AskError> {
        if self.is_exceeded() {
            Err(AskError::TooMuch {
                limit: self.limit,
                unit: "bytes",
            })
        } else {
            Ok(())
        }
    }

    pub(super) fn is_exceeded(&self) -> bool {
        self.total > self.limit
    }

    pub(super) fn is_left_out(&self, origin: &str) -> bool {
        self.left_out.contains_key(origin)
    }

    /// The logs that are left out.
    pub(super) fn left_out(&self) -> BTreeSet<String> {
        self.left_out.keys().cloned().collect()
    }

    /// Whether a statement may stay of a log of this size that is left out. It is asked before anything is read,
    /// which bounds the work that such a log makes.
    pub(super) fn may_stay(
        &self,
        origin: &str,
        indexed: &IndexedStatement,
        size: u64,
        values: &Values,
    ) -> bool {
        let value = (origin.to_owned(), indexed.voice.clone(), indexed.value);
        indexed.withdrawn_by.is_none_or(|by| by >= size)
            && !values.contains(&value)
            && self.left_out.get(origin).is_some_and(|is_full| !is_full)
    }

    fn share(&self) -> usize {
        self.limit
            .checked_div(self.logs.saturating_add(1))
            .unwrap_or(self.limit)
    }

    /// The log to blame for too much.
    fn loudest(&self) -> Option<String> {
        let heard = self.used.iter().filter(|(log, _)| !self.is_left_out(log));
        let (loudest, used) = heard.max_by_key(|(_, used)| **used)?;
        let all = self.used.values().copied().fold(0, usize::saturating_add);
        let others = self.logs.saturating_sub(1);
        let is_louder = used.saturating_mul(others)
            > all.saturating_sub(*used).saturating_mul(TIMES_THE_OTHERS);
        // Alone, a log is compared with nobody.
        (*used > self.share() && (is_louder || others == 0)).then(|| loudest.clone())
    }

    fn take(&mut self, found: &Found) {
        self.total = self.total.saturating_add(found.cost);
        if let Some(origin) = found.origin() {
            let used = self.used.entry(origin.to_owned()).or_default();
            *used = used.saturating_add(found.cost);
        }
    }

    fn give_back(&mut self, found: &Found) {
        self.total = self.total.saturating_sub(found.cost);
        if let Some(used) = found.origin().and_then(|origin| self.used.get_mut(origin)) {
            *used = used.saturating_sub(found.cost);
        }
    }

    /// True if a statement of a log that is left out fits in its share. The first one that does not is the last one.
    fn fits(&mut self, origin: &str, cost: usize) -> bool {
        let used = self.used.get(origin).copied().unwrap_or_default();
        let fits = used.saturating_add(cost) <= self.share();
        match self.left_out.get_mut(origin) {
            Some(is_full) if !fits => *is_full = true,
            Some(is_full) => return !*is_full,
            None => {}
        }
        fits
    }
}

impl Gathered {
    /// Makes room for an output that is read, again or for the first time. What stays of logs that are left out is
    /// not read again.
    pub(super) fn begin(&mut self, output: &HashPart) {
        let (statements, found) = self.take_output(output);
        let (mut stay, mut stay_found) = (Vec::new(), Vec::new());
        for (statement, one) in statements.into_iter().zip(found) {
            if one.origin().is_some_and(|log| self.shares.is_left_out(log)) {
                stay.push(statement);
                stay_found.push(one);
            } else {
                self.shares.give_back(&one);
            }
        }
        self.evidence.outputs.insert(output.clone(), stay);
        self.found.insert(output.clone(), stay_found);
    }

    /// Keeps what was read, and leaves out logs until all of it fits, or no log is to blame.
    pub(super) fn keep(&mut self, output: &HashPart, read: Read, values: &mut Values) {
        let Read {
            statement,
            found,
            list,
        } = read;
        if let Some(origin) = found.origin() {
            let is_left_out = self.shares.is_left_out(origin);
            if is_left_out && !self.shares.fits(origin, found.cost) {
                return;
            }
            values.extend(value(&statement, &found, origin));
        }
        if let (Some((id, _)), Some(list)) = (found.list, list) {
            self.blobs.insert(id, list);
        }
        self.shares.take(&found);
        let outputs = &mut self.evidence.outputs;
        outputs.entry(output.clone()).or_default().push(statement);
        self.found.entry(output.clone()).or_default().push(found);
        while self.shares.is_exceeded()
            && let Some(loudest) = self.shares.loudest()
        {
            self.leave_out(&loudest);
        }
    }

    fn leave_out(&mut self, origin: &str) {
        let used = self.shares.used.get(origin).copied().unwrap_or_default();
        tracing::warn!(
            log = origin,
            bytes = used,
            limit = self.shares.limit,
            "a log adds no votes to an answer: {SAID_TOO_MUCH}"
        );
        self.shares.left_out.insert(origin.to_owned(), false);
        self.missing.remove(origin);
        let states = self.evidence.logs.get_mut(origin).map(|log| &mut log.state);
        let snapshots = self.logs.iter_mut();
        let standings = snapshots
            .filter(|seen| seen.log.origin == origin)
            .map(|seen| &mut seen.standing.state);
        for state in states.into_iter().chain(standings) {
            // Proof that it contradicted itself weighs more.
            if *state != LogState::Quarantined {
                *state = LogState::Stale {
                    reason: SAID_TOO_MUCH.to_owned(),
                };
            }
        }
        self.shorten(origin);
    }

    /// Drops what does not stay of a log that is left out, and lists of references that nothing needs any more.
    fn shorten(&mut self, origin: &str) {
        let outputs: Vec<HashPart> = self.found.keys().cloned().collect();
        // All of it is given back first: what stays is what would have been read of a log that was left out before.
        for one in self.found.values().flatten() {
            if one.origin() == Some(origin) {
                self.shares.give_back(one);
            }
        }
        let mut needed: BTreeSet<BlobId> = BTreeSet::new();
        for output in outputs {
            let (statements, found) = self.take_output(&output);
            let (mut stay, mut stay_found) = (Vec::new(), Vec::new());
            let mut values = Values::new();
            for (mut statement, mut one) in statements.into_iter().zip(found) {
                if one.origin() == Some(origin) {
                    one.withhold_list(&mut statement);
                    let value = value(&statement, &one, origin);
                    let is_known = value.as_ref().is_some_and(|value| values.contains(value));
                    if statement.withdrawn || is_known || !self.shares.fits(origin, one.cost) {
                        continue;
                    }
                    values.extend(value);
                    self.shares.take(&one);
                }
                needed.extend(one.list.map(|(id, _)| id));
                needed.extend(one.inputs);
                stay.push(statement);
                stay_found.push(one);
            }
            self.evidence.outputs.insert(output.clone(), stay);
            self.found.insert(output, stay_found);
        }
        self.blobs.retain(|id, _| needed.contains(id));
    }

    fn take_output(&mut self, output: &HashPart) -> (Vec<Statement>, Vec<Found>) {
        let statements = self.evidence.outputs.remove(output).unwrap_or_default();
        let found = self.found.remove(output).unwrap_or_default();
        (statements, found)
    }
}

impl Found {
    /// The log that it stands in.
    pub(super) fn origin(&self) -> Option<&str> {
        match &self.place {
            Place::Leaf { origin, .. } => Some(origin),
            Place::Unlogged { .. } => None,
        }
    }

    /// Leaves a build without its list of references. An observation keeps it: its signature is over the list too.
    fn withhold_list(&mut self, statement: &mut Statement) {
        if let (Some((_, bytes)), Said::Build(_)) = (self.list, &statement.said) {
            self.list = None;
            self.cost = self.cost.saturating_sub(bytes);
            statement.facts = None;
        }
        if let Said::Build(_) = &statement.said {
            self.inputs = None;
            statement.inputs = None;
        }
    }
}

/// The value that a statement makes known; `None` for one that counts for nobody or is withdrawn, which must not
/// stand in the way of one that counts.
fn value(
    statement: &Statement,
    found: &Found,
    origin: &str,
) -> Option<(String, String, FingerprintDigest)> {
    let counts = matches!(statement.said, Said::Build(_)) || found.voice != origin;
    (counts && !statement.withdrawn)
        .then(|| (origin.to_owned(), found.voice.clone(), statement.value()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(origin: &str, cost: usize) -> Found {
        Found {
            place: Place::Leaf {
                origin: origin.to_owned(),
                index: 0,
            },
            voice: origin.to_owned(),
            bytes: Vec::new(),
            withdrawn_by: None,
            cost,
            list: None,
            inputs: None,
        }
    }

    fn shares(logs: usize, used: &[(&str, usize)]) -> Shares {
        let mut shares = Shares::new(100, logs);
        for (origin, cost) in used {
            shares.take(&found(origin, *cost));
        }
        shares
    }

    #[test]
    fn the_log_that_took_most_is_to_blame() {
        let shares = shares(3, &[("alice", 20), ("bob", 20), ("mallory", 61)]);
        assert!(shares.is_exceeded());
        assert_eq!(shares.loudest(), Some("mallory".to_owned()));
    }

    #[test]
    fn where_all_said_about_the_same_too_much_was_asked() {
        let shares = shares(3, &[("alice", 30), ("bob", 31), ("mallory", 40)]);
        assert_eq!(shares.loudest(), None);
        assert_eq!(
            shares.check(),
            Err(AskError::TooMuch {
                limit: 100,
                unit: "bytes"
            })
        );
    }

    #[test]
    fn a_log_within_its_share_is_never_to_blame() {
        let mut shares = shares(3, &[("alice", 25)]);
        assert_eq!(shares.loudest(), None);
        shares.take(&found("alice", 1));
        assert_eq!(shares.loudest(), Some("alice".to_owned()));
    }

    #[test]
    fn what_no_longer_fits_in_the_share_of_a_log_ends_it() {
        let mut shares = shares(1, &[]);
        shares.left_out.insert("mallory".to_owned(), false);
        assert!(shares.fits("mallory", 50));
        assert!(!shares.fits("mallory", 51));
        assert!(!shares.fits("mallory", 1));
    }
}
