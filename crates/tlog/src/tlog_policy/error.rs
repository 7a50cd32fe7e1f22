//! What is wrong with a policy over witnesses, where, and what to do.

use std::fmt;

/// What is wrong with a policy file, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogPolicyError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// The line's text, octets that are not UTF-8 replaced; empty where no line is at fault.
    pub text: String,
}

impl fmt::Display for TlogPolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            message,
            hint,
            text,
        } = self;
        if text.is_empty() {
            return write!(f, "witness policy line {line}: {message}\n  {hint}");
        }
        // One screen line: a longer one (keys are long) is cut around the column that matters.
        let skipped = if *column > 60 {
            column.saturating_sub(30)
        } else {
            0
        };
        let shown: String = text
            .chars()
            .skip(skipped)
            .take(74)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let indent = column.saturating_sub(skipped).saturating_sub(1);
        writeln!(f, "witness policy line {line}, column {column}: {message}")?;
        writeln!(f, "  {shown}")?;
        write!(f, "  {:indent$}^ {hint}", "")
    }
}

impl std::error::Error for TlogPolicyError {}
