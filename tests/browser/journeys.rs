//! What visitors do on the dashboard of the demo's run, in the order of their questions: is all well, what about this
//! path, why, who. Each journey begins at an address and ends with what was read.

use std::sync::Arc;

use serde_json::json;

use crate::driver::JavaScript;
use crate::hosts::{Packages, RULE};
use crate::page::Page;
use crate::{Journey, named};

type Journeys = &'static [(&'static str, Journey<Packages>)];

/// What works for everyone.
pub(crate) const EVERYONE: Journeys = named![
    the_overview_says_in_one_sentence_whether_all_is_well_and_shows_the_three_logs,
    the_disagreements_name_each_builders_value_by_a_letter,
    a_filter_by_name_stands_in_the_address_and_is_cleared_by_a_link,
    a_filter_by_builder_stands_in_the_address,
    a_filter_that_matches_nothing_says_so,
    the_page_of_clock_says_who_built_what_and_why_it_is_refused,
    the_quoted_rule_leads_to_its_line_in_the_policy,
    the_page_of_hello_shows_the_dissent_of_carol,
    the_page_of_alarm_leads_to_clock_which_blocks_it,
    a_pasted_store_path_or_hash_leads_to_its_page,
    a_search_by_name_lists_outputs_and_one_that_finds_nothing_says_what_would,
    a_log_shows_its_newest_checkpoint_and_its_disagreements,
    an_output_that_nobody_built_says_how_to_add_a_vote,
    an_address_without_a_page_says_so_and_leads_on,
    pages_are_readable_in_light_and_dark,
    no_page_is_wider_than_a_telephone,
];
/// Comforts that need scripts.
pub(crate) const WITH_JAVASCRIPT: Journeys = named![
    scripts_run,
    the_slash_key_goes_to_the_search_box,
    a_click_copies_a_whole_hash_and_a_whole_command,
    the_browser_refuses_what_the_policy_of_the_pages_forbids,
];
/// That scripts were really off, and that nothing is offered that would need them.
pub(crate) const WITHOUT_JAVASCRIPT: Journeys = named![no_script_runs_and_none_is_missed];

async fn the_overview_says_in_one_sentence_whether_all_is_well_and_shows_the_three_logs(
    page: Page,
    _: Arc<Packages>,
) {
    page.open("/").await;
    assert_eq!(page.title().await, "Overview · Quorix");
    assert_eq!(page.attribute("html", "lang").await.as_deref(), Some("en"));
    assert_eq!(
        page.text("main .lead").await,
        "Of 5 outputs 60.0 % agree, 2 disagree, none has only one builder."
    );

    let logs = page.rows("[aria-labelledby=logs] table").await;
    let names: Vec<&str> = logs.iter().map(|log| log[0].as_str()).collect();
    assert_eq!(names, ["alice", "bob", "carol"]);
    for log in &logs {
        assert!(log[2].contains("live"), "{log:?}");
        assert_eq!(
            log[4..7],
            ["5", "5", "0"],
            "entries, indexed, opaque: {log:?}"
        );
    }

    page.click("main table a[href='/disagreements']").await;
    page.arrives_at("/disagreements").await;
    assert_eq!(page.title().await, "Disagreements · Quorix");
}

async fn the_disagreements_name_each_builders_value_by_a_letter(page: Page, hosts: Arc<Packages>) {
    page.open("/").await;
    page.follow("header nav", "Disagreements").await;
    page.arrives_at("/disagreements").await;
    assert_eq!(page.text("h1").await, "Builders disagree about 2 outputs.");
    assert_eq!(
        page.texts("main thead th.cell").await,
        ["alice", "bob", "carol"]
    );
    assert_eq!(
        listed(&page).await,
        [("clock-0.9", "A B C"), ("hello-2.12", "A A B")].map(owned)
    );

    page.follow("main table", "clock-0.9").await;
    page.arrives_at(&hosts.page("clock")).await;
}

