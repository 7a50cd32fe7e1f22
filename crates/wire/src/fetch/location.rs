//! What a URL or path leads to, and how names from outside are put below a prefix.
//!
//! A name never leads out of its prefix, however it is spelled.

use std::path::{Component, Path, PathBuf};

use reqwest::Url;

use super::FetchError;

const URL_MAX: usize = 4096;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Location {
    Http(Url),
    File(PathBuf),
}

impl Location {
    pub(super) fn parse(text: &str) -> Result<Self, FetchError> {
        let refused = |reason| bad_url(text, reason);
        if text.len() > URL_MAX || text.chars().any(char::is_control) {
            return Err(refused("it is too long or has control characters"));
        }
        let path = if text.starts_with('/') {
            PathBuf::from(text)
        } else {
            let url = Url::parse(text).map_err(|_| {
                refused("expected `http://…`, `https://…`, `file:///…` or an absolute path")
            })?;
            match url.scheme() {
                "http" | "https" => return Ok(Self::Http(url)),
                "file" => url
                    .to_file_path()
                    .map_err(|()| refused("`file://` is followed by an absolute path"))?,
                _ => return Err(refused("only http, https and file are fetched")),
            }
        };
        if path
            .components()
            .any(|part| matches!(part, Component::ParentDir))
        {
            return Err(refused("it has `..` in it"));
        }
        Ok(Self::File(path))
    }
}

/// The URL of what is called `name` below `prefix`, of which a path is kept. A name is relative, like
/// `nar/0pljz….nar.xz`; below an HTTP prefix it may have a query.
///
/// # Errors
/// [`FetchError::BadUrl`]: the prefix is not fetched from here, or the name would lead out of it.
pub fn join(prefix: &str, name: &str) -> Result<String, FetchError> {
    let refused = |reason| bad_url(name, reason);
    let (path, query) = match name.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (name, None),
    };
    let is_plain = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"\\%#".contains(&byte))
    };
    if name.len() > URL_MAX || !path.split('/').all(is_plain) {
        return Err(refused("it is not a plain relative name"));
    }
    if query.is_some_and(|query| {
        !query
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'#')
    }) {
        return Err(refused("its query has characters that no URL has"));
    }
    // A scheme would need a colon before the first slash: `http:` is a plain part, `//` after it is not.
    match Location::parse(prefix)? {
        Location::File(_) if query.is_some() => Err(refused("a file has no query")),
        Location::File(directory) => {
            let file: &Path = &directory.join(path);
            let text = file
                .to_str()
                .ok_or_else(|| refused("the directory's name is not UTF-8"))?;
            Ok(text.to_owned())
        }
        Location::Http(mut url) => {
            url.set_query(None);
            url.set_fragment(None);
            Ok(format!("{}/{name}", url.as_str().trim_end_matches('/')))
        }
    }
}

/// A URL as it may be shown: without the password that it may have, and not endlessly long.
pub(super) fn shown(url: &str) -> String {
    let short = || url.chars().take(200).collect();
    if !url.contains('@') {
        return short();
    }
    let Ok(mut parsed) = Url::parse(url) else {
        return short();
    };
    if parsed.set_username("").is_err() || parsed.set_password(None).is_err() {
        return short();
    }
    parsed.as_str().chars().take(200).collect()
}

fn bad_url(text: &str, reason: &'static str) -> FetchError {
    FetchError::BadUrl {
        url: shown(text),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_put_below_its_prefix_whose_path_is_kept() {
        for (prefix, name, joined) in [
            (
                "https://c.example.org",
                "a.narinfo",
                "https://c.example.org/a.narinfo",
            ),
            (
                "https://c.example.org/",
                "nar/a.nar.xz",
                "https://c.example.org/nar/a.nar.xz",
            ),
            (
                "https://c.example.org/sub/cache/",
                "nar/a.nar?hash=b",
                "https://c.example.org/sub/cache/nar/a.nar?hash=b",
            ),
            (
                "http://c.example.org:81/x?y=1",
                "checkpoint",
                "http://c.example.org:81/x/checkpoint",
            ),
            ("/mnt/usb/cache", "nar/a.nar", "/mnt/usb/cache/nar/a.nar"),
            (
                "file:///mnt/usb%20stick/",
                "tile/0/x001/067.p/5",
                "/mnt/usb stick/tile/0/x001/067.p/5",
            ),
        ] {
            assert_eq!(join(prefix, name).unwrap(), joined);
        }
    }

    #[test]
    fn a_name_never_leads_out_of_its_prefix() {
        let names = [
            "",
            "/",
            "..",
            ".",
            "../secret",
            "nar/../../secret",
            "nar//a",
            "/etc/passwd",
            "nar/",
            "%2e%2e/secret",
            "nar/%2e%2e/%2e%2e/secret",
            "a\\..\\b",
            "a#b",
            "a b",
            "a\nb",
            "a\0b",
            "http://other.example.org/x",
            "https://other.example.org",
            "//other.example.org/x",
            "file:///etc/passwd",
            "ä",
        ];
        for name in names {
            for prefix in ["https://c.example.org/cache", "/mnt/usb", "file:///mnt/usb"] {
                let refused = join(prefix, name);
                assert!(
                    matches!(refused, Err(FetchError::BadUrl { .. })),
                    "{prefix} {name:?}: {refused:?}"
                );
            }
        }
        assert!(join("/mnt/usb", "a?b").is_err());
    }

    #[test]
    fn only_http_and_files_are_locations() {
        for text in [
            "ftp://x/y",
            "x/y",
            "",
            "data:,x",
            "file://host/x",
            "/a/../b",
            "unix:/x",
            "http://",
            "/a\0b",
        ] {
            let refused = Location::parse(text);
            assert!(
                matches!(refused, Err(FetchError::BadUrl { .. })),
                "{text:?}: {refused:?}"
            );
        }
        assert_eq!(
            Location::parse("file:///a/b").unwrap(),
            Location::File("/a/b".into())
        );
    }

    #[test]
    fn a_password_in_a_url_is_never_shown() {
        assert_eq!(
            shown("https://me:secret@c.example.org/x"),
            "https://c.example.org/x"
        );
        assert!(
            !bad_url("ftp://me:secret@c.example.org/x", "no")
                .to_string()
                .contains("secret")
        );
    }
}
