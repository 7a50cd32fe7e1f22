//! Receipts replay to the same bytes, and nothing that is changed in one does.

use super::*;
use quorix_nix::content_address::{ContentAddress, Method};
use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::hash::{Algorithm, Hash, NarHash};

use crate::receipt::{CONTENTS_MAX, Content, Receipt, ReceiptError};

const NOW: u64 = 1_700_000_000;

fn a_receipt(answer: pb::GetEvidenceResponse) -> Receipt {
    Receipt {
        policy: policy().text,
        sets: BTreeMap::new(),
        store_dir: StoreDir::default(),
        asked: hello().hash_part(),
        time_s: NOW,
        answer,
        contents: BTreeMap::new(),
        earlier: None,
        decision: Vec::new(),
    }
}

#[test]
fn the_receipt_replays_to_the_same_bytes() {
    let (receipt, decision) = a_receipt(an_answer()).issue().unwrap();
    assert!(decision.is_accepted());
    let read = Receipt::parse(&receipt.to_bytes()).unwrap();
    assert_eq!(read, receipt);
    assert_eq!(read.replay(), Ok(decision));
    assert_eq!(read.to_bytes(), receipt.to_bytes());
}

#[test]
fn a_receipt_with_other_evidence_policy_or_decision_does_not_hold() {
    let (receipt, _) = a_receipt(an_answer()).issue().unwrap();
    let differs = |receipt: Receipt| matches!(receipt.replay(), Err(ReceiptError::Differs { .. }));

    let mut forged = receipt.clone();
    forged.answer.outputs[0].entries[1].entry = said("B");
    assert!(differs(forged));
    let mut withheld = receipt.clone();
    withheld.answer.outputs[0].entries.pop();
    assert!(differs(withheld));
    let mut stricter = receipt.clone();
    stricter.policy = stricter.policy.replace("voters two 2", "voters two 3");
    assert!(differs(stricter));
    let (refused, _) = a_receipt(pb::GetEvidenceResponse::default())
        .issue()
        .unwrap();
    let mut claimed = refused;
    claimed.decision.clone_from(&receipt.decision);
    assert!(differs(claimed));
}

#[test]
fn what_is_not_written_as_receipts_are_is_refused() {
    let (receipt, _) = a_receipt(an_answer()).issue().unwrap();
    let bytes = receipt.to_bytes();
    for end in (0..bytes.len()).step_by(97) {
        assert!(Receipt::parse(&bytes[..end]).is_err(), "{end}");
    }
    let mut more = bytes.clone();
    more.push(b'\n');
    assert!(Receipt::parse(&more).is_err());
    let text = String::from_utf8(bytes).unwrap();
    let other = text.replace(&format!("time {NOW}"), &format!("time 0{NOW}"));
    assert!(Receipt::parse(other.as_bytes()).is_err());
}

#[test]
fn grace_takes_an_earlier_receipt_that_holds() {
    let mut first = a_receipt(an_answer());
    first.policy = first.policy.replace("level=path", "level=path grace=1h");
    let (earlier, _) = first.clone().issue().unwrap();
    let mut later = first;
    later.time_s = NOW + 60;
    later.answer.logs[1].state = pb::LogState::Stale.into();
    let (_, without) = later.clone().issue().unwrap();
    assert!(!without.is_accepted());

    later.earlier = Some(earlier.to_bytes());
    let (graced, decision) = later.clone().issue().unwrap();
    assert!(decision.is_accepted());
    assert_eq!(
        Receipt::parse(&graced.to_bytes()).unwrap().replay(),
        Ok(decision)
    );

    // One under another policy, where anything may have been accepted.
    let mut anything = earlier.clone();
    anything.policy = anything.policy.replace("voters two 2", "voters two 1");
    let (anything, _) = anything.issue().unwrap();
    let mut of_another = later.clone();
    of_another.earlier = Some(anything.to_bytes());
    assert_eq!(
        of_another.issue().unwrap_err(),
        ReceiptError::Earlier("it is under another policy".into())
    );

    // No chain of them, which would never end.
    later.earlier = Some(graced.to_bytes());
    assert_eq!(
        later.issue().unwrap_err(),
        ReceiptError::Earlier("it is itself one by grace".into())
    );
}

