//! The aggregator's store on RocksDB: a mirror of each followed log, and the index over what they say.
//!
//! What is said of one output lies in one row, so that a decision is one read. Counts, contested outputs and names are
//! kept up in the same batch as the rows that they follow from. All of these can be rebuilt from the mirrors; what is kept
//! of logs besides them (`kept.rs`) and observations that no log carries cannot.

mod dump;
mod facets;
mod kept;
mod row;
mod step;

use std::path::Path;
use std::sync::Arc;

use quorix_nix::store_path::{HashPart, StorePath};
use quorix_tlog::hash::{HASH_LENGTH, Hash, leaf_hash};
use quorix_tlog::tile::TileId;
use quorix_trust::attestation::BlobId;
use quorix_trust::ports::{
    CommitError, Counts, Equivocation, Facet, FollowBatch, Head, IndexStore, IndexedStatement,
    KeptOf, Lift, StandingChange, StoreError, StoredCheckpoint, Tally, TallyKey, TileStore,
};

use crate::database::{Database, Layout, META, OpenError, Shape, corrupt};
use crate::tree::{self, Cut, Tree, split_u64};
use step::Step;

pub use dump::DumpError;

/// `<20 bytes of the hash part, backwards>` → everything said of the output (`row.rs`).
const OUTPUTS: (&str, Shape) = ("outputs", Shape::Rows);
/// `<hash part, as text>` → nothing: the outputs that disagree, in the order of their text.
const CONTESTED: (&str, Shape) = ("contested", Shape::Sorted);
/// `<name> NUL <hash part, as text>` → nothing.
const NAMES: (&str, Shape) = ("names", Shape::Sorted);

/// `<facet> <20 bytes of the hash part>` → nothing (`facets.rs`).
const FACETS: (&str, Shape) = ("facets", Shape::Sorted);
/// `<what is counted>` → numbers of outputs (`facets.rs`).
const TALLIES: (&str, Shape) = ("tallies", Shape::Sorted);
/// `<prefix> <size>` → when it was first seen, and the signed checkpoint (`kept.rs`).
const CHECKPOINTS: (&str, Shape) = ("checkpoints", Shape::Sorted);

const LAYOUT: Layout = Layout {
    schema: "quorix index 3",
    columns: &[
        tree::HASHES,
        tree::PIECES,
        tree::LEAVES,
        tree::BLOBS,
        OUTPUTS,
        CONTESTED,
        NAMES,
        FACETS,
        TALLIES,
        CHECKPOINTS,
    ],
};

const COUNTS: &[u8] = b"counts";
const OPAQUE: &[u8] = b"opaque/";

/// About how many bytes a statement adds to a batch besides its entry: the row of its output with what others said, and
/// what it is found by.
const BESIDE_AN_ENTRY: usize = 800;

/// Length of what tells mirrors apart in keys. Origins come from the user's own policy: 128 bits are plenty.
const PREFIX_BYTES: usize = 16;

/// The aggregator's store.
pub struct RocksIndex {
    database: Arc<Database>,
}

impl RocksIndex {
    /// Opens the index in this directory, or makes an empty one there. The files that decisions are read from are open then.
    ///
    /// # Errors
    /// It is open elsewhere, of another role or version, damaged, or the file system refuses.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let database = Database::open(dir, &LAYOUT)?;
        database.open_files(&[OUTPUTS.0, tree::PIECES.0]);
        Ok(Self {
            database: Arc::new(database),
        })
    }

    /// Opens the index in this directory as it is on the disk now, only to read it, also while an aggregator has it
    /// open. Every write fails.
    ///
    /// # Errors
    /// There is none, it is of another role or version, damaged, or the file system refuses.
    pub fn open_to_read(dir: &Path) -> Result<Self, OpenError> {
        Ok(Self {
            database: Arc::new(Database::open_to_read(dir, &LAYOUT)?),
        })
    }

    fn read_counts(&self) -> Result<Counts, StoreError> {
        const OPERATION: &str = "reading the counts";
        let Some(bytes) = self.database.get(META, COUNTS, OPERATION)? else {
            return Ok(Counts::default());
        };
        decode_counts(&bytes).ok_or_else(|| corrupt(OPERATION, "the stored counts are cut off"))
    }

    fn read_opaque(&self, prefix: &[u8]) -> Result<u64, StoreError> {
        const OPERATION: &str = "reading the number of opaque entries";
        let Some(bytes) = self
            .database
            .get(META, &[OPAQUE, prefix].concat(), OPERATION)?
        else {
            return Ok(0);
        };
        let (count, _) =
            split_u64(&bytes).ok_or_else(|| corrupt(OPERATION, "the stored number is cut off"))?;
        Ok(count)
    }
}

