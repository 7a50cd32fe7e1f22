//! Growing the map and proving from it, over a store of pages that may be of any size.
//!
//! Changed pages are held in memory until they are taken, to be written together with the root that they have. Reads a
//! page at most once between two takes, and those near the root only once at all.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::Key;
use super::key_list::Value;
use super::page::{Exit, Page, PageId};
use super::proof::Proof;
use crate::hash::{EMPTY_ROOT, Hash};

/// Pages of a lesser depth stay in memory: at most 4,369 of them, 6 MiB.
const KEPT_DEPTH: u8 = 4;

/// Where pages are read from.
pub trait PageStore {
    /// Why a page could not be read.
    type Error;

    /// The bytes of a page as it was last stored.
    ///
    /// # Errors
    /// The store failed.
    fn page(&self, id: &PageId) -> Result<Option<Vec<u8>>, Self::Error>;
}

/// A page could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrieError<E> {
    /// The store failed.
    #[error("a page of the index could not be read")]
    Read(#[source] E),
    /// The page is not there, or its bytes are no page.
    #[error("the page {id:?} of the index is missing or damaged")]
    Damaged {
        /// Which one.
        id: PageId,
    },
}

/// The map, with what changed since it was last written.
#[derive(Debug, Default)]
pub struct Trie {
    pages: BTreeMap<PageId, Box<Page>>,
    changed: BTreeSet<PageId>,
}

/// Changes to one subtree, ascending by key, each key once.
type Changes<'a> = &'a [(Key, Value)];

impl Trie {
    /// The map that is in the store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of a key.
    ///
    /// # Errors
    /// A page cannot be read.
    pub fn get<S: PageStore>(
        &mut self,
        store: &S,
        key: &Key,
    ) -> Result<Option<Value>, TrieError<S::Error>> {
        let mut id = PageId::ROOT;
        loop {
            let nibble = key.nibble(id.depth());
            match self.load(store, id)?.exit(nibble) {
                Exit::Nothing => return Ok(None),
                Exit::Leaf(found, value) => return Ok((found == *key).then_some(value)),
                Exit::Page(_) => id = id.below(nibble).ok_or(TrieError::Damaged { id })?,
            }
        }
    }

    /// Sets the values of keys and gives the new root. The keys are ascending, each of them once.
    ///
    /// # Errors
    /// A page cannot be read. The map in memory is of no use then.
    pub fn set<S: PageStore>(
        &mut self,
        store: &S,
        changes: &[(Key, Value)],
    ) -> Result<Hash, TrieError<S::Error>> {
        if changes.is_empty() {
            return self.root(store);
        }
        self.change(store, PageId::ROOT, changes, true)
    }

    /// The root of the map; [`EMPTY_ROOT`] without keys.
    ///
    /// # Errors
    /// The page of all keys cannot be read.
    pub fn root<S: PageStore>(&mut self, store: &S) -> Result<Hash, TrieError<S::Error>> {
        Ok(self.load(store, PageId::ROOT)?.hash(0))
    }

    /// Proof of the value of a key, or of its absence.
    ///
    /// # Errors
    /// A page cannot be read.
    pub fn prove<S: PageStore>(
        &mut self,
        store: &S,
        key: &Key,
    ) -> Result<Proof, TrieError<S::Error>> {
        let mut path = Vec::new();
        let mut id = PageId::ROOT;
        loop {
            let damaged = TrieError::Damaged { id };
            let page = self.load(store, id)?;
            let Some((nibble, mut beside)) = page.descend(key, id.first_bit()) else {
                return if id == PageId::ROOT {
                    Ok(Proof::empty())
                } else {
                    Err(damaged)
                };
            };
            path.append(&mut beside);
            match page.exit(nibble) {
                Exit::Nothing => return Err(damaged),
                Exit::Page(_) => id = id.below(nibble).ok_or(damaged)?,
                Exit::Leaf(found, value) => {
                    path.reverse();
                    let other = (found != *key).then(|| (found, value.to_bytes().to_vec()));
                    return Ok(Proof::new(other, path));
                }
            }
        }
    }

