//! What the pages say: empty, one, many, disagreeing, stale, quarantined.

use axum::http::StatusCode;
use quorix_wire::pb;

use crate::browse::get;
use crate::world::{self, World};

#[tokio::test]
async fn the_overview_answers_first_whether_all_is_well() {
    let page = get(&world::busy().dashboard(), "/").await;
    assert_eq!(page.status, StatusCode::OK);
    page.says("Of 126,000 outputs 98.0 % agree, 412 disagree, 2,104 have one builder.")
        .says("2 of 3 logs are live")
        .says("carol-ci carol ○stale 3 h ago 45,112 45,000 2 https://ci.example.com/nix/checkpoint: connection refused")
        .says("All 412 disagreements")
        .has("<time datetime=\"2026-11-22T11:23:29Z\" title=\"2026-11-22 11:23:29 UTC\">3 h ago</time>");
}

#[tokio::test]
async fn an_empty_overview_says_what_would_fill_it() {
    let page = get(&World::default().dashboard(), "/").await;
    page.says("Nothing is known yet. No log is followed.")
        .says("quorix policy check");
    let page = get(
        &World {
            logs: world::busy().logs,
            ..World::default()
        }
        .dashboard(),
        "/",
    )
    .await;
    page.says("No followed log has an attestation of a build.")
        .says("quorix attest $(nix-build)");
}

#[tokio::test]
async fn without_disagreement_the_pages_say_so() {
    let counts = pb::GetOverviewResponse {
        outputs: 1,
        agree: 1,
        ..Default::default()
    };
    let dashboard = World {
        counts,
        ..World::default()
    }
    .dashboard();
    get(&dashboard, "/")
        .await
        .says("Of 1 output all agree.")
        .says("No builders disagree about any output.");
    get(&dashboard, "/disagreements")
        .await
        .says("No builders disagree about any output.")
        .says("An output appears here when two builders attest different fingerprints");
}

#[tokio::test]
async fn a_quarantined_log_is_the_first_thing_one_sees() {
    let dashboard = world::quarantined().dashboard();
    let page = get(&dashboard, "/").await;
    let text = page.text();
    assert!(
        text.find("Quarantined: bob signed two histories").unwrap()
            < text.find("Of 126,000").unwrap()
    );
    page.says("bob.example.net/log 98020 uQ2mJ0x7l8m2yq0aZ3nqk8bQxeLm0cB7mU1RrGSzqN0=")
        .says("bob.example.net/log 98000 cR2lWQd3O5ZxLrKp9LsWf3eTnYv6cUb8hJq2dGo4iXY=");
    let log = get(&dashboard, "/logs/bob").await;
    log.says("Quarantined.")
        .says("The proof: two signed checkpoints");
    for (part, starts) in [
        ("first-checkpoint", "bob.example.net/log\n98020\n"),
        ("second-checkpoint", "bob.example.net/log\n98000\n"),
        ("consistency-proof", "0707"),
        ("checkpoint", "bob.example.net/log\n98020\n"),
    ] {
        page.has("/logs/bob/first-checkpoint");
        let file = get(&dashboard, &format!("/logs/bob/{part}")).await;
        assert_eq!(
            file.header("content-disposition"),
            format!("attachment; filename=\"bob-{part}.txt\"")
        );
        assert_eq!(file.header("content-type"), "text/plain; charset=utf-8");
        assert!(file.body.starts_with(starts), "{}", file.body);
    }
}

#[tokio::test]
async fn disagreements_are_listed_with_who_said_which() {
    let page = get(&world::busy().dashboard(), "/disagreements").await;
    page.says("Builders disagree about 412 outputs.")
        .says("Output Hash alice bob carol-ci example")
        .says("linux-6.18.20 sd93jmfypk5pb2qnqy08bq5vflbck6vw A B ·nothing C")
        .has("href=\"/output/sd93jmfypk5pb2qnqy08bq5vflbck6vw-linux-6.18.20\"");
}

