//! Who may submit to this machine's log, as `[log]` says: users, client certificates and tokens.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use quorix_log::access::{Access, Doors, Grants, Limits};
use quorix_log::grpc::Monotonic;

use super::Start;
use crate::config::{LimitsSection, LogSection, Principal};
use crate::listen::Door;
use crate::output::Failure;
use crate::reload::LookedAt;

/// The most bytes of a token file, and of the list of users.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Who can do everything on this machine anyway.
const SUPERUSER: u32 = 0;

/// Access control of the log, and its tokens read again when they change.
///
/// # Errors
/// The token file cannot be used, a user is not known, or the system has no randomness.
pub fn start(start: &mut Start<'_>, section: &LogSection) -> Result<Arc<Access>, Failure> {
    let doors = doors(section)?;
    let limits = doors.limits;
    let before = LookedAt::now(section.tokens.iter().cloned().collect());
    let grants = grants(section, limits).map_err(Failure::wrong)?;
    let mut boot_id = [0_u8; 16];
    getrandom::fill(&mut boot_id)
        .map_err(|error| Failure::unknown(format!("no randomness from the system: {error}")))?;
    let access = Arc::new(Access::new(boot_id, doors, grants, &mut start.registry));
    if section.tokens.is_some() {
        let (again, section) = (Arc::clone(&access), section.clone());
        start.reload.watch("the tokens", before, move || {
            again.replace_grants(self::grants(&section, limits)?);
            Ok(())
        });
    }
    Ok(access)
}

/// Who may use the log's socket: those who may submit, so that nobody else takes their places there. Where a token is
/// asked for everybody may come, since only the token says who it is.
///
/// # Errors
/// A user or group is not known.
pub fn door(section: &LogSection) -> Result<Door, Failure> {
    let doors = doors(section)?;
    Ok(Arc::new(move |user, group| {
        doors.token_on_socket
            || doors.users.contains_key(&user)
            || doors.groups.contains_key(&group)
    }))
}

/// The time since the start of the process, which never goes back.
#[must_use]
pub fn monotonic() -> Monotonic {
    let begin = Instant::now();
    Arc::new(move || begin.elapsed())
}

/// Reads the token file, if there is one.
///
/// # Errors
/// It cannot be read, or a line is wrong.
pub fn grants(section: &LogSection, limits: Limits) -> Result<Grants, String> {
    let Some(file) = &section.tokens else {
        return Ok(Grants::default());
    };
    Grants::parse(&text(file)?, &section.origin, limits)
        .map_err(|error| format!("{}: {error}", file.display()))
}

/// Users, certificates and limits of the section.
///
/// # Errors
/// A user or group is not known on this machine.
pub fn doors(section: &LogSection) -> Result<Doors, Failure> {
    let owner = owner()?;
    let mut users = BTreeMap::from([(SUPERUSER, "owner".to_owned()), (owner, "owner".to_owned())]);
    for user in &section.users {
        let id = id_of(user, Path::new("/etc/passwd"))
            .map_err(|reason| Failure::wrong(format!("log.users: {reason}")))?;
        users.entry(id).or_insert_with(|| format!("user {user}"));
    }
    let mut groups = BTreeMap::new();
    for group in &section.groups {
        let id = id_of(group, Path::new("/etc/group"))
            .map_err(|reason| Failure::wrong(format!("log.groups: {reason}")))?;
        groups.insert(id, format!("group {group}"));
    }
    Ok(Doors {
        users,
        groups,
        unlimited: vec![SUPERUSER, owner],
        clients: section
            .clients
            .iter()
            .map(|client| client.0.clone())
            .collect(),
        token_on_socket: section.token_on_socket,
        limits: limits(&section.limits),
    })
}

fn limits(section: &LimitsSection) -> Limits {
    let defaults = Limits::default();
    Limits {
        requests_per_second: section
            .requests_per_second
            .unwrap_or(defaults.requests_per_second),
        entries_per_second: section
            .entries_per_second
            .unwrap_or(defaults.entries_per_second),
        bytes_per_second: section
            .bytes_per_second
            .unwrap_or(defaults.bytes_per_second),
        request_bytes: section.request_bytes.unwrap_or(defaults.request_bytes),
    }
}

/// The user as which this process runs.
fn owner() -> Result<u32, Failure> {
    let process = std::fs::metadata("/proc/self");
    process
        .map(|process| process.uid())
        .map_err(|error| Failure::unknown(format!("/proc/self: {error}")))
}

/// The number of a user or group: itself, or as the file says (`name:x:number:…`).
fn id_of(principal: &Principal, file: &Path) -> Result<u32, String> {
    let name = match principal {
        Principal::Id(id) => return Ok(*id),
        Principal::Name(name) => name,
    };
    let list = text(file)?;
    let found = list.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(name.as_str());
        let id = fields.nth(1)?;
        is_it.then(|| id.parse().ok()).flatten()
    });
    found.ok_or_else(|| format!("`{name}` is not in {}; write its number", file.display()))
}

fn text(file: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("{} cannot be read: {error}", file.display());
    if std::fs::metadata(file).map_err(unreadable)?.len() > FILE_BYTES_MAX {
        return Err(format!("{} is larger than 4 MiB", file.display()));
    }
    std::fs::read_to_string(file).map_err(unreadable)
}

#[cfg(test)]
mod tests;
