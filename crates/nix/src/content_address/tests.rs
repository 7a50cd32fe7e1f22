//! Paths and addresses given by the real Nix.

use proptest::prelude::*;

use super::*;
use crate::{
    arbitrary,
    hash::NarHash,
    nar::{NarError, NarErrorKind, Node},
};

const TREE: &[u8] = include_bytes!("../../tests/fixtures/tree.nar");
const TEXT: &str = "09fqd4y80n6jnjyg6sq8dsd0zc3ixjpk-text";
const REF: &str = "jiir4y5wkpg0mmr5404biwfhi73lpnfl-ref";

fn file(executable: bool, contents: &str) -> Vec<u8> {
    let contents = contents.as_bytes().to_vec();
    Node::File {
        executable,
        contents,
    }
    .to_nar()
    .unwrap()
}

/// Path, content address, contents and references, as `nix path-info` printed them.
fn of_nix() -> Vec<(&'static str, &'static str, Vec<u8>, BTreeSet<StorePath>)> {
    let none = BTreeSet::new;
    let sha512 = "fixed:sha512:0yhp56z7k2y95avras923rbj2wm2q2f5knkwljm81yakch23vk12acbfwqzyqppvi64wry17nzq8260vyxxpyc7nva3v9sv9ijisrbk";
    let data = || file(false, "data\n");
    let see_text = file(false, &format!("see /nix/store/{TEXT}\n"));
    vec![
        (
            TEXT,
            "text:sha256:08nx6s451sjsffbckgm19hc0xk000pk33khs078n8n8g701si6z3",
            file(false, "no references\n"),
            none(),
        ),
        (
            REF,
            "text:sha256:19lkqxwq8kkw1x0ffr85fxckyqf4phxinmraccwig051hyycviv6",
            see_text,
            [TEXT.parse().unwrap()].into(),
        ),
        (
            "ba9ywc9513svz5ac9xpcwdi7j72r9z13-file",
            "fixed:sha256:0pvfiwz7pm97az8hkhpimdkyar8lkynzhnpfbam0r85nmb8v4rv6",
            data(),
            none(),
        ),
        (
            "xihg81wd25vbknacg5wkzf48wp76wpp3-file",
            "fixed:sha1:8zprfdjg21zd3f8fbzflf5s5p8v4gn65",
            data(),
            none(),
        ),
        (
            "xp0brqizg4w8hyh3v93rzkc4c33jp47l-file",
            sha512,
            data(),
            none(),
        ),
        (
            "m99a581ndwvjnjwn0ccs4g29nrrzrmdk-file",
            "fixed:r:sha256:0mj5rgx8nmg09nzjm15b65a0cysk47xwrd4r4f96zy306bn7f8j4",
            data(),
            none(),
        ),
        (
            "cry8q66mvx607b7qyk5xh8z11baigj35-tree",
            "fixed:r:sha256:004w50wilrz55inlv57rdkcld4fmm6r270fz67f6ssvs7ljxmg14",
            TREE.to_vec(),
            none(),
        ),
        (
            "kbcypys4zb0jxkj9dvjskdp0ivyiikrz-tree",
            "fixed:r:sha1:mlxjczm0dqdllcb5qgfmmssrcx191iqv",
            TREE.to_vec(),
            none(),
        ),
    ]
}

fn verify(address: &ContentAddress, nar: &[u8]) -> Result<(NarHash, u64), VerifyError> {
    let mut verifier = Verifier::new(address, Limits::default());
    for chunk in nar.chunks(13) {
        verifier.push(chunk)?;
    }
    verifier.finish()
}

#[test]
fn addresses_give_the_paths_that_nix_gives_and_contents_prove_them() {
    let dir = StoreDir::default();
    for (path, text, nar, references) in of_nix() {
        let address: ContentAddress = text.parse().unwrap();
        assert_eq!(address.to_string(), text);
        let path: StorePath = path.parse().unwrap();
        assert_eq!(
            address.store_path(&dir, path.name(), &references),
            Ok(path.clone()),
            "{text}"
        );
        assert_eq!(address.check_path(&dir, &path, &references), Ok(()));
        assert_eq!(
            verify(&address, &nar),
            Ok((NarHash::of(&nar), nar.len() as u64)),
            "{text}"
        );
    }
}

