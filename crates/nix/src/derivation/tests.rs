//! Derivations instantiated by the real Nix (`tests/fixtures/vectors.nix`), and properties.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::arbitrary;

macro_rules! fixtures {
    ($($file:literal)*) => {
        [$(($file, include_bytes!(concat!("../../tests/fixtures/drv/", $file)).as_slice())),*]
    };
}

const FILES: [(&str, &[u8]); 17] = fixtures!(
    "3fqcaf9mf21v2jdmvc77kbffcipa9vjd-ref-text.drv"
    "4i2mqg3rsvs9jvx60wnv1wzcz3k9kvcf-both.drv"
    "6jm9s2jn46p9gnnw3wvc0zbrd8iwcl1s-recursive-sha1.drv"
    "8pnp0cy24qbhnwinrb8a7qj091jwmbn3-deferred.drv"
    "bp6pqx521ixn1grcq1x5f7s3xh3f1g7i-user.drv"
    "dmivi85cwkdfs8x9j8w07qfw10izr3j4-escapes.drv"
    "fhz99sms5s64x9fi1p6nqc1g5ghhdhl9-md5.drv"
    "j2s3shwc51430vj2jw029q7ddck59jv2-sha1.drv"
    "lgk8wb8hlpp64566qh58273jbkyismg7-source.tar.gz.drv"
    "m4rrjlm38rxs1fkh1h31c1fxavislbyw-source.tar.gz.drv"
    "mcqfs9xkr4w5q86sz14fksn151a5497l-recursive.drv"
    "md8js7n3r9mdq9x5ikv15krb3pb95xpi-multi.drv"
    "msxrnvd53z1prm9mlai4qs715h4g6q2m-deferred-user.drv"
    "q26q8vch4mdf3725z0d5xrvy03xhysi1-plain.drv"
    "rwdwhss447kgqpsy1la00wrg9pwjq5dk-user.drv"
    "w2q3n5z9k8ks35rl1j85k528hd7d51vm-floating.drv"
    "xy8qrc1dzv06m77v4dx6y4v3gsp80jv4-sha512.drv"
);

fn dir() -> StoreDir {
    StoreDir::default()
}

fn parse(file: &[u8]) -> Result<Derivation, ParseError> {
    Derivation::parse(file, &dir())
}

/// The fixture whose name, digest included, begins so.
fn fixture(begins: &str) -> Derivation {
    let (_, file) = FILES
        .iter()
        .find(|(path, _)| path.starts_with(begins))
        .unwrap();
    parse(file).unwrap()
}

/// The hash of a fixture, found through its inputs.
fn lookup(path: &StorePath) -> Option<HashModulo> {
    fixture(path.as_str()).hash_modulo(&dir(), lookup).ok()
}

#[test]
fn files_of_nix_are_printed_as_they_were() {
    for (path, file) in FILES {
        assert_eq!(parse(file).unwrap().print(&dir()), file, "{path}");
    }
}

#[test]
fn files_of_nix_have_the_paths_that_nix_gives_them() {
    for (path, file) in FILES {
        let path: StorePath = path.parse().unwrap();
        let name = name(&path).unwrap();
        assert_eq!(
            parse(file).unwrap().store_path(&dir(), name),
            Ok(path.clone())
        );
    }
}

#[test]
fn outputs_have_the_paths_that_nix_gives_them() {
    let mut computed = 0;
    for (path, file) in FILES {
        let (derivation, path) = (parse(file).unwrap(), path.parse::<StorePath>().unwrap());
        for (name, output) in &derivation.outputs {
            let found = derivation.output_path(&dir(), super::name(&path).unwrap(), name, lookup);
            match output.path() {
                Some(stated) => assert_eq!(found.as_ref(), Ok(stated), "{path} {name}"),
                None => assert_eq!(
                    found,
                    Err(DerivationError::NotKnownYet {
                        output: name.clone()
                    })
                ),
            }
            computed += usize::from(output.path().is_some());
        }
    }
    assert_eq!(computed, 16);
}