impl IndexStore for RocksIndex {
    fn mirror(&self, origin: &str) -> Box<dyn TileStore> {
        Box::new(Mirror {
            database: Arc::clone(&self.database),
            prefix: prefix_of(origin),
        })
    }

    fn advance(
        &self,
        origin: &str,
        expected: u64,
        batch: &FollowBatch,
    ) -> Result<Vec<StandingChange>, CommitError> {
        let _writer = self.database.lock();
        let prefix = prefix_of(origin);
        let tree = Tree {
            database: &self.database,
            prefix: &prefix,
            cut: Cut::Pieces,
        };
        tree.check_size(expected)?;
        tree.check_full_tiles(expected, &batch.tree)?;
        let mut step = Step::of_log(tree, origin, &batch.tree.leaves, &batch.facts);
        step.read_ahead(&batch.statements)?;
        for statement in &batch.statements {
            step.add(statement)?;
        }
        for (leaf, by) in &batch.retractions {
            step.withdraw(leaf, *by)?;
        }
        let rows = batch.statements.len().saturating_mul(BESIDE_AN_ENTRY);
        let bytes = tree.bytes_of(&batch.tree, 20).saturating_add(rows);
        let mut writes = self.database.batch_of(bytes);
        tree.write(&mut writes, &batch.tree, |index| step.beside_leaf(index))?;
        if batch.opaque > 0 {
            let opaque = self.read_opaque(&prefix)?.saturating_add(batch.opaque);
            writes.put(META, &[OPAQUE, &prefix].concat(), &opaque.to_be_bytes())?;
        }
        let changes = step.write(&mut writes, self.read_counts()?)?;
        writes.commit("committing a step of following a log")?;
        Ok(changes)
    }

    fn opaque(&self, origin: &str) -> Result<u64, StoreError> {
        self.read_opaque(&prefix_of(origin))
    }

    fn observe(&self, statement: &IndexedStatement) -> Result<Option<StandingChange>, StoreError> {
        let changes = self.observe_all(std::slice::from_ref(statement))?;
        Ok(changes.into_iter().next())
    }

    fn observe_all(
        &self,
        statements: &[IndexedStatement],
    ) -> Result<Vec<StandingChange>, StoreError> {
        let _writer = self.database.lock();
        let prefix = prefix_of("");
        let mut step = Step::of_log(
            Tree {
                database: &self.database,
                prefix: &prefix,
                cut: Cut::Pieces,
            },
            "",
            &[],
            &[],
        );
        step.read_ahead(statements)?;
        for statement in statements {
            step.add(statement)?;
        }
        if !step.has_changes() {
            return Ok(Vec::new());
        }
        let mut writes = self.database.batch();
        let changes = step.write(&mut writes, self.read_counts()?)?;
        writes.commit("committing observations")?;
        Ok(changes)
    }

    fn statements(&self, output: &HashPart) -> Result<Vec<IndexedStatement>, StoreError> {
        let rows = step::read_rows(&self.database, output)?;
        Ok(rows.into_iter().map(|row| row.statement).collect())
    }

    fn statements_of(
        &self,
        outputs: &[HashPart],
    ) -> Result<Vec<Vec<IndexedStatement>>, StoreError> {
        let rows = step::read_many(&self.database, outputs)?.into_iter();
        let statements = rows.map(|rows| rows.into_iter().map(|row| row.statement).collect());
        Ok(statements.collect())
    }

