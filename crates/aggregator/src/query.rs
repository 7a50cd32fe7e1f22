//! What a caller asks about: an absolute store path, a base name or a hash part.
//!
//! Only the hash part is looked up, as by a binary cache; a path that was given whole is kept for what has to fetch
//! it.

use quorix_nix::store_path::{HashPart, StoreDir, StorePath};

use crate::error::AskError;

/// An output that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) hash_part: HashPart,
    /// The store path, where it was given whole.
    pub(crate) path: Option<StorePath>,
}

/// Reads all of them, each named by its position if it is not understood.
pub(crate) fn parse_all(
    paths: &[String],
    store_dir: &StoreDir,
    limit: usize,
) -> Result<Vec<Query>, AskError> {
    if paths.len() > limit {
        return Err(AskError::Argument {
            argument: "paths".to_owned(),
            reason: format!("{} were given, at most {limit} are allowed", paths.len()),
        });
    }
    let parsed = paths
        .iter()
        .enumerate()
        .map(|(position, text)| parse(text, store_dir, || format!("paths[{position}]")));
    parsed.collect()
}

/// Reads one of them.
pub(crate) fn parse(
    text: &str,
    store_dir: &StoreDir,
    argument: impl FnOnce() -> String,
) -> Result<Query, AskError> {
    if let Ok(hash_part) = text.parse() {
        return Ok(Query {
            hash_part,
            path: None,
        });
    }
    let path = if text.starts_with('/') {
        store_dir.parse(text)
    } else {
        text.parse()
    };
    match path {
        Ok(path) => Ok(Query {
            hash_part: path.hash_part(),
            path: Some(path),
        }),
        Err(error) => {
            let shown: String = text.chars().take(80).collect();
            let reason =
                format!("{shown:?} is no store path, base name or 32-character hash part: {error}");
            Err(AskError::Argument {
                argument: argument(),
                reason,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "93a4fjryvg1hz7bxki7wzd9cznsm20yx";

    fn asked(text: &str) -> Result<Query, AskError> {
        parse(text, &StoreDir::default(), || "path".to_owned())
    }

    #[test]
    fn all_three_spellings_ask_for_the_same_output() {
        let path: StorePath = format!("{HASH}-c").parse().unwrap();
        let whole = Query {
            hash_part: path.hash_part(),
            path: Some(path),
        };
        assert_eq!(asked(&format!("/nix/store/{HASH}-c")), Ok(whole.clone()));
        assert_eq!(asked(&format!("{HASH}-c")), Ok(whole.clone()));
        assert_eq!(
            asked(HASH),
            Ok(Query {
                path: None,
                ..whole
            })
        );
    }

    #[test]
    fn what_is_not_understood_is_named_with_its_position() {
        let paths = [HASH.to_owned(), "/gnu/store/x".to_owned()];
        let Err(AskError::Argument { argument, reason }) =
            parse_all(&paths, &StoreDir::default(), 10)
        else {
            panic!()
        };
        assert_eq!(argument, "paths[1]");
        assert!(
            reason.starts_with("\"/gnu/store/x\" is no store path"),
            "{reason}"
        );
        assert_eq!(
            parse_all(&paths, &StoreDir::default(), 1),
            Err(AskError::Argument {
                argument: "paths".to_owned(),
                reason: "2 were given, at most 1 are allowed".to_owned(),
            })
        );
    }
}
