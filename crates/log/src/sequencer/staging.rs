//! The entries of one round before they are appended: which are new, at which index, and what they withdraw.
//!
//! Takes a request whole or not at all. Never writes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use quorix_tlog::hash::Hash;
use quorix_trust::attestation::{BlobId, Entry};
use quorix_trust::ports::{LogStore, StoreError};
use quorix_wire::entry::decode;

use crate::error::{EntryProblem, SubmitError};
use crate::request::{Checked, Request};
use crate::service::Receipt;
use crate::tree::{End, stored_entry, stored_leaf};

/// What a round appends.
#[derive(Default)]
pub(super) struct Staged {
    pub(super) entries: Vec<Checked>,
    pub(super) blobs: Vec<(BlobId, Vec<u8>)>,
    pub(super) retractions: Vec<(Hash, u64)>,
    /// How the log ends with this round, if it does, or has ended.
    pub(super) end: Option<End>,
}

/// A round in the making.
pub(super) struct Staging<'a> {
    store: &'a dyn LogStore,
    /// Size of the tree before the round.
    size: u64,
    entries: Vec<Checked>,
    blobs: BTreeMap<BlobId, Vec<u8>>,
    new: New,
    /// Nothing is taken after it.
    end: Option<End>,
}

/// Indices of what the round adds: the newest of each leaf, and of the newest retraction of each leaf.
#[derive(Clone, Default)]
struct New {
    leaves: HashMap<Hash, u64>,
    retractions: HashMap<Hash, u64>,
}

impl<'a> Staging<'a> {
    /// A round on top of a tree of this size, which may be the last one.
    pub(super) fn new(store: &'a dyn LogStore, size: u64, end: Option<End>) -> Self {
        Self {
            store,
            size,
            entries: Vec::new(),
            blobs: BTreeMap::new(),
            new: New::default(),
            end,
        }
    }

    /// Takes a request and says where its entries are, or refuses it whole.
    pub(super) fn take(&mut self, request: Request) -> Result<Vec<Receipt>, SubmitError> {
        let failed = |error: StoreError| SubmitError::Unavailable {
            reason: error.to_string(),
        };
        let stored = self.stored(&request.entries).map_err(failed)?;
        let mut added = Vec::with_capacity(request.entries.len());
        let mut new = New {
            leaves: HashMap::with_capacity(request.entries.len()),
            retractions: HashMap::new(),
        };
        // A rotation is a request by itself.
        let mut end = None;
        let mut receipts = Vec::with_capacity(request.entries.len());
        for (position, (entry, stored)) in request.entries.into_iter().zip(stored).enumerate() {
            let standing = self.standing_index(&entry, stored, &new);
            if let Some(index) = standing.map_err(failed)? {
                receipts.push(Receipt {
                    index,
                    duplicate: true,
                });
                continue;
            }
            if let Some(End { index, successor }) = self.end.clone() {
                return Err(SubmitError::Ended { index, successor });
            }
            let index = self.next_index(added.len());
            for leaf in &entry.withdraws {
                let problem = match self.index_of(leaf, &new).map_err(failed)? {
                    None => EntryProblem::UnknownLeaf { leaf: *leaf },
                    Some(at) if self.is_statement(at, &added).map_err(failed)? => {
                        new.retractions.insert(*leaf, index);
                        continue;
                    }
                    Some(_) => EntryProblem::NoStatement { leaf: *leaf },
                };
                return Err(SubmitError::Entry { position, problem });
            }
            if let Some(successor) = &entry.successor {
                let successor = successor.clone();
                end = Some(End { index, successor });
            }
            new.leaves.insert(entry.leaf, index);
            receipts.push(Receipt {
                index,
                duplicate: false,
            });
            added.push(entry);
        }
        let named: BTreeSet<BlobId> = added
            .iter()
            .flat_map(|entry: &Checked| entry.blobs.iter().copied())
            .collect();
        let blobs = request.blobs.into_iter();
        self.blobs
            .extend(blobs.filter(|(id, _)| named.contains(id)));
        self.new.leaves.extend(new.leaves);
        self.new.retractions.extend(new.retractions);
        self.entries.extend(added);
        self.end = self.end.take().or(end);
        Ok(receipts)
    }

