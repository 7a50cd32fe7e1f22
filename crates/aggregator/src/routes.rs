//! The aggregator as JSON over HTTP: every method of the gRPC services below `/api/v1`, and the OpenAPI document that
//! describes them.
//!
//! A request is translated (`quorix_wire::json`), handed to the gRPC services in this process, and its answer translated
//! back: limits and errors are those of the services. Beyond them: [`AT_ONCE`] questions and [`STREAMS_AT_ONCE`] streams
//! at a time, [`PATIENCE`] for an answer, and bodies of at most [`REQUEST_BYTES_MAX`].

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Query};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get};
use futures::{StreamExt as _, stream};
use quorix_wire::json::{self, Api, BASE, JsonError, Method};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::client::Grpc;
use tonic::service::Routes;
use tonic::{Code, Request, Status};

use crate::grpc::{self, ANSWER_BYTES_MAX, REQUEST_BYTES_MAX};
use crate::service::Aggregator;

mod raw;

use raw::Raw;

/// Questions that are answered at once; more are told to come again.
pub const AT_ONCE: usize = 64;
/// Streams that are open at once.
pub const STREAMS_AT_ONCE: usize = 64;
/// The longest that one answer may take; less than the server has, so that a refusal is JSON too.
pub const PATIENCE: Duration = Duration::from_secs(50);

/// Everything below `/api`.
///
/// # Errors
/// The descriptors that this program was built with cannot be read.
pub fn router(aggregator: Aggregator) -> Result<Router, JsonError> {
    let api = Api::aggregator()?;
    let document: Bytes = format!("{:#}\n", json::document(&api)).into();
    let (questions, streams) = (Semaphore::new(AT_ONCE), Semaphore::new(STREAMS_AT_ONCE));
    let (questions, streams) = (Arc::new(questions), Arc::new(streams));
    let services = Routes::new(grpc::server(aggregator.clone()))
        .add_service(grpc::follow_server(aggregator))
        .prepare();
    let mut router = Router::new();
    for method in api.methods() {
        let places = if method.is_streaming() {
            streams.clone()
        } else {
            questions.clone()
        };
        let route = method.route();
        let asking = Asking {
            method,
            services: services.clone(),
            places,
        };
        router = router.route(&route, asking.methods());
    }
    let openapi = move || async move { answer("application/json", document) };
    Ok(router
        .route(&format!("{BASE}/openapi.json"), get(openapi))
        .route("/api/{*rest}", any(no_such_address))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX)))
}

/// One method, ready to be asked.
#[derive(Clone)]
struct Asking {
    method: Method,
    services: Routes,
    places: Arc<Semaphore>,
}

impl Asking {
    fn methods(self) -> MethodRouter {
        let by_query = self.clone();
        let takes_a_query = self.method.takes_a_query();
        let post = axum::routing::post(
            move |headers: HeaderMap, body: Result<Bytes, BytesRejection>| async move {
                let request = self.by_body(&headers, body);
                self.asked(request).await
            },
        );
        if !takes_a_query {
            return post;
        }
        post.get(
            move |query: Result<Query<Vec<(String, String)>>, QueryRejection>| async move {
                let request = by_query.by_query(query);
                by_query.asked(request).await
            },
        )
    }

    fn by_body(
        &self,
        headers: &HeaderMap,
        body: Result<Bytes, BytesRejection>,
    ) -> Result<Vec<u8>, Refusal> {
        let kind = headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        // A page of another site can send a form, but no JSON without asking first.
        if kind.split(';').next().unwrap_or_default().trim() != "application/json" {
            return Err(Refusal {
                status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
                code: Code::InvalidArgument,
                message: "send JSON, with `content-type: application/json`".to_owned(),
            });
        }
        let body = body.map_err(|error| Refusal {
            status: error.status(),
            code: Code::InvalidArgument,
            message: format!("the body is not taken: {}", error.body_text()),
        })?;
        Ok(self.method.request_from_json(&body)?)
    }