async fn a_filter_by_name_stands_in_the_address_and_is_cleared_by_a_link(
    page: Page,
    _: Arc<Packages>,
) {
    page.open("/disagreements").await;
    page.fill("form.filter [name=name]", "clo").await;
    page.click("form.filter button").await;
    page.arrives_at("/disagreements?name=clo&builder=").await;
    for _ in ["as filtered", "as opened from a bookmark"] {
        assert_eq!(
            page.text("h1").await,
            "Outputs with disagreement whose name contains “clo”"
        );
        assert_eq!(page.value("form.filter [name=name]").await, "clo");
        assert_eq!(listed(&page).await, [("clock-0.9", "A B C")].map(owned));
        page.open("/disagreements?name=clo").await;
    }

    page.follow("form.filter", "Clear the filter").await;
    page.arrives_at("/disagreements").await;
    assert_eq!(page.value("form.filter [name=name]").await, "");
    assert_eq!(listed(&page).await.len(), 2);
}

async fn a_filter_by_builder_stands_in_the_address(page: Page, _: Arc<Packages>) {
    page.open("/disagreements").await;
    assert_eq!(
        page.texts("form.filter option").await,
        ["any", "alice", "bob", "carol"]
    );
    page.fill("form.filter [name=name]", "hello").await;
    page.choose("form.filter select", "carol").await;
    page.click("form.filter button").await;
    page.arrives_at("/disagreements?name=hello&builder=carol")
        .await;
    assert_eq!(page.value("form.filter select").await, "carol");
    assert_eq!(
        page.text("h1").await,
        "Outputs with disagreement whose name contains “hello” and about which carol said something"
    );
    assert_eq!(listed(&page).await, [("hello-2.12", "A A B")].map(owned));
}

async fn a_filter_that_matches_nothing_says_so(page: Page, _: Arc<Packages>) {
    page.open("/disagreements").await;
    page.fill("form.filter [name=name]", "greeting").await;
    page.click("form.filter button").await;
    page.arrives_at("/disagreements?name=greeting&builder=")
        .await;
    assert_eq!(
        page.text("main .empty").await,
        "No output with disagreement matches. Clear the filter to see all of them."
    );
    page.follow("main .empty", "Clear the filter").await;
    page.arrives_at("/disagreements").await;
    assert_eq!(listed(&page).await.len(), 2);
}

async fn the_page_of_clock_says_who_built_what_and_why_it_is_refused(
    page: Page,
    hosts: Arc<Packages>,
) {
    page.open("/disagreements").await;
    page.follow("main table", "clock-0.9").await;
    page.arrives_at(&hosts.page("clock")).await;
    assert!(
        page.title()
            .await
            .starts_with("clock-0.9: refused: builders disagree"),
        "{}",
        page.title().await
    );
    assert_eq!(page.text("h1").await, "clock-0.9");
    assert_eq!(page.text("main .path").await, hosts.path("clock"));
    let verdict = page.text("main .verdict").await;
    let sentence = "Refused: builders disagree. alice, bob and carol each got something different. Nobody's bytes are \
                    served; Nix will build it here.";
    assert!(verdict.ends_with(sentence), "{verdict}");

    assert_eq!(
        page.texts(".matrix thead .who").await,
        ["alice", "bob", "carol"]
    );
    assert_eq!(matrix(&page).await, ["A ● · · 1", "B · ● · 1", "C · · ● 1"]);

    assert_eq!(page.text("figure.rule code").await, RULE);
    let steps = page.texts("main ol > li").await;
    assert!(steps[0].contains("2 of 3 must agree"), "{steps:?}");
    assert!(
        steps[1].contains("3 different values are known"),
        "{steps:?}"
    );

    let proof = page.rows("[aria-labelledby=proof] table").await;
    let said: Vec<[&str; 3]> = proof
        .iter()
        .map(|row| [&*row[0], &*row[1], &*row[3]])
        .collect();
    assert_eq!(
        said,
        [
            ["A", "alice", "alice.example/log"],
            ["B", "bob", "bob.example/log"],
            ["C", "carol", "carol.example/log"],
        ]
    );
}

