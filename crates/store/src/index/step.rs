//! One step of the index: the rows that it touches, and everything that follows from how they change.
//!
//! Each touched row is read once and written once, however much a step says of it. Nothing is written but by
//! [`Step::write`], into a batch.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use quorix_nix::store_path::HashPart;
use quorix_tlog::hash::Hash;
use quorix_trust::ports::{
    Counts, Facts, IndexedStatement, Place, Room, Standing, StandingChange, StoreError, Tally,
    TallyKey, room_for, tallied,
};

use super::facets::{encode_tally, facet_keys, read_tally, tally_key, whole_day_key};
use super::row::{self, LeafTag, Row, tag_of};
use super::{CONTESTED, COUNTS, FACETS, NAMES, OUTPUTS, TALLIES, encode_counts, name_key};
use crate::database::{Batch, Database, META, corrupt};
use crate::tree::Tree;

const READING: &str = "reading what was said of an output";

/// Where the one with this index is among those that ascend by it.
fn position_of<T>(all: &[T], index: u64, index_of: impl Fn(&T) -> u64) -> Option<usize> {
    // Mostly one for each index.
    let first = all.first().map(&index_of)?;
    let near = usize::try_from(index.checked_sub(first)?).ok()?;
    if all.get(near).is_some_and(|one| index_of(one) == index) {
        return Some(near);
    }
    all.binary_search_by_key(&index, index_of).ok()
}

/// The key of an output's row: the bytes of its hash part backwards, so that keys are in the order of the texts.
pub(super) fn row_key(output: &HashPart) -> [u8; 20] {
    let mut key = output.to_bytes();
    key.reverse();
    key
}

/// The output that a row with this key is of.
pub(super) fn output_of(row_key: &[u8]) -> Option<HashPart> {
    let mut bytes: [u8; 20] = row_key.try_into().ok()?;
    bytes.reverse();
    Some(HashPart::from_bytes(&bytes))
}

/// Everything kept of what was said of these outputs, in their order.
pub(super) fn read_many(
    database: &Database,
    outputs: &[HashPart],
) -> Result<Vec<Vec<Row>>, StoreError> {
    let keys: Vec<_> = outputs
        .iter()
        .map(|output| row_key(output).to_vec())
        .collect();
    let found = database.get_many(OUTPUTS.0, &keys, READING)?;
    let rows = outputs.iter().zip(found);
    let rows = rows.map(|(output, bytes)| match bytes {
        Some(bytes) => decode(&bytes, output),
        None => Ok(Vec::new()),
    });
    rows.collect()
}

/// Everything kept of what was said of an output.
pub(super) fn read_rows(database: &Database, output: &HashPart) -> Result<Vec<Row>, StoreError> {
    let Some(bytes) = database.get(OUTPUTS.0, &row_key(output), READING)? else {
        return Ok(Vec::new());
    };
    decode(&bytes, output)
}

fn decode(bytes: &[u8], output: &HashPart) -> Result<Vec<Row>, StoreError> {
    let not_a_row = || {
        let reason = format!("the stored row of {output} is damaged: rebuild the index");
        corrupt(READING, reason)
    };
    row::decode(bytes, output).ok_or_else(not_a_row)
}

/// The rows that one step touches.
pub(super) struct Step<'a> {
    tree: Tree<'a>,
    origin: &'a str,
    /// The new leaves, by ascending index.
    leaves: &'a [(Hash, u64)],
    /// Which output each of them speaks of.
    outputs: Vec<Option<HashPart>>,
    /// The same by leaf, made when the first of them is withdrawn.
    output_of: Option<HashMap<LeafTag, HashPart>>,
    /// What the new leaves are found by, by ascending index.
    facts: &'a [Facts],
    touched: BTreeMap<HashPart, Touched>,
}

