//! Downloads: variants, ranges, conditions, and videos that have no content.

use std::time::Duration;

use serde_json::json;

use crate::support::runner::{FAIL, SPRITESHEET, THUMBNAIL, VIDEO};
use crate::support::{Running, server_and_worker, server_with};

fn path(running: &Running) -> (String, String) {
    let video = running.finished("x");
    let id = video["id"].as_str().unwrap().to_owned();
    (format!("/v1/videos/{id}/content"), id)
}

#[test]
fn every_variant_with_its_type_and_name() {
    let running = server_and_worker();
    let (path, id) = path(&running);
    let cases = [
        ("", "video/mp4", format!("{id}.mp4"), VIDEO),
        ("?variant=video", "video/mp4", format!("{id}.mp4"), VIDEO),
        (
            "?variant=thumbnail",
            "image/webp",
            format!("{id}-thumbnail.webp"),
            THUMBNAIL,
        ),
        (
            "?x=1&variant=spritesheet",
            "image/jpeg",
            format!("{id}-spritesheet.jpg"),
            SPRITESHEET,
        ),
    ];
    for (query, kind, name, bytes) in cases {
        let reply = running.send(
            "GET",
            &format!("{path}{query}"),
            &[("accept", "application/binary")],
            b"",
        );
        assert_eq!((reply.status, reply.body.as_slice()), (200, bytes), "{query}");
        assert_eq!(reply.header("content-type"), Some(kind));
        assert_eq!(reply.header("accept-ranges"), Some("bytes"));
        let disposition = format!("attachment; filename=\"{name}\"");
        assert_eq!(reply.header("content-disposition"), Some(disposition.as_str()));
        assert!(reply.header("last-modified").unwrap().ends_with(" GMT"));
        let head = running.send("HEAD", &format!("{path}{query}"), &[], b"");
        assert_eq!(
            (head.status, head.header("content-length")),
            (200, Some(bytes.len().to_string().as_str()))
        );
        assert_eq!(head.header("etag"), reply.header("etag"));
    }
    running
        .get(&format!("{path}?variant=gif"))
        .expect_code(400, "invalid_value", Some("variant"));
}

#[test]
fn ranges_and_conditions() {
    let running = server_and_worker();
    let (path, _) = path(&running);
    let get = |headers: &[(&str, &str)]| running.send("GET", &path, headers, b"");
    let size = VIDEO.len();
    for (range, part) in [
        ("bytes=0-3", 0..4),
        ("bytes=4-7", 4..8),
        ("bytes=-5", size - 5..size),
        ("bytes=8-", 8..size),
    ] {
        let reply = get(&[("range", range)]);
        assert_eq!((reply.status, &*reply.body), (206, &VIDEO[part.clone()]), "{range}");
        let which = format!("bytes {}-{}/{size}", part.start, part.end - 1);
        assert_eq!(reply.header("content-range"), Some(which.as_str()));
        assert_eq!(reply.header("content-length"), Some(part.len().to_string().as_str()));
    }
    let beyond = get(&[("range", "bytes=5000-")]);
    assert_eq!(beyond.header("content-range"), Some(format!("bytes */{size}").as_str()));
    beyond.expect_code(416, "range_not_satisfiable", None);
    assert_eq!(get(&[("range", "bytes=0-1,4-5")]).status, 200);
    assert_eq!(get(&[("range", "nonsense")]).status, 200);

    let whole = get(&[]);
    let (tag, date) = (whole.header("etag").unwrap(), whole.header("last-modified").unwrap());
    assert_eq!(get(&[("if-none-match", tag)]).status, 304);
    assert_eq!(get(&[("if-none-match", "\"other\"")]).status, 200);
    for (condition, status) in [(tag, 206), (date, 206), ("\"other\"", 200)] {
        assert_eq!(
            get(&[("range", "bytes=0-1"), ("if-range", condition)]).status,
            status,
            "{condition}"
        );
    }
}

#[test]
fn no_content_yet_and_none_at_all() {
    let mut running = crate::support::server();
    let made = running.post("/v1/videos", &json!({ "prompt": FAIL })).expect(200);
    let id = made["id"].as_str().unwrap().to_owned();
    let content = format!("/v1/videos/{id}/content");
    let message = format!("Video with id '{id}' is not ready: its status is 'queued'.");
    running
        .get(&content)
        .expect_error(404, "video_not_ready", Some("video_id"), &message);
    running.start_worker();
    running.wait_for(&id, "failed");
    running
        .get(&content)
        .expect_code(404, "video_not_ready", Some("video_id"));
    running
        .get("/v1/videos/video_1/content")
        .expect_code(404, "not_found", Some("video_id"));
}

/// What a deletion leaves for a moment, and one that was cut short for longer.
#[test]
fn files_that_are_gone_before_their_record_are_no_fault_of_the_server() {
    let running = server_and_worker();
    let (path, id) = path(&running);
    std::fs::remove_dir_all(running.folder.path().join("files/videos").join(&id)).unwrap();
    let message = format!("The content of video '{id}' is not there any more.");
    for query in ["", "?variant=thumbnail", "?variant=spritesheet"] {
        let reply = running.get(&format!("{path}{query}"));
        reply.expect_error(404, "video_expired", Some("video_id"), &message);
        assert_eq!(running.send("HEAD", &format!("{path}{query}"), &[], b"").status, 404);
    }
    let video = format!("/v1/videos/{id}");
    assert_eq!(running.get(&video).expect(200)["status"], "completed");
    // The deletion can be done again, to its end.
    running.send("DELETE", &video, &[], b"").expect(200);
    running.get(&path).expect_code(404, "not_found", Some("video_id"));
}

#[test]
fn content_expires_and_the_video_stays() {
    let mut running = server_with(|config| config.keep = Some(Duration::from_secs(1)));
    running.start_worker();
    let (path, id) = path(&running);
    let video = running.get(&format!("/v1/videos/{id}")).expect(200);
    let (completed, expires) = (
        video["completed_at"].as_u64().unwrap(),
        video["expires_at"].as_u64().unwrap(),
    );
    assert_eq!(expires, completed + 1);
    std::thread::sleep(Duration::from_millis(1100));
    let message = format!("The content of video '{id}' has expired.");
    running
        .get(&path)
        .expect_error(404, "video_expired", Some("video_id"), &message);
    assert_eq!(
        running.get(&format!("/v1/videos/{id}")).expect(200)["status"],
        "completed"
    );
    let remix = running.post(&format!("/v1/videos/{id}/remix"), &json!({ "prompt": "y" }));
    remix.expect_code(404, "video_expired", Some("video_id"));
}
