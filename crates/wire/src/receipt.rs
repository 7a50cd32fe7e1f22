//! Receipts: a decision with everything that it follows from, in a file that anybody replays offline.
//!
//! A header line and then a word and its value a line, in one order, binary values in Base64. What it holds is the
//! aggregator's answer as it was given, proofs included: replaying it verifies all of it again under the policy's keys. A
//! receipt shows that the decision follows from the evidence, not that the evidence is complete.

mod content;

pub use content::{CONTENTS_MAX, Content};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use data_encoding::BASE64;
use prost::Message as _;
use quorix_nix::store_path::{HashPart, StoreDir, StorePath};
use quorix_trust::decision::{Decision, decide};
use quorix_trust::evidence::{Earlier, Evidence};
use quorix_trust::policy::Policy;

use crate::evidence::{Question, SeenCheckpoints, verify_evidence};
use crate::pb;

/// The most bytes that a receipt may have.
pub const RECEIPT_BYTES_MAX: usize = 128 * 1024 * 1024;

const HEADER: &str = "quorix-receipt/v1";

/// All that a decision follows from.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// The policy's whole text.
    pub policy: String,
    /// The signed sets that it names.
    pub sets: BTreeMap<String, Vec<u8>>,
    /// The store directory.
    pub store_dir: StoreDir,
    /// The output.
    pub asked: HashPart,
    /// POSIX seconds.
    pub time_s: u64,
    /// What an aggregator answered.
    pub answer: pb::GetEvidenceResponse,
    /// Content-addressed paths whose NARs were fetched by whoever made it, at most [`CONTENTS_MAX`].
    pub contents: BTreeMap<StorePath, Content>,
    /// The receipt of an earlier acceptance, for `grace=`.
    pub earlier: Option<Vec<u8>>,
    /// The decision's bytes.
    pub decision: Vec<u8>,
}

/// A receipt does not show what it says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Too large.
    #[error("the receipt has {bytes} bytes, more than 128 MiB")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Not a receipt.
    #[error("line {line} of the receipt: {reason}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Its policy is none.
    #[error("the receipt's policy: {0}")]
    Policy(String),
    /// Its evidence is none.
    #[error("the receipt's evidence: {0}")]
    Evidence(String),
    /// What it says of a content-addressed path does not give that path.
    #[error("a content-addressed path in the receipt: {0}")]
    Content(String),
    /// Its earlier receipt does not hold, or is itself one by grace.
    #[error("the earlier receipt: {0}")]
    Earlier(String),
    /// What follows from it is another decision.
    #[error("from this evidence another decision follows: {sentence}")]
    Differs {
        /// The decision that follows, for people.
        sentence: String,
    },
}

impl Receipt {
    /// Decides from an answer and writes down all of it. The decision's bytes in what is given are ignored.
    ///
    /// # Errors
    /// The policy, the answer or the earlier receipt is none.
    pub fn issue(mut self) -> Result<(Self, Decision), ReceiptError> {
        let (decision, _) = self.decided()?;
        self.decision = pb::Decision::from(&decision).encode_to_vec();
        Ok((self, decision))
    }

    /// Verifies the evidence and decides again; the same bytes must come out.
    ///
    /// # Errors
    /// Something does not verify, or another decision follows.
    pub fn replay(&self) -> Result<Decision, ReceiptError> {
        let (decision, _) = self.decided()?;
        if pb::Decision::from(&decision).encode_to_vec() == self.decision {
            Ok(decision)
        } else {
            let sentence = decision.sentence;
            Err(ReceiptError::Differs { sentence })
        }
    }