    fn keep_checkpoint(
        &self,
        origin: &str,
        checkpoint: &StoredCheckpoint,
    ) -> Result<(), StoreError> {
        self.put_checkpoint(origin, checkpoint)
    }

    fn amend_checkpoint(&self, origin: &str, size: u64, note: &[u8]) -> Result<(), StoreError> {
        self.replace_checkpoint(origin, size, note)
    }

    fn checkpoints(
        &self,
        origin: &str,
        from: u64,
        limit: usize,
    ) -> Result<Vec<StoredCheckpoint>, StoreError> {
        self.read_checkpoints(origin, from, limit)
    }

    fn newest_checkpoint(&self, origin: &str) -> Result<Option<StoredCheckpoint>, StoreError> {
        self.read_newest_checkpoint(origin)
    }

    fn keep_cosigned(&self, origin: &str, cosigned: &StoredCheckpoint) -> Result<(), StoreError> {
        self.put_cosigned(origin, cosigned)
    }

    fn cosigned(&self, origin: &str) -> Result<Option<StoredCheckpoint>, StoreError> {
        self.read_cosigned(origin)
    }

    fn quarantine(&self, origin: &str, proof: &Equivocation) -> Result<(), StoreError> {
        self.put_equivocation(origin, proof)
    }

    fn equivocation(&self, origin: &str) -> Result<Option<Equivocation>, StoreError> {
        self.read_equivocation(origin)
    }

    fn lift(&self, origin: &str, at_s: u64, reason: &str) -> Result<Option<Lift>, StoreError> {
        self.put_lift(origin, at_s, reason)
    }

    fn lifts(&self, origin: &str) -> Result<Vec<Lift>, StoreError> {
        self.read_lifts(origin)
    }

    fn outputs(&self, after: Option<&HashPart>, limit: usize) -> Result<Vec<HashPart>, StoreError> {
        const OPERATION: &str = "listing outputs";
        let from = after.map_or_else(Vec::new, |after| {
            [step::row_key(after).as_slice(), b"\0"].concat()
        });
        let rows = self.database.scan(OUTPUTS.0, &from, OPERATION)?.take(limit);
        rows.map(|row| {
            step::output_of(&row?.0)
                .ok_or_else(|| corrupt(OPERATION, "a stored key is no hash part"))
        })
        .collect()
    }

    fn find(
        &self,
        facet: &Facet,
        after: Option<&HashPart>,
        limit: usize,
    ) -> Result<Vec<HashPart>, StoreError> {
        facets::find(&self.database, facet, after, limit)
    }

    fn tallies(
        &self,
        days_max: usize,
        pairs_max: usize,
    ) -> Result<Vec<(TallyKey, Tally)>, StoreError> {
        facets::tallies(&self.database, days_max, pairs_max)
    }

    fn all_kept(
        &self,
        take: &mut dyn FnMut(KeptOf) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.read_all_kept(take)
    }

    fn take_over(&self, kept: &[KeptOf]) -> Result<(), StoreError> {
        self.put_all_kept(kept)
    }

    fn counts(&self) -> Result<Counts, StoreError> {
        self.read_counts()
    }

    fn disagreements(
        &self,
        after: Option<&HashPart>,
        limit: usize,
    ) -> Result<Vec<HashPart>, StoreError> {
        const OPERATION: &str = "listing the outputs that disagree";
        // The next key in order is the same text with a zero byte behind it.
        let from = after.map_or_else(Vec::new, |after| {
            [after.as_str().as_bytes(), b"\0"].concat()
        });
        let rows = self
            .database
            .scan(CONTESTED.0, &from, OPERATION)?
            .take(limit);
        rows.map(|row| {
            parse_text(&row?.0).ok_or_else(|| corrupt(OPERATION, "a stored key is no hash part"))
        })
        .collect()
    }

