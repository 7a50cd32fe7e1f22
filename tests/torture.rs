//! Everything that tries to break a log from outside: kills, power cuts, full disks, rivals, and another implementation.
//! The log is always the real program on real RocksDB, in a folder and on ports of its own; what it promised is held
//! against it by an oracle that follows it as a stranger does.
//! Needs the program's path in QUORIX_BIN, a C compiler and Go: `make test` sees to all three.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking, and print what they tried"
)]

#[path = "torture/backup.rs"]
mod backup;
#[path = "torture/boundaries.rs"]
mod boundaries;
#[path = "torture/dice.rs"]
mod dice;
#[path = "torture/disk_full.rs"]
mod disk_full;
#[path = "torture/forger.rs"]
mod forger;
#[path = "torture/go.rs"]
mod go;
#[path = "torture/hammer.rs"]
mod hammer;
#[path = "torture/host.rs"]
mod host;
#[path = "torture/interop.rs"]
mod interop;
#[path = "torture/interposed.rs"]
mod interposed;
#[path = "torture/kill.rs"]
mod kill;
#[path = "torture/lost_sync.rs"]
mod lost_sync;
#[path = "torture/lost_witness.rs"]
mod lost_witness;
#[path = "torture/oracle.rs"]
mod oracle;
#[path = "torture/power_cut.rs"]
mod power_cut;
#[path = "torture/rivals.rs"]
mod rivals;
#[path = "torture/syncs.rs"]
mod syncs;
#[path = "../crates/tlog/tests/memory/tiles.rs"]
mod tiles;
#[path = "torture/witness_host.rs"]
mod witness_host;
#[path = "torture/witnessed.rs"]
mod witnessed;
