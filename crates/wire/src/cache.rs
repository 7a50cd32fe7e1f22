//! Reading binary caches: narinfos by hash part, from HTTP or a directory.
//!
//! What a narinfo says is a claim of the cache; nothing of it is verified here but that it is about what was asked.

use quorix_nix::narinfo::NarInfo;
use quorix_nix::store_path::{HashPart, StoreDir};

use crate::fetch::{FetchError, Fetched, Fetcher, join};

/// Longest narinfo that is read, in bytes.
pub const NARINFO_BYTES_MAX: u64 = 1024 * 1024;

/// Reads one binary cache.
#[derive(Clone, Debug)]
pub struct NarInfoClient {
    fetcher: Fetcher,
    base: String,
    store_dir: StoreDir,
}

impl NarInfoClient {
    /// The cache at `base`: a URL, of which a path is kept, or an absolute directory.
    #[must_use]
    pub fn new(fetcher: Fetcher, base: impl Into<String>, store_dir: StoreDir) -> Self {
        Self {
            fetcher,
            base: base.into(),
            store_dir,
        }
    }

    /// Where the cache is.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// What the cache says of the output with this hash part; `None` where it has none (404 and 403).
    ///
    /// # Errors
    /// The cache does not answer, or what it answers is not a narinfo of that output.
    pub async fn narinfo(&self, output: &HashPart) -> Result<Option<NarInfo>, FetchError> {
        let url = join(&self.base, &format!("{output}.narinfo"))?;
        let bytes = match self.fetcher.get(&url, NARINFO_BYTES_MAX).await {
            Ok(bytes) => bytes,
            Err(error) if error.is_absent() => return Ok(None),
            Err(error) => return Err(error),
        };
        let malformed = |reason: String| FetchError::Malformed {
            url: url.clone(),
            reason,
        };
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| malformed("the narinfo is not text".to_owned()))?;
        let narinfo =
            NarInfo::parse(text, &self.store_dir).map_err(|error| malformed(error.to_string()))?;
        if narinfo.store_path.hash_part() != *output {
            return Err(malformed(format!(
                "the narinfo is of {}",
                narinfo.store_path
            )));
        }
        Ok(Some(narinfo))
    }

    /// Opens the NAR that a narinfo of this cache names, still compressed. A URL that leads to another server is
    /// refused; a redirect may lead to another name, never to a bare address or away from https.
    ///
    /// # Errors
    /// The name leads out of the cache, or the cache does not answer with it.
    pub async fn nar(&self, narinfo: &NarInfo) -> Result<Fetched, FetchError> {
        self.fetcher
            .get_stream(&join(&self.base, &narinfo.url)?)
            .await
    }
}

#[cfg(test)]
mod tests {
    use quorix_nix::hash::NarHash;
    use quorix_nix::narinfo::Compression;
    use quorix_testkit::entries::a_path;
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::fetch::FetchLimits;

    fn cache(base: &std::path::Path) -> NarInfoClient {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let fetcher = Fetcher::new(FetchLimits::default()).unwrap();
        NarInfoClient::new(fetcher, base.to_str().unwrap(), StoreDir::default())
    }

    fn a_narinfo(url: &str) -> NarInfo {
        NarInfo {
            store_path: a_path("hello"),
            url: url.to_owned(),
            compression: Compression::None,
            file_hash: None,
            file_size: None,
            nar_hash: NarHash::from_bytes([1; 32]),
            nar_size: 120,
            references: std::collections::BTreeSet::new(),
            deriver: None,
            signatures: vec![],
            malformed_signatures: 0,
            ca: None,
        }
    }

    #[tokio::test]
    async fn a_directory_is_a_cache() {
        let directory = tempfile::tempdir().unwrap();
        let hello = a_path("hello").hash_part();
        let narinfo = a_narinfo("nar/hello.nar");
        let text = narinfo.print(&StoreDir::default());
        std::fs::write(directory.path().join(format!("{hello}.narinfo")), text).unwrap();
        std::fs::create_dir(directory.path().join("nar")).unwrap();
        std::fs::write(directory.path().join("nar/hello.nar"), b"nar").unwrap();

        let cache = cache(directory.path());
        assert_eq!(cache.narinfo(&hello).await, Ok(Some(narinfo.clone())));
        assert_eq!(cache.narinfo(&a_path("absent").hash_part()).await, Ok(None));
        let mut nar = Vec::new();
        cache
            .nar(&narinfo)
            .await
            .unwrap()
            .body
            .read_to_end(&mut nar)
            .await
            .unwrap();
        assert_eq!(nar, b"nar");
    }

    #[tokio::test]
    async fn a_narinfo_of_something_else_or_none_at_all_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (hello, other) = (a_path("hello").hash_part(), a_path("other").hash_part());
        let text = a_narinfo("nar/hello.nar").print(&StoreDir::default());
        std::fs::write(directory.path().join(format!("{other}.narinfo")), text).unwrap();
        std::fs::write(directory.path().join(format!("{hello}.narinfo")), b"\xff").unwrap();
        for output in [hello, other] {
            let refused = cache(directory.path()).narinfo(&output).await.unwrap_err();
            assert!(matches!(refused, FetchError::Malformed { .. }), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_nar_is_never_read_from_outside_the_cache() {
        let directory = tempfile::tempdir().unwrap();
        for url in [
            "../secret",
            "/etc/passwd",
            "http://other.example.org/x.nar",
            "nar/../../secret",
        ] {
            let refused = cache(directory.path())
                .nar(&a_narinfo(url))
                .await
                .unwrap_err();
            assert!(matches!(refused, FetchError::BadUrl { .. }), "{refused}");
        }
    }
}
