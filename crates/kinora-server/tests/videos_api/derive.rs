//! Remix, edits, extensions.

use serde_json::{Value, json};

use crate::support::client::Form;
use crate::support::media::mp4;
use crate::support::{Running, server_and_worker};

fn work_of(running: &Running, video: &Value) -> Value {
    let id = kinora_jobs::JobId(video["id"].as_str().unwrap().to_owned());
    kinora_jobs::Store::get(&*running.store, &id).unwrap().request
}

fn source(running: &Running) -> String {
    let asked = json!({ "prompt": "a fox", "model": "sora-2-pro", "seconds": "8", "size": "1792x1024" });
    let made = running.post("/v1/videos", &asked).expect(200);
    let id = made["id"].as_str().unwrap().to_owned();
    running.wait_for(&id, "completed");
    id
}

#[test]
fn a_remix_keeps_what_the_source_was() {
    let running = server_and_worker();
    let id = source(&running);
    let path = format!("/v1/videos/{id}/remix");
    let video = running
        .post(&path, &json!({ "prompt": "a wolf", "seed": 3 }))
        .expect(200);
    for (field, value) in [
        ("remixed_from_video_id", json!(id)),
        ("model", json!("sora-2-pro")),
        ("seconds", json!("8")),
        ("size", json!("1792x1024")),
        ("prompt", json!("a wolf")),
        ("seed", json!(3)),
    ] {
        assert_eq!(video[field], value, "{field}");
    }
    let task = json!({ "kind": "remix", "source": id, "strength": 0.7 });
    assert_eq!(work_of(&running, &video)["task"], task);
    let form = Form::new(&[("prompt", "a wolf"), ("strength", "0.25")]);
    let multipart = running.post_form(&path, &form).expect(200);
    assert_eq!(work_of(&running, &multipart)["task"]["strength"], 0.25);
    running
        .post(&path, &json!({ "prompt": "x", "strength": 0 }))
        .expect_code(400, "decimal_below_min_value", Some("strength"));
    running
        .post(&path, &json!({}))
        .expect_code(400, "missing_required_parameter", Some("prompt"));
}

#[test]
fn sources_that_cannot_be_used() {
    let running = crate::support::server();
    let waiting = running.post("/v1/videos", &json!({ "prompt": "x" })).expect(200);
    let id = waiting["id"].as_str().unwrap();
    for id in [id, "video_1"] {
        let code = if id == "video_1" {
            "not_found"
        } else {
            "video_not_ready"
        };
        let remix = running.post(&format!("/v1/videos/{id}/remix"), &json!({ "prompt": "y" }));
        remix.expect_code(404, code, Some("video_id"));
        let edit = running.post("/v1/videos/edits", &json!({ "prompt": "y", "video": { "id": id } }));
        edit.expect_code(404, code, Some("video_id"));
        let asked = json!({ "prompt": "y", "seconds": "4", "video": { "id": id } });
        running
            .post("/v1/videos/extensions", &asked)
            .expect_code(404, code, Some("video_id"));
    }
    running.post("/v1/videos/edits", &json!({ "prompt": "y" })).expect_code(
        400,
        "missing_required_parameter",
        Some("video"),
    );
    assert_eq!(running.jobs(), 1);
}

#[test]
fn an_edit_of_a_video_and_of_a_clip() {
    let running = server_and_worker();
    let id = source(&running);
    let form = Form::new(&[("prompt", "in snow"), ("video[id]", &id), ("strength", "0.5")]);
    let video = running.post_form("/v1/videos/edits", &form).expect(200);
    assert_eq!(
        (&video["model"], &video["seconds"]),
        (&json!("sora-2-pro"), &json!("8"))
    );
    assert_eq!(video["remixed_from_video_id"], Value::Null);
    let task = json!({ "kind": "edit", "source": { "video": id }, "strength": 0.5 });
    assert_eq!(work_of(&running, &video)["task"], task);

    let form = Form::new(&[("prompt", "in snow")]).with_file(
        "video",
        "clip.mp4",
        "application/octet-stream",
        &mp4(64, 48, 12, 8),
    );
    let video = running.post_form("/v1/videos/edits", &form).expect(200);
    assert_eq!((&video["seconds"], &video["size"]), (&json!("1.5"), &json!("1280x720")));
    let key = work_of(&running, &video)["task"]["source"]["file"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(running.folder.path().join("files").join(key).exists());

    let broken =
        Form::new(&[("prompt", "x")]).with_file("video", "a.mp4", "video/mp4", b"\0\0\0\x20ftypisom and no more");
    running
        .post_form("/v1/videos/edits", &broken)
        .expect_code(400, "invalid_file", Some("video"));
    let text = Form::new(&[("prompt", "x")]).with_file("video", "a.mp4", "video/mp4", b"hello");
    running
        .post_form("/v1/videos/edits", &text)
        .expect_code(400, "unsupported_file_mimetype", Some("video"));
    let string = json!({ "prompt": "x", "video": "video.mp4" });
    assert_eq!(running.post("/v1/videos/edits", &string).status, 400);
    assert_eq!(running.temporary_files().len(), 0);
}

#[test]
fn an_extension_says_the_whole_length() {
    let running = server_and_worker();
    let id = source(&running);
    let asked = json!({ "prompt": "and on", "seconds": "12", "video": { "id": id } });
    let video = running.post("/v1/videos/extensions", &asked).expect(200);
    assert_eq!((&video["seconds"], &video["size"]), (&json!("20"), &json!("1792x1024")));
    let task = json!({ "kind": "extend", "source": { "video": id }, "added": "12" });
    assert_eq!(work_of(&running, &video)["task"], task);
    let id = video["id"].as_str().unwrap();
    running.wait_for(id, "completed");
    let further = json!({ "prompt": "and on", "seconds": 8, "video": { "id": id } });
    assert_eq!(
        running.post("/v1/videos/extensions", &further).expect(200)["seconds"],
        "28"
    );

    let clip =
        Form::new(&[("prompt", "on"), ("seconds", "4")]).with_file("video", "a", "video/mp4", &mp4(64, 48, 8, 8));
    assert_eq!(
        running.post_form("/v1/videos/extensions", &clip).expect(200)["seconds"],
        "5"
    );
    running
        .post(
            "/v1/videos/extensions",
            &json!({ "prompt": "x", "video": { "id": id } }),
        )
        .expect_code(400, "missing_required_parameter", Some("seconds"));
    running
        .post(
            "/v1/videos/extensions",
            &json!({ "prompt": "x", "seconds": "7", "video": { "id": id } }),
        )
        .expect_code(400, "invalid_value", Some("seconds"));
    running
        .post(
            "/v1/videos/extensions",
            &json!({ "prompt": "x", "seconds": "4", "fps": 8, "video": { "id": id } }),
        )
        .expect_code(400, "invalid_value", Some("fps"));
}
