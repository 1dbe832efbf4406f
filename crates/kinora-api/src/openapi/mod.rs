//! The OpenAPI 3.1 document of the whole interface. Schemas come from the types; [`routes`] says which route takes and
//! gives which of them.

mod examples;
mod routes;
mod webhooks;

use std::borrow::Cow;

use schemars::generate::{Contract, SchemaSettings};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

pub use examples::examples;
use routes::{Route, Sends, Takes, routes};

use crate::ErrorBody;

/// The document, with every route and every schema.
pub fn openapi() -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for route in routes(&mut schemas) {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method] = operation(&route, &mut schemas);
    }
    let delivery = schemas.of::<crate::WebhookEvent>();
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Kinora",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Text to video on your own machines.",
            "description": "The routes under `/v1` are those of OpenAI's Videos API, which closed in September 2026; \
                            what it never had is under `/api`.",
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "key": [] }],
        "tags": [
            { "name": "videos", "description": "OpenAI's Videos API." },
            { "name": "native", "description": "What it never had." },
            { "name": "webhooks", "description": "Where webhooks go, as OpenAI's newest SDKs manage it." },
            { "name": "server", "description": "The server itself." },
        ],
        "paths": paths,
        "webhooks": { "video": { "post": webhook(&delivery) } },
        "components": {
            "securitySchemes": { "key": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas.finish(),
        },
    })
}

fn webhook(delivery: &Value) -> Value {
    let header = |name: &str, description: &str| {
        json!({
            "name": name, "in": "header", "required": true, "description": description,
            "schema": { "type": "string" },
        })
    };
    json!({
        "operationId": "receive_video_event",
        "summary": "A video was completed or failed; signed as Standard Webhooks says.",
        "parameters": [
            header(crate::WEBHOOK_ID, "Names the delivery; a repeated one has the same name."),
            header(crate::WEBHOOK_TIMESTAMP, "When it was sent, in seconds since 1970."),
            header(crate::WEBHOOK_SIGNATURE, "Signatures, with spaces between them."),
        ],
        "requestBody": { "required": true, "content": { "application/json": { "schema": delivery } } },
        "responses": { "2XX": { "description": "Received." } },
    })
}

fn operation(route: &Route, schemas: &mut Schemas) -> Value {
    let mut operation = json!({
        "operationId": route.id,
        "tags": [route.tag],
        "summary": route.summary,
    });
    let mut parameters = route.parameters.clone();
    // Every name in braces is a parameter of the path.
    for name in route.path.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
        parameters.push(json!({
            "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 },
        }));
    }
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    let kinds: &[&str] = match route.takes {
        Takes::Nothing => &[],
        Takes::Any(_) => &[
            "application/json",
            "multipart/form-data",
            "application/x-www-form-urlencoded",
        ],
        Takes::Multipart(_) => &["multipart/form-data"],
    };
    if let Takes::Any(schema) | Takes::Multipart(schema) = &route.takes {
        let content: Map<String, Value> = kinds
            .iter()
            .map(|kind| ((*kind).to_owned(), json!({ "schema": schema })))
            .collect();
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    let mut responses = Map::new();
    let content: Map<String, Value> = match &route.sends {
        Sends::Json(schema) => [("application/json".to_owned(), json!({ "schema": schema }))]
            .into_iter()
            .collect(),
        Sends::Files(kinds) => kinds.iter().map(|kind| ((*kind).to_owned(), json!({}))).collect(),
        Sends::Events(schema) => {
            let event = json!({
                "schema": { "type": "string", "description": "Server-sent events; the data of each is a JobEvent." },
                "x-event-schema": schema,
            });
            [("text/event-stream".to_owned(), event)].into_iter().collect()
        }
    };
    responses.insert(
        "200".to_owned(),
        json!({ "description": "Success.", "content": content }),
    );
    if matches!(route.sends, Sends::Files(_)) {
        responses.insert(
            "206".to_owned(),
            json!({ "description": "The range that was asked for.", "content": content }),
        );
        responses.insert("416".to_owned(), json!({ "description": "No such range." }));
    }
    if let Some((status, schema)) = &route.also {
        let content = json!({ "application/json": { "schema": schema } });
        responses.insert(
            status.to_string(),
            json!({ "description": "The same, when something fails.", "content": content }),
        );
    }
    let error = schemas.of::<ErrorBody>();
    for status in route.errors {
        let content = json!({ "application/json": { "schema": error } });
        responses.insert(
            status.to_string(),
            json!({ "description": reason(*status), "content": content }),
        );
    }
    operation["responses"] = Value::Object(responses);
    if route.open {
        operation["security"] = json!([]);
    }
    operation
}

fn reason(status: u16) -> &'static str {
    match status {
        400 => "The request is wrong; `param` says where.",
        401 => "No key, or an unknown one.",
        403 => "The key may not do this.",
        404 => "There is no such thing, or not yet, or no more.",
        408 => "The body did not come in time.",
        409 => "The state does not allow it.",
        413 => "The body is too large.",
        415 => "The body is of a type that is not read.",
        422 => "The idempotency key was used with another body.",
        429 => "Too many requests, or too many unfinished videos.",
        500 => "The server is at fault.",
        501 => "This server does not have it.",
        503 => "The server cannot work now.",
        507 => "There is no room for more files.",
        _ => "Another failure.",
    }
}

/// Collects the schemas of types, each under its name.
struct Schemas {
    generator: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = Cow::Borrowed("/components/schemas");
            settings.meta_schema = None;
            // What is always sent is required, also where it may be null.
            settings.contract = Contract::Serialize;
        });
        Self {
            generator: settings.into_generator(),
        }
    }

    /// A reference to the schema of this type.
    fn of<T: JsonSchema + ?Sized>(&mut self) -> Value {
        self.generator.subschema_for::<T>().to_value()
    }

    fn finish(mut self) -> Value {
        let mut schemas = self.generator.take_definitions(true);
        for (name, example) in examples() {
            if let Some(schema) = schemas.get_mut(name).and_then(Value::as_object_mut) {
                let list = schema.entry("examples").or_insert_with(|| json!([]));
                list.as_array_mut()
                    .into_iter()
                    .for_each(|list| list.push(example.clone()));
            }
        }
        Value::Object(schemas)
    }
}
