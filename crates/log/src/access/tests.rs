//! Who is let in, with a clock that stands where it is put.

use quorix_wire::token::{Token, body_digest};

use super::*;

const ORIGIN: &str = "logs.example.org/alice";
const OWNER: u32 = 1000;
const NOW: Duration = Duration::from_secs(1_000_000);

fn token(name: &str, seed: u8) -> Token {
    Token::from_seed(ORIGIN, name, [seed; 32]).unwrap()
}

fn grants(tokens: &[&Token]) -> Grants {
    let lines: Vec<String> = tokens
        .iter()
        .map(|token| token.grant().to_string())
        .collect();
    Grants::parse(&lines.join("\n"), ORIGIN, Limits::default()).unwrap()
}

fn doors() -> Doors {
    Doors {
        users: BTreeMap::from([(OWNER, "owner".to_owned()), (1001, "user ci".to_owned())]),
        groups: BTreeMap::from([(77, "group builders".to_owned())]),
        unlimited: vec![OWNER],
        clients: vec![
            Client::Name("ci.example.org".to_owned()),
            Client::Key([9; 32]),
        ],
        ..Doors::default()
    }
}

fn access_with(doors: Doors, tokens: &[&Token]) -> Access {
    Access::new([1; 16], doors, grants(tokens), &mut Registry::default())
}

fn access(tokens: &[&Token]) -> Access {
    access_with(doors(), tokens)
}

fn process(uid: u32, gid: u32) -> Option<Peer> {
    Some(Peer::Process { uid, gid })
}

fn network(certificate: Option<Certificate>) -> Option<Peer> {
    let certificate = certificate.map(Arc::new);
    Some(Peer::Network { certificate })
}

fn named(names: &[&str], key: u8) -> Option<Certificate> {
    Some(Certificate {
        names: names.iter().map(|&name| name.to_owned()).collect(),
        key: [key; 32],
    })
}

fn name(admitted: Result<Admitted, Refusal>) -> String {
    admitted.unwrap().submitter.to_string()
}

fn signed(access: &Access, token: &Token, sequence: u64) -> Vec<u8> {
    let challenge = access.challenge().unwrap();
    token.authorize(challenge, sequence, [3; 32]).encode()
}

#[test]
fn a_process_is_let_in_by_its_user_or_group() {
    let access = access(&[]);
    let admit = |uid, gid| access.admit(process(uid, gid).as_ref(), None, NOW);
    assert_eq!(name(admit(OWNER, 5)), "owner");
    assert_eq!(name(admit(1001, 5)), "user ci");
    assert_eq!(name(admit(1002, 77)), "group builders");
    assert_eq!(admit(1002, 5), Err(Refusal::User { uid: 1002 }));
}

#[test]
fn where_the_socket_needs_a_token_a_user_is_not_enough() {
    let alice = token("alice", 1);
    let doors = Doors {
        token_on_socket: true,
        ..doors()
    };
    let access = access_with(doors, &[&alice]);
    let owner = process(OWNER, 5);
    assert_eq!(
        access.admit(owner.as_ref(), None, NOW),
        Err(Refusal::NotKnown)
    );
    let bytes = signed(&access, &alice, 0);
    assert_eq!(
        name(access.admit(owner.as_ref(), Some(&bytes), NOW)),
        "token alice"
    );
}

#[test]
fn a_certificate_is_let_in_only_by_a_name_or_key_that_the_configuration_has() {
    let access = access(&[]);
    let admit = |certificate| access.admit(network(certificate).as_ref(), None, NOW);
    assert_eq!(
        name(admit(named(&["x", "ci.example.org"], 1))),
        "certificate ci.example.org"
    );
    assert!(name(admit(named(&[], 9))).starts_with("certificate sha256:0909"));
    for stranger in [
        named(&["CI.example.org", "*.example.org"], 1),
        named(&["notci.example.org"], 1),
        named(&[], 1),
        None,
    ] {
        assert_eq!(admit(stranger), Err(Refusal::NotKnown));
    }
    assert_eq!(access.admit(None, None, NOW), Err(Refusal::NotKnown));
}

#[test]
fn a_token_is_let_in_with_what_it_signed() {
    let alice = token("alice", 1);
    let access = access(&[&alice]);
    let body = body_digest(&[b"entry".to_vec()], &[]);
    let authorization = alice.authorize(access.challenge().unwrap(), 0, body);
    let admitted = access
        .admit(network(None).as_ref(), Some(&authorization.encode()), NOW)
        .unwrap();
    assert_eq!(&*admitted.submitter, "token alice");
    assert_eq!(admitted.body, Some(body));
}

#[test]
fn replay_of_a_captured_request_is_refused_and_after_a_restart_too() {
    let alice = token("alice", 1);
    let first = access(&[&alice]);
    let captured = signed(&first, &alice, 0);
    assert!(first.admit(None, Some(&captured), NOW).is_ok());
    assert_eq!(first.admit(None, Some(&captured), NOW), Err(Refusal::Stale));

    let after_restart = Access::new(
        [2; 16],
        doors(),
        grants(&[&alice]),
        &mut Registry::default(),
    );
    // Sessions are given out from the start again: only the boot id tells the runs apart.
    let _ = after_restart.challenge();
    assert_eq!(
        after_restart.admit(None, Some(&captured), NOW),
        Err(Refusal::Stale)
    );
}

#[test]
fn a_challenge_that_was_never_given_out_is_refused() {
    let alice = token("alice", 1);
    let access = access(&[&alice]);
    let invented = Challenge {
        boot_id: [1; 16],
        session: 5,
    };
    let bytes = alice.authorize(invented, 0, [0; 32]).encode();
    assert_eq!(access.admit(None, Some(&bytes), NOW), Err(Refusal::Stale));
}

