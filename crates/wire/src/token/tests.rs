use super::*;

const ORIGIN: &str = "logs.example.org/alice";

fn a_token() -> Token {
    Token::from_seed(ORIGIN, "alice-ci", [7; 32]).unwrap()
}

const CHALLENGE: Challenge = Challenge {
    boot_id: [0xab; 16],
    session: 3,
};

#[test]
fn a_token_and_its_grant_are_one_line_each_and_come_back() {
    let token = a_token();
    let read: Token = format!("{}\n", token.to_text()).parse().unwrap();
    assert_eq!(read.to_text(), token.to_text());
    assert!(
        token
            .to_text()
            .starts_with("quorix-token logs.example.org/alice alice-ci:")
    );
    let line = token.grant().to_string();
    assert_eq!(
        line,
        "logs.example.org/alice alice-ci:6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw="
    );
    assert_eq!(line.parse(), Ok(token.grant()));
}

#[test]
fn the_secret_is_neither_in_debug_output_nor_taken_for_a_grant() {
    let token = a_token();
    let secret = token.to_text();
    let encoded = secret.rsplit(':').next().unwrap();
    assert!(!format!("{token:?}").contains(encoded));
    assert_eq!(secret.parse::<Grant>(), Err(TokenError::SecretGiven));
    let without_word = secret.strip_prefix("quorix-token ").unwrap();
    assert_eq!(without_word.parse::<Grant>(), Err(TokenError::SecretGiven));
}

#[test]
fn what_is_no_token_is_refused_with_what_is_wrong() {
    for text in ["", "quorix-token", "quorix-token a b c", "token a b:c"] {
        assert_eq!(text.parse::<Token>().unwrap_err(), TokenError::NotAToken);
    }
    let named = |name: &str| Token::from_seed(ORIGIN, name, [1; 32]).unwrap_err();
    for name in ["", "a b", "a:b", "ä", &"n".repeat(65)] {
        assert_eq!(named(name), TokenError::Name, "{name:?}");
    }
    let origin = Token::from_seed("with+plus", "n", [1; 32]).unwrap_err();
    assert_eq!(origin, TokenError::Origin("with+plus".to_owned()));
    assert_eq!("one".parse::<Grant>(), Err(TokenError::NotAGrant));
    let bad = format!("{ORIGIN} alice-ci:AAAA").parse::<Grant>();
    assert!(matches!(bad, Err(TokenError::Key(_))), "{bad:?}");
}

/// The example of docs/formats.md.
#[test]
fn what_is_signed_is_a_text_that_can_be_written_by_hand() {
    let body = body_digest(&[b"entry".to_vec()], &[]);
    let text = signed_text(&ORIGIN.parse().unwrap(), &CHALLENGE, 0, &body);
    assert_eq!(
        text,
        "quorix submit v1\nlogs.example.org/alice\nabababababababababababababababab\n3\n0\n\
         a7419ce57114e6865ae1bcff42645351d3642d483f4bed00196447cc755e9290\n"
    );
}

#[test]
fn nothing_that_is_signed_can_be_changed() {
    let token = a_token();
    let body = body_digest(&[b"entry".to_vec()], &[b"blob".to_vec()]);
    let good = token.authorize(CHALLENGE, 5, body);
    assert!(token.grant().signed(&good));

    let mut changed = vec![good.clone(); 5];
    changed[0].challenge.boot_id[15] ^= 1;
    changed[1].challenge.session += 1;
    changed[2].sequence += 1;
    changed[3].body[0] ^= 1;
    changed[4].signature[0] ^= 1;
    for changed in changed {
        assert!(!token.grant().signed(&changed), "{changed:?}");
    }
    let other_log = Token::from_seed("logs.example.org/bob", "alice-ci", [7; 32]).unwrap();
    assert!(!other_log.grant().signed(&good));
    let other_key = Token::from_seed(ORIGIN, "alice-ci", [8; 32]).unwrap();
    assert!(!other_key.grant().signed(&good));
}

#[test]
fn bytes_cannot_move_between_entries_and_blobs() {
    let lists = |lists: &[&[u8]]| lists.iter().map(|bytes| bytes.to_vec()).collect::<Vec<_>>();
    let digests = [
        body_digest(&lists(&[b"ab", b"c"]), &[]),
        body_digest(&lists(&[b"a", b"bc"]), &[]),
        body_digest(&lists(&[b"abc"]), &[]),
        body_digest(&lists(&[b"ab"]), &lists(&[b"c"])),
        body_digest(&[], &lists(&[b"ab", b"c"])),
        body_digest(&[], &[]),
    ];
    for (index, digest) in digests.iter().enumerate() {
        assert!(!digests[index + 1..].contains(digest), "{index}");
    }
}

#[test]
fn an_authorization_comes_back_and_what_is_none_is_not_read() {
    let good = a_token().authorize(CHALLENGE, 5, [1; 32]);
    let bytes = good.encode();
    assert_eq!(Authorization::decode(&bytes), Some(good.clone()));
    assert_eq!(Authorization::decode(b""), None);
    assert_eq!(Authorization::decode(&bytes[..bytes.len() - 1]), None);
    assert_eq!(Authorization::decode(&[bytes, vec![0; 512]].concat()), None);
    let short = Challenge::read(Some(pb::Challenge {
        boot_id: vec![0; 15],
        session: 0,
    }));
    assert_eq!(short, None);
}