    /// The pages that changed since the last take, to be written over what the store has. Pages far from the root are
    /// forgotten with this: the store has to have them when the map is next read.
    pub fn take_changed(&mut self) -> Vec<(PageId, Vec<u8>)> {
        let changed = std::mem::take(&mut self.changed);
        let changed = changed
            .into_iter()
            .filter_map(|id| Some((id, self.pages.get(&id)?.to_bytes())))
            .collect();
        self.pages.retain(|id, _| id.depth() < KEPT_DEPTH);
        changed
    }

    /// Pages that changed since the last take.
    #[must_use]
    pub fn changed_count(&self) -> usize {
        self.changed.len()
    }

    fn load<S: PageStore>(
        &mut self,
        store: &S,
        id: PageId,
    ) -> Result<&mut Page, TrieError<S::Error>> {
        match self.pages.entry(id) {
            Entry::Occupied(page) => Ok(page.into_mut()),
            Entry::Vacant(place) => {
                let page = match store.page(&id).map_err(TrieError::Read)? {
                    Some(bytes) => Page::from_bytes(&bytes).ok_or(TrieError::Damaged { id })?,
                    // Only the page of all keys can be asked for without being there.
                    None if id == PageId::ROOT => Page::default(),
                    None => return Err(TrieError::Damaged { id }),
                };
                Ok(place.insert(Box::new(page)))
            }
        }
    }

    /// Applies changes that all belong below a page, which the store has if it is not new. Gives its new hash.
    fn change<S: PageStore>(
        &mut self,
        store: &S,
        id: PageId,
        mut changes: Changes<'_>,
        is_stored: bool,
    ) -> Result<Hash, TrieError<S::Error>> {
        let mut page = if is_stored {
            self.load(store, id)?.clone()
        } else {
            Page::default()
        };
        while let Some((key, _)) = changes.first() {
            let nibble = key.nibble(id.depth());
            let end = changes.partition_point(|(key, _)| key.nibble(id.depth()) <= nibble);
            let (here, later) = changes.split_at(end);
            let exit = self.exit(store, id, nibble, page.exit(nibble), here)?;
            page.set(nibble, exit);
            changes = later;
        }
        let hash = page.hash(id.first_bit());
        self.pages.insert(id, Box::new(page));
        self.changed.insert(id);
        Ok(hash)
    }

    /// What an exit becomes with these changes, of which there is at least one.
    fn exit<S: PageStore>(
        &mut self,
        store: &S,
        id: PageId,
        nibble: u8,
        before: Exit,
        changes: Changes<'_>,
    ) -> Result<Exit, TrieError<S::Error>> {
        let mut merged;
        let (changes, is_stored) = match before {
            Exit::Page(_) => (changes, true),
            Exit::Leaf(key, value) => {
                merged = changes.to_vec();
                if let Err(place) = merged.binary_search_by_key(&key, |(key, _)| *key) {
                    merged.insert(place, (key, value));
                }
                (merged.as_slice(), false)
            }
            Exit::Nothing => (changes, false),
        };
        if let ([(key, value)], false) = (changes, is_stored) {
            return Ok(Exit::Leaf(*key, *value));
        }
        let below = id.below(nibble).ok_or(TrieError::Damaged { id })?;
        Ok(Exit::Page(self.change(store, below, changes, is_stored)?))
    }
}

/// Root of a map with these keys, ascending, each of them once: for tests and audits of small maps.
#[must_use]
pub fn root_of(changes: &[(Key, Value)]) -> Hash {
    struct Nowhere;
    impl PageStore for Nowhere {
        type Error = std::convert::Infallible;
        fn page(&self, _: &PageId) -> Result<Option<Vec<u8>>, Self::Error> {
            Ok(None)
        }
    }
    Trie::new().set(&Nowhere, changes).unwrap_or(EMPTY_ROOT)
}