#[tokio::test]
async fn a_filter_stands_in_the_url_and_in_the_form() {
    let dashboard = world::busy().dashboard();
    let page = get(&dashboard, "/disagreements?name=linux&builder=alice").await;
    page.says("Outputs with disagreement whose name contains “linux” and about which alice said something")
        .says("linux-6.18.20")
        .never_says("firefox")
        .has("name=\"name\" type=\"search\" value=\"linux\"")
        .has("<option value=\"alice\" selected>")
        .has("<option value=\"example\">");
    let page = get(&dashboard, "/disagreements?name=nothing").await;
    page.says("No output with disagreement matches.")
        .has("<a href=\"/disagreements\">Clear the filter</a>");
}

#[tokio::test]
async fn a_filter_that_cannot_be_read_is_refused_with_the_way_back() {
    let dashboard = world::busy().dashboard();
    let long = format!("/disagreements?name={}", "x".repeat(1_001));
    for path in [long.as_str(), "/disagreements?name=a&name=b"] {
        let page = get(&dashboard, path).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST);
        page.says("This address cannot be read.")
            .says("All disagreements");
    }
}

#[tokio::test]
async fn pages_of_the_list_are_links() {
    let mut world = world::busy();
    world.disagreements = (0..120)
        .map(|at| {
            world::summary(
                &format!("/nix/store/{at:0>32}-many-{at}"),
                &[&["alice"], &["bob"]],
            )
        })
        .collect();
    let dashboard = world.dashboard();
    let first = get(&dashboard, "/disagreements?name=many").await;
    first
        .says("many-49")
        .never_says("many-50")
        .has("href=\"/disagreements?name=many&#38;after=50\" rel=\"next\"");
    assert!(!first.body.contains("First page"));
    let last = get(&dashboard, "/disagreements?name=many&after=100").await;
    last.says("many-119").says("First page");
    assert!(!last.body.contains("rel=\"next\""));
    get(&dashboard, "/disagreements?after=500")
        .await
        .says("There are no more. Back to the first page.");
}

#[tokio::test]
async fn an_output_page_answers_what_who_why_and_what_to_do() {
    let page = get(
        &world::busy().dashboard(),
        "/output/sd93jmfypk5pb2qnqy08bq5vflbck6vw",
    )
    .await;
    page.says("linux-6.18.20 /nix/store/sd93jmfypk5pb2qnqy08bq5vflbck6vw-linux-6.18.20 ▲Refused: builders disagree. alice, bob and example each got something different.")
        .says("Value alice bob carol○stale example Votes")
        .says("carol does not vote: the log of carol-ci is stale: connection refused.")
        .says("Line 12 of the policy, rule main")
        .says("rule main quorum=independents level=closure mode=warn fallback=today")
        .says("independents needs 2 of alice, bob, carol, example: 1 votes for A, 1 for B, 1 for C.")
        .says("A and B: different bytes, B has 128 bytes more; the same references.")
        .says("A and C: different bytes of the same size; 1 reference added.")
        .says("only in C: ab7007dfzs69dib6nxcrhhwa3znzqnx3-perl-5.42.0")
        .says("quorix decide /nix/store/sd93jmfypk5pb2qnqy08bq5vflbck6vw-linux-6.18.20")
        .says("nix-store --realise --check --keep-failed /nix/store/0rdfqz09s48ird8yhpbsygancc08hd7n-linux-6.18.20.drv")
        .has("href=\"/policy#L12\"");
}

#[tokio::test]
async fn an_accepted_output_names_the_value_and_its_proof() {
    let page = get(
        &world::busy().dashboard(),
        "/output/dhdysbgmgqp936mvkf5f9s8fh2mk68k5-curl-8.18.0",
    )
    .await;
    page.says("●Accepted. alice and bob built the same bytes.")
        .says("What the value says")
        .says("A alice alice logs.example.org/alice 41,233 121,337")
        .says("Time alone changes this in 2 days, at 2026-11-24 14:23:29 UTC.")
        .has("<title>curl-8.18.0: accepted · Quorix</title>");
}

#[tokio::test]
async fn one_builder_and_no_data_say_what_would_help() {
    let dashboard = world::busy().dashboard();
    let page = get(
        &dashboard,
        "/output/wv0y0zm4d6rkmb6nk87ajz6b00b2w0nd-gimp-3.0.8",
    )
    .await;
    page.says("◐Refused: too few votes.")
        .says("An agreeing vote by bob or example would help.")
        .says("quorix attest /nix/store/wv0y0zm4d6rkmb6nk87ajz6b00b2w0nd-gimp-3.0.8");
    let page = get(&dashboard, "/output/b18akjzsfzvp2nyxrbnwxdsissbjhldj").await;
    assert_eq!(page.status, StatusCode::OK);
    page.says("○Refused: no data.")
        .says("A builder that has it adds the first vote: quorix attest /nix/store/…");
}

