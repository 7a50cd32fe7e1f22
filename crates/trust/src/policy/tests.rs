//! Policy files: what is read, and what is refused where and with which words.

use super::{Level, Member, Mode, Policy};
use crate::testing::{builder_line, cache_line, log_key, nix_key};

fn with(lines: &str) -> String {
    format!(
        "{}{}{}quorum none\n{lines}",
        builder_line("alice"),
        builder_line("bob"),
        cache_line("example")
    )
}

/// The error's text for a policy of alice, bob, the cache example and these lines.
fn refused(lines: &str) -> String {
    Policy::parse(&with(lines)).unwrap_err().to_string()
}

#[test]
fn a_policy_with_builders_a_cache_voters_and_rules_is_read() {
    let text = with(
        "voters independents 2 alice bob example   # a comment\n\
         voters today\t1 example\n\
         rule today quorum=today level=path\n\
         rule main quorum=independents level=closure mode=warn fallback=today\n\
         default main\n",
    );

    let policy = Policy::parse(&text).unwrap();

    assert_eq!(policy.text, text);
    assert_eq!(policy.operators(), ["alice", "bob", "example"]);
    assert_eq!(policy.builders[0].origin(), "alice.example/log");
    assert_eq!(
        policy.builders[0].nix_key,
        Some(nix_key("alice").public_key())
    );
    assert_eq!(
        policy.voters[0].members[2],
        Member::Operator("example".into())
    );
    let main = &policy.rules[policy.default];
    assert_eq!(
        (main.level, main.mode, main.fallback, main.line),
        (Level::Closure, Mode::Warn, Some(0), 8)
    );
}

#[test]
fn too_high_a_threshold_is_shown_where_it_stands_with_what_to_write() {
    assert_eq!(
        refused("voters independents 4 alice bob example\n"),
        "policy line 5, column 21: group \"independents\" needs 4 of 3 members\n  \
         voters independents 4 alice bob example\n                      \
         ^ use a number from 1 to 3, `any`, `all`, or a percentage from 1% to 100%"
    );
}

#[test]
fn thresholds_are_exact() {
    for (threshold, needed) in [
        ("any", 1),
        ("all", 3),
        ("2", 2),
        ("1%", 1),
        ("33%", 1),
        ("34%", 2),
        ("66%", 2),
        ("67%", 3),
        ("100%", 3),
    ] {
        let text = with(&format!(
            "voters v {threshold} alice bob example\nrule r quorum=v\ndefault r\n"
        ));
        assert_eq!(
            Policy::parse(&text).unwrap().voters[0].threshold,
            needed,
            "{threshold}"
        );
    }
    for threshold in [
        "0",
        "0%",
        "101%",
        "-1",
        "+1",
        "01",
        "1.5",
        "99999999999999999999",
        "%",
    ] {
        let error = refused(&format!("voters v {threshold} alice bob example\n"));
        assert!(
            error.contains("does not say how many must agree") || error.contains("needs"),
            "{threshold}: {error}"
        );
    }
}

#[test]
fn each_wrong_line_is_refused_by_name() {
    let cases = [
        ("frobnicate x\n", "`frobnicate` is not a policy line"),
        (
            "voters v 1 nobody\n",
            "nobody called `nobody` is defined above",
        ),
        (
            "voters v 1 alice alice\n",
            "operator `alice` is in this group twice",
        ),
        (
            "voters a 1 alice\nvoters b 1 a alice\n",
            "operator `alice` is in this group twice",
        ),
        ("voters v 1\n", "`voters` needs members"),
        ("voters alice 1 bob\n", "`alice` is an operator already"),
        ("rule r\n", "a rule needs a quorum"),
        (
            "rule r quorum=v\n",
            "no voters called `v` are defined above",
        ),
        (
            "voters v 1 alice\nrule r quorum=v quorum=v\n",
            "`quorum` is said twice",
        ),
        (
            "voters v 1 alice\nrule r quorum=v mode=warn\n",
            "a rule with `mode=warn` needs a fallback",
        ),
        (
            "voters v 1 alice\nrule r quorum=v fallback=r\n",
            "no rule called `r` is defined above",
        ),
        (
            "voters v 1 alice\nrule r quorum=v max-age=1d\n",
            "`max-age` needs a witness quorum",
        ),
        (
            "voters v 1 alice\nrule r quorum=v level=build\n",
            "this version cannot decide at level `build` yet",
        ),
        (
            "voters v 1 alice\nrule r quorum=v path=hello\n",
            "not a store path",
        ),
        (
            "voters v 1 alice\nrule r quorum=v colour=red\n",
            "`colour` is not an option of `rule`",
        ),
        ("witness w x\n", "this version cannot check witnesses yet"),
        (
            "also a name=x quorum=v\n",
            "this version does not know `also` yet",
        ),
        ("quorum none\n", "`quorum` is said twice"),
        ("builder carol x\n", "not a vkey"),
        (
            "cache c nonsense https://c.example operator=c\n",
            "not a Nix public key",
        ),
        ("voters v\u{7} 1 alice\n", "control character"),
        ("", "no rule is the default"),
    ];
    for (lines, message) in cases {
        let error = refused(lines);
        assert!(error.contains(message), "for {lines:?}: {error}");
    }
}

#[test]
fn a_builders_name_among_voters_is_answered_with_its_operator() {
    let two = builder_line("carol").replace("operator=carol", "operator=dora");
    let error = refused(&format!("{two}voters v 1 carol\n"));
    assert!(
        error.contains("`carol` votes for its operator: write `dora`"),
        "{error}"
    );
}

#[test]
fn witnesses_must_be_spoken_of() {
    let error = Policy::parse(&builder_line("alice"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("nothing is said about witnesses"), "{error}");
}

#[test]
fn one_key_speaks_for_one_operator() {
    let again = |operator: &str| {
        format!(
            "cache other {} https://other.example operator={operator}\n",
            nix_key("alice").public_key()
        )
    };
    assert!(refused(&again("other")).contains("this key is operator `alice`'s on line 1"));
    let same = format!(
        "{}voters v 1 alice\nrule r quorum=v\ndefault r\n",
        again("alice")
    );
    assert!(Policy::parse(&with(&same)).is_ok());
}

#[test]
fn one_log_is_named_once() {
    let twice = format!(
        "builder again {} https://x.example operator=again\n",
        log_key("alice").verifier()
    );
    assert!(refused(&twice).contains("the log alice.example/log is already on line 1"));
}

#[test]
fn warnings_name_what_could_be_weaker_than_it_looks() {
    let text = with("voters half 1 alice bob\nrule r quorum=half\ndefault r\n");

    let warnings = Policy::parse(&text).unwrap().warnings;

    assert_eq!(warnings.len(), 3);
    assert!(warnings[0].starts_with("`quorum none`: no witness checks"));
    assert!(
        warnings[1].starts_with(
            "line 6: under rule `r` two different values could both have enough votes"
        )
    );
    assert_eq!(
        warnings[2],
        "line 6: under rule `r` the word of `alice` alone is enough"
    );
}

proptest::proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
        let _ = Policy::parse(&text);
    }

    #[test]
    fn arbitrary_words_of_the_language_never_panic(words in proptest::collection::vec(
        proptest::sample::select(vec!["builder", "cache", "voters", "rule", "default", "quorum", "none", "alice", "1", "50%",
            "all", "quorum=v", "v", "\n", "level=path", "fallback=r", "r", "mode=warn", "#", "operator=x", "log"]), 0..60)) {
        let _ = Policy::parse(&words.join(" "));
    }
}
