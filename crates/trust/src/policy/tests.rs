//! Policy files: what is read, and what is refused where and with which words.

use super::{Level, Member, Mode, Policy, date, moment};
use std::collections::BTreeMap;

use crate::testing::{builder_line, cache_line, log_key, nix_key, path};

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
            "voters v 1 alice\nrule r quorum=v path=hello\n",
            "not a store path",
        ),
        (
            "voters v 1 alice\nrule r quorum=v colour=red\n",
            "`colour` is not an option of `rule`",
        ),
        ("witness w x\n", "not a usable key"),
        (
            "also a name=x quorum=v\n",
            "no voters called `v` are defined above",
        ),
        ("quorum none\n", "the quorum is defined twice"),
        ("include other\n", "this policy may not name files here"),
        ("weighted w 4 alice=1 bob=2\n", "needs a weight of 4 of 3"),
        ("weighted w 1 alice\n", "`alice` has no weight"),
        ("weighted w 1 alice=0\n", "`0` is not a weight"),
        (
            "voters v 1 alice\nalso a quorum=v\n",
            "`also` needs a condition",
        ),
        (
            "voters v 1 alice\nalso a name=x mode=warn quorum=v\n",
            "`mode` is not an option of `also`: it can only narrow",
        ),
        (
            "voters v 1 alice\nalso a when=([1].all(x,x>0)) quorum=v\n",
            "are not allowed: they would take too long",
        ),
        (
            "voters v 1 alice\nalso a when=(color==1) quorum=v\n",
            "`color` is not known",
        ),
        (
            "voters v 1 alice\nrule r quorum=v set=x\n",
            "a set needs a file and a key",
        ),
        ("disregard carol x y\n", "not a store path"),
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
fn a_rule_is_selected_by_path_or_signed_set_and_never_by_what_somebody_tells() {
    for condition in ["name=x", "system=x86_64-linux", "drv=x", "when=(true)"] {
        let error = refused(&format!(
            "voters v 1 alice\nrule r {condition} quorum=v\ndefault r\n"
        ));
        let word = condition.split('=').next().unwrap();
        assert!(error.contains(&format!("`{word}`")), "{condition}: {error}");
        assert!(error.contains("column 8"), "{condition}: {error}");
    }
}

