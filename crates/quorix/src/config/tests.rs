//! Configuration files: what is read, and what is refused with which words.

use super::Config;

const LOG: &str = r#"
[log]
origin = "logs.example.org/alice"
key    = "/etc/quorix/log.key"
listen = { submit = "unix:/run/quorix/submit.sock", public = "0.0.0.0:8480" }
"#;
const AGGREGATOR: &str = "[aggregator]\nlisten = \"127.0.0.1:8481\"\n";

fn parse(rest: &str) -> Result<Config, String> {
    Config::parse(&format!("data_dir = \"/var/lib/quorix\"\n{rest}"))
}

fn refused(rest: &str) -> String {
    parse(rest).unwrap_err()
}

#[test]
fn every_role_can_be_switched_on_in_one_file() {
    let config = parse(&format!(
        r#"policy = "/etc/quorix/policy"
{LOG}
[builder]
log     = "unix:/run/quorix/submit.sock"
nix_key = "/etc/quorix/nix.key"
{AGGREGATOR}
poll_interval = "500ms"
[resolver]
listen  = "127.0.0.1:8484"
key     = "/etc/quorix/resolver.key"
sources = ["https://cache.example.org", "/mnt/usb/cache"]
[dashboard]
listen = "127.0.0.1:8485"
[metrics]
listen = "127.0.0.1:9480"
"#
    ))
    .unwrap();

    let aggregator = config.aggregator.as_ref().unwrap();
    assert_eq!(aggregator.poll_interval.0.as_millis(), 500);
    assert_eq!(aggregator.stale_after.0.as_secs(), 60);
    assert_eq!(config.resolver.as_ref().unwrap().priority, 30);
    assert_eq!(
        config.role_dir("log"),
        std::path::Path::new("/var/lib/quorix/log")
    );
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let error = refused(&format!("{LOG}colour = \"red\"\n"));
    assert!(
        error.contains("unknown field `colour`") && error.contains("line 7"),
        "{error}"
    );
}

#[test]
fn a_bad_address_or_length_of_time_is_named() {
    let error = refused("[aggregator]\nlisten = \"nowhere\"\n");
    assert!(error.contains("`nowhere` is no address"), "{error}");
    let error = refused(
        "policy = \"/p\"\n[aggregator]\nlisten = \"127.0.0.1:1\"\npoll_interval = \"ten\"\n",
    );
    assert!(
        error.contains("`ten` is not a length of time: write 500ms, 10s, 5m or 1h"),
        "{error}"
    );
}

#[test]
fn no_role_is_an_error() {
    assert!(refused("").starts_with("no role is switched on"));
}

#[test]
fn roles_that_decide_need_a_policy() {
    assert!(
        refused(AGGREGATOR)
            .starts_with("policy: [aggregator], [resolver] and [dashboard] need a policy file")
    );
}

#[test]
fn a_resolver_without_any_aggregator_is_refused() {
    let error = refused(
        "policy = \"/p\"\n[resolver]\nlisten = \"127.0.0.1:1\"\nkey = \"/k\"\nsources = []\n",
    );
    assert!(
        error.starts_with("resolver.aggregator: there is no [aggregator] in this file"),
        "{error}"
    );
}

#[test]
fn trustix_the_write_side_of_a_log_is_a_socket_that_only_its_owner_can_open() {
    for address in [
        "0.0.0.0:8480",
        "logs.example.org:8480",
        "127.0.0.1:1",
        "[::1]:1",
    ] {
        let error = refused(&LOG.replace("unix:/run/quorix/submit.sock", address));
        assert!(
            error.starts_with("log.listen.submit: everybody on this machine can reach"),
            "{error}"
        );
    }
    assert!(parse(LOG).is_ok());
}

#[test]
fn an_aggregator_is_not_reachable_from_other_machines() {
    for address in [
        "0.0.0.0:8481",
        "192.0.2.1:8481",
        "[::]:8481",
        "aggregator.example.org:8481",
    ] {
        let error = refused(&format!(
            "policy = \"/p\"\n[aggregator]\nlisten = \"{address}\"\n"
        ));
        assert!(
            error.starts_with("aggregator.listen:")
                && error.contains("can be reached from other machines"),
            "{error}"
        );
    }
    for address in ["127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/run/x.sock"] {
        let config = format!("policy = \"/p\"\n[aggregator]\nlisten = \"{address}\"\n");
        assert!(parse(&config).is_ok(), "{address}");
    }
    assert!(parse("policy = \"/p\"\n[aggregator]\n").is_ok());
}
