//! Signed sets of store paths: where a weaker (or stricter) rule holds, with reasons and an end.
//!
//! A C2SP signed note. Its text is a header line, then a line a path, ascending: base name, `until` as a date or
//! `never`, and the reason. One encoding, so that a signature is over exactly what is read.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use quorix_nix::store_path::StorePath;
use quorix_tlog::note::{NoteError, SignedNote, SigningKey, VerifierKey};

use super::parse::date;

/// The most bytes that a signed set may have.
pub const SET_BYTES_MAX: usize = 1024 * 1024;

const HEADER: &str = "quorix-set/v1";

/// A verified signed set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignedSet {
    /// Its entries by path.
    pub entries: BTreeMap<StorePath, SetEntry>,
}

const DAY_S: u64 = 86_400;

/// One path of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetEntry {
    /// POSIX seconds from which it is as if the entry were not there; `None` is never.
    pub until_s: Option<u64>,
    /// Why it is in the set, one line for people.
    pub reason: String,
}

/// Bytes that are not a signed set by this key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// Not a signed note, or not signed by the key.
    #[error("the set is not signed by the policy's key: {0}")]
    Note(#[from] NoteError),
    /// The first line is another one.
    #[error("the set does not begin with `quorix-set/v1`")]
    Header,
    /// It says the same in another form than the one that it has.
    #[error("the set is not written as `quorix policy exempt` writes it")]
    OtherForm,
    /// A line is not what it should be.
    #[error("line {line} of the set: {reason}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

impl SignedSet {
    /// Opens a set and checks its signature.
    ///
    /// # Errors
    /// [`SetError`]: it is not signed by this key, or not a set.
    pub fn open(bytes: &[u8], key: &VerifierKey) -> Result<Self, SetError> {
        let note = SignedNote::parse(bytes)?;
        note.verify(&[key])?;
        let set = Self::parse(note.text())?;
        if set.to_text() != note.text() {
            return Err(SetError::OtherForm);
        }
        Ok(set)
    }

    /// Reads the text of a set, unsigned.
    ///
    /// # Errors
    /// [`SetError`]: what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, SetError> {
        let mut lines = (1_usize..).zip(text.lines());
        if lines.next().map(|(_, line)| line) != Some(HEADER) {
            return Err(SetError::Header);
        }
        let mut set = Self::default();
        for (line, text) in lines {
            let wrong = |reason: String| SetError::Line { line, reason };
            let mut words = text.splitn(3, ' ');
            let (Some(path), Some(until), Some(reason)) =
                (words.next(), words.next(), words.next())
            else {
                let reason = "write `HASH-NAME YYYY-MM-DD|never REASON`".to_owned();
                return Err(wrong(reason));
            };
            let path: StorePath = path
                .parse()
                .map_err(|error| wrong(format!("not a store path: {error}")))?;
            if set
                .entries
                .last_key_value()
                .is_some_and(|(last, _)| *last >= path)
            {
                return Err(wrong(format!("{path} does not come after the line before")));
            }
            let until_s = match until {
                "never" => None,
                day => Some(date(day).ok_or_else(|| wrong(format!("`{day}` is not a date")))?),
            };
            if reason.trim().is_empty() || reason.chars().any(char::is_control) {
                return Err(wrong("it gives no reason, or not one of plain text".into()));
            }
            let reason = reason.to_owned();
            set.entries.insert(path, SetEntry { until_s, reason });
        }
        Ok(set)
    }

    /// Its text, as it is signed.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEADER}\n");
        for (path, entry) in &self.entries {
            let until = entry.until_s.map_or_else(|| "never".to_owned(), time_text);
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "{path} {until} {}", entry.reason);
        }
        text
    }

    /// The signed bytes.
    ///
    /// # Errors
    /// An entry is not one that could be read again, or the set is too large for a note.
    pub fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, SetError> {
        let text = self.to_text();
        if Self::parse(&text)? != *self {
            let reason = "it would read differently".into();
            return Err(SetError::Line { line: 1, reason });
        }
        Ok(SignedNote::sign(&text, &[key])?.to_bytes())
    }

    /// Whether it has a path at a time in POSIX seconds.
    #[must_use]
    pub fn has(&self, path: &StorePath, now_s: u64) -> bool {
        self.entries
            .get(path)
            .is_some_and(|entry| entry.until_s.is_none_or(|until| now_s < until))
    }
}

/// A moment for people, which [`date`] reads as well: `2026-11-25T12:00:00Z`. POSIX seconds.
#[must_use]
pub fn moment(time_s: u64) -> String {
    let second = time_s % DAY_S;
    let (hour, minute) = (second / 3_600, second % 3_600 / 60);
    let day = time_text(time_s.saturating_sub(second));
    format!("{day}T{hour:02}:{minute:02}:{:02}Z", second % 60)
}

/// A time as a date where it is midnight, else as POSIX seconds: what [`date`] reads.
fn time_text(time_s: u64) -> String {
    if !time_s.is_multiple_of(DAY_S) {
        return time_s.to_string();
    }
    let days = i64::try_from(time_s / DAY_S).unwrap_or_default();
    // Days since 0000-03-01 in eras of 400 years (proleptic Gregorian calendar).
    let shifted = days.saturating_add(719_468);
    let era = shifted.div_euclid(146_097);
    let day = shifted.rem_euclid(146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = year
        .saturating_add(era.saturating_mul(400))
        .saturating_add(later);
    format!("{year:04}-{month:02}-{of_month:02}")
}
