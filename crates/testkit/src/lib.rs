//! Everything that tests of several crates share: test data with names, in-memory ports, a clock that is set by
//! hand, faults on demand, and the conformance suites that every store passes.
//!
//! For tests only: it fails by panicking, and no product code depends on it.
//!
//! - [`entries`]: log entries, keys and paths, made in one line
//! - [`tree`]: grows trees batch by batch, and a slow oracle for roots and tiles
//! - [`memory`]: the ports of `quorix-trust` in memory
//! - [`conformance`]: what every implementation of a port must do
//! - [`faults`]: a log store that fails, stalls and counts
//! - [`certificates`]: authorities and certificates for TLS
//! - [`clock`]: a clock that only moves when told to

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test kit fails by panicking"
)]

pub mod certificates;
pub mod clock;
pub mod conformance;
pub mod entries;
pub mod faults;
pub mod memory;
pub mod tree;
