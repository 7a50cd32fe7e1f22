//! Headers, statuses and assets.

use axum::http::{Method, StatusCode};
use quorix_dashboard::error::SourceError;

use crate::browse::{get, request};
use crate::world::{self, World};

const CSP: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

#[tokio::test]
async fn every_response_forbids_everything_that_the_pages_do_not_need() {
    let dashboard = world::quarantined().dashboard();
    let found = get(&dashboard, "/").await.body;
    let style = found
        .split('"')
        .find(|part| part.starts_with("/assets/") && part.ends_with(".css"))
        .unwrap()
        .to_owned();
    for path in [
        "/",
        "/disagreements",
        "/policy",
        "/nowhere",
        "/search?q=a",
        "/logs/bob/first-checkpoint",
        "/search?q=71jpi5bf3l22gw0b56r8mfzlrxrrck1i",
        &style,
    ] {
        let page = get(&dashboard, path).await;
        assert_eq!(page.header("content-security-policy"), CSP, "{path}");
        assert_eq!(page.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(page.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(
            page.header("cross-origin-opener-policy"),
            "same-origin",
            "{path}"
        );
        assert_eq!(page.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(page.header("set-cookie"), "", "{path}");
    }
}

#[tokio::test]
async fn assets_may_be_kept_for_ever_and_pages_never() {
    let dashboard = World::default().dashboard();
    let page = get(&dashboard, "/").await;
    assert_eq!(page.header("cache-control"), "no-store");
    let assets: Vec<&str> = page
        .body
        .split('"')
        .filter(|part| part.starts_with("/assets/"))
        .collect();
    assert_eq!(assets.len(), 3);
    for (asset, media_type) in assets.iter().zip([
        "text/css; charset=utf-8",
        "image/svg+xml",
        "text/javascript; charset=utf-8",
    ]) {
        let asset = get(&dashboard, asset).await;
        assert_eq!(asset.status, StatusCode::OK);
        assert_eq!(asset.header("content-type"), media_type);
        assert_eq!(
            asset.header("cache-control"),
            "public, max-age=31536000, immutable"
        );
        assert!(
            !asset.body.contains("http://") || media_type == "image/svg+xml",
            "loads from elsewhere"
        );
    }
    assert_eq!(
        get(&dashboard, "/assets/quorix.00000000.css").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn what_is_not_there_says_so_in_the_same_look() {
    let dashboard = world::busy().dashboard();
    for (path, says) in [
        ("/nowhere", "There is no page at this address."),
        ("/logs/dave", "The aggregator follows no log “dave”."),
        (
            "/logs/alice/first-checkpoint",
            "There is no page at this address.",
        ),
        ("/logs/alice/secrets", "There is no page at this address."),
        (
            "/output/hello",
            "That is neither a store path nor a hash part.",
        ),
        ("/output/%ff", "There is no page at this address."),
    ] {
        let page = get(&dashboard, path).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}");
        page.says(says).has("role=\"search\"");
    }
}

#[tokio::test]
async fn an_aggregator_that_is_away_is_told_with_what_to_do() {
    for (failure, status, says) in [
        (
            SourceError::Away("the aggregator cannot be reached: connection refused".into()),
            503,
            "The aggregator does not answer. The aggregator cannot be reached: connection refused.",
        ),
        (
            SourceError::Slow,
            503,
            "The aggregator did not answer within 10 seconds.",
        ),
        (
            SourceError::Broken("the aggregator answered without a decision".into()),
            502,
            "The aggregator's answer makes no sense.",
        ),
        (
            SourceError::Refused("page token is not valid".into()),
            400,
            "It says: page token is not valid",
        ),
    ] {
        let dashboard = World {
            failure: Some(failure),
            ..World::default()
        }
        .dashboard();
        for path in [
            "/",
            "/disagreements",
            "/output/71jpi5bf3l22gw0b56r8mfzlrxrrck1i",
            "/logs/alice",
            "/logs/alice/checkpoint",
            "/search?q=hello",
        ] {
            let page = get(&dashboard, path).await;
            assert_eq!(page.status.as_u16(), status, "{path}");
            page.says(says);
            assert_eq!(
                page.header("retry-after"),
                if status == 503 { "10" } else { "" }
            );
        }
        assert_eq!(get(&dashboard, "/policy").await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn only_reading_is_possible() {
    let dashboard = World::default().dashboard();
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let page = request(&dashboard, method, "/").await;
        assert_eq!(
            (page.status, page.header("allow")),
            (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD")
        );
        page.says("The dashboard only shows.");
    }
    let head = request(&dashboard, Method::HEAD, "/").await;
    assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""));
}

#[tokio::test]
async fn responses_and_failures_are_counted() {
    let mut registry = Default::default();
    let world = World {
        failure: Some(SourceError::Slow),
        ..World::default()
    };
    let dashboard = quorix_dashboard::Dashboard::with_source(
        std::sync::Arc::new(world),
        String::new(),
        std::sync::Arc::new(|| 1),
        &mut registry,
    );
    get(&dashboard, "/search?q=x").await;
    get(&dashboard, "/policy").await;
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(
        text.contains("quorix_dashboard_responses_total{status=\"503\"} 1"),
        "{text}"
    );
    assert!(
        text.contains("quorix_dashboard_responses_total{status=\"200\"} 1"),
        "{text}"
    );
    assert!(
        text.contains("quorix_dashboard_aggregator_failures_total{kind=\"slow\"} 1"),
        "{text}"
    );
}
