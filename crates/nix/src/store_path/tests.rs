//! What a store path may be.

use proptest::prelude::*;

use super::*;
use crate::arbitrary;

const HASH: &str = "dzrlcrf04x1fp0wyznwnff2nimphgw6g";

#[test]
fn an_absolute_path_is_read_and_joined_again() {
    let dir = StoreDir::default();
    let path = dir
        .parse("/nix/store/dzrlcrf04x1fp0wyznwnff2nimphgw6g-c.drv")
        .unwrap();
    assert_eq!((path.hash_part().as_str(), path.name()), (HASH, "c.drv"));
    assert!(path.is_derivation());
    assert_eq!(path.to_string(), format!("{HASH}-c.drv"));
    assert_eq!(dir.join(&path), format!("/nix/store/{HASH}-c.drv"));
}

#[test]
fn a_path_outside_the_store_is_refused() {
    let dir = StoreDir::default();
    let error = StorePathError::NotInStore {
        store_dir: dir.clone(),
    };
    for path in ["", "/nix/store", "/nix/storex", "/gnu/store/x", HASH] {
        assert_eq!(dir.parse(path), Err(error.clone()), "{path}");
    }
    assert_eq!(
        dir.parse(&format!("/nix/store//{HASH}-c")),
        Err(StorePathError::Absolute)
    );
    let character = '/';
    let error = StorePathError::NameCharacter {
        character,
        position: 1,
    };
    assert_eq!(dir.parse(&format!("/nix/store/{HASH}-c/bin")), Err(error));
}

#[test]
fn a_malformed_base_name_is_an_error_that_says_where() {
    let long = "n".repeat(212);
    let cases = [
        ("", StorePathError::NoHashPart),
        (HASH, StorePathError::NoHashPart),
        (
            "dzrlcrf04x1fp0wyznwnff2nimphgw6gxname",
            StorePathError::NoHashPart,
        ),
        (
            "dzrlcrf04x1fp0wyznwnff2nimphgw6é-c",
            StorePathError::NoHashPart,
        ),
        (
            "dzrlcrf04x1fp0wyznwnff2nimphgw6-c",
            StorePathError::HashCharacter {
                character: '-',
                position: 31,
            },
        ),
        (
            "ezrlcrf04x1fp0wyznwnff2nimphgw6g-c",
            StorePathError::HashCharacter {
                character: 'e',
                position: 0,
            },
        ),
        (
            "/nix/store/dzrlcrf04x1fp0wyznwnff2nimphgw6g-c",
            StorePathError::Absolute,
        ),
        (
            "dzrlcrf04x1fp0wyznwnff2nimphgw6g-",
            StorePathError::EmptyName,
        ),
        (
            "dzrlcrf04x1fp0wyznwnff2nimphgw6g-.",
            StorePathError::DotName,
        ),
        (
            "dzrlcrf04x1fp0wyznwnff2nimphgw6g-..",
            StorePathError::DotName,
        ),
        (
            "dzrlcrf04x1fp0wyznwnff2nimphgw6g-..-x",
            StorePathError::DotName,
        ),
        (
            "dzrlcrf04x1fp0wyznwnff2nimphgw6g-a b",
            StorePathError::NameCharacter {
                character: ' ',
                position: 1,
            },
        ),
        (
            "dzrlcrf04x1fp0wyznwnff2nimphgw6g-a\n",
            StorePathError::NameCharacter {
                character: '\n',
                position: 1,
            },
        ),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<StorePath>(), Err(error), "{text}");
    }
    let error = StorePathError::LongName { length: 212 };
    assert_eq!(format!("{HASH}-{long}").parse::<StorePath>(), Err(error));
    assert!(
        format!("{HASH}-{}", &long[1..])
            .parse::<StorePath>()
            .is_ok()
    );
    assert!(format!("{HASH}-.hidden").parse::<StorePath>().is_ok());
}

#[test]
fn a_store_directory_is_absolute_and_normal() {
    for good in ["/nix/store", "/s", "/home/me/my store"] {
        assert_eq!(
            good.parse::<StoreDir>().map(|dir| dir.to_string()),
            Ok(good.to_owned())
        );
    }
    for bad in [
        "",
        "/",
        "nix/store",
        "/nix/store/",
        "/nix//store",
        "/nix/../store",
        "/a;b",
        "/a,b",
        "/a:b",
        "/a\n",
    ] {
        assert_eq!(
            bad.parse::<StoreDir>(),
            Err(StorePathError::StoreDir),
            "{bad}"
        );
    }
}

#[test]
fn a_hash_part_is_twenty_bytes() {
    let part: HashPart = HASH.parse().unwrap();
    assert_eq!(HashPart::from_bytes(&part.to_bytes()), part);
    assert_eq!("0".parse::<HashPart>(), Err(StorePathError::NoHashPart));
    let error = StorePathError::HashCharacter {
        character: '.',
        position: 0,
    };
    assert_eq!("../../../etc/passwd".parse::<HashPart>(), Err(error));
}

proptest! {
    #[test]
    fn parsing_undoes_printing(path in arbitrary::store_path()) {
        prop_assert_eq!(path.to_string().parse(), Ok(path.clone()));
        let dir = StoreDir::default();
        prop_assert_eq!(dir.parse(&dir.join(&path)), Ok(path));
    }

    #[test]
    fn paths_are_ordered_as_their_texts(left in arbitrary::store_path(), right in arbitrary::store_path()) {
        prop_assert_eq!(left.cmp(&right), left.as_str().cmp(right.as_str()));
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in "(/nix/store/)?([0-9a-z]{30,33})?-?\\PC{0,20}") {
        let _ = text.parse::<StorePath>();
        let _ = text.parse::<HashPart>();
        let _ = text.parse::<StoreDir>();
        let _ = StoreDir::default().parse(&text);
    }
}
