//! The aggregator's services as JSON: their methods, their requests and their answers, as the descriptors of `proto/` have
//! them. A method that is added there has its JSON, its address and its place in the OpenAPI document at once.
//!
//! The form is protobuf's own JSON mapping with the field names of `proto/`: 64-bit numbers and bytes (Base64) are
//! strings, values of enumerations are their names. Answers have every field that is not a message, also where it is
//! empty. Requests may leave out fields, and may have no unknown ones.

use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor,
    MethodDescriptor, SerializeOptions, ServiceDescriptor,
};
use serde_json::{Map, Value};

mod openapi;

pub use openapi::document;

/// Where the methods are, below the root of a server.
pub const BASE: &str = "/api/v1";
/// The services that are told as JSON.
const SERVICES: [&str; 2] = ["quorix.v1.AggregatorService", "quorix.v1.FollowService"];

/// The services.
#[derive(Clone, Debug)]
pub struct Api(Vec<ServiceDescriptor>);

/// One method of one of them.
#[derive(Clone, Debug)]
pub struct Method(MethodDescriptor);

/// What is no JSON of a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(String);

impl Api {
    /// The aggregator's services.
    ///
    /// # Errors
    /// The descriptors that this program was built with cannot be read.
    pub fn aggregator() -> Result<Self, JsonError> {
        let pool = DescriptorPool::decode(crate::pb::FILE_DESCRIPTOR_SET)
            .map_err(|error| JsonError(error.to_string()))?;
        let service = |name: &str| {
            let service = pool.get_service_by_name(name);
            service.ok_or_else(|| JsonError(format!("there is no service {name}")))
        };
        let services: Result<_, _> = SERVICES.into_iter().map(service).collect();
        Ok(Self(services?))
    }

    /// Their methods, in the order of `proto/`.
    pub fn methods(&self) -> impl Iterator<Item = Method> + '_ {
        self.0
            .iter()
            .flat_map(ServiceDescriptor::methods)
            .map(Method)
    }
}

impl Method {
    /// Its address: `/api/v1/decide-many` for `DecideMany`. `Get` and `List` are left out: `/api/v1/logs`.
    #[must_use]
    pub fn route(&self) -> String {
        let name = self.0.name();
        let name = ["Get", "List"]
            .iter()
            .find_map(|verb| name.strip_prefix(verb).filter(|rest| !rest.is_empty()))
            .unwrap_or(name);
        let mut route = format!("{BASE}/");
        for (position, letter) in name.chars().enumerate() {
            if letter.is_ascii_uppercase() && position > 0 {
                route.push('-');
            }
            route.push(letter.to_ascii_lowercase());
        }
        route
    }

    /// Its path in gRPC.
    #[must_use]
    pub fn grpc_path(&self) -> String {
        let service = self.0.parent_service();
        format!("/{}/{}", service.full_name(), self.0.name())
    }

    /// True if it answers with any number of messages, one after the other.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        self.0.is_server_streaming()
    }

    /// True if it can be asked without a body: every field of the request is a text, a number or a yes, or several of
    /// one.
    #[must_use]
    pub fn takes_a_query(&self) -> bool {
        let input = self.0.input();
        let mut fields = input.fields();
        fields.all(|field| !matches!(field.kind(), Kind::Message(_) | Kind::Bytes))
    }

    /// The encoded request that a JSON object says.
    ///
    /// # Errors
    /// It is no JSON, or not of this request: an unknown field, or a value of another kind.
    pub fn request_from_json(&self, json: &[u8]) -> Result<Vec<u8>, JsonError> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let options = DeserializeOptions::new().deny_unknown_fields(true);
        let wrong = |error: serde_json::Error| JsonError(error.to_string());
        let message =
            DynamicMessage::deserialize_with_options(self.0.input(), &mut deserializer, &options)
                .map_err(wrong)?;
        deserializer.end().map_err(wrong)?;
        Ok(message.encode_to_vec())
    }

    /// The encoded request that the parts of a query say. A part that is there several times is a list.
    ///
    /// # Errors
    /// As [`request_from_json`](Self::request_from_json).
    pub fn request_from_query(&self, parts: &[(String, String)]) -> Result<Vec<u8>, JsonError> {
        let mut object = Map::new();
        for (name, text) in parts {
            let field = self.0.input().get_field_by_name(name);
            let field = field.ok_or_else(|| {
                let shown: String = name.chars().take(80).collect();
                JsonError(format!("{shown:?} is no part of this query"))
            })?;
            let value = value_of(&field, text)?;
            if field.is_list() {
                let list = object
                    .entry(name.clone())
                    .or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = list {
                    list.push(value);
                }
            } else if object.insert(name.clone(), value).is_some() {
                return Err(JsonError(format!("{name} is there twice")));
            }
        }
        self.request_from_json(Value::Object(object).to_string().as_bytes())
    }

    /// An encoded answer as JSON, in one line.
    ///
    /// # Errors
    /// It is no answer of this method.
    pub fn answer_to_json(&self, answer: &[u8]) -> Result<Vec<u8>, JsonError> {
        let message = DynamicMessage::decode(self.0.output(), answer)
            .map_err(|error| JsonError(error.to_string()))?;
        let options = SerializeOptions::new()
            .skip_default_fields(false)
            .use_proto_field_name(true);
        let mut json = Vec::with_capacity(answer.len());
        let mut serializer = serde_json::Serializer::new(&mut json);
        message
            .serialize_with_options(&mut serializer, &options)
            .map_err(|error| JsonError(error.to_string()))?;
        Ok(json)
    }

    fn input(&self) -> MessageDescriptor {
        self.0.input()
    }

    fn output(&self) -> MessageDescriptor {
        self.0.output()
    }
}

/// A part of a query as JSON of its field.
fn value_of(field: &FieldDescriptor, text: &str) -> Result<Value, JsonError> {
    let wrong = |expected: &str| {
        let shown: String = text.chars().take(80).collect();
        JsonError(format!("{}: {shown:?} is not {expected}", field.name()))
    };
    match field.kind() {
        Kind::Bool => match text {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(wrong("true or false")),
        },
        Kind::Uint32 => text
            .parse::<u32>()
            .map(Value::from)
            .map_err(|_| wrong("a number from 0 to 4294967295")),
        // The mapping has 64-bit numbers and values of enumerations as texts.
        _ => Ok(Value::String(text.to_owned())),
    }
}

#[cfg(test)]
mod tests;
