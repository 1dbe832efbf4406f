//! The document, the types and the readers say the same.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kinora_api::*;
use serde_json::{Value, json};

fn validator(document: &Value, name: &str) -> jsonschema::Validator {
    // The document as a schema whose root refers to one of its components.
    let mut root = document.clone();
    root["$ref"] = json!(format!("#/components/schemas/{name}"));
    jsonschema::draft202012::new(&root).unwrap()
}

fn problems(document: &Value, name: &str, value: &Value) -> Vec<String> {
    let errors = validator(document, name);
    errors.iter_errors(value).map(|error| error.to_string()).collect()
}

#[test]
fn every_example_fits_its_schema_and_every_schema_of_an_object_has_one() {
    let document = openapi();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut with_example = BTreeSet::new();
    for (name, value) in examples() {
        assert!(schemas.contains_key(name), "{name} is not in the document");
        assert_eq!(
            problems(&document, name, &value),
            Vec::<String>::new(),
            "{name}: {value}"
        );
        with_example.insert(name);
    }
    // These stand inside others, whose examples hold them.
    let inside = [
        "CharacterRef",
        "Check",
        "ErrorObject",
        "LoraRef",
        "ModelView",
        "Shot",
        "VideoError",
        "WebhookData",
    ];
    for (name, schema) in schemas {
        let object = schema["type"] == "object";
        let known = with_example.contains(name.as_str()) || inside.contains(&name.as_str());
        assert!(!object || known, "{name} has no example");
    }
}

#[test]
fn schemas_are_strict_enough_to_find_mistakes() {
    let document = openapi();
    let mut wrong = 0;
    for (name, value) in examples() {
        let required = document["components"]["schemas"][name]["required"].clone();
        for member in required.as_array().into_iter().flatten().filter_map(Value::as_str) {
            for broken in [None, Some(json!({ "no": true })), Some(json!(-1.5))] {
                let mut value = value.clone();
                let members = value.as_object_mut().unwrap();
                match broken {
                    None => drop(members.remove(member)),
                    Some(broken) if member != "video" && member != "error" => {
                        members.insert(member.to_owned(), broken);
                    }
                    Some(_) => continue,
                }
                if name == "JobView" && member == "metadata" {
                    continue;
                }
                let free_map = (name, member) == ("Health", "checks");
                assert!(
                    free_map || !problems(&document, name, &value).is_empty(),
                    "{name}.{member}: {value}"
                );
                wrong += 1;
            }
        }
    }
    assert!(wrong > 300, "{wrong}");
    let video = document["components"]["schemas"]["Video"]["required"].clone();
    assert_eq!(
        video.as_array().unwrap().len(),
        13,
        "the members that OpenAI always sends"
    );
}

/// What a reader ignores or refuses in a body.
fn read(name: &str, body: &Value) -> Result<Vec<String>, ApiError> {
    let bytes = serde_json::to_vec(body).unwrap();
    let (body, rules) = (Body::Json(&bytes), Rules::sora());
    match name {
        "CreateVideo" => CreateVideo::read(body, &rules).map(|request| request.ignored),
        "RemixVideo" => RemixVideo::read(body, &rules).map(|request| request.ignored),
        "EditVideo" => EditVideo::read(body, &rules).map(|request| request.ignored),
        "ExtendVideo" => ExtendVideo::read(body, &rules).map(|request| request.ignored),
        "MakeVariants" => MakeVariants::read(body, &rules).map(|request| request.ignored),
        "CreateStoryboard" => CreateStoryboard::read(body, &rules).map(|request| request.ignored),
        "BlendVideos" => BlendVideos::read(body, &rules).map(|request| request.ignored),
        "LoopVideo" => LoopVideo::read(body, &rules).map(|request| request.ignored),
        "CreateWebhookEndpoint" => CreateWebhookEndpoint::read(body, &rules).map(|request| request.ignored),
        "UpdateWebhookEndpoint" => UpdateWebhookEndpoint::read(body, &rules).map(|request| request.ignored),
        "RotateWebhookSecret" => RotateWebhookSecret::read(body, &rules).map(|request| request.ignored),
        "TestWebhookEndpoint" => TestWebhookEndpoint::read(body, &rules).map(|request| request.ignored),
        other => panic!("no request: {other}"),
    }
}

const REQUESTS: [&str; 12] = [
    "CreateVideo",
    "RemixVideo",
    "EditVideo",
    "ExtendVideo",
    "MakeVariants",
    "CreateStoryboard",
    "BlendVideos",
    "LoopVideo",
    "CreateWebhookEndpoint",
    "UpdateWebhookEndpoint",
    "RotateWebhookSecret",
    "TestWebhookEndpoint",
];

#[test]
fn readers_take_every_field_of_their_schema() {
    let document = openapi();
    let mut fields = 0;
    for (name, example) in examples().into_iter().filter(|(name, _)| REQUESTS.contains(name)) {
        assert_eq!(read(name, &example), Ok(Vec::new()), "{name}: {example}");
        for field in document["components"]["schemas"][name]["properties"]
            .as_object()
            .unwrap()
            .keys()
        {
            // A value that no field takes: whoever reads the field complains about it.
            let mut body = example.clone();
            body[field] = json!([[[]]]);
            let error = read(name, &body).expect_err(field);
            assert!(
                error.object.message.contains(&format!("'{field}")),
                "{name}.{field}: {error}"
            );
            fields += 1;
        }
    }
    assert!(fields > 200, "{fields}");
}

