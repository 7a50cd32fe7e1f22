//! What of a store is in use as a system: the running system and the profiles, as far as links say so.
//!
//! A link is followed step by step and never opened, so that a store under another root is read as it would be seen
//! from inside. Bounds: [`LINKS_MAX`] links of one folder, [`HOPS_MAX`] steps of one link.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use quorix_nix::store_path::StorePath;

use crate::location::Location;

/// The most links of one folder that are looked at.
pub const LINKS_MAX: usize = 10_000;
/// The most links that lead from one to the next.
pub const HOPS_MAX: usize = 16;

/// Where a running NixOS links what it runs.
const RUNNING: [&str; 2] = ["/run/current-system", "/run/booted-system"];

/// The store paths that the running system (only of the system's own store), the store's profiles and the profiles in
/// `more` folders lead to; of each profile its present generation. What leads nowhere is left out.
///
/// # Errors
/// A folder that is there cannot be read, or has more than [`LINKS_MAX`] entries.
pub fn in_use(location: &Location, more: &[PathBuf]) -> io::Result<BTreeSet<StorePath>> {
    let profiles = location.state_dir.join("profiles");
    let mut links = links_of(&profiles)?;
    for user in entries(&profiles.join("per-user"))? {
        links.extend(links_of(&user)?);
    }
    for folder in more {
        links.extend(links_of(folder)?);
    }
    if *location == Location::system() {
        links.extend(RUNNING.map(PathBuf::from));
    }
    Ok(links
        .iter()
        .filter_map(|link| target(location, link))
        .collect())
}

/// The profiles in a folder: links, but none that is one generation of another link.
fn links_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let is_generation = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.strip_suffix("-link")
            .and_then(|name| name.rsplit_once('-'))
            .is_some_and(|(_, number)| number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut links = entries(folder)?;
    links.retain(|path| path.is_symlink() && !is_generation(path));
    Ok(links)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let read = match fs::read_dir(folder) {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in read {
        if found.len() == LINKS_MAX {
            let message = format!("{} has more than {LINKS_MAX} entries", folder.display());
            return Err(io::Error::other(message));
        }
        found.push(entry?.path());
    }
    Ok(found)
}

/// The store path that a link leads to, or something inside of one.
#[must_use]
pub fn target(location: &Location, link: &Path) -> Option<StorePath> {
    let mut at = link.to_path_buf();
    for _ in 0..HOPS_MAX {
        let to = fs::read_link(&at).ok()?;
        at = at.parent().unwrap_or(Path::new("/")).join(to);
        for dir in [Path::new(location.store_dir.as_str()), &location.real_dir] {
            let Ok(inside) = at.strip_prefix(dir) else {
                continue;
            };
            let base = inside.components().next()?;
            return base.as_os_str().to_str()?.parse().ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const HELLO: &str = "93a4fjryvg1hz7bxki7wzd9cznsm20yx-hello";
    const OLD: &str = "03a4fjryvg1hz7bxki7wzd9cznsm20yx-hello";
    const SHELL: &str = "13a4fjryvg1hz7bxki7wzd9cznsm20yx-shell";

    #[test]
    fn of_each_profile_the_present_generation_is_in_use() {
        let root = tempfile::tempdir().unwrap();
        let location = Location::at_root(root.path());
        let profiles = location.state_dir.join("profiles");
        let user = profiles.join("per-user/ann");
        let home = root.path().join("home");
        fs::create_dir_all(&user).unwrap();
        fs::create_dir_all(&home).unwrap();
        let store = |base: &str| format!("/nix/store/{base}");
        symlink(store(OLD), profiles.join("system-1-link")).unwrap();
        symlink(store(HELLO), profiles.join("system-2-link")).unwrap();
        symlink("system-2-link", profiles.join("system")).unwrap();
        symlink(
            location.real_dir.join(SHELL).join("bin"),
            user.join("shell"),
        )
        .unwrap();
        symlink("/somewhere/else", home.join("profile")).unwrap();
        symlink("loop", home.join("loop")).unwrap();

        let found = in_use(&location, &[home, root.path().join("nowhere")]).unwrap();
        let expected = [HELLO, SHELL].map(|base| base.parse().unwrap());
        assert_eq!(found, expected.into());
    }

    #[test]
    fn without_profiles_nothing_is_in_use() {
        let root = tempfile::tempdir().unwrap();
        let location = Location::at_root(root.path());
        assert_eq!(in_use(&location, &[]).unwrap(), BTreeSet::new());
    }
}
