//! The story without Nix: sample trees packed by our own NAR writer, a client of our own.
//!
//! Only what Nix would do is stood in for. Logs, entries, proofs, policy, resolver and caches are the real ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use quorix_nix::content_address::{ContentAddress, Method};
use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::hash::{Algorithm, Hash, NarHash};
use quorix_nix::nar::{Hasher, Node};
use quorix_nix::narinfo::{Compression, NarInfo};
use quorix_nix::signature::PublicKey;
use quorix_nix::store_path::{HashPart, StoreDir, StorePath};
use quorix_trust::attestation::{Build, Claim, Entry, Environment, Provenance};
use quorix_wire::address::Address;
use quorix_wire::channel;
use quorix_wire::client::LogClient;
use quorix_wire::entry;
use quorix_wire::fetch::{FetchLimits, Fetcher};

use super::world::{BuilderHost, seed};
use crate::output::Failure;

/// What the honest file says.
const TRUTH: &str = "Hello, world\n";
/// The content-addressed file.
const NOTES: &str = "A file that is named after its content needs no votes.\n";
/// The most bytes of one sample.
const SAMPLE_BYTES_MAX: u64 = 1 << 20;

/// What honest builders got, to be put into caches.
pub(super) struct Samples {
    built: Vec<(Fingerprint, Vec<u8>, Option<ContentAddress>)>,
}

impl Samples {
    pub(super) fn new() -> Self {
        Self { built: Vec::new() }
    }

    /// "Builds" everything and attests it in the builder's log. With `lie`, from an altered greeting.
    pub(super) async fn build(
        &mut self,
        builder: &BuilderHost,
        lie: Option<&str>,
    ) -> Result<BTreeMap<String, StorePath>, Failure> {
        let (notes, notes_address) = notes()?;
        let path = |name: &str| named(name);
        let (greeting, hello, manual) = (
            path("greeting-1.0")?,
            path("hello-2.12")?,
            path("manual-1.0")?,
        );
        let (clock, alarm) = (path("clock-0.9")?, path("alarm-0.9")?);
        let said = lie.unwrap_or(TRUTH).trim_end();
        let once = format!("{:?}\n", seed()?);
        let script = format!("#!/bin/sh\necho '{said}'\n");
        let trees = [
            (
                "greeting",
                &greeting,
                folder([("greeting", file(TRUTH))]),
                vec![],
            ),
            (
                "hello",
                &hello,
                folder([
                    ("bin", folder([("hello", file(&script))])),
                    ("greeting", link(&greeting)),
                ]),
                vec![&greeting],
            ),
            (
                "manual",
                &manual,
                folder([("manual", file("See notes.\n")), ("notes", link(&notes))]),
                vec![&notes],
            ),
            ("clock", &clock, folder([("built", file(&once))]), vec![]),
            (
                "alarm",
                &alarm,
                folder([("alarm", file(&format!("ring {clock}\n")))]),
                vec![&clock],
            ),
        ];
        let mut paths = BTreeMap::new();
        let mut entries = Vec::new();
        for (attribute, path, tree, references) in trees {
            let (facts, nar) = packed(path, &tree, references)?;
            entries.push(attestation(builder, &facts)?);
            if lie.is_none() {
                self.built.push((facts, nar, None));
            }
            paths.insert(attribute.to_owned(), path.clone());
        }
        let (facts, nar) = packed(&notes, &file(NOTES), Vec::new())?;
        self.built.push((facts, nar, Some(notes_address)));
        let channel =
            channel::connect(&Address::Unix(builder.submit.clone())).map_err(Failure::unknown)?;
        LogClient::new(channel)
            .submit(entries, Vec::new())
            .await
            .map_err(Failure::unknown)?;
        Ok(paths)
    }

    /// Writes everything into a folder laid out as a binary cache.
    pub(super) fn export(&self, cache: &Path) -> Result<(), Failure> {
        let failed =
            |error: std::io::Error| Failure::unknown(format!("{}: {error}", cache.display()));
        let store_dir = StoreDir::default();
        fs::create_dir_all(cache.join("nar")).map_err(failed)?;
        fs::write(cache.join("nix-cache-info"), "StoreDir: /nix/store\n").map_err(failed)?;
        for (facts, nar, address) in &self.built {
            let url = format!("nar/{}.nar", facts.nar_hash.nix32());
            let narinfo = NarInfo {
                store_path: facts.path.clone(),
                url: url.clone(),
                compression: Compression::None,
                file_hash: None,
                file_size: None,
                nar_hash: facts.nar_hash,
                nar_size: facts.nar_size,
                references: facts.references.clone(),
                deriver: None,
                signatures: Vec::new(),
                malformed_signatures: 0,
                ca: address.clone(),
            };
            let file = cache.join(format!("{}.narinfo", facts.path.hash_part().as_str()));
            fs::write(file, narinfo.print(&store_dir)).map_err(failed)?;
            fs::write(cache.join(url), nar).map_err(failed)?;
        }
        Ok(())
    }