    fn by_name(&self, prefix: &str, limit: usize) -> Result<Vec<StorePath>, StoreError> {
        const OPERATION: &str = "searching names";
        let rows = self
            .database
            .scan(NAMES.0, prefix.as_bytes(), OPERATION)?
            .take(limit);
        let mut found = Vec::new();
        for row in rows {
            let (key, _) = row?;
            let path = parse_name_key(&key)
                .ok_or_else(|| corrupt(OPERATION, "a stored key is no name"))?;
            if !path.name().starts_with(prefix) {
                break;
            }
            found.push(path);
        }
        Ok(found)
    }
}

/// The mirror of one log.
struct Mirror {
    database: Arc<Database>,
    prefix: [u8; PREFIX_BYTES],
}

impl Mirror {
    fn tree(&self) -> Tree<'_> {
        Tree {
            database: &self.database,
            prefix: &self.prefix,
            cut: Cut::Pieces,
        }
    }
}

impl TileStore for Mirror {
    fn head(&self) -> Result<Option<Head>, StoreError> {
        self.tree().head()
    }

    fn tile(&self, id: TileId) -> Result<Option<Vec<u8>>, StoreError> {
        self.tree().tile(id)
    }

    fn entries_around(&self, index: u64) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        self.tree().entries_around(index)
    }

    fn blob(&self, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        self.tree().blob(id)
    }

    fn index_of(&self, leaf: &Hash) -> Result<Option<u64>, StoreError> {
        Ok(self.tree().leaf(leaf)?.map(|(index, _)| index))
    }
}

fn prefix_of(origin: &str) -> [u8; PREFIX_BYTES] {
    let hash = leaf_hash(origin.as_bytes());
    let mut prefix = [0; PREFIX_BYTES];
    for (into, byte) in prefix.iter_mut().zip(hash.as_bytes()) {
        *into = *byte;
    }
    prefix
}

fn name_key(path: &StorePath) -> Vec<u8> {
    [
        path.name().as_bytes(),
        b"\0",
        path.hash_part().as_str().as_bytes(),
    ]
    .concat()
}

fn parse_name_key(key: &[u8]) -> Option<StorePath> {
    let (name, hash_part) = str::from_utf8(key).ok()?.split_once('\0')?;
    StorePath::new(&hash_part.parse().ok()?, name).ok()
}

fn parse_text(key: &[u8]) -> Option<HashPart> {
    str::from_utf8(key).ok()?.parse().ok()
}

fn encode_counts(counts: &Counts) -> Vec<u8> {
    let numbers = [
        counts.outputs,
        counts.agree,
        counts.disagree,
        counts.one_builder,
    ];
    numbers
        .iter()
        .flat_map(|number| number.to_be_bytes())
        .collect()
}

fn decode_counts(bytes: &[u8]) -> Option<Counts> {
    let (outputs, rest) = split_u64(bytes)?;
    let (agree, rest) = split_u64(rest)?;
    let (disagree, rest) = split_u64(rest)?;
    let (one_builder, _) = split_u64(rest)?;
    Some(Counts {
        outputs,
        agree,
        disagree,
        one_builder,
    })
}

/// The two notes, each after its length, then the hashes.
fn encode_equivocation(proof: &Equivocation) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    for note in [&proof.first, &proof.second] {
        let length = u32::try_from(note.len());
        let length =
            length.map_err(|_| corrupt("writing a proof of equivocation", "a note is too long"))?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(note);
    }
    bytes.extend(
        proof
            .consistency_proof
            .iter()
            .flat_map(|hash| *hash.as_bytes()),
    );
    Ok(bytes)
}

fn decode_equivocation(bytes: &[u8]) -> Option<Equivocation> {
    let (first, rest) = split_note(bytes)?;
    let (second, hashes) = split_note(rest)?;
    let (hashes, surplus) = hashes.as_chunks::<HASH_LENGTH>();
    let consistency_proof = hashes.iter().map(|hash| Hash::from_bytes(*hash)).collect();
    surplus.is_empty().then_some(Equivocation {
        first,
        second,
        consistency_proof,
    })
}

fn split_note(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (note, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    Some((note.to_vec(), rest))
}

#[cfg(test)]
mod tests;
