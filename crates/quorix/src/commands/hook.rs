//! `quorix hook post-build`, which Nix calls, and `quorix hook status`.

use std::env;
use std::path::Path;

use quorix_builder::hook::{HookVariables, post_build as note};
use quorix_builder::outbox::Outbox;
use quorix_host::location::HookEnvironment;
use serde_json::json;

use super::configuration;
use crate::output::{self, Exit, Failure};

/// Notes what was built. Always exits with 0: a hook that fails would fail the build.
pub(super) fn post_build(file: &Path) -> Exit {
    let config = match configuration(file) {
        Ok(config) => config,
        Err(failure) => {
            output::remark(format_args!(
                "quorix: this build is not attested: {failure}"
            ));
            return Exit::Yes;
        }
    };
    let read = |name: &str| env::var(name).ok();
    let (drv_path, out_paths, nix_config) =
        (read("DRV_PATH"), read("OUT_PATHS"), read("NIX_CONFIG"));
    let (nix_store_dir, nix_state_dir) = (read("NIX_STORE_DIR"), read("NIX_STATE_DIR"));
    let current_dir = env::current_dir().ok();
    let variables = HookVariables {
        drv_path: drv_path.as_deref(),
        out_paths: out_paths.as_deref(),
        store: HookEnvironment {
            nix_config: nix_config.as_deref(),
            nix_store_dir: nix_store_dir.as_deref(),
            nix_state_dir: nix_state_dir.as_deref(),
            current_dir: current_dir.as_deref(),
        },
    };
    note(&variables, &config.role_dir("builder").join("outbox"));
    Exit::Yes
}

/// What waits, and what was set aside and why.
pub(super) fn status(json: bool, file: &Path) -> Result<Exit, Failure> {
    let config = configuration(file)?;
    let outbox =
        Outbox::open(&config.role_dir("builder").join("outbox")).map_err(Failure::unknown)?;
    let counts = outbox.counts().map_err(Failure::unknown)?;
    let rejected = outbox.rejected().map_err(Failure::unknown)?;
    if json {
        let rejected: Vec<_> = rejected
            .iter()
            .map(|(id, reason)| json!({"job": id.to_string(), "reason": reason}))
            .collect();
        let value =
            json!({"waiting": counts.waiting, "rejected": rejected, "unreadable": counts.bad});
        output::answer(format_args!("{value:#}"));
        return Ok(Exit::Yes);
    }
    output::answer(format_args!(
        "{} waiting to be attested, {} set aside, {} unreadable.",
        counts.waiting, counts.rejected, counts.bad
    ));
    for (id, reason) in rejected {
        output::answer(format_args!("  {id}: {reason}"));
    }
    Ok(Exit::Yes)
}
