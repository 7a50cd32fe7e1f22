//! The `[witness]` section, and who must not be whose witness.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Listen, Listens};

/// `[witness]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessSection {
    /// The file with its secret key (Ed25519, type 0x04).
    pub key: PathBuf,
    /// A second key that resists quantum computers (ML-DSA-44, type 0x06).
    pub pq_key: Option<PathBuf>,
    /// Where logs ask for cosignatures and everybody reads them: port 8486 of every address where not told.
    #[serde(default = "everywhere")]
    pub listen: Listens,
    /// The keys of the logs that it cosigns, as `quorix key show` prints them.
    pub logs: Vec<String>,
    /// How many checkpoints of one log it cosigns in one minute.
    #[serde(default = "sixty")]
    pub per_minute: u32,
}

fn everywhere() -> Listens {
    Listens::one(Listen::Plain("0.0.0.0:8486".into()))
}

fn sixty() -> u32 {
    60
}
