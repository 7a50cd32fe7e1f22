//! What is wrong with a policy file, where, and what to do.

use std::fmt;

/// What is wrong with a policy file, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// The included file that is wrong; empty for the policy itself.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
    /// The line's text.
    pub text: String,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            message,
            hint,
            text,
        } = self;
        let file = if file.is_empty() {
            "line ".to_owned()
        } else {
            format!("file {file}, line ")
        };
        // One screen line: a longer one is cut around the column that matters.
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
        if text.is_empty() {
            return write!(f, "policy {file}{line}: {message}\n  {hint}");
        }
        writeln!(f, "policy {file}{line}, column {column}: {message}")?;
        writeln!(f, "  {shown}")?;
        write!(f, "  {:indent$}^ {hint}", "")
    }
}

impl std::error::Error for PolicyError {}
