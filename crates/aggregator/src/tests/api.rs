//! The service as JSON: every route that the OpenAPI document names answers, and what it answers matches its schema;
//! pages, limits and refusals; closures in one call.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, Response, StatusCode, header};
use futures::StreamExt as _;
use quorix_testkit::entries::{a_path, an_attestation};
use quorix_trust::decision::Outcome;
use quorix_wire::channel;
use quorix_wire::client::AggregatorClient;
use serde_json::{Value, json};
use tonic::transport::Server;
use tower::ServiceExt as _;

use super::fakes::FakeLog;
use super::world::{World, absolute, policy};
use crate::closure::DECISIONS_PER_ANSWER;
use crate::grpc;
use crate::routes::router;

const BODY_MAX: usize = 64 * 1024 * 1024;

/// Two logs that agree on hello and disagree about app and clock.
async fn a_world() -> (World, FakeLog, Router) {
    let (alice, bob) = (FakeLog::start("alice").await, FakeLog::start("bob").await);
    for (log, value) in [(&alice, "A"), (&bob, "B")] {
        let (app, clock) = (an_attestation().of("app"), an_attestation().of("clock"));
        log.append(&[
            an_attestation().referring_to(&["glibc"]).bytes(),
            app.saying(value).bytes(),
            clock.saying(value).bytes(),
        ]);
    }
    let mut world = World::of(&[&alice, &bob]);
    world.look_at_all().await;
    let router = router(world.aggregator.clone()).unwrap();
    (world, alice, router)
}

async fn asked(router: &Router, method: Method, uri: &str, body: &str) -> Response<Body> {
    let request = Request::builder().method(method).uri(uri);
    let request = request.header(header::CONTENT_TYPE, "application/json");
    let request = request.body(Body::from(body.to_owned())).unwrap();
    router.clone().oneshot(request).await.unwrap()
}

async fn json_of(response: Response<Body>) -> Value {
    let kind = response.headers()[header::CONTENT_TYPE].clone();
    assert_eq!(kind, "application/json");
    let bytes = to_bytes(response.into_body(), BODY_MAX).await.unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

async fn get(router: &Router, uri: &str) -> (StatusCode, Value) {
    let response = asked(router, Method::GET, uri, "").await;
    (response.status(), json_of(response).await)
}

async fn post(router: &Router, uri: &str, body: &Value) -> (StatusCode, Value) {
    let response = asked(router, Method::POST, uri, &body.to_string()).await;
    (response.status(), json_of(response).await)
}

/// What is asked at a route: a query and the same as a body. `None` for a route that this test does not know.
fn sample(route: &str) -> Option<(String, Value)> {
    let hello = a_path("hello").hash_part().to_string();
    Some(match route {
        "/api/v1/decide" => (format!("path={hello}"), json!({"path": hello})),
        "/api/v1/decide-many" | "/api/v1/decide-stream" | "/api/v1/evidence" => (
            format!("paths={hello}&closure=true"),
            json!({"paths": [hello], "closure": true}),
        ),
        "/api/v1/search" => ("query=hello".to_owned(), json!({"query": "hello"})),
        "/api/v1/disagreements" => ("page_size=1".to_owned(), json!({"page_size": 1})),
        "/api/v1/find-outputs" => (String::new(), json!({"system": "x86_64-linux"})),
        "/api/v1/exchange-checkpoints" => (String::new(), json!({"seen": []})),
        "/api/v1/logs"
        | "/api/v1/overview"
        | "/api/v1/watch-events"
        | "/api/v1/events"
        | "/api/v1/tallies" => (String::new(), json!({})),
        _ => return None,
    })
}

#[tokio::test]
async fn every_route_of_the_document_answers_and_every_answer_matches_its_schema() {
    let (mut world, alice, router) = a_world().await;
    let (status, document) = get(&router, "/api/v1/openapi.json").await;
    assert_eq!(status, StatusCode::OK);
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 13, "{paths:?}");
    for (route, verbs) in paths {
        for (verb, operation) in verbs.as_object().unwrap() {
            let known = sample(route);
            let (query, body) = known.clone().unwrap_or((String::new(), json!({})));
            let response = match verb.as_str() {
                "get" => asked(&router, Method::GET, &format!("{route}?{query}"), "").await,
                _ => asked(&router, Method::POST, route, &body.to_string()).await,
            };
            let status = response.status().as_u16();
            assert!(
                status == 200 || (known.is_none() && status == 400),
                "{verb} {route}: {status}"
            );
            let described = &operation["responses"][status.to_string()]["content"];
            let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap();
            let schema = &described[kind]["schema"];
            assert!(
                schema.is_object(),
                "{verb} {route} answers {kind}: {described}"
            );
            let answer = if kind == "application/x-ndjson" {
                let mut lines = response.into_body().into_data_stream();
                if route.ends_with("events") {
                    // Something happens while it is watched.
                    let new = an_attestation().of(&format!("{verb}-news"));
                    alice.append(&[new.clone().bytes(), new.saying("C").bytes()]);
                    assert!(world.look("alice").await);
                }
                let line = lines.next().await.unwrap().unwrap();
                serde_json::from_slice(&line).unwrap()
            } else {
                json_of(response).await
            };
            matches(&document, schema, &answer)
                .unwrap_or_else(|error| panic!("{verb} {route}: {error} in {answer}"));
        }
    }
}

