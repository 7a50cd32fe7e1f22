//! A real NAR, the archives that must be refused, and properties.

use std::{collections::BTreeMap, io};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{arbitrary, hash::NarHash};

/// Written by `nix-store --dump`.
const TREE: &[u8] = include_bytes!("../../tests/fixtures/tree.nar");

/// The strings given, as a NAR writes them.
fn strings(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes
}

/// The NAR with the words given, separated by spaces; `''` is the empty string.
fn nar(words: &str) -> Vec<u8> {
    let words = words
        .split_whitespace()
        .map(|word| if word == "''" { "" } else { word });
    let mut parts: Vec<&[u8]> = vec![b"nix-archive-1"];
    parts.extend(words.map(str::as_bytes));
    strings(&parts)
}

/// A directory with one empty file under each of the names.
fn directory(names: &[&[u8]]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = vec![b"nix-archive-1", b"(", b"type", b"directory"];
    for name in names {
        parts.extend([
            b"entry".as_slice(),
            b"(",
            b"name",
            name,
            b"node",
            b"(",
            b"type",
            b"regular",
        ]);
        parts.extend([b"contents".as_slice(), b"", b")", b")"]);
    }
    parts.push(b")");
    strings(&parts)
}

fn symlink(target: &[u8]) -> Vec<u8> {
    strings(&[
        b"nix-archive-1",
        b"(",
        b"type",
        b"symlink",
        b"target",
        target,
        b")",
    ])
}

fn file(contents: &[u8]) -> Node {
    let contents = contents.to_vec();
    Node::File {
        executable: false,
        contents,
    }
}

fn nested(directories: usize) -> Node {
    (0..directories).fold(file(b""), |inner, _| {
        Node::Directory([(b"d".to_vec(), inner)].into())
    })
}

fn check(nar: &[u8]) -> Result<(), NarErrorKind> {
    Node::from_nar(nar).map(drop).map_err(|error| error.kind)
}

#[test]
fn the_nar_of_a_file_is_that_of_nix() {
    let nar = file(b"data\n").to_nar().unwrap();
    assert_eq!(nar.len(), 120);
    let hash = "sha256:442277ec3260f86f922399b4ccfb21537b065431ab842abf4de0558bfacb4556";
    assert_eq!(NarHash::of(&nar).to_hex(), hash);
}

#[test]
fn a_tree_dumped_by_nix_is_read_and_written_back_byte_for_byte() {
    let link = Node::Symlink {
        target: b"../file".to_vec(),
    };
    let inner: BTreeMap<Vec<u8>, Node> = [
        (b"empty".to_vec(), Node::Directory(BTreeMap::new())),
        (b"link".to_vec(), link),
        (b"sixteen".to_vec(), file(b"xxxxxxxxxxxxxxxx")),
    ]
    .into();
    let run = Node::File {
        executable: true,
        contents: b"#!/bin/sh\n".to_vec(),
    };
    let tree = Node::Directory(
        [
            (b"A".to_vec(), file(b"a")),
            (b"a".to_vec(), file(b"b")),
            (b"a b".to_vec(), file(b"n")),
            (b"a-dir".to_vec(), Node::Directory(BTreeMap::new())),
            (b"a.b".to_vec(), file(b"c")),
            (b"caf\xc3\xa9".to_vec(), file(b"utf8")),
            (b"caf\xe9".to_vec(), file(b"latin1")),
            (b"dir".to_vec(), Node::Directory(inner)),
            (b"empty-file".to_vec(), file(b"")),
            (b"file".to_vec(), file(b"data\n")),
            (b"run".to_vec(), run),
            (b"zz".to_vec(), Node::Directory(BTreeMap::new())),
        ]
        .into(),
    );
    assert_eq!(Node::from_nar(TREE), Ok(tree.clone()));
    assert_eq!(tree.to_nar().unwrap(), TREE);
}

#[test]
fn the_hasher_gives_the_hash_and_size_that_nix_gives() {
    let mut hasher = Hasher::new();
    hasher.push(TREE).unwrap();
    let hash = "sha256:004w50wilrz55inlv57rdkcld4fmm6r270fz67f6ssvs7ljxmg14"
        .parse()
        .unwrap();
    assert_eq!(hasher.finish(), Ok((hash, 2928)));
}

