//! The style sheet, the script and the icon: embedded, and served under names that change with their contents, so
//! that browsers may keep them for ever. Never read from disk.

use std::sync::LazyLock;

/// A file of `web/assets`.
#[derive(Debug)]
pub(crate) struct Asset {
    /// Its path on this server.
    pub(crate) href: String,
    /// Its media type.
    pub(crate) media_type: &'static str,
    /// Its contents.
    pub(crate) contents: &'static str,
}

/// The paths of the assets, for pages.
#[derive(Clone, Copy, Debug)]
pub struct Assets {
    /// Of the style sheet.
    pub style: &'static str,
    /// Of the script.
    pub script: &'static str,
    /// Of the icon.
    pub icon: &'static str,
}

impl Default for Assets {
    fn default() -> Self {
        Self {
            style: &STYLE.href,
            script: &SCRIPT.href,
            icon: &ICON.href,
        }
    }
}

static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(
        "css",
        "text/css; charset=utf-8",
        include_str!("../../../web/assets/quorix.css"),
    )
});
static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(
        "js",
        "text/javascript; charset=utf-8",
        include_str!("../../../web/assets/quorix.js"),
    )
});
static ICON: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(
        "svg",
        "image/svg+xml",
        include_str!("../../../web/assets/icon.svg"),
    )
});

/// The asset at this path, if there is one.
pub(crate) fn find(path: &str) -> Option<&'static Asset> {
    [&*STYLE, &*SCRIPT, &*ICON]
        .into_iter()
        .find(|asset| asset.href == path)
}

impl Asset {
    fn new(extension: &str, media_type: &'static str, contents: &'static str) -> Self {
        let href = format!(
            "/assets/quorix.{:08x}.{extension}",
            fnv1a(contents.as_bytes())
        );
        Self {
            href,
            media_type,
            contents,
        }
    }
}

/// FNV-1a, 32 bits: names a version for caches, guards nothing.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asset_is_found_by_the_path_that_pages_use_and_by_no_other() {
        let assets = Assets::default();
        for path in [assets.style, assets.script, assets.icon] {
            assert_eq!(find(path).map(|asset| asset.href.as_str()), Some(path));
        }
        assert!(find("/assets/quorix.css").is_none());
        assert!(find("").is_none());
    }

    #[test]
    fn other_contents_get_another_name() {
        assert_eq!(fnv1a(b""), 0x811c_9dc5);
        assert_eq!(fnv1a(b"foobar"), 0xbf9c_f968);
        assert_ne!(fnv1a(b"a"), fnv1a(b"b"));
    }
}