#[tokio::test]
async fn decisions_that_are_not_in_force_and_what_blocks_are_shown() {
    let dashboard = world::busy().dashboard();
    let page = get(&dashboard, "/output/71jpi5bf3l22gw0b56r8mfzlrxrrck1i").await;
    page.says("Not in force, only computed (mode=warn): rule main ▲Refused: builders disagree.")
        .says("Tried before, had no answer: rule main");
    let page = get(&dashboard, "/output/g6xagfamh10m5ziwy09xz07hm7nd646c").await;
    page.says("Refused: blocked.").has("The reference that stands in the way: <a href=\"/output/71jpi5bf3l22gw0b56r8mfzlrxrrck1i-ghc-9.10.3\">");
}

#[tokio::test]
async fn a_logs_page_quotes_its_line_of_the_policy_and_its_checkpoint() {
    let page = get(&world::busy().dashboard(), "/logs/alice").await;
    page.says("Log alice ●Live. It last answered 24 s ago.")
        .says("builder alice logs.example.org/alice+4d6a2f01+")
        .says("Line 3 of the policy")
        .says("337 entries still to be indexed")
        .says("logs.example.org/alice 121337 uQ2mJ0x7l8m2yq0aZ3nqk8bQxeLm0cB7mU1RrGSzqN0= — logs.example.org/alice kcB")
        .says("curl -s https://logs.example.org/alice/checkpoint")
        .has("href=\"/disagreements?builder=alice\"");
}

#[tokio::test]
async fn the_policy_is_shown_whole_with_an_anchor_on_each_line() {
    let page = get(&world::busy().dashboard(), "/policy").await;
    page.says("Everything here is decided by these 13 lines.")
        .has("<li id=\"L12\">")
        .says("12rule main quorum=independents level=closure mode=warn fallback=today");
    get(&World::default().with_policy(""), "/policy")
        .await
        .says("There is no policy.")
        .says("nothing is accepted");
}

#[tokio::test]
async fn a_search_for_a_path_leads_to_its_page_and_one_for_a_name_to_a_list() {
    let dashboard = world::busy().dashboard();
    for query in [
        "71jpi5bf3l22gw0b56r8mfzlrxrrck1i",
        "%2Fnix%2Fstore%2F71jpi5bf3l22gw0b56r8mfzlrxrrck1i-ghc-9.10.3%2Fbin%2Fghc",
    ] {
        let page = get(&dashboard, &format!("/search?q={query}")).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER);
        assert!(
            page.header("location")
                .starts_with("/output/71jpi5bf3l22gw0b56r8mfzlrxrrck1i"),
            "{}",
            page.header("location")
        );
    }
    get(&dashboard, "/search?q=linux")
        .await
        .says("1 output is named “linux…”.")
        .says("linux-6.18.20")
        .has("value=\"linux\"");
    get(
        &dashboard,
        "/search?q=sd93jmfypk5pb2qnqy08bq5vflbck6vw-linux-6.18.20.drv",
    )
    .await
    .says("A derivation is not voted on")
    .says("linux-6.18.20");
    get(&dashboard, "/search?q=nothing")
        .await
        .says("No output is named “nothing…”.")
        .says("quorix attest");
    get(&dashboard, "/search")
        .await
        .says("Search for an output");
    assert_eq!(
        get(&dashboard, &format!("/search?q={}", "x".repeat(1_001)))
            .await
            .status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn a_whole_path_in_the_address_leads_to_the_outputs_own_address() {
    let page = get(
        &world::busy().dashboard(),
        "/output/nix/store/71jpi5bf3l22gw0b56r8mfzlrxrrck1i-ghc-9.10.3",
    )
    .await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    assert_eq!(
        page.header("location"),
        "/output/71jpi5bf3l22gw0b56r8mfzlrxrrck1i-ghc-9.10.3"
    );
}
