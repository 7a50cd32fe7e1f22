//! Domain entry to protobuf message. Checks nothing but what the message cannot express.

use quorix_nix::store_path::{StoreDir, StorePath};
use quorix_trust::attestation::{
    Build, Claim, Entry, Environment, KeyRotation, Observation, Provenance, Raw, Realisation,
    References, Retraction,
};

use super::EntryError;
use crate::pb;

pub(super) fn message(entry: &Entry) -> Result<pb::Entry, EntryError> {
    use pb::entry::Kind;
    let kind = match entry {
        Entry::Build(said) => Kind::Build(build(said)),
        Entry::Realisation(said) => Kind::Realisation(realisation(said)),
        Entry::Observation(said) => Kind::Observation(observation(said)),
        Entry::Retraction(said) => Kind::Retraction(retraction(said)),
        Entry::KeyRotation(said) => Kind::KeyRotation(key_rotation(said)),
        Entry::Raw(said) => Kind::Raw(raw(said)),
        _ => return Err(EntryError::UnknownKind),
    };
    Ok(pb::Entry { kind: Some(kind) })
}

fn build(said: &Build) -> pb::Build {
    let Claim {
        store_dir, path, ..
    } = &said.claim;
    let (references, references_blob) = references(&said.claim.references);
    let derivation = said.derivation.as_ref();
    pb::Build {
        store_path: store_dir.join(path),
        fingerprint: said.claim.fingerprint.as_bytes().to_vec(),
        nar_sha256: said.claim.nar_hash.as_bytes().to_vec(),
        nar_size: said.claim.nar_size,
        references,
        references_blob,
        content_address: text(said.content_address.as_ref()),
        drv_path: derivation
            .map(|(drv, _)| store_dir.join(drv))
            .unwrap_or_default(),
        output_name: derivation
            .map(|(_, output)| output.clone())
            .unwrap_or_default(),
        provenance: provenance(said.provenance).into(),
        system: said.system.clone(),
        nix_signature: text(said.nix_signature.as_ref()),
        inputs_root: said
            .inputs_root
            .map(|root| root.as_bytes().to_vec())
            .unwrap_or_default(),
        inputs_blob: said.inputs_blob.map(|id| id.to_vec()).unwrap_or_default(),
        started_at_s: said.started_at_s,
        finished_at_s: said.finished_at_s,
        environment: environment(&said.environment),
    }
}

fn environment(told: &Environment) -> Option<pb::Environment> {
    // Nothing told is no message, so that it has one encoding.
    (*told != Environment::default()).then(|| pb::Environment {
        nix_implementation: told.nix_implementation.clone(),
        nix_version: told.nix_version.clone(),
        kernel: told.kernel.clone(),
        cores: told.cores,
    })
}

fn realisation(said: &Realisation) -> pb::Realisation {
    let in_store = |dir: &StoreDir, path: &StorePath| dir.join(path);
    pb::Realisation {
        drv_path: in_store(&said.store_dir, &said.derivation),
        output_name: said.output_name.clone(),
        store_path: in_store(&said.store_dir, &said.path),
        provenance: provenance(said.provenance).into(),
        nix_signature: text(said.nix_signature.as_ref()),
    }
}

fn observation(said: &Observation) -> pb::Observation {
    let (references, references_blob) = references(&said.claim.references);
    pb::Observation {
        store_path: said.claim.store_dir.join(&said.claim.path),
        nar_sha256: said.claim.nar_hash.as_bytes().to_vec(),
        nar_size: said.claim.nar_size,
        references,
        references_blob,
        fingerprint: said.claim.fingerprint.as_bytes().to_vec(),
        public_key: said.public_key.to_string(),
        signature: said.signature.to_string(),
    }
}

fn retraction(said: &Retraction) -> pb::Retraction {
    pb::Retraction {
        leaf_hashes: said
            .leaf_hashes
            .iter()
            .map(|leaf| leaf.as_bytes().to_vec())
            .collect(),
        reason: said.reason.clone(),
    }
}

fn key_rotation(said: &KeyRotation) -> pb::KeyRotation {
    pb::KeyRotation {
        new_vkey: said.new_vkey.clone(),
        old_signature: said.old_signature.to_vec(),
        new_signature: said.new_signature.to_vec(),
    }
}

fn raw(said: &Raw) -> pb::Raw {
    pb::Raw {
        protocol: said.protocol.clone(),
        key: said.key.clone(),
        value: said.value.to_vec(),
    }
}

fn references(references: &References) -> (Vec<String>, Vec<u8>) {
    match references {
        References::Inline(paths) => (paths.iter().map(ToString::to_string).collect(), Vec::new()),
        References::Blob(id) => (Vec::new(), id.to_vec()),
    }
}

fn provenance(provenance: Provenance) -> pb::Provenance {
    match provenance {
        Provenance::Built => pb::Provenance::Built,
        Provenance::Rebuilt => pb::Provenance::Rebuilt,
    }
}

fn text(value: Option<&impl ToString>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}