    /// Index of each entry in the tree before the round, looked up together. The round writes nothing meanwhile.
    fn stored(&self, entries: &[Checked]) -> Result<Vec<Option<u64>>, StoreError> {
        let leaves: Vec<Hash> = entries.iter().map(|entry| entry.leaf).collect();
        let mut indices = self.store.indices_of(&leaves)?;
        for (leaf, index) in leaves.iter().zip(&mut indices) {
            if let Some(hint) = *index {
                *index = self.confirmed(leaf, hint)?;
            }
        }
        // A store that answers less than it was asked is not relied upon.
        if indices.len() != leaves.len() {
            return Err(unreadable("it answered something else".to_owned()));
        }
        Ok(indices)
    }

    /// Everything that was taken.
    pub(super) fn finish(self) -> Staged {
        Staged {
            entries: self.entries,
            blobs: self.blobs.into_iter().collect(),
            retractions: self.new.retractions.into_iter().collect(),
            end: self.end,
        }
    }

    /// Whether the entry at an index says something that can be withdrawn. The end of a log is its last entry, so nothing
    /// that comes after it could name it.
    fn is_statement(&self, index: u64, added: &[Checked]) -> Result<bool, StoreError> {
        if let Some(staged) = index.checked_sub(self.size) {
            let staged = usize::try_from(staged).unwrap_or(usize::MAX);
            let mut all = self.entries.iter().chain(added);
            return Ok(all
                .nth(staged)
                .is_some_and(|entry| entry.withdraws.is_empty()));
        }
        let entry = stored_entry(self.store, self.size, index);
        let entry = entry.map_err(|error| StoreError {
            operation: "reading an entry that is to be withdrawn".to_owned(),
            reason: error.to_string(),
        })?;
        let is_retraction = |bytes: Vec<u8>| matches!(decode(&bytes), Ok(Entry::Retraction(_)));
        Ok(entry.is_some_and(|bytes| !is_retraction(bytes)))
    }

    fn next_index(&self, added: usize) -> u64 {
        let staged = self.entries.len().saturating_add(added);
        self.size
            .saturating_add(u64::try_from(staged).unwrap_or(u64::MAX))
    }

    /// Index of these bytes in the log, if they still say what they said: an entry that was withdrawn may be appended
    /// again, and so may a retraction of what was appended again after it.
    fn standing_index(
        &self,
        entry: &Checked,
        stored: Option<u64>,
        new: &New,
    ) -> Result<Option<u64>, StoreError> {
        let Some(index) = self.added_index(&entry.leaf, new).or(stored) else {
            return Ok(None);
        };
        if self
            .retraction_of(&entry.leaf, new)?
            .is_some_and(|retraction| retraction > index)
        {
            return Ok(None);
        }
        for leaf in &entry.withdraws {
            if self
                .index_of(leaf, new)?
                .is_some_and(|withdrawn| withdrawn > index)
            {
                return Ok(None);
            }
        }
        Ok(Some(index))
    }

    fn index_of(&self, leaf: &Hash, new: &New) -> Result<Option<u64>, StoreError> {
        if let Some(index) = self.added_index(leaf, new) {
            return Ok(Some(index));
        }
        match self.store.index_of(leaf)? {
            Some(hint) => self.confirmed(leaf, hint),
            None => Ok(None),
        }
    }

    /// Index of a leaf that the round adds.
    fn added_index(&self, leaf: &Hash, new: &New) -> Option<u64> {
        let added = new.leaves.get(leaf).or_else(|| self.new.leaves.get(leaf));
        added.copied()
    }

    /// The index that was looked up, if that leaf is there: the lookup is only a hint, what counts is the tree that was
    /// signed.
    fn confirmed(&self, leaf: &Hash, hint: u64) -> Result<Option<u64>, StoreError> {
        let found = stored_leaf(self.store, self.size, hint)
            .map_err(|error| unreadable(error.to_string()))?;
        Ok((found.as_ref() == Some(leaf)).then_some(hint))
    }

    fn retraction_of(&self, leaf: &Hash, new: &New) -> Result<Option<u64>, StoreError> {
        match new
            .retractions
            .get(leaf)
            .or_else(|| self.new.retractions.get(leaf))
        {
            Some(index) => Ok(Some(*index)),
            None => self.store.retraction_of(leaf),
        }
    }
}

fn unreadable(reason: String) -> StoreError {
    StoreError {
        operation: "looking up a leaf".to_owned(),
        reason,
    }
}
