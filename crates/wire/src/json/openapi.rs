//! The OpenAPI document of the service, made from the same descriptors as its JSON, with the comments of `proto/` as
//! descriptions.

use std::collections::{BTreeMap, VecDeque};

use prost_reflect::{EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::{Api, Method};

/// What every refusal answers.
const ERROR: &str = "Error";

/// The document, of OpenAPI 3.1.
#[must_use]
pub fn document(api: &Api) -> Value {
    let (mut paths, mut messages) = (Map::new(), VecDeque::new());
    for method in api.methods() {
        messages.extend([method.input(), method.output()]);
        paths.insert(method.route(), path(&method));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Quorix aggregator",
            "version": "v1",
            "description": "What an aggregator answers over gRPC, as JSON. None of it needs to be believed: \
                evidence carries checkpoints and proofs. 64-bit numbers are strings, bytes are Base64.",
        },
        "paths": paths,
        "components": {"schemas": schemas(messages)},
    })
}

fn path(method: &Method) -> Value {
    let name = method.0.name();
    let summary = comment(&method.0.parent_file(), method.0.path());
    let kind = if method.is_streaming() {
        "application/x-ndjson"
    } else {
        "application/json"
    };
    let answer = json!({kind: {"schema": reference(method.output().name())}});
    let problem = |description: &str| {
        json!({
            "description": description,
            "content": {"application/json": {"schema": reference(ERROR)}},
        })
    };
    let responses = json!({
        "200": {
            "description": if method.is_streaming() { "One answer a line." } else { "The answer." },
            "content": answer,
        },
        "400": problem("An argument is not understood."),
        "413": problem("The request or its answer would be too large."),
        "500": problem("It failed."),
        "503": problem("Too many ask at once."),
        "504": problem("It took too long."),
    });
    let mut path = Map::new();
    path.insert(
        "post".to_owned(),
        json!({
            "operationId": format!("{name}ByBody"),
            "summary": summary,
            "requestBody": {
                "required": true,
                "content": {"application/json": {"schema": reference(method.input().name())}},
            },
            "responses": responses,
        }),
    );
    if method.takes_a_query() {
        let parameters: Vec<Value> = method
            .input()
            .fields()
            .map(|field| parameter(&field))
            .collect();
        path.insert(
            "get".to_owned(),
            json!({
                "operationId": name,
                "summary": summary,
                "parameters": parameters,
                "responses": responses,
            }),
        );
    }
    Value::Object(path)
}

fn parameter(field: &FieldDescriptor) -> Value {
    json!({
        "name": field.name(),
        "in": "query",
        "required": false,
        "description": comment(&field.parent_file(), field.path()),
        "schema": value(field),
    })
}

/// The schemas of these messages and of all that they consist of.
fn schemas(mut messages: VecDeque<MessageDescriptor>) -> BTreeMap<String, Value> {
    let mut schemas = BTreeMap::new();
    schemas.insert(
        ERROR.to_owned(),
        json!({
            "type": "object",
            "properties": {
                "code": {"type": "string", "description": "Name of the gRPC code, e.g. `invalid_argument`."},
                "message": {"type": "string", "description": "What was wrong, and what to do."},
            },
            "required": ["code", "message"],
            "additionalProperties": false,
        }),
    );
    while let Some(message) = messages.pop_front() {
        if schemas.contains_key(message.name()) {
            continue;
        }
        for field in message.fields() {
            match field.kind() {
                Kind::Message(inner) => messages.push_back(inner),
                Kind::Enum(names) => {
                    schemas.insert(names.name().to_owned(), enumeration(&names));
                }
                _ => {}
            }
        }
        schemas.insert(message.name().to_owned(), schema(&message));
    }
    schemas
}

fn schema(message: &MessageDescriptor) -> Value {
    let properties: Map<String, Value> = message
        .fields()
        .map(|field| (field.name().to_owned(), described(&field)))
        .collect();
    let is_request = message.name().ends_with("Request");
    // A request may leave out what it does not need; an answer has all that are not messages.
    let required: Vec<String> = message
        .fields()
        .filter(|field| !field.supports_presence() && !is_request)
        .map(|field| field.name().to_owned())
        .collect();
    json!({
        "type": "object",
        "description": comment(&message.parent_file(), message.path()),
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn described(field: &FieldDescriptor) -> Value {
    let text = comment(&field.parent_file(), field.path());
    let mut value = value(field);
    if let Some(object) = value.as_object_mut().filter(|_| !text.is_empty()) {
        object.insert("description".to_owned(), text.into());
    }
    value
}

fn value(field: &FieldDescriptor) -> Value {
    let one = match field.kind() {
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Uint32 => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
        Kind::Uint64 => json!({"type": "string", "pattern": "^[0-9]+$"}),
        Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
        Kind::String => json!({"type": "string"}),
        Kind::Enum(names) => reference(names.name()),
        Kind::Message(message) => reference(message.name()),
        // None of the others is in the contract; a new one would be told as anything.
        _ => json!({}),
    };
    if field.is_list() {
        json!({"type": "array", "items": one})
    } else {
        one
    }
}

fn enumeration(names: &EnumDescriptor) -> Value {
    let values: Vec<String> = names
        .values()
        .map(|value| value.name().to_owned())
        .collect();
    json!({
        "type": "string",
        "enum": values,
        "description": comment(&names.parent_file(), names.path()),
    })
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// The comment above something in `proto/`.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let found = info
        .into_iter()
        .flat_map(|info| &info.location)
        .find(|location| location.path == path);
    let text = found.map(|location| location.leading_comments().trim());
    let lines = text.unwrap_or_default().lines().map(str::trim);
    lines.collect::<Vec<_>>().join(" ")
}
