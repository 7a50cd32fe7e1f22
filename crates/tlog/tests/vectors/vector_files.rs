//! The files of the published vectors: gathered, then compared with what is committed or written.

use std::{collections::BTreeMap, fs, path::Path};

/// Paths below the folder of vectors, and their bytes.
#[derive(Default)]
pub(crate) struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    pub(crate) fn add(&mut self, path: String, bytes: &[u8]) {
        let earlier = self.0.insert(path.clone(), bytes.to_vec());
        assert_eq!(earlier, None, "{path} is made twice");
    }

    /// A file, and a line about it in its folder's `expected.txt`.
    pub(crate) fn expect(&mut self, folder: &str, name: &str, bytes: &[u8], expected: &str) {
        self.add(format!("{folder}/{name}"), bytes);
        let lines = self.0.entry(format!("{folder}/expected.txt")).or_default();
        lines.extend_from_slice(format!("{name} {expected}\n").as_bytes());
    }
}

/// Compares with the committed files; writes them first where the environment asks for it.
pub(crate) fn compare_or_write(folder: &Path, files: &Files) {
    let regenerate = std::env::var_os("QUORIX_REGENERATE").is_some();
    for (name, bytes) in &files.0 {
        let path = folder.join(name);
        if regenerate {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
        }
        let found = fs::read(&path).unwrap_or_default();
        assert!(
            found == *bytes,
            "tests/vectors/{name} is not what the seeds give: \
             run `QUORIX_REGENERATE=1 cargo test -p quorix-tlog --test vectors`"
        );
    }
}
