//! Any entry is read back as it was written, and nothing else is read.

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use quorix_nix::signature::{SecretKey, Signature};
use quorix_tlog::note::SigningKey;

use super::*;

fn a_store_path_strategy() -> impl Strategy<Value = StorePath> {
    (any::<[u8; 20]>(), "[a-z][a-z0-9.+_-]{0,20}").prop_map(|(bytes, name)| a_path(bytes, &name))
}

fn a_secret_key() -> impl Strategy<Value = SecretKey> {
    ("[a-z.]{1,20}-1", any::<[u8; 32]>())
        .prop_map(|(name, seed)| SecretKey::from_seed(name.parse().unwrap(), seed))
}

fn a_signature() -> impl Strategy<Value = Signature> {
    (a_secret_key(), any::<u64>()).prop_map(|(key, n)| key.sign_bytes(&n.to_be_bytes()))
}

fn any_claim() -> impl Strategy<Value = Claim> {
    let references = prop_oneof![
        btree_set(a_store_path_strategy(), 0..8).prop_map(References::Inline),
        any::<[u8; 32]>().prop_map(References::Blob),
    ];
    let dir = prop_oneof![
        Just(StoreDir::default()),
        Just("/gnu/store".parse().unwrap())
    ];
    (
        dir,
        a_store_path_strategy(),
        any::<[u8; 32]>(),
        1..u64::MAX,
        references,
        any::<[u8; 32]>(),
    )
        .prop_map(|(store_dir, path, nar, nar_size, references, other)| {
            let mut claim = Claim {
                store_dir,
                path,
                fingerprint: FingerprintDigest::from_bytes(other),
                nar_hash: NarHash::from_bytes(nar),
                nar_size,
                references,
            };
            if let Err(quorix_trust::attestation::ClaimError::DigestMismatch { computed, .. }) =
                claim.facts(None)
            {
                claim.fingerprint = computed;
            }
            claim
        })
}

fn a_provenance() -> impl Strategy<Value = Provenance> {
    prop_oneof![Just(Provenance::Built), Just(Provenance::Rebuilt)]
}

fn any_build() -> impl Strategy<Value = Entry> {
    let derivation = option::of((any::<[u8; 20]>(), "[a-z]{1,10}"));
    let inputs = option::of((any::<[u8; 32]>(), option::of(any::<[u8; 32]>())));
    let environment = (
        "[a-z]{0,5}",
        "[0-9.]{0,9}",
        "[a-z0-9.-]{0,30}",
        any::<u32>(),
    );
    let told = ("[a-z0-9_-]{0,20}", any::<u64>(), any::<u64>(), environment);
    (
        any_claim(),
        derivation,
        a_provenance(),
        option::of(a_signature()),
        inputs,
        told,
    )
        .prop_map(
            |(
                claim,
                derivation,
                provenance,
                nix_signature,
                inputs,
                (system, start, end, environment),
            )| {
                let (nix_implementation, nix_version, kernel, cores) = environment;
                Entry::Build(Box::new(Build {
                    claim,
                    content_address: None,
                    derivation: derivation.map(|(bytes, output)| (a_path(bytes, "x.drv"), output)),
                    provenance,
                    system,
                    nix_signature,
                    inputs_root: inputs.map(|(root, _)| Hash::from_bytes(root)),
                    inputs_blob: inputs.and_then(|(_, blob)| blob),
                    started_at_s: start,
                    finished_at_s: end,
                    environment: Environment {
                        nix_implementation,
                        nix_version,
                        kernel,
                        cores,
                    },
                }))
            },
        )
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let observation =
        (any_claim(), a_secret_key(), a_signature()).prop_map(|(claim, key, signature)| {
            Entry::Observation(Box::new(Observation {
                claim,
                public_key: key.public_key(),
                signature,
            }))
        });
    let realisation = (
        any::<[u8; 20]>(),
        "[a-z]{1,10}",
        a_store_path_strategy(),
        a_provenance(),
    );
    let realisation = realisation.prop_map(|(drv, output_name, path, provenance)| {
        Entry::Realisation(Realisation {
            store_dir: StoreDir::default(),
            derivation: a_path(drv, "x.drv"),
            output_name,
            path,
            provenance,
            nix_signature: None,
        })
    });
    let retraction =
        (btree_set(any::<[u8; 32]>(), 1..20), "[ -~]{0,100}").prop_map(|(leaves, reason)| {
            let leaf_hashes = leaves.into_iter().map(Hash::from_bytes).collect();
            Entry::Retraction(Retraction {
                leaf_hashes,
                reason,
            })
        });
    let rotation = (any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(|(seed, half)| {
        let key = SigningKey::from_seed("logs.example.org/alice".parse().unwrap(), seed);
        let signature = [half, half].concat().try_into().unwrap();
        let new_vkey = key.verifier().to_string();
        Entry::KeyRotation(KeyRotation {
            new_vkey,
            old_signature: signature,
            new_signature: signature,
        })
    });
    let raw = ("[a-z]{1,64}", vec(any::<u8>(), 0..100), any::<[u8; 32]>()).prop_map(
        |(protocol, key, value)| {
            Entry::Raw(Raw {
                protocol,
                key,
                value,
            })
        },
    );
    prop_oneof![
        any_build(),
        observation,
        realisation,
        retraction,
        rotation,
        raw
    ]
}

proptest! {
    #[test]
    fn every_entry_is_read_back_as_it_was_written(entry in any_entry()) {
        let bytes = encode(&entry).unwrap();
        prop_assert_eq!(decode(&bytes), Ok(entry));
    }

    #[test]
    fn an_altered_entry_is_refused_or_is_the_canonical_encoding_of_another(
        entry in any_entry(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = encode(&entry).unwrap();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        if let Ok(other) = decode(&bytes) {
            prop_assert_ne!(&other, &entry);
            prop_assert_eq!(encode(&other), Ok(bytes));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(entry) = decode(&bytes) {
            prop_assert_eq!(encode(&entry), Ok(bytes));
        }
    }
}
