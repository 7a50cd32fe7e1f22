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
fn only_what_an_aggregator_elsewhere_answers_is_completed() {
    let resolver =
        "[resolver]\nlisten = \"127.0.0.1:1\"\nkey = \"/k\"\nsources = []\ncomplete = true\n";
    let error = refused(&format!("policy = \"/p\"\n{AGGREGATOR}{resolver}"));
    assert!(
        error
            .starts_with("resolver.complete: the aggregator in this file has read the logs itself"),
        "{error}"
    );
    let elsewhere =
        format!("policy = \"/p\"\n{resolver}aggregator = \"https://agg.example.org:8481\"\n");
    assert!(parse(&elsewhere).unwrap().resolver.unwrap().complete);
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

const TLS: &str = "[tls]\ncert = \"/t/cert.pem\"\nkey = \"/t/key.pem\"\n";

fn log_submitting_at(submit: &str, more: &str) -> String {
    let log = LOG.replace("\"unix:/run/quorix/submit.sock\"", submit);
    format!("{log}{more}")
}

#[test]
fn submission_over_tls_says_who_may_submit() {
    let both = "[\"unix:/run/quorix/submit.sock\", \"tls://0.0.0.0:8482\"]";
    let error = refused(&log_submitting_at(both, TLS));
    assert_eq!(
        error,
        "log.listen.submit: nobody may submit at `0.0.0.0:8482`; say who in [log]: `tokens = FILE`, or `clients` with their certificates"
    );
    let tokens = format!("tokens = \"/etc/quorix/tokens\"\n{TLS}");
    let config = parse(&log_submitting_at(both, &tokens)).unwrap();
    let listen = &config.log.as_ref().unwrap().listen.submit;
    assert_eq!(
        listen.to_string(),
        "unix:/run/quorix/submit.sock, tls://0.0.0.0:8482"
    );
    assert_eq!(
        listen.local().unwrap().to_string(),
        "unix:/run/quorix/submit.sock"
    );

    let clients = format!("clients = [\"ci.example.org\"]\n{TLS}");
    let error = refused(&log_submitting_at(both, &clients));
    assert!(
        error.starts_with("log.clients: whose certificates are they?"),
        "{error}"
    );
    let clients = format!("{clients}client_ca = \"/t/ca.pem\"\n");
    assert!(parse(&log_submitting_at(both, &clients)).is_ok());
    let digest = format!("clients = [\"sha256:{}\"]\n{TLS}", "0g".repeat(32));
    let error = refused(&log_submitting_at(both, &digest));
    assert!(
        error.contains("after `sha256:` come 64 hexadecimal digits"),
        "{error}"
    );
}

#[test]
fn a_listener_with_tls_needs_a_certificate_and_a_certificate_a_listener() {
    let public = LOG.replace("0.0.0.0:8480", "tls://0.0.0.0:8480");
    let error = refused(&public);
    assert_eq!(
        error,
        "log.listen.public: `tls://0.0.0.0:8480` needs a certificate; add [tls] with `cert` and `key`"
    );
    assert!(parse(&format!("{public}{TLS}")).is_ok());
    assert!(refused(&format!("{LOG}{TLS}")).starts_with("tls.cert: no listener uses it"));
    for half in ["cert", "key"] {
        let error = refused(&format!("{public}[tls]\n{half} = \"/t\"\n"));
        assert_eq!(error, "tls: `cert` and `key` belong together; give both");
    }
    let error = refused(&format!("{LOG}[tls]\nclient_key = \"/t\"\n"));
    assert_eq!(
        error,
        "tls: `client_cert` and `client_key` belong together; give both"
    );
    assert!(parse(&format!("{LOG}[tls]\nca = \"/t/ca.pem\"\n")).is_ok());
}

#[test]
fn what_is_public_and_what_is_private_never_share_a_listener() {
    let tokens = format!("tokens = \"/etc/quorix/tokens\"\n{TLS}");
    let error = refused(&log_submitting_at("\"tls://0.0.0.0:8480\"", &tokens));
    assert_eq!(
        error,
        "log.listen.submit and log.listen.public are both at 0.0.0.0:8480; each needs an address of its own"
    );
    let error = refused(&LOG.replace("0.0.0.0:8480", "unix:/run/quorix/public.sock"));
    assert!(
        error.starts_with("log.listen.public: `unix:/run/quorix/public.sock` is for gRPC"),
        "{error}"
    );
}

#[test]
fn users_are_names_or_numbers_and_a_token_on_the_socket_needs_tokens() {
    let config = parse(&format!("{LOG}users = [\"ci\", 1001]\n")).unwrap();
    let users = &config.log.as_ref().unwrap().users;
    let users: Vec<String> = users.iter().map(ToString::to_string).collect();
    assert_eq!(users, ["ci", "1001"]);
    let error = refused(&format!("{LOG}token_on_socket = true\n"));
    assert_eq!(
        error,
        "log.token_on_socket: there are no tokens; add `tokens = FILE`"
    );
    let error = refused(&format!("{LOG}limits = {{ entries_per_day = 1 }}\n"));
    assert!(error.contains("unknown field `entries_per_day`"), "{error}");
}

#[test]
fn an_aggregator_is_reachable_from_other_machines_only_with_tls_and_known_clients_or_if_told_so() {
    let aggregator = |listen: &str, more: &str| {
        format!("policy = \"/p\"\n[aggregator]\nlisten = \"{listen}\"\n{more}")
    };
    for address in [
        "0.0.0.0:8481",
        "192.0.2.1:8481",
        "[::]:8481",
        "aggregator.example.org:8481",
    ] {
        let error = refused(&aggregator(address, ""));
        assert!(
            error.starts_with("aggregator.listen:")
                && error.contains("can be reached from other machines"),
            "{error}"
        );
    }
    for address in ["127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/run/x.sock"] {
        assert!(parse(&aggregator(address, "")).is_ok(), "{address}");
    }
    assert!(parse("policy = \"/p\"\n[aggregator]\n").is_ok());

    let error = refused(&aggregator("tls://0.0.0.0:8481", TLS));
    assert!(
        error.starts_with("aggregator.listen: everybody can reach `0.0.0.0:8481`; add `client_ca`"),
        "{error}"
    );
    let known = format!("{TLS}client_ca = \"/t/ca.pem\"\n");
    let public = format!("public = true\n{TLS}");
    for good in [
        aggregator("tls://0.0.0.0:8481", &known),
        aggregator("tls://0.0.0.0:8481", &public),
        aggregator("tls://127.0.0.1:8481", TLS),
    ] {
        assert!(parse(&good).is_ok(), "{good}");
    }
}
