//! One line of a policy file as items with their columns.

use super::PolicyError;

/// A word of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item<'a> {
    /// Column of its first character, from 1.
    pub(super) column: usize,
    /// Its text, never empty.
    pub(super) text: &'a str,
}

/// A line that says something.
#[derive(Clone, Debug)]
pub(super) struct Line<'a> {
    /// Number in the file, from 1.
    pub(super) number: usize,
    /// The whole text.
    pub(super) text: &'a str,
    /// The first word.
    pub(super) keyword: Item<'a>,
    /// The words after it.
    pub(super) items: Vec<Item<'a>>,
}

impl<'a> Line<'a> {
    /// Splits at spaces and tabs; a word that begins with `#` begins a comment. `None` for an empty line.
    pub(super) fn split(number: usize, text: &'a str) -> Result<Option<Self>, PolicyError> {
        let bad = text.chars().position(|c| c.is_control() && c != '\t');
        if let Some(position) = bad {
            return Err(PolicyError {
                line: number,
                column: position.saturating_add(1),
                message: "control character".into(),
                hint: "lines end with a line feed alone; words are separated by spaces or tabs"
                    .into(),
                text: text.into(),
            });
        }
        let mut items = Vec::new();
        let mut column = 1;
        for word in text.split([' ', '\t']) {
            if word.starts_with('#') {
                break;
            }
            if !word.is_empty() {
                items.push(Item { column, text: word });
            }
            column = column
                .saturating_add(word.chars().count())
                .saturating_add(1);
        }
        let mut items = items.into_iter();
        Ok(items.next().map(|keyword| Self {
            number,
            text,
            keyword,
            items: items.collect(),
        }))
    }

    /// An error at one word.
    pub(super) fn error(
        &self,
        item: Item<'_>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> PolicyError {
        PolicyError {
            line: self.number,
            column: item.column,
            message: message.into(),
            hint: hint.into(),
            text: self.text.into(),
        }
    }

    /// The word at a position after the keyword, or an error that names what is missing.
    pub(super) fn item(
        &self,
        position: usize,
        what: &str,
        form: &str,
    ) -> Result<Item<'a>, PolicyError> {
        self.items
            .get(position)
            .copied()
            .ok_or_else(|| PolicyError {
                line: self.number,
                column: self.text.trim_end().chars().count().saturating_add(1),
                message: format!("`{}` needs {what}", self.keyword.text),
                hint: format!("write `{form}`"),
                text: self.text.into(),
            })
    }
}

impl<'a> Item<'a> {
    /// Splits `key=value`; the value's item keeps its own column.
    pub(super) fn option(self) -> Option<(&'a str, Self)> {
        let (key, value) = self.text.split_once('=')?;
        let column = self
            .column
            .saturating_add(key.chars().count())
            .saturating_add(1);
        Some((
            key,
            Self {
                column,
                text: value,
            },
        ))
    }
}
