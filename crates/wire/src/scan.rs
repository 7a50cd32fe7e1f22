//! Reading whole logs and believing none of it: what fsck, export, mirror and tail have in common.
//!
//! A log is read from its static API, from a folder of the same files, or from its own database ([`LogSource`]).
//! [`Growth`] takes in what a log has beyond what is known, in steps, and gives out nothing that is not proved to be
//! part of the signed tree. [`check`] looks at everything, whole, and goes on counting where something is wrong.
//! Memory is bounded by a step, whatever the size of a log. Specification: C2SP tlog-tiles.

mod blobs;
mod check;
mod counting;
mod growth;
mod levels;
mod prove;
mod source;
#[cfg(test)]
mod tests;

pub use blobs::{BlobProblem, check as check_blobs, named as named_blobs};
pub use check::{Check, Progress, check};
pub use counting::{Counts, PROBLEMS_NAMED_MAX, Problem, State};
pub use growth::{GrowError, Grown, GrownBundle, Growth};
pub use prove::{inclusion, older_root};
pub use source::{LogSource, ReadError};