#[test]
fn other_references_another_name_or_store_give_another_path() {
    let dir = StoreDir::default();
    let (path, text, _, references) = of_nix().swap_remove(1);
    let (path, address): (StorePath, ContentAddress) =
        (path.parse().unwrap(), text.parse().unwrap());
    for (dir, references) in [
        (&dir, BTreeSet::new()),
        (&"/other".parse().unwrap(), references.clone()),
    ] {
        let computed = address.store_path(dir, "ref", &references).unwrap();
        let error = ContentAddressError::OtherPath { computed };
        assert_eq!(address.check_path(dir, &path, &references), Err(error));
    }
    let renamed = StorePath::new(&path.hash_part(), "reg").unwrap();
    assert!(matches!(
        address.check_path(&dir, &renamed, &references),
        Err(ContentAddressError::OtherPath { .. })
    ));
}

#[test]
fn a_path_that_refers_to_itself_never_passes() {
    let (path, text, ..) = of_nix().swap_remove(6);
    let (path, address): (StorePath, ContentAddress) =
        (path.parse().unwrap(), text.parse().unwrap());
    let error = Err(ContentAddressError::SelfReference);
    assert_eq!(
        address.check_path(&StoreDir::default(), &path, &[path.clone()].into()),
        error
    );
}

#[test]
fn a_fixed_file_cannot_have_references() {
    let references: BTreeSet<StorePath> = [TEXT.parse().unwrap()].into();
    for text in [2, 3, 7].map(|at| of_nix()[at].1) {
        let address: ContentAddress = text.parse().unwrap();
        let found = address.store_path(&StoreDir::default(), "x", &references);
        assert_eq!(found, Err(ContentAddressError::References), "{text}");
    }
}

#[test]
fn contents_that_differ_do_not_pass() {
    for (_, text, nar, _) in of_nix() {
        let address: ContentAddress = text.parse().unwrap();
        // The last letter of the contents, or of some name in the tree.
        let at = nar.iter().rposition(|byte| *byte == b'e').unwrap();
        let mut altered = nar.clone();
        altered[at] = b'f';
        assert!(verify(&address, &altered).is_err(), "{text}");
        let offset = nar.len() as u64 - 1;
        let error = NarError {
            offset,
            kind: NarErrorKind::Truncated,
        };
        assert_eq!(verify(&address, &nar[..nar.len() - 1]), Err(error.into()));
    }
    let address: ContentAddress = of_nix()[2].1.parse().unwrap();
    let expected = address.hash().clone();
    let found = Hash::of(Algorithm::Sha256, b"date\n");
    assert_eq!(
        verify(&address, &file(false, "date\n")),
        Err(VerifyError::Mismatch { expected, found })
    );
}

#[test]
fn a_flat_address_is_that_of_one_file_without_the_x_bit() {
    let address: ContentAddress = of_nix()[2].1.parse().unwrap();
    let data = Node::File {
        executable: false,
        contents: b"data\n".to_vec(),
    };
    let inside = Node::Directory([(b"f".to_vec(), data)].into())
        .to_nar()
        .unwrap();
    let link = Node::Symlink {
        target: b"data\n".to_vec(),
    }
    .to_nar()
    .unwrap();
    for nar in [file(true, "data\n"), inside, link] {
        assert_eq!(verify(&address, &nar), Err(VerifyError::NotAFile));
    }
}

#[test]
fn a_nar_larger_than_allowed_is_refused_before_it_is_read() {
    let address: ContentAddress = of_nix()[6].1.parse().unwrap();
    let mut verifier = Verifier::new(&address, Limits { max_nar_size: 2927 });
    assert_eq!(
        verifier.push(TREE),
        Err(VerifyError::TooLarge { limit: 2927 })
    );
    let mut verifier = Verifier::new(&address, Limits { max_nar_size: 2928 });
    assert_eq!(verifier.push(TREE), Ok(()));
}

#[test]
fn a_malformed_address_is_an_error_that_says_what_is_wrong() {
    let sha1 = "sha1:8zprfdjg21zd3f8fbzflf5s5p8v4gn65";
    let algorithm = Algorithm::Sha1;
    let cases = [
        (String::new(), ContentAddressError::UnknownMethod),
        (String::from("sha256"), ContentAddressError::UnknownMethod),
        (
            format!("fixed:git:{sha1}"),
            ContentAddressError::UnknownMethod,
        ),
        (
            format!("text:{sha1}"),
            ContentAddressError::TextAlgorithm { algorithm },
        ),
        (
            String::from("fixed:r:"),
            ContentAddressError::Hash(HashError::NoAlgorithm),
        ),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<ContentAddress>(), Err(error), "{text}");
    }
}

proptest! {
    #[test]
    fn parsing_undoes_printing(address in arbitrary::content_address()) {
        prop_assert_eq!(address.to_string().parse(), Ok(address));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "(text|fixed)?:?(r:)?(sha256)?\\PC{0,60}") {
        let _ = text.parse::<ContentAddress>();
    }
}