/// Whether a value is as a schema of the document says: of the keywords that the document uses.
fn matches(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').unwrap();
        let schema = document.pointer(pointer).ok_or(reference)?;
        return matches(document, schema, value);
    }
    let wrong = || Err(format!("{value} is not {schema}"));
    match schema["type"].as_str().ok_or("a schema without a type")? {
        "object" => {
            let (Some(object), Some(properties)) =
                (value.as_object(), schema["properties"].as_object())
            else {
                return wrong();
            };
            for name in schema["required"].as_array().unwrap() {
                if !object.contains_key(name.as_str().unwrap()) {
                    return Err(format!("{name} is missing"));
                }
            }
            object.iter().try_for_each(|(name, value)| {
                let schema = properties
                    .get(name)
                    .ok_or(format!("{name} is not described"))?;
                matches(document, schema, value)
            })
        }
        "array" => match value.as_array() {
            Some(items) => items
                .iter()
                .try_for_each(|item| matches(document, &schema["items"], item)),
            None => wrong(),
        },
        "string" => {
            let text = value.as_str().ok_or(format!("{value} is no text"))?;
            let is_named = |names: &Vec<Value>| names.iter().any(|name| name == text);
            let is_digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty();
            let is_base64 = text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
            if schema["enum"]
                .as_array()
                .is_some_and(|names| !is_named(names))
                || (schema["pattern"] == "^[0-9]+$" && !is_digits)
                || (schema["contentEncoding"] == "base64" && !is_base64)
            {
                return wrong();
            }
            Ok(())
        }
        "integer" if value.is_u64() => Ok(()),
        "boolean" if value.is_boolean() => Ok(()),
        _ => wrong(),
    }
}

