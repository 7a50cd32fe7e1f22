//! A sentence in which names and commands stand between backticks, as the program writes them everywhere: on a page
//! they are set as code.

use super::shown::Shown;

/// A sentence in pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prose {
    /// The pieces, in order.
    pub pieces: Vec<Piece>,
}

/// A piece of a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// True for what stood between backticks.
    pub code: bool,
    /// The text.
    pub text: Shown,
}

impl Prose {
    /// The pieces of a text. Without a partner a backtick is a character like others.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let text = Shown::line(text);
        let whole = || {
            vec![Piece {
                code: false,
                text: text.clone(),
            }]
        };
        if !text.as_str().matches('`').count().is_multiple_of(2) {
            return Self { pieces: whole() };
        }
        let pieces = text.as_str().split('`').enumerate();
        let pieces = pieces.map(|(at, text)| Piece {
            code: !at.is_multiple_of(2),
            text: Shown::line(text),
        });
        Self {
            pieces: pieces.filter(|piece| !piece.text.is_empty()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<(bool, String)> {
        Prose::new(text)
            .pieces
            .into_iter()
            .map(|piece| (piece.code, piece.text.to_string()))
            .collect()
    }

    #[test]
    fn what_stands_between_backticks_is_code() {
        assert_eq!(
            pieces("`main` needs `2` votes."),
            [
                (true, "main".into()),
                (false, " needs ".into()),
                (true, "2".into()),
                (false, " votes.".into())
            ]
        );
        assert_eq!(pieces("No veto."), [(false, "No veto.".into())]);
    }

    #[test]
    fn a_lonely_backtick_stays() {
        assert_eq!(pieces("it`s"), [(false, "it`s".into())]);
    }
}