async fn the_quoted_rule_leads_to_its_line_in_the_policy(page: Page, hosts: Arc<Packages>) {
    page.open(&hosts.page("clock")).await;
    page.follow("figure.rule", "Line 6 of the policy").await;
    page.arrives_at("/policy#L6").await;
    assert_eq!(page.text("#L6 code").await, RULE);
}

async fn the_page_of_hello_shows_the_dissent_of_carol(page: Page, hosts: Arc<Packages>) {
    page.open(&hosts.page("hello")).await;
    let verdict = page.text("main .verdict").await;
    assert!(
        verdict
            .ends_with("Accepted. alice and bob built the same bytes. carol got something else."),
        "{verdict}"
    );
    assert_eq!(matrix(&page).await, ["A ● ● · 2", "B · · ● 1"]);
    let rows = page.texts(".matrix tbody th").await;
    assert!(
        rows[0].contains("accepted") && !rows[1].contains("accepted"),
        "{rows:?}"
    );
    let values = page.rows("[aria-labelledby=values] table").await;
    let voters: Vec<[&str; 2]> = values.iter().map(|row| [&*row[0], &*row[5]]).collect();
    assert_eq!(voters, [["A", "alice and bob"], ["B", "carol"]]);
}

async fn the_page_of_alarm_leads_to_clock_which_blocks_it(page: Page, hosts: Arc<Packages>) {
    page.open(&hosts.page("alarm")).await;
    let verdict = page.text("main .verdict").await;
    assert!(
        verdict
            .contains("Refused: blocked. alice, bob and carol built the same bytes, but it refers"),
        "{verdict}"
    );
    assert_eq!(matrix(&page).await, ["A ● ● ● 3"]);
    page.follow("main .verdict + p", "clock-0.9").await;
    page.arrives_at(&hosts.page("clock")).await;
    assert_eq!(page.text("h1").await, "clock-0.9");
}

async fn a_pasted_store_path_or_hash_leads_to_its_page(page: Page, hosts: Arc<Packages>) {
    const ENTER: &str = "\u{e007}";
    let path = hosts.path("hello");
    let base = path.trim_start_matches("/nix/store/");
    let (hash, _) = base.split_once('-').unwrap();
    for (pasted, leads_to) in [
        (path.clone(), base),
        (format!("{path}/bin/hello"), base),
        (base.to_owned(), base),
        (hash.to_owned(), hash),
        (format!("{hash}.narinfo"), hash),
    ] {
        page.open("/").await;
        page.fill("#q", &(pasted + ENTER)).await;
        page.arrives_at(&format!("/output/{leads_to}")).await;
        assert_eq!(page.text("h1").await, "hello-2.12");
        assert_eq!(page.value("#q").await, path, "the box says what is shown");
    }
}

async fn a_search_by_name_lists_outputs_and_one_that_finds_nothing_says_what_would(
    page: Page,
    hosts: Arc<Packages>,
) {
    page.open("/policy").await;
    page.fill("#q", "al").await;
    page.click("[role=search] button").await;
    page.arrives_at("/search?q=al").await;
    assert_eq!(page.text("h1").await, "1 output is named “al…”.");
    page.follow("main table", "alarm-0.9").await;
    page.arrives_at(&hosts.page("alarm")).await;

    page.fill("#q", "x<b>&\"y").await;
    page.click("[role=search] button").await;
    page.arrives_at("/search?q=x%3Cb%3E%26%22y").await;
    assert_eq!(page.text("h1").await, "No output is named “x<b>&\"y…”.");
    assert_eq!(page.value("#q").await, "x<b>&\"y");
    assert!(
        page.text("main .empty")
            .await
            .contains("quorix attest /nix/store/…")
    );
}

async fn a_log_shows_its_newest_checkpoint_and_its_disagreements(page: Page, hosts: Arc<Packages>) {
    page.open("/").await;
    page.follow("[aria-labelledby=logs]", "carol").await;
    page.arrives_at("/logs/carol").await;
    assert_eq!(page.text("h1").await, "Log carol");
    let texts = page.texts("main pre code").await;
    assert!(
        texts
            .iter()
            .any(|text| text.starts_with(&hosts.checkpoint_of("carol"))),
        "{texts:?}"
    );
    page.follow("main .todo", "Disagreements in which carol has a part")
        .await;
    page.arrives_at("/disagreements?builder=carol").await;
    assert_eq!(listed(&page).await.len(), 2);
}

