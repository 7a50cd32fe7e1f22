//! One step of the index: the rows that it touches, and everything that follows from how they change.
//!
//! Each touched row is read once and written once, however much a step says of it. Nothing is written but by
//! [`Step::write`], into a batch.

use std::collections::{BTreeMap, HashMap};

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

/// Everything kept of what was said of an output.
pub(super) fn read_rows(database: &Database, output: &HashPart) -> Result<Vec<Row>, StoreError> {
    const OPERATION: &str = "reading what was said of an output";
    let Some(bytes) = database.get(OUTPUTS.0, &output.to_bytes(), OPERATION)? else {
        return Ok(Vec::new());
    };
    let not_a_row = || {
        corrupt(
            OPERATION,
            format!("the stored row of {output} is damaged: rebuild the index"),
        )
    };
    row::decode(&bytes, output).ok_or_else(not_a_row)
}

/// The rows that one step touches.
pub(super) struct Step<'a> {
    tree: Tree<'a>,
    origin: &'a str,
    /// Of the new leaves.
    leaf_at: HashMap<u64, Hash>,
    /// Which outputs the new leaves speak of.
    output_at: HashMap<u64, HashPart>,
    output_of: HashMap<LeafTag, HashPart>,
    facts_at: HashMap<u64, &'a Facts>,
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
    /// A step of following the log with this origin, which adds these leaves.
    pub(super) fn of_log(
        tree: Tree<'a>,
        origin: &'a str,
        leaves: &[(Hash, u64)],
        facts: &'a [Facts],
    ) -> Self {
        Self {
            facts_at: facts.iter().map(|facts| (facts.index, facts)).collect(),
            tree,
            origin,
            leaf_at: leaves.iter().map(|(leaf, index)| (*index, *leaf)).collect(),
            output_at: HashMap::new(),
            output_of: HashMap::new(),
            touched: BTreeMap::new(),
        }
    }

    /// Adds a statement, if it is new and there is room for it.
    pub(super) fn add(&mut self, statement: &IndexedStatement) -> Result<(), StoreError> {
        let output = statement.path.hash_part();
        let leaf = match &statement.place {
            Place::Leaf { origin, index } if origin == self.origin => {
                self.leaf_at.get(index).map(|leaf| {
                    self.output_at.insert(*index, output.clone());
                    self.output_of.insert(tag_of(leaf), output.clone());
                    tag_of(leaf)
                })
            }
            _ => None,
        };
        let facts = match &statement.place {
            Place::Leaf { origin, index } if origin == self.origin => {
                self.facts_at.get(index).copied()
            }
            _ => None,
        };
        let new = Row {
            statement: statement.clone(),
            leaf,
            at: facts.map(|facts| (facts.day, facts.system.clone())),
        };
        let touched = self.touch(&output)?;
        if touched.add(new)
            && let Some(facts) = facts
        {
            touched.new_facets.extend(facet_keys(facts, &output));
        }
        Ok(())
    }

    /// Withdraws the statements of this log with this leaf hash and an index below `by`.
    pub(super) fn withdraw(&mut self, leaf: &Hash, by: u64) -> Result<(), StoreError> {
        let tag = tag_of(leaf);
        let output = match self.output_of.get(&tag) {
            Some(output) => Some(output.clone()),
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
        self.output_at
            .get(&index)
            .map_or_else(Vec::new, |output| output.to_bytes().to_vec())
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
            batch.put(OUTPUTS.0, &output.to_bytes(), &bytes)?;
            for key in &touched.new_names {
                batch.put(NAMES.0, key, b"")?;
            }
            for key in &touched.new_facets {
                batch.put(FACETS.0, key, b"")?;
            }
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
