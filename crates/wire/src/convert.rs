//! Domain views as protobuf and back: decisions, states of logs, proof of equivocation.
//!
//! Reading back is strict: an unknown value of an enumeration, a wrong length or facts that do not have their
//! fingerprint are errors. A decision read from a wire is what its sender says; it shows nothing.

use quorix_tlog::hash::Hash;
use quorix_trust::evidence::LogState;
use quorix_trust::ports::{Equivocation, Standing};

use crate::pb;

mod decision;

/// Most hashes of a consistency proof that is read, well above what any tree needs.
const PROOF_HASHES_MAX: usize = 128;

/// A message that says nothing valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {reason}")]
pub struct ConvertError {
    /// The field with its message, e.g. `decision.outcome`.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl ConvertError {
    fn new(field: &'static str, reason: impl ToString) -> Self {
        Self {
            field,
            reason: reason.to_string(),
        }
    }

    fn unknown(field: &'static str, value: i32) -> Self {
        Self::new(field, format!("has the unknown value {value}"))
    }
}

/// A log's state with its reason, which is empty unless it is stale.
#[must_use]
pub fn log_state(state: &LogState) -> (pb::LogState, String) {
    match state {
        LogState::Live => (pb::LogState::Live, String::new()),
        LogState::Stale { reason } => (pb::LogState::Stale, reason.clone()),
        LogState::Quarantined => (pb::LogState::Quarantined, String::new()),
    }
}

/// Reads proof of equivocation, without checking it.
///
/// # Errors
/// A hash that is not of 32 bytes, or more hashes than any tree needs.
pub fn equivocation(proof: pb::Equivocation) -> Result<Equivocation, ConvertError> {
    const FIELD: &str = "equivocation.consistency_proof";
    if proof.consistency_proof.len() > PROOF_HASHES_MAX {
        return Err(ConvertError::new(
            FIELD,
            "has more hashes than any tree needs",
        ));
    }
    let hash = |bytes: &Vec<u8>| fixed(FIELD, bytes).map(Hash::from_bytes);
    Ok(Equivocation {
        consistency_proof: proof
            .consistency_proof
            .iter()
            .map(hash)
            .collect::<Result<_, _>>()?,
        first: proof.first_checkpoint,
        second: proof.second_checkpoint,
    })
}

impl From<&Equivocation> for pb::Equivocation {
    fn from(proof: &Equivocation) -> Self {
        Self {
            first_checkpoint: proof.first.clone(),
            second_checkpoint: proof.second.clone(),
            consistency_proof: proof
                .consistency_proof
                .iter()
                .map(|hash| hash.as_bytes().to_vec())
                .collect(),
        }
    }
}

impl From<Standing> for pb::Standing {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Agree => Self::Agree,
            Standing::Disagree => Self::Disagree,
            Standing::OneBuilder => Self::OneBuilder,
            Standing::NoData => Self::NoData,
        }
    }
}

/// Exactly `N` bytes.
fn fixed<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], ConvertError> {
    let wrong = |_| ConvertError::new(field, format!("has {} bytes instead of {N}", bytes.len()));
    bytes.try_into().map_err(wrong)
}

#[cfg(test)]
mod tests;