#[test]
fn moments_are_written_as_they_are_read() {
    for (time, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_826_399, "2000-02-29T12:13:19Z"),
        (1_700_000_000, "2023-11-14T22:13:20Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
    ] {
        assert_eq!(moment(time), text);
        assert_eq!(date(text), Some(time));
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

#[test]
fn an_expression_is_bounded_in_size_and_depth() {
    use super::CelRule;
    let large = format!("name == \"{}\"", "x".repeat(4 * 1024));
    assert_eq!(
        CelRule::compile(&large).unwrap_err(),
        "the expression is larger than 4 KiB"
    );
    let nested = |depth: usize| format!("{}true{}", "[".repeat(depth), "]".repeat(depth));
    assert!(CelRule::compile(&nested(30)).is_ok());
    assert!(CelRule::compile(&nested(33)).is_err());
    let very_deep = format!("{}true{}", "(".repeat(2_000), ")".repeat(2_000));
    assert!(CelRule::compile(&very_deep).is_err());
    assert!(CelRule::compile("name == \"hello\" && !path.endsWith(\"x\")").is_ok());
}

#[test]
fn an_included_file_stands_in_place_of_its_line_and_its_errors_name_it() {
    let file = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
    let files = BTreeMap::from([
        file("voters", "voters v 1 alice\n"),
        file("wrong", "\nvoters v 1 nobody\n"),
        file("circle", "include round\n"),
        file("round", "include circle\n"),
    ]);

    let policy = Policy::parse_with(
        &with("include voters\nrule r quorum=v\ndefault r\n"),
        &files,
    )
    .unwrap();
    assert_eq!(policy.rules[0].line, 7);
    assert!(
        policy
            .text
            .contains("# include voters\nvoters v 1 alice\nrule r")
    );
    // The text stands for itself.
    assert_eq!(Policy::parse(&policy.text).unwrap().text, policy.text);

    let error = |lines: &str| {
        let error = Policy::parse_with(&with(lines), &files).unwrap_err();
        error.to_string()
    };
    assert!(
        error("include wrong\n").starts_with("policy file wrong, line 2, column 12: nobody called")
    );
    assert!(error("include circle\n").contains("`circle` includes itself"));
    assert!(error("include absent\n").contains("`absent` cannot be included: it is not there"));
}

#[test]
fn a_signed_set_selects_until_its_entry_ends_and_only_by_its_key() {
    use super::{SetEntry, SignedSet};
    let (hello, key) = (path("hello"), log_key("keeper"));
    let entry = SetEntry {
        until_s: Some(1_798_675_200),
        reason: "embeds a date, see issue 12".into(),
    };
    let set = SignedSet {
        entries: BTreeMap::from([(hello.clone(), entry)]),
    };
    let bytes = set.sign(&key).unwrap();
    assert!(set.to_text().contains("-hello 2026-12-31 embeds a date"));
    let lines = |key: &str| {
        with(&format!(
            "voters v all alice bob\nvoters w any alice bob\nrule odd set=odd set-key={key} quorum=w\n\
             rule r quorum=v\ndefault r\n"
        ))
    };
    let files = BTreeMap::from([("odd".to_owned(), bytes)]);

    let policy = Policy::parse_with(&lines(&key.verifier().to_string()), &files).unwrap();
    let rule = |now_s: u64| policy.rule_for(&hello, now_s).unwrap().name.as_str();
    assert_eq!(rule(1_798_675_199), "odd");
    assert_eq!(rule(1_798_675_200), "r");
    let other = lines(&log_key("mallory").verifier().to_string());
    let error = Policy::parse_with(&other, &files).unwrap_err().to_string();
    assert!(error.contains("the set `odd` cannot be used"), "{error}");
}

#[test]
fn first_policies_are_good_and_say_what_they_are() {
    use super::{First, first_policy};
    let line = |keyword: &str, line: String, operator: &str| {
        let line = line.trim().strip_prefix(keyword).unwrap().trim().to_owned();
        (line, operator.to_owned())
    };
    let builders = ["alice", "bob", "carol"];
    let builders = builders.map(|name| line("builder", builder_line(name), name));
    let caches = [line("cache", cache_line("example"), "example")];
    for (first, default) in [
        (First::Single, "main"),
        (First::Organisation, "main"),
        (First::Audit, "audit"),
    ] {
        let policy = Policy::parse(&first_policy(first, &builders, &caches)).unwrap();
        let rule = &policy.rules[policy.default];
        assert_eq!(rule.name, default);
        assert_eq!(rule.mode == Mode::Enforce, first == First::Organisation);
        let dual = "two different values could both";
        let about_it = |text: &&String| text.contains(dual) && text.contains(default);
        assert_eq!(policy.warnings.iter().find(about_it), None);
    }
}

#[test]
fn what_a_careful_reader_should_know_is_told() {
    let tagged = |name: &str| builder_line(name).trim().to_owned() + " tag=provider:acme\n";
    let text = format!(
        "{}{}{}quorum none\nvoters both all alice bob\nvoters any any alice example\n\
         rule main quorum=both\nrule deep quorum=any level=build\ndefault main\n",
        tagged("alice"),
        tagged("bob"),
        cache_line("example")
    );
    let warnings = Policy::parse(&text).unwrap().warnings.join("\n");
    for part in [
        "those with tag provider:acme are enough by themselves (alice, bob)",
        "rule `deep` asks what was built with, which caches never publish: example cannot vote there",
    ] {
        assert!(warnings.contains(part), "{part}: {warnings}");
    }
}

proptest::proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,200}") {
        let _ = Policy::parse(&text);
    }

    #[test]
    fn arbitrary_words_of_the_language_never_panic(words in proptest::collection::vec(
        proptest::sample::select(vec!["builder", "cache", "voters", "rule", "default", "quorum", "none", "alice", "1", "50%",
            "all", "also", "weighted", "witness", "include", "when=(", "name=*", "max-age=1d", "quorum=v", "v", "\n", "level=path", "fallback=r", "r", "mode=warn", "#", "operator=x", "log"]), 0..60)) {
        let _ = Policy::parse(&words.join(" "));
    }
}

#[test]
fn a_name_is_an_operator_or_a_group_and_never_both() {
    let bob = "bob";
    for group in ["voters bob 1 example", "weighted bob 1 example=1"] {
        let error = refused(&format!("{group}\n"));
        assert!(
            error.contains(&format!("`{bob}` is an operator already")),
            "{error}"
        );
        // Before the operator was named, and used after.
        let text = format!(
            "{}quorum none\n{group}\n{}voters both 2 bob example\n",
            cache_line("example"),
            builder_line("bob")
        );
        let error = Policy::parse(&text).unwrap_err().to_string();
        assert!(
            error.contains("`bob` is an operator and a group"),
            "{error}"
        );
    }
}

#[test]
fn groups_within_groups_end_and_so_do_lines() {
    let nested = |depth: usize| {
        let inner = (1..depth).map(|number| format!("voters g{number} any g{}\n", number - 1));
        format!("voters g0 any alice\n{}", inner.collect::<String>())
    };
    let rule = "rule main quorum=g15\ndefault main\n";
    Policy::parse(&with(&format!("{}{rule}", nested(16)))).unwrap();
    let error = refused(&nested(17));
    assert!(
        error.contains("groups are nested more than 16 deep"),
        "{error}"
    );

    let one_more = "disregard alice\n".repeat(10_001);
    let many: String = (0..10_000)
        .map(|number| format!("voters g{number} any alice\n"))
        .collect();
    let error = refused(&many);
    assert!(
        error.contains("a policy has at most 10000 lines"),
        "{error}"
    );
    assert!(!refused(&one_more).contains("at most"));
}

#[test]
fn a_line_of_a_mebibyte_of_words_is_read_like_any_other() {
    let error = refused(&format!(
        "voters all-of-them any{}",
        " alice".repeat(150_000)
    ));
    assert!(
        error.contains("operator `alice` is in this group twice"),
        "{error:.200}"
    );
}

#[test]
fn a_policy_includes_so_many_files_and_no_more() {
    let files = BTreeMap::from([("rules".to_owned(), b"# nothing\n".to_vec())]);
    let error = Policy::parse_with(&with(&"include rules\n".repeat(257)), &files).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("a policy includes at most 256 files"),
        "{error}"
    );
}
