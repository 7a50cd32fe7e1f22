//! Wrong configurations, policies and keys, as typed: the message says what, where and what to do; the code is 2.

use std::fs;
use std::path::PathBuf;

use crate::world::{run, text};

/// A folder of small files, removed when dropped.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, contents: &str) -> PathBuf {
        let file = self.0.path().join(name);
        fs::write(&file, contents).unwrap();
        file
    }
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_what_where_and_what_to_do() {
    let desk = Desk::new();
    let file = desk.0.path().join("quorix.toml");
    let cases = [
        (
            "data_dir = \"/x\"\n",
            "no role is switched on: add a section [log], [builder], [aggregator], [resolver], [dashboard], [witness] or [mirror]",
        ),
        (
            "data_dir = \"x\"\n[builder]\nlog = \"unix:/x\"\n",
            "data_dir: `x` is not an absolute path",
        ),
        (
            "data_dir = \"/x\"\n[builder]\nlog = \"unix:/x\"\nnix_keys = \"/k\"\n",
            "TOML parse error at line 4, column 1\n  |\n4 | nix_keys = \"/k\"\n  | ^^^^^^^^\n\
             unknown field `nix_keys`, expected one of `log`, `token`, `nix_key`, `store`, `publish_inputs`, `include_remote_built`",
        ),
        (
            "data_dir = \"/x\"\n[aggregator]\nlisten = \"127.0.0.1:1\"\n",
            "policy: [aggregator], [resolver] and [dashboard] need a policy file; add `policy = \"/etc/quorix/policy\"`",
        ),
        (
            "data_dir = \"/x\"\npolicy = \"/p\"\n[aggregator]\nlisten = \"0.0.0.0:8481\"\n",
            "aggregator.listen: `0.0.0.0:8481` can be reached from other machines, and without TLS; \
             use tls://0.0.0.0:8481, unix:PATH or 127.0.0.1:PORT",
        ),
        (
            "data_dir = \"/x\"\npolicy = \"/p\"\n[aggregator]\nlisten = \"127.0.0.1:1\"\npoll_interval = \"10\"\n",
            "TOML parse error at line 5, column 17\n  |\n5 | poll_interval = \"10\"\n  |                 ^^^^\n\
             `10` is not a length of time: write 500ms, 10s, 5m or 1h",
        ),
        (
            "data_dir = \"/x\"\npolicy = \"/p\"\n[resolver]\nlisten = \"127.0.0.1:1\"\nkey = \"/k\"\nsources = []\n",
            "resolver.aggregator: there is no [aggregator] in this file; say where one answers",
        ),
    ];
    for (contents, message) in cases {
        desk.file("quorix.toml", contents);
        for command in [["config", "check"].as_slice(), &["serve"]] {
            let arguments = [command, &["--config", text(&file)]].concat();
            let answer = run(&arguments).await;
            let expected = format!("error: configuration {}: {message}\n", file.display());
            assert_eq!(
                (answer.code, answer.out.as_str(), answer.err),
                (2, "", expected),
                "{command:?}"
            );
        }
    }
    let answer = run(&["serve", "--config", "/nonexistent/quorix.toml"]).await;
    let expected = "error: configuration /nonexistent/quorix.toml: cannot be read: No such file or directory (os error 2)\n";
    assert_eq!((answer.code, answer.err.as_str()), (2, expected));
}

