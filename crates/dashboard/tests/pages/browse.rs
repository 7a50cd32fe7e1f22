//! A visitor without a browser.

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use quorix_dashboard::Dashboard;
use quorix_dashboard::routes::router;
use tower::ServiceExt;

use crate::html;

/// What came back.
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Page {
    /// A header's text, empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(|value| value.to_str().unwrap())
            .unwrap_or_default()
    }

    /// The text without tags, each run of white space as one space.
    pub(crate) fn text(&self) -> String {
        html::text(&self.body)
    }

    /// Asserts that the page says this.
    pub(crate) fn says(&self, expected: &str) -> &Self {
        let text = self.text();
        assert!(text.contains(expected), "“{expected}” is not in:\n{text}");
        self
    }

    /// Asserts that the page does not say this.
    pub(crate) fn never_says(&self, unexpected: &str) -> &Self {
        let text = self.text();
        assert!(!text.contains(unexpected), "“{unexpected}” is in:\n{text}");
        self
    }

    /// Asserts that the source has this.
    pub(crate) fn has(&self, expected: &str) -> &Self {
        assert!(
            self.body.contains(expected),
            "`{expected}` is not in:\n{}",
            self.body
        );
        self
    }
}

/// GETs a page. If it is HTML it must be well-formed.
pub(crate) async fn get(dashboard: &Dashboard, path: &str) -> Page {
    request(dashboard, Method::GET, path).await
}

/// The same with any method.
pub(crate) async fn request(dashboard: &Dashboard, method: Method, path: &str) -> Page {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::empty())
        .unwrap();
    let response = router(dashboard.clone()).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let page = Page {
        status: parts.status,
        headers: parts.headers,
        body,
    };
    if page.header("content-type").starts_with("text/html") && !page.body.is_empty() {
        html::assert_well_formed(&page.body);
    }
    page
}