    /// Verifies the evidence and decides, as [`issue`](Self::issue) does: the decision, and what it follows from, to see
    /// what more it depends on.
    ///
    /// # Errors
    /// As [`issue`](Self::issue).
    pub fn decided(&self) -> Result<(Decision, Evidence), ReceiptError> {
        let policy = Policy::parse_with(&self.policy, &self.sets)
            .map_err(|error| ReceiptError::Policy(error.to_string()))?;
        let mut evidence = self.evidence(&policy)?;
        if let Some(bytes) = &self.earlier {
            let wrong = |error: String| ReceiptError::Earlier(error);
            let earlier = Self::parse(bytes).map_err(|error| wrong(error.to_string()))?;
            // What grace keeps in force was in force under this policy: whoever wrote another one accepted anything.
            if (&earlier.policy, &earlier.sets) != (&self.policy, &self.sets) {
                return Err(wrong("it is under another policy".into()));
            }
            if (&earlier.asked, &earlier.store_dir) != (&self.asked, &self.store_dir) {
                return Err(wrong("it is of another path".into()));
            }
            if earlier.earlier.is_some() {
                return Err(wrong("it is itself one by grace".into()));
            }
            let accepted = earlier.replay().map_err(|error| wrong(error.to_string()))?;
            let (Some(path), Some(value)) = (accepted.path, accepted.accepted) else {
                return Err(wrong("it accepts nothing".into()));
            };
            let at_s = earlier.time_s;
            evidence.earlier.insert(path, Earlier { value, at_s });
        }
        let decision = decide(&policy, &evidence, &self.asked, self.time_s);
        Ok((decision, evidence))
    }

    fn evidence(&self, policy: &Policy) -> Result<Evidence, ReceiptError> {
        let question = Question {
            store_dir: self.store_dir.clone(),
            outputs: BTreeSet::from([self.asked.clone()]),
            // What is named after its content needs its references at any level.
            closure: policy.asks_for_references() || !self.contents.is_empty(),
            known_sizes: BTreeMap::new(),
        };
        let seen = SeenCheckpoints::default();
        let verified = verify_evidence(policy, &question, self.answer.clone(), &seen);
        let verified = verified.map_err(|error| ReceiptError::Evidence(error.to_string()))?;
        let mut evidence = verified.evidence;
        for (path, content) in &self.contents {
            let facts = content.facts(&self.store_dir, path);
            let facts = facts.map_err(ReceiptError::Content)?;
            evidence.self_verified.insert(path.clone(), facts);
        }
        Ok(evidence)
    }

