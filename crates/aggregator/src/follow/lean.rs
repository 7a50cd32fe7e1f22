//! The part of a signed checkpoint that is worth keeping: what is kept of a log is kept for years.

use quorix_tlog::checkpoint::SignedCheckpoint;
use quorix_tlog::note::{SignedNote, VerifierKey};
use quorix_trust::policy::Policy;

/// The same checkpoint with the log's own signature and the earliest cosignature of each witness of the policy, and no
/// other line: whoever serves a note can add lines to it, up to 128 KiB in all. As it is where it cannot be cut.
pub(crate) fn lean(
    policy: &Policy,
    key: &VerifierKey,
    shown: &SignedCheckpoint,
) -> SignedCheckpoint {
    bare(key, shown).map_or_else(
        || shown.clone(),
        |bare| {
            let cosigned = policy.with_earliest_cosignatures(bare.bytes(), shown.bytes());
            let opened = cosigned
                .and_then(|note| SignedCheckpoint::open(&note, key, key.name().as_str()).ok());
            opened.unwrap_or(bare)
        },
    )
}

/// With the log's own signature alone.
fn bare(key: &VerifierKey, shown: &SignedCheckpoint) -> Option<SignedCheckpoint> {
    let note = SignedNote::parse(shown.bytes()).ok()?;
    let own = note.signatures().iter();
    let own = own.filter(|line| line.name() == key.name() && line.id() == key.id());
    let bare = SignedNote::assemble(note.text(), own.take(1).cloned().collect()).ok()?;
    SignedCheckpoint::open(&bare.to_bytes(), key, key.name().as_str()).ok()
}

#[cfg(test)]
mod tests {
    use quorix_testkit::entries::log_key;
    use quorix_tlog::checkpoint::Checkpoint;
    use quorix_tlog::cosignature::{Algorithm, CosignerSigningKey};
    use quorix_tlog::hash::leaf_hash;
    use quorix_tlog::note::SigningKey;

    use super::*;

    #[test]
    fn of_a_checkpoint_only_lines_of_its_log_and_of_witnesses_of_the_policy_are_kept() {
        let key = log_key("logs.example.org/alice");
        let witness = |name: &str| {
            let seed = [name.as_bytes()[0]; 32];
            CosignerSigningKey::from_seed(name.parse().unwrap(), Algorithm::Ed25519, seed)
        };
        let (known, stranger) = (witness("w.example"), witness("s.example"));
        let checkpoint = Checkpoint {
            origin: "logs.example.org/alice".to_owned(),
            size: 5,
            root: leaf_hash(b"root"),
            extensions: Vec::new(),
        };
        let bare = checkpoint.sign(&key).unwrap();
        let note = SignedNote::parse(&bare).unwrap();
        let own = note.signatures()[0].clone();
        let cosigned = known.cosign(&checkpoint, 7).unwrap();
        let text = note.text();
        let other = |name: &str| {
            let key = SigningKey::from_seed(name.parse().unwrap(), [3; 32]);
            SignedNote::sign(text, &[&key]).unwrap().signatures()[0].clone()
        };
        let mut lines: Vec<_> = (0..50)
            .map(|number| other(&format!("junk-{number}")))
            .collect();
        lines.extend([
            own.clone(),
            cosigned.clone(),
            stranger.cosign(&checkpoint, 6).unwrap(),
        ]);
        let served = SignedNote::assemble(text, lines).unwrap().to_bytes();
        let served =
            SignedCheckpoint::open(&served, key.verifier(), key.verifier().name().as_str());

        let text_of_policy = format!(
            "builder alice {} https://a.example operator=alice\nwitness w {} https://w.example\n\
             group all any w\nquorum all\nvoters one any alice\nrule main quorum=one level=path\ndefault main\n",
            key.verifier(),
            known.verifier(),
        );
        let policy = Policy::parse(&text_of_policy).unwrap_or_else(|error| panic!("{error}"));
        let expected = SignedNote::assemble(text, vec![own, cosigned]).unwrap();
        let kept = lean(&policy, key.verifier(), &served.unwrap());
        assert_eq!(kept.bytes(), expected.to_bytes());
    }
}