    /// Installs paths and what they refer to, as Nix would: narinfo, signature of the one trusted key or a content
    /// address, NAR, hash. `None` if it went well, else why not.
    pub(super) async fn install(
        &self,
        store: &Path,
        paths: &[&StorePath],
        substituter: &str,
        key: &PublicKey,
    ) -> Result<Option<String>, Failure> {
        let fetcher = Fetcher::new(FetchLimits::default()).map_err(Failure::unknown)?;
        let mut wanted: Vec<StorePath> = paths.iter().map(|path| (*path).clone()).collect();
        let mut seen: BTreeSet<StorePath> = wanted.iter().cloned().collect();
        while let Some(path) = wanted.pop() {
            match self
                .install_one(&fetcher, store, &path, substituter, key)
                .await
            {
                Ok(references) => wanted.extend(
                    references
                        .into_iter()
                        .filter(|path| seen.insert(path.clone())),
                ),
                Err(reason) => return Ok(Some(reason)),
            }
        }
        Ok(None)
    }

    async fn install_one(
        &self,
        fetcher: &Fetcher,
        store: &Path,
        path: &StorePath,
        substituter: &str,
        key: &PublicKey,
    ) -> Result<BTreeSet<StorePath>, String> {
        let store_dir = StoreDir::default();
        let url = format!("{substituter}/{}.narinfo", path.hash_part().as_str());
        let text = fetcher
            .get(&url, SAMPLE_BYTES_MAX)
            .await
            .map_err(|error| error.to_string())?;
        let text = String::from_utf8(text.to_vec()).map_err(|error| error.to_string())?;
        let narinfo = NarInfo::parse(&text, &store_dir).map_err(|error| error.to_string())?;
        let facts = narinfo.fingerprint(&store_dir);
        let is_signed = narinfo
            .signatures
            .iter()
            .any(|signature| key.verify(&facts, signature).is_ok());
        if narinfo.store_path != *path || !is_signed {
            return Err(format!("{path}: not signed by the one trusted key"));
        }
        let nar = fetcher
            .get(&format!("{substituter}/{}", narinfo.url), SAMPLE_BYTES_MAX)
            .await;
        let nar = nar.map_err(|error| error.to_string())?;
        let mut hasher = Hasher::new();
        hasher.push(&nar).map_err(|error| error.to_string())?;
        if hasher.finish().map_err(|error| error.to_string())? != (facts.nar_hash, facts.nar_size) {
            return Err(format!("{path}: the bytes have another hash"));
        }
        let node = Node::from_nar(&nar).map_err(|error| error.to_string())?;
        let target = store.join("nix/store").join(path.as_str());
        fs::create_dir_all(store.join("nix/store")).map_err(|error| error.to_string())?;
        unpack(&node, &target).map_err(|error| error.to_string())?;
        Ok(facts.references)
    }
}

fn attestation(builder: &BuilderHost, facts: &Fingerprint) -> Result<Vec<u8>, Failure> {
    let claim = Claim::of(facts);
    let build = Build {
        claim,
        content_address: None,
        derivation: None,
        provenance: Provenance::Built,
        system: String::new(),
        nix_signature: Some(builder.nix_key.sign(facts)),
        inputs_root: None,
        inputs_blob: None,
        started_at_s: 0,
        finished_at_s: 0,
        environment: Environment::default(),
    };
    entry::encode(&Entry::Build(Box::new(build))).map_err(Failure::unknown)
}

/// A store path of this name, the same for every builder.
fn named(name: &str) -> Result<StorePath, Failure> {
    let digest = NarHash::of(name.as_bytes());
    let mut hash = [0; 20];
    hash.copy_from_slice(digest.as_bytes().split_at(20).0);
    StorePath::new(&HashPart::from_bytes(&hash), name).map_err(Failure::unknown)
}

/// The content-addressed file's path.
fn notes() -> Result<(StorePath, ContentAddress), Failure> {
    let address = ContentAddress::new(Method::Text, Hash::of(Algorithm::Sha256, NOTES.as_bytes()))
        .map_err(Failure::unknown)?;
    let path = address
        .store_path(&StoreDir::default(), "notes.txt", &BTreeSet::new())
        .map_err(Failure::unknown)?;
    Ok((path, address))
}

fn packed(
    path: &StorePath,
    tree: &Node,
    references: Vec<&StorePath>,
) -> Result<(Fingerprint, Vec<u8>), Failure> {
    let nar = tree.to_nar().map_err(Failure::unknown)?;
    let facts = Fingerprint {
        store_dir: StoreDir::default(),
        path: path.clone(),
        nar_hash: NarHash::of(&nar),
        nar_size: nar.len() as u64,
        references: references.into_iter().cloned().collect(),
    };
    Ok((facts, nar))
}

fn file(text: &str) -> Node {
    Node::File {
        executable: false,
        contents: text.into(),
    }
}

fn link(target: &StorePath) -> Node {
    Node::Symlink {
        target: StoreDir::default().join(target).into(),
    }
}

fn folder<const N: usize>(entries: [(&str, Node); N]) -> Node {
    Node::Directory(
        entries
            .into_iter()
            .map(|(name, node)| (name.into(), node))
            .collect(),
    )
}

fn unpack(node: &Node, target: &Path) -> std::io::Result<()> {
    match node {
        Node::File { contents, .. } => fs::write(target, contents),
        Node::Symlink { target: to } => {
            std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(to), target)
        }
        Node::Directory(entries) => {
            fs::create_dir_all(target)?;
            // The parser refuses names with slashes and dots alone, so this stays inside.
            entries.iter().try_for_each(|(name, node)| {
                unpack(node, &target.join(std::ffi::OsStr::from_bytes(name)))
            })
        }
    }
}
