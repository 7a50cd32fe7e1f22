//! Outputs with real bytes, what builders say of them, and how caches pack them.

use std::collections::BTreeSet;

use async_compression::tokio::bufread::{BzEncoder, GzipEncoder, XzEncoder, ZstdEncoder};
use quorix_nix::content_address::{ContentAddress, Method};
use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::hash::{Algorithm, Hash, NarHash};
use quorix_nix::nar::Node;
use quorix_nix::narinfo::{Compression, NarInfo};
use quorix_nix::signature::SecretKey;
use quorix_nix::store_path::{StoreDir, StorePath};
use quorix_testkit::entries::{a_path, an_attestation, bytes_of};
use quorix_trust::attestation::{Build, Claim, Entry, Observation};
use tokio::io::AsyncReadExt as _;

/// An output and its bytes.
#[derive(Clone)]
pub(crate) struct Output {
    pub(crate) path: StorePath,
    pub(crate) nar: Vec<u8>,
    pub(crate) references: BTreeSet<StorePath>,
    pub(crate) ca: Option<ContentAddress>,
}

/// The output of this name: one file with this text.
pub(crate) fn output(name: &str, text: &str) -> Output {
    Output {
        path: a_path(name),
        nar: nar_of(text),
        references: BTreeSet::new(),
        ca: None,
    }
}

/// A source file of this name, whose path follows from its bytes.
pub(crate) fn content_addressed(name: &str, text: &str, references: &[&Output]) -> Output {
    let (nar, references) = (
        nar_of(text),
        references
            .iter()
            .map(|output| output.path.clone())
            .collect(),
    );
    let ca = ContentAddress::new(Method::Recursive, Hash::of(Algorithm::Sha256, &nar)).unwrap();
    let path = ca
        .store_path(&StoreDir::default(), name, &references)
        .unwrap();
    Output {
        path,
        nar,
        references,
        ca: Some(ca),
    }
}

pub(crate) fn nar_of(text: &str) -> Vec<u8> {
    Node::File {
        executable: false,
        contents: text.as_bytes().to_vec(),
    }
    .to_nar()
    .unwrap()
}

impl Output {
    pub(crate) fn referring_to(mut self, others: &[&Self]) -> Self {
        self.references = others.iter().map(|output| output.path.clone()).collect();
        self
    }

    /// The same output with other bytes.
    pub(crate) fn altered(&self) -> Self {
        Self {
            nar: nar_of("something else entirely\n"),
            ..self.clone()
        }
    }

    pub(crate) fn hash(&self) -> NarHash {
        NarHash::of(&self.nar)
    }

    pub(crate) fn facts(&self) -> Fingerprint {
        Fingerprint {
            store_dir: StoreDir::default(),
            path: self.path.clone(),
            nar_hash: self.hash(),
            nar_size: self.nar.len() as u64,
            references: self.references.clone(),
        }
    }

    fn claim(&self) -> Claim {
        Claim::of(&self.facts())
    }

    /// "I built this", with a Nix signature, and the derivation of this name.
    pub(crate) fn built_from(&self, derivation: &str, key: &SecretKey) -> Vec<u8> {
        bytes_of(&Entry::Build(Box::new(Build {
            claim: self.claim(),
            content_address: self.ca.clone(),
            derivation: Some((a_path(derivation), "out".to_owned())),
            nix_signature: Some(key.sign(&self.facts())),
            ..an_attestation().build()
        })))
    }

    /// "I built this", with a Nix signature.
    pub(crate) fn built(&self, key: &SecretKey) -> Vec<u8> {
        self.built_from(&format!("{}.drv", self.path.name()), key)
    }

    /// A cache's signature.
    pub(crate) fn observed(&self, key: &SecretKey) -> Vec<u8> {
        let (public_key, signature) = (key.public_key(), key.sign(&self.facts()));
        bytes_of(&Entry::Observation(Box::new(Observation {
            claim: self.claim(),
            public_key,
            signature,
        })))
    }

    /// What an honest cache says of it.
    pub(crate) fn narinfo(&self, compression: &Compression) -> NarInfo {
        NarInfo {
            store_path: self.path.clone(),
            url: format!("nar/{}.nar.{}", self.path.hash_part(), compression.name()),
            compression: compression.clone(),
            file_hash: None,
            file_size: None,
            nar_hash: self.hash(),
            nar_size: self.nar.len() as u64,
            references: self.references.clone(),
            deriver: None,
            signatures: Vec::new(),
            malformed_signatures: 0,
            ca: self.ca.clone(),
        }
    }
}

pub(crate) async fn packed(bytes: &[u8], compression: &Compression) -> Vec<u8> {
    let mut out = Vec::new();
    match compression {
        Compression::Xz => XzEncoder::new(bytes).read_to_end(&mut out).await.unwrap(),
        Compression::Zstd => ZstdEncoder::new(bytes).read_to_end(&mut out).await.unwrap(),
        Compression::Bzip2 => BzEncoder::new(bytes).read_to_end(&mut out).await.unwrap(),
        Compression::Gzip => GzipEncoder::new(bytes).read_to_end(&mut out).await.unwrap(),
        _ => return bytes.to_vec(),
    };
    out
}
