//! What Nix runs after a build. It leaves a job in the outbox, and that is all: no network, no hashing, and nothing
//! that goes wrong here is the build's concern.
//!
//! A hook that fails makes Nix fail a build whose result is fine (Nix manual, "post-build-hook"); so this only warns.

use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use quorix_host::location::{HookEnvironment, Location, LocationError};
use quorix_host::settings::Settings;
use quorix_host::store::read_derivation;
use quorix_nix::store_path::{StorePath, StorePathError};
use quorix_trust::attestation::Provenance;

use crate::outbox::{Job, JobId, Outbox, OutboxError};

/// The variables that Nix gives its post-build hook, as the process got them.
#[derive(Clone, Copy, Debug, Default)]
pub struct HookVariables<'a> {
    /// `DRV_PATH`: the derivation that was built.
    pub drv_path: Option<&'a str>,
    /// `OUT_PATHS`: its outputs, separated by spaces. Nix 2.8.0 leaves it empty always, 2.30 to 2.32.3 for check
    /// builds.
    pub out_paths: Option<&'a str>,
    /// The rest: what tells the store.
    pub store: HookEnvironment<'a>,
}

/// Notes what was built in the outbox in this directory. Whatever goes wrong becomes one line on standard error.
pub fn post_build(variables: &HookVariables<'_>, outbox: &Path) {
    if let Err(error) = note(variables, outbox) {
        let text: String = error
            .to_string()
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        // There is nobody to tell that it could not be told.
        let _ = writeln!(
            io::stderr(),
            "quorix: warning: this build will not be attested: {text}"
        );
    }
}

/// Why a build will not be attested.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HookError {
    /// Nix did not say what it built.
    #[error("neither DRV_PATH nor OUT_PATHS is set; is this run by Nix as its post-build hook?")]
    Nothing,
    /// The store is none that can be read.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// A variable holds no store path.
    #[error("{variable} has `{}`: {error}", text.escape_debug())]
    Path {
        /// The variable.
        variable: &'static str,
        /// At most 300 characters of the word.
        text: String,
        /// What is wrong.
        error: StorePathError,
    },
    /// The job could not be put.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
}

pub(crate) fn note(variables: &HookVariables<'_>, outbox: &Path) -> Result<JobId, HookError> {
    let store = Location::of_hook(&variables.store)?;
    let parse = |variable, text: &str| {
        store
            .store_dir
            .parse(text)
            .map_err(|error| HookError::Path {
                variable,
                text: text.chars().take(300).collect(),
                error,
            })
    };
    let given = variables
        .drv_path
        .map(str::trim)
        .filter(|path| !path.is_empty());
    let derivation = given.map(|path| parse("DRV_PATH", path)).transpose()?;
    let words = variables.out_paths.unwrap_or_default().split_whitespace();
    let mut outputs: Vec<StorePath> = words
        .map(|word| parse("OUT_PATHS", word))
        .collect::<Result<_, _>>()?;
    if outputs.is_empty() {
        let Some(derivation) = &derivation else {
            return Err(HookError::Nothing);
        };
        // The file is small and was just used. If it cannot be read now, the flusher asks the database.
        let known = read_derivation(&store, derivation).map(|derivation| derivation.outputs);
        outputs.extend(
            known
                .unwrap_or_default()
                .values()
                .filter_map(|output| output.path().cloned()),
        );
    }
    let job = Job {
        cores: cores(variables.store.nix_config),
        store,
        derivation,
        outputs,
        time_s: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| now.as_secs()),
        provenance: Provenance::Built,
    };
    Ok(Outbox::open(outbox)?.put(&job)?)
}

/// The setting `cores`; 0, which means all, is not told.
fn cores(nix_config: Option<&str>) -> u32 {
    let settings = Settings::parse(nix_config.unwrap_or_default());
    settings
        .get("cores")
        .and_then(|cores| cores.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests;
