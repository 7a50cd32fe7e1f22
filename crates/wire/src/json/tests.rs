//! Requests and answers as JSON, and what is refused.

use serde_json::json;

use super::*;
use crate::pb;

fn method(route: &str) -> Method {
    let api = Api::aggregator().unwrap();
    let mut methods = api.methods();
    methods
        .find(|method| method.route() == format!("{BASE}/{route}"))
        .unwrap()
}

#[test]
fn every_method_has_an_address_of_its_own() {
    let api = Api::aggregator().unwrap();
    let mut routes: Vec<String> = api.methods().map(|method| method.route()).collect();
    for route in [
        "decide",
        "decide-many",
        "evidence",
        "logs",
        "overview",
        "search",
        "watch-events",
        "events",
        "exchange-checkpoints",
        "find-outputs",
        "tallies",
    ] {
        assert!(routes.contains(&format!("{BASE}/{route}")), "{routes:?}");
    }
    let all = routes.len();
    routes.sort();
    routes.dedup();
    assert_eq!(routes.len(), all);
    assert_eq!(
        method("decide-many").grpc_path(),
        "/quorix.v1.AggregatorService/DecideMany"
    );
    assert_eq!(
        method("tallies").grpc_path(),
        "/quorix.v1.FollowService/GetTallies"
    );
}

#[test]
fn a_query_and_a_body_say_the_same_request() {
    let expected = pb::GetEvidenceRequest {
        paths: vec!["a".to_owned(), "b".to_owned()],
        closure: true,
    };
    let by_body =
        method("evidence").request_from_json(br#"{"paths": ["a", "b"], "closure": true}"#);
    assert_eq!(by_body, Ok(expected.encode_to_vec()));
    let part = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let parts = [
        part("paths", "a"),
        part("closure", "true"),
        part("paths", "b"),
    ];
    assert_eq!(
        method("evidence").request_from_query(&parts),
        Ok(expected.encode_to_vec())
    );
}

#[test]
fn unknown_fields_wrong_kinds_and_repetitions_are_refused() {
    let part = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let query = |parts: &[(String, String)]| {
        let refused = method("disagreements").request_from_query(parts);
        refused.unwrap_err().to_string()
    };
    assert_eq!(
        query(&[part("pages", "1")]),
        "\"pages\" is no part of this query"
    );
    assert_eq!(
        query(&[part("page_size", "-1")]),
        "page_size: \"-1\" is not a number from 0 to 4294967295"
    );
    assert_eq!(
        query(&[part("name", "a"), part("name", "b")]),
        "name is there twice"
    );
    let evidence = method("evidence");
    for json in [
        r#"{"paths": "a"}"#,
        r#"{"path": ["a"]}"#,
        r#"{"closure": 1}"#,
        "[]",
        "{} {}",
        "",
    ] {
        assert!(
            evidence.request_from_json(json.as_bytes()).is_err(),
            "{json}"
        );
    }
    let deep = "[".repeat(100_000);
    assert!(evidence.request_from_json(deep.as_bytes()).is_err());
}

#[test]
fn an_answer_has_every_field_in_the_json_mapping_of_protobuf() {
    let answer = pb::ListLogsResponse {
        logs: vec![pb::LogStatus {
            name: "alice".to_owned(),
            state: pb::LogState::Live.into(),
            size: u64::MAX,
            checkpoint: vec![0, 255],
            ..pb::LogStatus::default()
        }],
    };
    let json = method("logs")
        .answer_to_json(&answer.encode_to_vec())
        .unwrap();
    let json: Value = serde_json::from_slice(&json).unwrap();
    let log = &json["logs"][0];
    assert_eq!(log["size"], json!("18446744073709551615"));
    assert_eq!(log["checkpoint"], json!("AP8="));
    assert_eq!(log["state"], json!("LOG_STATE_LIVE"));
    assert_eq!(log["reason"], json!(""));
    assert_eq!(
        log.get("equivocation"),
        None,
        "a message that is not there is left out"
    );
    assert!(method("logs").answer_to_json(b"\xff").is_err());
}

#[test]
fn the_document_describes_every_method_in_the_words_of_the_contract() {
    let api = Api::aggregator().unwrap();
    let document = document(&api);
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), api.methods().count());
    assert_eq!(
        paths["/api/v1/decide"]["get"]["summary"],
        "Decides one store path under the aggregator's policy."
    );
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let sentence = &schemas["Decision"]["properties"]["sentence"];
    assert_eq!(
        sentence["description"],
        "One plain sentence or two, first what, then why."
    );
    let text = document.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name} is described nowhere");
    }
    assert!(
        !schemas.contains_key("SubmitRequest"),
        "the log's contract is not here"
    );
}
