//! Why an aggregator does not start, and why a question has no answer.
//!
//! A policy's "no" is a decision, never an error. The one mapping to gRPC codes is in [`crate::grpc`].

use quorix_trust::ports::StoreError;

/// Why an aggregator does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// A configured value cannot work.
    #[error("{field} must be {allowed}")]
    Config {
        /// Name of the field of [`AggregatorConfig`](crate::config::AggregatorConfig).
        field: &'static str,
        /// What is allowed.
        allowed: &'static str,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// An argument is not what it should be.
    #[error("{argument}: {reason}")]
    Argument {
        /// Which argument, e.g. `paths[3]`.
        argument: String,
        /// What was wrong, and what is expected.
        reason: String,
    },
    /// The answer would be larger than one answer may be.
    #[error("the answer would have more than {limit} {unit}; ask for fewer paths at once")]
    TooMuch {
        /// The bound.
        limit: usize,
        /// Of what.
        unit: &'static str,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
