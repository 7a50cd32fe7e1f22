//! The ports of `quorix-trust` on RocksDB: one's own log, the aggregator's mirrors and index, and what a witness has cosigned.
//!
//! The only crate that knows RocksDB. One database per role and one process per database. A commit is one write batch
//! that is on the disk when it returns; nothing that is done per append, per start or per query grows with the size of
//! a log. Stored bytes that cannot be read are errors, never a panic.
//!
//! Memory is bounded for a laptop whatever the size of the database: about 64 MiB (see `database.rs`).

#![cfg_attr(
    test,
    expect(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "tests fail by panicking"
    )
)]

mod database;
mod index;
mod log;
mod log_index;
mod reopening;
mod tree;
mod witness;

pub use database::{OpenError, TornTail};
pub use index::{DumpError, RocksIndex};
pub use log::RocksLog;
pub use log_index::RocksLogIndex;
pub use witness::RocksWitness;
