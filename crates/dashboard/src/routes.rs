//! The router: addresses, status codes and headers. Only GET and HEAD; no cookies, no sessions, nothing from
//! anywhere else. Every response carries the same strict headers, so that even a page with hostile text in it can
//! run nothing and load nothing.

use askama::Template;
use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use serde::Deserialize;

use crate::assets;
use crate::format::segment;
use crate::service::{Dashboard, Found};
use crate::view::disagreements::Filter;
use crate::view::problem::Problem;

mod downloads;

/// Nothing but the own style sheet, script and icon; forms lead only here; no framing.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// All pages of the dashboard.
pub fn router(dashboard: Dashboard) -> Router {
    Router::new()
        .route("/", get(overview))
        .route("/disagreements", get(disagreements))
        .route("/output/{*path}", get(output))
        .route("/logs/{name}", get(log))
        .route("/logs/{name}/{part}", get(downloads::part))
        .route("/events.atom", get(feed))
        .route("/search", get(search))
        .route("/policy", get(policy))
        .route("/assets/{file}", get(asset))
        .fallback(async || page(Err::<Problem, _>(Box::new(Problem::no_page()))))
        .method_not_allowed_fallback(async || {
            page(Err::<Problem, _>(Box::new(Problem::only_reading())))
        })
        .layer(from_fn_with_state(dashboard.clone(), headers))
        .with_state(dashboard)
}

async fn overview(State(dashboard): State<Dashboard>) -> Response {
    page(dashboard.overview().await)
}

async fn disagreements(
    State(dashboard): State<Dashboard>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Response {
    match filter {
        Ok(Query(filter)) => page(dashboard.disagreements(&filter).await),
        Err(_) => problem(Problem::bad_address("query")),
    }
}

async fn output(
    State(dashboard): State<Dashboard>,
    path: Result<Path<String>, PathRejection>,
) -> Response {
    let Ok(Path(path)) = path else {
        return problem(Problem::no_page());
    };
    match path.rsplit_once('/') {
        // A whole store path leads to the one address of its page.
        Some((_, base)) if !base.is_empty() => {
            Redirect::to(&format!("/output/{}", segment(base))).into_response()
        }
        _ => page(dashboard.output(&path).await),
    }
}

async fn log(
    State(dashboard): State<Dashboard>,
    name: Result<Path<String>, PathRejection>,
) -> Response {
    match name {
        Ok(Path(name)) => page(dashboard.log(&name).await),
        Err(_) => problem(Problem::no_page()),
    }
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    q: String,
}

async fn search(
    State(dashboard): State<Dashboard>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let Ok(Query(asked)) = asked else {
        return problem(Problem::bad_address("query"));
    };
    match dashboard.search(&asked.q).await {
        Ok(Found::Output(output)) => {
            Redirect::to(&format!("/output/{}", segment(&output))).into_response()
        }
        Ok(Found::List(list)) => page(Ok(*list)),
        Err(error) => problem(*error),
    }
}

async fn policy(State(dashboard): State<Dashboard>) -> Response {
    page(Ok(dashboard.policy()))
}

async fn feed(State(dashboard): State<Dashboard>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/atom+xml; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    match dashboard.feed().await {
        Ok(feed) => (headers, feed).into_response(),
        Err(error) => problem(*error),
    }
}

async fn asset(request: Request) -> Response {
    let Some(asset) = assets::find(request.uri().path()) else {
        return problem(Problem::no_page());
    };
    let headers = [
        (header::CONTENT_TYPE, asset.media_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, asset.contents).into_response()
}

/// Writes a page, or the page of what went wrong.
fn page(page: Result<impl Template, Box<Problem>>) -> Response {
    match page {
        Ok(page) => html(StatusCode::OK, &page),
        Err(error) => problem(*error),
    }
}

fn problem(problem: Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = html(status, &problem);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

fn html(status: StatusCode, page: &impl Template) -> Response {
    let (status, text) = match page.render() {
        Ok(text) => (status, text),
        Err(error) => {
            tracing::error!(%error, "a page could not be written");
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                Problem::internal().render().unwrap_or_default(),
            )
        }
    };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, text).into_response()
}

/// Puts the headers on every response, and counts it.
async fn headers(State(dashboard): State<Dashboard>, request: Request, next: Next) -> Response {
    const HEADERS: [(HeaderName, &str); 6] = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    dashboard.metrics().response(response.status().as_u16());
    response
}