#[test]
fn words_out_of_place_are_refused() {
    let file_or = "`executable` or `contents`";
    let cases = [
        ("[", "`(`"),
        ("( kind", "`type`"),
        ("( type fifo", "`regular`, `symlink` or `directory`"),
        ("( type type", "`regular`, `symlink` or `directory`"),
        ("( type regular )", file_or),
        ("( type regular target", file_or),
        (
            "( type regular executable y contents x )",
            "an empty string after `executable`",
        ),
        (
            "( type regular executable '' executable '' contents x )",
            "`contents`",
        ),
        ("( type regular contents x executable '' )", "`)`"),
        ("( type regular contents x contents x )", "`)`"),
        ("( type regular contents x type regular )", "`)`"),
        ("( type symlink )", "`target`"),
        ("( type symlink target x target x )", "`)`"),
        ("( type directory contents", "`entry` or `)`"),
        ("( type directory entry [", "`(`"),
        ("( type directory entry ( )", "`name`"),
        ("( type directory entry ( node", "`name`"),
        ("( type directory entry ( name a )", "`node`"),
        (
            "( type directory entry ( name a node ( type symlink target x ) entry",
            "`)`",
        ),
        ("a-word-longer-than-any", "`(`"),
    ];
    for (words, wanted) in cases {
        assert_eq!(
            check(&nar(words)),
            Err(NarErrorKind::Expected { wanted }),
            "{words}"
        );
    }
    let wanted = "`nix-archive-1`";
    for magic in [&strings(&[b"nix-archive-2"])[..], &[0; 8], &[0xff; 8]] {
        assert_eq!(check(magic), Err(NarErrorKind::Expected { wanted }));
    }
}

#[test]
fn names_that_nix_refuses_are_refused() {
    let long = [b'n'; 256];
    let cases: [(&[&[u8]], NarErrorKind); 11] = [
        (&[b""], NarErrorKind::EmptyName),
        (&[b"."], NarErrorKind::DotName),
        (&[b".."], NarErrorKind::DotName),
        (&[b"a/b"], NarErrorKind::NameByte),
        (&[b"/"], NarErrorKind::NameByte),
        (&[b"a\0"], NarErrorKind::NameByte),
        (&[&long], NarErrorKind::LongName { length: 256 }),
        (&[b"b", b"a"], NarErrorKind::Unsorted),
        (&[b"a", b"b", b"a"], NarErrorKind::Unsorted),
        (&[b"\xff", b"a"], NarErrorKind::Unsorted),
        (&[b"a", b"a"], NarErrorKind::Duplicate),
    ];
    for (names, error) in cases {
        assert_eq!(check(&directory(names)), Err(error), "{names:?}");
    }
    assert_eq!(
        check(&directory(&[
            b"A",
            b"a",
            b"a.b",
            &long[1..],
            b"\xe9",
            b"\xff\xfe"
        ])),
        Ok(())
    );
}

#[test]
fn links_that_nix_refuses_are_refused() {
    assert_eq!(check(&symlink(b"")), Err(NarErrorKind::EmptyTarget));
    assert_eq!(check(&symlink(b"a\0b")), Err(NarErrorKind::TargetByte));
    assert_eq!(
        check(&symlink(&[b't'; 4096])),
        Err(NarErrorKind::LongTarget { length: 4096 })
    );
    assert_eq!(check(&symlink(&[b't'; 4095])), Ok(()));
    assert_eq!(check(&symlink(b"\xff")), Ok(()));
}

#[test]
fn padding_that_is_not_zero_is_refused_wherever_it_is() {
    let good = nar("( type regular contents x )");
    let padding = good.iter().enumerate().filter(|(_, byte)| **byte == 0);
    let mut refused = 0;
    for (at, _) in padding {
        let mut bad = good.clone();
        bad[at] = 1;
        let error = Node::from_nar(&bad).unwrap_err();
        if error.kind == NarErrorKind::Padding {
            assert_eq!(error.offset, at as u64);
            refused += 1;
        }
    }
    // After the magic, "(", "type", "regular", the contents and ")"; "contents" needs none.
    assert_eq!(refused, 3 + 7 + 4 + 1 + 7 + 7);
}

