//! Deleting: finished, failed, waiting and running videos.

use serde_json::json;

use crate::support::runner::{FAIL, SLOW};
use crate::support::{server, server_and_worker};

#[test]
fn what_has_ended_is_deleted_with_its_files() {
    let running = server_and_worker();
    let video = running.finished("x");
    let id = video["id"].as_str().unwrap();
    let folder = running.folder.path().join("files/videos").join(id);
    let files = || walk(&folder);
    assert_eq!(files(), 3);
    // A worker that was thought dead has left something, and so have earlier steps.
    let left = [
        format!("files/videos/{id}/99/video.mp4"),
        format!("files/checkpoints/{id}/1-5.safetensors"),
    ];
    for name in &left {
        let path = running.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }
    let path = format!("/v1/videos/{id}");
    assert_eq!(
        running.delete(&path).expect(200),
        json!({ "id": id, "object": "video.deleted", "deleted": true })
    );
    assert_eq!(files(), 0);
    assert!(left.iter().all(|name| !running.folder.path().join(name).exists()));
    for gone in [
        running.get(&path),
        running.delete(&path),
        running.get(&format!("{path}/content")),
    ] {
        gone.expect_error(
            404,
            "not_found",
            Some("video_id"),
            &format!("Video with id '{id}' not found."),
        );
    }
    let made = running.post("/v1/videos", &json!({ "prompt": FAIL })).expect(200);
    let id = made["id"].as_str().unwrap();
    running.wait_for(id, "failed");
    running.delete(&format!("/v1/videos/{id}")).expect(200);
    assert_eq!(running.jobs(), 0);
}

fn walk(folder: &std::path::Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| if path.is_dir() { walk(&path) } else { 1 })
        .sum()
}

#[test]
fn what_waits_or_runs_is_stopped_first() {
    let running = server();
    let waiting = running.post("/v1/videos", &json!({ "prompt": "x" })).expect(200);
    running
        .delete(&format!("/v1/videos/{}", waiting["id"].as_str().unwrap()))
        .expect(200);
    assert_eq!(running.jobs(), 0);

    let running = server_and_worker();
    let slow = running.post("/v1/videos", &json!({ "prompt": SLOW })).expect(200);
    let id = slow["id"].as_str().unwrap();
    let video = running.wait_for(id, "in_progress");
    assert!(video["progress"].as_u64().unwrap() < 100);
    running.delete(&format!("/v1/videos/{id}")).expect(200);
    assert_eq!(running.jobs(), 0);
    // The worker lives on.
    running.finished("x");
}

#[test]
fn a_worker_that_does_not_stop_in_time_makes_it_a_conflict() {
    let running = server();
    let made = running.post("/v1/videos", &json!({ "prompt": "x" })).expect(200);
    let claim = kinora_jobs::Claim {
        worker: "deaf".to_owned(),
        kinds: Vec::new(),
        lease: std::time::Duration::from_secs(60),
    };
    let job = kinora_jobs::Store::claim(&*running.store, &claim).unwrap().unwrap();
    let reply = running.delete(&format!("/v1/videos/{}", made["id"].as_str().unwrap()));
    assert_eq!(reply.header("x-should-retry"), Some("false"));
    reply.expect_code(409, "invalid_state", Some("video_id"));
    // It was told all the same.
    kinora_jobs::Store::stop(&*running.store, &job.ticket()).unwrap();
    running.delete(&format!("/v1/videos/{}", job.id)).expect(200);
}
