//! Characters: made from a clip, read, and used in a video.

use serde_json::json;

use crate::support::client::Form;
use crate::support::media::mp4;
use crate::support::server;

#[test]
fn a_character_is_made_read_and_used() {
    let running = server();
    let form = Form::new(&[("name", "Mossy"), ("subject", "a moss monster"), ("extra", "1")]).with_file(
        "video",
        "mossy.mp4",
        "video/mp4",
        &mp4(64, 48, 9, 8),
    );
    let reply = running.post_form("/v1/videos/characters", &form);
    let character = reply.expect(200);
    let id = character["id"].as_str().unwrap();
    assert!(id.starts_with("char_") && id.len() == 53, "{id}");
    assert_eq!(
        (&character["object"], &character["name"]),
        (&json!("character"), &json!("Mossy"))
    );
    assert_eq!(reply.header("kinora-ignored-fields"), Some("extra"));
    assert_eq!(
        running.get(&format!("/v1/videos/characters/{id}")).expect(200),
        character
    );

    let picture = running
        .folder
        .path()
        .join(format!("files/characters/default/{id}/picture.png"));
    let picture = kinora_media::read_image(&picture, &kinora_media::Limits::default())
        .unwrap()
        .frame;
    assert_eq!((picture.width_px, picture.height_px), (64, 48));

    let asked = json!({ "prompt": "Mossy walks", "characters": [{ "id": id }] });
    let video = running.post("/v1/videos", &asked).expect(200);
    let job = kinora_jobs::JobId(video["id"].as_str().unwrap().to_owned());
    let work = kinora_jobs::Store::get(&*running.store, &job).unwrap().request;
    assert_eq!(
        work["task"]["characters"],
        json!([{ "id": id, "name": "Mossy", "subject": "a moss monster",
                 "picture": format!("characters/default/{id}/picture.png") }])
    );
    // Bracketed names, and a prompt that does not name it.
    let form = Form::new(&[("prompt", "Mossy sleeps"), ("characters[][id]", id)]);
    running.post_form("/v1/videos", &form).expect(200);
    let asked = json!({ "prompt": "somebody walks", "characters": [{ "id": id }] });
    running
        .post("/v1/videos", &asked)
        .expect_code(400, "invalid_value", Some("prompt"));
    assert_eq!(running.temporary_files().len(), 0);
}

#[test]
fn what_makes_no_character() {
    let running = server();
    let path = "/v1/videos/characters";
    let clip = mp4(64, 48, 2, 8);
    let form = Form::new(&[]).with_file("video", "a.mp4", "video/mp4", &clip);
    running
        .post_form(path, &form)
        .expect_code(400, "missing_required_parameter", Some("name"));
    running
        .post_form(path, &Form::new(&[("name", "x")]))
        .expect_code(400, "missing_required_parameter", Some("video"));
    let form = Form::new(&[("name", &"x".repeat(81))]).with_file("video", "a.mp4", "video/mp4", &clip);
    running
        .post_form(path, &form)
        .expect_code(400, "string_above_max_length", Some("name"));
    let form = Form::new(&[("name", "x")]).with_file("video", "a.mp4", "video/mp4", &clip[..clip.len() / 2]);
    running
        .post_form(path, &form)
        .expect_code(400, "invalid_file", Some("video"));
    running
        .post(path, &json!({ "name": "x" }))
        .expect_code(415, "unsupported_content_type", None);
    running.get(&format!("{path}/char_1")).expect_error(
        404,
        "not_found",
        Some("character_id"),
        "Character with id 'char_1' not found.",
    );
    running
        .get(&format!("{path}/..%2F.."))
        .expect_code(404, "not_found", Some("character_id"));
    let folder = running.folder.path().join("files/characters");
    assert!(!folder.exists(), "nothing was kept");
    assert_eq!(running.temporary_files().len(), 0);
}
