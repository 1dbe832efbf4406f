//! `POST /v1/videos` and `GET /v1/videos/{video_id}`.

use kinora_api::Rules;
use serde_json::{Value, json};

use crate::support::client::Form;
use crate::support::media::{png, png_bomb};
use crate::support::runner::FAIL;
use crate::support::{Running, server, server_and_worker, server_with};

fn work_of(running: &Running, video: &Value) -> Value {
    let id = kinora_jobs::JobId(video["id"].as_str().unwrap().to_owned());
    kinora_jobs::Store::get(&*running.store, &id).unwrap().request
}

#[test]
fn a_new_video_has_the_published_form() {
    let running = server();
    let reply = running.post("/v1/videos", &json!({ "prompt": "a red ball" }));
    let video = reply.expect(200);
    let id = video["id"].as_str().unwrap();
    assert!(id.starts_with("video_") && id.len() == 54);
    let created = video["created_at"].as_u64().unwrap();
    // The id is made a moment before the record.
    assert!(created - u64::from_str_radix(&id[6..14], 16).unwrap() <= 1);
    let seed = &video["seed"];
    let expected = json!({
        "id": id, "object": "video", "created_at": created, "status": "queued", "completed_at": null, "error": null,
        "expires_at": null, "model": "sora-2", "progress": 0, "prompt": "a red ball", "remixed_from_video_id": null,
        "seconds": "4", "size": "720x1280", "seed": seed,
    });
    assert_eq!(video, expected);
    for header in ["openai-processing-ms", "openai-poll-after-ms"] {
        assert!(reply.header(header).unwrap().parse::<u64>().is_ok());
    }
    assert_eq!(reply.header("openai-version"), Some("2020-10-01"));
    assert_eq!(reply.header("kinora-ignored-fields"), None);
    let again = running.get(&format!("/v1/videos/{id}"));
    assert_eq!(again.expect(200), video);
    assert!(again.header("openai-poll-after-ms").is_some());
}

#[test]
fn all_encodings_give_the_same_work() {
    let running = server();
    let json = running.post(
        "/v1/videos",
        &json!({ "prompt": "a & b", "seconds": 8, "size": "1280x720", "seed": 7,
        "negative_prompt": "rain", "metadata": { "a": "1" }, "loras": ["warm"], "num_inference_steps": 12 }),
    );
    let form = Form::new(&[
        ("prompt", "a & b"),
        ("seconds", "8"),
        ("size", "1280x720"),
        ("seed", "7"),
        ("negative_prompt", "rain"),
        ("metadata[a]", "1"),
        ("loras[]", "warm"),
        ("num_inference_steps", "12"),
    ]);
    let multipart = running.post_form("/v1/videos", &form);
    let body = b"prompt=a+%26+b&seconds=8&size=1280x720&seed=7&negative_prompt=rain&metadata%5Ba%5D=1&loras%5B%5D=warm\
        &num_inference_steps=12";
    let kind = [("content-type", "application/x-www-form-urlencoded")];
    let urlencoded = running.send("POST", "/v1/videos", &kind, body);
    let works: Vec<Value> = [json, multipart, urlencoded]
        .iter()
        .map(|reply| work_of(&running, &reply.expect(200)))
        .collect();
    assert_eq!(works[0], works[1]);
    assert_eq!(works[0], works[2]);
    assert_eq!(works[0]["seed"], 7);
    assert_eq!(works[0]["options"]["metadata"], json!({ "a": "1" }));
}