#[test]
fn the_check_of_schemas_finds_what_does_not_match() {
    let document = json!({"components": {"schemas": {"One": {
        "type": "object",
        "properties": {"size": {"type": "string", "pattern": "^[0-9]+$"}},
        "required": ["size"],
    }}}});
    let schema = json!({"type": "array", "items": {"$ref": "#/components/schemas/One"}});
    assert_eq!(matches(&document, &schema, &json!([{"size": "7"}])), Ok(()));
    for wrong in [
        json!({}),
        json!([{}]),
        json!([{"size": 7}]),
        json!([{"size": "seven"}]),
        json!([{"size": "7", "more": 1}]),
    ] {
        assert!(matches(&document, &schema, &wrong).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn disagreements_are_paged_by_a_cursor_to_the_last() {
    let (_world, _alice, router) = a_world().await;
    let (mut token, mut found) = (String::new(), Vec::new());
    loop {
        let uri = format!("/api/v1/disagreements?page_size=1&page_token={token}");
        let (status, page) = get(&router, &uri).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        for output in page["outputs"].as_array().unwrap() {
            found.push(output["store_path"].as_str().unwrap().to_owned());
        }
        token = page["next_page_token"].as_str().unwrap().to_owned();
        if token.is_empty() {
            break;
        }
    }
    found.sort();
    let mut expected = ["app", "clock"].map(|name| absolute(&a_path(name)));
    expected.sort();
    assert_eq!(found, expected);
    let (status, refused) = get(&router, "/api/v1/disagreements?page_token=x").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(
        refused,
        json!({"code": "invalid_argument", "message": "page_token: it is not one that an answer before gave"})
    );
}

#[tokio::test]
async fn what_is_not_understood_or_too_large_is_refused_as_json() {
    let (_world, _alice, router) = a_world().await;
    let refused = async |response: Response<Body>| {
        let status = response.status().as_u16();
        let answer = json_of(response).await;
        (status, answer["code"].as_str().unwrap().to_owned())
    };
    let no_path = asked(&router, Method::GET, "/api/v1/decide?path=nonsense", "").await;
    assert_eq!(refused(no_path).await, (400, "invalid_argument".to_owned()));
    let unknown = asked(&router, Method::GET, "/api/v1/decide?paths=x", "").await;
    assert_eq!(refused(unknown).await, (400, "invalid_argument".to_owned()));
    let no_json = asked(&router, Method::POST, "/api/v1/decide", "{").await;
    assert_eq!(refused(no_json).await, (400, "invalid_argument".to_owned()));
    let nowhere = asked(&router, Method::GET, "/api/v1/nothing", "").await;
    assert_eq!(refused(nowhere).await, (404, "not_found".to_owned()));
    let large = format!("{{\"path\": \"{}\"}}", "x".repeat(5 * 1024 * 1024));
    let large = asked(&router, Method::POST, "/api/v1/decide", &large).await;
    assert_eq!(refused(large).await, (413, "invalid_argument".to_owned()));
    let many: Vec<String> = (0..10_001)
        .map(|_| a_path("hello").hash_part().to_string())
        .collect();
    let (status, answer) = post(&router, "/api/v1/decide-many", &json!({"paths": many})).await;
    assert_eq!(
        (status, &answer["code"]),
        (StatusCode::BAD_REQUEST, &json!("invalid_argument"))
    );

    let form = Request::post("/api/v1/decide").header(header::CONTENT_TYPE, "text/plain");
    let form = form.body(Body::from("{\"path\": \"x\"}")).unwrap();
    let form = router.clone().oneshot(form).await.unwrap();
    assert_eq!(refused(form).await, (415, "invalid_argument".to_owned()));
}

#[tokio::test]
async fn a_closure_is_decided_in_one_call_and_told_in_parts() {
    let names: Vec<String> = (0..300).map(|number| format!("p{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (alice, bob) = (FakeLog::start("alice").await, FakeLog::start("bob").await);
    for log in [&alice, &bob] {
        let app = an_attestation().of("app").referring_to(&names);
        let all = names.iter().map(|name| an_attestation().of(name).bytes());
        log.append(&all.chain([app.bytes()]).collect::<Vec<_>>());
    }
    let mut world = World::new(policy(
        &(alice.line(&[]) + &bob.line(&[])),
        2,
        "alice bob",
        "closure",
    ));
    world.look_at_all().await;

    let (channel, incoming) = channel::in_memory();
    let serving = Server::builder()
        .add_service(grpc::server(world.aggregator.clone()))
        .serve_with_incoming(incoming);
    tokio::spawn(serving);
    let client = AggregatorClient::new(channel, world.policy.clone());
    let app = a_path("app").to_string();
    let decisions = client.decide_closure(vec![app.clone()]).await.unwrap();
    assert_eq!(decisions.len(), 301);
    assert_eq!(decisions[0].path, absolute(&a_path("app")));
    let accepted = quorix_wire::pb::Outcome::Accepted;
    assert!(decisions.iter().all(|one| one.outcome() == accepted));

    let in_process = world
        .aggregator
        .decide_closure(std::slice::from_ref(&app))
        .await
        .unwrap();
    assert!(
        in_process
            .iter()
            .all(|one| one.outcome == Outcome::Accepted)
    );
    let router = router(world.aggregator.clone()).unwrap();
    let body = json!({"paths": [app], "closure": true}).to_string();
    let response = asked(&router, Method::POST, "/api/v1/decide-stream", &body).await;
    let bytes = to_bytes(response.into_body(), BODY_MAX).await.unwrap();
    let parts: Vec<Value> = bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let sizes: Vec<usize> = parts
        .iter()
        .map(|part| part["decisions"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes, [DECISIONS_PER_ANSWER, 301 - DECISIONS_PER_ANSWER]);
}
