use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{Permissions, create_dir, set_permissions, write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use quorix_nix::nar::Node;
use tempfile::{TempDir, tempdir};

use super::*;

fn node_bytes(node: &Node) -> Vec<u8> {
    let mut bytes = Vec::new();
    node.write(&mut bytes).unwrap();
    bytes
}

fn file(contents: &[u8], executable: bool) -> Node {
    Node::File {
        executable,
        contents: contents.to_vec(),
    }
}

fn a_tree() -> (TempDir, PathBuf) {
    let dir = tempdir().unwrap();
    let root = dir.path().join("root");
    create_dir(&root).unwrap();
    (dir, root)
}

#[test]
fn a_tree_gives_the_bytes_of_its_nodes() {
    let (_dir, root) = a_tree();
    create_dir(root.join("empty")).unwrap();
    write(root.join("b"), "bytes").unwrap();
    write(root.join("Z"), "upper case comes first").unwrap();
    write(root.join("run"), "#!/bin/sh\n").unwrap();
    set_permissions(root.join("run"), Permissions::from_mode(0o755)).unwrap();
    set_permissions(root.join("b"), Permissions::from_mode(0o655)).unwrap();
    symlink("/nix/store/nowhere", root.join("link")).unwrap();
    write(root.join(OsStr::from_bytes(b"\xff\xfe")), "").unwrap();

    let expected = Node::Directory(BTreeMap::from([
        (b"Z".to_vec(), file(b"upper case comes first", false)),
        (b"b".to_vec(), file(b"bytes", false)),
        (b"empty".to_vec(), Node::Directory(BTreeMap::new())),
        (
            b"link".to_vec(),
            Node::Symlink {
                target: b"/nix/store/nowhere".to_vec(),
            },
        ),
        (b"run".to_vec(), file(b"#!/bin/sh\n", true)),
        (b"\xff\xfe".to_vec(), file(b"", false)),
    ]));
    let bytes = nar(&root, Vec::new()).unwrap();
    assert_eq!(bytes, node_bytes(&expected));
    assert_eq!(
        nar_hash(&root),
        Ok((NarHash::of(&bytes), u64::try_from(bytes.len()).unwrap()))
    );
}

#[test]
fn a_file_has_the_hash_that_nix_gives_it() {
    let (_dir, root) = a_tree();
    write(root.join("data"), "data\n").unwrap();
    let (hash, size) = nar_hash(&root.join("data")).unwrap();
    assert_eq!(
        hash.to_hex(),
        "sha256:442277ec3260f86f922399b4ccfb21537b065431ab842abf4de0558bfacb4556"
    );
    assert_eq!(size, 120);
}

#[test]
fn a_link_is_recorded_and_not_followed() {
    let (_dir, root) = a_tree();
    symlink("/etc", root.join("link")).unwrap();
    let expected = Node::Symlink {
        target: b"/etc".to_vec(),
    };
    assert_eq!(
        nar(&root.join("link"), Vec::new()).unwrap(),
        node_bytes(&expected)
    );
}

#[test]
fn a_big_file_streams_through() {
    let (_dir, root) = a_tree();
    let contents = vec![7; 3 * CHUNK_BYTES + 5];
    write(root.join("big"), &contents).unwrap();
    assert_eq!(
        nar(&root.join("big"), Vec::new()).unwrap(),
        node_bytes(&file(&contents, false))
    );
}

#[test]
fn a_file_that_changes_while_it_is_read_is_an_error() {
    /// Changes the file's length once its first bytes arrive.
    struct Meddler<'a> {
        path: &'a Path,
        length: u64,
    }
    impl Write for Meddler<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if bytes.len() == CHUNK_BYTES {
                File::options()
                    .write(true)
                    .open(self.path)?
                    .set_len(self.length)?;
            }
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (_dir, root) = a_tree();
    let path = root.join("file");
    for length in [0, 2 * CHUNK_BYTES as u64 - 1, 2 * CHUNK_BYTES as u64 + 1] {
        write(&path, vec![0; 2 * CHUNK_BYTES]).unwrap();
        let result = nar(
            &root,
            Meddler {
                path: &path,
                length,
            },
        )
        .map(drop);
        assert_eq!(result, Err(DumpError::Changed { path: path.clone() }));
    }
}

#[test]
fn a_path_that_is_gone_says_so() {
    let (_dir, root) = a_tree();
    let error = nar_hash(&root.join("gone")).unwrap_err();
    assert!(error.is_gone());
    assert_eq!(
        error.to_string(),
        format!(
            "reading {}: No such file or directory (os error 2)",
            root.join("gone").display()
        )
    );
}

#[test]
fn a_socket_cannot_be_dumped() {
    let (_dir, root) = a_tree();
    let path = root.join("socket");
    let _socket = UnixListener::bind(&path).unwrap();
    assert_eq!(nar_hash(&root), Err(DumpError::Kind { path }));
}

#[test]
fn a_tree_that_is_nested_too_deep_is_an_error() {
    let (_dir, root) = a_tree();
    let deep = (0..70).fold(root.clone(), |path, _| path.join("d"));
    fs::create_dir_all(&deep).unwrap();
    assert!(matches!(nar_hash(&root), Err(DumpError::Write { .. })));
}

#[test]
fn a_writer_that_fails_is_an_error() {
    let (_dir, root) = a_tree();
    let mut too_small = [0_u8; 16];
    assert!(matches!(
        nar(&root, too_small.as_mut_slice()).map(drop),
        Err(DumpError::Write { .. })
    ));
}