async fn an_output_that_nobody_built_says_how_to_add_a_vote(page: Page, hosts: Arc<Packages>) {
    let path = hosts.path("hello");
    let (hash, _) = path
        .trim_start_matches("/nix/store/")
        .split_once('-')
        .unwrap();
    let unknown: String = hash.chars().rev().collect();
    page.open(&format!("/output/{unknown}-nobody-1.0")).await;
    let verdict = page.text("main .verdict").await;
    assert!(verdict.contains("Refused: no data."), "{verdict}");
    let empty = page.text("main .empty").await;
    assert!(empty.contains("quorix attest /nix/store/"), "{empty}");
}

async fn an_address_without_a_page_says_so_and_leads_on(page: Page, _: Arc<Packages>) {
    page.open("/no/such/page").await;
    assert_eq!(page.text("h1").await, "There is no page at this address.");
    // Chromium itself remarks on the status.
    page.complains_of("404").await;
    page.follow("main ul", "Disagreements").await;
    page.arrives_at("/disagreements").await;
}

async fn pages_are_readable_in_light_and_dark(page: Page, hosts: Arc<Packages>) {
    let (mut light, mut dark) = (0.0, 0.0);
    for (scheme, ground) in [("light", &mut light), ("dark", &mut dark)] {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        page.devtools("Emulation.setEmulatedMedia", features).await;
        page.open(&hosts.page("clock")).await;
        *ground = luminance(page.colour("html", "background-color").await);
        for css in [
            "h1",
            "main .path",
            "main .verdict strong",
            "main .verdict .mark",
            "figure.rule a",
            ".matrix th",
        ] {
            let ink = luminance(page.colour(css, "color").await);
            let contrast = (ink.max(*ground) + 0.05) / (ink.min(*ground) + 0.05);
            assert!(
                contrast >= 4.5,
                "{scheme}: {css} has a contrast of {contrast:.1}"
            );
        }
    }
    assert!(
        light > 0.8 && dark < 0.05,
        "grounds: light {light:.2}, dark {dark:.2}"
    );
    page.devtools("Emulation.setEmulatedMedia", json!({ "features": [] }))
        .await;
}

async fn no_page_is_wider_than_a_telephone(page: Page, hosts: Arc<Packages>) {
    let telephone = json!({ "width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": false });
    page.devtools("Emulation.setDeviceMetricsOverride", telephone)
        .await;
    let pages = [
        "/",
        "/disagreements",
        "/policy",
        "/logs/alice",
        "/search?q=h",
    ]
    .map(str::to_owned);
    for path in pages
        .into_iter()
        .chain([hosts.page("clock"), hosts.page("alarm")])
    {
        page.open(&path).await;
        let width = page
            .evaluate("return document.documentElement.scrollWidth")
            .await;
        assert!(width.as_u64() <= Some(360), "{path} is {width} wide");
    }
    page.devtools("Emulation.clearDeviceMetricsOverride", json!({}))
        .await;
}

async fn scripts_run(page: Page, _: Arc<Packages>) {
    assert_eq!(page.javascript, JavaScript::On);
    page.open("/disagreements").await;
    page.find(".hash[role=button]").await;
}

async fn the_slash_key_goes_to_the_search_box(page: Page, hosts: Arc<Packages>) {
    page.open(&hosts.page("hello")).await;
    assert_ne!(page.focused().await.as_deref(), Some("q"));
    page.press("/").await;
    assert_eq!(page.focused().await.as_deref(), Some("q"));
    assert_eq!(
        page.value("#q").await,
        hosts.path("hello"),
        "the key itself is not written, what is there stays"
    );
    // All of it is selected: typing replaces it. In the box the key is a character as any.
    page.find("#q").await.send_keys("/nix").await.unwrap();
    assert!(page.value("#q").await.ends_with("/nix"));
}