    fn by_query(
        &self,
        query: Result<Query<Vec<(String, String)>>, QueryRejection>,
    ) -> Result<Vec<u8>, Refusal> {
        let Query(parts) = query.map_err(|error| Refusal {
            status: StatusCode::BAD_REQUEST,
            code: Code::InvalidArgument,
            message: format!("the query is not understood: {}", error.body_text()),
        })?;
        Ok(self.method.request_from_query(&parts)?)
    }

    async fn asked(&self, request: Result<Vec<u8>, Refusal>) -> Response {
        let answered = async {
            let request = request?;
            let place = self.places.clone().try_acquire_owned();
            let place = place.map_err(|_| Refusal {
                status: StatusCode::SERVICE_UNAVAILABLE,
                code: Code::Unavailable,
                message: "too many ask at once; ask again in a moment".to_owned(),
            })?;
            if self.method.is_streaming() {
                return self.stream(request, place).await;
            }
            let answer = tokio::time::timeout(PATIENCE, self.unary(request)).await;
            answer.unwrap_or_else(|_| {
                Err(Refusal::from(Status::deadline_exceeded(format!(
                    "it took longer than {} s; ask about less at once",
                    PATIENCE.as_secs()
                ))))
            })
        };
        answered.await.unwrap_or_else(IntoResponse::into_response)
    }

    async fn unary(&self, request: Vec<u8>) -> Result<Response, Refusal> {
        let (mut grpc, path) = self.ready().await?;
        let answered = grpc.unary(Request::new(request), path, Raw).await?;
        let json = self.method.answer_to_json(&answered.into_inner());
        let json = json.map_err(|error| Status::internal(error.to_string()))?;
        Ok(answer("application/json", json))
    }

    /// One answer a line. An error after the first line cuts the body off.
    async fn stream(
        &self,
        request: Vec<u8>,
        place: OwnedSemaphorePermit,
    ) -> Result<Response, Refusal> {
        let (mut grpc, path) = self.ready().await?;
        let answers = grpc.server_streaming(Request::new(request), path, Raw);
        let answers = answers.await?.into_inner();
        let method = self.method.clone();
        let lines = stream::unfold((answers, place), move |(mut answers, place)| {
            let method = method.clone();
            async move {
                let line = match answers.next().await? {
                    Ok(answer) => method
                        .answer_to_json(&answer)
                        .map_err(|error| Status::internal(error.to_string())),
                    Err(status) => Err(status),
                };
                let line = line.map(|mut line| {
                    line.push(b'\n');
                    line
                });
                Some((line, (answers, place)))
            }
        });
        Ok(answer("application/x-ndjson", Body::from_stream(lines)))
    }

    async fn ready(&self) -> Result<(Grpc<Routes>, PathAndQuery), Refusal> {
        let mut grpc = Grpc::new(self.services.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
        let failed = |error: &dyn std::fmt::Display| Status::internal(error.to_string());
        grpc.ready().await.map_err(|error| failed(&error))?;
        let path = PathAndQuery::try_from(self.method.grpc_path());
        Ok((grpc, path.map_err(|error| failed(&error))?))
    }
}

async fn no_such_address() -> Response {
    Refusal {
        status: StatusCode::NOT_FOUND,
        code: Code::NotFound,
        message: format!("nothing is here; {BASE}/openapi.json describes what there is"),
    }
    .into_response()
}

fn answer(kind: &'static str, body: impl Into<Body>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, body.into()).into_response()
}

/// Why there is no answer.
struct Refusal {
    status: StatusCode,
    code: Code,
    message: String,
}

impl From<JsonError> for Refusal {
    fn from(error: JsonError) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: Code::InvalidArgument,
            message: error.to_string(),
        }
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        let http = match status.code() {
            Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::ResourceExhausted => StatusCode::PAYLOAD_TOO_LARGE,
            Code::DeadlineExceeded | Code::Cancelled => StatusCode::GATEWAY_TIMEOUT,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::FailedPrecondition => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            status: http,
            code: status.code(),
            message: status.message().to_owned(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = serde_json::json!({"code": code(self.code), "message": self.message});
        let mut response = answer("application/json", format!("{body}\n"));
        *response.status_mut() = self.status;
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Name of a gRPC code, as `invalid_argument`.
fn code(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}