#[test]
fn a_path_stated_wrongly_does_not_influence_the_path_computed() {
    let mut derivation = fixture("md8js7n3r9mdq9x5ikv15krb3pb95xpi-multi");
    let right = derivation.outputs["dev"].path().cloned();
    let wrong: StorePath = "09fqd4y80n6jnjyg6sq8dsd0zc3ixjpk-text".parse().unwrap();
    for (name, output) in &mut derivation.outputs {
        *output = Output::InputAddressed(wrong.clone());
        derivation
            .env
            .insert(name.clone().into_bytes(), b"wrong".to_vec());
    }
    assert_eq!(
        derivation.output_path(&dir(), "multi", "dev", lookup).ok(),
        right
    );
}

#[test]
fn derivations_that_fetch_the_same_contents_elsewhere_are_one_to_their_users() {
    let (one, other) = (
        fixture("bp6pqx521ixn1grcq1x5f7s3xh3f1g7i"),
        fixture("rwdwhss447kgqpsy1la00wrg9pwjq5dk"),
    );
    assert_ne!(one.input_derivations, other.input_derivations);
    assert_eq!(one.outputs, other.outputs);
    assert_eq!(
        one.hash_modulo(&dir(), lookup),
        other.hash_modulo(&dir(), lookup)
    );
}

#[test]
fn kinds_of_outputs_are_told_apart() {
    let out = |begins| fixture(begins).outputs["out"].clone();
    assert!(matches!(out("q26q8vch"), Output::InputAddressed(_)));
    assert_eq!(out("8pnp0cy2"), Output::Deferred);
    let (method, algorithm) = (Method::Recursive, Algorithm::Sha256);
    assert_eq!(out("w2q3n5z9"), Output::Floating { method, algorithm });
    let Output::Fixed {
        content_address, ..
    } = out("j2s3shwc")
    else {
        panic!("the contents are fixed");
    };
    let sha1 = "fixed:sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709";
    assert_eq!(content_address, sha1.parse().unwrap());
    for begins in ["w2q3n5z9", "8pnp0cy2", "msxrnvd5"] {
        assert!(matches!(
            fixture(begins).hash_modulo(&dir(), lookup),
            Ok(HashModulo::Deferred(_))
        ));
    }
}

#[test]
fn escaped_characters_are_read() {
    let derivation = fixture("dmivi85cwkdfs8x9j8w07qfw10izr3j4-escapes");
    let odd = "quote \" backslash \\ newline\n return\r tab\t end é $ ${x}";
    assert_eq!(derivation.env[b"odd".as_slice()], odd.as_bytes());
    assert_eq!(derivation.args, [b"".to_vec(), b"a b".to_vec()]);
}

#[test]
fn an_unknown_input_or_output_is_named() {
    let multi = fixture("md8js7n3");
    let output = String::from("doc");
    assert_eq!(
        multi.output_path(&dir(), "multi", "doc", lookup),
        Err(DerivationError::UnknownOutput {
            output: output.clone()
        })
    );
    let mut user = fixture("bp6pqx52");
    let path = user.input_derivations.keys().next().unwrap().clone();
    let unknown = DerivationError::UnknownInput { path: path.clone() };
    assert_eq!(user.hash_modulo(&dir(), |_| None), Err(unknown));
    let fixed = user
        .input_derivations
        .keys()
        .find(|path| path.name().starts_with("source"))
        .unwrap()
        .clone();
    user.input_derivations
        .insert(fixed.clone(), [output.clone()].into());
    let unknown = DerivationError::UnknownInputOutput {
        path: fixed,
        output,
    };
    assert_eq!(user.hash_modulo(&dir(), lookup), Err(unknown));
    let mut two = fixture("j2s3shwc");
    two.outputs.insert(String::from("more"), Output::Deferred);
    assert_eq!(
        two.hash_modulo(&dir(), lookup),
        Err(DerivationError::FixedOutputs)
    );
}

const PLAIN: &str = r#"Derive([("out","","","")],[],[],"s","b",["x"],[("a","1"),("b","2")])"#;