struct Touched {
    rows: Vec<Row>,
    before: Standing,
    was_empty: bool,
    is_changed: bool,
    new_names: Vec<Vec<u8>>,
    new_facets: Vec<Vec<u8>>,
    tallied: Vec<(TallyKey, Standing)>,
}

impl<'a> Step<'a> {
    /// A step of following the log with this origin, which adds these leaves. Leaves and facts ascend by index.
    pub(super) fn of_log(
        tree: Tree<'a>,
        origin: &'a str,
        leaves: &'a [(Hash, u64)],
        facts: &'a [Facts],
    ) -> Self {
        Self {
            tree,
            origin,
            leaves,
            outputs: vec![None; leaves.len()],
            output_of: None,
            facts,
            touched: BTreeMap::new(),
        }
    }

    /// Reads the rows of all outputs that these statements speak of, together.
    pub(super) fn read_ahead(&mut self, statements: &[IndexedStatement]) -> Result<(), StoreError> {
        let outputs = statements
            .iter()
            .map(|statement| statement.path.hash_part());
        let outputs: BTreeSet<HashPart> = outputs.collect();
        let outputs: Vec<HashPart> = outputs.into_iter().collect();
        for (output, rows) in outputs.iter().zip(read_many(self.tree.database, &outputs)?) {
            self.touched.insert(output.clone(), Touched::of(rows));
        }
        Ok(())
    }

    /// Adds a statement, if it is new and there is room for it.
    pub(super) fn add(&mut self, statement: &IndexedStatement) -> Result<(), StoreError> {
        let output = statement.path.hash_part();
        let leaf = match &statement.place {
            Place::Leaf { origin, index } if origin == self.origin => {
                let position = position_of(self.leaves, *index, |(_, index)| *index);
                if let Some(place) = position.and_then(|at| self.outputs.get_mut(at)) {
                    *place = Some(output.clone());
                }
                let leaf = position.and_then(|at| self.leaves.get(at));
                leaf.map(|(leaf, _)| tag_of(leaf))
            }
            _ => None,
        };
        let facts = match &statement.place {
            Place::Leaf { origin, index } if origin == self.origin => {
                let position = position_of(self.facts, *index, |facts| facts.index);
                position.and_then(|at| self.facts.get(at))
            }
            _ => None,
        };
        let new = Row {
            statement: statement.clone(),
            leaf,
            at: facts.map(|facts| (facts.day, facts.system.clone())),
        };
        let touched = self.touch(&output)?;
        let knows_system = touched.knows_system(&new);
        if touched.add(new)
            && let Some(facts) = facts
        {
            let keys = facet_keys(facts, &output, knows_system);
            touched.new_facets.extend(keys);
        }
        Ok(())
    }

    /// Withdraws the statements of this log with this leaf hash and an index below `by`.
    pub(super) fn withdraw(&mut self, leaf: &Hash, by: u64) -> Result<(), StoreError> {
        let tag = tag_of(leaf);
        let output = match self.new_output_of(&tag) {
            Some(output) => Some(output),
            None => self.stored_output_of(leaf)?,
        };
        let Some(output) = output else { return Ok(()) };
        let origin = self.origin;
        let touched = self.touch(&output)?;
        for row in touched.rows.iter_mut().filter(|row| row.leaf == Some(tag)) {
            let Place::Leaf { origin: at, index } = &row.statement.place else {
                continue;
            };
            // What a log merely carries for another, such as a cache's signature, is not its to withdraw.
            let is_own = at == origin && row.statement.voice == *origin;
            if is_own && *index < by && row.statement.withdrawn_by.is_none() {
                row.statement.withdrawn_by = Some(by);
                touched.is_changed = true;
            }
        }
        Ok(())
    }

    /// What is kept behind the index of a leaf: the output that it speaks of.
    pub(super) fn beside_leaf(&self, index: u64) -> Vec<u8> {
        let position = position_of(self.leaves, index, |(_, index)| *index);
        let output = position.and_then(|at| self.outputs.get(at)?.as_ref());
        output.map_or_else(Vec::new, |output| output.to_bytes().to_vec())
    }

