//! What a witness has cosigned, on RocksDB: one row a log.
//!
//! The check of the old row and the synced write of the new one happen under one lock, and RocksDB's own lock keeps
//! other processes out.

use std::path::Path;

use quorix_tlog::hash::Hash;
use quorix_tlog::witness::Cosigned;
use quorix_trust::ports::{StoreError, WitnessRecord, WitnessStore};

use crate::database::{Database, Layout, OpenError, Shape, corrupt};
use crate::reopening::Reopening;
use crate::tree::split_u64;

/// `<origin>` → size, root, time, note.
const COSIGNED: (&str, Shape) = ("cosigned", Shape::Small);

const LAYOUT: Layout = Layout {
    schema: "quorix witness 1",
    columns: &[COSIGNED],
};

/// The store of a witness. After a failed write it is opened anew before anything else is cosigned.
pub struct RocksWitness {
    database: Reopening,
}

impl RocksWitness {
    /// Opens the store in this directory, or makes an empty one there.
    ///
    /// # Errors
    /// It is open elsewhere, of another role or version, damaged, or the file system refuses.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        Ok(Self {
            database: Reopening::open(dir, &LAYOUT)?,
        })
    }
}

impl WitnessStore for RocksWitness {
    fn record(&self, origin: &str) -> Result<Option<WitnessRecord>, StoreError> {
        self.database.read(|database| record(database, origin))
    }

    fn replace(
        &self,
        origin: &str,
        expected: Option<&Cosigned>,
        new: &WitnessRecord,
    ) -> Result<bool, StoreError> {
        self.database.write(|database| {
            let _writer = database.lock();
            if record(database, origin)?
                .map(|found| found.cosigned)
                .as_ref()
                != expected
            {
                return Ok(false);
            }
            let mut writes = database.batch();
            writes.put(COSIGNED.0, origin.as_bytes(), &encode(new))?;
            writes.commit("keeping what was cosigned")?;
            Ok(true)
        })
    }
}

fn record(database: &Database, origin: &str) -> Result<Option<WitnessRecord>, StoreError> {
    const OPERATION: &str = "reading what was cosigned";
    let bytes = database.get(COSIGNED.0, origin.as_bytes(), OPERATION)?;
    bytes
        .map(|bytes| {
            decode(&bytes).ok_or_else(|| corrupt(OPERATION, "the stored record is cut off"))
        })
        .transpose()
}

fn encode(record: &WitnessRecord) -> Vec<u8> {
    let Cosigned { size, root, time } = &record.cosigned;
    [
        size.to_be_bytes().as_slice(),
        root.as_bytes(),
        &time.to_be_bytes(),
        &record.note,
    ]
    .concat()
}

fn decode(bytes: &[u8]) -> Option<WitnessRecord> {
    let (size, rest) = split_u64(bytes)?;
    let (root, rest) = rest.split_first_chunk::<32>()?;
    let (time, note) = split_u64(rest)?;
    Some(WitnessRecord {
        cosigned: Cosigned {
            size,
            root: Hash::from_bytes(*root),
            time,
        },
        note: note.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use quorix_testkit::conformance;
    use quorix_tlog::hash::leaf_hash;

    use super::*;

    #[test]
    fn the_witness_on_rocksdb_conforms() {
        conformance::witness_store(|dir| RocksWitness::open(dir).unwrap());
    }

    #[test]
    fn one_process_has_a_witness_open() {
        let dir = tempfile::tempdir().unwrap();
        let _first = RocksWitness::open(dir.path()).unwrap();
        assert_eq!(
            RocksWitness::open(dir.path()).err().unwrap(),
            OpenError::Locked {
                dir: dir.path().to_path_buf()
            }
        );
    }

    #[test]
    fn a_cut_off_record_is_an_error_and_not_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = RocksWitness::open(dir.path()).unwrap();
        let record = WitnessRecord {
            cosigned: Cosigned {
                size: 1,
                root: leaf_hash(b""),
                time: 1,
            },
            note: Vec::new(),
        };
        let mut row = encode(&record);
        row.pop();
        let broken = store.database.write(|database| {
            let mut writes = database.batch();
            writes.put(COSIGNED.0, b"o", &row)?;
            writes.commit("breaking a row")
        });
        assert_eq!(broken, Ok(()));
        assert!(store.record("o").is_err());
        assert!(store.replace("o", None, &record).is_err());
    }
}
