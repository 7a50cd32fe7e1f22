//! `quorix policy check`.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use quorix_trust::policy::{POLICY_BYTES_MAX, PolicyFiles};
use serde_json::json;

use super::files::read_at_most;
use super::read_policy;
use crate::output::{self, Exit, Failure};

/// Files that a policy names, beside the policy itself.
pub(super) struct Beside {
    folder: PathBuf,
    /// Those that were asked for, whether or not they are there.
    named: RefCell<Vec<PathBuf>>,
}

impl Beside {
    /// The folder of a policy.
    pub(super) fn of(policy: &Path) -> Self {
        let folder = policy.parent().filter(|one| !one.as_os_str().is_empty());
        Self {
            folder: folder.unwrap_or(Path::new(".")).into(),
            named: RefCell::default(),
        }
    }

    /// The files that the policy named so far.
    pub(super) fn named(self) -> Vec<PathBuf> {
        self.named.into_inner()
    }
}

impl PolicyFiles for Beside {
    fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        let path = self.folder.join(name);
        self.named.borrow_mut().push(path.clone());
        let data = std::fs::metadata(&path).map_err(|error| error.to_string())?;
        // A device or a pipe has no end.
        if !data.is_file() {
            return Err("it is not a file".into());
        }
        read_at_most(&path, POLICY_BYTES_MAX)
    }
}

pub(super) fn check(file: &Path, json: bool) -> Result<Exit, Failure> {
    let policy = read_policy(file)?;
    let default = policy
        .rules
        .get(policy.default)
        .map(|rule| rule.name.as_str())
        .unwrap_or_default();
    if json {
        let value = json!({
            "file": file,
            "operators": policy.operators(),
            "builders": policy.builders.iter().map(|builder| json!({
                "name": builder.name, "origin": builder.origin(), "operator": builder.operator, "urls": builder.urls,
            })).collect::<Vec<_>>(),
            "caches": policy.caches.iter().map(|cache| json!({
                "name": cache.name, "key": cache.key.to_string(), "operator": cache.operator, "url": cache.url,
            })).collect::<Vec<_>>(),
            "rules": policy.rules.iter().map(|rule| json!({"name": rule.name, "line": rule.line, "text": rule.text})).collect::<Vec<_>>(),
            "also": policy.also.iter().map(|also| json!({"name": also.rule.name, "line": also.rule.line, "text": also.rule.text})).collect::<Vec<_>>(),
            "default": default,
            "warnings": policy.warnings,
        });
        output::answer(format_args!("{value:#}"));
        return Ok(Exit::Yes);
    }
    output::answer(format_args!("{} is good.\n", file.display()));
    output::answer(format_args!(
        "  operators  {}",
        policy.operators().join(", ")
    ));
    for builder in &policy.builders {
        output::answer(format_args!(
            "  builder    {} votes for {}, log {}",
            builder.name,
            builder.operator,
            builder.origin()
        ));
    }
    for cache in &policy.caches {
        output::answer(format_args!(
            "  cache      {} votes for {}, key {}",
            cache.name,
            cache.operator,
            cache.key.name()
        ));
    }
    let witnesses = policy.witnesses.witnesses.iter();
    let witnesses: Vec<String> = witnesses.map(|one| one.name.to_string()).collect();
    if policy.has_witness_quorum() {
        output::answer(format_args!("  witnesses  {}", witnesses.join(", ")));
    }
    for rule in &policy.rules {
        output::answer(format_args!("  rule       {}", rule.name));
    }
    for also in &policy.also {
        output::answer(format_args!("  also       {}", also.rule.name));
    }
    output::answer(format_args!("  default    rule {default}"));
    if !policy.warnings.is_empty() {
        output::answer("\nWorth knowing:");
    }
    for warning in &policy.warnings {
        output::answer(format_args!("  {warning}"));
    }
    Ok(Exit::Yes)
}
