//! One job and its text: which paths of which store are to be attested.
//!
//! The text is JSON of one version; unknown fields are refused, so that a newer program's job is set aside rather
//! than half understood.

use std::path::PathBuf;

use quorix_host::location::Location;
use quorix_nix::store_path::StorePath;
use quorix_trust::attestation::Provenance;
use serde::{Deserialize, Serialize};

/// The most outputs that one job may have.
pub const OUTPUTS_MAX: usize = 1000;

const VERSION: u32 = 1;

/// Some outputs of one build, to be attested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The store that they are in.
    pub store: Location,
    /// The derivation that was built.
    pub derivation: Option<StorePath>,
    /// The outputs; all outputs of the derivation where none are named.
    pub outputs: Vec<StorePath>,
    /// When the job was made, POSIX seconds.
    pub time_s: u64,
    /// How the builder came by them.
    pub provenance: Provenance,
    /// Cores given to the build, 0 where not told.
    pub cores: u32,
}

/// Why a text is no job, or a job has no text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// Not JSON of this shape.
    #[error("it is not a job: {reason}")]
    Shape {
        /// What was said.
        reason: String,
    },
    /// Made by another version of the program.
    #[error("it is a job of version {found}; this program knows version {VERSION}")]
    Version {
        /// The version.
        found: u32,
    },
    /// A field has another value than it may have.
    #[error("its {field}: {reason}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    store_dir: String,
    real_dir: String,
    state_dir: String,
    derivation: Option<String>,
    outputs: Vec<String>,
    time_s: u64,
    provenance: ProvenanceText,
    cores: u32,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ProvenanceText {
    Built,
    Rebuilt,
}

/// Read first, so that another version is said to be just that.
#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

impl Job {
    /// The text of the job.
    ///
    /// # Errors
    /// When a directory is not UTF-8 or there are more than [`OUTPUTS_MAX`] outputs.
    pub fn to_text(&self) -> Result<String, JobError> {
        check_outputs(self.outputs.len(), self.derivation.is_some())?;
        let directory = |field, path: &PathBuf| {
            path.to_str()
                .map(str::to_owned)
                .ok_or_else(|| JobError::Field {
                    field,
                    reason: format!("{} is not UTF-8", path.display()),
                })
        };
        let text = Text {
            version: VERSION,
            store_dir: self.store.store_dir.to_string(),
            real_dir: directory("real_dir", &self.store.real_dir)?,
            state_dir: directory("state_dir", &self.store.state_dir)?,
            derivation: self.derivation.as_ref().map(ToString::to_string),
            outputs: self.outputs.iter().map(ToString::to_string).collect(),
            time_s: self.time_s,
            provenance: match self.provenance {
                Provenance::Built => ProvenanceText::Built,
                Provenance::Rebuilt => ProvenanceText::Rebuilt,
            },
            cores: self.cores,
        };
        serde_json::to_string(&text).map_err(|error| JobError::Shape {
            reason: error.to_string(),
        })
    }

    /// Reads the text of a job.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_text(bytes: &[u8]) -> Result<Self, JobError> {
        let shape = |error: serde_json::Error| JobError::Shape {
            reason: error.to_string(),
        };
        let VersionOnly { version } = serde_json::from_slice(bytes).map_err(shape)?;
        if version != VERSION {
            return Err(JobError::Version { found: version });
        }
        let text: Text = serde_json::from_slice(bytes).map_err(shape)?;
        check_outputs(text.outputs.len(), text.derivation.is_some())?;
        let path = |field, path: &String| {
            path.parse::<StorePath>().map_err(|error| JobError::Field {
                field,
                reason: error.to_string(),
            })
        };
        Ok(Self {
            store: Location {
                store_dir: text.store_dir.parse().map_err(|error| JobError::Field {
                    field: "store_dir",
                    reason: format!("{error}"),
                })?,
                real_dir: absolute("real_dir", text.real_dir)?,
                state_dir: absolute("state_dir", text.state_dir)?,
            },
            derivation: text
                .derivation
                .as_ref()
                .map(|text| path("derivation", text))
                .transpose()?,
            outputs: text
                .outputs
                .iter()
                .map(|text| path("outputs", text))
                .collect::<Result<_, _>>()?,
            time_s: text.time_s,
            provenance: match text.provenance {
                ProvenanceText::Built => Provenance::Built,
                ProvenanceText::Rebuilt => Provenance::Rebuilt,
            },
            cores: text.cores,
        })
    }
}

fn check_outputs(outputs: usize, has_derivation: bool) -> Result<(), JobError> {
    let field = |reason: String| {
        Err(JobError::Field {
            field: "outputs",
            reason,
        })
    };
    if outputs > OUTPUTS_MAX {
        return field(format!("there are {outputs}, more than {OUTPUTS_MAX}"));
    }
    if outputs == 0 && !has_derivation {
        return field("there are none, and no derivation either".to_owned());
    }
    Ok(())
}

fn absolute(field: &'static str, text: String) -> Result<PathBuf, JobError> {
    let path = PathBuf::from(text);
    if !path.is_absolute() || path.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(JobError::Field {
            field,
            reason: "it is not an absolute path".to_owned(),
        });
    }
    Ok(path)
}
