//! The witness protocol: what a log asks, what a witness decides, and what it answers.
//!
//! `request` is the wire format of `add-checkpoint`, `judge` the witness's decision as a function
//! of request, known keys and the state kept for that log, `reply` what a log believes of the
//! answer. Nothing here keeps state: whoever judges must check the state and write the new one as
//! one step, synced before anything of the answer leaves. What is signed is always printed anew
//! from what was understood, and no signature is carried that was not verified. Specification:
//! C2SP tlog-witness.

mod judge;
mod reply;
mod request;

pub use judge::{Accepted, CLOCK_TOLERANCE, Cosigned, Refusal, WitnessedLog, judge};
pub use reply::{MAX_REPLY_LENGTH, ReplyError, read_cosignatures, read_size};
pub use request::{AddCheckpoint, MAX_PROOF_LINES, MAX_REQUEST_LENGTH, RequestError};

#[cfg(test)]
mod tests;