#[test]
fn it_is_made_and_says_how_it_went() {
    let running = server_and_worker();
    let video = running.finished("a fox");
    assert_eq!(
        (&video["progress"], &video["error"], &video["fps"]),
        (&json!(100), &Value::Null, &json!(24.0))
    );
    assert!(video["completed_at"].as_u64() >= video["created_at"].as_u64());
    let reply = running.get(&format!("/v1/videos/{}", video["id"].as_str().unwrap()));
    assert_eq!(reply.header("openai-poll-after-ms"), None);

    let made = running.post("/v1/videos", &json!({ "prompt": FAIL })).expect(200);
    let failed = running.wait_for(made["id"].as_str().unwrap(), "failed");
    assert_eq!(
        failed["error"],
        json!({ "code": "moderation_blocked", "message": "It was refused." })
    );
    assert_eq!(
        (&failed["completed_at"], &failed["expires_at"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn a_length_in_frames_is_known_when_it_is_made() {
    let running = server_and_worker();
    let asked = json!({ "prompt": "x", "num_frames": 36 });
    let made = running.post("/v1/videos", &asked).expect(200);
    let video = running.wait_for(made["id"].as_str().unwrap(), "completed");
    assert_eq!((&video["seconds"], &video["num_frames"]), (&json!("1.5"), &json!(36)));
    let asked = json!({ "prompt": "x", "num_frames": 36, "fps": 12 });
    assert_eq!(running.post("/v1/videos", &asked).expect(200)["seconds"], "3");
}

#[test]
fn what_is_wrong_is_said_in_the_published_words() {
    let running = server();
    let post = |body: Value| running.post("/v1/videos", &body);
    post(json!({})).expect_code(400, "missing_required_parameter", Some("prompt"));
    post(json!({ "prompt": "" })).expect_code(400, "empty_string", Some("prompt"));
    post(json!({ "prompt": "x", "seconds": "5" })).expect_error(
        400,
        "invalid_value",
        Some("seconds"),
        "Invalid value: '5'. Supported values are: '4', '8', '12', '16', and '20'.",
    );
    post(json!({ "prompt": "x", "size": "1920x1080" })).expect_error(
        400,
        "invalid_value",
        Some("size"),
        "Invalid value: '1920x1080'. Supported values are: '720x1280' and '1280x720'.",
    );
    post(json!({ "prompt": "x", "model": "veo" })).expect_code(400, "model_not_found", Some("model"));
    post(json!({ "prompt": "x", "input_reference": { "file_id": "file_1" } })).expect_code(
        400,
        "invalid_value",
        Some("input_reference"),
    );
    post(json!({ "prompt": "x", "characters": [{ "id": "char_1" }] })).expect_error(
        404,
        "not_found",
        Some("character_id"),
        "Character with id 'char_1' not found.",
    );
    assert_eq!(running.jobs(), 0);
}

#[test]
fn several_videos_are_several_jobs() {
    let running = server();
    let reply = running.post("/v1/videos", &json!({ "prompt": "x", "n": 3, "seed": 40 }));
    let first = reply.expect(200);
    let others: Vec<&str> = reply.header("kinora-also-made").unwrap().split(", ").collect();
    assert_eq!((others.len(), &first["seed"]), (2, &json!(40)));
    let list = running.get("/v1/videos?order=asc").expect(200);
    let seeds: Vec<&Value> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|video| &video["seed"])
        .collect();
    assert_eq!(seeds, [40, 41, 42]);
    assert_eq!(list["data"][2]["id"], others[1]);
    let listed = running
        .post("/v1/videos", &json!({ "prompt": "x", "seed": [9, 3] }))
        .expect(200);
    assert_eq!(listed["seed"], 9);
    assert_eq!(running.jobs(), 5);
}

#[test]
fn the_same_key_is_the_same_job() {
    let running = server();
    let picture = png(64, 32);
    let form =
        Form::new(&[("prompt", "x")]).with_file("input_reference", "upload", "application/octet-stream", &picture);
    let send = |form: &Form| {
        let headers = [("content-type", &*form.content_type()), ("idempotency-key", "abc")];
        running.send("POST", "/v1/videos", &headers, &form.bytes())
    };
    let first = send(&form).expect(200);
    assert_eq!(send(&form).expect(200), first);
    assert_eq!(running.jobs(), 1);
    let other = Form::new(&[("prompt", "x")]).with_file("input_reference", "upload", "image/png", &png(64, 34));
    send(&other).expect_error(
        422,
        "idempotency_key_reused",
        None,
        "This Idempotency-Key was used before with a different request.",
    );
    let key = |key: &str, body: Value| running.post_with("/v1/videos", &body, &[("idempotency-key", key)]);
    let several = key("n", json!({ "prompt": "x", "n": 2 }));
    let again = key("n", json!({ "prompt": "x", "n": 2 }));
    assert_eq!(several.expect(200), again.expect(200));
    assert_eq!(several.header("kinora-also-made"), again.header("kinora-also-made"));
    assert_eq!(running.jobs(), 3);
    key(&"k".repeat(256), json!({ "prompt": "x" })).expect_code(400, "invalid_value", Some("idempotency-key"));
    key("kö", json!({ "prompt": "x" })).expect_code(400, "invalid_value", Some("idempotency-key"));
    assert_eq!(running.jobs(), 3);
}

#[test]
fn pictures_are_looked_into_before_they_are_kept() {
    let running = server();
    let send = |bytes: &[u8]| {
        let form = Form::new(&[("prompt", "x")]).with_file("input_reference", "a.png", "image/png", bytes);
        running.post_form("/v1/videos", &form)
    };
    // Of any size, and as a data URL too.
    let work = work_of(&running, &send(&png(33, 20)).expect(200));
    let key = work["task"]["image"].as_str().unwrap().to_owned();
    assert!(key.starts_with("uploads/") && key.len() == 8 + 64, "{key}");
    let url = kinora_api::Upload::from_bytes(None, None, png(33, 20))
        .to_data_url()
        .unwrap();
    let json = running.post(
        "/v1/videos",
        &json!({ "prompt": "x", "input_reference": { "image_url": url } }),
    );
    assert_eq!(work_of(&running, &json.expect(200))["task"]["image"], key);
    assert!(running.folder.path().join("files").join(&key).exists());

    send(b"GIF89a not a picture for us").expect_error(
        400,
        "unsupported_file_mimetype",
        Some("input_reference"),
        "Invalid file 'input_reference': unsupported mimetype ('image/gif'). Supported file formats are 'image/jpeg', \
         'image/png', and 'image/webp'.",
    );
    let bomb = send(&png_bomb(60_000, 60_000)).expect_code(400, "invalid_file", Some("input_reference"));
    assert!(bomb.contains("at most"), "{bomb}");
    send(&png_bomb(8000, 8000)).expect_code(400, "invalid_file", Some("input_reference"));
    let whole = png(64, 64);
    send(&whole[..whole.len() / 2]).expect_code(400, "invalid_file", Some("input_reference"));
    assert_eq!(running.jobs(), 2);
    assert_eq!(running.temporary_files(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn fields_that_mean_nothing_are_told() {
    let running = server();
    let reply = running.post("/v1/videos", &json!({ "prompt": "x", "style_id": "noir", "foo": 1 }));
    reply.expect(200);
    assert_eq!(reply.header("kinora-ignored-fields"), Some("foo, style_id"));
    running
        .post("/v1/videos", &json!({ "prompt": "x", "generate_audio": true }))
        .expect_code(400, "unsupported_parameter", Some("generate_audio"));
}

#[test]
fn a_full_disk_takes_no_jobs() {
    let running = server_with(|config| config.limits.free_bytes = u64::MAX);
    let reply = running.post("/v1/videos", &json!({ "prompt": "x" }));
    reply.expect_error(507, "storage_full", None, "The server has no room for more files.");
    assert_eq!(reply.header("x-should-retry"), Some("false"));
    assert_eq!(running.jobs(), 0);
}

#[test]
fn both_addresses_lead_there() {
    let running = server();
    let video = running
        .post("/videos", &json!({ "prompt": "x", "model": "sora-2-2025-12-08" }))
        .expect(200);
    assert_eq!(video["model"], "sora-2-2025-12-08");
    let path = format!("/videos/{}", video["id"].as_str().unwrap());
    assert_eq!(running.get(&path).expect(200), video);
    assert!(Rules::sora().model(Some("sora-2-2025-12-08")).is_ok());
}

#[test]
fn ids_that_name_nothing() {
    let running = server();
    for id in [
        "video_1",
        "x",
        "%00",
        "..%2f..",
        "%ff",
        "video_%F0%9F%A6%8A",
        &"v".repeat(3000),
    ] {
        let reply = running.get(&format!("/v1/videos/{id}"));
        assert_eq!(reply.status, 404, "{id}");
    }
    running.get("/v1/videos/video_1").expect_error(
        404,
        "not_found",
        Some("video_id"),
        "Video with id 'video_1' not found.",
    );
}

#[test]
fn jobs_may_be_asked_for_with_a_priority() {
    let running = server();
    let asked = json!({ "prompt": "a red ball", "priority": 5 });
    let video = running.post("/v1/videos", &asked).expect(200);
    let id = kinora_jobs::JobId(video["id"].as_str().unwrap().to_owned());
    let job = kinora_jobs::Store::get(&*running.store, &id).unwrap();
    assert_eq!(job.priority, 5);
    let too_high = json!({ "prompt": "a red ball", "priority": 101 });
    let refused = running.post("/v1/videos", &too_high).expect(400);
    assert_eq!(refused["error"]["param"], "priority");
}
