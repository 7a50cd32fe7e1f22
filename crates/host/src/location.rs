//! Where a store is: the directory that its paths name, the directory that holds their bytes, and its database.
//!
//! The two directories differ for a store under another root (`nix build --store DIR`): its paths still begin with
//! `/nix/store`, their bytes lie in `DIR/nix/store`. Nix manual: "Local Store", "Store URL format".

use std::path::{Component, Path, PathBuf};

use quorix_nix::store_path::{StoreDir, StorePath, StorePathError};

use crate::settings::Settings;

const PATH_BYTES_MAX: usize = 4096;

/// Where one local store is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The directory that store paths begin with, in signatures and references.
    pub store_dir: StoreDir,
    /// The directory where their bytes really are.
    pub real_dir: PathBuf,
    /// The directory with `db/db.sqlite`, usually `/nix/var/nix`.
    pub state_dir: PathBuf,
}

impl Location {
    /// The system's store, `/nix`.
    #[must_use]
    pub fn system() -> Self {
        Self {
            store_dir: StoreDir::default(),
            real_dir: PathBuf::from("/nix/store"),
            state_dir: PathBuf::from("/nix/var/nix"),
        }
    }

    /// The store under another root; the system's store for an empty `root`.
    #[must_use]
    pub fn at_root(root: &Path) -> Self {
        if root.as_os_str().is_empty() {
            return Self::system();
        }
        Self {
            store_dir: StoreDir::default(),
            real_dir: root.join("nix/store"),
            state_dir: root.join("nix/var/nix"),
        }
    }

    /// The store that a hook runs for.
    ///
    /// # Errors
    /// When its settings name a store that is not a local one, or one that cannot be a path.
    pub fn of_hook(hook: &HookEnvironment<'_>) -> Result<Self, LocationError> {
        let settings = Settings::parse(hook.nix_config.unwrap_or_default());
        Self::of_store_url(settings.get("store").unwrap_or("auto"), hook)
    }

    /// The store that a store URL names: `auto`, `daemon`, `local`, `/path`, `local:///path`, `unix://…`, each with
    /// `?root=`, `?store=`, `?state=`, `?real=` where they are given.
    ///
    /// # Errors
    /// As [`Self::of_hook`].
    pub fn of_store_url(url: &str, hook: &HookEnvironment<'_>) -> Result<Self, LocationError> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut parameters = Parameters::parse(query)?;
        match base {
            "" | "auto" | "daemon" | "local" => {}
            base => match base.split_once("://") {
                Some(("local", "")) | Some(("unix", _)) => {}
                Some(("local", root)) => parameters.root = Some(decode(root)?),
                Some(_) => {
                    return Err(LocationError::NotLocal {
                        url: shortened(url),
                    });
                }
                None if base.contains('/') => parameters.root = Some(base.to_owned()),
                None => {
                    return Err(LocationError::NotLocal {
                        url: shortened(url),
                    });
                }
            },
        }
        parameters.resolve(hook)
    }

    /// The store database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.state_dir.join("db/db.sqlite")
    }

    /// Where the bytes of a path really are.
    #[must_use]
    pub fn real_path(&self, path: &StorePath) -> PathBuf {
        self.real_dir.join(path.as_str())
    }
}

/// What a hook's environment says of its store. The values of the variables, as the process got them.
#[derive(Clone, Copy, Debug, Default)]
pub struct HookEnvironment<'a> {
    /// `NIX_CONFIG`: all settings of the Nix that runs the hook.
    pub nix_config: Option<&'a str>,
    /// `NIX_STORE_DIR`.
    pub nix_store_dir: Option<&'a str>,
    /// `NIX_STATE_DIR`.
    pub nix_state_dir: Option<&'a str>,
    /// The working directory, to which a relative store path is relative.
    pub current_dir: Option<&'a Path>,
}

/// Why a store could not be located.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// The URL names something else than a store on this machine.
    #[error("`{url}` is not a local Nix store; give the store's directory, or `auto`")]
    NotLocal {
        /// The URL, at most 100 characters of it.
        url: String,
    },
    /// The path is not usable.
    #[error(
        "`{path}` cannot be a store's place: it must be an absolute path of at most 4096 bytes without `..`"
    )]
    Path {
        /// The path, at most 100 characters of it.
        path: String,
    },
    /// A percent sign without two hex digits.
    #[error("`{text}` has a percent sign that is not followed by two hex digits")]
    Percent {
        /// The text, at most 100 characters of it.
        text: String,
    },
    /// The logical store directory is malformed.
    #[error("the store directory: {0}")]
    StoreDir(StorePathError),
}

#[derive(Default)]
struct Parameters {
    root: Option<String>,
    store: Option<String>,
    state: Option<String>,
    real: Option<String>,
}

impl Parameters {
    fn parse(query: &str) -> Result<Self, LocationError> {
        let mut parameters = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let slot = match name {
                "root" => &mut parameters.root,
                "store" => &mut parameters.store,
                "state" => &mut parameters.state,
                "real" => &mut parameters.real,
                _ => continue,
            };
            *slot = Some(decode(value)?).filter(|value| !value.is_empty());
        }
        Ok(parameters)
    }

    fn resolve(self, hook: &HookEnvironment<'_>) -> Result<Location, LocationError> {
        let set = |value: Option<&str>| value.filter(|value| !value.is_empty()).map(str::to_owned);
        let store_dir = match self.store.or_else(|| set(hook.nix_store_dir)) {
            Some(dir) => dir.parse().map_err(LocationError::StoreDir)?,
            None => StoreDir::default(),
        };
        let rooted = match self.root {
            Some(root) => Some(Location::at_root(&absolute(&root, hook)?)),
            None => None,
        };
        let real_dir = match (self.real, &rooted) {
            (Some(real), _) => absolute(&real, hook)?,
            (None, Some(rooted)) => rooted.real_dir.clone(),
            (None, None) => PathBuf::from(store_dir.as_str()),
        };
        let state_dir = match (self.state, rooted, set(hook.nix_state_dir)) {
            (Some(state), _, _) => absolute(&state, hook)?,
            (None, Some(rooted), _) => rooted.state_dir,
            (None, None, Some(state)) => absolute(&state, hook)?,
            (None, None, None) => Location::system().state_dir,
        };
        Ok(Location {
            store_dir,
            real_dir,
            state_dir,
        })
    }
}

/// An absolute path without `.` and doubled slashes.
fn absolute(text: &str, hook: &HookEnvironment<'_>) -> Result<PathBuf, LocationError> {
    let path = match hook.current_dir {
        Some(current) if !text.starts_with('/') => current.join(text),
        _ => PathBuf::from(text),
    };
    let bytes = path.as_os_str().as_encoded_bytes();
    let climbs = path.components().any(|part| part == Component::ParentDir);
    if !path.is_absolute() || climbs || bytes.len() > PATH_BYTES_MAX || bytes.contains(&0) {
        return Err(LocationError::Path {
            path: shortened(text),
        });
    }
    Ok(path.components().collect())
}

fn decode(text: &str) -> Result<String, LocationError> {
    let error = || LocationError::Percent {
        text: shortened(text),
    };
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or_else(error)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(error());
        }
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| error())?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| error())
}

fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests;
