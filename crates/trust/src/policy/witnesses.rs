//! The lines of a policy that C2SP's tlog-policy defines, read by its own reader.

use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::note::{NoteSignature, SignedNote};
use quorix_tlog::tlog_policy::{Standing, TlogPolicy};

use super::line::Line;
use super::parse::name_of;
use super::{Policy, PolicyError};
use crate::evidence::Cosigned;

/// Words that begin a line of C2SP's tlog-policy.
const KEYWORDS: [&str; 4] = ["log", "witness", "group", "quorum"];

/// The witnesses, and whose each one is.
pub(super) type Witnesses = (TlogPolicy, Vec<Option<String>>);

/// Reads the lines about witnessing. Lines about voting are blank to that reader, so that numbers stay.
pub(super) fn read(text: &str) -> Result<Witnesses, PolicyError> {
    let (mut lines, mut operators, mut is_said) = (String::new(), Vec::new(), false);
    for (number, text) in (1..).zip(text.split('\n')) {
        // What is wrong with other lines is told by their reader.
        if let Ok(Some(line)) = Line::split(number, text)
            && KEYWORDS.contains(&line.keyword.text)
        {
            is_said |= line.keyword.text == "quorum";
            let (shown, operator) = ours_taken_out(&line)?;
            lines.push_str(&shown);
            if line.keyword.text == "witness" {
                operators.push(operator);
            }
        }
        lines.push('\n');
    }
    if !is_said {
        return Err(PolicyError {
            file: String::new(),
            line: text.lines().count().max(1),
            column: 1,
            message: "nothing is said about witnesses".into(),
            hint: "add a line `quorum NAME`, or `quorum none` if no cosignature is asked for"
                .into(),
            text: String::new(),
        });
    }
    let policy = TlogPolicy::parse(lines.as_bytes()).map_err(|error| PolicyError {
        file: String::new(),
        line: error.line,
        column: error.column,
        message: error.message,
        hint: error.hint,
        text: text
            .split('\n')
            .nth(error.line.saturating_sub(1))
            .unwrap_or_default()
            .into(),
    })?;
    Ok((policy, operators))
}

/// The line without its comment and without `operator=`, every word at its column.
fn ours_taken_out(line: &Line<'_>) -> Result<(String, Option<String>), PolicyError> {
    let mut shown = String::new();
    let mut operator = None;
    let items = std::iter::once(&line.keyword).chain(&line.items);
    for item in items {
        if let (Some(("operator", value)), "witness") = (item.option(), line.keyword.text) {
            super::parse::set(&mut operator, line, *item, name_of(line, value)?)?;
            continue;
        }
        let column = shown.chars().count().saturating_add(1);
        shown.extend(std::iter::repeat_n(' ', item.column.saturating_sub(column)));
        shown.push_str(item.text);
    }
    Ok((shown, operator))
}

impl Policy {
    /// The verified cosignatures of the policy's witnesses on a signed checkpoint: name of the witness, latest time in
    /// POSIX seconds. Others, and wrong ones, are not in it. Whether the log signed it is not looked at.
    #[must_use]
    pub fn cosigned(&self, note: &[u8]) -> Cosigned {
        let mut cosigned = Cosigned::new();
        let Ok(note) = SignedNote::parse(note) else {
            return cosigned;
        };
        let Ok(checkpoint) = Checkpoint::parse(note.text()) else {
            return cosigned;
        };
        for signature in note.signatures() {
            for witness in &self.witnesses.witnesses {
                // 0 says nothing about when.
                if let Ok(time @ 1..) = witness.key.verify(&checkpoint, signature) {
                    let latest = cosigned.entry(witness.name.to_string()).or_default();
                    *latest = time.max(*latest);
                }
            }
        }
        cosigned
    }

    /// The earliest time, in POSIX seconds, at which these cosignatures on a checkpoint of the log of `operator` met the
    /// witness quorum; `None` where they do not, or none is asked for.
    #[must_use]
    pub fn met_since(&self, cosigned: &Cosigned, operator: &str) -> Option<u64> {
        self.witnesses.met_since(&self.times(cosigned, operator))
    }

    /// How fresh these cosignatures are on a checkpoint of the log of `operator`: the latest time, in POSIX seconds, such
    /// that those of that time and later meet the witness quorum.
    #[must_use]
    pub fn fresh_as_of(&self, cosigned: &Cosigned, operator: &str) -> Option<u64> {
        match self.witnesses.standing(&self.times(cosigned, operator)) {
            Standing::Met { time } => time,
            Standing::NotMet { .. } => None,
        }
    }

    /// A signed checkpoint with, of each witness of the policy, the earliest cosignature that it or `shown` has: the same
    /// checkpoint as it was shown later. `None` where that changes nothing, or the two are not of one text.
    #[must_use]
    pub fn with_earliest_cosignatures(&self, kept: &[u8], shown: &[u8]) -> Option<Vec<u8>> {
        if kept == shown {
            return None;
        }
        let (kept, shown) = (
            SignedNote::parse(kept).ok()?,
            SignedNote::parse(shown).ok()?,
        );
        let checkpoint = Checkpoint::parse(kept.text()).ok()?;
        if kept.text() != shown.text() {
            return None;
        }
        let (mut lines, mut is_changed) = (kept.signatures().to_vec(), false);
        for witness in &self.witnesses.witnesses {
            let time = |line: &NoteSignature| witness.key.verify(&checkpoint, line).ok();
            let earliest = |lines: &[NoteSignature]| {
                let dated = lines
                    .iter()
                    .filter_map(|line| Some((time(line).filter(|time| *time > 0)?, line.clone())));
                dated.min_by_key(|(time, _)| *time)
            };
            let Some((earlier, line)) = earliest(shown.signatures()) else {
                continue;
            };
            if earliest(&lines).is_none_or(|(held, _)| earlier < held) {
                lines.retain(|line| !witness.key.is_named_by(line));
                lines.push(line);
                is_changed = true;
            }
        }
        let note = is_changed.then(|| SignedNote::assemble(kept.text(), lines).ok())??;
        Some(note.to_bytes())
    }

    /// For each witness when it cosigned; none that is of the log's own operator, nobody vouches for themselves.
    pub(crate) fn times(&self, cosigned: &Cosigned, operator: &str) -> Vec<Option<u64>> {
        let witnesses = self.witnesses.witnesses.iter().zip(&self.witness_operators);
        let times = witnesses.map(|(witness, own)| {
            let counts = own.as_deref() != Some(operator);
            counts.then(|| cosigned.get(&witness.name.to_string()).copied())?
        });
        times.collect()
    }
}