#[test]
fn an_unknown_name_a_wrong_key_another_log_and_nonsense_are_refused_alike() {
    let alice = token("alice", 1);
    let access = access(&[&alice]);
    let bobs_log = Token::from_seed("logs.example.org/bob", "alice", [1; 32]).unwrap();
    for stranger in [token("mallory", 1), token("alice", 2), bobs_log] {
        let bytes = signed(&access, &stranger, 0);
        assert_eq!(
            access.admit(None, Some(&bytes), NOW),
            Err(Refusal::NotKnown)
        );
    }
    for nonsense in [b"".as_slice(), b"\xff\xff", &[0; 600]] {
        assert_eq!(
            access.admit(process(OWNER, 5).as_ref(), Some(nonsense), NOW),
            Err(Refusal::NotKnown)
        );
    }
}

#[test]
fn what_the_server_stores_lets_nobody_in() {
    let alice = token("alice", 1);
    let stolen = alice.grant();
    let access = access(&[&alice]);
    // The best that can be made of a public key: to take it for a seed.
    let forged = Token::from_seed(ORIGIN, "alice", *stolen.key_bytes()).unwrap();
    let bytes = signed(&access, &forged, 0);
    assert_eq!(
        access.admit(None, Some(&bytes), NOW),
        Err(Refusal::NotKnown)
    );
}

#[test]
fn a_token_that_was_taken_out_is_refused_at_once_and_its_old_requests_for_ever() {
    let (alice, bob) = (token("alice", 1), token("bob", 2));
    let access = access(&[&alice, &bob]);
    let used = signed(&access, &alice, 0);
    let unused = signed(&access, &alice, 0);
    let bobs = signed(&access, &bob, 0);
    assert!(access.admit(None, Some(&used), NOW).is_ok());

    access.replace_grants(grants(&[&bob]));
    assert_eq!(
        access.admit(None, Some(&unused), NOW),
        Err(Refusal::NotKnown)
    );
    access.replace_grants(grants(&[&alice, &bob]));
    for old in [&used, &unused] {
        assert_eq!(access.admit(None, Some(old), NOW), Err(Refusal::Stale));
    }
    assert!(
        access
            .admit(None, Some(&signed(&access, &alice, 0)), NOW)
            .is_ok()
    );
    // Who was there all the time notices nothing.
    assert!(access.admit(None, Some(&bobs), NOW).is_ok());
    assert_eq!(access.admit(None, Some(&bobs), NOW), Err(Refusal::Stale));
}

#[test]
fn without_tokens_there_is_no_challenge() {
    assert_eq!(access(&[]).challenge(), None);
}

#[test]
fn above_its_limits_a_submitter_is_told_when_to_come_back_and_others_are_not_kept_waiting() {
    let (alice, bob) = (token("alice", 1), token("bob", 2));
    let limits = Limits {
        requests_per_second: 1,
        ..Limits::default()
    };
    let doors = Doors { limits, ..doors() };
    let access = access_with(doors, &[&alice, &bob]);
    for _ in 0..10 {
        assert!(
            access
                .admit(None, Some(&signed(&access, &alice, 0)), NOW)
                .is_ok()
        );
    }
    let refused = access.admit(None, Some(&signed(&access, &alice, 0)), NOW);
    let Err(Refusal::Limited { submitter, wait }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(&*submitter, "token alice");
    assert_eq!(wait, Duration::from_secs(1) + Duration::from_nanos(1));
    assert!(
        access
            .admit(None, Some(&signed(&access, &bob, 0)), NOW)
            .is_ok()
    );
    let later = NOW + wait;
    assert!(
        access
            .admit(None, Some(&signed(&access, &alice, 0)), later)
            .is_ok()
    );
}

#[test]
fn entries_and_bytes_are_charged_and_too_much_at_once_is_refused() {
    let limits = Limits {
        entries_per_second: 10,
        request_bytes: 1_000,
        ..Limits::default()
    };
    let access = access_with(Doors { limits, ..doors() }, &[]);
    let ci = process(1001, 5);
    let admitted = access.admit(ci.as_ref(), None, NOW).unwrap();
    assert_eq!(
        access.charge(&admitted, 1, 1_001, NOW),
        Err(Refusal::TooLarge {
            submitter: "user ci".into(),
            bytes: 1_001,
            limit: 1_000
        })
    );
    assert_eq!(access.charge(&admitted, 500, 1_000, NOW), Ok(()));
    let refused = access.admit(ci.as_ref(), None, NOW);
    assert!(
        matches!(refused, Err(Refusal::Limited { .. })),
        "{refused:?}"
    );
    // The owner of the log has no limits.
    let owner = process(OWNER, 5);
    for _ in 0..100_000 {
        let admitted = access.admit(owner.as_ref(), None, NOW).unwrap();
        assert_eq!(access.charge(&admitted, 1_024, 1_000_000, NOW), Ok(()));
    }
}

#[test]
fn nothing_is_remembered_about_who_is_not_known() {
    let alice = token("alice", 1);
    let access = access(&[&alice]);
    for seed in 0..100 {
        let stranger = token(&format!("stranger-{seed}"), seed);
        let _ = access.admit(None, Some(&signed(&access, &stranger, 0)), NOW);
        let _ = access.admit(process(5_000 + u32::from(seed), 9).as_ref(), None, NOW);
    }
    let known = access.known();
    assert_eq!((known.sessions.len(), known.allowances.len()), (1, 0));
}