#[test]
fn anything_but_the_form_that_nix_writes_is_refused() {
    assert!(parse(PLAIN.as_bytes()).is_ok());
    let expected = |wanted| ParseErrorKind::Expected { wanted };
    let output = ParseErrorKind::Output;
    let unknown = |name: &str| {
        ParseErrorKind::Hash(HashError::UnknownAlgorithm {
            name: name.to_owned(),
        })
    };
    // What is replaced, by what, how far after its beginning the error is, and the error.
    let cases = [
        ("Derive(", "DrvWithVersion(", 0, expected("Derive(")),
        ("Derive(", "", 0, expected("Derive(")),
        ("[],[]", "[], []", 3, expected("[")),
        (r#""s""#, "s", 0, expected("\"")),
        (r#"["x"]"#, r#"["x",]"#, 5, expected("\"")),
        (r#""2")])"#, r#""2")]"#, 5, expected(")")),
        (r#""2")])"#, r#""2"#, 2, expected("\"")),
        (r#""2")])"#, r#""2")]) "#, 6, ParseErrorKind::TrailingBytes),
        (r#""2""#, r#""\q""#, 1, ParseErrorKind::Escape),
        (r#""2""#, "\"\n\"", 1, ParseErrorKind::Escape),
        (
            r#"("a","1"),("b","2")"#,
            r#"("b","2"),("a","1")"#,
            10,
            ParseErrorKind::Order,
        ),
        (
            r#"("a","1"),("b","2")"#,
            r#"("a","1"),("a","2")"#,
            10,
            ParseErrorKind::Order,
        ),
        (
            r#""","","""#,
            r#""/nix/store/x","","""#,
            0,
            ParseErrorKind::StorePath(StorePathError::NoHashPart),
        ),
        (
            r#""out""#,
            r#""""#,
            0,
            ParseErrorKind::StorePath(StorePathError::EmptyName),
        ),
        (
            r#"("out","","","""#,
            r#"("out","","","00""#,
            0,
            output.clone(),
        ),
        (
            r#"("out","","","""#,
            r#"("out","","sha256","00""#,
            0,
            output,
        ),
        (
            r#"("out","","","""#,
            r#"("out","","git:sha1","""#,
            0,
            unknown("git:sha1"),
        ),
    ];
    for (from, to, after, kind) in cases {
        let text = PLAIN.replacen(from, to, 1);
        let offset = PLAIN.find(from).unwrap() + after;
        assert_eq!(
            parse(text.as_bytes()),
            Err(ParseError { offset, kind }),
            "{text}"
        );
    }
}

#[test]
fn a_file_that_is_too_large_is_refused_before_it_is_read() {
    let found = MAX_SIZE + 1;
    let error = ParseError {
        offset: 0,
        kind: ParseErrorKind::TooLarge { found },
    };
    assert_eq!(parse(&vec![b'x'; found]), Err(error));
}

#[test]
fn names_of_derivations_and_outputs_are_those_of_nix() {
    let path = |text: &str| {
        format!("q26q8vch4mdf3725z0d5xrvy03xhysi1-{text}")
            .parse::<StorePath>()
            .unwrap()
    };
    assert_eq!(name(&path("plain.drv")), Some("plain"));
    assert_eq!(name(&path("plain")), None);
    assert_eq!(output_path_name("x", "out"), "x");
    assert_eq!(output_path_name("x", "dev"), "x-dev");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn parsing_undoes_printing(derivation in arbitrary::derivation()) {
        prop_assert_eq!(parse(&derivation.print(&dir())), Ok(derivation));
    }

    #[test]
    fn what_is_accepted_is_printed_back_as_it_was(
        which: prop::sample::Index, at: prop::sample::Index, byte: u8,
    ) {
        let mut file = FILES[which.index(FILES.len())].1.to_vec();
        let at = at.index(file.len());
        file[at] = byte;
        if let Ok(read) = parse(&file) {
            prop_assert_eq!(read.print(&dir()), file);
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in vec(any::<u8>(), 0..100), keep in 0..PLAIN.len()) {
        let _ = parse(&bytes);
        let _ = parse(&[&PLAIN.as_bytes()[..keep], &bytes].concat());
    }
}