    /// Whether there is anything to write.
    pub(super) fn has_changes(&self) -> bool {
        self.touched.values().any(|touched| touched.is_changed)
    }

    /// Adds the changed rows, and what follows from them, to a batch.
    pub(super) fn write(
        self,
        batch: &mut Batch<'_>,
        mut counts: Counts,
    ) -> Result<Vec<StandingChange>, StoreError> {
        let mut changes = Vec::new();
        // Written in the order of their keys, each near the one before.
        let (mut names, mut facets) = (Vec::new(), Vec::new());
        let mut moved: BTreeMap<TallyKey, Vec<(Standing, bool)>> = BTreeMap::new();
        let database = self.tree.database;
        for (output, touched) in self
            .touched
            .into_iter()
            .filter(|(_, touched)| touched.is_changed)
        {
            let too_large = || {
                corrupt(
                    "writing what was said of an output",
                    format!("too much was said of {output}"),
                )
            };
            let bytes = row::encode(&touched.rows).ok_or_else(too_large)?;
            batch.put(OUTPUTS.0, &row_key(&output), &bytes)?;
            names.extend(touched.new_names);
            facets.extend(touched.new_facets);
            let now = tallies_of(&touched.rows);
            if now != touched.tallied {
                for (key, standing) in touched.tallied {
                    moved.entry(key).or_default().push((standing, false));
                }
                for (key, standing) in now {
                    moved.entry(key).or_default().push((standing, true));
                }
            }
            if touched.was_empty {
                counts.outputs = counts.outputs.saturating_add(1);
            }
            let after = standing_of(&touched.rows);
            if touched.before == after {
                continue;
            }
            move_count(&mut counts, touched.before, after);
            if after == Standing::Disagree {
                batch.put(CONTESTED.0, output.as_str().as_bytes(), b"")?;
            } else if touched.before == Standing::Disagree {
                batch.delete(CONTESTED.0, output.as_str().as_bytes())?;
            }
            if let Some(first) = touched.rows.first() {
                let path = first.statement.path.clone();
                changes.push(StandingChange {
                    output: path,
                    before: touched.before,
                    after,
                });
            }
        }
        for (column, mut keys) in [(NAMES.0, names), (FACETS.0, facets)] {
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                batch.put(column, &key, b"")?;
            }
        }
        move_tallies(database, batch, moved)?;
        batch.put(META, COUNTS, &encode_counts(&counts))?;
        Ok(changes)
    }

    fn touch(&mut self, output: &HashPart) -> Result<&mut Touched, StoreError> {
        use std::collections::btree_map::Entry;
        match self.touched.entry(output.clone()) {
            Entry::Occupied(touched) => Ok(touched.into_mut()),
            Entry::Vacant(place) => {
                Ok(place.insert(Touched::of(read_rows(self.tree.database, output)?)))
            }
        }
    }

    fn new_output_of(&mut self, tag: &LeafTag) -> Option<HashPart> {
        let (leaves, outputs) = (self.leaves, &self.outputs);
        let by_leaf = self.output_of.get_or_insert_with(|| {
            let leaves = leaves.iter().map(|(leaf, _)| tag_of(leaf));
            let spoken_of = leaves.zip(outputs);
            let spoken_of = spoken_of.filter_map(|(tag, output)| Some((tag, output.clone()?)));
            spoken_of.collect()
        });
        by_leaf.get(tag).cloned()
    }

    fn stored_output_of(&self, leaf: &Hash) -> Result<Option<HashPart>, StoreError> {
        let Some((_, beside)) = self.tree.leaf(leaf)? else {
            return Ok(None);
        };
        Ok(beside.first_chunk::<20>().map(HashPart::from_bytes))
    }
}

