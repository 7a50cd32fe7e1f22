//! Logs, builders and visitors write what they like; the pages stay whole, run nothing, deceive no one and stay
//! within bounds. That every page here is well-formed and has nothing inline is asserted by `browse::get`.

use quorix_wire::pb;

use crate::browse::get;
use crate::world::{self, World};

const SCRIPT: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>";
const BIDI: &str = "safe\u{202E}gpj.exe\u{2066}\u{200B}";

fn long() -> String {
    "x".repeat(10_000)
}

/// A world in which every text is `text`.
fn everything_is(text: &str) -> World {
    let log = hostile_log(text);
    let summary = pb::OutputSummary {
        store_path: text.into(),
        standing: 77,
        values: vec![
            pb::ValueSummary {
                fingerprint: text.as_bytes().into(),
                builders: vec![text.into(); 3],
            };
            30
        ],
    };
    let decision = |state: pb::OperatorState| hostile_decision(text, state);
    let whole = pb::Decision {
        warned: Some(Box::new(decision(pb::OperatorState::Votes))),
        fallen_from: Some(Box::new(decision(pb::OperatorState::Silent))),
        // The fake finds a decision by its path; what the page shows of it is hostile all the same.
        path: format!("{text}/71jpi5bf3l22gw0b56r8mfzlrxrrck1i"),
        ..decision(pb::OperatorState::Stale)
    };
    World {
        counts: pb::GetOverviewResponse {
            outputs: 1,
            agree: u64::MAX,
            disagree: u64::MAX,
            one_builder: u64::MAX,
            now_s: 0,
        },
        logs: vec![
            log.clone(),
            pb::LogStatus {
                name: text.into(),
                state: 99,
                ..log
            },
        ],
        disagreements: vec![summary; 3],
        decisions: vec![whole],
        events: vec![pb::Event {
            at_s: u64::MAX,
            kind: 99,
            subject: text.into(),
            message: text.into(),
        }],
        failure: None,
    }
}

fn hostile_log(text: &str) -> pb::LogStatus {
    pb::LogStatus {
        name: "alice".into(),
        origin: text.into(),
        operator: text.into(),
        urls: vec![text.into(); 3],
        state: pb::LogState::Quarantined.into(),
        reason: text.into(),
        size: u64::MAX,
        indexed: 0,
        opaque: u64::MAX,
        last_verified_s: u64::MAX,
        checkpoint: text.as_bytes().into(),
        equivocation: Some(pb::Equivocation {
            first_checkpoint: text.as_bytes().into(),
            second_checkpoint: vec![0xff; 9],
            consistency_proof: vec![vec![]; 5],
        }),
        condition: 99,
        ..Default::default()
    }
}

fn hostile_decision(text: &str, state: pb::OperatorState) -> pb::Decision {
    let texts = || vec![text.to_owned(); 3];
    let known = pb::DecisionValue {
        letter: text.into(),
        nar_hash: text.into(),
        references: texts(),
        references_known: true,
        voters: texts(),
        store_path: text.into(),
        ..Default::default()
    };
    let other = pb::DecisionValue {
        letter: "B".into(),
        fingerprint: text.as_bytes().into(),
        nar_hash: "sha256:x".into(),
        references_known: true,
        ..Default::default()
    };
    pb::Decision {
        path: text.into(),
        outcome: pb::Outcome::Conflict.into(),
        sentence: text.into(),
        rule: text.into(),
        rule_line: u32::MAX,
        rule_text: text.into(),
        values: vec![known, other],
        operators: vec![hostile_operator(text, state); 3],
        steps: texts(),
        accepted: text.as_bytes().into(),
        blocked_by: text.into(),
        missing: texts(),
        valid_until_s: u64::MAX,
        store_dir: text.into(),
        ..Default::default()
    }
}

fn hostile_operator(text: &str, state: pb::OperatorState) -> pb::OperatorStanding {
    let logged = pb::ClaimSource {
        letter: text.into(),
        name: text.into(),
        origin: text.into(),
        index: u64::MAX,
        checkpoint_size: u64::MAX,
        nix_key: text.into(),
        system: text.into(),
        drv_path: format!("{text}.drv"),
        nix_version: text.into(),
        finished_at_s: u64::MAX,
    };
    let signed = pb::ClaimSource {
        name: text.into(),
        nix_key: text.into(),
        ..Default::default()
    };
    pb::OperatorStanding {
        operator: text.into(),
        state: state.into(),
        letters: vec![text.into(), "B".into()],
        reason: text.into(),
        sources: vec![logged, signed],
    }
}