#[tokio::test]
async fn a_wrong_policy_is_refused_with_line_column_and_what_to_do() {
    let desk = Desk::new();
    let cases = [
        (
            "",
            "policy line 1: nothing is said about witnesses\n  \
             add a line `quorum NAME`, or `quorum none` if no cosignature is asked for",
        ),
        (
            "quorum none\n",
            "policy line 1: no rule is the default\n  add a line `default RULE`",
        ),
        (
            "quorum none\nbilder alice\n",
            "policy line 2, column 1: `bilder` is not a policy line\n  bilder alice\n  \
             ^ use builder, cache, voters, weighted, rule, also, disregard, default, include, witness, group, quorum or log",
        ),
        (
            "quorum none\nvoters two 2 alice\n",
            "policy line 2, column 14: nobody called `alice` is defined above\n  voters two 2 alice\n               \
             ^ members are operators (`operator=…`) or other voters",
        ),
        (
            "witness w w+00000000+AAAA\nquorum none\n",
            "policy line 1, column 11: not a usable key: the key w is of type 0x00; expected here is a cosigner's key, \
             Ed25519 (0x04) or ML-DSA-44 (0x06)\n  witness w w+00000000+AAAA\n            \
             ^ `quorix key show FILE` prints one: name+id+key",
        ),
    ];
    for (contents, message) in cases {
        let file = desk.file("policy", contents);
        let answer = run(&["policy", "check", text(&file)]).await;
        let expected = format!("error: {}: {message}\n", file.display());
        assert_eq!(
            (answer.code, answer.out.as_str(), answer.err),
            (2, "", expected)
        );
    }
    let file = desk.0.path().join("policy");
    fs::write(&file, b"quorum none\n\xff\n").unwrap();
    let answer = run(&["policy", "check", text(&file)]).await;
    assert_eq!(answer.code, 2);
    assert!(
        answer
            .err
            .contains("is not UTF-8 text: invalid utf-8 sequence of 1 bytes from index 12"),
        "{}",
        answer.err
    );
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_never_shown() {
    let desk = Desk::new();
    let log = desk.0.path().join("log.key");
    let made = run(&[
        "key",
        "generate",
        "--kind",
        "log",
        "--name",
        "a.example/log",
        text(&log),
    ])
    .await;
    assert_eq!(made.code, 0, "{}", made.err);
    let secret = fs::read_to_string(&log).unwrap();
    let again = run(&[
        "key",
        "generate",
        "--kind",
        "nix",
        "--name",
        "a-1",
        text(&log),
    ])
    .await;
    assert_eq!(
        again.err,
        format!(
            "error: {} exists already, and a key is never overwritten\n",
            log.display()
        )
    );
    assert_eq!(
        (again.code, fs::read_to_string(&log).unwrap()),
        (2, secret.clone()),
        "an existing key is never touched"
    );

    let config = |origin: &str, key: &str| {
        let dir = desk.0.path().display();
        let contents = format!(
            "data_dir = \"{dir}\"\n[log]\norigin = \"{origin}\"\nkey = \"{dir}/{key}\"\n\
             listen = {{ submit = \"unix:{dir}/s\", public = \"127.0.0.1:0\" }}\n"
        );
        desk.file("quorix.toml", &contents)
    };
    let check = async |origin: &str, key: &str| {
        let answer = run(&["config", "check", "--config", text(&config(origin, key))]).await;
        assert_eq!(answer.code, 2, "{}", answer.out);
        answer.err
    };
    let other = check("b.example/log", "log.key").await;
    let expected = format!(
        "error: log.origin is `b.example/log`, but the key in {} is called `a.example/log`; they must be the same\n",
        log.display()
    );
    assert_eq!(other, expected);

    let cut = desk.file("cut.key", &secret.trim_end()[..secret.len() - 8]);
    let said = check("a.example/log", "cut.key").await;
    assert!(
        said.starts_with(&format!("error: the key {}: ", cut.display())),
        "{said}"
    );
    // `PRIVATE+KEY+<name>+<id>+<base64>`, and base64 may have a `+` too.
    let hidden = secret.splitn(5, '+').last().unwrap();
    assert!(
        !said.contains(&hidden[..8]),
        "the message shows the secret: {said}"
    );

    let garbage = desk.file("garbage.key", "hunter2");
    let said = check("a.example/log", "garbage.key").await;
    let expected = format!(
        "error: {} is no Nix secret key `<name>:<base64>`; `nix key generate-secret` makes one\n",
        garbage.display()
    );
    assert_eq!(said, expected);

    let nix = desk.0.path().join("nix.key");
    assert_eq!(
        run(&[
            "key",
            "generate",
            "--kind",
            "nix",
            "--name",
            "a-1",
            text(&nix)
        ])
        .await
        .code,
        0
    );
    let said = check("a.example/log", "nix.key").await;
    let expected = format!(
        "error: {} is a Nix key, not a log's; make one: quorix key generate --kind log --name a.example/log FILE\n",
        nix.display()
    );
    assert_eq!(said, expected);
}

/// The private key was readable by everybody there.
#[tokio::test]
async fn trustix_a_generated_key_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let desk = Desk::new();
    for kind in ["log", "nix"] {
        let file = desk.0.path().join(kind);
        let made = run(&[
            "key",
            "generate",
            "--kind",
            kind,
            "--name",
            "a.example",
            text(&file),
        ])
        .await;
        assert_eq!(made.code, 0, "{}", made.err);
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let shown = run(&["key", "show", text(&file)]).await;
        assert_eq!(
            shown.out, made.out,
            "the public key is printed on standard output, alone"
        );
    }
}
