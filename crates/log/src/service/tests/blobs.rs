//! Blobs: stored with the entries that name them, and with no others.

use super::*;

#[tokio::test]
async fn blobs_are_stored_with_the_entries_that_name_them() {
    let log = start(MemoryLog::new());
    let attestation = an_attestation()
        .referring_to(&["glibc", "gcc"])
        .with_references_in_a_blob();
    let (entry, blob) = (attestation.bytes(), attestation.blob());
    let id = blob_id(&blob);
    let hex = data_encoding::HEXLOWER.encode(&id);
    let missing = refused(0, EntryProblem::BlobMissing { id: hex.clone() });
    assert_eq!(log.submit(vec![entry.clone()], Vec::new()).await, missing);
    assert_eq!(log.published().blob(&id), Ok(None));
    log.submit(vec![entry.clone()], vec![blob.clone()])
        .await
        .unwrap();
    assert_eq!(log.published().blob(&id), Ok(Some(blob)));
    // Once stored, other entries may name it without sending it.
    let again = attestation.clone().finished_at(1);
    assert_eq!(submit(&log, &[again.bytes()]).await, [(1, false)]);
    assert_eq!(submit(&log, &[entry]).await, [(0, true)]);
}

#[tokio::test]
async fn blobs_that_fit_no_entry_are_refused() {
    let log = start(MemoryLog::new());
    let stray = b"nobody names me\n".to_vec();
    let id = data_encoding::HEXLOWER.encode(&blob_id(&stray));
    let answer = log
        .submit(vec![an_attestation().bytes()], vec![stray])
        .await;
    assert_eq!(answer, Err(SubmitError::BlobUnnamed { position: 0, id }));

    // The blob is what the entry names, but not what the entry voted for.
    let attestation = an_attestation()
        .referring_to(&["glibc"])
        .with_references_in_a_blob();
    let mut build = attestation.build();
    let other = an_attestation().referring_to(&["musl"]).blob();
    build.claim.references = quorix_trust::attestation::References::Blob(blob_id(&other));
    let answer = log
        .submit(vec![bytes_of(&Entry::Build(Box::new(build)))], vec![other])
        .await;
    assert!(
        matches!(
            answer,
            Err(SubmitError::Entry {
                position: 0,
                problem: EntryProblem::Claim(_)
            })
        ),
        "{answer:?}"
    );
}

#[tokio::test]
async fn the_list_of_inputs_must_have_the_root_that_the_entry_says() {
    use quorix_nix::fingerprint::FingerprintDigest;
    use quorix_testkit::entries::a_path;
    use quorix_wire::entry::{encode_inputs, input_line};
    let log = start(MemoryLog::new());
    let inputs: BTreeMap<_, _> = (1..=5_u8)
        .map(|number| {
            (
                a_path(&format!("input-{number}")),
                FingerprintDigest::from_bytes([number; 32]),
            )
        })
        .collect();
    let blob = encode_inputs(&inputs);
    let leaves: Vec<_> = inputs
        .iter()
        .map(|(path, value)| leaf_hash(input_line(path, value).as_bytes()))
        .collect();
    let computed = naive_root(&leaves);
    let entry = |root| {
        let mut build = an_attestation().build();
        (build.inputs_root, build.inputs_blob) = (Some(root), Some(blob_id(&blob)));
        bytes_of(&Entry::Build(Box::new(build)))
    };
    let stated = leaf_hash(b"something else");
    let answer = log.submit(vec![entry(stated)], vec![blob.clone()]).await;
    assert_eq!(
        answer,
        refused(0, EntryProblem::InputsRoot { computed, stated })
    );
    let answer = log.submit(vec![entry(computed)], vec![blob.clone()]).await;
    assert_eq!(indices(&answer.unwrap()), [(0, false)]);
}