impl Touched {
    fn of(rows: Vec<Row>) -> Self {
        let before = standing_of(&rows);
        Self {
            was_empty: rows.is_empty(),
            before,
            tallied: tallies_of(&rows),
            rows,
            is_changed: false,
            new_names: Vec::new(),
            new_facets: Vec::new(),
        }
    }

    /// Whether the output is found by the system of a new row already.
    fn knows_system(&self, new: &Row) -> bool {
        let system = |row: &Row| row.at.as_ref().map(|(_, system)| system.clone());
        self.rows.iter().any(|row| system(row) == system(new))
    }

    /// True if it is kept.
    fn add(&mut self, new: Row) -> bool {
        if self.find(&new).is_ok() {
            return false;
        }
        match room_for(self.rows.iter().map(|row| &row.statement), &new.statement) {
            Room::Full => return false,
            Room::Replace(position) => {
                self.rows.remove(position);
            }
            Room::Add => {}
        }
        if !self
            .rows
            .iter()
            .any(|row| row.statement.path == new.statement.path)
        {
            self.new_names.push(name_key(&new.statement.path));
        }
        let position = self.find(&new).unwrap_or_else(|position| position);
        self.rows.insert(position, new);
        self.is_changed = true;
        true
    }

    /// Where the statement is, withdrawn or not, or where it belongs: the withdrawal is the last part of the order.
    fn find(&self, new: &Row) -> Result<usize, usize> {
        let new = &new.statement;
        self.rows.binary_search_by(|Row { statement, .. }| {
            (
                &statement.path,
                &statement.value,
                &statement.voice,
                &statement.place,
            )
                .cmp(&(&new.path, &new.value, &new.voice, &new.place))
        })
    }
}

fn tallies_of(rows: &[Row]) -> Vec<(TallyKey, Standing)> {
    let said: Vec<_> = rows.iter().map(Row::for_tally).collect();
    tallied(&said)
}

/// Applies what was added to tallies (true) and taken from them (false), and to those of whole days.
fn move_tallies(
    database: &Database,
    batch: &mut Batch<'_>,
    moved: BTreeMap<TallyKey, Vec<(Standing, bool)>>,
) -> Result<(), StoreError> {
    let mut rows: BTreeMap<Vec<u8>, Vec<(Standing, bool)>> = BTreeMap::new();
    for (key, moves) in moved {
        if let Some(whole_day) = whole_day_key(&key) {
            rows.entry(whole_day).or_default().extend(&moves);
        }
        rows.insert(tally_key(&key), moves);
    }
    for (key, moves) in rows {
        let mut tally = read_tally(database, &key)?;
        // What is added first: the sum never goes below zero, and so nothing does on the way.
        for (standing, is_added) in added_first(moves) {
            let number = tally.of(standing);
            *number = if is_added {
                number.saturating_add(1)
            } else {
                number.saturating_sub(1)
            };
        }
        if tally == Tally::default() {
            batch.delete(TALLIES.0, &key)?;
        } else {
            batch.put(TALLIES.0, &key, &encode_tally(&tally))?;
        }
    }
    Ok(())
}

fn added_first(mut moves: Vec<(Standing, bool)>) -> Vec<(Standing, bool)> {
    moves.sort_by_key(|(_, is_added)| !is_added);
    moves
}

fn standing_of(rows: &[Row]) -> Standing {
    Standing::among(rows.iter().map(|row| &row.statement))
}

fn move_count(counts: &mut Counts, before: Standing, after: Standing) {
    if let Some(count) = count_of(counts, before) {
        *count = count.saturating_sub(1);
    }
    if let Some(count) = count_of(counts, after) {
        *count = count.saturating_add(1);
    }
}

fn count_of(counts: &mut Counts, standing: Standing) -> Option<&mut u64> {
    match standing {
        Standing::Agree => Some(&mut counts.agree),
        Standing::Disagree => Some(&mut counts.disagree),
        Standing::OneBuilder => Some(&mut counts.one_builder),
        Standing::NoData => None,
    }
}
