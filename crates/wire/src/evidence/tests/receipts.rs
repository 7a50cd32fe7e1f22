//! Receipts replay to the same bytes, and nothing that is changed in one does.

use super::*;
use crate::receipt::{Receipt, ReceiptError};

const NOW: u64 = 1_700_000_000;

fn a_receipt(answer: pb::GetEvidenceResponse) -> Receipt {
    Receipt {
        policy: policy().text,
        sets: BTreeMap::new(),
        store_dir: StoreDir::default(),
        asked: hello().hash_part(),
        time_s: NOW,
        answer,
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
