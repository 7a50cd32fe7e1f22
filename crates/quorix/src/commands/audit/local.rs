//! What this machine has: paths of its Nix store's database, and content-addressed ones hashed again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use quorix_host::content::{self, ContentError};
use quorix_host::location::Location;
use quorix_host::roots;
use quorix_host::store::{PathInfo, Store, StoreError};
use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::store_path::StorePath;

use crate::output::{self, Failure};

/// What is audited.
#[derive(Debug)]
pub(super) enum Asked {
    /// What the running system and the profiles refer to.
    InUse,
    /// The whole store, but derivations.
    All,
    /// These paths, or links to them, and what they refer to.
    Paths(Vec<String>),
}

/// One path that is installed.
#[derive(Clone, Debug)]
pub(super) struct Local {
    /// The path.
    pub(super) path: StorePath,
    /// What the store's database says that it is.
    pub(super) facts: Fingerprint,
    /// Whether this machine built it itself.
    pub(super) built_here: bool,
    /// Where it is content-addressed: the facts, computed from its bytes; or why they do not fit.
    pub(super) recomputed: Result<Option<Fingerprint>, ContentError>,
}

/// Reads what is asked for.
pub(super) fn read(
    asked: &Asked,
    root: Option<&Path>,
    bar: &ProgressBar,
) -> Result<BTreeMap<StorePath, Local>, Failure> {
    let location = Location::at_root(root.unwrap_or(Path::new("")));
    let store = Store::open(location.clone()).map_err(failed)?;
    if let Some(warning) = store.warning() {
        output::remark(format_args!("warning: {warning}"));
    }
    let infos = match asked {
        Asked::All => store.all().map_err(failed)?,
        Asked::InUse => store.closure(&in_use(&location)?).map_err(failed)?,
        Asked::Paths(texts) => {
            let paths = texts.iter().map(|text| parse(&location, text));
            store
                .closure(&paths.collect::<Result<_, _>>()?)
                .map_err(failed)?
        }
    };
    // A closure of a build has derivations in it: nobody votes on recipes, and Nix named them after their text.
    let infos = infos
        .into_values()
        .filter(|info| !info.path.name().ends_with(".drv"));
    let infos: Vec<PathInfo> = infos.collect();
    bar.set_length(infos.len() as u64);
    let local = |info: PathInfo| {
        let recomputed = content::recompute(&location, &info);
        bar.inc(1);
        let local = Local {
            facts: info.fingerprint(&location),
            built_here: info.ultimate,
            recomputed,
            path: info.path.clone(),
        };
        (info.path, local)
    };
    Ok(infos.into_iter().map(local).collect())
}

fn failed(error: StoreError) -> Failure {
    match error {
        StoreError::NotValid { .. } => Failure::wrong(error),
        StoreError::NoDatabase { .. } => {
            Failure::wrong(format!("{error}\n  say where the store is: --store FOLDER"))
        }
        error => Failure::unknown(error),
    }
}

fn in_use(location: &Location) -> Result<BTreeSet<StorePath>, Failure> {
    let home: Vec<PathBuf> = match std::env::var_os("HOME") {
        Some(home) if *location == Location::system() => {
            vec![Path::new(&home).join(".local/state/nix/profiles")]
        }
        _ => Vec::new(),
    };
    let roots = roots::in_use(location, &home)
        .map_err(|error| Failure::unknown(format!("reading the profiles: {error}")))?;
    if roots.is_empty() {
        return Err(Failure::wrong(format!(
            "no profile in {} leads to a store path\n  audit the whole store with --all, or name paths: quorix audit path PATH",
            location.state_dir.join("profiles").display()
        )));
    }
    Ok(roots)
}

/// A store path as people write it, or a link to one.
fn parse(location: &Location, text: &str) -> Result<StorePath, Failure> {
    let base = text.strip_prefix(&format!("{}/", location.store_dir.as_str()));
    // Something inside of a path means the path.
    let base = base.map(|inside| inside.split('/').next().unwrap_or_default());
    if let Ok(path) = base.unwrap_or(text).parse() {
        return Ok(path);
    }
    roots::target(location, Path::new(text)).ok_or_else(|| {
        Failure::wrong(format!(
            "`{text}` is no store path and no link to one\n  write it whole (/nix/store/HASH-NAME), or name a link such as ./result"
        ))
    })
}