#[test]
fn bytes_after_the_end_are_refused() {
    let mut nar = TREE.to_vec();
    nar.push(0);
    let error = NarError {
        offset: 2928,
        kind: NarErrorKind::TrailingBytes,
    };
    assert_eq!(Node::from_nar(&nar), Err(error.clone()));
    let mut parser = Parser::new();
    parser.push(TREE, &mut ()).unwrap();
    assert_eq!(parser.push(b"\0", &mut ()), Err(error.clone()));
    assert_eq!(parser.push(b"", &mut ()), Err(error.clone()));
    assert_eq!(parser.finish(), Err(error));
}

#[test]
fn a_nar_that_ends_early_is_refused_wherever_it_ends() {
    for end in 0..TREE.len() {
        let error = NarError {
            offset: end as u64,
            kind: NarErrorKind::Truncated,
        };
        assert_eq!(Node::from_nar(&TREE[..end]), Err(error));
    }
}

#[test]
fn directories_nested_too_deep_are_refused_by_reader_and_writer() {
    let deepest = nested(MAX_DEPTH);
    assert_eq!(Node::from_nar(&deepest.to_nar().unwrap()), Ok(deepest));
    let error = nested(MAX_DEPTH + 1).to_nar().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    let mut parts: Vec<&[u8]> = vec![b"nix-archive-1"];
    for _ in 0..1000 {
        parts.extend([
            b"(".as_slice(),
            b"type",
            b"directory",
            b"entry",
            b"(",
            b"name",
            b"d",
            b"node",
        ]);
    }
    assert_eq!(check(&strings(&parts)), Err(NarErrorKind::TooDeep));
}

#[test]
fn a_huge_announced_length_takes_no_memory() {
    for (before, error) in [
        (
            "( type symlink target",
            NarErrorKind::LongTarget { length: u64::MAX },
        ),
        (
            "( type directory entry ( name",
            NarErrorKind::LongName { length: u64::MAX },
        ),
        (
            "( type regular",
            NarErrorKind::Expected {
                wanted: "`executable` or `contents`",
            },
        ),
        ("( type regular contents", NarErrorKind::Truncated),
    ] {
        let mut nar = nar(before);
        nar.extend_from_slice(&[0xff; 8]);
        assert_eq!(check(&nar), Err(error), "{before}");
    }
}

#[test]
fn the_writer_refuses_what_would_give_a_bad_nar() {
    fn misuse(run: impl FnOnce(&mut Writer<Vec<u8>>) -> io::Result<()>) -> WriterMisuse {
        let mut writer = Writer::begin(Vec::new()).unwrap();
        let error = run(&mut writer).unwrap_err();
        // After a failure nothing goes on, and nothing is given out.
        assert!(writer.symlink(b"x").is_err() && writer.finish().is_err());
        *error.into_inner().unwrap().downcast().unwrap()
    }
    let longer = misuse(|writer| {
        writer.regular_file(false, 1)?;
        writer.write_contents(b"xy")
    });
    assert_eq!(longer, WriterMisuse::Size);
    let shorter = misuse(|writer| {
        writer.regular_file(false, 1)?;
        writer.end_file()
    });
    assert_eq!(shorter, WriterMisuse::Size);
    let unsorted = misuse(|writer| {
        writer.open_directory()?;
        writer.entry(b"b")?;
        writer.symlink(b"x")?;
        writer.close_entry()?;
        writer.entry(b"a")
    });
    assert_eq!(unsorted, WriterMisuse::Invalid(NarErrorKind::Unsorted));
    assert_eq!(
        misuse(|writer| writer.symlink(b"")),
        WriterMisuse::Invalid(NarErrorKind::EmptyTarget)
    );
    assert_eq!(
        misuse(|writer| writer.entry(b"a")),
        WriterMisuse::OutOfPlace {
            call: "begin an entry"
        }
    );
    let call = "close a directory";
    assert_eq!(
        misuse(|writer| writer.close_directory()),
        WriterMisuse::OutOfPlace { call }
    );
}