#[test]
fn readers_take_nothing_that_their_schema_hides() {
    // Every name that a property has anywhere; those that a request does not have, its reader has to ignore.
    let document = openapi();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let names: BTreeSet<&String> = schemas
        .values()
        .filter_map(|schema| schema["properties"].as_object())
        .flat_map(|all| all.keys())
        .collect();
    for (name, example) in examples().into_iter().filter(|(name, _)| REQUESTS.contains(name)) {
        let own = schemas[name]["properties"].as_object().unwrap();
        for field in names.iter().filter(|field| !own.contains_key(**field)) {
            let mut body = example.clone();
            body[*field] = json!([[[1]]]);
            match read(name, &body) {
                Ok(ignored) => assert_eq!(ignored, [(*field).clone()], "{name}"),
                Err(error) => assert_eq!(
                    error.object.code.as_deref(),
                    Some("unsupported_parameter"),
                    "{name}.{field}"
                ),
            }
        }
    }
}

#[test]
fn the_ten_endpoints_and_the_native_ones_are_there() {
    let document = openapi();
    let paths = document["paths"].as_object().unwrap();
    let mut ids = BTreeMap::new();
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            assert_eq!(ids.insert(id, format!("{method} {path}")), None, "{path}");
            assert!(operation["responses"].get("200").is_some());
            assert!(
                operation["security"].is_null() || path == "/healthz" || path == "/readyz" || path == "/openapi.json"
            );
            let named = operation["parameters"]
                .as_array()
                .map_or(0, |all| all.iter().filter(|p| p["in"] == "path").count());
            assert_eq!(named, path.matches('{').count(), "{path}");
        }
    }
    let v1: Vec<&str> = ids
        .values()
        .map(String::as_str)
        .filter(|route| route.contains(" /v1/"))
        .collect();
    let of_webhooks = |route: &&&str| route.contains(" /v1/webhook_");
    assert_eq!(v1.iter().filter(of_webhooks).count(), 8, "as the SDKs manage webhooks");
    assert_eq!(v1.len(), 10 + 8);
    for route in [
        "post /v1/videos",
        "get /v1/videos",
        "get /v1/videos/{video_id}",
        "delete /v1/videos/{video_id}",
        "get /v1/videos/{video_id}/content",
        "post /v1/videos/{video_id}/remix",
        "post /v1/videos/edits",
        "post /v1/videos/extensions",
        "post /v1/videos/characters",
        "get /v1/videos/characters/{character_id}",
    ] {
        assert!(v1.contains(&route), "{route}");
    }
    assert_eq!(document["openapi"], "3.1.0");
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_used() {
    let document = openapi();
    let text = document.to_string();
    let mut used = BTreeSet::new();
    for rest in text.split("\"$ref\":\"").skip(1) {
        let pointer = rest.split('"').next().unwrap();
        assert!(
            document.pointer(pointer.strip_prefix('#').unwrap()).is_some(),
            "{pointer}"
        );
        used.insert(pointer.rsplit('/').next().unwrap());
    }
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in schemas.keys() {
        assert!(used.contains(name.as_str()), "{name} is used nowhere");
    }
}

#[test]
fn every_change_says_that_there_may_be_no_room_and_every_body_that_it_may_not_come() {
    let document = openapi();
    let mut changes = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(method, _)| *method != "get") {
            let names = |status: &str| operation["responses"][status].is_object();
            assert!(names("503") && names("507"), "{method} {path}");
            assert!(operation["requestBody"].is_null() || names("408"), "{method} {path}");
            changes += 1;
        }
    }
    assert!(changes > 15, "{changes}");
}

#[test]
fn the_document_is_the_one_that_was_looked_at() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/openapi.json");
    let now = openapi();
    if std::env::var_os("KINORA_UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, format!("{}\n", serde_json::to_string_pretty(&now).unwrap())).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    // As values: the order of members depends on features that other crates of a build turn on.
    let then: Value = serde_json::from_str(&text).unwrap();
    let pointers = |value: &Value| {
        let mut found = BTreeMap::new();
        leaves(value, String::new(), &mut found);
        found
    };
    let (now, then) = (pointers(&now), pointers(&then));
    let of_now: Vec<_> = now
        .iter()
        .filter(|(place, leaf)| then.get(*place) != Some(leaf))
        .collect();
    let of_then: Vec<_> = then
        .iter()
        .filter(|(place, leaf)| now.get(*place) != Some(leaf))
        .collect();
    assert!(
        of_now.is_empty() && of_then.is_empty(),
        "{} holds {of_then:?}, the types give {of_now:?}; hint: KINORA_UPDATE_SNAPSHOTS=1 cargo test -p kinora-api \
         writes it, look at the change",
        path.display()
    );
}

/// Every value that has nothing inside, with the way to it.
fn leaves(value: &Value, place: String, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            members
                .iter()
                .for_each(|(name, inner)| leaves(inner, format!("{place}/{name}"), found));
        }
        Value::Array(items) if !items.is_empty() => {
            items
                .iter()
                .enumerate()
                .for_each(|(at, inner)| leaves(inner, format!("{place}/{at}"), found));
        }
        leaf => drop(found.insert(place, leaf.clone())),
    }
}
