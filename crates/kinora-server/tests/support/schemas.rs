//! Holds answers against the published description of the interface.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};

use jsonschema::Validator;
use serde_json::{Value, json};

use super::Reply;

pub fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(kinora_api::openapi)
}

/// The operation of this method and path; words of a template win over names in braces.
fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let path = path.split('?').next().unwrap();
    let path = if path.starts_with("/videos") {
        format!("/v1{path}")
    } else {
        path.to_owned()
    };
    let given: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let parts: Vec<&str> = template.split('/').collect();
        let same = |(part, given): (&&str, &&str)| part == given || (part.starts_with('{') && !given.is_empty());
        parts.len() == given.len() && parts.iter().zip(&given).all(same)
    };
    let paths = document()["paths"].as_object().unwrap();
    let found = paths.iter().filter(|(template, _)| fits(template));
    let (_, item) = found.min_by_key(|(template, _)| template.matches('{').count())?;
    item.get(method.to_ascii_lowercase())
}

/// The JSON of an answer has to be what the document says of its route and status; an error has to be an error object.
#[track_caller]
pub fn check(method: &str, path: &str, reply: &Reply) {
    let is_json = reply
        .header("content-type")
        .is_some_and(|kind| kind.starts_with("application/json"));
    if reply.status >= 400 && method != "HEAD" {
        assert!(is_json, "an error without an error object: {reply:?}");
    }
    if !is_json || reply.body.is_empty() {
        return;
    }
    let known = operation(method, path).and_then(|operation| {
        let answers = &operation["responses"][reply.status.to_string()];
        answers["content"]["application/json"]["schema"]["$ref"].as_str()
    });
    let reference = match known {
        Some(reference) => reference,
        None if reply.status >= 400 => "#/components/schemas/ErrorBody",
        None => panic!(
            "{method} {path} gives {} as JSON, of which the document says nothing",
            reply.status
        ),
    };
    let json = reply.json();
    let errors = errors_of(reference, &json);
    assert!(
        errors.is_empty(),
        "{method} {path}: {json} is no {reference}: {errors:?}"
    );
}

fn errors_of(reference: &str, json: &Value) -> Vec<String> {
    static VALIDATORS: OnceLock<Mutex<HashMap<String, Validator>>> = OnceLock::new();
    let mut validators = VALIDATORS.get_or_init(Mutex::default).lock().unwrap();
    let validator = validators.entry(reference.to_owned()).or_insert_with(|| {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$ref": reference,
            "components": document()["components"],
        });
        jsonschema::validator_for(&schema).unwrap()
    });
    validator.iter_errors(json).map(|error| error.to_string()).collect()
}