/// What a visitor sees, contents in one piece.
#[derive(Debug, Default, PartialEq)]
struct Events(Vec<(&'static str, Vec<u8>, Vec<u8>)>);

impl Visitor for Events {
    fn directory(&mut self, path: &[u8]) {
        self.0.push(("directory", path.to_vec(), Vec::new()));
    }

    fn file(&mut self, path: &[u8], executable: bool, size: u64) {
        self.0.push((
            "file",
            path.to_vec(),
            format!("{executable} {size} ").into_bytes(),
        ));
    }

    fn contents(&mut self, bytes: &[u8]) {
        self.0.last_mut().unwrap().2.extend_from_slice(bytes);
    }

    fn symlink(&mut self, path: &[u8], target: &[u8]) {
        self.0.push(("symlink", path.to_vec(), target.to_vec()));
    }
}

/// Events and end of a NAR fed in chunks of these sizes, over and over.
fn feed(nar: &[u8], sizes: &[usize]) -> (Events, Result<(), NarError>) {
    let (mut parser, mut events, mut rest) = (Parser::new(), Events::default(), nar);
    for size in sizes.iter().cycle() {
        let (chunk, after) = rest.split_at((*size).min(rest.len()));
        if let Err(error) = parser.push(chunk, &mut events) {
            return (events, Err(error));
        }
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    (events, parser.finish())
}

#[test]
fn paths_are_joined_from_the_root() {
    let (events, end) = feed(TREE, &[TREE.len()]);
    assert_eq!(end, Ok(()));
    let paths: Vec<_> = events
        .0
        .iter()
        .map(|(_, path, _)| String::from_utf8_lossy(path))
        .collect();
    assert_eq!(paths[..2], ["", "A"]);
    assert_eq!(
        paths[8..13],
        ["dir", "dir/empty", "dir/link", "dir/sixteen", "empty-file"]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn reading_undoes_writing(node in arbitrary::node()) {
        prop_assert_eq!(Node::from_nar(&node.to_nar().unwrap()), Ok(node));
    }

    #[test]
    fn any_chunks_give_the_same_events(node in arbitrary::node(), sizes in vec(1_usize..40, 1..6)) {
        let nar = node.to_nar().unwrap();
        prop_assert_eq!(feed(&nar, &sizes), feed(&nar, &[nar.len()]));
    }

    #[test]
    fn any_chunks_give_the_same_error(
        node in arbitrary::node(), at: prop::sample::Index, byte: u8, sizes in vec(1_usize..40, 1..6),
    ) {
        let mut nar = node.to_nar().unwrap();
        let at = at.index(nar.len());
        nar[at] = byte;
        prop_assert_eq!(feed(&nar, &sizes).1, feed(&nar, &[nar.len()]).1);
    }

    #[test]
    fn one_flipped_bit_never_gives_the_same_tree_or_hash(
        node in arbitrary::node(), at: prop::sample::Index, bit in 0..8,
    ) {
        let nar = node.to_nar().unwrap();
        let mut flipped = nar.clone();
        flipped[at.index(nar.len())] ^= 1_u8 << bit;
        prop_assert_ne!(Node::from_nar(&flipped), Ok(node));
        let mut hasher = Hasher::new();
        if hasher.push(&flipped).is_ok() && let Ok((hash, _)) = hasher.finish() {
            prop_assert_ne!(hash, NarHash::of(&nar));
        }
    }

    #[test]
    fn what_is_accepted_is_written_back_as_it_was(node in arbitrary::node(), at: prop::sample::Index, byte: u8) {
        let mut nar = node.to_nar().unwrap();
        let at = at.index(nar.len());
        nar[at] = byte;
        if let Ok(read) = Node::from_nar(&nar) {
            prop_assert_eq!(read.to_nar().unwrap(), nar);
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in vec(any::<u8>(), 0..200), keep in 0..TREE.len()) {
        let _ = Node::from_nar(&bytes);
        let _ = Node::from_nar(&[&TREE[..keep], &bytes].concat());
    }
}