async fn a_click_copies_a_whole_hash_and_a_whole_command(page: Page, hosts: Arc<Packages>) {
    page.open(&hosts.page("clock")).await;
    let whole = page.attribute(".matrix .hash", "title").await.unwrap();
    assert_eq!(whole.len(), 64);
    page.fill("#q", "").await;
    page.click(".matrix .hash").await;
    page.find(".matrix .hash.copied").await;
    page.find("#q")
        .await
        .send_keys("\u{e009}v\u{e000}")
        .await
        .unwrap();
    assert_eq!(page.value("#q").await, whole);

    assert_eq!(page.text(".todo button.copy").await, "Copy");
    page.click(".todo button.copy").await;
    page.fill("#q", "\u{e009}v\u{e000}").await;
    assert_eq!(
        page.value("#q").await,
        format!("quorix decide {}", hosts.path("clock"))
    );
}

/// Also shows that a complaint would be noticed by all the other journeys.
async fn the_browser_refuses_what_the_policy_of_the_pages_forbids(page: Page, _: Arc<Packages>) {
    page.open("/").await;
    let hostile = r#"
        const add = (name, fill) => document.body.append(Object.assign(document.createElement(name), fill));
        add("script", { textContent: "window.hostile = 1" });
        add("style", { textContent: "body { display: none }" });
        add("img", { src: "http://elsewhere.example/seen.png" });
        add("iframe", { src: "http://elsewhere.example/" });
    "#;
    page.evaluate(hostile).await;
    page.complains_of("elsewhere.example").await;
    assert_eq!(
        page.evaluate("return typeof window.hostile").await,
        "undefined"
    );
    assert!(page.is_visible("main").await);
    page.open("/policy").await;
    page.complaints().await;
    page.requests().await;
}

async fn no_script_runs_and_none_is_missed(page: Page, hosts: Arc<Packages>) {
    assert_eq!(page.javascript, JavaScript::Off);
    page.requests().await;
    page.open(&hosts.page("clock")).await;
    page.find(".matrix .hash").await;
    assert_eq!(
        page.count(".hash[role=button]").await,
        0,
        "the script did not run"
    );
    assert!(
        !page.is_visible("button.copy").await,
        "no button that would do nothing"
    );
    let requests = page.requests().await;
    assert!(
        requests.iter().any(|url| url.ends_with(".css")),
        "{requests:?}"
    );
    assert!(
        !requests.iter().any(|url| url.ends_with(".js")),
        "{requests:?}"
    );
    page.press("/").await;
    assert_ne!(page.focused().await.as_deref(), Some("q"));
}

/// The rows of a list of outputs: name, and the builders' letters in the columns' order. Sorted by name.
async fn listed(page: &Page) -> Vec<(String, String)> {
    let rows = page.rows("main table.matrix").await;
    let mut rows: Vec<_> = rows
        .iter()
        .map(|row| (row[0].clone(), row[2..].join(" ")))
        .collect();
    rows.sort();
    rows
}

fn owned((name, letters): (&str, &str)) -> (String, String) {
    (name.to_owned(), letters.to_owned())
}

/// The matrix of an output's page: letter, who votes for it (●) and who not (·), number of votes.
async fn matrix(page: &Page) -> Vec<String> {
    let mut lines = Vec::new();
    for row in page.rows("[aria-labelledby=who] table").await {
        let (first, rest) = row.split_first().unwrap();
        let (votes, cells) = rest.split_last().unwrap();
        let letter = first.split_whitespace().next().unwrap_or_default();
        let marks = cells.iter().map(|cell| {
            cell.split_whitespace()
                .next()
                .and_then(|word| word.chars().next())
        });
        let marks: String = marks.flat_map(|mark| [mark.unwrap_or('?'), ' ']).collect();
        lines.push(format!("{letter} {marks}{votes}"));
    }
    lines
}

/// Relative luminance as WCAG 2 defines it.
fn luminance(colour: [f64; 3]) -> f64 {
    let linear = colour.map(|part| {
        let part = part / 255.0;
        if part <= 0.040_45 {
            part / 12.92
        } else {
            ((part + 0.055) / 1.055).powf(2.4)
        }
    });
    let [red, green, blue] = linear;
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}
