//! The dashboard in a real browser, over a run of real processes whose packages the real Nix built: what visitors do
//! there, each once with JavaScript on and once off. Nothing is asked of the internet.
//! Needs Chromium with its driver, Nix, a static busybox, and the program's path in QUORIX_BIN: `make test` sees to all.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

#[path = "browser/driver.rs"]
mod driver;
#[path = "browser/hosts.rs"]
mod hosts;
#[path = "browser/journeys.rs"]
mod journeys;
#[path = "browser/lists.rs"]
mod lists;
#[path = "browser/page.rs"]
mod page;

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::driver::{Driver, JavaScript, driver_name};
use crate::hosts::{Builders, Packages};
use crate::page::Page;

/// What one visitor does, as a task of its own: that one fails keeps no other from being played.
pub(crate) type Journey<Hosts> = fn(Page, Arc<Hosts>) -> JoinHandle<()>;

/// Names journeys after the functions that play them.
macro_rules! named {
    ($($journey:ident),+ $(,)?) => {
        &[$((stringify!($journey), |page, hosts| tokio::spawn($journey(page, hosts)))),+]
    };
}
pub(crate) use named;

#[tokio::test(flavor = "multi_thread")]
async fn visitors_of_a_real_run_find_out_who_built_what_with_and_without_javascript() {
    let hosts = Arc::new(Packages::build().await);
    let dashboard = hosts.dashboard();
    let (on, off) = tokio::join!(
        play(
            &[journeys::EVERYONE, journeys::WITH_JAVASCRIPT],
            &hosts,
            &dashboard,
            JavaScript::On
        ),
        play(
            &[journeys::EVERYONE, journeys::WITHOUT_JAVASCRIPT],
            &hosts,
            &dashboard,
            JavaScript::Off
        ),
    );
    assert_all_arrived(on, off);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_dashboard_says_what_fills_it_and_a_long_list_has_pages_with_and_without_javascript()
 {
    let hosts = Arc::new(Builders::without_builds().await);
    let dashboard = hosts.dashboard();
    let (on, off) = tokio::join!(
        play(&[lists::EMPTY], &hosts, &dashboard, JavaScript::On),
        play(&[lists::EMPTY], &hosts, &dashboard, JavaScript::Off),
    );
    assert_all_arrived(on, off);

    hosts.disagree_about(&lists::packages()).await;
    let (on, off) = tokio::join!(
        play(&[lists::LONG], &hosts, &dashboard, JavaScript::On),
        play(&[lists::LONG], &hosts, &dashboard, JavaScript::Off),
    );
    assert_all_arrived(on, off);
}

#[tokio::test]
async fn without_the_driver_the_tests_fail_with_a_sentence() {
    let failed = Driver::start("no-such-chromedriver").err().unwrap();
    let sentence = "`no-such-chromedriver` does not start: No such file or directory (os error 2). These tests drive Chromium: \
                    `make test` installs it, or name its driver in QUORIX_CHROMEDRIVER and itself in QUORIX_CHROMIUM.";
    assert_eq!(failed, sentence);
}

/// Plays journeys one after the other in one browser. After each, the browser must have nothing to complain of and
/// must have asked nobody but the dashboard. Returns what failed; why is printed where it failed.
async fn play<Hosts>(
    journeys: &[&[(&str, Journey<Hosts>)]],
    hosts: &Arc<Hosts>,
    dashboard: &str,
    javascript: JavaScript,
) -> Vec<String> {
    let driver = Driver::start(&driver_name()).unwrap_or_else(|sentence| panic!("{sentence}"));
    let page = driver
        .open(dashboard, javascript)
        .await
        .unwrap_or_else(|sentence| panic!("{sentence}"));
    let mut failed = Vec::new();
    for (name, journey) in journeys.iter().copied().flatten() {
        let arrived = journey(page.clone(), Arc::clone(hosts)).await.is_ok();
        let complaints = page.complaints().await;
        let strangers = page.requests_to_strangers().await;
        if !arrived || !complaints.is_empty() || !strangers.is_empty() {
            failed.push(format!("JavaScript {javascript:?}: {name} (console: {complaints:?}; others asked: {strangers:?})"));
        }
    }
    failed
}

fn assert_all_arrived(on: Vec<String>, off: Vec<String>) {
    let failed = [on, off].concat();
    assert!(
        failed.is_empty(),
        "these journeys failed, for what is printed above: {failed:#?}"
    );
}
