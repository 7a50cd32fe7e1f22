//! Strategies for property tests: random values of this crate's types. Tests only.

use std::collections::BTreeMap;

use proptest::{collection::btree_map, collection::btree_set, collection::vec, option, prelude::*};

use crate::{
    content_address::{ContentAddress, Method},
    derivation::{Derivation, Output},
    fingerprint::Fingerprint,
    hash::{Algorithm, Hash, NarHash},
    nar::Node,
    narinfo::{Compression, NarInfo},
    signature::{KeyName, SecretKey, Signature},
    store_path::{HashPart, StoreDir, StorePath},
};

pub(crate) fn store_path() -> impl Strategy<Value = StorePath> {
    let name = "[0-9a-zA-Z+_?=][0-9a-zA-Z+._?=-]{0,30}";
    (any::<[u8; 20]>(), name)
        .prop_map(|(hash, name)| StorePath::new(&HashPart::from_bytes(&hash), &name).unwrap())
}

pub(crate) fn derivation_path() -> impl Strategy<Value = StorePath> {
    store_path().prop_map(|path| {
        StorePath::new(&path.hash_part(), &format!("{}.drv", path.name())).unwrap()
    })
}

pub(crate) fn nar_hash() -> impl Strategy<Value = NarHash> {
    any::<[u8; 32]>().prop_map(NarHash::from_bytes)
}

pub(crate) fn algorithm() -> impl Strategy<Value = Algorithm> {
    use Algorithm::{Md5, Sha1, Sha256, Sha512};
    prop::sample::select(vec![Md5, Sha1, Sha256, Sha512])
}

pub(crate) fn hash() -> impl Strategy<Value = Hash> {
    (algorithm(), any::<u64>())
        .prop_map(|(algorithm, seed)| Hash::of(algorithm, &seed.to_le_bytes()))
}

pub(crate) fn content_address() -> impl Strategy<Value = ContentAddress> {
    let methods = prop::sample::select(vec![Method::Text, Method::Flat, Method::Recursive]);
    (methods, hash()).prop_map(|(method, hash)| {
        let hash = if method == Method::Text {
            Hash::of(Algorithm::Sha256, hash.bytes())
        } else {
            hash
        };
        ContentAddress::new(method, hash).unwrap()
    })
}

pub(crate) fn fingerprint() -> impl Strategy<Value = Fingerprint> {
    (
        store_path(),
        nar_hash(),
        any::<u64>(),
        btree_set(store_path(), 0..5),
    )
        .prop_map(|(path, nar_hash, nar_size, references)| Fingerprint {
            store_dir: StoreDir::default(),
            path,
            nar_hash,
            nar_size,
            references,
        })
}

pub(crate) fn key_name() -> impl Strategy<Value = KeyName> {
    "[!-9;-~]{1,40}".prop_map(|name| name.parse().unwrap())
}

pub(crate) fn secret_key() -> impl Strategy<Value = SecretKey> {
    (key_name(), any::<[u8; 32]>()).prop_map(|(name, seed)| SecretKey::from_seed(name, seed))
}

fn signature() -> impl Strategy<Value = Signature> {
    (key_name(), any::<[[u8; 32]; 2]>()).prop_map(|(name, [left, right])| {
        let bytes = [left, right].concat().try_into().unwrap();
        Signature::new(name, bytes)
    })
}

fn compression() -> impl Strategy<Value = Compression> {
    "none|xz|zstd|bzip2|gzip|br|lz4".prop_map(|name| Compression::from_name(&name))
}

pub(crate) fn nar_info() -> impl Strategy<Value = NarInfo> {
    (
        fingerprint(),
        "[!-~]{1,60}",
        compression(),
        option::of(hash()),
        option::of(any::<u64>()),
        option::of(derivation_path()),
        vec(signature(), 0..4),
        option::of(content_address()),
    )
        .prop_map(
            |(facts, url, compression, file_hash, file_size, deriver, signatures, ca)| NarInfo {
                store_path: facts.path,
                url,
                compression,
                file_hash,
                file_size,
                nar_hash: facts.nar_hash,
                nar_size: facts.nar_size.max(1),
                references: facts.references,
                deriver,
                signatures,
                malformed_signatures: 0,
                ca,
            },
        )
}

pub(crate) fn node() -> impl Strategy<Value = Node> {
    let target = vec(1..=255_u8, 1..20);
    let leaf = prop_oneof![
        (any::<bool>(), vec(any::<u8>(), 0..40)).prop_map(|(executable, contents)| Node::File {
            executable,
            contents
        }),
        target.prop_map(|target| Node::Symlink { target }),
        Just(Node::Directory(BTreeMap::new())),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        let name = vec(any::<u8>(), 1..12).prop_filter("a name", |name| {
            !name.iter().any(|byte| matches!(byte, b'/' | 0))
                && !matches!(name.as_slice(), b"." | b"..")
        });
        btree_map(name, inner, 0..5).prop_map(Node::Directory)
    })
}

fn output() -> impl Strategy<Value = Output> {
    let method = prop::sample::select(vec![Method::Flat, Method::Recursive, Method::Text]);
    prop_oneof![
        store_path().prop_map(Output::InputAddressed),
        (content_address(), store_path()).prop_map(|(content_address, path)| Output::Fixed {
            content_address,
            path
        }),
        (method.clone(), algorithm())
            .prop_map(|(method, algorithm)| Output::Floating { method, algorithm }),
        Just(Output::Deferred),
        (method, algorithm()).prop_map(|(method, algorithm)| Output::Impure { method, algorithm }),
    ]
}

pub(crate) fn derivation() -> impl Strategy<Value = Derivation> {
    let name = || "[a-z]{1,4}";
    let bytes = || {
        prop_oneof![
            vec(any::<u8>(), 0..20),
            "[\"\\\\\n\r\t$a]{0,12}".prop_map(String::into_bytes)
        ]
    };
    (
        btree_map(name(), output(), 0..4),
        btree_map(derivation_path(), btree_set(name(), 0..3), 0..4),
        btree_set(store_path(), 0..4),
        any::<String>(),
        bytes(),
        vec(bytes(), 0..4),
        btree_map(bytes(), bytes(), 0..5),
    )
        .prop_map(
            |(outputs, input_derivations, input_sources, system, builder, args, env)| Derivation {
                outputs,
                input_derivations,
                input_sources,
                system,
                builder,
                args,
                env,
            },
        )
}
