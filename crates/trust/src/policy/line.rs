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
                file: String::new(),
                line: number,
                column: position.saturating_add(1),
                message: "control character".into(),
                hint: "lines end with a line feed alone; words are separated by spaces or tabs"
                    .into(),
                text: text.into(),
            });
        }
        let items = words(text);
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
            file: String::new(),
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
                file: String::new(),
                line: self.number,
                column: self.text.trim_end().chars().count().saturating_add(1),
                message: format!("`{}` needs {what}", self.keyword.text),
                hint: format!("write `{form}`"),
                text: self.text.into(),
            })
    }
}

/// The words of a line with their columns. A word `KEY=(…` goes on to the bracket that closes it, whatever is between.
fn words(text: &str) -> Vec<Item<'_>> {
    let mut items = Vec::new();
    let (mut rest, mut column) = (text, 1_usize);
    loop {
        let blank = rest
            .len()
            .saturating_sub(rest.trim_start_matches([' ', '\t']).len());
        column = column.saturating_add(blank);
        rest = rest.get(blank..).unwrap_or_default();
        if rest.is_empty() || rest.starts_with('#') {
            return items;
        }
        let end = rest.find([' ', '\t']).unwrap_or(rest.len());
        let end = match rest.get(..end).and_then(|word| word.find("=(")) {
            Some(start) => closed(rest, start.saturating_add(1)),
            None => end,
        };
        let (word, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        items.push(Item { column, text: word });
        column = column.saturating_add(word.chars().count());
        rest = after;
    }
}

/// Where the bracket that opens at `start` is closed, brackets within quotes aside; the end of the text if it is not.
fn closed(text: &str, start: usize) -> usize {
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    for (offset, c) in text
        .char_indices()
        .skip_while(|(offset, _)| *offset < start)
    {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(') => depth = depth.saturating_add(1),
            (None, ')') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return offset.saturating_add(1);
                }
            }
            (None, _) => {}
        }
    }
    text.len()
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
