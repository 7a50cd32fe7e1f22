//! What visitors see before anything is attested, and on lists that are longer than a page.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::hosts::Builders;
use crate::page::Page;
use crate::{Journey, named};

type Journeys = &'static [(&'static str, Journey<Builders>)];

/// Before anything is attested.
pub(crate) const EMPTY: Journeys = named![
    the_overview_says_that_nothing_is_known_and_how_to_attest,
    the_list_of_disagreements_says_what_would_appear_there,
];
/// After the builders disagreed about [`packages`].
pub(crate) const LONG: Journeys = named![
    the_overview_shows_the_first_disagreements_and_leads_to_all,
    every_disagreement_is_on_one_page_of_the_list,
    pages_keep_the_filter,
];

/// More than two pages of them.
pub(crate) fn packages() -> Vec<String> {
    (0..120)
        .map(|number| format!("package-{number:03}"))
        .collect()
}

async fn the_overview_says_that_nothing_is_known_and_how_to_attest(page: Page, _: Arc<Builders>) {
    page.open("/").await;
    assert_eq!(
        page.text("main .lead").await,
        "Nothing is known yet. No followed log has an attestation of a build."
    );
    assert!(
        page.text("main .empty")
            .await
            .contains("quorix attest $(nix-build)")
    );
    assert_eq!(
        page.rows("[aria-labelledby=logs] table").await.len(),
        2,
        "the logs are shown all the same"
    );
}

async fn the_list_of_disagreements_says_what_would_appear_there(page: Page, _: Arc<Builders>) {
    page.open("/disagreements").await;
    assert_eq!(
        page.text("h1").await,
        "No builders disagree about any output."
    );
    assert_eq!(page.count("main table").await, 0);
    let empty = page.text("main .empty").await;
    assert!(
        empty.starts_with("An output appears here when two builders attest different fingerprints"),
        "{empty}"
    );
}

async fn the_overview_shows_the_first_disagreements_and_leads_to_all(page: Page, _: Arc<Builders>) {
    page.open("/").await;
    assert_eq!(
        page.text("main .lead").await,
        "Of 120 outputs 0 % agree, 120 disagree, none has only one builder."
    );
    assert_eq!(page.rows("main table.matrix").await.len(), 10);
    page.follow("main", "All 120 disagreements").await;
    page.arrives_at("/disagreements").await;
    assert_eq!(
        page.text("h1").await,
        "Builders disagree about 120 outputs."
    );
}

async fn every_disagreement_is_on_one_page_of_the_list(page: Page, _: Arc<Builders>) {
    page.open("/disagreements").await;
    let (sizes, names) = read_to_the_end(&page).await;
    assert_eq!(sizes, [50, 50, 20]);
    assert_eq!(names, packages().into_iter().collect());

    page.follow("nav.pages", "First page").await;
    page.arrives_at("/disagreements").await;
    assert_eq!(page.count("nav.pages a[rel=next]").await, 1);
}

async fn pages_keep_the_filter(page: Page, _: Arc<Builders>) {
    page.open("/disagreements?name=-0&builder=bob").await;
    let (sizes, names) = read_to_the_end(&page).await;
    assert_eq!(sizes.iter().sum::<usize>(), 100);
    assert_eq!(
        names,
        packages()
            .into_iter()
            .filter(|name| name.contains("-0"))
            .collect()
    );
    let address = page.address().await;
    assert!(
        address.starts_with("/disagreements?name=-0&builder=bob&after="),
        "{address}"
    );

    page.follow("main", "First page").await;
    page.arrives_at("/disagreements?name=-0&builder=bob").await;
    assert_eq!(page.value("form.filter select").await, "bob");
}

/// Follows “Next page” to the end. Returns how many outputs each page had, and all their names.
async fn read_to_the_end(page: &Page) -> (Vec<usize>, BTreeSet<String>) {
    let (mut sizes, mut names) = (Vec::new(), BTreeSet::new());
    loop {
        let outputs = page.texts("main tbody th a").await;
        sizes.push(outputs.len());
        names.extend(outputs);
        if page.count("nav.pages a[rel=next]").await == 0 {
            return (sizes, names);
        }
        let next = page
            .attribute("nav.pages a[rel=next]", "href")
            .await
            .unwrap();
        page.follow("nav.pages", "Next page").await;
        page.arrives_at(&next).await;
    }
}
