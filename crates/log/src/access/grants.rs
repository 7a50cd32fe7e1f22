//! The token file of a log: a line for each token, as `quorix token generate` prints it, and what it may send.

use std::collections::BTreeMap;

use quorix_wire::token::{Grant, TokenError};

use super::Limits;

/// The most tokens of one log.
const TOKENS_MAX: usize = 1_000;

/// A token that may submit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) grant: Grant,
    /// Where its line has its own.
    pub(super) limits: Option<Limits>,
}

/// The tokens that may submit to a log, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants(BTreeMap<String, Granted>);

/// A token file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct GrantsError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it and what to do.
    pub problem: String,
}

impl Grants {
    /// Reads the text of a token file for the log `origin`. Empty lines and those that begin with `#` say nothing.
    /// After the token may follow `requests_per_second=`, `entries_per_second=`, `bytes_per_second=` and
    /// `request_bytes=`; what is not said is as in `defaults`.
    ///
    /// # Errors
    /// The first line that is no token of this log, or repeats a name or key.
    pub fn parse(text: &str, origin: &str, defaults: Limits) -> Result<Self, GrantsError> {
        let mut grants = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            grants
                .add(line, origin, defaults)
                .map_err(|problem| GrantsError {
                    line: index.saturating_add(1),
                    problem,
                })?;
        }
        Ok(grants)
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Granted> {
        self.0.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Granted> {
        self.0.values()
    }

    fn add(&mut self, line: &str, origin: &str, defaults: Limits) -> Result<(), String> {
        let granted = read(line, defaults)?;
        let grant = &granted.grant;
        if grant.origin() != origin {
            return Err(format!(
                "the token {} is for the log {}, this one is {origin}",
                grant.name(),
                grant.origin()
            ));
        }
        if self
            .iter()
            .any(|other| other.grant.key_bytes() == grant.key_bytes())
        {
            return Err(format!("the key of {} is there already", grant.name()));
        }
        if self.len() >= TOKENS_MAX {
            return Err(format!("more than {TOKENS_MAX} tokens"));
        }
        let name = grant.name().to_owned();
        if self.0.contains_key(&name) {
            return Err(format!("the name {name} is there already"));
        }
        self.0.insert(name, granted);
        Ok(())
    }
}

fn read(line: &str, defaults: Limits) -> Result<Granted, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (token, settings) = words.split_at_checked(2).unwrap_or((&words, &[]));
    let grant: Grant = token
        .join(" ")
        .parse()
        .map_err(|error: TokenError| error.to_string())?;
    let mut limits = defaults;
    for setting in settings {
        let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
        let number: u64 = value
            .parse()
            .map_err(|_| format!("`{setting}`: after `=` comes a whole number"))?;
        match key {
            "requests_per_second" => limits.requests_per_second = number,
            "entries_per_second" => limits.entries_per_second = number,
            "bytes_per_second" => limits.bytes_per_second = number,
            "request_bytes" => limits.request_bytes = number,
            _ => {
                return Err(format!(
                    "`{key}` is unknown; there are requests_per_second, entries_per_second, bytes_per_second and request_bytes"
                ));
            }
        }
    }
    let limits = (!settings.is_empty()).then_some(limits);
    Ok(Granted { grant, limits })
}

#[cfg(test)]
mod tests {
    use quorix_wire::token::Token;

    use super::*;

    const ORIGIN: &str = "logs.example.org/alice";

    fn line(name: &str, seed: u8) -> String {
        let token = Token::from_seed(ORIGIN, name, [seed; 32]).unwrap();
        token.grant().to_string()
    }

    fn refused(text: &str) -> String {
        Grants::parse(text, ORIGIN, Limits::default())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_file_has_a_token_a_line_and_remarks() {
        let text = format!(
            "# builders\n\n{}\n  {} entries_per_second=5 request_bytes=7\n",
            line("alice-ci", 1),
            line("alice-2", 2)
        );
        let grants = Grants::parse(&text, ORIGIN, Limits::default()).unwrap();
        assert_eq!(grants.len(), 2);
        assert_eq!(grants.get("alice-ci").unwrap().limits, None);
        let limits = Limits {
            entries_per_second: 5,
            request_bytes: 7,
            ..Limits::default()
        };
        assert_eq!(grants.get("alice-2").unwrap().limits, Some(limits));
    }

    #[test]
    fn a_line_that_cannot_be_used_is_named_with_what_is_wrong() {
        let good = line("alice-ci", 1);
        assert_eq!(
            refused(&format!("{good}\n{}", line("alice-ci", 2))),
            "line 2: the name alice-ci is there already"
        );
        assert_eq!(
            refused(&format!("{good}\n{}", line("other", 1))),
            "line 2: the key of other is there already"
        );
        let bobs = Token::from_seed("logs.example.org/bob", "ci", [1; 32]).unwrap();
        assert_eq!(
            refused(&bobs.grant().to_string()),
            "line 1: the token ci is for the log logs.example.org/bob, this one is logs.example.org/alice"
        );
        assert!(refused(&bobs.to_text()).starts_with("line 1: this is the secret of a token"));
        assert_eq!(
            refused(&format!("{good} entries_per_second=many")),
            "line 1: `entries_per_second=many`: after `=` comes a whole number"
        );
        assert!(
            refused(&format!("{good} entries_per_day=1")).contains("`entries_per_day` is unknown")
        );
        assert!(refused("nonsense").starts_with("line 1: expected `ORIGIN NAME:BASE64`"));
    }
}