    /// The receipt's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("{HEADER}\n");
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "time {}", self.time_s);
        let _ = writeln!(text, "store {}", self.store_dir.as_str());
        let _ = writeln!(text, "asked {}", self.asked.as_str());
        let _ = writeln!(text, "policy {}", BASE64.encode(self.policy.as_bytes()));
        for (name, bytes) in &self.sets {
            let name = BASE64.encode(name.as_bytes());
            let _ = writeln!(text, "set {name} {}", BASE64.encode(bytes));
        }
        let answer = self.answer.encode_to_vec();
        let _ = writeln!(text, "evidence {}", BASE64.encode(&answer));
        for (path, content) in &self.contents {
            let _ = writeln!(text, "content {}", content.words(path));
        }
        if let Some(earlier) = &self.earlier {
            let _ = writeln!(text, "earlier {}", BASE64.encode(earlier));
        }
        let _ = writeln!(text, "decision {}", BASE64.encode(&self.decision));
        text.into_bytes()
    }

    /// Reads a receipt. Nothing of it is verified by that.
    ///
    /// # Errors
    /// It is not one; a receipt has exactly one form.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReceiptError> {
        if bytes.len() > RECEIPT_BYTES_MAX {
            let bytes = bytes.len();
            return Err(ReceiptError::TooLarge { bytes });
        }
        let wrong = |line: usize, reason: &str| ReceiptError::Line {
            line,
            reason: reason.to_owned(),
        };
        let text = std::str::from_utf8(bytes).map_err(|_| wrong(1, "it is not text"))?;
        let mut lines = Lines {
            lines: text.split('\n'),
            number: 0,
        };
        if lines.next_line()? != HEADER {
            return Err(wrong(1, "it does not begin with `quorix-receipt/v1`"));
        }
        let time_s: u64 = lines
            .word("time")?
            .parse()
            .map_err(|_| lines.wrong("not a time"))?;
        let store_dir: Result<StoreDir, _> = lines.word("store")?.parse();
        let store_dir = store_dir.map_err(|_| lines.wrong("not a store directory"))?;
        let asked: Result<HashPart, _> = lines.word("asked")?.parse();
        let asked = asked.map_err(|_| lines.wrong("not a hash part"))?;
        let policy = lines.bytes("policy")?;
        let policy = String::from_utf8(policy).map_err(|_| lines.wrong("not text"))?;
        let mut sets = BTreeMap::new();
        let mut line = lines.next_line()?;
        while let Some(set) = line.strip_prefix("set ") {
            let (name, bytes) = set
                .split_once(' ')
                .ok_or_else(|| lines.wrong("not a set"))?;
            let name = String::from_utf8(lines.decode(name)?);
            let name = name.map_err(|_| lines.wrong("not a name"))?;
            sets.insert(name, lines.decode(bytes)?);
            line = lines.next_line()?;
        }
        let answer = line.strip_prefix("evidence ");
        let answer = lines.decode(answer.ok_or_else(|| lines.wrong("not `evidence`"))?)?;
        let answer = pb::GetEvidenceResponse::decode(answer.as_slice());
        let answer = answer.map_err(|_| lines.wrong("not an answer"))?;
        let (mut line, mut earlier, mut contents) = (lines.next_line()?, None, BTreeMap::new());
        while let Some(words) = line.strip_prefix("content ") {
            if contents.len() >= CONTENTS_MAX {
                let many = format!("more than {CONTENTS_MAX} content-addressed paths");
                return Err(lines.wrong(&many));
            }
            let (path, content) = Content::parse(words).map_err(|error| lines.wrong(&error))?;
            if contents.insert(path, content).is_some() {
                return Err(lines.wrong("it says a content-addressed path twice"));
            }
            line = lines.next_line()?;
        }
        if let Some(bytes) = line.strip_prefix("earlier ") {
            earlier = Some(lines.decode(bytes)?);
            line = lines.next_line()?;
        }
        let decision = line.strip_prefix("decision ");
        let decision = lines.decode(decision.ok_or_else(|| lines.wrong("not `decision`"))?)?;
        let receipt = Self {
            policy,
            sets,
            store_dir,
            asked,
            time_s,
            answer,
            contents,
            earlier,
            decision,
        };
        if receipt.to_bytes() == bytes {
            Ok(receipt)
        } else {
            Err(lines.wrong("it is not written as receipts are"))
        }
    }
}

/// The lines of a receipt in their order.
struct Lines<'t> {
    lines: std::str::Split<'t, char>,
    number: usize,
}

impl<'t> Lines<'t> {
    fn next_line(&mut self) -> Result<&'t str, ReceiptError> {
        self.number = self.number.saturating_add(1);
        let line = self.lines.next();
        line.ok_or_else(|| self.wrong("it ends too early"))
    }

    fn word(&mut self, word: &str) -> Result<&'t str, ReceiptError> {
        let line = self.next_line()?;
        let value = line
            .strip_prefix(word)
            .and_then(|rest| rest.strip_prefix(' '));
        value.ok_or_else(|| self.wrong(&format!("not `{word}`")))
    }

    fn bytes(&mut self, word: &str) -> Result<Vec<u8>, ReceiptError> {
        let value = self.word(word)?;
        self.decode(value)
    }

    fn decode(&self, value: &str) -> Result<Vec<u8>, ReceiptError> {
        let bytes = BASE64.decode(value.as_bytes());
        bytes.map_err(|_| self.wrong("not Base64"))
    }

    fn wrong(&self, reason: &str) -> ReceiptError {
        ReceiptError::Line {
            line: self.number,
            reason: reason.to_owned(),
        }
    }
}
