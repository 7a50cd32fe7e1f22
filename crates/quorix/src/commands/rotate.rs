//! `quorix key rotate`: the end of this machine's log, and what its operator and its readers do then.
//!
//! Never touches the configuration, the database or a key that is there: the key that follows begins a log of its own, and
//! both are swapped by hand, with the old log's data kept.

use std::path::{Path, PathBuf};

use quorix_log::beginning::NewKey;
use quorix_tlog::note::{KeyError, SigningKey, VerifierKey};
use quorix_trust::attestation::{Entry, KeyRotation};
use quorix_wire::client::LogClient;
use quorix_wire::entry::encode;
use serde_json::json;

use super::key::write_secret;
use super::log::{own_socket, retract::is_confirmed, which};
use super::{channel_to, configuration};
use crate::output::{self, Exit, Failure};
use crate::wiring::keys::{self, AnyKey};

/// What was typed.
pub(super) struct Rotate {
    pub(super) file: PathBuf,
    pub(super) name: Option<String>,
    pub(super) yes: bool,
    pub(super) json: bool,
    pub(super) config: PathBuf,
}

pub(super) async fn rotate(typed: &Rotate) -> Result<Exit, Failure> {
    let config = configuration(&typed.config)?;
    let section = which::own_section(&config, &typed.config)?;
    let old = keys::log_key(&section.key, &section.origin)?;
    let address = own_socket(&section)?;
    let client = LogClient::new(channel_to(&address, &typed.config)?);
    let asked = |error| {
        Failure::unknown(format!(
            "{error} (the log at {address}; it must be running)"
        ))
    };
    // Before a key is made for nothing.
    let status = client.status().await.map_err(asked)?;
    if status.vkey != old.verifier().to_string() {
        return Err(Failure::wrong(format!(
            "the log at {address} has the key {}, the configuration that of {}",
            shown(&status.vkey),
            old.verifier()
        )));
    }
    let new = following_key(&typed.file, typed.name.as_deref(), &old)?;
    let rotation = KeyRotation::sign(&old, &new).map_err(Failure::wrong)?;
    let question = format!(
        "End the log {} for good, and hand over to {}?",
        section.origin,
        new.verifier().name()
    );
    if !typed.yes && !is_confirmed(&question)? {
        return Err(Failure::refused("nothing was ended"));
    }
    let entry = encode(&Entry::KeyRotation(rotation)).map_err(Failure::unknown)?;
    let rotated = client.rotate(entry).await.map_err(asked)?;
    let index = rotated.indices.first().map_or(0, |(index, _)| *index);
    report(typed, old.verifier(), new.verifier(), index);
    Ok(Exit::Yes)
}

/// The key in the file, or a new one there.
fn following_key(file: &Path, name: Option<&str>, old: &SigningKey) -> Result<SigningKey, Failure> {
    if file.exists() {
        let AnyKey::Log(key) = keys::any_key(file)? else {
            return Err(Failure::wrong(format!(
                "{} is no key of a log; name a file that is not there and --name, and one is made",
                file.display()
            )));
        };
        if name.is_some_and(|name| name != key.verifier().name().as_str()) {
            return Err(Failure::wrong(format!(
                "the key in {} is called {}; leave --name out to use it",
                file.display(),
                key.verifier().name()
            )));
        }
        return Ok(key);
    }
    let name = name.ok_or_else(|| {
        Failure::wrong(format!(
            "{} is not there; to make the key, say how its log is called: --name NAME",
            file.display()
        ))
    })?;
    if name == old.verifier().name().as_str() {
        return Err(Failure::wrong(format!(
            "--name: a name stands for one history, so the log that follows needs another one than {name}"
        )));
    }
    let name = name.parse().map_err(|error: KeyError| {
        Failure::wrong(format!("`{name}` cannot be the name of a key: {error}"))
    })?;
    let mut seed = [0_u8; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| Failure::unknown(format!("no randomness from the system: {error}")))?;
    let key = SigningKey::from_seed(name, seed);
    write_secret(file, &key.to_text())
        .map_err(|error| Failure::wrong(format!("{} was not made: {error}", file.display())))?;
    // The first start of the log that follows asks for it.
    let mark = NewKey::beside(file, key.verifier());
    mark.mark().map_err(|error| {
        let (file, mark) = (file.display(), mark.path().display());
        Failure::unknown(format!(
            "{file} was made, but not {mark} beside it, which says that it is new: {error}"
        ))
    })?;
    Ok(key)
}

fn report(typed: &Rotate, old: &VerifierKey, new: &VerifierKey, index: u64) {
    if typed.json {
        let value = json!({
            "origin": old.name().as_str(), "index": index, "vkey": old.to_string(), "successor": new.to_string(),
        });
        return output::answer(format_args!("{value:#}"));
    }
    output::answer(format_args!(
        "The log {origin} has ended: its last entry, {index}, hands over to\n\n  {new}\n\n\
         It takes nothing new. What it said counts on wherever a policy names it, as long as it is served.\n\n\
         To go on:\n\
         1. Keep the old log readable: quorix log export FOLDER, and have any web server serve the folder.\n\
         2. Stop quorix. Move the log's data away (data_dir/log, data_dir/log-index, and the anchor), but delete nothing.\n\
         3. In [log]: origin = \"{next}\", key = \"{file}\". Start quorix: a new log begins.\n\
         4. Whoever has a line for the old log in their policy keeps it, with the address where the folder is served, and adds\n\n   \
         builder NAME-2 {new} URL operator=THE-SAME\n\n   \
         Two logs of one operator are one vote. Nobody follows the new key by themselves: tell them on another way as well.",
        origin = old.name(),
        next = new.name(),
        file = typed.file.display(),
    ));
}

/// What a log says, fit for a terminal.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
