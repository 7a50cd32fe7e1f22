//! `quorix key generate` and `quorix key show`.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use quorix_log::beginning::NewKey;
use quorix_nix::signature::SecretKey;
use quorix_tlog::cosignature::{Algorithm, CosignerSigningKey};
use quorix_tlog::index::verifier_of;
use quorix_tlog::note::SigningKey;

use crate::cli::KeyKind;
use crate::output::{self, Exit, Failure};
use crate::wiring::keys::{self, AnyKey};

pub(super) fn generate(kind: KeyKind, name: &str, file: &Path) -> Result<Exit, Failure> {
    let mut seed = [0_u8; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| Failure::unknown(format!("no randomness from the system: {error}")))?;
    let bad_name =
        |error: String| Failure::wrong(format!("`{name}` cannot be the name of a key: {error}"));
    let mut mark = None;
    let (secret, public) = match kind {
        KeyKind::Log => {
            let name = name
                .parse()
                .map_err(|error: quorix_tlog::note::KeyError| bad_name(error.to_string()))?;
            let key = SigningKey::from_seed(name, seed);
            mark = Some(NewKey::beside(file, key.verifier()));
            (key.to_text(), key.verifier().to_string())
        }
        KeyKind::Witness | KeyKind::WitnessPq => {
            let name = name
                .parse()
                .map_err(|error: quorix_tlog::note::KeyError| bad_name(error.to_string()))?;
            let algorithm = if kind == KeyKind::Witness {
                Algorithm::Ed25519
            } else {
                Algorithm::MlDsa44
            };
            let key = CosignerSigningKey::from_seed(name, algorithm, seed);
            (key.to_text(), key.verifier().to_string())
        }
        KeyKind::Nix => {
            let name = name
                .parse()
                .map_err(|error: quorix_nix::signature::SignatureError| {
                    bad_name(error.to_string())
                })?;
            let key = SecretKey::from_seed(name, seed);
            (key.to_text(), key.public_key().to_string())
        }
    };
    write_secret(file, &secret).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::wrong(format!(
            "{} exists already, and a key is never overwritten",
            file.display()
        )),
        _ => Failure::wrong(format!("{} was not made: {error}", file.display())),
    })?;
    if let Some(mark) = mark {
        // Without it the first start of the log asks for a word of its operator.
        mark.mark().map_err(|error| {
            let (file, mark) = (file.display(), mark.path().display());
            Failure::unknown(format!(
                "{file} was made, but not {mark} beside it, which says that it is new: {error}"
            ))
        })?;
    }
    output::remark(format_args!(
        "Wrote the secret key to {}. The public key:",
        file.display()
    ));
    output::answer(public);
    Ok(Exit::Yes)
}

pub(super) fn show(file: &Path, of_index: bool) -> Result<Exit, Failure> {
    match keys::any_key(file)? {
        AnyKey::Log(key) if of_index => {
            output::answer(verifier_of(key.verifier()).map_err(Failure::wrong)?);
        }
        _ if of_index => {
            let file = file.display();
            return Err(Failure::wrong(format!(
                "{file} is not the key of a log, and only logs have an index"
            )));
        }
        AnyKey::Log(key) => output::answer(key.verifier()),
        AnyKey::Cosigner(key) => output::answer(key.verifier()),
        AnyKey::Nix(key) => output::answer(key.public_key()),
    }
    Ok(Exit::Yes)
}

/// Makes a file that only its owner can read, synced with its folder. An existing file is never touched.
pub(super) fn write_secret(file: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let mut made = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?;
    made.write_all(text.as_bytes())?;
    made.write_all(b"\n")?;
    made.sync_all()?;
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