async fn every_page(text: &str, query: &str) -> Vec<String> {
    let dashboard = everything_is(text).with_policy(&format!("builder {text}\n{text}\n"));
    let mut pages = Vec::new();
    for path in [
        "/",
        "/disagreements",
        &format!("/disagreements?name={query}&builder={query}&after={query}"),
        "/output/71jpi5bf3l22gw0b56r8mfzlrxrrck1i",
        &format!("/output/{query}"),
        "/logs/alice",
        &format!("/logs/{query}"),
        &format!("/search?q={query}"),
        "/policy",
        &format!("/{query}"),
    ] {
        let page = get(&dashboard, path).await;
        assert_ne!(page.status.as_u16(), 500, "{path}");
        pages.push(page.body);
    }
    pages
}

#[tokio::test]
async fn markup_is_always_escaped() {
    let pages = every_page(
        SCRIPT,
        "%22%27%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E%3Cimg%20src=x%20onerror=alert(1)%3E",
    )
    .await;
    assert!(pages[0].contains("&#60;script&#62;alert(1)&#60;/script&#62;"));
    for page in pages {
        assert!(
            !page.contains("<script>") && !page.contains("<img"),
            "{page}"
        );
    }
}

#[tokio::test]
async fn characters_that_reorder_or_hide_text_are_made_visible() {
    for page in every_page(BIDI, "safe%E2%80%AEgpj.exe%E2%81%A6%E2%80%8B").await {
        assert!(
            !page.contains(['\u{202E}', '\u{2066}', '\u{200B}']),
            "{page}"
        );
    }
    let page = get(&everything_is(BIDI).dashboard(), "/logs/alice").await;
    page.says("safe⟨U+202E⟩gpj.exe⟨U+2066⟩⟨U+200B⟩");
}

#[tokio::test]
async fn long_texts_stay_bounded() {
    for page in every_page(&long(), &"x".repeat(900)).await {
        assert!(page.len() < 400_000, "{} bytes", page.len());
        assert!(!page.contains(&"x".repeat(20_000)));
    }
}

#[tokio::test]
async fn empty_texts_break_no_page() {
    every_page("", "").await;
}

#[tokio::test]
async fn endless_answers_stay_bounded() {
    let mut world = world::busy();
    let names: Vec<String> = (0..300).map(|at| format!("builder-{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    world.disagreements = vec![world::summary(world::GHC, &vec![names.as_slice(); 40]); 50];
    let references: Vec<&str> = vec![world::GLIBC; 2_000];
    let conflict = world::conflict();
    world.decisions = vec![pb::Decision {
        values: vec![world::value(world::LINUX, 0, &names, 1, &references); 60],
        operators: vec![
            world::operator(
                "alice",
                pb::OperatorState::Votes,
                &["A"; 100],
                "",
                world::LINUX
            );
            500
        ],
        steps: vec!["step".into(); 100_000],
        missing: vec!["bob".into(); 100_000],
        ..conflict
    }];
    let dashboard = world.dashboard();
    for path in [
        "/",
        "/disagreements",
        "/output/sd93jmfypk5pb2qnqy08bq5vflbck6vw",
    ] {
        let page = get(&dashboard, path).await;
        assert!(
            page.body.len() < 4_000_000,
            "{path}: {} bytes",
            page.body.len()
        );
    }
}

#[test]
fn no_template_turns_escaping_off() {
    let templates = [
        include_str!("../../../../web/templates/base.html"),
        include_str!("../../../../web/templates/parts.html"),
        include_str!("../../../../web/templates/overview.html"),
        include_str!("../../../../web/templates/disagreements.html"),
        include_str!("../../../../web/templates/output.html"),
        include_str!("../../../../web/templates/log.html"),
        include_str!("../../../../web/templates/policy.html"),
        include_str!("../../../../web/templates/search.html"),
        include_str!("../../../../web/templates/problem.html"),
    ];
    for template in templates {
        assert!(
            !template.contains("safe") && !template.contains("escape"),
            "{template}"
        );
    }
}