/// A path named after a NAR or a text with this content, referring to these.
fn named(method: Method, text: &str, references: &[&StorePath]) -> (StorePath, Content) {
    let hash = Hash::of(Algorithm::Sha256, text.as_bytes());
    let address = ContentAddress::new(method, hash).unwrap();
    let references: BTreeSet<StorePath> = references.iter().map(|one| (*one).clone()).collect();
    let store_dir = StoreDir::default();
    let path = address
        .store_path(&store_dir, "notes", &references)
        .unwrap();
    let facts = Fingerprint {
        store_dir,
        path: path.clone(),
        nar_hash: NarHash::of(text.as_bytes()),
        nar_size: 120,
        references,
    };
    (path, Content::of(address, &facts))
}

/// A receipt about a path that is named after its content and refers to what two builders vouch for.
fn of_content(method: Method) -> (StorePath, Receipt) {
    let (path, content) = named(method, "text", &[&hello()]);
    let mut receipt = a_receipt(an_answer());
    receipt.asked = path.hash_part();
    receipt.contents = BTreeMap::from([(path.clone(), content)]);
    (path, receipt)
}

#[test]
fn content_that_was_fetched_is_in_the_receipt_and_replays() {
    for method in [Method::Text, Method::Recursive] {
        let (path, receipt) = of_content(method);
        let (receipt, decision) = receipt.issue().unwrap();
        assert!(decision.is_accepted(), "{}", decision.sentence);
        assert_eq!(decision.path.as_ref(), Some(&path));
        let read = Receipt::parse(&receipt.to_bytes()).unwrap();
        assert_eq!(read, receipt);
        assert_eq!(read.replay(), Ok(decision));

        // Without what was fetched nothing of this follows, and neither without what it refers to.
        let mut without = read.clone();
        without.contents.clear();
        assert!(matches!(
            without.replay(),
            Err(ReceiptError::Differs { .. })
        ));
        let mut alone = read;
        alone.answer = pb::GetEvidenceResponse::default();
        assert!(matches!(alone.replay(), Err(ReceiptError::Differs { .. })));
    }
}

#[test]
fn content_from_which_its_path_does_not_follow_is_refused() {
    let wrong = |method, change: &dyn Fn(&mut Content)| {
        let (path, mut receipt) = of_content(method);
        change(receipt.contents.get_mut(&path).unwrap());
        let error = receipt.issue().unwrap_err();
        assert!(matches!(error, ReceiptError::Content(_)), "{error}");
    };
    let other = || Hash::of(Algorithm::Sha256, b"other");
    for method in [Method::Text, Method::Recursive] {
        wrong(method, &|content| {
            content.address = ContentAddress::new(method, other()).unwrap();
        });
        wrong(method, &|content| content.references.clear());
    }
    // The hash of a NAR follows from the name of what is named after its NAR.
    wrong(Method::Recursive, &|content| {
        content.nar_hash = NarHash::of(b"other");
    });
    assert!(named(Method::Recursive, "text", &[]).1.is_hash_shown());
    assert!(!named(Method::Text, "text", &[]).1.is_hash_shown());
}

#[test]
fn the_content_lines_of_a_receipt_have_one_form_and_a_bound() {
    let (_, receipt) = of_content(Method::Text);
    let (receipt, _) = receipt.issue().unwrap();
    let text = String::from_utf8(receipt.to_bytes()).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("content "))
        .unwrap();
    for (from, to) in [
        (" 120 ", " 0120 "),
        (" 120 ", " -1 "),
        ("content ", "content  "),
        (" text:sha256:", " text:md5:"),
        (line, &format!("{line} ")),
        (line, &format!("{line}\n{line}")),
        (line, "content "),
        (line, &line.replace("-notes", "-")),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        let parsed = Receipt::parse(changed.as_bytes());
        assert!(matches!(parsed, Err(ReceiptError::Line { .. })), "{to}");
    }
    let mut many = receipt;
    let contents = 0..=CONTENTS_MAX;
    many.contents = contents
        .map(|number| named(Method::Text, &number.to_string(), &[]))
        .collect();
    let refused = Receipt::parse(&many.to_bytes()).unwrap_err().to_string();
    assert!(
        refused.ends_with("more than 1024 content-addressed paths"),
        "{refused}"
    );
}
